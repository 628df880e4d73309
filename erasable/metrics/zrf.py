"""Does a model answer the erased samples like a network that learned nothing? The oracles' value is the goal, not 1.

    ZRF = 1 - mean over samples and teachers T of JS(p(x), p_T(x)),  JS in nats, so ZRF lies in [0.307, 1]

The teachers are several networks with random weights, and what they say is a matter of initialisation, hence several.
A retrained model knows similar samples, so it is no random network: higher than the oracles is as telling as lower.

V. S. Chundawat et al., *Can Bad Teaching Induce Forgetting?* (AAAI 2023, arXiv 2205.08096). With `released` it is the
quantity that their code and its copies compute, for comparison with published tables only: the divergences are taken
the other way round, KL(m || p), which has no bound, and divided by the number of classes, so that an untouched model
of 100 classes reads about 0.98.
"""

import torch
from torch import Tensor

from erasable.evidence import Evidence, Finding, aligned
from erasable.metrics._divergence import jensen_shannon, reversed_jensen_shannon
from erasable.metrics._resampling import bootstrap


def zrf(target: Evidence, teachers: Evidence, oracles: Evidence | None = None, *, subject: str, released: bool = False,
        seed: int = 0) -> Finding:  # fmt: skip
    """From the signal `log_probabilities` on the erased samples. Raises Misaligned, PopulationTooSmall.

    Two teachers or more, or one with `released`, as it was published.
    """
    aligned(target, teachers, at_least=1 if released else 2)
    per_sample = _likeness(target.values, teachers.values, released)  # (models, samples)
    metric = "ZRF, released code" if released else "ZRF"
    finding = Finding(metric=metric, subject=subject, value=float(per_sample.mean()), n=len(target.ids),
                      interval=bootstrap(per_sample.mean(dim=0), seed, metric), models=target.models, resolution=1e-6,
                      direction="match", note=f"against {teachers.models} random networks")  # fmt: skip
    if oracles is None:
        return finding
    aligned(target, oracles)
    return finding.beside(_likeness(oracles.values, teachers.values, released).mean(dim=1).tolist())


def _likeness(models: Tensor, teachers: Tensor, released: bool) -> Tensor:
    """From log-probabilities (models or teachers, samples, classes) to (models, samples)."""
    if released:
        classes = models.shape[2]
        return torch.stack([1 - reversed_jensen_shannon(each, teachers).mean(dim=0) / classes for each in models])
    return torch.stack([1 - jensen_shannon(each, teachers).mean(dim=0) for each in models])
