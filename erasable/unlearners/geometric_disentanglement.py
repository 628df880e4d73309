"""Let any method take its steps, without the part of each that would raise the retained loss.

    D0 = the step that the inner method's optimiser took;   M = its metric, sqrt(v) + eps for Adam, 1 for SGD
    D  = argmin |D - D0|_M^2 / 2   subject to   g . D <= 0   for the retained gradients g
       = D0 - M^-1 G lambda,  lambda >= 0

G holds the gradient of the retained loss on a fresh batch, before the step, and the directions of the last ones.
Momentum, decay and denominators are inside the step by then: what is projected is what would have happened. That is the
variant "step"; "gradient", the earlier form, projects what the optimiser is about to see, in the same metric:

    g <- g - M^1/2 Q (Q^T z - kept - repair * Q^T z_retain),   z = M^-1/2 g,   Q an orthonormal basis of M^-1/2 G

with `kept` those of z's components along Q that lower the retained loss too, no longer than `keep` times the rest of z.

Torch's optimisers are followed where they hold weights of the model. A method without one (a closed form, arithmetic
of its own) is taken as a single step, against the gradient of all retained data. `model.corrections` says of each step
what was taken away.

Cost: a retained batch, forward and backward, for every step of the inner method, and `history` + 2 vectors of the size
of the weights. Fails when: steps are large, for all this is first order (`rise` shortens a step until the batch's loss
rises by no more); when the retained batches do not stand for the retained data; and where a method puts weights back
after its step (masks), which undoes the correction there. A loss that does not rise is not yet retained behaviour.
Reference: Zhou et al. (2025), "Geometric-disentanglement unlearning", arXiv:2511.17100; variants (c) and (b) of the
notes beside their code. Differs: any optimiser of torch, not AdamW alone; all weights that it moves, no choice by name;
the dual is solved as least squares, not by trying active sets; retained gradients are taken in eval mode.
"""

import math
import sys
from collections import deque
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from erasable._plumbing.batching import shuffled
from erasable._plumbing.cone import basis, combined, gram, multipliers, products
from erasable._plumbing.followed import followed, inverse_metric, measured, still
from erasable._plumbing.gradients import Vector, dot, mean_gradient
from erasable._plumbing.seeds import child
from erasable._plumbing.settings import FAMILY
from erasable.dataset import Dataset
from erasable.errors import SettingsError, TaskMismatch
from erasable.receipt import Level
from erasable.request import Split
from erasable.task import Task
from erasable.unlearner import Needs, Unlearner, declared
from erasable.unlearners.neggrad_plus import NegGradPlus

SCALES = (1.0, 1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32, 1 / 64, 0.0)  # of a step, until the loss rises little enough


@dataclass(frozen=True)
class Correction:
    """What was done to one step. Lengths are those of the optimiser's metric; the violations are cosines of the worst
    constraint, above 0 where the retained loss would rise."""

    removed: float  # length of what was taken away, as a share of the step
    active: int  # constraints that took something
    violation_before: float
    violation_after: float
    scale: float = 1.0


@dataclass(frozen=True, kw_only=True)
class GeometricDisentanglement:
    """GU around the unlearner `inner`. `batch` retained samples make a constraint, the last `history` of which stay.

    rise          largest rise of a batch's retained loss that a step may cause; None: first order only
    keep, repair  of variant "gradient" (kappa and beta in the notes)
    """

    inner: Unlearner[Any] = field(default_factory=NegGradPlus, metadata={FAMILY: "erasable.unlearners"})
    variant: Literal["step", "gradient"] = "step"
    history: int = 8
    batch: int = 128
    rise: float | None = None
    keep: float = 0.0
    repair: float = 0.0
    guarantee: ClassVar[Level] = "empirical"
    needs: ClassVar[Needs] = frozenset({"forget", "retain"})

    def __post_init__(self) -> None:
        if self.inner.guarantee == "exact":
            raise SettingsError(f"{type(self.inner).__name__}, which is exact, inside a projection",
                                expected="a method whose steps may be changed", do="use it alone")  # fmt: skip
        if self.history < 0 or self.batch < 1 or min(self.keep, self.repair, self.rise or 0) < 0:
            raise SettingsError(f"{self}", expected="a positive batch, the others at least 0", do="correct them")
        object.__setattr__(self, "needs", self.inner.needs | {"retain"})  # fewer than the class may need

    def __call__(self, model: nn.Module, split: Split, task: Any, *, seed: int) -> nn.Module:
        """Raises TaskMismatch where the inner method takes no steps and returns a network of another shape."""
        guard = _Guard(self, model, task, split.retain, seed)
        old = tuple(p.detach().clone() for p in model.parameters())
        with followed(guard.parameters, guard.before, guard.after):
            result = self.inner(model, declared(split, self.inner), task, seed=seed)
        if not guard.corrections:
            guard.whole(result, old)
        result.corrections = tuple(guard.corrections)  # type: ignore[assignment]
        return result


