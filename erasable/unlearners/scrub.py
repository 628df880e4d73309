"""SCRUB: the network as it was is the teacher; the student is driven away from it where it shall forget, and follows it
where it shall not.

    epochs 1 .. m   ascend on   mean_forget KL( p_old || p_w )
    every epoch     descend on  alpha * mean_retain KL( p_old || p_w ) + gamma * mean_retain l(w)

Divergences are those of softmaxes at temperature T, times T^2. With `rewind` (SCRUB+R) the network is put back to the
end of the epoch whose error on the forgotten samples comes nearest to a reference: what the final network does on
unseen samples of the same classes. `reference` is that error, where it is known. Where it is not, `aside` of the
retained samples of these classes take no part in the epochs and stand for unseen ones, each class counting as often as
it is forgotten. The network was trained on them, so their error is too low, and rewinding settles where too little has
been forgotten rather than too much.

Cost: `epochs` passes over the retained data and m over the forgotten, each with a second forward pass; rewinding keeps
the weights of every epoch. Fails when: seed, learning rate or batch are other than those that it was tuned for. At
first student and teacher are the same, so the gradient of the first ascent is zero but for what batch normalisation or
dropout bring in: in a network without these, the first pass over the forgotten samples does next to nothing.
Reference: Kurmanji, Triantafillou, Hayes, Triantafillou (2023), "Towards Unbounded Machine Unlearning",
arXiv:2302.09880, with the settings of its experiments on the whole of CIFAR-10 (they give ranges for the batches). For
its small ones: alpha=0.5, gamma=1, temperature=2, ascents=3, epochs=10, decay_at=(5, 8, 9).
Differs: batch normalisation uses its running statistics for forgotten samples and does not move them. The validation
samples of SCRUB+R are not in a split, hence `reference` and `aside`.
"""

import copy
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from erasable._plumbing.answers import answers, divergence, refuse_unanswered
from erasable._plumbing.batching import in_order, labels_of, refuse_unlabelled, shuffled
from erasable._plumbing.seeds import child, generator, seeded
from erasable._plumbing.steps import batches_in, descend, refining, still_statistics
from erasable._plumbing.weights import unfrozen
from erasable.dataset import Dataset
from erasable.errors import RequestError, SettingsError
from erasable.receipt import Level
from erasable.request import Split
from erasable.task import Batch, LogitTask, Task
from erasable.train import Recipe
from erasable.unlearner import Needs


@dataclass(frozen=True, kw_only=True)
class SCRUB:
    """`ascents` is m, `decay_at` the epochs (from 1) after which the learning rate falls to a tenth.

    Raises TaskMismatch for a task without answers to choose from, and with `rewind` for one without labels;
    RequestError where rewinding has no `reference` and no samples to take one from.
    """

    alpha: float = 0.001
    gamma: float = 0.99
    temperature: float = 4.0
    ascents: int = 2
    epochs: int = 3
    lr: float = 5e-4
    decay_at: tuple[int, ...] = (3, 5, 9)
    batch: int = 128
    forget_batch: int = 32
    momentum: float = 0.9
    weight_decay: float = 5e-4
    rewind: bool = False
    reference: float | None = None
    aside: float = 0.1
    guarantee: ClassVar[Level] = "empirical"
    needs: ClassVar[Needs] = frozenset({"forget", "retain"})

    def __post_init__(self) -> None:
        if min(self.alpha, self.gamma) < 0 or self.temperature <= 0 or self.forget_batch < 1:
            raise SettingsError(f"alpha={self.alpha}, gamma={self.gamma}, temperature={self.temperature}, "
                                f"forget_batch={self.forget_batch}", expected="weights of at least 0, a positive "
                                "temperature and batch", do="correct them")  # fmt: skip
        if not 0 <= self.ascents <= self.epochs:
            raise SettingsError(f"{self.ascents} ascents in {self.epochs} epochs", expected="at most one in each",
                                do="correct them")  # fmt: skip
        if not (0 < self.aside < 1 and 0 <= (self.reference or 0) <= 1):
            raise SettingsError(f"aside={self.aside}, reference={self.reference}", expected="shares between 0 and 1",
                                do="correct them")  # fmt: skip
        self.recipe()

    def recipe(self) -> Recipe:
        return refining(self)

    def __call__(self, model: nn.Module, split: Split, task: Task, *, seed: int) -> nn.Module:
        refuse_unanswered(task, self)
        rewinding, retain = None, split.retain
        if self.rewind:
            refuse_unlabelled(task, self)
            assert isinstance(task, LogitTask)
            unseen = None
            if self.reference is None:
                unseen, retain = set_aside(task, split, self.aside, seed)
            rewinding = Rewinding(task, split.forget, unseen, self.reference)
        teacher = copy.deepcopy(model).requires_grad_(False).eval()

        def passes() -> Iterator[tuple[Batch, bool]]:
            for epoch in range(self.epochs):
                if epoch < self.ascents:
                    erased = shuffled(task, split.forget, self.forget_batch, epochs=1, seed=child(seed, "f", epoch))
                    yield from ((batch, True) for batch in erased)
                kept = shuffled(task, retain, self.batch, epochs=1, seed=child(seed, "r", epoch))
                yield from ((batch, False) for batch in kept)
                if rewinding is not None:
                    rewinding.keep(model)

        def loss(given: tuple[Batch, bool]) -> Tensor:
            batch, ascend = given
            with torch.no_grad():
                old = answers(teacher, task, batch)[0]
            with still_statistics(model) if ascend else nullcontext():
                new, losses = answers(model, task, batch)
            apart = self.temperature**2 * divergence(old, new, self.temperature).mean()
            return -apart if ascend else self.alpha * apart + self.gamma * losses.mean()

        ascent, descent = batches_in(split.forget, self.forget_batch), batches_in(retain, self.batch)
        when = [epoch for epoch in range(self.epochs) for _ in range(descent + ascent * (epoch < self.ascents))]
        with unfrozen(model, train=True), seeded(seed, "layers"):
            descend(model, passes(), loss, self.recipe(), steps=len(when),
                    factor=lambda step: 0.1 ** sum(when[step] >= each for each in self.decay_at))  # fmt: skip
        if rewinding is not None:
            model.load_state_dict(rewinding.nearest(model))
        return model


