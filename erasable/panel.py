"""What is measured of a model after an erasure: the numbers that decide, and those that are shown beside them.

    panel = Panel(oracles, probe.look(oracles.models), seed, Relearn(), "standard")
    decisive(now, panel, ...)        a status rests on these; their noise bands hold together
    further(now, before, panel, ...) further attacks and distances, with the oracles' values and a band of their own

Which suite measures what is said in `docs/verdicts.md`. A number that decides must see leaks that others miss: each one
more widens the bands of all.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from erasable._plumbing.seeds import child
from erasable.attacks._rates import auc
from erasable.attacks.delta import delta
from erasable.attacks.difficulty_calibration import difficulty_calibration
from erasable.attacks.logistic import called_members, logistic
from erasable.attacks.logistic import shares as called_shares
from erasable.attacks.nearest_neighbour import nearest_neighbour
from erasable.attacks.oracle_lira import findings as oracle_lira_findings
from erasable.attacks.oracle_lira import oracle_lira
from erasable.attacks.rmia import rmia
from erasable.attacks.svc_confidence import shares, svc_confidence
from erasable.errors import EvidenceError, TaskMismatch
from erasable.evidence import FEW, Evidence, Finding, Scores, joint
from erasable.metrics import (
    accuracy,
    activation_distance,
    disagreement,
    energy_distance,
    js,
    kl,
    membership,
    relearning,
    tug_of_war,
    worst_class,
)
from erasable.metrics.zrf import zrf
from erasable.population import Population
from erasable.probe import Observation
from erasable.recoverability import Oracles as RelearningOracles
from erasable.recoverability import without_training
from erasable.report import Suite
from erasable.signals import log_probabilities
from erasable.signals.entropy import entropy_of
from erasable.signals.modified_entropy import modified_entropy_of
from erasable.stresses import Relearn, Relearned

TEACHERS = 4  # networks with random weights that ZRF compares with
LEAST = 1e-30  # confidence


@dataclass(eq=False)
class Panel:
    """A population of oracles, looked at once for all subjects that share it.

    seed     of what the attacks draw
    relearn  how the erased samples are taught again
    """

    population: Population
    seen: Observation
    seed: int
    relearn: Relearn
    suite: Suite = "quick"
    relearned: dict[float, list[Relearned]] = field(default_factory=dict)
    _called: list[float] = field(default_factory=list)

    @cached_property
    def lessons(self) -> RelearningOracles:
        return RelearningOracles(self.population.models, self.seen.probe, self.seed)

    @property
    def per_sample(self) -> bool:
        """Is each erased sample attacked by itself?"""
        return self.suite != "quick" and len(self.population) >= 3

    def scores(self, looked: Observation) -> Scores | None:
        """Of the attack on each erased sample by itself."""
        return oracle_lira(looked.margin["forget"], self.seen.margin["forget"]) if self.per_sample else None

    @cached_property
    def shares(self) -> list[float]:
        seen = self.seen.confidence
        return shares(seen["retain"], seen["test"], seen["forget"], seed=self.seed)

    def called(self, play: Callable[[Observation], Scores]) -> list[float]:
        """Of each oracle's erased samples the share that a classifier calls members, in %."""
        if not self._called:
            self._called += called_shares(play(self.seen))
        return self._called

    def steps(self, untouched: float) -> list[tuple[int, bool]]:
        if untouched not in self.relearned:
            probe = self.seen.probe
            self.relearned[untouched] = [
                self.relearn(each, probe.task, probe.forget, untouched=untouched, seed=child(self.seed, i))
                for i, each in enumerate(self.population)
            ]
        return [(each.steps, each.reached) for each in self.relearned[untouched]]


def decisive(
    now: Observation,
    panel: Panel,
    subject: str,
    untouched: float | None,
    again: Relearned | None,
    scores: Scores | None,
) -> tuple[Finding, ...]:
    """What the status rests on, with bands that hold together.

    untouched  accuracy on the erased samples before the erasure, and `again` how the model relearned it, where known
    scores     of `panel.scores(now)`
    """
    oracle, sure, known = panel.seen, now.confidence, panel.seen.confidence
    found = [
        accuracy(now.correct["forget"], oracle.correct["forget"], subject=subject, on="forget"),
        svc_confidence(sure["retain"], sure["test"], sure["forget"], subject=subject, oracles=panel.shares,
                       seed=panel.seed),
        difficulty_calibration(sure["forget"], sure["test"], oracles=(known["forget"], known["test"]), subject=subject),
        disagreement(now.prediction, oracle.prediction, subject=subject),
        kl(now.log_p["forget"], oracle.log_p["forget"], subject=subject, seed=panel.seed),
    ]  # fmt: skip
    if "peers" in sure:
        found.append(membership(sure["forget"], sure["peers"], subject=subject,
                                oracles=(known["forget"], known["peers"])))  # fmt: skip
    if again is not None and untouched is not None:
        found.append(relearning(again.steps, reached=again.reached, n=len(now.probe.forget), subject=subject,
                                oracles=panel.steps(untouched)))  # fmt: skip
    if panel.per_sample and now.probe.gone_class is not None:
        found += _class_attack(now, panel, subject, now.probe.gone_class)
    if scores is not None:
        found += oracle_lira_findings(scores, subject=subject)
    return joint(found)


