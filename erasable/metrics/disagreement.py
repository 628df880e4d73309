"""How often a model and an oracle give different answers, in per cent of the samples, averaged over oracles.

Two oracles disagree as well: each one's disagreement with the others is the noise floor, and anything up to it is as
good as retraining. The interval is exact binomial at the mean rate (oracles share the samples, so it is a safe one).
"""

import torch
from torch import Tensor

from erasable.evidence import Evidence, Finding, aligned, binomial_interval


def disagreement(target: Evidence, oracles: Evidence, *, subject: str) -> Finding:
    """From the signal `prediction`. Raises Misaligned, PopulationTooSmall for fewer than two oracles."""
    aligned(target, oracles, at_least=2)
    n = len(target.ids)
    value = float(100 * _differ(target.values, oracles.values).mean())
    among = 100 * _differ(oracles.values, oracles.values)
    null = among.sum(dim=1) / (oracles.models - 1)  # an oracle never disagrees with itself
    low, high = binomial_interval(value / 100 * n, n)
    return Finding(metric="disagreement", subject=subject, value=value, unit="%", interval=(100 * low, 100 * high), n=n,
                   models=target.models, direction="lower", resolution=100 / n).beside(null.tolist())  # fmt: skip


def _differ(left: Tensor, right: Tensor) -> Tensor:
    """Share of samples with different answers, (left models, right models)."""
    return torch.stack([(each != right).double().mean(dim=1) for each in left])
