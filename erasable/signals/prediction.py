"""The class that a model answers with, (models, samples) integers; the first of equals."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from erasable.dataset import Dataset
from erasable.evidence import Evidence
from erasable.signals.log_probabilities import log_probabilities
from erasable.task import LogitTask


def prediction(models: Sequence[Any], task: LogitTask, data: Dataset, *, fitted: Tensor) -> Evidence:
    return prediction_of(log_probabilities(models, task, data, fitted=fitted))


def prediction_of(log_p: Evidence) -> Evidence:
    """From log-probabilities."""
    return Evidence("prediction", log_p.ids, log_p.values.argmax(dim=2), log_p.member)
