"""Find noise that the network is surest not to be the class, teach it that this is the class, then repair the rest.

    noise    maximise over N:  mean l(f(N), erased class) - decay * mean ||N||^2          `noise_steps` steps of Adam
    impair   one pass over `copies` times N, named as the erased class, mixed with `samples` of every class that stays
    repair   one pass over these samples alone

Of the erased data only the labels and the shape of an input are used. Classes only: a request that leaves samples of
its class is refused, for impairing destroys the whole class. Every erased class has its own noise, of `batch` inputs.

Cost: `noise_steps` gradients of a batch of inputs, and two short passes. Fails when: the data are few, for then the
noise outnumbers them and one pass does not repair; the learning rates are high, as published, and cost accuracy.
Reference: Tarun, Chundawat, Mandal, Kankanhalli (2021), "Fast Yet Effective Machine Unlearning", arXiv:2111.08947.
Defaults are those of the authors' example, for 32 x 32 pictures. Differs: their example names all noise as class 0
where several classes are erased. Noise and samples are one batch, as there, and both move the running statistics of
batch normalisation, which the repair then brings back; the noise is found with these still.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from erasable._plumbing.batching import labels_of, refuse_unlabelled, shuffled
from erasable._plumbing.classes import whole_classes
from erasable._plumbing.seeds import child, generator
from erasable._plumbing.steps import batches_in, descend
from erasable._plumbing.weights import unfrozen
from erasable.dataset import Dataset
from erasable.errors import SettingsError
from erasable.receipt import Level
from erasable.request import Split
from erasable.task import Batch, LogitTask
from erasable.train import Recipe
from erasable.unlearner import Needs

Named = tuple[Batch, Tensor]  # inputs, and what to call them


@dataclass(frozen=True, kw_only=True)
class UNSIR:
    """Impair with noise in the name of the class, then repair. `samples` per class, `copies` of each noise picture."""

    noise_steps: int = 40
    noise_lr: float = 0.1
    decay: float = 0.1
    copies: int = 20
    samples: int = 1000
    impair_lr: float = 0.02
    repair_lr: float = 0.01
    batch: int = 256
    guarantee: ClassVar[Level] = "empirical"
    needs: ClassVar[Needs] = frozenset({"forget", "retain"})

    def __post_init__(self) -> None:
        if min(self.noise_steps, self.noise_lr, self.copies, self.samples) <= 0 or self.decay < 0:
            raise SettingsError(f"{self}", expected="positive values, a decay of at least 0",
                                do="correct the settings")  # fmt: skip
        self.recipe(self.impair_lr), self.recipe(self.repair_lr)

    def recipe(self, lr: float) -> Recipe:
        return Recipe(epochs=1, lr=lr, batch=self.batch, weight_decay=0.0, warmup=0.0, optimizer="adamw")

    def __call__(self, model: nn.Module, split: Split, task: LogitTask, *, seed: int) -> nn.Module:
        """Raises TaskMismatch for a task without classes, RequestError for a part of a class."""
        refuse_unlabelled(task, self)
        erased = whole_classes(task, split, self)
        kept = self.sampled(split.retain, task, seed)
        noise = torch.stack([self.noise(model, task, split.forget, int(each), seed) for each in erased])

        def loss(given: Named) -> Tensor:
            batch, names = given
            return F.cross_entropy(task.logits(model, batch), names)

        impairing = list(self.mixed(task, kept, noise, erased, seed))
        repairing = shuffled(task, kept, self.batch, epochs=1, seed=child(seed, "repair"))
        with unfrozen(model, train=True):
            descend(model, impairing, loss, self.recipe(self.impair_lr), steps=len(impairing), factor=_constant)
            descend(model, ((each, task.labels(each)) for each in repairing), loss, self.recipe(self.repair_lr),
                    steps=batches_in(kept, self.batch), factor=_constant)  # fmt: skip
        return model

    def sampled(self, data: Dataset, task: LogitTask, seed: int) -> Dataset:
        """At most `samples` of every class."""
        order = torch.randperm(len(data), generator=generator(seed, "samples"))
        labels = labels_of(task, data).cpu()[order]
        at = torch.cat([order[labels == each][: self.samples] for each in range(task.classes)])
        return data.take(at.sort().values)

    def noise(self, model: nn.Module, task: LogitTask, data: Dataset, erased: int, seed: int) -> Tensor:
        """(batch, *shape) inputs that the network is surest not to be of the class."""
        model.requires_grad_(False).eval()
        like = task.batch(data, torch.zeros(1, dtype=torch.long))["inputs"]
        drawn = torch.randn(self.batch, *like.shape[1:], generator=generator(seed, "noise", erased))
        found = drawn.to(like).requires_grad_(True)
        names = torch.full((self.batch,), erased, device=like.device)
        optimizer = torch.optim.Adam([found], lr=self.noise_lr)
        for _ in range(self.noise_steps):
            sure = F.cross_entropy(task.logits(model, {"inputs": found}), names)
            loss = self.decay * found.square().flatten(1).sum(1).mean() - sure
            (found.grad,) = torch.autograd.grad(loss, found)
            optimizer.step()
        return found.detach()

    def mixed(self, task: LogitTask, kept: Dataset, noise: Tensor, erased: Tensor, seed: int) -> Iterator[Named]:
        """One pass over the copies of the noise (erased, batch, *shape) and the samples, in one shuffled order."""
        each = self.copies * self.batch
        order, draws = generator(seed, "impair"), generator(seed, "augment")
        for at in torch.split(torch.randperm(each * len(noise) + len(kept), generator=order), self.batch):
            false, true = at[at < each * len(noise)], at[at >= each * len(noise)] - each * len(noise)
            batch = task.batch(kept, true)
            if task.draws:
                batch = task.augment(batch, torch.rand(len(true), task.draws, generator=draws))
            inputs = torch.cat([noise[false // each, false % self.batch], batch["inputs"]])
            yield {"inputs": inputs}, torch.cat([erased[(false // each).to(erased.device)], task.labels(batch)])


def _constant(step: int) -> float:
    """The published learning rates do not fall."""
    return 1.0
