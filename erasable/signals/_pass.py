"""One pass over the data for many models: each batch is read once and shown to all of them."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from erasable.dataset import Dataset
from erasable.errors import EmptyRequest, PopulationTooSmall
from erasable.task import Batch, Task

ROWS = 1024  # samples per forward pass


def over_batches(models: Sequence[Any], task: Task, data: Dataset, of: Callable[[Any, Batch], Tensor]) -> Tensor:
    """`of(model, batch)`, one row per sample, for every model: (models, samples, ...) on the CPU.

    Models are evaluated in eval mode, on the device they live on, and left in the mode they came in. Raises
    PopulationTooSmall without models, EmptyRequest without samples.
    """
    if not models:
        raise PopulationTooSmall("no models", expected="at least one", do="pass the models to look at")
    if not len(data):
        raise EmptyRequest(f"no samples of '{data.name}' to look at", expected="at least one", do="choose other data")
    modes = [model.training for model in models]
    devices = [next((p.device for p in model.parameters()), None) for model in models]
    for model in models:
        model.eval()
    seen: list[list[Tensor]] = [[] for _ in models]
    try:
        with torch.inference_mode():
            for start in range(0, len(data), ROWS):
                batch = task.batch(data, torch.arange(start, min(start + ROWS, len(data))))
                for rows, model, device in zip(seen, models, devices, strict=True):
                    here = batch if device is None else {name: each.to(device) for name, each in batch.items()}
                    rows.append(of(model, here).cpu())
    finally:
        for model, mode in zip(models, modes, strict=True):
            model.train(mode)
    return torch.stack([torch.cat(rows) for rows in seen]).clone()  # cloned: a normal tensor, not an inference one
