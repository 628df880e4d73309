"""How soon erased samples come back when a copy of the model is taught or handled, with the oracles beside.

    the erased samples    the lesson of somebody who has them
    five of each class    of somebody who has a few
    what was kept         of somebody who goes on training and means no harm
    a new head            features stay as they are and only the head is trained again: was only the head cut?

Three things that happen to models in use are tried as well: rounding to int8, pruning and fine-tuning; and a linear
classifier is fitted on the features as they are: what do they still tell about the erased samples? Knowledge that was
hidden rather than removed comes back sooner than it comes to models that never had it. An untouched model and one with
random weights stand beside, so that a reader sees how much room there is between.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from erasable._plumbing.seeds import child, generator, seeded
from erasable.dataset import Dataset
from erasable.errors import EvidenceError, TaskMismatch
from erasable.evidence import Evidence, Finding
from erasable.metrics import accuracy
from erasable.metrics.recovery import recovery
from erasable.probe import Probe
from erasable.report import Relearning
from erasable.signals import correct_of, log_probabilities
from erasable.stresses.finetune import FineTune
from erasable.stresses.head_refit import HeadRefit
from erasable.stresses.linear_probe import LinearProbe
from erasable.stresses.prune import Prune
from erasable.stresses.quantize import Quantize
from erasable.stresses.relearn import Relearn, benign, few_shots

STEPS = 40
SHOTS = 5


HANDLED: Mapping[str, Callable[[Any, Probe, int], nn.Module]] = {
    "rounding to int8": lambda model, probe, seed: Quantize()(model),
    "pruning half": lambda model, probe, seed: Prune(share=0.5)(model),
    "fine-tuning on the rest": lambda model, probe, seed: FineTune(epochs=1)(
        model, probe.task, probe.retain, seed=seed
    ),
}
NEW_HEAD = "a new head"
LINEAR = "a linear probe"
SHOWN = 1_000  # samples that the linear probe is fitted on, balanced over classes


def lessons(probe: Probe, *, seed: int) -> dict[str, Dataset]:
    """What is trained on, by name."""
    task, erased = probe.task, probe.forget
    gone = probe.gone_classes
    both = probe.data.only([*erased.ids, *probe.retain.ids]) if gone else erased
    return {
        "the erased samples": erased,
        "five of each class": few_shots(task, both, SHOTS, seed=seed),
        "what was kept": benign(task, probe.retain, erased, gone=gone),
        NEW_HEAD: probe.retain,
    }


def shown_and_asked(probe: Probe, *, seed: int) -> tuple[Dataset, Tensor]:
    """What a linear probe is fitted on, and the positions of the erased samples that it is asked about.

    What was kept, and all erased samples. Of a class that is gone nothing was kept to learn its name from: half of its
    erased samples, by lot, are shown too, and only the other half is asked about.
    """
    at = torch.arange(len(probe.forget))
    lost = torch.isin(probe.labels["forget"], torch.tensor(probe.gone_classes, dtype=torch.long))
    drawn = at[lost][torch.randperm(int(lost.sum()), generator=generator(seed, "linear probe"))]
    given = drawn[: len(drawn) // 2]
    shown = probe.data.only([*(probe.forget.ids[i] for i in given.tolist()), *probe.retain.ids])
    return shown, at[~torch.isin(at, given)]


def curve(model: Any, probe: Probe, name: str, lesson: Dataset, *, seed: int) -> Tensor:
    """(STEPS + 1,) accuracy on the erased samples, in %. Raises TaskMismatch for what no weight can change."""
    if name == NEW_HEAD:
        return torch.tensor(HeadRefit(steps=STEPS)(model, probe.task, probe.forget, lesson, seed=seed).curve)
    relearn = Relearn(cap=STEPS, whole=True)
    return torch.tensor(relearn(model, probe.task, probe.forget, untouched=100.0, seed=seed, using=lesson).curve)


class Oracles:
    """The oracles' curves, each lesson learned once whoever is compared with them."""

    def __init__(self, models: Sequence[Any], probe: Probe, seed: int) -> None:
        self.models, self.probe, self.seed = models, probe, seed
        self.lessons = lessons(probe, seed=seed)
        self._curves: dict[str, Tensor] = {}
        self._correct: dict[str, Evidence] = {}

    def curves(self, name: str) -> Tensor:
        """(oracles, STEPS + 1)."""
        if name not in self._curves:
            self._curves[name] = torch.stack([
                curve(each, self.probe, name, self.lessons[name], seed=child(self.seed, i))
                for i, each in enumerate(self.models)
            ])  # fmt: skip
        return self._curves[name]

    def correct(self, name: str) -> Evidence:
        """The signal `correct` of the oracles after one of HANDLED, or by LINEAR."""
        if name not in self._correct:
            self._correct[name] = self.correct_after(name, self.models)
        return self._correct[name]

    def correct_after(self, name: str, models: Sequence[Any]) -> Evidence:
        probe, at = self.probe, torch.arange(len(self.probe.forget))
        if name == LINEAR:
            shown, at = shown_and_asked(probe, seed=self.seed)
            fit = LinearProbe(budgets=(min(SHOWN, len(shown)),))
            networks = [fit(each, probe.task, shown, probe.forget.take(at), seed=self.seed).model for each in models]
        else:
            networks = [HANDLED[name](each, probe, child(self.seed, i)) for i, each in enumerate(models)]
        fitted = torch.zeros(len(models), len(at), dtype=torch.bool)
        said = log_probabilities(networks, probe.task, probe.forget.take(at), fitted=fitted)
        return correct_of(said, probe.labels["forget"][at])


def relearnings(
    model: Any, untouched: Any | None, oracles: Oracles, *, subject: str
) -> tuple[tuple[Relearning, ...], tuple[Finding, ...]]:
    """The curves of each lesson, and how far they lie from the oracles' towards the untouched model's.

    Without an untouched model, or where it is not ahead of the oracles, there is no such distance. A lesson that a
    model cannot be taught, for no weight changes its loss or it has no single head, is left out.
    """
    drawn, found = [], []
    for name, lesson in oracles.lessons.items():
        probe, seed = oracles.probe, oracles.seed
        try:
            after, known = curve(model, probe, name, lesson, seed=seed), oracles.curves(name)
            full = None if untouched is None else curve(untouched, probe, name, lesson, seed=seed)
            blank = curve(without_training(model, seed), probe, name, lesson, seed=seed)
        except TaskMismatch:
            continue
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


def handled(model: Any, oracles: Oracles, *, subject: str) -> tuple[Finding, ...]:
    """Accuracy on the erased samples after each of HANDLED and by a linear probe, done to the oracles as well.

    What cannot be done to a model, for it has no weights to prune or no features to read, is left out.
    """
    found = []
    for name in (*HANDLED, LINEAR):
        try:
            after, known = oracles.correct_after(name, [model]), oracles.correct(name)
        except TaskMismatch:
            continue
        finding = accuracy(after, known, subject=subject, on="forget")
        found.append(finding.model_copy(update={"metric": f"forget accuracy after {name}"}))
    return tuple(found)


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
