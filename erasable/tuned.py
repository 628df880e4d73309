"""Settings of an unlearner that were chosen by trying them out, with all that must be known to use them fairly.

    tuned = tune(SSD, method, data, test, task, budget=16, reported=ids)     # erasable/tuning.py
    tuned.write("ssd.json")
    forget(model, request, data=data, unlearner=Tuned.read("ssd.json").unlearner())

A number that is reported must come from samples that had no part in the choice. So the record names the samples of the
development request, and whatever it is used for is refused where it holds one of them: by `forget`, and so by a
rehearsal, a run and the unlearning game, and by `judge`.
"""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from torch import nn

from erasable import catalog
from erasable._plumbing.settings import FAMILY, from_json
from erasable._plumbing.storage import atomic_write
from erasable.dataset import Dataset
from erasable.errors import (
    CorruptRun,
    InvalidData,
    MismatchError,
    MissingFile,
    NewerVersion,
    UnknownName,
    nearest_names,
)
from erasable.receipt import Level, Tuning, digest_of_ids
from erasable.report import Suite
from erasable.request import Request, Split
from erasable.unlearner import Needs, Unlearner

SCHEMA = 1


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Trial(_Model):
    """Settings that were tried.

    score    mean over the target models that were tried, lower is better; None where one of them could not be judged:
             it diverged, or the unlearner refused
    seconds  of one erasure, mean over these models
    targets  how many models it was tried on: fewer than others, for a trial that was stopped
    """

    settings: dict[str, Any]
    score: float | None
    seconds: float
    targets: int
    note: str = ""


class Cost(_Model):
    """What the tuning took: seconds in all, trainings (target models and oracles), and erasures that were tried."""

    seconds: float
    trainings: int
    erasures: int


class Tuned(_Model):
    """The best of some settings, and how it was found.

    name         a name of the catalog, or "package.module:Class"
    settings     the chosen ones; trials[0] are the settings that the search began with
    nothing      the score of the target models as they were before any erasure
    suite        by whose numbers it was judged
    request      what was asked of the development models, in words
    development  the ids of the samples that they were asked to forget
    samples      that anything was trained on; `data_digest` is theirs. Reported samples are not among them
    reported     how many samples were left out from the start, and the digest of their ids
    """

    schema_version: int = SCHEMA
    name: str
    settings: dict[str, Any]
    trials: tuple[Trial, ...]
    nothing: float
    cost: Cost
    request: str
    development: tuple[str, ...]
    development_digest: str
    data: str
    samples: int
    data_digest: str
    test_digest: str
    reported: int
    reported_digest: str
    method: dict[str, Any]
    targets: int
    oracles: int
    suite: Suite
    seed: int
    created: str
    versions: dict[str, str]

    @model_validator(mode="after")
    def _is_whole(self) -> "Tuned":
        if digest_of_ids(self.development) != self.development_digest:
            raise ValueError("the ids of the development samples do not have the digest beside them")
        if not any(each.settings == self.settings and each.score is not None for each in self.trials):
            raise ValueError("the chosen settings are not among the trials that could be judged")
        return self

    # --- reading and writing ----------------------------------------------------------------------------------------

    def to_json(self) -> str:
        return self.model_dump_json(indent=1)

    @classmethod
    def from_json(cls, text: str | bytes, *, where: str = "the text") -> "Tuned":
        """Raises InvalidData for anything but such a record, NewerVersion."""
        try:
            made = cls.model_validate_json(text)
        except ValidationError as wrong:
            first = wrong.errors()[0]
            raise InvalidData(f"{where} is no record of tuned settings ({'.'.join(map(str, first['loc'])) or 'JSON'}: "
                              f"{first['msg']})", expected="what 'erasable tune' wrote",
                              do="tune again, or correct the path") from None  # fmt: skip
        if made.schema_version > SCHEMA:
            raise NewerVersion(f"{where} has the schema version {made.schema_version}", expected=f"at most {SCHEMA}",
                               do="use the version of Erasable that wrote it")  # fmt: skip
        return made

    def write(self, file: Path | str) -> None:
        """Raises StorageError, DiskFull; then a file that was there is as it was."""
        atomic_write(Path(file), self.to_json().encode())

    @classmethod
    def read(cls, file: Path | str) -> "Tuned":
        """Raises MissingFile, and what `from_json` raises."""
        try:
            content = Path(file).expanduser().read_bytes()
        except OSError as wrong:
            raise MissingFile(f"'{file}' cannot be read ({wrong.strerror or wrong})",
                              expected="a file that 'erasable tune' wrote", do="check the path") from None  # fmt: skip
        return cls.from_json(content, where=f"'{file}'")

    # --- use --------------------------------------------------------------------------------------------------------

    @property
    def chosen(self) -> Trial:
        return next(each for each in self.trials if each.settings == self.settings)

    @property
    def defaults(self) -> Trial:
        """What the search began with, tried like the others."""
        return self.trials[0]

    @property
    def caution(self) -> str:
        """What makes the choice worth little, in a sentence; empty where nothing does."""
        if not self.nothing:
            return ("Doing nothing is inside all noise bands too: on this development request nobody can tell settings "
                    "that forget from others, and those to begin with were kept. Tune on a harder request, or with "
                    "more oracles.")  # fmt: skip
        if self.chosen.score is None or self.chosen.score >= self.nothing:
            return "No setting came closer to training again than doing nothing does."
        return ""

    @property
    def tuning(self) -> Tuning:
        """What a receipt says of it."""
        return Tuning(trials=len(self.trials), trainings=self.cost.trainings, seconds=self.cost.seconds,
                      samples=len(self.development), ids_digest=self.development_digest)  # fmt: skip

    def unlearner(self) -> Unlearner[Any]:
        """The unlearner with the chosen settings, which is refused where it would be used for its own development
        samples. Raises UnknownName for a class of somebody's own that is not imported, InvalidData."""
        return TunedUnlearner(plain=self.plain(), tuning=self.tuning, development=self.development)

    def plain(self) -> Unlearner[Any]:
        """The unlearner with the chosen settings and no memory of how they were chosen."""
        try:
            made: Unlearner[Any] = from_json(_class_of(self.name), self.settings, f"{self.name}, tuned")
        except CorruptRun as wrong:
            raise InvalidData(wrong.came, expected=wrong.expected, do="tune again with this version") from wrong
        return made

    def refuse(self, request: Request | Iterable[str]) -> None:
        """Raises MismatchError for a request that holds samples by which the settings were chosen."""
        asked = request.ids if isinstance(request, Request) else tuple(request)
        refuse_development(asked, self.development, self.name)