def _class_attack(now: Observation, panel: Panel, subject: str, erased: int) -> list[Finding]:
    """Does the erased class look to the model as it does to the oracles? Nothing where too few test samples can say."""
    labels = torch.cat([now.probe.labels["test"], now.probe.labels["peers"]])
    try:
        return [nearest_neighbour(now.fresh, panel.seen.fresh, labels, erased=erased, subject=subject,
                                  features="log-probabilities", seed=panel.seed)]  # fmt: skip
    except EvidenceError:
        return []


def further(now: Observation, before: Observation | None, panel: Panel, subject: str, model: Any) -> list[Finding]:
    """What stands beside what is judged; nothing in the suite "quick". `before` is of the very model that forgot."""
    if panel.suite == "quick":
        return []
    found = _distances(now, panel, subject)
    if len(panel.population) >= FEW:
        found.append(_rmia(now, panel, subject))
    if panel.suite == "full":
        found += [_logistic(now, panel, subject), *_zrf(now, panel, subject, model)]
        found += [] if before is None else [_delta(before, now, panel, subject)]
    return found


def _distances(now: Observation, panel: Panel, subject: str) -> list[Finding]:
    """What is shown beside what is judged: further distances, and the class that came off worst."""
    seen, probe = panel.seen, now.probe
    found = [each(now.log_p["forget"], seen.log_p["forget"], subject=subject, seed=panel.seed)
             for each in (js, activation_distance)]  # fmt: skip
    if len(panel.population) >= 4:
        found += energy_distance(now.margin["forget"], seen.margin["forget"], subject=subject, seed=panel.seed)
    mine, theirs = ({part: looked.correct[part] for part in ("forget", "retain", "test")} for looked in (now, seen))
    found.append(tug_of_war(mine, theirs, subject=subject))
    found.append(worst_class(mine["test"], probe.labels["test"], theirs["test"], subject=subject, on="test",
                             names=probe.names))  # fmt: skip
    return found


def _rmia(now: Observation, panel: Panel, subject: str) -> Finding:
    """Erased against fresh samples; the oracles are the references, and half of the fresh ones the population."""
    (asked, among), (theirs, others) = (_halved(each) for each in (now, panel.seen))
    truth = _erased(asked, now)
    target = rmia(asked, among, references=(theirs, others), truth=truth)
    held_out = rmia(theirs, others, truth=truth)
    return _auc(target, held_out, subject)


def _halved(looked: Observation) -> tuple[Evidence, Evidence]:
    """Confidence on the erased and every second fresh sample, and on the others; never 0, which RMIA divides by."""
    sure = {part: replace(each, values=each.values.clamp_min(LEAST)) for part, each in looked.confidence.items()}
    odd, even = (torch.arange(first, len(sure["test"].ids), 2) for first in (0, 1))
    return sure["forget"].joined(sure["test"].samples(odd)), sure["test"].samples(even)


def _delta(before: Observation, now: Observation, panel: Panel, subject: str) -> Finding:
    """What the change gives away to whoever holds both versions; the oracles as if each had come of the erasure."""
    first, then, known = (each.margin["forget"].joined(each.margin["test"]) for each in (before, now, panel.seen))
    erased = _erased(first, now)
    first = replace(first, member=erased.expand(first.member.shape))
    many = Evidence(first.signal, first.ids, first.values.expand(known.values.shape), erased.expand(known.member.shape))
    return _auc(delta(first, then, forgotten=erased), delta(many, known, forgotten=erased), subject)


def _logistic(now: Observation, panel: Panel, subject: str) -> Finding:
    """A classifier of kept against fresh samples is asked about the erased ones."""

    def play(looked: Observation) -> Scores:
        parts = ("forget", "retain", "test")
        n = [len(now.probe.parts[part]) for part in parts]
        forget, _, test = (part.expand(sum(n)) for part in torch.eye(3, dtype=torch.bool).repeat_interleave(
            torch.tensor(n), dim=1))  # fmt: skip
        log_p = [looked.log_p[part] for part in parts]
        own = [[entropy_of(each), modified_entropy_of(each, now.probe.labels[part])]
               for part, each in zip(parts, log_p, strict=True)]  # fmt: skip
        signals = [a.joined(b).joined(c) for a, b, c in zip(*own, strict=True)]
        return logistic(signals, known=~forget, truth=~test, counted=forget, seed=panel.seed)

    return called_members(play(now), subject=subject, oracles=panel.called(play))


def _zrf(now: Observation, panel: Panel, subject: str, model: Any) -> list[Finding]:
    """Against networks of the same design with random weights; nothing for what is no single network."""
    probe = now.probe
    try:
        blank = [without_training(model, child(panel.seed, "teacher", i)) for i in range(TEACHERS)]
        fitted = torch.zeros(TEACHERS, len(probe.forget), dtype=torch.bool)
        teachers = log_probabilities(blank, probe.task, probe.forget, fitted=fitted)
    except TaskMismatch:
        return []
    return [zrf(now.log_p["forget"], teachers, panel.seen.log_p["forget"], subject=subject, seed=panel.seed)]


def _erased(evidence: Evidence, now: Observation) -> Tensor:
    """(samples,) bool: the first are the erased ones."""
    return torch.arange(len(evidence.ids)) < len(now.probe.forget)


def _auc(target: Scores, oracles: Scores, subject: str) -> Finding:
    return auc(target, subject=subject).beside([auc(each, subject=subject).value for each in oracles.each()])
