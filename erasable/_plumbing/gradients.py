"""Gradients of a trained network over a data set, in memory that does not grow with it.

A vector of gradients is a tuple with one tensor per parameter, in the order of `model.parameters()`. The network is in
eval mode throughout, so that batch normalisation neither mixes samples nor moves; a parameter that a loss does not
touch has a gradient of zero. A pass frees its activations batch by batch, as training does, so it keeps freed memory.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from erasable._plumbing.batching import in_order
from erasable._plumbing.heap import keep_freed_memory
from erasable.dataset import Dataset
from erasable.task import Batch, Forward, Task

Vector = tuple[Tensor, ...]
Losses = Callable[[Forward, Batch], Tensor]  # (batch,), such as `task.losses`
FLOATS = 64 * 2**20  # numbers that a chunk of per-sample gradients may hold: 256 MiB


def gradient(loss: Tensor, parameters: Iterable[Tensor]) -> Vector:
    """Of a scalar, zeros where a parameter does not matter to it."""
    held = list(parameters)
    found = torch.autograd.grad(loss, held, allow_unused=True)
    return tuple(torch.zeros_like(w) if g is None else g for w, g in zip(held, found, strict=True))


def mean_gradient(model: nn.Module, task: Task, data: Dataset, *, batch: int, losses: Losses | None = None) -> Vector:
    """The gradient of the mean loss over a data set: one pass."""
    asked = losses or task.losses
    total = tuple(torch.zeros_like(w) for w in model.parameters())
    with _open(model) as parameters:
        for each in in_order(task, data, batch):
            for whole, part in zip(total, gradient(asked(model, each).sum(), parameters), strict=True):
                whole.add_(part, alpha=1 / len(data))
    return total


def batch_importance(
    model: nn.Module,
    task: Task,
    data: Dataset,
    *,
    batch: int,
    losses: Losses | None = None,
    power: Callable[[Tensor], Tensor] = torch.square,
) -> Vector:
    """Per weight the mean over batches of the squared gradient of the batch's mean loss, in the order of the data.

    Its scale depends on the size of the batches: the noise of a mean over b samples falls with b, its mean does not.
    """
    asked = losses or task.losses
    total, batches = tuple(torch.zeros_like(w) for w in model.parameters()), -(-len(data) // batch)
    with _open(model) as parameters:
        for each in in_order(task, data, batch):
            for whole, part in zip(total, gradient(asked(model, each).mean(), parameters), strict=True):
                whole.add_(power(part), alpha=1 / batches)
    return total


def per_sample(
    model: nn.Module, task: Task, data: Dataset, *, losses: Losses | None = None, floats: int = FLOATS
) -> Iterator[Tensor]:
    """Gradients of each sample's own loss, (chunk, parameters) flat, chunk after chunk in the order of the data.

    As many samples at a time as keep a chunk within `floats` numbers, at least one.
    """
    keep_freed_memory()
    loss = loss_of_one(model, losses or task.losses)
    weights = {name: p.detach() for name, p in model.named_parameters()}
    size = max(1, floats // sum(p.numel() for p in weights.values()))
    for each in in_order(task, data, size):
        found = vmap(grad(loss), in_dims=(None, 0))(weights, each)
        yield torch.cat([found[name].flatten(1) for name in weights], dim=1)


def loss_of_one(model: nn.Module, losses: Losses) -> Callable[[dict[str, Tensor], Batch], Tensor]:
    """The loss of one sample (a batch without its first axis) at given weights by name, for `torch.func`."""
    buffers = {name: b.detach() for name, b in model.named_buffers()}
    model.eval()

    def loss(weights: dict[str, Tensor], one: Batch) -> Tensor:
        def forward(*args: Any, **kw: Any) -> Tensor:
            out: Tensor = functional_call(model, (weights, buffers), args, kw)
            return out

        return losses(forward, {name: tensor[None] for name, tensor in one.items()})[0]

    return loss


def flat(vector: Iterable[Tensor]) -> Tensor:
    """One long vector, (parameters,)."""
    return torch.cat([each.flatten() for each in vector])


def shaped(vector: Tensor, like: Iterable[Tensor]) -> Vector:
    """The reverse of `flat`."""
    held = list(like)
    parts = torch.split(vector, [each.numel() for each in held])
    return tuple(part.view_as(each) for part, each in zip(parts, held, strict=True))


def dot(a: Vector, b: Vector) -> Tensor:
    """The inner product of two vectors."""
    return torch.stack([(x * y).sum() for x, y in zip(a, b, strict=True)]).sum()


class _open:
    """The network in eval mode with all parameters taking gradients; afterwards as it was."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def __enter__(self) -> list[nn.Parameter]:
        keep_freed_memory()
        self.mode = self.model.training
        self.asked = [p.requires_grad for p in self.model.parameters()]
        self.model.eval().requires_grad_(True)
        return list(self.model.parameters())

    def __exit__(self, *_: object) -> None:
        self.model.train(self.mode)
        for parameter, asked in zip(self.model.parameters(), self.asked, strict=True):
            parameter.requires_grad_(asked)
