"""Teach the network to spread an erased class over its neighbours, as a network that never saw the class would.

    p~(c|x) = p_old(c|x) / (1 - p_old(erased|x))                       the old second thoughts, renormalised
    q(c|x)  = p~(c|x) exp(beta s_c) / sum_j p~(j|x) exp(beta s_j),     q(erased|x) = 0
    minimise over w, from the trained weights:  mean_retain l(w)  +  weight * mean_forget KL(q || p_w)

s_c in [0, 1] tells how similar class c is to the sample's own: cosines of the centred rows of the last layer, reduced
to the principal directions with `variance` of theirs, through a softmax of `temperature`, over the largest. `beta=0` is
plain redistribution (RWFT), which needs no linear last layer. q is worked out once, from the trained network.
Classes only: a request that leaves samples of its class is refused, for q says "never this class" and they say "this".

Cost: `epochs` passes over the retained data with a forget batch beside each, and one pass for q. Fails when: the old
second thoughts themselves came from the erased samples, which nothing here bounds; and after neural collapse, when all
classes are equally similar and the tilt is none: cosines closer together than `spread` are refused. A strong tilt costs
retained accuracy at first, which later steps bring back: few data ask for more epochs.
Reference: Ebrahimpour-Boroojeny, Wang, Sundaram (2025), "On the Necessity of Output Distribution Reweighting for
Effective Class Unlearning", arXiv:2506.20893. beta is theirs; number of directions, temperature, learning rate and
epochs are not known, and are ours. Batch normalisation learns from the retained batches alone.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from erasable._plumbing.batching import in_order, labels_of, numbered, refuse_unlabelled, shuffled
from erasable._plumbing.classes import whole_classes
from erasable._plumbing.heads import last_linear
from erasable._plumbing.seeds import child
from erasable._plumbing.steps import batches_in, descend, refining, still_statistics
from erasable._plumbing.weights import unfrozen
from erasable.dataset import Dataset
from erasable.errors import SettingsError, TaskMismatch
from erasable.receipt import Level
from erasable.request import Split
from erasable.task import Batch, LogitTask
from erasable.train import Recipe
from erasable.unlearner import Needs

Pair = tuple[tuple[Tensor, Batch], Batch]  # positions and batch of what is erased, batch of what stays


@dataclass(frozen=True, kw_only=True)
class TRW:
    """Tilted reweighting. `beta` is the tilt, `weight` that of the forget data, `spread` a difference of cosines."""

    beta: float = 10.0
    weight: float = 1.0
    epochs: int = 2
    lr: float = 0.01
    batch: int = 128
    momentum: float = 0.9
    weight_decay: float = 5e-4
    temperature: float = 0.1
    variance: float = 0.95
    spread: float = 0.02
    guarantee: ClassVar[Level] = "empirical"
    needs: ClassVar[Needs] = frozenset({"forget", "retain"})

    def __post_init__(self) -> None:
        if min(self.weight, self.temperature) <= 0 or min(self.beta, self.spread) < 0 or not 0 < self.variance <= 1:
            raise SettingsError(f"{self}", expected="weight and temperature above 0, beta and spread of at least 0, "
                                "variance in (0, 1]", do="correct the settings")  # fmt: skip
        self.recipe()

    def recipe(self) -> Recipe:
        return refining(self)

    def __call__(self, model: nn.Module, split: Split, task: LogitTask, *, seed: int) -> nn.Module:
        """Raises TaskMismatch without classes, without a linear last layer, and where all classes are equally similar;
        RequestError for a part of a class."""
        refuse_unlabelled(task, self)
        erased = whole_classes(task, split, self)
        q = self.targets(model.eval(), split.forget, task, erased)  # (forget, classes)

        def loss(pair: Pair) -> Tensor:
            (at, gone), kept = pair
            with still_statistics(model):
                away = F.kl_div(task.logits(model, gone).log_softmax(1), q[at.to(q.device)], reduction="batchmean")
            return task.losses(model, kept).mean() + self.weight * away

        steps = batches_in(split.retain, self.batch, epochs=self.epochs)
        rounds = -(-steps // batches_in(split.forget, self.batch))
        gone = numbered(task, split.forget, self.batch, epochs=rounds, seed=child(seed, "forget"))
        kept = shuffled(task, split.retain, self.batch, epochs=self.epochs, seed=child(seed, "retain"))
        with unfrozen(model, train=True):
            descend(model, zip(gone, kept, strict=False), loss, self.recipe(), steps=steps)
        return model

    @torch.no_grad()
    def targets(self, model: nn.Module, data: Dataset, task: LogitTask, erased: Tensor) -> Tensor:
        """q for every sample to erase, (samples, classes), from a network in eval mode."""
        logits = torch.cat([task.logits(model, batch) for batch in in_order(task, data, self.batch)])
        logits[:, erased] = -torch.inf  # renormalising is leaving out: softmax divides by what is left
        if not self.beta:
            return logits.softmax(1)
        head = model.get_submodule(last_linear(model, task, data))
        assert isinstance(head, nn.Linear)
        s = self.similarities(head.weight.detach(), erased)
        row = torch.searchsorted(erased, labels_of(task, data))  # which of the erased classes each sample has
        return (logits + self.beta * s[row]).softmax(1)

    def similarities(self, weight: Tensor, erased: Tensor) -> Tensor:
        """s of every class to each erased one, (erased, classes) in [0, 1], from the last layer (classes, width).

        Raises TaskMismatch where they say nothing.
        """
        rows = weight.double() - weight.double().mean(0)
        left, size, _ = torch.linalg.svd(rows, full_matrices=False)
        share = size.square().cumsum(0) / size.square().sum()
        k = int((share < self.variance).sum()) + 1
        unit = F.normalize(left[:, :k] * size[:k], dim=1)  # (classes, k)
        stays = torch.ones(len(weight), dtype=torch.bool, device=weight.device)
        stays[erased] = False
        cosine = unit[erased] @ unit.T
        among = cosine[:, stays]  # (erased, those that stay)
        apart = among.amax(1) - among.amin(1)
        if among.shape[1] > 1 and bool((apart < self.spread).any()):
            worst = int(apart.argmin())
            raise TaskMismatch(f"class {int(erased[worst])} is equally similar to all others (cosines within "
                               f"{float(apart[worst]):.3g})", expected=f"a last layer that tells neighbours, by "
                               f"{self.spread:g} at least", do="set beta=0: plain redistribution")  # fmt: skip
        s = (cosine / self.temperature).masked_fill(~stays, -torch.inf).softmax(1)
        return (s / s.amax(1, keepdim=True)).to(weight)
