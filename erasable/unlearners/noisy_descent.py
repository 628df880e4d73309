"""Gradient descent with noise on what stays: under assumptions, one cannot tell afterwards where it started.

    w <- w - lr * (mean_retain grad l(w) + l2 * w) + sqrt(2 lr) * N(0, sigma^2)

Full gradients of the network in eval mode, so that a step is a contraction where the loss is strongly convex, and the
noise covers what is left of the start. `Deletion` is the accountant of that; for a network with a hidden layer its
assumptions are false and no number exists, so the guarantee of this method is "empirical".

Cost: `steps` passes over the retained data. Fails when: the noise is too small to hide anything or large enough to
cost accuracy, and for a deep network mostly both. The defaults are those of a noisy fine-tuning baseline, and ours.
Reference: Chourasia, Shah (2023), "Forget Unlearning: Towards True Data-Deletion in Machine Learning",
arXiv:2210.08911. Their guarantee needs the model to have been trained by the same noisy steps, all models on the way
unpublished, and nothing else kept; and requests that do not depend on published models, or differential privacy for
those who stay. Differs: the bound is the sharper one for contractions (see `Deletion`).
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from erasable._plumbing.gradients import mean_gradient
from erasable._plumbing.seeds import generator
from erasable._plumbing.weights import unfrozen
from erasable.errors import SettingsError, TaskMismatch
from erasable.receipt import Level
from erasable.request import Split
from erasable.task import Task
from erasable.unlearner import Needs


@dataclass(frozen=True, kw_only=True)
class NoisyDescent:
    """Noisy gradient descent. `sigma` is the paper's: a step's noise has the deviation sqrt(2 lr) sigma. `batch` only
    bounds memory."""

    steps: int = 20
    lr: float = 0.01
    sigma: float = 0.01
    l2: float = 5e-4
    batch: int = 256
    guarantee: ClassVar[Level] = "empirical"
    needs: ClassVar[Needs] = frozenset({"retain"})

    def __post_init__(self) -> None:
        if min(self.steps, self.lr, self.batch) <= 0 or not min(self.sigma, self.l2) >= 0:
            raise SettingsError(f"{self}", expected="positive steps, lr and batch, sigma and l2 of at least 0",
                                do="correct the settings")  # fmt: skip

    def __call__(self, model: nn.Module, split: Split, task: Task, *, seed: int) -> nn.Module:
        noise, deviation = generator(seed, "noise"), math.sqrt(2 * self.lr) * self.sigma
        with unfrozen(model, train=False):
            for _ in range(self.steps):
                gradients = mean_gradient(model, task, split.retain, batch=self.batch)
                with torch.no_grad():
                    for w, g in zip(model.parameters(), gradients, strict=True):
                        step = g.add(w, alpha=self.l2).mul_(-self.lr)
                        w.add_(step + deviation * torch.randn(w.shape, generator=noise).to(w))
        return model


@dataclass(frozen=True, kw_only=True)
class Deletion:
    """How far the released weights are from ones that never depended on the erased samples: a Renyi divergence.

    samples    of which one is erased, or `removed`; the smallest number that training ever saw
    convex     every sample's loss is convex in the weights: true for a linear layer under cross-entropy or squares,
               false as soon as there is a hidden layer that learns
    smooth     no sample's gradient changes faster than this: |grad l(v) - grad l(w)| <= smooth |v - w|
    lipschitz  no sample's gradient is longer than this
    lr, sigma, l2   of `NoisyDescent`, in training as afterwards

    The step is then a contraction by c = 1 - lr l2. Removing r of n samples moves a gradient by 2 r lipschitz / n at
    most, so that two chains with the same noise, one of which never saw them, are z = 2 r lipschitz / (n l2) apart,
    however long they were trained and whatever was erased before. After K steps on the same data, order q:

        divergence <= q (c^K z)^2 / (2 S),     S = 2 lr sigma^2 (1 + c^2 + ... + c^(2 (K - 1)))

    This is privacy amplification by iteration (Feldman, Mironov, Talwar, Thakurta 2018, arXiv:1808.06651) with the
    shift spread best over the steps; for a quadratic loss and a start that far away it is an equality.

    Raises TaskMismatch for assumptions under which no number exists.
    """

    samples: int
    convex: bool
    smooth: float
    lipschitz: float
    lr: float
    sigma: float
    l2: float

    def __post_init__(self) -> None:
        if self.samples < 2:
            raise SettingsError(f"{self.samples} samples", expected="at least 2", do="count the training data")
        for holds, came, do in (
            (self.convex, "a loss that is not convex", "audit the model: for a deep network there is no bound"),
            (0 < self.l2 < math.inf, f"l2={self.l2}", "regularise, or no step is a contraction"),
            (0 <= self.smooth < math.inf, f"a smoothness of {self.smooth}", "bound the norm of the inputs"),
            (0 < self.lipschitz < math.inf, f"gradients up to {self.lipschitz}", "bound the norm of the inputs"),
            (0 < self.sigma < math.inf, f"sigma={self.sigma}", "add noise: without any, the start can be read off"),
            (0 < self.lr * (self.smooth + self.l2) <= 1, f"lr={self.lr}", "take at most 1 / (smooth + l2)"),
        ):
            if not holds:
                raise TaskMismatch(f"{came} has no deletion bound", expected="convex, smooth and Lipschitz losses with "
                                   "l2, noise and small steps", do=do)  # fmt: skip

    @classmethod
    def of_softmax(cls, radius: float, *, samples: int, lr: float, sigma: float, l2: float) -> "Deletion":
        """For one linear layer under cross-entropy, on inputs of a norm of at most `radius`, the 1 of a bias included.

        p - onehot is no longer than sqrt(2), diag(p) - p p^T no larger than 1/2.
        """
        return cls(samples=samples, convex=True, smooth=radius**2 / 2, lipschitz=math.sqrt(2) * radius, lr=lr,
                   sigma=sigma, l2=l2)  # fmt: skip

    def apart(self, removed: int = 1) -> float:
        """z, how far the erasure can have moved the weights."""
        return 2 * removed * self.lipschitz / (self.samples * self.l2)

    def divergence(self, order: float, *, steps: int, removed: int = 1) -> float:
        """Of order `order`, after `steps` steps without the erased. Raises SettingsError."""
        if not (order > 1 and steps >= 1 and 1 <= removed < self.samples):
            raise SettingsError(f"order {order}, {steps} steps, {removed} of {self.samples} samples removed",
                                expected="an order above 1, steps, fewer samples than there are",
                                do="correct them")  # fmt: skip
        c = 1 - self.lr * self.l2
        rounds = -math.expm1(2 * steps * math.log(c)) / (1 - c * c) if c else 1.0  # 1 + c^2 + ...
        return order * (c**steps * self.apart(removed)) ** 2 / (4 * self.lr * self.sigma**2 * rounds)

    def epsilon(self, delta: float, *, steps: int, removed: int = 1) -> float:
        """(epsilon, delta) from the best order: rho + 2 sqrt(rho log(1 / delta)), where rho is the divergence / q."""
        if not 0 < delta < 1:
            raise SettingsError(f"delta={delta}", expected="between 0 and 1", do="take less than 1 / samples")
        rho = self.divergence(2, steps=steps, removed=removed) / 2  # the same for every order
        return rho + 2 * math.sqrt(rho * math.log(1 / delta))
