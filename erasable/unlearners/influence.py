"""One Newton step towards the network that never saw them: influence unlearning.

    v = n_forget / n * (mean_forget gradient - mean_retain gradient)
    w <- w + scale * (damping * mean diag(F) * 1 + F)^-1 v,     F = mean over retained samples of g g^T

Leaving samples out moves the optimum by H^-1 v to first order, and F, the mean of outer products of per-sample
gradients g, stands for the Hessian H. The system is solved by conjugate gradients. `scale` is the largest of `scales`
at which the mean loss of the samples that F is made of rises by no more than `rise`; if none is, nothing is done.

Cost: a pass over all data, one over `samples` retained ones for F, and one forward pass over these per scale. F is held
as its per-sample gradients where these fit into memory, else they are computed anew in each of at most `iterations`.
Fails when: the request is large, or the network deep, for a step to first order is then no retraining; or when fitted
samples have no gradient left to tell a curvature from. `rise` guards utility alone. What shares nothing with what
stays, such as a class, is then driven far beyond the loss of unseen samples, which gives it away: end `scales` sooner.

Reference: Koh, Liang (2017), "Understanding Black-box Predictions via Influence Functions", arXiv:1703.04730; Singh,
Alistarh (2020), "WoodFisher", arXiv:2004.14340; Izzo et al. (2021), "Approximate Data Deletion from Machine Learning
Models", arXiv:2002.10077. The grid of scales is that of Jia et al. (2023), "Model Sparsity Can Simplify Machine
Unlearning", arXiv:2304.04934, extended downwards.
Differs: that code's recursion over samples forgets all of them but the first, so that what it applies is the unit
matrix less one of rank one, a scaled step of gradient ascent. Here the system is solved, and it is damped.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from erasable._plumbing.batching import mean_loss
from erasable._plumbing.gradients import flat, mean_gradient, per_sample, shaped
from erasable._plumbing.seeds import generator
from erasable._plumbing.weights import unfrozen
from erasable.dataset import Dataset
from erasable.errors import SettingsError
from erasable.receipt import Level
from erasable.request import Split
from erasable.task import Task
from erasable.unlearner import Needs

HELD = 256 * 2**20  # numbers of per-sample gradients that are kept: 1 GiB
CLOSE = 1e-4  # the residual at which a solution is good enough, as a share of the right side


@dataclass(frozen=True, kw_only=True)
class Influence:
    """A step along the damped inverse curvature. `damping` is a share of F's mean diagonal, `rise` a loss in nats."""

    samples: int = 1000
    damping: float = 1e-2
    iterations: int = 50
    scales: tuple[float, ...] = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
    rise: float = 0.05
    batch: int = 64
    guarantee: ClassVar[Level] = "empirical"
    needs: ClassVar[Needs] = frozenset({"forget", "retain"})

    def __post_init__(self) -> None:
        if not min(self.samples, self.damping, self.iterations, self.rise, self.batch, *self.scales) > 0:
            raise SettingsError(f"{self}", expected="positive values", do="correct the settings")

    def __call__(self, model: nn.Module, split: Split, task: Task, *, seed: int) -> nn.Module:
        gone, stay = len(split.forget), len(split.retain)
        forget, retain = (flat(mean_gradient(model, task, data, batch=self.batch))
                          for data in (split.forget, split.retain))  # fmt: skip
        chosen = torch.randperm(stay, generator=generator(seed, "samples"))[: self.samples].sort().values
        held = split.retain.take(chosen)
        step = self.solve(model, task, held, (forget - retain) * (gone / (gone + stay)))
        before = [p.detach().clone() for p in model.parameters()]
        steps = shaped(step, before)
        bound = mean_loss(model, task, held, self.batch) + self.rise
        with unfrozen(model, train=False), torch.no_grad():
            for scale in (*sorted(self.scales, reverse=True), 0.0):
                for weight, old, by in zip(model.parameters(), before, steps, strict=True):
                    weight.copy_(old + scale * by)
                if scale == 0 or mean_loss(model, task, held, self.batch) <= bound:  # no number is no bound either
                    break
        return model

    def solve(self, model: nn.Module, task: Task, data: Dataset, right: Tensor) -> Tensor:
        """x of  (damping * mean diag(F) * 1 + F) x = right,  F from the samples of `data`; (parameters,)."""

        def computed() -> Iterable[Tensor]:
            return per_sample(model, task, data)

        kept = list(computed()) if len(data) * len(right) <= HELD else None
        chunks: Callable[[], Iterable[Tensor]] = computed if kept is None else lambda: kept
        trace = sum(float(each.square().sum()) for each in chunks()) / len(data)
        damping = self.damping * trace / len(right)
        if not damping > 0:  # no sample has a gradient: then no direction is any better than another
            return torch.zeros_like(right)

        def product(x: Tensor) -> Tensor:
            return damping * x + sum((each.T @ (each @ x) for each in chunks()), torch.zeros_like(x)) / len(data)

        return conjugate_gradients(product, right, self.iterations)


def conjugate_gradients(product: Callable[[Tensor], Tensor], right: Tensor, iterations: int) -> Tensor:
    """x of  A x = right  for a symmetric positive definite A that is given by its `product` with vectors."""
    x, residual = torch.zeros_like(right), right.clone()
    along, size = residual.clone(), float(residual.dot(residual))
    enough = CLOSE**2 * size
    for _ in range(iterations):
        if size <= enough or not math.isfinite(size):
            break
        moved = product(along)
        length = size / float(along.dot(moved))
        x = x + length * along
        residual = residual - length * moved
        size, last = float(residual.dot(residual)), size
        along = residual + (size / last) * along
    return x
