"""The confidence attack of the unlearning papers: the share of erased samples taken for non-members, in per cent.

A support vector machine (C = 3, radial kernel, gamma "auto") learns to tell the model's own training samples from test
samples by one number, the probability of the true class, and is then asked about the erased ones. The goal is the
oracles' value, not 100. It is a population attack with one threshold for everybody, so it sees little: it stands here
because the papers report it ("MIA-efficacy").

J. Jia et al., *Model sparsity can simplify machine unlearning* (NeurIPS 2023, arXiv 2304.04934); after L. Song, P.
Mittal (USENIX Security 2021). Differs from their code: members and non-members are random subsets of equal size, at
most 2,000 each and decided by `seed`, where theirs are the first samples.
"""

from collections.abc import Sequence

import numpy as np
import torch

from erasable._plumbing.seeds import generator
from erasable.errors import Misaligned
from erasable.evidence import Evidence, Finding, binomial_interval

CAP = 2_000  # samples per side: fitting grows with the square


def svc_confidence(
    members: Evidence, others: Evidence, erased: Evidence, *, subject: str, oracles: Sequence[float] = (), seed: int = 0
) -> Finding:
    """From the signal `confidence` on retained training, test and erased samples; `oracles` are their own `shares`."""
    values = shares(members, others, erased, seed=seed)
    value, n = sum(values) / len(values), len(erased.ids)
    low, high = binomial_interval(value / 100 * n, n)
    return Finding(metric="confidence attack", subject=subject, value=value, unit="%", interval=(100 * low, 100 * high),
                   n=n, models=erased.models, direction="match", resolution=100 / n,
                   note=f"fitted on {_side(members, others)} members and as many others").beside(oracles)  # fmt: skip


def shares(members: Evidence, others: Evidence, erased: Evidence, *, seed: int = 0) -> list[float]:
    """The share of erased samples called non-members, in per cent, one value per model. Raises Misaligned."""
    from sklearn.svm import SVC

    if len({(each.models, each.signal) for each in (members, others, erased)}) != 1:
        raise Misaligned("members, others and erased samples of different models or signals",
                         expected="the same models and signal on all three", do="collect them together")  # fmt: skip
    size = _side(members, others)
    draws = generator(seed, "svc_confidence")
    inside = torch.randperm(len(members.ids), generator=draws)[:size]
    outside = torch.randperm(len(others.ids), generator=draws)[:size]
    group = np.repeat([1, 0], size)
    found = []
    for member, other, asked in zip(members.values, others.values, erased.values, strict=True):
        known = torch.cat([member[inside], other[outside]])[:, None].cpu().numpy()
        attack = SVC(C=3, kernel="rbf", gamma="auto").fit(known, group)
        found.append(100 * float((attack.predict(asked[:, None].cpu().numpy()) == 0).mean()))
    return found


def _side(members: Evidence, others: Evidence) -> int:
    return min(CAP, len(members.ids), len(others.ids))
