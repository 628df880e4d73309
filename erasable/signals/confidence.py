"""The probability that a model gives to the right answer, in [1e-8, 1]."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from erasable.dataset import Dataset
from erasable.evidence import Evidence
from erasable.signals.log_probabilities import log_probabilities
from erasable.task import LogitTask


def confidence(models: Sequence[Any], task: LogitTask, data: Dataset, *, fitted: Tensor) -> Evidence:
    labels = task.labels(task.batch(data, torch.arange(len(data))))
    return confidence_of(log_probabilities(models, task, data, fitted=fitted), labels)


def confidence_of(log_p: Evidence, labels: Tensor) -> Evidence:
    """From log-probabilities and the right answers (samples,)."""
    at = labels.to(log_p.values.device).view(1, -1, 1).expand(log_p.models, -1, 1)
    return Evidence("confidence", log_p.ids, log_p.values.gather(2, at).squeeze(2).exp(), log_p.member)
