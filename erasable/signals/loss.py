"""The task's own loss of each sample, in the task's units: the one signal that every task has."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from erasable.dataset import Dataset
from erasable.evidence import Evidence
from erasable.signals._pass import over_batches
from erasable.task import Task


def loss(models: Sequence[Any], task: Task, data: Dataset, *, fitted: Tensor) -> Evidence:
    """`fitted` (models, samples) bool. Raises Misaligned for a loss that is not finite."""
    values = over_batches(models, task, data, lambda model, batch: task.losses(model, batch).double())
    return Evidence("loss", data.ids, values, fitted)
