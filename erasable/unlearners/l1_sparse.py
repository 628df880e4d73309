"""Fine-tune on what stays under an l1 penalty: weights that only the forgotten samples held up fall to zero.

    minimise over w, from the trained weights:  mean_retain l(w) + a_t ||w||_1,   a_t = penalty (1 - t / (E - plain))

t counts epochs from 0; the last `plain` of all E epochs go without the penalty. Cost: `epochs` passes over the retained
data. Fails when: the penalty is what forgets, for it takes general accuracy along; without it, this is `FineTune`.
Forget data are not read.
Reference: Jia, Liu, Ram, Yao, Liu, Liu, Sharma, Liu (2023), "Model Sparsity Can Simplify Machine Unlearning",
arXiv:2304.04934, with its settings. The norm is that of all parameters, biases included, as in the released code.
Differs: the learning rate follows a cosine. Steps are those of SGD on the penalty's subgradient, so weights come near
to zero and rarely reach it. Augmentation and batch normalisation as in training.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from erasable._plumbing.batching import shuffled
from erasable._plumbing.seeds import seeded
from erasable._plumbing.steps import batches_in, descend, refining
from erasable._plumbing.weights import unfrozen
from erasable.errors import SettingsError
from erasable.receipt import Level
from erasable.request import Split
from erasable.task import Batch, Task
from erasable.train import Recipe
from erasable.unlearner import Needs


@dataclass(frozen=True, kw_only=True)
class L1Sparse:
    """`penalty` is the weight of the l1 norm at the start, `plain` the number of final epochs without it."""

    penalty: float = 5e-4
    plain: int = 0
    epochs: int = 10
    lr: float = 0.01
    batch: int = 256
    momentum: float = 0.9
    weight_decay: float = 5e-4
    guarantee: ClassVar[Level] = "empirical"
    needs: ClassVar[Needs] = frozenset({"retain"})

    def __post_init__(self) -> None:
        if not self.penalty >= 0 or not 0 <= self.plain < self.epochs:
            raise SettingsError(f"penalty={self.penalty}, plain={self.plain} of {self.epochs} epochs",
                                expected="at least 0, and an epoch with the penalty", do="correct them")  # fmt: skip
        self.recipe()

    def recipe(self) -> Recipe:
        return refining(self)

    def pull(self, epoch: int) -> float:
        """The weight of the norm in an epoch, counted from 0."""
        return self.penalty * max(0.0, 1 - epoch / (self.epochs - self.plain))

    def __call__(self, model: nn.Module, split: Split, task: Task, *, seed: int) -> nn.Module:
        per_epoch = batches_in(split.retain, self.batch)

        def loss(given: tuple[int, Batch]) -> Tensor:
            step, batch = given
            return task.losses(model, batch).mean() + self.pull(step // per_epoch) * norm(model.parameters())

        batches = shuffled(task, split.retain, self.batch, epochs=self.epochs, seed=seed)
        with unfrozen(model, train=True), seeded(seed, "layers"):
            descend(model, enumerate(batches), loss, self.recipe(), steps=self.epochs * per_epoch)
        return model


def norm(weights: Iterable[Tensor]) -> Tensor:
    """The sum of absolute values."""
    return torch.stack([each.abs().sum() for each in weights]).sum()
