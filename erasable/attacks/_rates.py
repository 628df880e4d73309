"""From an attack's scores to rates: what every attack reports, counted in one way.

Pairs that share a sample or a model are not independent. Intervals therefore come from two-way clustered influence
functions (A. C. Cameron, J. B. Gelbach, D. L. Miller, *Robust Inference With Multiway Clustering*, JBES 29, 2011), and
binomial ones count as many pairs as that variance is worth.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from erasable.errors import EvidenceError
from erasable.evidence import Finding, Scores, binomial_interval


class Curve(NamedTuple):
    """An ROC curve, each (points,) in [0, 1]: `low` and `high` bound the true-positive rate, exact binomial 95 %."""

    fpr: Tensor
    tpr: Tensor
    low: Tensor
    high: Tensor


def rates(scores: Scores, *, subject: str, threshold: float = 0.0) -> tuple[Finding, ...]:
    """AUC, balanced accuracy at `threshold`, and the true-positive rate at 1 % and 0.1 % false positives."""
    return (auc(scores, subject=subject), balanced_accuracy(scores, subject=subject, threshold=threshold),
            tpr_at(scores, 0.01, subject=subject), tpr_at(scores, 0.001, subject=subject))  # fmt: skip


def auc(scores: Scores, *, subject: str) -> Finding:
    """The share of (in, out) pairs in which the former scores higher, ties by half, in %. 50 is guessing."""
    inside, outside = _sides(scores)
    placed_in, placed_out = _placements(inside, outside), 1 - _placements(outside, inside)
    area = float(placed_in.mean())
    influence = _influence(scores, placed_in - area, placed_out - area)
    return _finding(scores, f"{scores.attack} AUC", subject, area, influence, smaller=min(len(inside), len(outside)))


def balanced_accuracy(scores: Scores, *, subject: str, threshold: float = 0.0) -> Finding:
    """The mean of the rates of samples rightly called in (score above `threshold`) and rightly called out, in %."""
    inside, outside = _sides(scores)
    called_in = (inside > threshold).double() + 0.5 * (inside == threshold).double()  # no opinion counts half
    called_out = (outside < threshold).double() + 0.5 * (outside == threshold).double()
    rate_in, rate_out = float(called_in.mean()), float(called_out.mean())
    influence = _influence(scores, 0.5 * (called_in - rate_in), 0.5 * (called_out - rate_out))
    return _finding(scores, f"{scores.attack} accuracy", subject, (rate_in + rate_out) / 2, influence,
                    smaller=min(len(inside), len(outside)))  # fmt: skip


def tpr_at(scores: Scores, fpr: float, *, subject: str) -> Finding:
    """The rate of true positives, in %, at the lowest threshold whose false-positive rate is at most `fpr`.

    Fewer than 1 / `fpr` negatives cannot show that rate: the note then says so.
    """
    inside, outside = _sides(scores)
    allowed = math.floor(fpr * len(outside) + 1e-9)
    ordered = outside.sort(descending=True).values
    above = inside > ordered[min(allowed, len(ordered) - 1)]
    value = float(above.double().mean())
    influence = _influence(scores, above.double() - value, torch.zeros_like(outside))
    binomial = value * (1 - value) / len(inside)
    worth = len(inside) * min(1.0, binomial / max(_variance(influence), 1e-12)) if binomial else _clusters(scores)
    low, high = binomial_interval(value * worth, max(1, round(worth)))
    note = f"{allowed} of {len(outside)} never-seen pairs may lie above"
    if not allowed:
        note = f"{len(outside)} never-seen pairs cannot show {100 * fpr:g} %: the threshold is their highest score"
    return Finding(metric=f"{scores.attack} TPR at {100 * fpr:g} % FPR", subject=subject, value=100 * value, unit="%",
                   interval=(100 * low, 100 * high), n=len(inside), models=int(scores.counted.any(1).sum()),
                   direction="match", resolution=100 / len(inside), note=note)  # fmt: skip


def roc(scores: Scores) -> Curve:
    """The whole curve, from (0, 0) to (1, 1), one point per distinct score."""
    inside, outside = _sides(scores)
    cuts = torch.unique(torch.cat([inside, outside])).flip(0)
    found, false = (_share_from(each, cuts) for each in (inside, outside))
    bounds = torch.tensor([binomial_interval(round(float(rate) * len(inside)), len(inside)) for rate in found])
    zero = found.new_zeros(1)
    low, high = (torch.cat([zero, bounds[:, i].double()]) for i in (0, 1))
    high[0] = binomial_interval(0, len(inside))[1]
    return Curve(torch.cat([zero, false]), torch.cat([zero, found]), low, high)


def per_sample(scores: Scores) -> tuple[Tensor, Tensor]:
    """How well each sample is attacked: its own AUC over models (samples,), in %, and the positions of those samples.

    Samples that are in for no model, or out for none, have none and are left out.
    """
    inside, outside = (scores.counted & (scores.truth == side) for side in (True, False))
    both = torch.nonzero(inside.any(0) & outside.any(0)).flatten()
    found = []
    for at in both.tolist():
        a, b = scores.values[inside[:, at], at], scores.values[outside[:, at], at]
        found.append(100 * float((a[:, None] > b).double().mean() + 0.5 * (a[:, None] == b).double().mean()))
    return torch.tensor(found, dtype=torch.float64), both


def _sides(scores: Scores) -> tuple[Tensor, Tensor]:
    """The scores of pairs that are in and of those that are out. Raises EvidenceError where one kind is missing."""
    values = scores.values.double()
    inside, outside = values[scores.counted & scores.truth], values[scores.counted & ~scores.truth]
    if not len(inside) or not len(outside):
        raise EvidenceError(f"'{scores.attack}' has {len(inside)} pairs that are in and {len(outside)} that are out",
                            expected="some of both", do="ask about samples that only some models saw")  # fmt: skip
    return inside, outside


def _placements(of: Tensor, among: Tensor) -> Tensor:
    """For each value the share of `among` that is below it, ties by half."""
    ordered = among.sort().values
    return (torch.searchsorted(ordered, of) + torch.searchsorted(ordered, of, right=True)).double() / (2 * len(among))


def _share_from(values: Tensor, cuts: Tensor) -> Tensor:
    """The share of values at or above each cut."""
    return 1 - torch.searchsorted(values.sort().values, cuts.contiguous()).double() / len(values)


def _influence(scores: Scores, inside: Tensor, outside: Tensor) -> Tensor:
    """What each pair adds to the estimate's deviation, (models, samples)."""
    spread = torch.zeros(scores.values.shape, dtype=torch.float64)
    spread[scores.counted & scores.truth] = inside / max(1, len(inside))
    spread[scores.counted & ~scores.truth] = outside / max(1, len(outside))
    return spread


