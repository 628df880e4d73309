"""CT: transpose the kernels of every convolution, then repair on what stays. It looks at no forgotten sample.

    K[o, i, y, x] <- K[o, i, x, y];   minimise over w:  mean_retain l(w)

The plainest way to damage a network all over and to let it find its way back: a method that cannot beat it has no use
for the forget data that it asks for. Cost: `epochs` passes over the retained data. Fails when: the repair is too short;
then it is utility that goes. A kernel that is symmetric, or one pixel large, stays as it is, and so does one that is
not square, whose transpose would fit no longer; a network without a square kernel of two or more pixels a side (a
perceptron, a transformer) is refused, for there this would be plain fine-tuning under another name.
Reference: Convolution Transpose, a leading entry of the NeurIPS 2023 machine unlearning challenge, described and ported
by Cadet, Borovykh, Malekzadeh, Ahmadi-Abhari, Haddadi (2024), "Deep Unlearn: Benchmarking Machine Unlearning for Image
Classification", arXiv:2410.01276, with its settings; momentum and weight decay are the customary ones.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from erasable._plumbing.steps import refining
from erasable._plumbing.weights import unfrozen
from erasable.errors import TaskMismatch
from erasable.receipt import Level
from erasable.request import Split
from erasable.task import Task
from erasable.train import Recipe, Supervised, fit
from erasable.unlearner import Needs


@dataclass(frozen=True, kw_only=True)
class CT:
    """Transposed convolution kernels, then training. Raises TaskMismatch for a network without square kernels."""

    epochs: int = 3
    lr: float = 1e-3
    batch: int = 64
    momentum: float = 0.9
    weight_decay: float = 5e-4
    guarantee: ClassVar[Level] = "empirical"
    needs: ClassVar[Needs] = frozenset({"retain"})

    def __post_init__(self) -> None:
        self.recipe()

    def recipe(self) -> Recipe:
        return refining(self)

    def __call__(self, model: nn.Module, split: Split, task: Task, *, seed: int) -> nn.Module:
        transpose_kernels(model)
        with unfrozen(model, train=True):
            fit(Supervised(lambda: model, task), split.retain, self.recipe(), seeds=[seed])
        return model


@torch.no_grad()
def transpose_kernels(model: nn.Module) -> None:
    """In place. Raises TaskMismatch where there is nothing to transpose."""
    kernels = [each.weight for each in model.modules() if isinstance(each, nn.Conv2d | nn.ConvTranspose2d)
               and each.weight.shape[-1] == each.weight.shape[-2] > 1]  # fmt: skip
    if not kernels:
        raise TaskMismatch(f"a {type(model).__name__} without square convolution kernels of two pixels a side or more",
                           expected="a convolutional network", do="choose another method for this network")  # fmt: skip
    for kernel in kernels:
        kernel.copy_(kernel.transpose(-1, -2).clone())
