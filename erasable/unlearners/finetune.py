"""Go on training on what stays, and hope that the rest fades: catastrophic forgetting, put to use.

    minimise over w, from the trained weights:  mean_retain l(w)

Cost: `epochs` passes over the retained data. Fails when: the network fits its data, for then the retained samples give
hardly any gradient and nothing moves; look at the do-nothing row. Forget data are not read.
Defaults: learning rate and epochs as in Fan et al. (2023), "SalUn", arXiv:2310.12508, whose fine-tuning baseline this
is. Differs: the learning rate follows a cosine to zero (`train.Recipe`) instead of steps that ten epochs never reach.
Augmentation is the task's, as in training, and batch normalisation keeps updating its statistics.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from erasable._plumbing.steps import refining
from erasable._plumbing.weights import unfrozen
from erasable.receipt import Level
from erasable.request import Split
from erasable.task import Task
from erasable.train import Recipe, Supervised, fit
from erasable.unlearner import Needs


@dataclass(frozen=True, kw_only=True)
class FineTune:
    """Plain training, continued without the forgotten samples."""

    epochs: int = 10
    lr: float = 0.01
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
        with unfrozen(model, train=True):
            fit(Supervised(lambda: model, task), split.retain, self.recipe(), seeds=[seed])
        return model
