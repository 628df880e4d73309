"""How soon erased samples come back when a copy of the model is taught: three lessons, and the oracles beside each.

    the erased samples    the lesson of somebody who has them
    five of each class    of somebody who has a few
    what was kept         of somebody who goes on training and means no harm

Knowledge that was hidden rather than removed comes back sooner than it comes to models that never had it. An untouched
model and one with random weights stand beside, so that a reader sees how much room there is between.
"""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from erasable._plumbing.seeds import child, seeded
from erasable.dataset import Dataset
from erasable.errors import EvidenceError, TaskMismatch
from erasable.evidence import Finding
from erasable.metrics.recovery import recovery
from erasable.probe import Probe
from erasable.report import Relearning
from erasable.stresses.relearn import Relearn, benign, few_shots

STEPS = 40
SHOTS = 5


def lessons(probe: Probe, *, seed: int) -> dict[str, Dataset]:
    """What is trained on, by name."""
    task, erased = probe.task, probe.forget
    gone = sorted(set(probe.labels["forget"].tolist()) - set(probe.labels["retain"].tolist()))
    both = probe.data.only([*erased.ids, *probe.retain.ids]) if gone else erased
    return {
        "the erased samples": erased,
        "five of each class": few_shots(task, both, SHOTS, seed=seed),
        "what was kept": benign(task, probe.retain, erased, gone=gone),
    }


def curve(model: Any, probe: Probe, lesson: Dataset, *, seed: int) -> Tensor:
    """(STEPS + 1,) accuracy on the erased samples, in %. Raises TaskMismatch for what no weight can change."""
    relearn = Relearn(cap=STEPS, whole=True)
    return torch.tensor(relearn(model, probe.task, probe.forget, untouched=100.0, seed=seed, using=lesson).curve)


class Oracles:
    """The oracles' curves, each lesson learned once whoever is compared with them."""

    def __init__(self, models: Sequence[Any], probe: Probe, seed: int) -> None:
        self.models, self.probe, self.seed = models, probe, seed
        self.lessons = lessons(probe, seed=seed)
        self._curves: dict[str, Tensor] = {}

    def curves(self, name: str) -> Tensor:
        """(oracles, STEPS + 1)."""
        if name not in self._curves:
            self._curves[name] = torch.stack([
                curve(each, self.probe, self.lessons[name], seed=child(self.seed, i))
                for i, each in enumerate(self.models)
            ])  # fmt: skip
        return self._curves[name]


def relearnings(
    model: Any, untouched: Any | None, oracles: Oracles, *, subject: str
) -> tuple[tuple[Relearning, ...], tuple[Finding, ...]]:
    """The curves of each lesson, and how far they lie from the oracles' towards the untouched model's.

    Without an untouched model, or where it is not ahead of the oracles, there is no such distance. A model whose loss
    no weight can change has no curves at all.
    """
    drawn, found = [], []
    for name, lesson in oracles.lessons.items():
        probe, seed = oracles.probe, oracles.seed
        try:
            after, known = curve(model, probe, lesson, seed=seed), oracles.curves(name)
        except TaskMismatch:
            return (), ()
        full = None if untouched is None else curve(untouched, probe, lesson, seed=seed)
        blank = curve(without_training(model, seed), probe, lesson, seed=seed)
        drawn.append(Relearning(
            learns_from=name, steps=tuple(range(len(after))), after=_told(after), oracle_mean=_told(known.mean(0)),
            oracle_low=_told(known.min(0).values), oracle_high=_told(known.max(0).values),
            untouched=None if full is None else _told(full), random=_told(blank),
        ))  # fmt: skip
        if full is not None:
            try:
                found.append(recovery(after[None], known, full[None], n=len(probe.forget), subject=subject, by=name))
            except EvidenceError:  # nothing to recover: the curves show it
                continue
    return tuple(drawn), tuple(found)


def without_training(model: Any, seed: int) -> nn.Module:
    """The model's network with fresh random weights."""
    network: nn.Module = copy.deepcopy(model.as_network() if hasattr(model, "as_network") else model)
    with seeded(seed, "random weights"), torch.no_grad():
        for module in network.modules():
            if callable(reset := getattr(module, "reset_parameters", None)):
                reset()
                continue
            for parameter in module.parameters(recurse=False):  # such as tokens and positions
                if parameter.is_floating_point():
                    parameter.normal_(std=max(1e-3, float(parameter.std()) if parameter.numel() > 1 else 1.0))
    return network


def _told(values: Tensor) -> tuple[float, ...]:
    return tuple(round(each, 3) for each in values.tolist())
