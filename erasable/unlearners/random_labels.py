"""Teach the network wrong answers for what is to be forgotten, and the right ones for the rest.

    forgotten x: draw a label c at random;  minimise over w:  mean CE(f_w(x), c);  retained samples as in training

fresh    labels are drawn from all classes, the true one among them, and again in every epoch; without it, once and
         from the other classes
mixed    forgotten and retained samples share batches; without it, an epoch is a pass over the forgotten samples, then
         one over the retained

Cost: `epochs` passes over all data. Fails when: it works. The network becomes less sure of the forgotten samples than
of ones that it never saw, which an attack sees from the other side; a network that cannot learn wrong labels by heart
spoils what lies near them.
Reference: the random-label baseline of Graves, Nagisetty, Ganesh (2021), "Amnesiac Machine Learning", arXiv:2010.10981,
with the settings of Fan et al. (2023), "SalUn", arXiv:2310.12508. The harness of Foster et al. (2024), "SSD",
arXiv:2308.07707, calls RandomLabels(fresh=False, mixed=True) "amnesiac"; taking back the stored steps of the training,
which is Graves' other proposal, is not this.
Differs: the learning rate follows a cosine. Batch normalisation uses its running statistics and keeps them still for
batches that hold forgotten samples only; the released code lets these move them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from erasable._plumbing.batching import labels_of, refuse_unlabelled
from erasable._plumbing.seeds import child, generator, seeded
from erasable._plumbing.steps import batches_in, descend, still_statistics, together
from erasable._plumbing.weights import unfrozen
from erasable.errors import TaskMismatch
from erasable.receipt import Level
from erasable.request import Split
from erasable.task import Batch, LogitTask
from erasable.train import Recipe
from erasable.unlearner import Needs


@dataclass(frozen=True, kw_only=True)
class RandomLabels:
    """Training on wrong labels. Raises TaskMismatch for a task without labels, or with one class only."""

    fresh: bool = True
    mixed: bool = False
    epochs: int = 10
    lr: float = 0.013
    batch: int = 256
    momentum: float = 0.9
    weight_decay: float = 5e-4
    optimizer: Literal["sgd", "adamw"] = "sgd"
    guarantee: ClassVar[Level] = "empirical"
    needs: ClassVar[Needs] = frozenset({"forget", "retain"})

    def __post_init__(self) -> None:
        self.recipe()

    def recipe(self) -> Recipe:
        return Recipe(epochs=self.epochs, lr=self.lr, batch=self.batch, momentum=self.momentum,
                      weight_decay=self.weight_decay, warmup=0.0, optimizer=self.optimizer)  # fmt: skip

    def __call__(self, model: nn.Module, split: Split, task: LogitTask, *, seed: int) -> nn.Module:
        return self.relabel(model, split, task, seed=seed)

    def relabel(
        self, model: nn.Module, split: Split, task: LogitTask, *, seed: int, moving: Sequence[Tensor] | None = None
    ) -> nn.Module:
        """`moving` (one bool tensor per parameter) names the weights that may move; all when None."""
        refuse_unlabelled(task, self)
        if task.classes < 2:
            raise TaskMismatch(f"{type(self).__name__} with {task.classes} class", expected="another one to answer",
                               do="choose a method that needs no labels")  # fmt: skip

        def loss(given: tuple[Batch, Tensor, Tensor]) -> Tensor:
            batch, labels, gone = given
            if bool(gone.all()):
                with still_statistics(model):
                    return F.cross_entropy(task.logits(model, batch), labels)
            return F.cross_entropy(task.logits(model, batch), labels)

        if self.mixed:
            steps = -(-(len(split.forget) + len(split.retain)) // self.batch) * self.epochs
        else:
            steps = sum(batches_in(half, self.batch, epochs=self.epochs) for half in (split.forget, split.retain))
        with unfrozen(model, train=True), seeded(seed, "layers"):
            descend(model, self.batches(split, task, seed), loss, self.recipe(), steps=steps, moving=moving)
        return model

    def batches(self, split: Split, task: LogitTask, seed: int) -> Iterator[tuple[Batch, Tensor, Tensor]]:
        """(batch, the labels to learn (batch,), which samples are forgotten ones (batch,) bool), epoch after epoch."""
        true, draws = labels_of(task, split.forget), generator(seed, "labels")
        drawn = self.draw(true, task.classes, draws)
        for epoch in range(self.epochs):
            if self.fresh and epoch:
                drawn = self.draw(true, task.classes, draws)
            each = child(seed, "epoch", epoch)
            for batch, at in together(task, split, self.batch, epochs=1, seed=each, mixed=self.mixed):
                gone = (at >= 0).to(drawn.device)
                yield batch, torch.where(gone, drawn[at.clamp(min=0).to(drawn.device)], task.labels(batch)), gone

    def draw(self, true: Tensor, classes: int, draws: torch.Generator) -> Tensor:
        """One label per forgotten sample, (samples,): any when `fresh`, any but the true one otherwise."""
        if self.fresh:
            return torch.randint(classes, true.shape, generator=draws).to(true.device)
        return (true + 1 + torch.randint(classes - 1, true.shape, generator=draws).to(true.device)) % classes
