"""What the report draws: histograms, curves, and the samples that are shown, as data."""

import base64
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from erasable._plumbing.png import png
from erasable.attacks._rates import roc
from erasable.evidence import Evidence, Scores
from erasable.probe import Observation, Probe
from erasable.report import Exposed, Guess, Histogram, Leakage, Roc, Sample

EDGE = 14.0  # log-odds at which the confidence histograms end: just beyond 0.0001 % and 99.9999 %
POINTS = 120  # of a curve
WORST = 6  # samples on which an attack is surest


class Looked(NamedTuple):
    """A subject's name, and what it, and its oracles, say of the probe."""

    name: str
    before: Observation | None
    now: Observation
    oracles: Observation


def histogram(now: Observation, oracles: Observation) -> Histogram:
    """Of the log-odds of the true class: near certainty, where confidences pile up, they keep them apart."""
    n = len(now.probe.forget)
    bins = max(8, min(24, round(2 * math.sqrt(n))))
    fresh = now.confidence.get("peers", now.confidence["test"])

    def count(evidence: Evidence) -> tuple[float, ...]:
        odds = torch.logit(evidence.values.flatten().clamp(1e-12, 1 - 1e-12)).clamp(-EDGE, EDGE)
        counts = torch.histc(odds, bins=bins, min=-EDGE, max=EDGE)
        return tuple((counts / counts.sum()).tolist())

    edges = torch.linspace(-EDGE, EDGE, bins + 1, dtype=torch.float64).tolist()
    return Histogram(edges=tuple(edges), after=count(now.confidence["forget"]),
                     oracles=count(oracles.confidence["forget"]), fresh=count(fresh))  # fmt: skip


def roc_of(scores: Scores) -> Roc:
    """The curve with at most POINTS points, evenly spread over the logarithm of the false-positive rate."""
    curve = roc(scores)
    at = torch.arange(len(curve.fpr))
    if len(at) > POINTS:
        wanted = torch.logspace(math.log10(max(1e-6, float(curve.fpr[curve.fpr > 0].min()))), 0, POINTS - 1)
        at = torch.cat([at[:1], torch.searchsorted(curve.fpr.contiguous(), wanted.double(), right=True) - 1, at[-1:]])
        at = torch.unique(at.clamp(0, len(curve.fpr) - 1))
    fpr, tpr, low, high = (tuple(each[at].clamp(0, 1).tolist()) for each in curve)
    return Roc(attack=scores.attack, fpr=fpr, tpr=tpr, low=low, high=high)


def leakage_of(scores: Scores, probe: Probe | None) -> Leakage:
    """From scores whose row 0 is the model and whose other rows are its oracles; without a probe, ids are all that is
    known of the samples."""
    values = scores.values.clamp(-50, 50)
    low, high = float(values.min()), float(values.max())
    bins = max(8, min(24, round(2 * math.sqrt(values.shape[1]))))
    edges = torch.linspace(low, high if high > low else low + 1, bins + 1, dtype=torch.float64)

    def shares(part: torch.Tensor) -> tuple[float, ...]:
        counts = torch.histc(part.flatten(), bins=bins, min=float(edges[0]), max=float(edges[-1]))
        return tuple((counts / counts.sum()).tolist())

    owners = None if probe is None else probe.forget.owners
    worst = [Exposed(id=scores.ids[at], owner=None if owners is None else owners[at], score=float(values[0, at]),
                     picture=None if probe is None else picture(probe, at))
             for at in values[0].argsort(descending=True, stable=True)[:WORST].tolist()]  # fmt: skip
    return Leakage(attack=scores.attack, edges=tuple(edges.tolist()), after=shares(values[0]),
                   oracles=shares(values[1:]), worst=tuple(worst))  # fmt: skip


def samples_of(looked: Sequence[Looked], probe: Probe, most: int) -> tuple[Sample, ...]:
    """The erased samples that are shown: the ones that the first subject's oracles know least."""
    first = looked[0].oracles.confidence["forget"].values.mean(dim=0)
    return tuple(_sample(int(at), looked, probe) for at in first.argsort(stable=True)[:most])


def _sample(at: int, looked: Sequence[Looked], probe: Probe) -> Sample:
    guesses = []
    for name, before, now, oracles in looked:
        answers = oracles.prediction.values[:, at].bincount(minlength=probe.task.classes)
        earlier = None if before is None else probe.names[int(before.prediction.values[0, at])]
        guesses.append(Guess(
            subject=name,
            before=earlier,
            after=probe.names[int(now.prediction.values[0, at])],
            confidence=min(1.0, float(now.confidence["forget"].values[0, at])),
            oracle=probe.names[int(answers.argmax())],
            agree=int(answers.max()),
            oracles=len(oracles.prediction.values),
        ))  # fmt: skip
    return Sample(id=probe.forget.ids[at], label=probe.names[int(probe.labels["forget"][at])],
                  picture=picture(probe, at), guesses=tuple(guesses))  # fmt: skip


def picture(probe: Probe, at: int) -> str | None:
    """The sample as a PNG in base64; None for what is no picture."""
    task: Any = probe.task
    shape: tuple[int, ...] = getattr(task, "shape", ())
    if len(shape) != 3 or shape[0] not in (1, 3):
        return None
    pixels = probe.forget.read(task.inputs, torch.tensor([at]))[0].float()
    low, high = pixels.new_tensor(task.low), pixels.new_tensor(task.high)
    return base64.b64encode(png((pixels - low) / (high - low))).decode()
