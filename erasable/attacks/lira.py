"""A likelihood ratio per sample: is this margin one of models that saw the sample, or of models that did not?

    online   log N(x; mean_in, sigma_in) - log N(x; mean_out, sigma_out)     over 0: in
    offline  log Phi((x - mean_out) / sigma_out)                             over log(1/2): in; needs OUT models only

with Gaussians of their own for every sample, from shadow models trained on random halves. Give it the signal `margin`,
log(p / (1 - p)), which is close to Gaussian; confidences are not.

Where the attacked models are the shadows themselves, each is left out of the fits that judge it, in closed form.
Otherwise even noise is "found": with 32 models a side the accuracy would read 0.556 instead of 0.5. What is left is on
the safe side: the model's own side is fitted to one model fewer, so that noise reads 0.48 with 4 models a side, 0.49
with 8 and 0.50 from 32 on.

N. Carlini et al., *Membership Inference Attacks From First Principles* (IEEE S&P 2022, arXiv 2112.03570). Differs from
the authors' code: the offline score is the paper's one-sided tail, not a density; the shared OUT sigma comes from OUT
scores, not from IN ones; a shared sigma is that within samples, where theirs also holds what samples differ by.
"""

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from erasable._plumbing.seeds import generator
from erasable.attacks._pairs import pairs, scalar, scored
from erasable.errors import Misaligned, PopulationTooSmall, SettingsError
from erasable.evidence import Evidence, Scores, aligned

FLOOR = 1e-6  # the least sigma, in units of the signal: models that all say the same still have a density
OWN = 64  # models from which on a sample has its own sigma; a side with under a quarter of them shares one
Location = Literal["median", "mean"]


def lira(
    targets: Evidence,
    shadows: Evidence | None = None,
    *,
    offline: bool = False,
    truth: Tensor | None = None,
    counted: Tensor | None = None,
    location: Location = "median",
    own: int = OWN,
    paired: bool = False,
) -> Scores:
    """Score each pair by `shadows`, whose `member` says who saw what.

    shadows         None where the targets are the shadows themselves: then each is left out
    paired          target i is shadow i, to which something was done since, such as unlearning: it is left out as well
    truth, counted  (models, samples) or (samples,) bool over the targets; `targets.member` and all when None
    own             models from which on a sample has its own sigma

    Pairs for which a side has no model left are not counted. The threshold for `rates` is 0, offline log(1/2). Raises
    Misaligned, and PopulationTooSmall where no pair can be judged.
    """
    known = targets if shadows is None else shadows
    aligned(targets, known, at_least=3)
    if paired and known.models != targets.models:
        raise Misaligned(f"{targets.models} targets and {known.models} shadow models, paired",
                         expected="the same models, before and after",
                         do="give one row for each in both")  # fmt: skip
    x, values, leave = scalar(targets), scalar(known), paired or known is targets
    outside = gaussians(values, ~known.member, leave_out=leave, location=location, own=own)
    asked = pairs(targets, counted, default=torch.ones_like(targets.member)) & (outside.n > 0)
    if offline:
        found = torch.special.log_ndtr((x - outside.location) / outside.sigma)
    else:
        inside = gaussians(values, known.member, leave_out=leave, location=location, own=own)
        asked = asked & (inside.n > 0)
        found = _log_density(x, inside) - _log_density(x, outside)
    if not bool(asked.any()):
        needed = "did not see" if offline else "saw and others did not see"
        raise PopulationTooSmall(f"no sample that some of {known.models} shadow models {needed}",
                                 expected="about half of them on each side",
                                 do="train them on random halves")  # fmt: skip
    return scored("LiRA offline" if offline else "LiRA", targets, found,
                  pairs(targets, truth, default=targets.member), asked)  # fmt: skip


class Gaussians(NamedTuple):
    """One per sample, (models, samples) where each model was left out of its own, else (1, samples).

    `n` counts the values behind it; where that is 0, location and sigma say nothing (but are finite).
    """

    location: Tensor
    sigma: Tensor
    n: Tensor


