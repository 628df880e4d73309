"""Passes over a data set: in order, or shuffled and augmented as in training."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from erasable._plumbing.seeds import generator
from erasable.dataset import Dataset
from erasable.errors import TaskMismatch
from erasable.task import Batch, LogitTask, Task


def in_order(task: Task, data: Dataset, size: int) -> Iterator[Batch]:
    """Every sample once, without augmentation; the last batch may be smaller."""
    for at in torch.split(torch.arange(len(data)), size):
        yield task.batch(data, at)


def shuffled(task: Task, data: Dataset, size: int, *, epochs: int, seed: int) -> Iterator[Batch]:
    """`epochs` passes, each in another order and with other augmentation; the last batch of a pass may be smaller."""
    return (batch for _, batch in numbered(task, data, size, epochs=epochs, seed=seed))


def numbered(task: Task, data: Dataset, size: int, *, epochs: int, seed: int) -> Iterator[tuple[Tensor, Batch]]:
    """The batches of `shuffled`, each with the positions of its samples: for what was worked out per sample before."""
    order, noise = generator(seed, "order"), generator(seed, "augment")
    for _ in range(epochs):
        for at in torch.split(torch.randperm(len(data), generator=order), size):
            batch = task.batch(data, at)
            yield at, task.augment(batch, torch.rand(len(at), task.draws, generator=noise)) if task.draws else batch


@torch.no_grad()
def mean_loss(model: nn.Module, task: Task, data: Dataset, size: int) -> float:
    """The mean loss over a data set, in nats."""
    return float(torch.cat([task.losses(model, batch) for batch in in_order(task, data, size)]).mean())


def refuse_unlabelled(task: Task, method: object) -> None:
    """Raise TaskMismatch for a task without a finite set of answers."""
    if not isinstance(task, LogitTask):
        raise TaskMismatch(f"{type(method).__name__} needs labels, a {type(task).__name__} has none",
                           expected="a finite set of answers", do="choose a method for this task")  # fmt: skip


def labels_of(task: LogitTask, data: Dataset, size: int = 256) -> Tensor:
    """The right answers, (samples,) integers."""
    return torch.cat([task.labels(batch) for batch in in_order(task, data, size)])


@torch.no_grad()
def features(encoder: nn.Module, task: LogitTask, data: Dataset, size: int = 256) -> Tensor:
    """What an encoder in eval mode makes of every sample, (samples, width)."""
    return torch.cat([task.logits(encoder, batch) for batch in in_order(task, data, size)])
