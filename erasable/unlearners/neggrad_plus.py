"""Descend on what stays and ascend on what goes, in the same step.

    minimise over w, from the trained weights:  weight * mean_retain l(w) - (1 - weight) * mean_forget l(w)

Cost: `epochs` passes over the retained data, each step with a batch of the forgotten beside it, gone through again and
again. Fails when: `weight` is too small or the learning rate too large. The forget loss has no upper end, so the ascent
grows faster the further it is, and takes the utility along; a forget loss above that of unseen samples gives them away.
With few forgotten samples each of them is seen in nearly every step.
Reference: the NegGrad+ baseline of Kurmanji, Triantafillou, Hayes, Triantafillou (2023), "Towards Unbounded Machine
Unlearning", arXiv:2302.09880, with its weight, learning rate and epochs.
Differs: the released code also pulls towards the initial weights (left out: it is no part of the method as stated), and
lowers the learning rate in jumps (here a cosine). As there, the network stays in eval mode: batch normalisation keeps
its statistics.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from erasable._plumbing.steps import batches_in, descend, pairs, refining
from erasable._plumbing.weights import unfrozen
from erasable.errors import SettingsError
from erasable.receipt import Level
from erasable.request import Split
from erasable.task import Batch, Task
from erasable.train import Recipe
from erasable.unlearner import Needs


@dataclass(frozen=True, kw_only=True)
class NegGradPlus:
    """`weight` is the share of the retained data in the loss, between 0 and 1."""

    weight: float = 0.95
    epochs: int = 10
    lr: float = 0.01
    batch: int = 128
    momentum: float = 0.9
    weight_decay: float = 5e-4
    guarantee: ClassVar[Level] = "empirical"
    needs: ClassVar[Needs] = frozenset({"forget", "retain"})

    def __post_init__(self) -> None:
        if not 0 < self.weight <= 1:
            raise SettingsError(f"weight={self.weight}", expected="above 0 and at most 1", do="correct it")
        self.recipe()

    def recipe(self) -> Recipe:
        return refining(self)

    def __call__(self, model: nn.Module, split: Split, task: Task, *, seed: int) -> nn.Module:
        def loss(pair: tuple[Batch, Batch]) -> Tensor:
            erased, kept = (task.losses(model, each).mean() for each in pair)
            return self.weight * kept - (1 - self.weight) * erased

        with unfrozen(model, train=False):
            descend(model, pairs(task, split, self.batch, epochs=self.epochs, seed=seed), loss, self.recipe(),
                    steps=batches_in(split.retain, self.batch, epochs=self.epochs))  # fmt: skip
        return model
