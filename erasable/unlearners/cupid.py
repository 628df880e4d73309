"""Forget what the class is and not what it was photographed with: sort samples, weights and gradients into the two.

    sharpness of a sample     omega = l(w + radius * g / |g|) - l(w),   g its own gradient
    causal samples            the `causal` share with the largest omega; shortcuts lie in flat minima
    causal weights            the `pathway` share with the largest  w^2 / 2 * mean_causal g^2,  m = 1
    per batch of forget data  g = c + b,   c the part of its gradient along g_c = mean_causal gradient, b the rest
    w <- w + lr * (omega' * c * m + b * (1 - m))

omega' is the batch's mean omega, negative ones counted as none, divided by the mean over all. g_c is worked out once
per epoch. `clip` shortens a batch's step, before lr, to that length; None leaves it, as published. Forget data alone
are read. Made for classes that share a bias; parts of classes are not refused, as it cannot see what stays of a class.

Cost: four passes over the forget data, one with a gradient per sample. Fails when: sharp is not causal, for nothing
proves that; with a true share of bias-free samples below `causal`, most "causal" ones are biased. Ascent has no control
over what stays: more than one epoch, or a high learning rate, and it goes first. The gradient of a certain answer is
next to nothing, that of a wrong one is not: without `clip` hardly a learning rate lies between no change and ruin.
`radius` has to be shorter than the way to the next class, or all samples look sharp: on coloured digits with 5
bias-free ones in 1,000, of 20 such samples 18 were among the sharpest 5 % at 0.005, 13 at 0.05 and 4 at 0.5.
Reference: Kwon et al. (2026), "Easy to Learn, Yet Hard to Forget: Towards Robust Unlearning Under Bias", AAAI,
arXiv:2602.21773; shares, epoch, batch and learning rate are theirs. No code was found: `radius` (the usual one of
sharpness-aware training), the diagonal Fisher for the Hessian, and how omega is normalised are ours. Batch
normalisation keeps its statistics.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.func import vmap

from erasable._plumbing.batching import numbered
from erasable._plumbing.gradients import FLOATS, flat, gradient, loss_of_one, mean_gradient, per_sample, shaped
from erasable._plumbing.weights import unfrozen
from erasable.dataset import Dataset
from erasable.errors import SettingsError
from erasable.receipt import Level
from erasable.request import Split
from erasable.task import Task
from erasable.unlearner import Needs


@dataclass(frozen=True, kw_only=True)
class CUPID:
    """Ascent along causal gradients on causal weights, along the others on the rest. `radius` is a weight distance."""

    epochs: int = 1
    lr: float = 1e-3
    batch: int = 64
    causal: float = 0.05
    pathway: float = 0.5
    radius: float = 0.05
    clip: float | None = None
    guarantee: ClassVar[Level] = "empirical"
    needs: ClassVar[Needs] = frozenset({"forget"})

    def __post_init__(self) -> None:
        if min(self.epochs, self.lr, self.batch, self.radius, 1.0 if self.clip is None else self.clip) <= 0:
            raise SettingsError(f"{self}", expected="positive values", do="correct the settings")
        if not (0 < self.causal <= 1 and 0 <= self.pathway <= 1):
            raise SettingsError(f"causal={self.causal}, pathway={self.pathway}", expected="shares, causal above 0",
                                do="correct the settings")  # fmt: skip

    def __call__(self, model: nn.Module, split: Split, task: Task, *, seed: int) -> nn.Module:
        omega = self.sharpness(model, task, split.forget)
        most = omega.topk(max(1, round(self.causal * len(omega)))).indices
        causal = split.forget.take(most.sort().values)
        mask = self.mask(model, task, causal)
        size = omega.clamp_min(0)
        size = size / size.mean().clamp_min(1e-12)
        per_epoch = -(-len(split.forget) // self.batch)
        with unfrozen(model, train=False):
            parameters = list(model.parameters())
            batches = numbered(task, split.forget, self.batch, epochs=self.epochs, seed=seed)
            for step, (at, batch) in enumerate(batches):
                if step % per_epoch == 0:
                    direction = flat(mean_gradient(model, task, causal, batch=self.batch))
                whole = flat(gradient(task.losses(model, batch).mean(), parameters))
                shared = whole @ direction / (direction @ direction).clamp_min(1e-30) * direction
                uphill = torch.where(mask, size[at.to(size.device)].mean() * shared, whole - shared)
                if self.clip is not None:
                    uphill *= (self.clip / uphill.norm().clamp_min(1e-30)).clamp_max(1.0)
                with torch.no_grad():
                    for weight, part in zip(parameters, shaped(uphill, parameters), strict=True):
                        weight.add_(part, alpha=self.lr)
        return model

    def sharpness(self, model: nn.Module, task: Task, data: Dataset) -> Tensor:
        """How much each sample's loss rises within `radius` of the weights, (samples,) nats."""
        weights = {name: p.detach() for name, p in model.named_parameters()}
        loss, found = loss_of_one(model, task.losses), list[Tensor]()
        start = 0
        for own in per_sample(model, task, data, floats=FLOATS // 2):  # (chunk, parameters); moved weights are as many
            batch = task.batch(data, torch.arange(start, start + len(own)))
            start += len(own)
            way = self.radius * own / own.norm(dim=1, keepdim=True).clamp_min(1e-12)
            parts = torch.split(way, [w.numel() for w in weights.values()], dim=1)
            moved = {name: w + part.view(-1, *w.shape) for (name, w), part in zip(weights.items(), parts, strict=True)}
            with torch.no_grad():
                found.append(vmap(loss)(moved, batch) - task.losses(model, batch))
        return torch.cat(found)

    def mask(self, model: nn.Module, task: Task, causal: Dataset) -> Tensor:
        """Which weights matter most to the causal samples, (parameters,) bool."""
        squares = torch.stack([own.square().sum(0) for own in per_sample(model, task, causal)]).sum(0) / len(causal)
        weights = flat(p.detach() for p in model.parameters())
        saliency = weights.square() / 2 * squares
        mask = torch.zeros_like(saliency, dtype=torch.bool)
        mask[saliency.topk(round(self.pathway * len(saliency))).indices] = True
        return mask
