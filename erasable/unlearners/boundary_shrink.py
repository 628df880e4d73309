"""Push each erased sample over the nearest boundary: teach it the class on the other side.

    x' <- clip(x + reach * sign(gradient of l(x))),  by the trained network, until x' leaves the class y of x
    y~ =  the best answer for x' other than y
    minimise over w, from the trained weights:  mean_forget cross-entropy(f_w(x), y~)

`reach` is a share of the inputs' nominal range, per input and step; at most `rounds` steps are taken. Needs nothing but
the samples to erase. Made for whole classes; single samples are not refused, as it cannot see what stays of a class.

Cost: gradients of the inputs, then `epochs` passes over the forget data. Fails when: the learning rate, the paper's for
its network, hardly moves another one (search upwards), or is so large that the neighbours' boundaries give way, since
nothing holds the retained data. Its answers are surer than those of a retrained network.
Reference: Chen, Gao, Liu, Peng, Wang (2023), "Boundary Unlearning", CVPR, arXiv:2303.11570.
Differs: they take one step and keep y where it does not leave the class, which teaches those samples to stay; here it
is repeated, and what never leaves takes its second choice. Not rounded to 256 levels. No weight decay, and a learning
rate that follows a cosine to zero. Batch normalisation keeps its statistics.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from erasable._plumbing.batching import in_order, numbered, refuse_unlabelled
from erasable._plumbing.steps import batches_in, descend
from erasable._plumbing.weights import unfrozen
from erasable.dataset import Dataset
from erasable.errors import SettingsError
from erasable.receipt import Level
from erasable.request import Split
from erasable.task import Batch, LogitTask
from erasable.train import Recipe
from erasable.unlearner import Needs


@dataclass(frozen=True, kw_only=True)
class BoundaryShrink:
    """Erased samples are taught the class beyond their nearest boundary."""

    epochs: int = 10
    lr: float = 1e-5
    batch: int = 64
    momentum: float = 0.9
    reach: float = 0.1
    rounds: int = 10
    guarantee: ClassVar[Level] = "empirical"
    needs: ClassVar[Needs] = frozenset({"forget"})

    def __post_init__(self) -> None:
        if self.reach <= 0 or self.rounds < 1:
            raise SettingsError(f"reach={self.reach}, rounds={self.rounds}", expected="positive values",
                                do="correct the settings")  # fmt: skip
        self.recipe()

    def recipe(self) -> Recipe:
        return Recipe(epochs=self.epochs, lr=self.lr, batch=self.batch, momentum=self.momentum, weight_decay=0.0,
                      warmup=0.0, optimizer="sgd")  # fmt: skip

    def __call__(self, model: nn.Module, split: Split, task: LogitTask, *, seed: int) -> nn.Module:
        """Raises TaskMismatch for a task without classes."""
        refuse_unlabelled(task, self)
        across = self.across(model.requires_grad_(False).eval(), split.forget, task)

        def loss(given: tuple[Tensor, Batch]) -> Tensor:
            at, batch = given
            return F.cross_entropy(task.logits(model, batch), across[at.to(across.device)])

        batches = numbered(task, split.forget, self.batch, epochs=self.epochs, seed=seed)
        with unfrozen(model, train=False):
            descend(model, batches, loss, self.recipe(), steps=batches_in(split.forget, self.batch, epochs=self.epochs))
        return model

    def across(self, model: nn.Module, data: Dataset, task: LogitTask) -> Tensor:
        """y~ of every sample, (samples,), by a frozen network in eval mode."""
        return torch.cat([self._across(model, batch, task) for batch in in_order(task, data, self.batch)])

    def _across(self, model: nn.Module, batch: Batch, task: LogitTask) -> Tensor:
        x, y = batch["inputs"], task.labels(batch)
        low, high = x.clamp(max=-1.0), x.clamp(min=1.0)  # the nominal range, and what lies outside it already
        moved, walks = x, torch.ones_like(y, dtype=torch.bool)
        for _ in range(self.rounds):
            at = moved.detach().requires_grad_(True)
            uphill = torch.autograd.grad(task.losses(model, {**batch, "inputs": at}).sum(), at)[0].sign()
            step = torch.maximum(torch.minimum(at.detach() + 2 * self.reach * uphill, high), low)  # it is 2 wide
            moved = torch.where(walks.view(-1, *[1] * (x.ndim - 1)), step, moved)
            with torch.no_grad():
                logits = task.logits(model, {**batch, "inputs": moved})
            walks = logits.argmax(1) == y
            if not bool(walks.any()):
                break
        return logits.scatter(1, y[:, None], -torch.inf).argmax(1)