@dataclass(frozen=True, kw_only=True)
class TunedUnlearner:
    """An unlearner and the samples by which its settings were chosen. `forget` and `judge` ask `refuse` first.

    guarantee and needs are those of `plain`, of each object and not of the class.
    """

    plain: Unlearner[Any] = field(metadata={FAMILY: "erasable.unlearners"})
    tuning: Tuning
    development: tuple[str, ...]
    guarantee: ClassVar[Level] = "empirical"
    needs: ClassVar[Needs] = frozenset({"forget", "retain"})

    def __post_init__(self) -> None:
        object.__setattr__(self, "guarantee", self.plain.guarantee)
        object.__setattr__(self, "needs", self.plain.needs)

    def refuse(self, request: Request) -> None:
        """Raises MismatchError for a request that holds samples by which the settings were chosen."""
        refuse_development(request.ids, self.development, catalog.name_of(self.plain))

    def __call__(self, model: nn.Module, split: Split, task: Any, *, seed: int) -> nn.Module:
        """Raises MismatchError, as `refuse` does, for a split that was not asked of `forget`."""
        if isinstance(split.forget, Dataset):
            refuse_development(split.forget.ids, self.development, catalog.name_of(self.plain))
        return self.plain(model, split, task, seed=seed)


def refuse_development(asked: Sequence[str], development: Iterable[str], name: str) -> None:
    """Raises MismatchError where they have a sample in common."""
    known = frozenset(development)
    if seen := [each for each in asked if each in known]:
        raise MismatchError(f"{len(seen)} of {len(asked)} requested samples, first '{seen[0]}', are those by which the "
                            f"settings of {name} were chosen", expected="samples that had no part in the tuning",
                            do="tune again with these as --reported, or use settings that were not tuned on "
                            "them")  # fmt: skip


def _class_of(name: str) -> type[Any]:
    """What a record names: a class of the catalog, or one that is imported already, so that no file decides what is
    imported. Raises UnknownName."""
    if name in catalog.UNLEARNERS:
        found: Any = catalog.UNLEARNERS[name]
        return found  # type: ignore[no-any-return]
    module, _, attribute = name.partition(":")
    found = getattr(sys.modules.get(module), attribute, None) if attribute else None
    if not isinstance(found, type):
        raise UnknownName(f"the tuned unlearner '{name}'", expected="one of the catalog, or of a module that is loaded",
                          do=f"import {module} first: erasable --import {module} ..." if attribute
                          else nearest_names(name, catalog.UNLEARNERS))  # fmt: skip
    return found
