"""Open a new class for what is to be erased, move it there, and take the class away again.

    one more row under the last layer, from random weights:  class C
    minimise over w and the row, from the trained weights:  mean_forget cross-entropy((f_w(x), row(x)), C)
    drop the row:  the network that comes back has C answers, as before

Needs nothing but the samples to erase, and a linear last layer. Made for whole classes; single samples are not refused,
as it cannot see what stays of a class.

Cost: `epochs` passes over the forget data. Fails when: the learning rate, the paper's for its network, hardly moves
another one (search upwards); or when the new row does all the work, and takes it along when it goes: the old answers
fall together, not against each other.
Reference: Chen, Gao, Liu, Peng, Wang (2023), "Boundary Unlearning", CVPR, arXiv:2303.11570.
Differs: no weight decay, and a learning rate that follows a cosine to zero. Some released versions keep the row, so
that samples land on an answer that does not exist and count as forgotten; here it is never part of the network. Batch
normalisation keeps its statistics.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from erasable._plumbing.batching import refuse_unlabelled, shuffled
from erasable._plumbing.heads import inputs_of, last_linear
from erasable._plumbing.seeds import child, seeded
from erasable._plumbing.steps import batches_in, descend
from erasable._plumbing.weights import unfrozen
from erasable.receipt import Level
from erasable.request import Split
from erasable.task import Batch, LogitTask
from erasable.train import Recipe
from erasable.unlearner import Needs


@dataclass(frozen=True, kw_only=True)
class BoundaryExpand:
    """Erased samples are taught a class that is then dropped."""

    epochs: int = 10
    lr: float = 1e-5
    batch: int = 64
    momentum: float = 0.9
    guarantee: ClassVar[Level] = "empirical"
    needs: ClassVar[Needs] = frozenset({"forget"})

    def __post_init__(self) -> None:
        self.recipe()

    def recipe(self) -> Recipe:
        return Recipe(epochs=self.epochs, lr=self.lr, batch=self.batch, momentum=self.momentum, weight_decay=0.0,
                      warmup=0.0, optimizer="sgd")  # fmt: skip

    def __call__(self, model: nn.Module, split: Split, task: LogitTask, *, seed: int) -> nn.Module:
        """Raises TaskMismatch for a task without classes, or a network without a linear last layer."""
        refuse_unlabelled(task, self)
        layer = model.get_submodule(last_linear(model.eval(), task, split.forget))
        assert isinstance(layer, nn.Linear)
        with seeded(seed, "row"):
            row = nn.Linear(layer.in_features, 1).to(layer.weight)

        def loss(batch: Batch) -> Tensor:
            with inputs_of(layer) as seen:
                logits = task.logits(model, batch)
            wide = torch.cat([logits, row(seen[-1])], dim=1)  # (batch, classes + 1)
            return F.cross_entropy(wide, torch.full((len(wide),), task.classes, device=wide.device))

        batches = shuffled(task, split.forget, self.batch, epochs=self.epochs, seed=child(seed, "order"))
        with unfrozen(nn.ModuleList([model, row]), train=False) as both:
            descend(both, batches, loss, self.recipe(), steps=batches_in(split.forget, self.batch, epochs=self.epochs))
        return model
