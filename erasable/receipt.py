"""What one erasure did, and what it guarantees.

A guarantee is computed from **exposure**: for each part of a trained model, which samples that part was fitted on.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict

Level = Literal["exact", "certified", "revoked", "empirical"]
Erasure = Literal["L1", "L2", "L3"]

LEVELS: Mapping[Level, str] = {
    "exact": "no remaining part of the model was fitted on the erased samples",
    "certified": "the remaining exposure went through a differentially private training",
    "revoked": "the memory of the samples is gone, but a part that was fitted on them is unchanged",
    "empirical": "the weights were changed after the fact; only an audit can say what is left",
}
ERASURES: Mapping[Erasure, str] = {
    "L1": "not retrievable from the model",
    "L2": "a search for the raw bytes in every file of the run folder found nothing",
    "L3": "backups have expired or their erasure was attested",
}
INPUT_SCALING = "input scaling"  # the part that belongs to the task: no refit of a network changes it


@dataclass(frozen=True)
class Exposure:
    """Which samples each part of a model was fitted on. A part that memory deletion removes is not listed.

    mended  parts that an erasure changes without fitting them again: no promise follows from the change
    """

    parts: Mapping[str, frozenset[str]]
    mended: frozenset[str] = frozenset()

    @classmethod
    def trained(
        cls, parts: Mapping[str, Iterable[str]], ids: Iterable[str], task: object, *, mended: Iterable[str] = ()
    ) -> Self:
        """The exposure of a new model: its own `parts`, and the scaling where `task.fitted` took it from all `ids`."""
        scaling = {INPUT_SCALING: ids} if getattr(task, "fitted", False) else {}
        return cls({part: frozenset(fitted) for part, fitted in {**parts, **scaling}.items()}, frozenset(mended))

    def of(self, ids: Iterable[str]) -> dict[str, int]:
        """How many of `ids` each part was fitted on; parts that saw none are left out."""
        asked = frozenset(ids)
        seen = {part: len(asked & fitted) for part, fitted in self.parts.items()}
        return {part: count for part, count in seen.items() if count}

    def level(self, ids: Iterable[str]) -> tuple[Level, str]:
        """The guarantee that erasing `ids` gives, and why. The weakest part decides."""
        asked = frozenset(ids)
        seen = self.of(asked)
        if not seen:
            parts = ", ".join(sorted(self.parts)) or "memory"
            return "exact", f"every part that stays ({parts}) was fitted without these samples"

        def told(parts: Iterable[str]) -> str:
            return "; ".join(f"{part} was fitted on {seen[part]} of {len(asked)} erased samples" for part in parts)

        changed, same = ([part for part in seen if (part in self.mended) == yes] for yes in (True, False))
        level: Level = "empirical" if changed else "revoked"
        ends = ("was changed after the fact, not fitted again", "is unchanged")
        words = [f"{told(each)}, and {end}" for each, end in zip((changed, same), ends, strict=True) if each]
        return level, f"{'; '.join(words)}. What it remembers is measured by an audit, not promised"

    def without(self, ids: Iterable[str], parts: Iterable[str]) -> "Exposure":
        """The exposure after `parts` were fitted again without `ids`."""
        gone, again = frozenset(ids), set(parts)
        parts = {part: fitted - gone if part in again else fitted for part, fitted in self.parts.items()}
        return Exposure(parts, self.mended)


@dataclass(frozen=True)
class Tuning:
    """How the settings of an unlearner were chosen: by `trials` on `samples` others, whose ids have this digest, and at
    what cost: trainings, and seconds in all."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    trials: int
    trainings: int
    seconds: float
    samples: int
    ids_digest: str

    def sentence(self) -> str:
        return (f"Its settings were chosen by {self.trials} trials on {self.samples} other samples, in "
                f"{self.seconds:.1f} s with {self.trainings} trainings")  # fmt: skip


class Receipt(BaseModel):
    """The record of one erasure. Holds digests and counts of ids, never contents."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    case: str
    received: str
    completed: str
    method: str
    samples: int
    ids_digest: str
    level: Level
    why: str
    exposure: dict[str, int]
    erasure: Erasure = "L1"
    not_reached: tuple[str, ...] = (
        "the data set that the model was trained from",
        "backups and copies of the run folder",
        "swap space, file-system snapshots and cells that a solid-state disk has remapped",
    )
    memory_before: str
    memory_after: str
    weights_before: str
    weights_after: str
    seconds: float
    audited: str | None = None
    tuning: Tuning | None = None
    left_alone: int = 0
    erasable_version: str

    def sentence(self) -> str:
        """The receipt in words."""
        guarantee = f"Guarantee: {self.level.upper()} ({LEVELS[self.level]}): {self.why}"
        reached = f"Erasure level {self.erasure}: {ERASURES[self.erasure]}"
        tuned = "" if self.tuning is None else f" {self.tuning.sentence()}."
        return f"{self.samples} samples erased in {1000 * self.seconds:.1f} ms. {guarantee}. {reached}.{tuned}"


def digest_of_ids(ids: Iterable[str]) -> str:
    """SHA-256 of a set of ids, whatever their order and repeats."""
    return hashlib.sha256(json.dumps(sorted(set(ids))).encode()).hexdigest()
