"""How far a model's recovery curve lies from the oracles' curve towards that of the model which forgot nothing.

    recovery = (A(model) - A(oracles)) / (A(untouched) - A(oracles)),    A = area under accuracy against steps

so 0 is the oracles' mean and 1 is the untouched model: what share of the hidden knowledge comes back as if it had never
been gone. Curves are accuracies on the erased samples while an adversary relearns them or probes the features: of
`stresses.relearn`, `linear_probe` or `head_refit`, all with the same settings. Each oracle's own value on this scale
stands beside it; their mean is 0. Below them, a model resists being taught, which shows as well.

The area compares speed and ceiling at once and never asks when exactly a threshold is passed, so no cap censors it.
After the recommendation of relearning curves against several references, as one number.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from erasable.errors import EvidenceError, Misaligned, PopulationTooSmall
from erasable.evidence import Finding, band


def recovery(
    target: Tensor,
    oracles: Tensor,
    untouched: Tensor,
    *,
    n: int,
    subject: str,
    by: str = "relearning",
    at: Tensor | None = None,
) -> Finding:
    """Curves are (models, steps), in per cent; `by` names the stress.

    n   how many samples a curve's accuracies are of
    at  (steps,) ascending, where the points stand on the axis; one apart by default. For sample budgets, whose effect
        goes with their ratio, give their logarithms

    Raises Misaligned for curves of different lengths or with NaN, PopulationTooSmall for no model or fewer than two
    oracles, EvidenceError where the untouched model is no better than the oracles: then there is nothing to recover.
    """
    curves = [each.double().cpu() for each in (target, oracles, untouched)]
    _check(curves, at)
    ours, theirs, full = (_areas(each, at) for each in curves)
    low, high = float(theirs.mean()), float(full.mean())
    if high - low <= 1e-9:
        raise EvidenceError(f"the untouched model's curve averages {high:.4g} %, the oracles' {low:.4g} %",
                            expected="an untouched model that is ahead of the oracles",
                            do="ask about samples that training made a difference to")  # fmt: skip
    values = (ours - low) / (high - low)
    value, interval = float(values.mean()), None
    if len(values) > 1:
        from scipy.special import stdtrit

        reach = float(stdtrit(len(values) - 1, 0.975)) * float(values.std()) / math.sqrt(len(values))
        interval = value - reach, value + reach
    note = f"mean over the curve {float(ours.mean()):.1f} %, oracles {low:.1f} %, untouched {high:.1f} %"
    if high <= band(theirs)[1]:
        note += "; the untouched model is within the oracles' own spread: this audit cannot see what would come back"
    return Finding(metric=f"recovery by {by}", subject=subject, value=value, interval=interval, n=n, models=len(values),
                   direction="match", resolution=100 / n / (high - low) / curves[0].shape[1],
                   note=note).beside(((theirs - low) / (high - low)).tolist())  # fmt: skip


def _areas(curves: Tensor, at: Tensor | None) -> Tensor:
    """The mean height of each curve, by the trapezoidal rule: (models,)."""
    x = torch.arange(curves.shape[1]) if at is None else at
    x = x.double().cpu()
    return torch.trapezoid(curves, x, dim=1) / (x[-1] - x[0])


def _check(every: Sequence[Tensor], at: Tensor | None) -> None:
    """`every`: of the model, the oracles and the untouched model."""
    shapes = [tuple(each.shape) for each in every]
    if any(len(each) != 2 for each in shapes) or len({each[1] for each in shapes}) != 1 or shapes[0][1] < 2:
        raise Misaligned(f"curves of the shapes {shapes}", expected="(models, steps), equally many steps, at least two",
                         do="run the same stress on all, to its last step")  # fmt: skip
    if not all(bool(torch.isfinite(each).all()) for each in every):
        raise Misaligned("a curve holds NaN or infinity", expected="accuracies", do="look for a model that diverged")
    if at is not None and (at.shape != shapes[0][1:] or not bool((at.diff() > 0).all())):
        raise Misaligned(f"{tuple(at.shape)} positions for {shapes[0][1]} steps", expected="one per step, ascending",
                         do="give the budgets of the curve")  # fmt: skip
    if not shapes[0][0] or not shapes[2][0] or shapes[1][0] < 2:
        raise PopulationTooSmall(f"{shapes[0][0]} models, {shapes[1][0]} oracles, {shapes[2][0]} untouched",
                                 expected="at least 1, 2 and 1", do="run the stress on more models")  # fmt: skip
