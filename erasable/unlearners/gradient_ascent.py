"""Walk uphill on what is to be forgotten.

    w <- w + lr * clipped gradient of mean_forget l(w),   until the loss on the forget data has risen by `rise`

Cost: `epochs` passes over the forget data at most. Needs nothing else, which is its charm. Fails when: it works too
well. The loss has no upper end, so the model diverges, and it unlearns whatever resembles the forgotten samples; with a
small learning rate it does nothing. A loss far above that of unseen samples gives the forgotten ones away.
Reference: the negative-gradient baseline of Golatkar, Achille, Soatto (2020), "Eternal Sunshine of the Spotless Net",
arXiv:1911.04933.
Differs: gradients are clipped by norm; and it stops. Stopping where the forget accuracy meets the validation accuracy
is the usual advice, but asks for held-out data; here the loss of a batch is compared with the mean forget loss at the
start, so that only forget data are read. The default, one nat, takes a certain prediction to a probability of 0.37; set
the difference between held-out and training loss where it is known. No momentum and no weight decay: both would go on
moving weights that the forget data do not. Batch normalisation keeps its statistics.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from erasable._plumbing.batching import mean_loss, shuffled
from erasable._plumbing.weights import unfrozen
from erasable.errors import SettingsError
from erasable.receipt import Level
from erasable.request import Split
from erasable.task import Task
from erasable.unlearner import Needs


@dataclass(frozen=True, kw_only=True)
class GradientAscent:
    """Ascent on the forget data. `clip` is a gradient norm, `rise` a loss in nats."""

    epochs: int = 5
    lr: float = 0.01
    batch: int = 64
    clip: float = 1.0
    rise: float = 1.0
    guarantee: ClassVar[Level] = "empirical"
    needs: ClassVar[Needs] = frozenset({"forget"})

    def __post_init__(self) -> None:
        if min(self.epochs, self.lr, self.batch, self.clip, self.rise) <= 0:
            raise SettingsError(f"{self}", expected="positive values", do="correct the settings")

    def __call__(self, model: nn.Module, split: Split, task: Task, *, seed: int) -> nn.Module:
        with unfrozen(model, train=False):
            stop = mean_loss(model, task, split.forget, self.batch) + self.rise
            weights = list(model.parameters())
            optimizer = torch.optim.SGD(weights, lr=self.lr)
            for batch in shuffled(task, split.forget, self.batch, epochs=self.epochs, seed=seed):
                loss = task.losses(model, batch).mean()
                if float(loss.detach()) >= stop:
                    break
                optimizer.zero_grad()
                (-loss).backward()  # type: ignore[no-untyped-call]
                torch.nn.utils.clip_grad_norm_(weights, self.clip)
                optimizer.step()
        return model