class _Guard:
    """What surrounds the steps of one call."""

    def __init__(
        self, settings: GeometricDisentanglement, model: nn.Module, task: Task, data: Dataset, seed: int
    ) -> None:
        self.settings, self.model, self.task, self.data = settings, model, task, data
        self.parameters = list(model.parameters())
        self.batches = shuffled(task, data, settings.batch, epochs=sys.maxsize, seed=child(seed, "constraint"))
        self.directions: deque[Vector] = deque(maxlen=settings.history)
        self.corrections: list[Correction] = []

    def before(self, optimizer: Optimizer) -> None:
        self.now = next(self.batches)
        g, self.loss = measured(self.model, self.task, self.parameters, self.now)
        self.columns = [g, *self.directions]
        if self.settings.variant == "gradient":
            self.project_gradients(inverse_metric(optimizer, self.parameters))
        else:
            self.old = tuple(p.detach().clone() for p in self.parameters)
        if (length := float(dot(g, g).sqrt())) > 0:
            self.directions.appendleft(tuple(each / length for each in g))

    def after(self, optimizer: Optimizer) -> None:
        if self.settings.variant == "step":
            self.correct(self.old, inverse_metric(optimizer, self.parameters))

    @torch.no_grad()
    def correct(self, old: Vector, inverse: Vector) -> None:
        """Put the weights where the nearest step leads that no column objects to."""
        first = step = tuple(p - before for p, before in zip(self.parameters, old, strict=True))
        against, square = products(self.columns, step), gram(self.columns, inverse)
        if not bool(against.isfinite().all()):
            raise SettingsError(f"a step of {self.settings.inner} that is not finite", expected="a method that "
                                "converges", do="lower its learning rate")  # fmt: skip
        by = multipliers(square, against)
        if touched := bool((by > 0).any()):
            step = _less(step, inverse, combined(self.columns, by))
        scale = 1.0
        for scale in SCALES:
            if touched or scale < 1:  # a step that nothing objects to stays as it is, bit for bit
                for p, before, each in zip(self.parameters, old, step, strict=True):
                    p.copy_(before + scale * each)
            if self.settings.rise is None or self.loss_now() - self.loss <= self.settings.rise:
                break
        whole = dot(
            first, tuple(torch.where(inv > 0, each / inv, 0.0) for each, inv in zip(first, inverse, strict=True))
        )
        self.note(by, float(by @ square @ by), float(whole), first, step, scale)

    @torch.no_grad()
    def project_gradients(self, inverse: Vector) -> None:
        """Take from the gradients, in place, what lies along the retained ones in the optimiser's metric."""
        first = tuple(torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in self.parameters)
        square = gram(self.columns, inverse)
        w = basis(square)  # Q = M^-1/2 G w
        along, helps = w.T @ products(self.columns, first, inverse), w.T @ square[:, 0]
        total = float(dot(first, tuple(inv * each for inv, each in zip(inverse, first, strict=True))))
        kept = torch.where(along * helps > 0, along, 0.0)
        rest, length = math.sqrt(max(0.0, total - float(along @ along))), float(kept.norm())
        share = min(1.0, self.settings.keep * rest / length) if length else 0.0
        by = w @ (along - share * kept - self.settings.repair * helps)
        after = _less(first, tuple(torch.ones_like(each) for each in first), combined(self.columns, by))
        for p, each in zip(self.parameters, after, strict=True):
            if p.grad is not None:
                p.grad.copy_(each)
        downhill = [tuple(-inv * each for inv, each in zip(inverse, some, strict=True)) for some in (first, after)]
        self.note(by, float(by @ square @ by), total, downhill[0], downhill[1], 1.0)

    def note(self, by: Tensor, away: float, whole: float, first: Vector, step: Vector, scale: float) -> None:
        """`away` and `whole` are squares of lengths; `first` is the step that was proposed, `step` the one taken."""
        sizes = torch.stack([dot(each, each).sqrt().cpu().double() for each in self.columns])

        def worst(taken: Vector) -> float:
            size = sizes * float(dot(taken, taken).sqrt())
            return float(torch.where(size > 0, products(self.columns, taken) / size, 0.0).max())

        removed = math.sqrt(max(0.0, away) / whole) if whole > 0 else 0.0
        self.corrections.append(Correction(removed, int((by != 0).sum()), worst(first), worst(step), scale))

    def loss_now(self) -> float:
        with still(self.model):
            return float(self.task.losses(self.model, self.now).mean())

    @torch.no_grad()
    def whole(self, model: nn.Module, old: Vector) -> None:
        """All that a method without an optimiser did, as one step against the gradient of the retained data."""
        self.model, self.parameters = model, list(model.parameters())
        if [p.shape for p in self.parameters] != [each.shape for each in old]:
            raise TaskMismatch(f"{type(self.settings.inner).__name__} returned a network of another shape",
                               expected="a method that changes weights", do="use it without projection")  # fmt: skip
        ahead = [p.clone() for p in self.parameters]
        for p, before in zip(self.parameters, old, strict=True):
            p.copy_(before)
        with torch.enable_grad():
            self.columns = [mean_gradient(model, self.task, self.data, batch=self.settings.batch)]
        self.now = next(self.batches)
        self.loss = self.loss_now()
        for p, after in zip(self.parameters, ahead, strict=True):
            p.copy_(after)
        self.correct(old, tuple(torch.ones_like(each) for each in old))


def _less(step: Vector, inverse: Vector, away: Vector) -> Vector:
    return tuple(each - inv * part for each, inv, part in zip(step, inverse, away, strict=True))
