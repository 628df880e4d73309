"""The energy distance between unlearned models and oracles, averaged over samples, and how surprising it is.

    for each sample  2 E|X - Y| - E|X - X'| - E|Y - Y'|,  X, X' two models of the target, Y, Y' two oracles

in the unit of the signal. No bins, no tails to lose, no saturation. Pairs of a model with itself are left out, so the
mean is 0 where nothing differs (it can be slightly negative), however many models there are; a single model, which has
no pair, lies by the oracles' own spread higher, like each oracle against the others.

The p-value is that of a permutation test: models, not samples, are exchanged between the groups, since models are what
was trained independently. All permutations read one matrix, the mean distance between each two models. Floor: random
groups of oracles, as many as the target has models (half of them at most), against the rest.

G. J. Szekely, M. L. Rizzo, *Energy statistics* (Journal of Statistical Planning and Inference 143, 2013).
"""

import itertools
import math

import torch
from torch import Tensor

from erasable._plumbing.seeds import generator
from erasable.errors import Misaligned
from erasable.evidence import Evidence, Finding
from erasable.metrics._resampling import bootstrap, ensembles

PIECE = 4_000_000  # numbers held at once
SPLITS = 20


def energy_distance(
    target: Evidence, oracles: Evidence, *, subject: str, permutations: int = 999, seed: int = 0
) -> tuple[Finding, Finding]:
    """From a signal with one number per sample, such as `margin`: the distance, and the p-value of "no difference".

    Raises Misaligned, PopulationTooSmall for fewer than four oracles.
    """
    if permutations < 1:
        raise Misaligned(f"{permutations} permutations", expected="one or more", do="leave the default of 999")
    unlearned, retrained = ensembles(target, oracles, least=(1, 4))
    size, total = len(unlearned), len(unlearned) + len(retrained)
    apart = _mean_distances(torch.cat([unlearned, retrained]))
    value = float(_energy(apart, _groups(torch.arange(total)[None], size)))
    every = math.comb(total, size)
    p = _p_value(apart, size, value, permutations, seed)
    tried = f"all {every} splits" if every <= permutations else f"{permutations} random splits"
    models = f"{size} model{'s' if size > 1 else ''} and {len(retrained)} oracles"
    note = f"p = {p:.3g} by {tried} of {models}"
    least = 1 / every if every <= permutations else 1 / (1 + permutations)
    distance = Finding(metric="energy distance", subject=subject, value=value, note=note, n=len(target.ids),
                       interval=bootstrap(energies(unlearned, retrained), seed, "energy distance"), models=size,
                       direction="lower", resolution=1e-6).beside(_floor(apart[size:, size:], size, seed))  # fmt: skip
    chance = Finding(metric="energy distance p", subject=subject, value=p, n=len(target.ids), models=size,
                     direction="higher", resolution=least,
                     note=f"{tried}; no smaller than {least:.2g} with {models}")  # fmt: skip
    return distance, chance


def energies(left: Tensor, right: Tensor) -> Tensor:
    """The energy distance of each sample (samples,), from (models, samples) of two ensembles, by sorting."""
    within = [_pair_sums(each) for each in (left, right)]
    across = _pair_sums(torch.cat([left, right])) - within[0] - within[1]
    a, b = len(left), len(right)
    means = [each / max(1, math.comb(k, 2)) for each, k in zip(within, (a, b), strict=True)]
    return 2 * across / (a * b) - means[0] - means[1]


def _pair_sums(values: Tensor) -> Tensor:
    """The sum of |difference| over all pairs of rows, for each column."""
    k = len(values)
    weights = 2 * torch.arange(k, dtype=values.dtype) - (k - 1)  # how often each rank is added and taken away
    return (weights[:, None] * values.sort(dim=0).values).sum(dim=0)


def _mean_distances(values: Tensor) -> Tensor:
    """(models, models): the mean over samples of |difference|."""
    return torch.cdist(values, values, p=1) / values.shape[1]


def _groups(orders: Tensor, size: int) -> Tensor:
    """(splits, models) with 1 for the first `size` of each order and 0 for the others."""
    return torch.zeros(orders.shape, dtype=torch.float64).scatter_(1, orders[:, :size], 1.0)


def _energy(apart: Tensor, first: Tensor) -> Tensor:
    """The energy distance of each split (splits,), from distances whose diagonal is zero."""
    second = 1 - first
    a, b = (each.sum(dim=1) for each in (first, second))
    reached = first @ apart
    across = (reached * second).sum(dim=1) / (a * b)
    within = (reached * first).sum(dim=1) / (a * (a - 1)).clamp(min=1)
    others = ((second @ apart) * second).sum(dim=1) / (b * (b - 1)).clamp(min=1)
    return 2 * across - within - others


def _p_value(apart: Tensor, size: int, value: float, permutations: int, seed: int) -> float:
    """The share of splits, the given one among them, in which the groups are as far apart or farther.

    All splits where there are no more than `permutations`, else so many random ones and the given one.
    """
    total = len(apart)
    least = value - 1e-12 * max(1.0, abs(value))  # a sum in another order is no difference
    if math.comb(total, size) <= permutations:
        firsts = torch.tensor([*itertools.combinations(range(total), size)])
        chosen = torch.zeros(len(firsts), total, dtype=torch.float64).scatter_(1, firsts, 1.0)
        return float((_energy(apart, chosen) >= least).double().mean())
    draws = generator(seed, "energy distance", "permutations")
    at_once, beaten = max(1, PIECE // total), 0
    for done in range(0, permutations, at_once):
        keys = torch.rand(min(at_once, permutations - done), total, generator=draws, dtype=torch.float64)
        beaten += int((_energy(apart, _groups(keys.argsort(dim=1), size)) >= least).sum())
    return (1 + beaten) / (1 + permutations)


def _floor(apart: Tensor, models: int, seed: int) -> list[float]:
    """Oracles against oracles: each one against the others for a single model, random groups for several."""
    total = len(apart)
    size = min(models, total // 2)
    if size == 1:
        return _energy(apart, torch.eye(total, dtype=torch.float64)).tolist()
    draws = generator(seed, "energy distance", "floor")
    orders = torch.rand(SPLITS, total, generator=draws, dtype=torch.float64).argsort(dim=1)
    return _energy(apart, _groups(orders, size)).tolist()
