"""Change the last k layers only: go on training them on what stays (CF-k), or train them anew on it (EU-k).

    CF-k  minimise over the last k layers, from the trained weights:  mean_retain l(w)
    EU-k  the same from fresh weights of these layers

A layer is a module that holds weights of two or more axes (convolution, linear, embedding), with what follows it and
holds none (normalisation); layers count in the order in which the network registers them, so k = 1 is the head. The
other layers do not move, neither by weight decay nor in their running statistics.
Cost: `epochs` passes over the retained data; gradients end at the first layer that moves. Fails when: what is to be
forgotten sits further down, which is where a network knows samples by their features: a fresh head on features that
were fitted on a sample still tells it from strangers. EU-k of all layers is a short retraining.
Reference: Goel, Prabhu, Sanyal, Lim, Torr, Kumaraguru (2022), "Towards Adversarial Evaluations for Inexact Machine
Unlearning", arXiv:2201.06640. Defaults: ten epochs of SGD at 0.01, within the customary search from 1e-4 to 0.1.
Differs: the learning rate follows a cosine. Augmentation as in training; forget data are not read.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from erasable._plumbing.batching import shuffled
from erasable._plumbing.seeds import child, seeded
from erasable._plumbing.steps import batches_in, descend, refining
from erasable._plumbing.untrained import untrained
from erasable._plumbing.weights import unfrozen
from erasable.errors import SettingsError
from erasable.receipt import Level
from erasable.request import Split
from erasable.task import Task
from erasable.train import Recipe
from erasable.unlearner import Needs


@dataclass(frozen=True, kw_only=True)
class CFk:
    """Fine-tuning of the last `k` layers. Raises SettingsError for a network with fewer."""

    k: int = 1
    epochs: int = 10
    lr: float = 0.01
    batch: int = 256
    momentum: float = 0.9
    weight_decay: float = 5e-4
    guarantee: ClassVar[Level] = "empirical"
    needs: ClassVar[Needs] = frozenset({"retain"})

    def __post_init__(self) -> None:
        _recipe(self)

    def __call__(self, model: nn.Module, split: Split, task: Task, *, seed: int) -> nn.Module:
        return _refit(self, model, last_layers(model, self.k), split, task, seed)


@dataclass(frozen=True, kw_only=True)
class EUk:
    """Training of the last `k` layers from fresh weights. Raises SettingsError for a network with fewer, TaskMismatch
    where nobody can say how its weights are drawn."""

    k: int = 1
    epochs: int = 10
    lr: float = 0.01
    batch: int = 256
    momentum: float = 0.9
    weight_decay: float = 5e-4
    guarantee: ClassVar[Level] = "empirical"
    needs: ClassVar[Needs] = frozenset({"retain"})

    def __post_init__(self) -> None:
        _recipe(self)

    def __call__(self, model: nn.Module, split: Split, task: Task, *, seed: int) -> nn.Module:
        layers = last_layers(model, self.k)
        twin = untrained(model, task, child(seed, "fresh"))
        with torch.no_grad():
            for name in layers:
                for old, new in zip(*(_own(each.get_submodule(name)) for each in (model, twin)), strict=True):
                    old.copy_(new)
        return _refit(self, model, layers, split, task, seed)


def last_layers(model: nn.Module, k: int) -> list[str]:
    """The names of the modules of the last k layers. Raises SettingsError for a network with fewer."""
    layers: list[list[str]] = []
    for name, module in model.named_modules():
        axes = [p.ndim for p in module.parameters(recurse=False)]
        if axes and (max(axes) > 1 or not layers):
            layers.append([name])
        elif axes:
            layers[-1].append(name)
    if k > len(layers):
        raise SettingsError(f"k={k} for a network of {len(layers)} layers", expected="at most these", do="lower k")
    return [name for layer in layers[-k:] for name in layer]


def _own(module: nn.Module) -> list[torch.Tensor]:
    return [*module.parameters(recurse=False), *module.buffers(recurse=False)]


def _recipe(method: CFk | EUk) -> Recipe:
    if method.k < 1:
        raise SettingsError(f"k={method.k}", expected="at least 1", do="correct it")
    return refining(method)


def _refit(
    method: CFk | EUk, model: nn.Module, layers: Sequence[str], split: Split, task: Task, seed: int
) -> nn.Module:
    with unfrozen(model, train=True), seeded(seed, "layers"):
        for name, module in model.named_modules():
            if name not in layers:
                module.training = not _own(module)  # dropout goes on, running statistics stand still
                for parameter in module.parameters(recurse=False):
                    parameter.requires_grad_(False)
        descend(model, shuffled(task, split.retain, method.batch, epochs=method.epochs, seed=seed),
                lambda batch: task.losses(model, batch).mean(), _recipe(method),
                steps=batches_in(split.retain, method.batch, epochs=method.epochs))  # fmt: skip
    return model
