"""The logarithm of each class's probability, (models, samples, classes) in nats: what the other signals derive from.

Probabilities are kept at 1e-8 or more, as the models with prototype memories do in their own output (the SPM paper's
code), so that a class that a model no longer knows (logit -inf) still gives a finite number. They are not normalised
again. Computed in float64 from the model's logits.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from erasable.dataset import Dataset
from erasable.evidence import Evidence
from erasable.signals._pass import over_batches
from erasable.task import Batch, LogitTask

FLOOR = 1e-8


def log_probabilities(models: Sequence[Any], task: LogitTask, data: Dataset, *, fitted: Tensor) -> Evidence:
    """`fitted` (models, samples) bool says which model was fitted on which sample. Raises Misaligned for NaN."""

    def of(model: Any, batch: Batch) -> Tensor:
        return torch.log_softmax(task.logits(model, batch).double(), dim=1).clamp(min=math.log(FLOOR))

    return Evidence("log_probabilities", data.ids, over_batches(models, task, data, of), fitted)
