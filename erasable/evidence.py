"""Numbers per (model, sample), and the findings drawn from them.

Models in, Evidence out: a signal. Evidence in, Finding out: a metric or an attack. No function does both.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from erasable.errors import Misaligned, PopulationTooSmall, TaskMismatch

Direction = Literal["lower", "higher", "match", "none"]
FEW = 4  # oracles from which one can be held out and the others still have a spread to speak of
ALARMS = 0.05  # the share of clean models that may leave the bands of `joint`; more where there are few oracles
RANGES = {"%": (0.0, 100.0), "steps": (0.0, math.inf)}  # what a value of a unit can be
TINY, MOST = 1e-12, 700.0  # nats that have a logarithm, and logarithms that have nats


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

    def samples(self, at: Tensor) -> "Evidence":
        """The same models on some of the samples, by position."""
        return Evidence(self.signal, tuple(self.ids[i] for i in at.tolist()), self.values[:, at], self.member[:, at])

    def joined(self, other: "Evidence") -> "Evidence":
        """The same models on these samples and then on the other's. Raises Misaligned."""
        if self.signal != other.signal or self.models != other.models:
            raise Misaligned(f"{self.models} models of '{self.signal}' and {other.models} of '{other.signal}'",
                             expected="the same models and signal", do="collect both together")  # fmt: skip
        return Evidence(self.signal, (*self.ids, *other.ids), torch.cat([self.values, other.values], dim=1),
                        torch.cat([self.member, other.member], dim=1))  # fmt: skip


@dataclass(frozen=True, eq=False)
class Scores:
    """What an attack says of pairs of a model and a sample: the larger, the surer that the sample was in.

    values   (models, samples) float64, on one scale for all pairs
    truth    (models, samples) bool: was it in, or in and then unlearned? Whichever of the two the attack asks
    counted  (models, samples) bool: the pairs that were asked; `values` is 0 elsewhere

    Raises Misaligned where shapes differ or a counted value is NaN. Infinities are scores like others.
    """

    attack: str
    ids: tuple[str, ...]
    values: Tensor
    truth: Tensor
    counted: Tensor

    def __post_init__(self) -> None:
        shape = self.values.shape
        if len(shape) != 2 or not shape == self.truth.shape == self.counted.shape or shape[1] != len(self.ids):
            raise Misaligned(f"{len(self.ids)} ids, scores {tuple(shape)}, truth {tuple(self.truth.shape)}, counted "
                             f"{tuple(self.counted.shape)}", expected="the same models and samples in all",
                             do="rebuild them from one evidence")  # fmt: skip
        if bool(torch.isnan(self.values[self.counted]).any()):
            raise Misaligned(f"the scores of '{self.attack}' hold NaN", expected="numbers or infinities",
                             do="look for a model that diverged, or a spread of zero")  # fmt: skip

    def each(self) -> Iterator["Scores"]:
        """One model's scores after another, still with a models axis."""
        for i in range(len(self.values)):
            at = slice(i, i + 1)
            yield Scores(self.attack, self.ids, self.values[at], self.truth[at], self.counted[at])


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
    interval     95 % interval for `value`, where one can be given: how far other samples could have moved it
    null_values  the same quantity for each oracle: its own value, or its distance to the other oracles
    null_band    range of null_values (the noise floor), where there are oracles
    direction    which way is better; "match" = the oracles' value is the goal
    resolution   smallest difference that the samples can show (one sample of n); 0 for a continuous quantity
    note         what a reader must know beside the number, such as a cap that was reached
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    metric: str
    subject: str
    value: float
    unit: str = ""
    interval: tuple[float, float] | None = None
    null_mean: float | None = None
    null_band: tuple[float, float] | None = None
    null_values: tuple[float, ...] = ()
    n: int
    models: int
    direction: Direction = "none"
    resolution: float = 0.0
    note: str = ""
    version: int = 1

    @property
    def inside_noise(self) -> bool | None:
        """Is the value within what oracles differ by among themselves? None without oracles."""
        if self.null_band is None:
            return None
        low, high = self.null_band
        slack = 1e-9 * max(1.0, abs(low), abs(high))  # a sum in another order is no difference
        above, below = self.value > high + slack, self.value < low - slack
        return not (above if self.direction == "lower" else below if self.direction == "higher" else above or below)

    def beside(self, null_values: Sequence[float]) -> "Finding":
        """The same finding with the oracles' values, their mean and their range beside it."""
        given = [float(each) for each in null_values]
        if not given:
            return self
        return self.model_copy(update={
            "null_values": tuple(given), "null_mean": sum(given) / len(given), "null_band": band(given)})  # fmt: skip


