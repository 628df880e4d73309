"""Is the answer right? 1 or 0 per model and sample."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from erasable.dataset import Dataset
from erasable.evidence import Evidence
from erasable.signals.log_probabilities import log_probabilities
from erasable.task import LogitTask


def correct(models: Sequence[Any], task: LogitTask, data: Dataset, *, fitted: Tensor) -> Evidence:
    labels = task.labels(task.batch(data, torch.arange(len(data))))
    return correct_of(log_probabilities(models, task, data, fitted=fitted), labels)


def correct_of(log_p: Evidence, labels: Tensor) -> Evidence:
    """From log-probabilities and the right answers (samples,)."""
    right = log_p.values.argmax(dim=2) == labels.to(log_p.values.device)
    return Evidence("correct", log_p.ids, right.double(), log_p.member)