def _variance(influence: Tensor) -> float:
    """Clustered by model and by sample; never less than that of independent pairs."""
    alone = float(influence.square().sum())
    models, samples = (_cluster_variance(influence.sum(axis)) for axis in (1, 0))
    return max(alone, models + samples - alone, models if influence.shape[0] > 1 else 0.0, samples)


def _cluster_variance(sums: Tensor) -> float:
    used = int((sums != 0).sum())
    return float(sums.square().sum()) * (used / (used - 1) if used > 1 else 1.0)


def _clusters(scores: Scores) -> int:
    """Samples or models, whichever are fewer but more than one: what pairs without variance are worth."""
    counts = [int(scores.counted.any(axis).sum()) for axis in (0, 1)]
    return max(1, min([each for each in counts if each > 1], default=1))


def _finding(scores: Scores, metric: str, subject: str, value: float, influence: Tensor, *, smaller: int) -> Finding:
    reach = 1.96 * math.sqrt(_variance(influence))
    low, high = value - reach, value + reach
    if not reach:  # full separation: the exact bound of the smaller side, in clusters
        size = min(smaller, max(2, _clusters(scores)))
        low, high = binomial_interval(round(value * size), size)
    return Finding(metric=metric, subject=subject, value=100 * value, unit="%",
                   interval=(100 * max(0.0, low), 100 * min(1.0, high)), n=int(scores.counted.any(0).sum()),
                   models=int(scores.counted.any(1).sum()), direction="match", resolution=100 / smaller)  # fmt: skip