def gaussians(
    values: Tensor, side: Tensor, *, leave_out: bool, location: Location = "median", own: int = OWN
) -> Gaussians:
    """Fitted for each sample to the models on the `side`, both (models, samples); variances divide by n - 1.

    From `own` models on, samples with a quarter of them on the side have their own sigma. All others share one, the
    root mean square within samples. Raises PopulationTooSmall where no sample has two models to differ, SettingsError.
    """
    if own < 4 or location not in ("median", "mean"):
        raise SettingsError(f"own={own}, location='{location}'", expected="own >= 4, 'median' or 'mean'",
                            do="choose one of these")  # fmt: skip
    n = side.sum(0)[None]  # (1, samples)
    mean = torch.where(side, values, 0).sum(0) / n.clamp(min=1)
    apart = torch.where(side, values - mean, 0)
    gone = side.long() if leave_out else torch.zeros_like(n)
    taken = apart if leave_out else torch.zeros_like(mean)
    left = n - gone
    # without x: the mean moves by -(x - mean) / (n - 1), the sum of squares loses (x - mean)^2 n / (n - 1)
    rest = (apart.square().sum(0) - taken.square() * n / left.clamp(min=1)).clamp(min=0)
    freedom = (left - 1).clamp(min=0)
    if not bool(freedom.sum(1).gt(0).all()):
        raise PopulationTooSmall(f"{len(values)} models of which no two stand on one side of a sample"
                                 f"{' besides the one attacked' if leave_out else ''}",
                                 expected="at least two", do="train more shadow models")  # fmt: skip
    shared = rest.sum(1, keepdim=True) / freedom.sum(1, keepdim=True)
    alone = (n >= own / 4) & (n > 2) & (len(values) >= own)  # by n, not by what is left: that would tell the side
    sigma = torch.where(alone, rest / freedom.clamp(min=1), shared).sqrt().clamp(min=FLOOR)
    at = mean - taken / left.clamp(min=1) if location == "mean" else _medians(values, side, leave_out)
    return Gaussians(at, sigma, left)


def memorisation(shadows: Evidence) -> Tensor:
    """How much better models that saw a sample do on it than those that did not, (samples,): mean IN minus mean OUT.

    With the signal `correct` it is in [-1, 1], as in V. Feldman, C. Zhang, *What Neural Networks Memorize and Why*
    (NeurIPS 2020, arXiv 2008.03703); `confidence` is a smoother stand-in. All models count: there is nothing to leave
    out. Raises PopulationTooSmall for samples that all models saw, or none.
    """
    values, inside = scalar(shadows), shadows.member
    seen = inside.sum(0)
    lone = int(((seen == 0) | (seen == shadows.models)).sum())
    if lone:
        raise PopulationTooSmall(f"{lone} of {len(shadows.ids)} samples were seen by all {shadows.models} models or by "
                                 "none", expected="both kinds for each sample",
                                 do="leave those samples out, or train on random halves")  # fmt: skip
    return (values * inside).sum(0) / seen - (values * ~inside).sum(0) / (shadows.models - seen)


class Strata(NamedTuple):
    """Positions of samples, each ascending."""

    low: Tensor
    middle: Tensor
    high: Tensor


def strata(
    memorisation: Tensor, *, low: float = 0.01, high: float = 0.5, size: int | None = None, seed: int = 0
) -> Strata:
    """Split samples into those memorised less than `low`, those more than `high` and those between.

    The defaults are where published estimates for CIFAR-10 cut off about a quarter on either end (26.6 % and 24.9 %);
    random requests are mostly easy samples and hide what fails on the others. `size` keeps that many of each, drawn by
    `seed`. Raises SettingsError, PopulationTooSmall for a stratum that has fewer.
    """
    if not low <= high:
        raise SettingsError(f"low={low}, high={high}", expected="low <= high", do="swap them")
    under, over = memorisation < low, memorisation > high
    found = [torch.nonzero(each).flatten() for each in (under, ~under & ~over, over)]
    if size is None:
        return Strata(*found)
    for name, each in zip(Strata._fields, found, strict=True):
        if len(each) < size:
            raise PopulationTooSmall(f"{len(each)} samples of {name} memorisation", expected=f"at least {size}",
                                     do="ask for fewer, or move the thresholds")  # fmt: skip
    draws = generator(seed, "strata")
    return Strata(*(each[torch.randperm(len(each), generator=draws)[:size]].sort().values for each in found))


def _log_density(x: Tensor, of: Gaussians) -> Tensor:
    return -0.5 * ((x - of.location) / of.sigma).square() - of.sigma.log() - 0.5 * math.log(2 * math.pi)


def _medians(values: Tensor, side: Tensor, leave_out: bool) -> Tensor:
    """Of each sample's values on the side, the mean of the middle two of an even number; 0 where there is none."""
    placed = torch.where(side, values, torch.inf)  # the side first
    ordered, order = placed.sort(0)
    n = side.sum(0)[None]
    # a model's own place is jumped over; those not on the side jump nothing
    own = torch.where(side, order.argsort(0), len(values)) if leave_out else torch.full_like(n, len(values))
    left = n - (side.long() if leave_out else 0)
    low, high = (left - 1).clamp(min=0) // 2, left // 2
    middle = [ordered.gather(0, (k + (k >= own)).clamp(max=len(values) - 1)) for k in (low, high)]
    return torch.where(left > 0, (middle[0] + middle[1]) / 2, 0.0)
