"""Learn the opposite of the erased samples, one step, and correct it by what stays: influence approximation.

    theory:  w <- w - lr / n * (sum_retain gradient - sum_forget gradient)
    code:    w <- w - lr * g / (|g| + 1e-8)   weight by weight,   g = mean_retain gradient - mean_forget gradient

An influence function would move the weights by H^-1 / n times the summed gradient of the erased samples. Unlearning a
sample is here learning one with the opposite gradient, so a number takes the place of H^-1, and the gradient of what
stays is descended with it.

Cost: one pass over all data per step. Fails when: the network is stationary on its data. Then both sums are opposite,
the correction points where the ascent does, and all that can happen is ascent, which harms whatever resembles the
erased samples; networks that were stopped early profit. No step tells when it was enough.
Gradient restriction, the method's third part, is training: `Network(gradient_penalty=0.005)`. A network trained so is
another network: compare with other methods on the same one.

variant="theory"  plain descent, sums. `lr` stands for the inverse curvature; 1 is ours, for we know of no published one
variant="code"    as released: the first step of a fresh Adam, lr 0.001, on a difference of means. Every weight moves by
                  lr up or down, however small its gradient, and one erased sample weighs as much as a thousand: it is
                  negative-gradient descent by signs, and no influence. For published numbers

Reference: Liu, Wu, Lian, Chen (2025), "Efficient Machine Unlearning via Influence Approximation", arXiv:2507.23257.
Differs: gradients are summed over batches instead of one batch of everything. The network is in eval mode.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import nn

from erasable._plumbing.gradients import mean_gradient
from erasable._plumbing.weights import unfrozen
from erasable.errors import SettingsError
from erasable.receipt import Level
from erasable.request import Split
from erasable.task import Task
from erasable.unlearner import Needs

RATES = {"theory": 1.0, "code": 1e-3}


@dataclass(frozen=True, kw_only=True)
class IAU:
    """A step against what is erased and along what stays. `lr` is the variant's own when None."""

    variant: Literal["theory", "code"] = "theory"
    lr: float | None = None
    steps: int = 1
    batch: int = 256
    guarantee: ClassVar[Level] = "empirical"
    needs: ClassVar[Needs] = frozenset({"forget", "retain"})

    def __post_init__(self) -> None:
        if self.variant not in RATES:
            raise SettingsError(f"variant='{self.variant}'", expected="theory or code", do="choose one of these")
        if min(self.steps, self.batch) < 1 or not (self.lr is None or self.lr > 0):
            raise SettingsError(f"{self}", expected="positive values", do="correct the settings")

    def __call__(self, model: nn.Module, split: Split, task: Task, *, seed: int) -> nn.Module:
        parameters = list(model.parameters())
        lr = RATES[self.variant] if self.lr is None else self.lr
        if self.variant == "theory":
            n = len(split.forget) + len(split.retain)
            gone, stay = len(split.forget) / n, len(split.retain) / n
            optimizer: torch.optim.Optimizer = torch.optim.SGD(parameters, lr=lr)
        else:
            gone = stay = 1.0
            optimizer = torch.optim.Adam(parameters, lr=lr)
        for _ in range(self.steps):
            retain, forget = (mean_gradient(model, task, data, batch=self.batch)
                              for data in (split.retain, split.forget))  # fmt: skip
            with unfrozen(model, train=False):
                for weight, keep, lose in zip(parameters, retain, forget, strict=True):
                    weight.grad = stay * keep - gone * lose
                optimizer.step()
        return model
