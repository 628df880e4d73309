"""Numbers per (model, sample), and the findings drawn from them.

Models in, Evidence out: a signal. Evidence in, Finding out: a metric or an attack. No function does both.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from erasable.errors import Misaligned, PopulationTooSmall

Direction = Literal["lower", "higher", "match", "none"]


@dataclass(frozen=True, eq=False)
class Evidence:
    """What some models say about some samples.

    values  (models, samples), or (models, samples, classes) for a signal that is a vector
    member  (models, samples): was the model fitted on the sample, in any of its parts?

    Raises Misaligned where shapes differ or a value is not finite.
    """

    signal: str
    ids: tuple[str, ...]
    values: Tensor
    member: Tensor

    def __post_init__(self) -> None:
        if self.values.shape[:2] != self.member.shape or self.values.shape[1] != len(self.ids):
            raise Misaligned(f"{len(self.ids)} ids, values {tuple(self.values.shape)}, "
                             f"members {tuple(self.member.shape)}", expected="the same models and samples in all three",
                             do="rebuild the evidence from the models")  # fmt: skip
        if not bool(torch.isfinite(self.values).all()):
            raise Misaligned(f"signal '{self.signal}' holds NaN or infinity", expected="finite numbers",
                             do="look for a model that diverged")  # fmt: skip

    @property
    def models(self) -> int:
        return self.values.shape[0]

    def model(self, index: int) -> "Evidence":
        """One model's evidence, still with a models axis."""
        return Evidence(self.signal, self.ids, self.values[index : index + 1], self.member[index : index + 1])


def aligned(target: Evidence, reference: Evidence, *, at_least: int = 1) -> None:
    """Raise Misaligned unless both speak of the same samples, PopulationTooSmall for too few reference models."""
    if target.ids != reference.ids or target.signal != reference.signal:
        raise Misaligned(f"evidence '{target.signal}' on {len(target.ids)} samples and '{reference.signal}' on "
                         f"{len(reference.ids)}", expected="the same signal on the same ids",
                         do="collect both from the same probe data")  # fmt: skip
    if reference.models < at_least:
        raise PopulationTooSmall(f"{reference.models} reference models", expected=f"at least {at_least}",
                                 do="train a population of oracles: one model hides seed noise")  # fmt: skip


class Finding(BaseModel):
    """One judged number: never a bare float.

    value      in `unit`
    interval   95 % interval for `value`, where one can be given
    null_band  range of the same quantity between oracles (the noise floor), where there are oracles
    direction  which way is better; "match" = the oracles' value is the goal
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    metric: str
    subject: str
    value: float
    unit: str = ""
    interval: tuple[float, float] | None = None
    null_mean: float | None = None
    null_band: tuple[float, float] | None = None
    n: int
    models: int
    direction: Direction = "none"
    version: int = 1

    @property
    def inside_noise(self) -> bool | None:
        """Is the value within what oracles differ by among themselves? None without oracles."""
        if self.null_band is None:
            return None
        low, high = self.null_band
        return self.value <= high if self.direction == "lower" else low <= self.value <= high


def band(values: Sequence[float] | Tensor) -> tuple[float, float]:
    """The 2.5 % and 97.5 % quantiles (minimum and maximum below 40 values)."""
    given = torch.as_tensor(values, dtype=torch.float64).flatten()
    if len(given) < 40:
        return float(given.min()), float(given.max())
    low, high = torch.quantile(given, torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return low, high
