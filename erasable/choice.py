"""Which unlearner, where nobody has named one: by the data at hand, by what is asked, and by what was measured.

    choice = choose(request.ids, data, task)
    print(choice.why)
    forget(model, request, data=data, unlearner=choice.unlearner)

`measured.json` in this package holds one row per unlearner, kind of request and setting it was measured in: the share
of audits that found it to leak, the test accuracy that it lost, its seconds. Of the unlearners that need no more data
than there are, it must leak in at most `LEAKS` of the audits and lose at most `LOST` points; the least leaky is chosen,
then the one that keeps most, then the fastest. Where none is that good, or nothing was measured, it is training again:
dear, and exact. What was measured with tuned settings is no choice, for they were tuned elsewhere; it is named where it
was good enough, since `erasable tune` may bring it there. What was measured on other data may not hold on yours, so an
audit is due in any case.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from erasable import catalog
from erasable._plumbing.batching import labels_of
from erasable._plumbing.numbers import duration
from erasable._plumbing.storage import atomic_write
from erasable.dataset import Dataset
from erasable.errors import InvalidData, MissingFile
from erasable.task import LogitTask
from erasable.unlearner import Needs, Unlearner

Kind = Literal["samples", "owner", "class"]
KINDS: dict[Kind, str] = {"samples": "single samples", "owner": "all of an owner", "class": "a whole class"}
FILE = Path(__file__).with_name("measured.json")
LEAKS, LOST = 0.25, 2.0  # a share of audits, and points of test accuracy
EVERYTHING: Needs = frozenset({"forget", "retain"})
BASELINES = ("nothing", "retrain")  # they stand in every table, and are no way of unlearning


class Measurement(BaseModel):
    """One unlearner on one kind of request.

    leaks          of the audits, the share that ended in "leaks", in [0, 1]
    accuracy_lost  on test data, in points, behind models that were trained again
    seconds        of one erasure, where it was measured
    setting        the data and the network, in words
    tuned          were its settings chosen on a request of the same kind? Else they are those of its file
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    unlearner: str
    request: Kind
    leaks: float = Field(ge=0, le=1)
    accuracy_lost: float
    seconds: float = Field(ge=0)
    audits: int = Field(default=1, ge=1)
    setting: str = ""
    tuned: bool = False


