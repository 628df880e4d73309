"""Two teachers: an untrained network for what is to be forgotten, the network as it was for the rest.

    minimise over w:  mean over forgotten samples and a part of the retained of  KL( teacher(x) || f_w(x) ),
    teacher = a network with fresh weights for forgotten x, the network before unlearning for retained x

Both sides at `temperature`. Cost: `epochs` passes over the forgotten samples and `share` of the retained, with two more
forward passes each. Fails when: it succeeds. An untrained network answers nearly the same to everything, so the
forgotten samples get the answers of no retrained network, and their entropy gives them away.
Reference: Chundawat, Tarun, Mandal, Kankanhalli (2023), "Can Bad Teaching Induce Forgetting? Unlearning in Deep
Networks Using an Incompetent Teacher", arXiv:2205.08096, with its settings.
Differs: the divergence is summed over classes; the released code takes their mean, which divides the learning rate by
their number. Both teachers are in eval mode, which some harnesses forget. Forgotten and retained samples share batches,
as there, so that batch normalisation updates its statistics on both; its learning rate is constant, as there.
"""

import copy
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from erasable._plumbing.answers import answers, divergence, refuse_unanswered
from erasable._plumbing.seeds import child, generator, seeded
from erasable._plumbing.steps import descend, together
from erasable._plumbing.untrained import untrained
from erasable._plumbing.weights import unfrozen
from erasable.errors import SettingsError
from erasable.receipt import Level
from erasable.request import Split
from erasable.task import Batch, Task
from erasable.train import Recipe
from erasable.unlearner import Needs


@dataclass(frozen=True, kw_only=True)
class BadTeacher:
    """`share` is the part of the retained data that is used. Raises TaskMismatch for a task without answers to choose
    from, and where nobody can say how the network's weights are drawn."""

    share: float = 0.3
    temperature: float = 1.0
    epochs: int = 1
    lr: float = 1e-4
    batch: int = 256
    guarantee: ClassVar[Level] = "empirical"
    needs: ClassVar[Needs] = frozenset({"forget", "retain"})

    def __post_init__(self) -> None:
        if not (0 < self.share <= 1 and self.temperature > 0):
            raise SettingsError(f"share={self.share}, temperature={self.temperature}", expected="a share above "
                                "0 and at most 1, a positive temperature", do="correct them")  # fmt: skip
        self.recipe()

    def recipe(self) -> Recipe:
        return Recipe(epochs=self.epochs, lr=self.lr, batch=self.batch, weight_decay=0.0, warmup=0.0)

    def __call__(self, model: nn.Module, split: Split, task: Task, *, seed: int) -> nn.Module:
        refuse_unanswered(task, self)
        good = copy.deepcopy(model).requires_grad_(False).eval()
        bad = untrained(model, task, child(seed, "bad teacher"))
        order = torch.randperm(len(split.retain), generator=generator(seed, "share"))
        part = Split(split.forget, split.retain.take(order[: max(1, round(self.share * len(order)))]))

        def loss(given: tuple[Batch, Tensor]) -> Tensor:
            batch, at = given
            with torch.no_grad():
                right, wrong = (answers(teacher, task, batch)[0] for teacher in (good, bad))
            student = answers(model, task, batch)[0]
            gone = (at >= 0).to(student.device).view(-1, *[1] * (student.ndim - 1))
            return divergence(torch.where(gone, wrong, right), student, self.temperature).mean()

        batches = together(task, part, self.batch, epochs=self.epochs, seed=seed, mixed=True)
        steps = self.epochs * -(-(len(part.forget) + len(part.retain)) // self.batch)
        with unfrozen(model, train=True), seeded(seed, "layers"):
            descend(model, batches, loss, self.recipe(), steps=steps, factor=lambda _: 1.0)
        return model
