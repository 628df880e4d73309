"""The Kullback-Leibler divergence KL(oracle || model), in nats per sample, averaged over oracles.

    mean over samples and oracles r of  sum_c p_r(c) * (log p_r(c) - log p(c))

It sees what accuracy cannot: how sure a model is, and what it takes for the second best answer. Oracle to oracle it is
not zero; each oracle's divergence from the others is the noise floor. The interval is a bootstrap over samples.
Probabilities have the floor of the signal (1e-8), so one sample counts for at most about 18 nats.

S. Kullback, R. A. Leibler, *On information and sufficiency*, Annals of Mathematical Statistics 22 (1951).
"""

import torch
from torch import Tensor

from erasable.evidence import Evidence, Finding, aligned
from erasable.metrics._resampling import bootstrap


def kl(target: Evidence, oracles: Evidence, *, subject: str, seed: int = 0) -> Finding:
    """From the signal `log_probabilities`. Raises Misaligned, PopulationTooSmall for fewer than two oracles."""
    aligned(target, oracles, at_least=2)
    per_sample = torch.stack([_divergences(oracles.values, each).mean(dim=0) for each in target.values]).mean(dim=0)
    among = torch.stack([_divergences(oracles.values, each).mean(dim=1) for each in oracles.values])
    null = among.sum(dim=1) / (oracles.models - 1)  # zero from itself
    return Finding(metric="KL", subject=subject, value=float(per_sample.mean()), unit="nats", n=len(target.ids),
                   interval=bootstrap(per_sample, seed, "kl"), models=target.models, direction="lower",
                   resolution=1e-6).beside(null.tolist())  # fmt: skip


def _divergences(oracles: Tensor, model: Tensor) -> Tensor:
    """From (oracles, samples, classes) and (samples, classes) to (oracles, samples)."""
    return (oracles.exp() * (oracles - model)).sum(dim=2)
