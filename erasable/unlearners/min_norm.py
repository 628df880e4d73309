"""Shrink the weights wherever the answers on the retained data do not feel it: the simplest network that fits.

    G = gradients of the network's outputs on some retained samples, (weights, columns)
    w <- w - ridge * (I - G (G^T G)^-1 G^T) w,      then a step on mean_retain l(w), by a fresh forward pass

Where everything is fitted, losses have no gradient left to follow and "minimises the retained loss" is true of the old
weights too. Among all networks that fit what stays, this walks to one of small norm: weight decay in those directions
alone that change no retained answer, to first order. The forget data are not read.

In one epoch of `period`, until the last `settle`, every batch begins with such a step, constrained by `points` of its
samples, as many from each class where there are classes; after such an epoch `ridge` falls by `decay`. An output is a
classifier's largest logit (the paper's economy; all of them would be the faithful constraint), the mean of these over a
text's positions, each number of a regression. `share` is that of the retained data it makes do with.

Cost: `epochs` passes over `share` of the retained data and about as much again for the outputs' gradients, of which
`points` are held in double precision: 8 * points * weights bytes. Fails when: simple is not what the erased samples
prevented, for nothing here knows of them; when the network does not fit what stays; and under batch normalisation,
where the norm of a weight means little.
Reference: Block, Mokhtari, Shakkottai (2025), "Machine Unlearning under Overparameterization", arXiv:2505.22601, whose
grids for representation collapse hold these defaults. Differs from the released code: the step comes before the forward
pass, not between it and the backward pass; `ridge` falls by the epoch, not by the batch; outputs are those of the
network in eval mode, and forget data move no batch statistics; the projection solves G^T G by Cholesky, without a QR
factor of the size of G; the learning rate follows a cosine to zero; no weight decay beside the method's own.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from erasable._plumbing.batching import numbered
from erasable._plumbing.gradients import flat, per_sample, shaped
from erasable._plumbing.seeds import child, generator
from erasable._plumbing.steps import batches_in, descend
from erasable._plumbing.weights import unfrozen
from erasable.dataset import Dataset
from erasable.errors import SettingsError
from erasable.receipt import Level
from erasable.request import Split
from erasable.task import Batch, Forward, LogitTask, OutputTask, Task
from erasable.train import Recipe
from erasable.unlearner import Needs

JITTER = 1e-10  # of the mean diagonal: double precision resolves directions 1e-5 as long as the others


@dataclass(frozen=True, kw_only=True)
class MinNorm:
    """MinNorm-OG. `ridge` is the paper's lambda in [0, 1], 1 for the whole way at once; `decay` its gamma."""

    epochs: int = 10
    lr: float = 1e-3
    batch: int = 64
    ridge: float = 0.1
    decay: float = 0.8
    period: int = 1
    settle: int = 2
    points: int = 50
    share: float = 1.0
    guarantee: ClassVar[Level] = "empirical"
    needs: ClassVar[Needs] = frozenset({"retain"})

    def __post_init__(self) -> None:
        fine = 0 <= self.ridge <= 1 and 0 < self.decay <= 1 and self.period >= 1 and self.points >= 1
        if not fine or not 0 <= self.settle <= self.epochs or not 0 < self.share <= 1:
            raise SettingsError(f"{self}", expected="ridge in [0, 1], decay and share in (0, 1], positive period and "
                                "points, no more settling than epochs", do="correct the settings")  # fmt: skip
        self.recipe()

    def recipe(self) -> Recipe:
        return Recipe(epochs=self.epochs, lr=self.lr, batch=self.batch, momentum=0.9, weight_decay=0.0, warmup=0.0,
                      optimizer="adamw")  # fmt: skip

    def __call__(self, model: nn.Module, split: Split, task: Task, *, seed: int) -> nn.Module:
        everyone = torch.randperm(len(split.retain), generator=generator(seed, "share"))
        data = split.retain.take(everyone[: math.ceil(self.share * len(everyone))])
        steps = batches_in(data, self.batch, epochs=self.epochs)
        with unfrozen(model, train=True):
            descend(model, self._batches(model, data, task, seed), lambda batch: task.losses(model, batch).mean(),
                    self.recipe(), steps=steps)  # fmt: skip
        return model

    def _batches(self, model: nn.Module, data: Dataset, task: Task, seed: int) -> Iterator[Batch]:
        """The batches of every epoch, each handed out after the step that it constrains."""
        per_epoch = batches_in(data, self.batch)
        numbers = numbered(task, data, self.batch, epochs=self.epochs, seed=child(seed, "retain"))
        for step, (at, batch) in enumerate(numbers):
            epoch = step // per_epoch
            if epoch < self.epochs - self.settle and epoch % self.period == 0:
                chosen = data.take(self._points(task, batch, at))
                perturb(model, task, chosen, self.ridge * self.decay ** (epoch // self.period))
                model.train()
            yield batch

    def _points(self, task: Task, batch: Batch, at: Tensor) -> Tensor:
        """Those of a batch's positions that constrain its step. Their order is random already."""
        if not isinstance(task, LogitTask):
            return at[: self.points]
        labels = task.labels(batch).to(at.device)
        classes = torch.unique(labels)
        return torch.cat([at[labels == c][: max(1, self.points // len(classes))] for c in classes])


def perturb(model: nn.Module, task: Task, data: Dataset, ridge: float) -> None:
    """Shrink by `ridge` what of the weights is orthogonal to the gradients of the outputs on all of `data`."""
    parameters = list(model.parameters())
    rows: list[Tensor] = []
    for column in range(task.width) if isinstance(task, OutputTask) else [0]:
        asked = partial(output, task, column)
        rows += [part.double() for part in per_sample(model, task, data, losses=asked)]
    found = torch.cat(rows)  # (columns, weights): G^T
    w = flat(p.detach() for p in parameters).double()
    stays = w - within(found, w)
    with torch.no_grad():
        for p, step in zip(parameters, shaped(stays, parameters), strict=True):
            p.sub_(step.to(p), alpha=ridge)


def within(rows: Tensor, w: Tensor) -> Tensor:
    """The part of w (weights,) in the span of rows (columns, weights), by the normal equations."""
    square = rows @ rows.T
    jitter = JITTER * square.diagonal().mean().clamp_min(torch.finfo(square.dtype).tiny)
    factor = torch.linalg.cholesky(square + jitter * torch.eye(len(square), dtype=square.dtype, device=square.device))
    return rows.T @ torch.cholesky_solve((rows @ w)[:, None], factor)[:, 0]


def output(task: Task, column: int, forward: Forward, batch: Batch) -> Tensor:
    """What must not change about a sample's answer, (batch,)."""
    if isinstance(task, OutputTask):
        return task.outputs(forward, batch)[:, column]
    if isinstance(task, LogitTask):
        return task.logits(forward, batch).amax(1)
    seen: list[Tensor] = []

    def recording(*inputs: Any, **named: Any) -> Tensor:
        seen.append(forward(*inputs, **named))
        return seen[0]

    task.losses(recording, batch)
    return seen[0].amax(-1).flatten(1).mean(1)  # (batch, positions, tokens)
