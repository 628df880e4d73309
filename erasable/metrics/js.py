"""The Jensen-Shannon divergence between a model's and an oracle's answers, in nats per sample, from 0 to log 2.

    mean over samples and oracles of  KL(p || m) / 2 + KL(q || m) / 2,  m = (p + q) / 2

Unlike KL it has no side and cannot explode: one sample that a model is surely wrong about counts for at most 0.69.
Oracle to oracle it is not zero; each oracle's divergence from the others is the noise floor. The interval is a
bootstrap over samples.

J. Lin, *Divergence Measures Based on the Shannon Entropy*, IEEE Transactions on Information Theory 37 (1991).
"""

from erasable.evidence import Evidence, Finding
from erasable.metrics._divergence import jensen_shannon
from erasable.metrics._to_oracles import to_oracles


def js(target: Evidence, oracles: Evidence, *, subject: str, seed: int = 0) -> Finding:
    """From the signal `log_probabilities`. Raises Misaligned, PopulationTooSmall for fewer than two oracles."""
    return to_oracles(target, oracles, jensen_shannon, metric="JS", subject=subject, unit="nats", seed=seed)
