"""The mean over samples and oracles of a distance between class probabilities, with the oracles' own beside it."""

from collections.abc import Callable

import torch
from torch import Tensor

from erasable.evidence import Evidence, Finding, aligned
from erasable.metrics._resampling import bootstrap

Distance = Callable[[Tensor, Tensor], Tensor]  # log p (oracles, samples, classes), (samples, classes) -> first two axes


def to_oracles(
    target: Evidence, oracles: Evidence, distance: Distance, *, metric: str, subject: str, unit: str, seed: int
) -> Finding:
    """`distance` is 0 from a model to itself. Raises Misaligned, PopulationTooSmall for fewer than two oracles."""
    aligned(target, oracles, at_least=2)
    per_sample = torch.stack([distance(oracles.values, each).mean(dim=0) for each in target.values]).mean(dim=0)
    among = torch.stack([distance(oracles.values, each).mean(dim=1) for each in oracles.values])
    null = among.sum(dim=1) / (oracles.models - 1)  # zero from itself
    return Finding(metric=metric, subject=subject, value=float(per_sample.mean()), unit=unit, n=len(target.ids),
                   interval=bootstrap(per_sample, seed, metric), models=target.models, direction="lower",
                   resolution=1e-6).beside(null.tolist())  # fmt: skip
