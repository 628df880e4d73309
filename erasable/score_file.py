"""Numbers from people who cannot share their model: a table of (model, sample) pairs, read into Evidence.

    model    text: which model said it
    sample   text: about which sample
    value    a number, see `signal`
    member   true or false, or 1 and 0: was this model trained on this sample (before anything was unlearned)?
    signal   optional: what `value` is. Without it: confidence
                 confidence  the probability of the right answer, 0 to 1
                 margin      its log-odds, log(p / (1 - p))
                 loss        its cross-entropy in nats, -log(p)
    group    optional text: a part of the samples to be judged by itself too, such as a class

Every model says something about every sample, once per signal. The file is `.parquet`, or `.csv` with a header line.
Which models are judged and which are their oracles follows from `member`: the former were trained on the samples to
forget, the latter were not. Models that were trained on a part of these are shadow models: they help to judge.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from erasable.errors import (
    EvidenceError,
    InvalidData,
    Misaligned,
    MissingExtra,
    MissingFile,
    PopulationTooSmall,
    SettingsError,
    UnknownSample,
    nearest_names,
)
from erasable.evidence import Evidence
from erasable.foreign import refuse_untrained

NEEDED = ("model", "sample", "value", "member")
OPTIONAL = ("signal", "group")
SIGNALS = {"confidence": (0.0, 1.0), "margin": (-np.inf, np.inf), "loss": (0.0, np.inf)}  # and what values can be
Codes = NDArray[np.int64]


class Sides(NamedTuple):
    """Positions in the file's axes: of the models that are judged, of their oracles, of shadow models, which were
    trained on a part of the samples to forget, and of samples (forgotten ones in the order of the request; fresh ones
    that neither a judged model nor an oracle was trained on)."""

    targets: Tensor
    oracles: Tensor
    shadows: Tensor
    forget: Tensor
    fresh: Tensor


@dataclass(frozen=True, eq=False)
class ScoreFile:
    """`evidence` has the same models and ids for every signal; `groups` has one name per sample."""

    name: str
    models: tuple[str, ...]
    evidence: Mapping[str, Evidence]
    groups: tuple[str, ...] | None

    @classmethod
    def read(cls, path: Path | str) -> "ScoreFile":
        """Raises MissingFile, MissingExtra, InvalidData for a table of another form, Misaligned for pairs that are
        there twice or not at all; each names the first model and sample."""
        file = Path(path).expanduser()
        if not file.is_file():
            raise MissingFile(f"'{file}' is no file", expected="a table of scores", do="check the path")
        rows = _table(file)
        model_names, model = _coded(file, rows, "model")
        ids, sample = _coded(file, rows, "sample")
        signals, signal = _coded(file, rows, "signal") if "signal" in rows.column_names else (("confidence",), None)
        if wrong := [each for each in signals if each not in SIGNALS]:
            raise InvalidData(f"'{file}' has the signal '{wrong[0]}'", expected=f"one of {', '.join(SIGNALS)}",
                              do="convert it to one of these")  # fmt: skip
        which = np.zeros_like(model) if signal is None else signal
        value, member = _numbers(file, rows), _truth(file, rows)

        def where(row: int) -> str:
            return f"model '{model_names[model[row]]}' and sample '{ids[sample[row]]}'"

        _refuse_values(file, value, which, signals, where)
        shape = len(signals), len(model_names), len(ids)
        place = (which * shape[1] + model) * shape[2] + sample
        _refuse_gaps(file, place, shape, signals, model_names, ids, where)
        values, members = np.empty(shape), np.empty(shape, np.bool_)
        values.reshape(-1)[place], members.reshape(-1)[place] = value, member
        if differ := np.argwhere((members != members[:1]).any(0)).tolist():
            at, of = differ[0]
            raise InvalidData(f"'{file}' says in one signal that model '{model_names[at]}' was trained on "
                              f"'{ids[of]}' and in another that it was not", expected="the same in all",
                              do="correct the column member")  # fmt: skip
        known = torch.from_numpy(members[0])
        evidence = {each: Evidence(each, ids, torch.from_numpy(values[i]), known) for i, each in enumerate(signals)}
        return cls(file.name, model_names, evidence, _groups(file, rows, sample, ids))

    def of(self, signal: str | None = None) -> Evidence:
        """The evidence of a signal; None where there is only one. Raises SettingsError."""
        known = ", ".join(self.evidence)
        if signal is None and len(self.evidence) > 1:
            raise SettingsError(f"'{self.name}' has the signals {known}", expected="one that is judged", do="choose it")
        chosen = next(iter(self.evidence)) if signal is None else signal
        if chosen not in self.evidence:
            raise SettingsError(f"'{self.name}' has no signal '{chosen}'", expected=f"one of {known}",
                                do=nearest_names(chosen, self.evidence))  # fmt: skip
        return self.evidence[chosen]

    def sides(self, forget_ids: Iterable[str], *, manifest: Collection[str] | None = None) -> Sides:
        """Which models were trained on the samples to forget, and which are oracles.

        Raises UnknownSample for ids that are not in the file, not in the manifest or that no model was trained on,
        InvalidData where all models that were trained on some were trained on a part of them, or otherwise than the
        manifest says, and PopulationTooSmall for fewer than two oracles.
        """
        first = next(iter(self.evidence.values()))
        asked = tuple(dict.fromkeys(forget_ids))
        if manifest is not None:
            refuse_untrained(asked, manifest)
        place = {name: at for at, name in enumerate(first.ids)}
        if lost := [each for each in asked if each not in place]:
            raise UnknownSample(f"{len(lost)} of {len(asked)} ids to forget are not in '{self.name}', first "
                                f"'{lost[0]}'",
                                expected=f"samples such as '{first.ids[0]}'",
                                do=nearest_names(lost[0], first.ids[:2000]))  # fmt: skip
        forget = torch.tensor([place[each] for each in asked])
        saw = first.member[:, forget]
        everything, nothing = saw.all(1), ~saw.any(1)
        if bool(nothing.all()):
            raise UnknownSample(f"no model in '{self.name}' was trained on the {len(asked)} ids to forget",
                                expected="member = true for them in the models that are judged",
                                do="correct the ids, or the column: it tells what was before the erasure")  # fmt: skip
        if not bool(everything.any()):
            at = int(torch.nonzero(~everything & ~nothing)[0])
            absent = torch.nonzero(~saw[at]).flatten().tolist()
            raise InvalidData(f"model '{self.models[at]}' was trained on some ids to forget, but not on {len(absent)} "
                              f"of {len(asked)}, first '{asked[absent[0]]}'", expected="all of them (a model that is "
                              "judged) or none (an oracle)", do="correct the ids or the column member")  # fmt: skip
        targets, oracles, shadows = (
            torch.nonzero(each).flatten() for each in (everything, nothing, ~everything & ~nothing)
        )
        if len(oracles) < 2:
            raise PopulationTooSmall(f"'{self.name}' has {len(oracles)} oracles, models that were trained on none of "
                                     "the ids to forget", expected="at least 2", do="add more: one model hides seed "
                                     "noise")  # fmt: skip
        if manifest is not None:
            self._check_manifest(first, targets, frozenset(manifest))
        fresh = ~first.member[torch.cat([targets, oracles])].any(0)
        return Sides(targets, oracles, shadows, forget, torch.nonzero(fresh).flatten())

    def _check_manifest(self, evidence: Evidence, targets: Tensor, manifest: frozenset[str]) -> None:
        said = torch.tensor([each in manifest for each in evidence.ids])
        if differ := torch.nonzero(evidence.member[targets] != said).tolist():
            at, of = differ[0]
            told, not_told = (
                ("the file", "the manifest") if evidence.member[targets[at], of] else ("the manifest", "the file")
            )
            raise InvalidData(f"{told} says that model '{self.models[int(targets[at])]}' was trained on "
                              f"'{evidence.ids[of]}', {not_told} that it was not", expected="the same in both",
                              do="correct the column member or the manifest")  # fmt: skip

    def refuse_copies(self, evidence: Evidence, sides: Sides) -> None:
        """Raises EvidenceError for an oracle, or a shadow model, with the same numbers as another model: it would be no
        evidence."""
        order = torch.cat([sides.targets, sides.oracles, sides.shadows])
        rows = evidence.values[order]
        for i in range(len(sides.targets), len(order)):
            twins = torch.nonzero((rows[:i] == rows[i]).all(1)).flatten()
            if len(twins) and bool((rows[i] != rows[i, 0]).any()):
                twin = int(twins[0])
                what = "shadow model" if i >= len(order) - len(sides.shadows) else "oracle"
                raise EvidenceError(f"the {what} '{self.models[int(order[i])]}' has the same values as model "
                                    f"'{self.models[int(order[twin])]}' on all samples", expected="models that were "
                                    "trained apart", do="remove one, or give more digits")  # fmt: skip


# --- reading ----------------------------------------------------------------------------------------------------------


def _pyarrow(module: str = "pyarrow") -> Any:
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise MissingExtra("reading score files needs pyarrow", expected="erasable[data] to be installed",
                           do="pip install 'erasable[data]'") from error  # fmt: skip


def _table(file: Path) -> Any:
    """All rows. Text columns of a CSV are kept letter for letter."""
    pa, ending = _pyarrow(), file.suffix.lower()
    if ending not in (".csv", ".parquet"):
        raise InvalidData(f"'{file}' ends in '{ending}'", expected=".parquet or .csv", do="convert the table")
    try:
        if ending == ".parquet":
            rows = _pyarrow("pyarrow.parquet").read_table(file)
        else:
            csv, text = _pyarrow("pyarrow.csv"), dict.fromkeys(("model", "sample", *OPTIONAL), pa.string())
            rows = csv.read_csv(file, convert_options=csv.ConvertOptions(column_types=text))
    except (pa.ArrowException, OSError, KeyError) as error:
        raise InvalidData(f"'{file}' cannot be read ({error})", expected=f"a complete {ending[1:]} file",
                          do="check the file") from error  # fmt: skip
    for each in (*NEEDED, *OPTIONAL):
        count = rows.column_names.count(each)
        if count > 1 or (not count and each in NEEDED):
            came = ", ".join(rows.column_names)
            raise InvalidData(f"'{file}' has {count or 'no'} columns called '{each}' among its columns {came}",
                              expected=f"{', '.join(NEEDED)}, each once",
                              do="name the columns so; signal and group may be added")  # fmt: skip
    if not rows.num_rows:
        raise InvalidData(f"'{file}' has no rows", expected="one per model and sample", do="check the file")
    return rows


def _column(file: Path, rows: Any, name: str) -> Any:
    """One column without empty cells."""
    column = rows.column(name)
    if column.null_count:
        first = column.is_null().to_pylist().index(True)
        raise InvalidData(f"column '{name}' of '{file}' is empty {column.null_count} times, first in row {first + 1}",
                          expected="a value in each row", do="fill it in")  # fmt: skip
    return column


def _coded(file: Path, rows: Any, name: str) -> tuple[tuple[str, ...], Codes]:
    """The names in a column, in the order in which they come, and which of them each row has."""
    pa = _pyarrow()
    column = _column(file, rows, name)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if not (
        pa.types.is_string(column.type) or pa.types.is_large_string(column.type) or pa.types.is_integer(column.type)
    ):
        raise InvalidData(f"column '{name}' of '{file}' holds {column.type}", expected="text", do="store names as text")
    coded = column.cast(pa.string()).combine_chunks().dictionary_encode()
    return tuple(coded.dictionary.to_pylist()), np.asarray(coded.indices.to_numpy(), np.int64)


def _numbers(file: Path, rows: Any) -> NDArray[np.float64]:
    pa, column = _pyarrow(), _column(file, rows, "value")
    kinds = pa.types
    if not (kinds.is_floating(column.type) or kinds.is_integer(column.type) or kinds.is_decimal(column.type)):
        raise InvalidData(f"column 'value' of '{file}' holds {column.type}", expected="numbers", do="correct it")
    return np.asarray(column.cast(pa.float64()).to_numpy(), np.float64)


def _truth(file: Path, rows: Any) -> NDArray[np.bool_]:
    pa, column = _pyarrow(), _column(file, rows, "member")
    if pa.types.is_boolean(column.type):
        return np.asarray(column.to_numpy(), np.bool_)
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        numbers = column.to_numpy()
        if bool(np.isin(numbers, (0, 1)).all()):
            return np.asarray(numbers, np.bool_)
    raise InvalidData(f"column 'member' of '{file}' holds {column.type} other than true and false",
                      expected="true or false, or 1 and 0", do="say of each pair whether the model was trained on the "
                      "sample")  # fmt: skip


def _refuse_values(file: Path, value: NDArray[np.float64], which: Codes, signals: tuple[str, ...], where: Any) -> None:
    bad = ~np.isfinite(value)
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        what = "NaN" if np.isnan(value[first]) else "infinite"
        raise InvalidData(f"'{file}' has {int(bad.sum())} values that are no numbers, first {what} for {where(first)}",
                          expected="finite values", do="look for a model that diverged, or clip them")  # fmt: skip
    for i, signal in enumerate(signals):
        low, high = SIGNALS[signal]
        outside = np.flatnonzero((which == i) & ((value < low) | (value > high)))
        if len(outside):
            first = int(outside[0])
            raise InvalidData(f"'{file}' has the {signal} {value[first]:g} for {where(first)}",
                              expected=f"from {low:g} to {high:g}", do="say in a column 'signal' what the values are: "
                              f"{', '.join(SIGNALS)}")  # fmt: skip


def _refuse_gaps(
    file: Path, place: Codes, shape: tuple[int, int, int], signals: tuple[str, ...], models: tuple[str, ...],
    ids: tuple[str, ...], where: Any,
) -> None:  # fmt: skip
    """Each place of the cube once."""
    counts = np.bincount(place, minlength=int(np.prod(shape)))
    if (counts > 1).any():
        row = int(np.flatnonzero(counts[place] > 1)[0])
        raise Misaligned(f"'{file}' has {int((counts > 1).sum())} pairs more than once, first {where(row)}",
                         expected="each model and sample once per signal", do="remove the repeats")  # fmt: skip
    gaps = np.argwhere(counts.reshape(shape) == 0)
    if len(gaps):
        of, model, first = gaps[0].tolist()
        lacking = int(((gaps[:, 0] == of) & (gaps[:, 1] == model)).sum())
        on = f" ({signals[of]})" if len(signals) > 1 else ""
        raise Misaligned(f"model '{models[model]}'{on} lacks {lacking} of {len(ids)} samples that others in '{file}' "
                         f"have, first '{ids[first]}'", expected="the same samples for every model",
                         do="add them, or remove them everywhere")  # fmt: skip


def _groups(file: Path, rows: Any, sample: Codes, ids: tuple[str, ...]) -> tuple[str, ...] | None:
    """The group of each sample. Raises InvalidData for a sample of two groups."""
    if "group" not in rows.column_names:
        return None
    names, codes = _coded(file, rows, "group")
    chosen = np.empty(len(ids), np.int64)
    chosen[sample] = codes
    differ = np.flatnonzero(chosen[sample] != codes)
    if len(differ):
        raise InvalidData(f"'{file}' has sample '{ids[sample[differ[0]]]}' in two groups", expected="one per sample",
                          do="correct the column group")  # fmt: skip
    return tuple(names[each] for each in chosen.tolist())
