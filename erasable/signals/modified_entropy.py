"""Entropy that knows the right answer: 0 for a model that is surely right, large for one that is surely wrong, in nats.

    ME(x, y) = -(1 - p_y) log p_y - sum over c != y of p_c log(1 - p_c)

L. Song, P. Mittal, *Systematic Evaluation of Privacy Risks of Machine Learning Models* (USENIX Security 2021, arXiv
2003.10595). This is their definition. The version in the code that many unlearning papers share is another quantity:
it takes log p where log(1 - p) belongs, and writes whole columns of a batch where one entry per row is meant.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from erasable.dataset import Dataset
from erasable.evidence import Evidence
from erasable.signals.log_probabilities import log_probabilities
from erasable.task import LogitTask


def modified_entropy(models: Sequence[Any], task: LogitTask, data: Dataset, *, fitted: Tensor) -> Evidence:
    """`fitted` (models, samples) bool. Raises Misaligned for NaN."""
    labels = task.labels(task.batch(data, torch.arange(len(data))))
    return modified_entropy_of(log_probabilities(models, task, data, fitted=fitted), labels)


def modified_entropy_of(log_p: Evidence, labels: Tensor) -> Evidence:
    """From log-probabilities and the right answers (samples,)."""
    at = labels.to(log_p.values.device).view(1, -1, 1).expand(log_p.models, -1, 1)
    rest = _log_rest(log_p.values)
    right = -rest.gather(2, at).exp() * log_p.values.gather(2, at)
    wrong = -(log_p.values.exp() * rest).scatter(2, at, 0.0).sum(dim=2, keepdim=True)
    return Evidence("modified_entropy", log_p.ids, (right + wrong).squeeze(2), log_p.member)


def _log_rest(log_p: Tensor) -> Tensor:
    """log(1 - p_c) for each class, same shape: 1 - p loses its digits for one class at most, the likeliest."""
    top = log_p.argmax(dim=2, keepdim=True)
    exact = log_p.scatter(2, top, -math.inf).logsumexp(dim=2, keepdim=True)
    return torch.log1p(-log_p.exp().clamp(max=0.5)).scatter(2, top, exact)
