"""Are two classes, part of whose labels were swapped in training, still mistaken on test samples? In per cent.

    IC-Err   share of the test samples of both classes with a wrong answer of any kind
    Fgt-Err  share of them with the other class of the pair as the answer

The oracles' values are the goal: how hard the two are to tell apart without the swapped samples. Fgt-Err well above
says that the confusion stayed; IC-Err well above with Fgt-Err as it should be, that the repair broke something else.

S. Goel et al., *Towards adversarial evaluations for inexact machine unlearning* (2022, arXiv 2201.06640). The
intervals are exact binomial at the mean rate over models.
"""

import torch
from torch import Tensor

from erasable.errors import Misaligned
from erasable.evidence import Evidence, Finding, aligned, binomial_interval


def interclass_confusion(
    target: Evidence, labels: Tensor, pair: tuple[int, int], oracles: Evidence | None = None, *, subject: str
) -> tuple[Finding, Finding]:
    """(IC-Err, Fgt-Err) from the signal `prediction` on test samples of both classes and their right labels (samples,).

    Raises Misaligned for another signal, other lengths, or a label outside the pair.
    """
    if target.signal != "prediction" or labels.shape != (len(target.ids),):
        raise Misaligned(f"'{target.signal}' on {len(target.ids)} samples and labels {tuple(labels.shape)}",
                         expected="prediction, and one right label per sample", do="collect both together")  # fmt: skip
    right = labels.to(target.values.device)
    if len(set(pair)) != 2 or not bool(torch.isin(right, torch.tensor(pair, device=right.device)).all()):
        raise Misaligned(f"test samples with the labels {torch.unique(labels).tolist()} for the pair {pair}",
                         expected="samples of two different classes", do="look at the pair's alone")  # fmt: skip
    if oracles is not None:
        aligned(target, oracles)
    return (_finding("IC-Err", target, oracles, right, None, subject),
            _finding("Fgt-Err", target, oracles, right, sum(pair) - right, subject))  # fmt: skip


def _finding(
    metric: str, target: Evidence, oracles: Evidence | None, right: Tensor, other: Tensor | None, subject: str
) -> Finding:
    def shares(seen: Evidence) -> list[float]:
        errs = seen.values != right if other is None else seen.values == other
        return (100 * errs.double().mean(dim=1)).tolist()

    values, n = shares(target), len(target.ids)
    value = sum(values) / len(values)
    low, high = binomial_interval(value / 100 * n, n)
    found = Finding(metric=metric, subject=subject, value=value, unit="%", interval=(100 * low, 100 * high), n=n,
                    models=target.models, direction="match", resolution=100 / n)  # fmt: skip
    return found if oracles is None else found.beside(shares(oracles))