class Measured(BaseModel):
    """A table of measurements, and what it was made by."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: tuple[Measurement, ...]
    about: str
    created: str


@dataclass(frozen=True)
class Choice:
    """The unlearner, its name in the catalog, and why it was chosen, in a sentence."""

    name: str
    unlearner: Unlearner[Any]
    why: str


def choose(
    ids: Iterable[str],
    data: Dataset,
    task: Any,
    *,
    have: Needs = EVERYTHING,
    table: Measured | None = None,
) -> Choice:
    """An unlearner for a request of these ids.

    data   what the model was trained on, without what was erased before
    have   the data at hand: "forget" and "retain", unless some are gone
    table  what was measured; without one, what is stored in `FILE`, where it exists

    Raises UnknownSample, EmptyRequest, and what `read_measured` raises.
    """
    kind, table = kind_of(ids, data, task), table or read_measured()
    what = f"for {KINDS[kind]}, with {' and '.join(sorted(have)) or 'no'} data at hand,"
    fits = [name for name in catalog.UNLEARNERS if name not in BASELINES and catalog.UNLEARNERS[name].needs <= have]
    found, tuned = ([] if table is None else [each for each in _means(table, kind, tuned) if each.unlearner in fits]
                    for tuned in (False, True))  # fmt: skip
    good, could = ([each for each in some if each.leaks <= LEAKS and each.accuracy_lost <= LOST]
                   for some in (found, tuned))  # fmt: skip
    if good:
        best = min(good, key=_rank)
        told = (f"it is the best of {len(found)} that were measured: it leaked in {100 * best.leaks:.0f} % of "
                f"{best.audits} audits, lost {best.accuracy_lost:.1f} points of test accuracy and took "
                f"{duration(best.seconds)}")  # fmt: skip
        return _choice(best.unlearner, f"{what} {told}")
    if table is None:
        reason = "no table of measurements is stored"
    elif not found:
        reason = "nothing that fits was measured"
    else:
        reason = (f"none of {len(found)} measured unlearners leaked in at most {100 * LEAKS:.0f} % of the audits and "
                  f"lost at most {LOST:g} points of test accuracy")  # fmt: skip
    if could:
        best = min(could, key=_rank)
        reason += (f" (tuned, {best.unlearner} leaked in {100 * best.leaks:.0f} % of {best.audits} audits and took "
                   f"{duration(best.seconds)}: see 'erasable tune')")  # fmt: skip
    if catalog.UNLEARNERS["retrain"].needs <= have:
        return _choice("retrain", f"{what} {reason}: training again, which is exact")
    if found:
        least = min(found, key=_rank)
        return _choice(least.unlearner, f"{what} {reason}, and what stays is not at hand to train again: "
                       f"{least.unlearner} leaked least, in {100 * least.leaks:.0f} % of the audits")  # fmt: skip
    return _choice("gradient-ascent" if "forget" in have else "nothing",
                   f"{what} {reason}, and what stays is not at hand to train again: the simplest that can run; "
                   "expect leaks")  # fmt: skip


def kind_of(ids: Iterable[str], data: Dataset, task: Any) -> Kind:
    """Whole classes, else whole owners, else single samples. Raises UnknownSample, EmptyRequest."""
    asked = torch.zeros(len(data), dtype=torch.bool)
    asked[torch.from_numpy(data.positions(ids))] = True
    if isinstance(task, LogitTask):
        labels = labels_of(task, data).cpu()
        if labels.shape == asked.shape and not bool(torch.isin(labels[asked], labels[~asked]).any()):
            return "class"
    if data.owners is not None:
        stay = {owner for owner, gone in zip(data.owners, asked.tolist(), strict=True) if not gone}
        if all(owner not in stay for owner, gone in zip(data.owners, asked.tolist(), strict=True) if gone):
            return "owner"
    return "samples"


def _choice(name: str, why: str) -> Choice:
    return Choice(name, catalog.UNLEARNERS[name](), f"auto chose {name}: {why}.")


def _rank(each: Measurement) -> tuple[float, float, float]:
    """Differences below a percent and a tenth of a point are none."""
    return round(each.leaks, 2), round(each.accuracy_lost, 1), each.seconds


def _means(table: Measured, kind: Kind, tuned: bool) -> list[Measurement]:
    """One row per unlearner: where it was measured in several places, their mean over audits."""
    found = []
    for name in dict.fromkeys(each.unlearner for each in table.rows):
        rows = [each for each in table.rows if (each.unlearner, each.request, each.tuned) == (name, kind, tuned)]
        if audits := sum(each.audits for each in rows):
            mean = {key: sum(getattr(each, key) * each.audits for each in rows) / audits
                    for key in ("leaks", "accuracy_lost", "seconds")}  # fmt: skip
            found.append(Measurement(unlearner=name, request=kind, audits=audits, **mean))
    return found


# --- the table -------------------------------------------------------------------------------------------------------


def measured(rows: Iterable[Measurement | dict[str, Any]], about: str) -> Measured:
    """A table of rows {unlearner, request, leaks, accuracy_lost, seconds}, perhaps with audits and setting.

    Raises InvalidData for a row of another form, or an unlearner that is not in the catalog.
    """
    return _checked({"rows": [each if isinstance(each, dict) else each.model_dump() for each in rows], "about": about,
                     "created": datetime.now(UTC).isoformat(timespec="seconds")}, "the table")  # fmt: skip


def write_measured(rows: Iterable[Measurement | dict[str, Any]], *, about: str, file: Path | None = None) -> Measured:
    """The table, stored for `choose` in `FILE`. `about` says what it was measured on, and by which command.

    Raises InvalidData.
    """
    made = measured(rows, about)
    atomic_write(file or FILE, (made.model_dump_json(indent=1) + "\n").encode())
    return made


def read_measured(file: Path | None = None) -> Measured | None:
    """What is stored in `FILE`; None where there is no such file. Raises InvalidData for one that is no table,
    MissingFile for one that cannot be read."""
    file = file or FILE
    if not file.exists():
        return None
    try:
        content = file.read_text(encoding="utf-8")
    except OSError as wrong:
        raise MissingFile(f"'{file}' cannot be read ({wrong.strerror or wrong})", expected="a table of measurements",
                          do="check its permissions") from None  # fmt: skip
    return _checked(content, f"'{file}'")


def _checked(given: str | dict[str, Any], where: str) -> Measured:
    try:
        made = Measured.model_validate_json(given) if isinstance(given, str) else Measured.model_validate(given)
    except ValidationError as wrong:
        first = wrong.errors()[0]
        raise InvalidData(f"{where}: {'.'.join(map(str, first['loc'])) or 'JSON'} ({first['msg']})",
                          expected="rows of unlearner, request, leaks, accuracy_lost and seconds",
                          do="write it with erasable.choice.write_measured") from None  # fmt: skip
    if unknown := [each.unlearner for each in made.rows if each.unlearner not in catalog.UNLEARNERS]:
        raise InvalidData(f"{where} names the unlearner '{unknown[0]}'", expected="names of the catalog",
                          do="measure again with this version")  # fmt: skip
    return made
