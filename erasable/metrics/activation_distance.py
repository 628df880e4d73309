"""The Euclidean distance between a model's and an oracle's class probabilities, from 0 to the square root of 2.

    mean over samples and oracles r of  || p(x) - p_r(x) ||_2

Two oracles are apart as well, most of all near decision boundaries; each oracle's distance to the others is the noise
floor. The interval is a bootstrap over samples.

A. Golatkar, A. Achille, S. Soatto, *Mixed-Privacy Forgetting in Deep Networks* (CVPR 2021, arXiv 2012.13431).
"""

from torch import Tensor

from erasable.evidence import Evidence, Finding
from erasable.metrics._to_oracles import to_oracles


def activation_distance(target: Evidence, oracles: Evidence, *, subject: str, seed: int = 0) -> Finding:
    """From the signal `log_probabilities`. Raises Misaligned, PopulationTooSmall for fewer than two oracles."""
    return to_oracles(target, oracles, _euclidean, metric="activation distance", subject=subject, unit="", seed=seed)


def _euclidean(log_p: Tensor, log_q: Tensor) -> Tensor:
    return (log_p.exp() - log_q.exp()).square().sum(-1).sqrt()