@dataclass
class Rewinding:
    """The weights after each epoch, and which of them to go back to. `reference` is an error, or `unseen` gives it."""

    task: LogitTask
    forget: Dataset
    unseen: Dataset | None
    reference: float | None
    kept: list[tuple[float, dict[str, Tensor]]] = field(default_factory=list)  # (error on `forget`, weights)

    def keep(self, model: nn.Module) -> None:
        weights = {name: each.clone() for name, each in model.state_dict().items()}
        self.kept.append((float(wrong(model, self.task, self.forget).mean()), weights))

    def nearest(self, model: nn.Module) -> dict[str, Tensor]:
        """The weights whose error on what is forgotten is nearest to the reference; the later ones of equals."""
        aim = self.reference
        if aim is None:
            assert self.unseen is not None
            aim = self.error(model, self.unseen)
        return min(reversed(self.kept), key=lambda each: abs(each[0] - aim))[1]

    def error(self, model: nn.Module, unseen: Dataset) -> float:
        """The share of wrong answers for `unseen`, its classes weighted as in `forget`."""
        errors, labels = wrong(model, self.task, unseen), labels_of(self.task, unseen)
        asked = labels_of(self.task, self.forget)
        return sum(float(errors[labels == c].mean() * (asked == c).float().mean()) for c in set(asked.tolist()))


def set_aside(task: LogitTask, split: Split, share: float, seed: int) -> tuple[Dataset, Dataset]:
    """(a share of the retained samples of each forgotten class, the rest). Raises RequestError where none remain."""
    labels, draws = labels_of(task, split.retain).cpu(), generator(seed, "aside")
    out = torch.zeros(len(labels), dtype=torch.bool)
    for c in sorted(set(labels_of(task, split.forget).tolist())):
        here = torch.nonzero(labels == c).flatten()
        if len(here) < 2:
            raise RequestError(f"SCRUB rewinds, and {len(here)} samples of class {c} stay", expected="two or more of "
                               "each forgotten class, for the error on unseen ones",
                               do="give reference=ERROR, or take rewind=False")  # fmt: skip
        out[here[torch.randperm(len(here), generator=draws)[: max(1, int(share * len(here)))]]] = True
    return split.retain.take(torch.nonzero(out).flatten()), split.retain.take(torch.nonzero(~out).flatten())


@torch.no_grad()
def wrong(model: nn.Module, task: LogitTask, data: Dataset, size: int = 256) -> Tensor:
    """1 for a wrong answer, 0 for a right one, (samples,); the network is in eval mode meanwhile."""
    training = model.training
    model.eval()
    found = [task.logits(model, each).argmax(1) != task.labels(each) for each in in_order(task, data, size)]
    model.train(training)
    return torch.cat(found).float()
