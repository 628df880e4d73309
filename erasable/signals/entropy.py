"""How undecided a model is: the entropy of its class probabilities, in nats, from 0 to log(classes).

It needs no labels. A low value says "sure", of whatever: also of a wrong answer, and of samples that were never seen.
Some published attacks read nothing else (V. S. Chundawat et al., AAAI 2023, arXiv 2205.08096).
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from erasable.dataset import Dataset
from erasable.evidence import Evidence
from erasable.signals.log_probabilities import log_probabilities
from erasable.task import LogitTask


def entropy(models: Sequence[Any], task: LogitTask, data: Dataset, *, fitted: Tensor) -> Evidence:
    """`fitted` (models, samples) bool. Raises Misaligned for NaN."""
    return entropy_of(log_probabilities(models, task, data, fitted=fitted))


def entropy_of(log_p: Evidence) -> Evidence:
    """From log-probabilities."""
    return Evidence("entropy", log_p.ids, -(log_p.values.exp() * log_p.values).sum(dim=2), log_p.member)
