"""Steps of an optimiser on a loss of one's own, over batches of what is erased and of what stays."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn

from erasable._plumbing.batching import shuffled
from erasable._plumbing.seeds import child, generator
from erasable.dataset import Dataset
from erasable.request import Split
from erasable.task import Batch, Task
from erasable.train import Recipe

Given = TypeVar("Given")


class Refining(Protocol):
    """Settings of a training that goes on from trained weights."""

    @property
    def epochs(self) -> int: ...
    @property
    def lr(self) -> float: ...
    @property
    def batch(self) -> int: ...
    @property
    def momentum(self) -> float: ...
    @property
    def weight_decay(self) -> float: ...


def refining(settings: Refining) -> Recipe:
    """SGD without a warm-up, for weights that are trained already. Raises SettingsError."""
    return Recipe(epochs=settings.epochs, lr=settings.lr, batch=settings.batch, momentum=settings.momentum,
                  weight_decay=settings.weight_decay, warmup=0.0, optimizer="sgd")  # fmt: skip


def descend(
    model: nn.Module,
    batches: Iterable[Given],
    loss: Callable[[Given], Tensor],
    recipe: Recipe,
    *,
    steps: int,
    moving: Sequence[Tensor] | None = None,
    factor: Callable[[int], float] | None = None,
) -> None:
    """A fresh optimiser takes one step on `loss(batch)` for each of `batches`, `steps` in all for the learning rate.

    moving  (one bool tensor per parameter) the weights that may move. The others are put back after every step: a
            gradient of zero would not hold them, for weight decay and momentum go on
    factor  the learning rate at a step, as a share of its peak; the recipe's when None

    The parameters must take gradients (`weights.unfrozen`); what the loss does not touch stays.
    """
    held = [p for p in model.parameters() if p.requires_grad]
    before = None if moving is None else [p.detach().clone() for p in held]
    optimizer = recipe.optimiser(held)
    for step, batch in enumerate(batches):
        for group in optimizer.param_groups:
            group["lr"] = recipe.lr * (recipe.factor(step, steps) if factor is None else factor(step))
        optimizer.zero_grad(set_to_none=True)
        loss(batch).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if moving is not None and before is not None:
            with torch.no_grad():
                for weight, free, old in zip(held, moving, before, strict=True):
                    torch.where(free, weight, old, out=weight.data)


def batches_in(data: Dataset, size: int, *, epochs: int = 1) -> int:
    """How many steps `shuffled` gives."""
    return epochs * -(-len(data) // size)


def pairs(
    task: Task, split: Split, size: int, *, epochs: int, seed: int, over: str = "retain"
) -> Iterator[tuple[Batch, Batch]]:
    """(batch of what is erased, batch of what stays); an epoch is one pass over `over`, the other is gone through again
    and again. Both are shuffled and augmented as in training."""
    long, short = (split.retain, split.forget) if over == "retain" else (split.forget, split.retain)
    rounds = -(-batches_in(long, size, epochs=epochs) // batches_in(short, size))
    again = shuffled(task, short, size, epochs=rounds, seed=child(seed, "short"))
    for first in shuffled(task, long, size, epochs=epochs, seed=child(seed, "long")):
        second = next(again)
        yield (second, first) if over == "retain" else (first, second)


def together(
    task: Task, split: Split, size: int, *, epochs: int, seed: int, mixed: bool
) -> Iterator[tuple[Batch, Tensor]]:
    """Batches of both halves, with each sample's position in what is erased, -1 for one that stays.

    An epoch is a pass over what is erased and then one over what stays, or, when mixed, one over both in one order.
    Shuffled and augmented as in training; in a batch, samples that are erased come first.
    """
    order, noise = generator(seed, "order"), generator(seed, "augment")
    gone, stay = len(split.forget), len(split.retain)
    for _ in range(epochs):
        passes = [gone + stay] if mixed else [gone, stay]
        first = 0
        for n in passes:
            for at in torch.split(first + torch.randperm(n, generator=order), size):
                erased, kept = at[at < gone], at[at >= gone] - gone
                halves = [task.batch(data, rows) for data, rows in ((split.forget, erased), (split.retain, kept))
                          if len(rows)]  # fmt: skip
                batch = {name: torch.cat([half[name] for half in halves]) for name in halves[0]}
                batch = task.augment(batch, torch.rand(len(at), task.draws, generator=noise)) if task.draws else batch
                yield batch, torch.cat([erased, torch.full_like(kept, -1)])
            first = gone


@contextmanager
def still_statistics(model: nn.Module) -> Iterator[None]:
    """Batch normalisation uses its running statistics inside and does not move them: for batches of what is erased."""
    layers = [each for each in model.modules() if isinstance(each, nn.modules.batchnorm._BatchNorm) and each.training]
    for each in layers:
        each.eval()
    try:
        yield
    finally:
        for each in layers:
            each.train()
