"""SalUn: random labels, learnt by the weights that matter to what is to be forgotten; the others stay as they were.

    saliency = |gradient at the trained weights of mean_forget l(w)|,   moving = the `share` of all weights with most
    random labels (see `RandomLabels`) with steps of the moving weights only

Saliency is ranked over all parameters together, biases and those of normalisation too. Cost: random labels, and a pass
over the forgotten data. Fails when: random labels do, and its learning rate has a narrow window: below it nothing is
forgotten. Where a gradient is zero for more weights than stay, which of these move is arbitrary.
Reference: Fan, Liu, Zhang, Wong, Wei, Liu (2023), "SalUn: Empowering Machine Unlearning via Gradient-based Weight
Saliency in Both Image Classification and Generation", arXiv:2310.12508, with its settings for a tenth of CIFAR-10.
Differs: weights that do not move are put back after every step, as the authors' code does since February 2026; before,
and so in all published numbers, weight decay and momentum moved them. Otherwise as `RandomLabels`. The gradient is
taken in eval mode.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from erasable._plumbing.batching import refuse_unlabelled
from erasable._plumbing.gradients import flat, mean_gradient, shaped
from erasable.dataset import Dataset
from erasable.errors import SettingsError
from erasable.receipt import Level
from erasable.request import Split
from erasable.task import LogitTask, Task
from erasable.unlearner import Needs
from erasable.unlearners.random_labels import RandomLabels


@dataclass(frozen=True, kw_only=True)
class SalUn:
    """Random labels for the most salient `share` of the weights; the other fields are those of `RandomLabels`."""

    share: float = 0.5
    fresh: bool = True
    mixed: bool = False
    epochs: int = 10
    lr: float = 0.013
    batch: int = 256
    momentum: float = 0.9
    weight_decay: float = 5e-4
    guarantee: ClassVar[Level] = "empirical"
    needs: ClassVar[Needs] = frozenset({"forget", "retain"})

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise SettingsError(f"share={self.share}", expected="above 0 and at most 1", do="correct it")
        self.labels()

    def labels(self) -> RandomLabels:
        return RandomLabels(fresh=self.fresh, mixed=self.mixed, epochs=self.epochs, lr=self.lr, batch=self.batch,
                            momentum=self.momentum, weight_decay=self.weight_decay)  # fmt: skip

    def __call__(self, model: nn.Module, split: Split, task: LogitTask, *, seed: int) -> nn.Module:
        refuse_unlabelled(task, self)
        moving = self.salient(model, task, split.forget)
        return self.labels().relabel(model, split, task, seed=seed, moving=moving)

    def salient(self, model: nn.Module, task: Task, forget: Dataset) -> tuple[Tensor, ...]:
        """Which weights move, one bool tensor per parameter: `share` of all weights, at least one."""
        saliency = flat(mean_gradient(model, task, forget, batch=self.batch)).abs()
        chosen = torch.zeros_like(saliency, dtype=torch.bool)
        chosen[saliency.topk(max(1, round(self.share * len(saliency)))).indices] = True
        return shaped(chosen, model.parameters())