def band(values: Sequence[float] | Tensor) -> tuple[float, float]:
    """The 2.5 % and 97.5 % quantiles (minimum and maximum below 40 values)."""
    given = torch.as_tensor(values, dtype=torch.float64).flatten()
    if len(given) < 40:
        return float(given.min()), float(given.max())
    low, high = torch.quantile(given, torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return low, high


def joint(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """The same findings with noise bands that hold together, so that looking at many numbers raises no more alarms.

    For quantity m, oracle i has the value v[m, i], and s[m] is their standard deviation, at least one step of
    `resolution`. Each oracle is held out in turn, as a further one would be: its deviation from the mean of the others
    is divided by the standard deviation of the others, and the largest over quantities is what it would take to keep
    this oracle inside. With c = the largest of these over oracles, corrected for the one oracle less, the bands are
    mean[m] +- c * s[m]. A further oracle, which the bands meet in the same way, leaves any of them at most about once
    in (oracles + 1) times, however the quantities depend on each other. From 39 oracles on c is the second largest,
    from 59 on the third and so on: then once in about 20 times, and a single odd oracle no longer blinds all bands.
    Dividing by s[m] itself would not do: it contains the oracle that is held out, and with ten quantities the alarms
    are then three times as many. Divergences, in nats, are compared by their logarithms, for their tails are long.

    Two or three oracles are too few to hold one out; for them c is Student's t, as if values were normal.

    For the direction "lower" only the upper side counts, for "higher" the lower one. Findings with fewer than two
    null_values come back as they are. The idea is the maximum statistic of P. H. Westfall and S. S. Young,
    *Resampling-Based Multiple Testing* (1993), with the oracles as the resamples.
    """
    scales: dict[int, tuple[float, float]] = {}
    held_out: dict[int, Tensor] = {}  # by the number of oracles: for each, its largest distance from the others
    widest = 0.0
    compared = sum(len(each.null_values) > 1 for each in findings)
    for at, finding in enumerate(findings):
        k = len(finding.null_values)
        if k < 2:
            continue
        values, step = _straight(finding)
        scales[at] = float(values.mean()), max(float(values.std()), step)
        if k < FEW:
            widest = max(widest, _of_few(k, compared))
            continue
        apart = (values - values.mean()) * k / (k - 1)  # from the mean of the others
        others = ((values.var() * (k - 1) - apart.square() * (k - 1) / k) / (k - 2)).clamp_min(0).sqrt()
        others = torch.where(others > 1e-6 * values.std(), others, 0.0)  # what is left of equal values is rounding
        side = {"lower": apart, "higher": -apart}.get(finding.direction, apart.abs())
        beyond = torch.where(side > 0, side / others.clamp_min(step), 0.0).nan_to_num(posinf=0.0)
        held_out[k] = torch.maximum(held_out.get(k, beyond), beyond)
    for k, beyond in held_out.items():
        widest = max(widest, _as_with_one_more(float(beyond.sort(descending=True).values[_outside(k) - 1]), k))
    return tuple(
        finding.model_copy(update={"null_band": _around(*scales[at], widest, finding.unit)})
        if at in scales
        else finding
        for at, finding in enumerate(findings)
    )


def once_in(oracles: int) -> int:
    """How many clean models there are, about, to one that leaves the bands of `joint` by chance."""
    return round((oracles + 1) / _outside(oracles))


def _outside(oracles: int) -> int:
    """How many of the oracles may lie outside the bands: as many as keep a further one inside in 95 %, at least one."""
    return max(1, math.floor(ALARMS * (oracles + 1) + 1e-9))


def _straight(finding: Finding) -> tuple[Tensor, float]:
    """The oracles' values on the scale on which they are compared, and the resolution there."""
    values = torch.tensor(finding.null_values, dtype=torch.float64)
    if finding.unit != "nats":
        return values, finding.resolution
    values = values.clamp_min(TINY)
    return values.log(), finding.resolution / float(values.mean())


def _of_few(k: int, quantities: int) -> float:
    """c for two or three oracles, of which none can be held out: Student's t, its risk shared by the quantities."""
    from scipy.stats import t

    return float(t.isf(1 / (k + 1) / (2 * quantities), k - 1) * math.sqrt(1 + 1 / k))


def _as_with_one_more(apart: float, k: int) -> float:
    """What is as rare, measured from the mean of k values in their standard deviations, as `apart` from that of k - 1.

    With few oracles those without one are a worse yardstick than all of them; the difference is Student's t.
    """
    from scipy.stats import t

    if not apart:
        return apart
    rare = t.sf(apart / math.sqrt(1 + 1 / (k - 1)), k - 2)
    return float(t.isf(rare, k - 1) * math.sqrt(1 + 1 / k))


def _around(mean: float, scale: float, widest: float, unit: str) -> tuple[float, float]:
    if unit == "nats":
        return math.exp(mean - widest * scale), math.exp(min(MOST, mean + widest * scale))
    least, most = RANGES.get(unit, (-math.inf, math.inf))
    return max(least, mean - widest * scale), min(most, mean + widest * scale)


def binomial_interval(successes: float, n: int) -> tuple[float, float]:
    """Exact 95 % interval for a share, by C. J. Clopper and E. S. Pearson (Biometrika 26, 1934).

    `successes` may be a fraction, the mean over several models of their counts; the interval is then on the safe side.
    """
    from scipy.special import betaincinv

    low = float(betaincinv(successes, n - successes + 1, 0.025)) if successes > 0 else 0.0
    high = float(betaincinv(successes + 1, n - successes, 0.975)) if successes < n else 1.0
    return low, high


def exposed(models: Iterable[Any], ids: Sequence[str]) -> Tensor:
    """(models, samples) bool: was any part of the model fitted on the sample, or does its memory still hold it?

    Raises TaskMismatch for a model that does not record its exposure.
    """
    rows = []
    for model in models:
        exposure = getattr(model, "exposure", None)
        if exposure is None:
            raise TaskMismatch(f"a {type(model).__name__} does not say what it was fitted on",
                               expected="a model with an `exposure`",
                               do="train it with a Method, or give `fitted` by hand")  # fmt: skip
        held: Any = getattr(model, "memory", None) or ()
        parts = list(exposure.parts.values())
        rows.append([any(each in part for part in parts) or each in held for each in ids])
    return torch.tensor(rows, dtype=torch.bool).reshape(len(rows), len(ids))
