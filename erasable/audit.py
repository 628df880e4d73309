"""Judge what is left of a request: models in, one Section of a Report out.

    probe   = Probe.of(request, data, test, task)        which samples to look at
    before  = probe.look([model])                        what the model says before it forgets
    section = judge([Subject(...), ...], probe, ...)     what it says after, beside its oracles
    report  = compile_report([section, ...], ...)        with provenance; to_json, to_markdown, to_html

Each subject is compared with its own oracles: models of the same method, trained without the erased samples. The status
follows from the rules of `erasable.verdict`; the guarantee of the receipt stands beside it and is never mixed with it.
"""

import base64
import math
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version
from typing import Any

import torch

from erasable._plumbing.png import png
from erasable._plumbing.seeds import child
from erasable.attacks.svc_confidence import shares, svc_confidence
from erasable.errors import EvidenceError, PopulationTooSmall
from erasable.evidence import Evidence, Finding, joint
from erasable.metrics import accuracy, average_gap, cost, disagreement, kl, membership, relearning
from erasable.population import Population
from erasable.probe import Observation, Probe
from erasable.receipt import LEVELS, Level, Receipt, digest_of_ids
from erasable.report import Guess, Histogram, Report, Role, Row, Sample, Section
from erasable.stresses import Relearn, Relearned
from erasable.verdict import LIMITS, cautions_of, status_of, summary_of, verdict_of

EDGE = 14.0  # log-odds at which the confidence histograms end: just beyond 0.0001 % and 99.9999 %


@dataclass(frozen=True, kw_only=True, eq=False)
class Subject:
    """A model after an erasure, and what it is to be compared with.

    oracles  models of the same method that were trained without the erased samples, at least two
    before   `probe.look([model])` from before the erasure; without it, relearning is not measured and nobody can say
             whether the audit would have seen the samples at all
    level    the guarantee; the receipt's where there is one
    seconds  of the erasure; preparation_seconds: of what had to be done for it before the request came
    """

    name: str
    model: Any
    oracles: Population
    before: Observation | None = None
    receipt: Receipt | None = None
    level: Level | None = None
    seconds: float | None = None
    preparation_seconds: float | None = None
    role: Role = "method"
    note: str = ""


@dataclass(eq=False)
class _Panel:
    """A population of oracles, looked at once for all subjects that share it."""

    population: Population
    seen: Observation
    seed: int
    relearn: Relearn
    relearned: dict[float, list[Relearned]] = field(default_factory=dict)

    @cached_property
    def shares(self) -> list[float]:
        seen = self.seen.confidence
        return shares(seen["retain"], seen["test"], seen["forget"], seed=self.seed)

    def steps(self, untouched: float) -> list[tuple[int, bool]]:
        if untouched not in self.relearned:
            probe = self.seen.probe
            self.relearned[untouched] = [
                self.relearn(each, probe.task, probe.forget, untouched=untouched, seed=child(self.seed, i))
                for i, each in enumerate(self.population)
            ]
        return [(each.steps, each.reached) for each in self.relearned[untouched]]


def judge(
    subjects: Sequence[Subject],
    probe: Probe,
    *,
    title: str,
    seed: int = 0,
    relearn: Relearn | None = None,
    samples: int = 8,
) -> Section:
    """One request, all ways of carrying it out. `samples` erased samples are kept for the page, at most 12.

    Raises PopulationTooSmall for fewer than two oracles, EvidenceError for no subjects or two of one name, and what the
    signals and stresses raise; a model that diverged is such a case.
    """
    start = time.perf_counter()
    names = [each.name for each in subjects]
    if not names or len(set(names)) != len(names):
        raise EvidenceError(f"subjects {names}", expected="at least one, each with its own name", do="rename them")
    for each in subjects:
        if len(each.oracles) < 2:
            raise PopulationTooSmall(f"{len(each.oracles)} oracles for '{each.name}'", expected="at least 2",
                                     do="train more: one model hides seed noise")  # fmt: skip
    panels: dict[int, _Panel] = {}
    rows, after = [], []
    for subject in subjects:
        panel = panels.get(id(subject.oracles))
        if panel is None:
            seen = probe.look(subject.oracles.models)
            panel = panels[id(subject.oracles)] = _Panel(subject.oracles, seen, seed, relearn or Relearn())
        now = probe.look([subject.model])
        rows.append(_row(subject, now, panel))
        after.append((subject, now, panel))
    return Section(
        title=title,
        case=probe.request.case,
        verdict=summary_of(rows, len(probe.forget)),
        cautions=cautions_of(rows, peers=probe.peers is not None),
        erased=len(probe.forget),
        retained=probe.retained,
        classes_gone=probe.gone,
        rows=tuple(rows),
        samples=_samples(after, probe, min(samples, 12)),
        samples_order="those first of which the oracles are least sure: there forgetting shows",
        data=probe.data.name,
        digests={"training data": probe.data.digest(), "test data looked at": probe.test.digest(),
                 "erased ids": digest_of_ids(probe.request.ids)},
        seed=seed,
        seconds=time.perf_counter() - start,
    )  # fmt: skip


def compile_report(sections: Sequence[Section], *, title: str, command: str = "", show_samples: bool = False) -> Report:
    """Sections with provenance. The erased samples are personal data: they are left out unless `show_samples`."""
    from erasable import __version__

    kept = [each if show_samples else each.model_copy(update={"samples": ()}) for each in sections]
    packages = ("torch", "numpy", "scipy", "scikit-learn", "pydantic")
    return Report(
        title=title,
        command=command,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        show_samples=show_samples,
        sections=tuple(kept),
        limits=LIMITS,
        versions={"python": sys.version.split()[0], **{each: version(each) for each in packages}},
        platform=f"{platform.system()} {platform.machine()}, threads: {torch.get_num_threads()}",
        erasable_version=__version__,
    )


# --- one row ----------------------------------------------------------------------------------------------------------


def _row(subject: Subject, now: Observation, panel: _Panel) -> Row:
    untouched = None
    if subject.before is not None:
        untouched = 100 * float(subject.before.correct["forget"].values[0].mean())
    again = None
    if untouched is not None:
        probe = now.probe
        again = panel.relearn(subject.model, probe.task, probe.forget, untouched=untouched, seed=panel.seed)
    judged = _judged(now, panel, subject.name, untouched, again)
    before: tuple[Finding, ...] = ()
    if subject.before is not None:
        before = _judged(subject.before, panel, subject.name, untouched, Relearned(0, True, ()))
    oracle = panel.seen.correct
    kept = joint([accuracy(now.correct[part], oracle[part], subject=subject.name, on=part, direction="higher")
                  for part in ("test", "retain")])  # fmt: skip
    gaps = [*kept, *(each for each in judged if each.metric in ("forget accuracy", "membership AUROC"))]
    shown = [*kept, average_gap(gaps, subject=subject.name)]
    if subject.seconds is not None:
        shown.append(cost(subject.seconds, subject=subject.name))
    if subject.preparation_seconds is not None:
        shown.append(cost(subject.preparation_seconds, subject=subject.name, preparation=True))
    level = subject.receipt.level if subject.receipt is not None else subject.level
    status = status_of(judged, before)
    return Row(
        name=subject.name,
        role=subject.role,
        level=level,
        why=_why(level, subject.receipt),
        status=status,
        verdict=verdict_of(status, judged, kept[0] if subject.role == "method" else None, level, len(subject.oracles)),
        oracles=len(subject.oracles),
        oracle_seeds=subject.oracles.seeds,
        judged=judged,
        shown=tuple(shown),
        before=before,
        histogram=_histogram(now, panel.seen),
        note=subject.note,
        receipt=subject.receipt,
    )


def _judged(
    now: Observation, panel: _Panel, subject: str, untouched: float | None, again: Relearned | None
) -> tuple[Finding, ...]:
    """What the status rests on, with bands that hold together."""
    oracle, sure, known = panel.seen, now.confidence, panel.seen.confidence
    found = [
        accuracy(now.correct["forget"], oracle.correct["forget"], subject=subject, on="forget"),
        svc_confidence(sure["retain"], sure["test"], sure["forget"], subject=subject, oracles=panel.shares,
                       seed=panel.seed),
        disagreement(now.prediction, oracle.prediction, subject=subject),
        kl(now.log_p["forget"], oracle.log_p["forget"], subject=subject, seed=panel.seed),
    ]  # fmt: skip
    if "peers" in sure:
        found.append(membership(sure["forget"], sure["peers"], subject=subject,
                                oracles=(known["forget"], known["peers"])))  # fmt: skip
    if again is not None and untouched is not None:
        found.append(relearning(again.steps, reached=again.reached, n=len(now.probe.forget), subject=subject,
                                oracles=panel.steps(untouched)))  # fmt: skip
    return joint(found)


def _why(level: Level | None, receipt: Receipt | None) -> str:
    """The receipt's reason; for an empirical level there is none that would outlast this audit."""
    return receipt.why if receipt is not None and level != "empirical" else LEVELS[level] if level else ""


def _histogram(now: Observation, oracles: Observation) -> Histogram:
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


# --- samples ----------------------------------------------------------------------------------------------------------


def _samples(after: Sequence[tuple[Subject, Observation, _Panel]], probe: Probe, most: int) -> tuple[Sample, ...]:
    """The erased samples that are shown: the ones that the first subject's oracles know least."""
    first = after[0][2].seen.confidence["forget"].values.mean(dim=0)
    return tuple(_sample(int(at), after, probe) for at in first.argsort(stable=True)[:most])


def _sample(at: int, after: Sequence[tuple[Subject, Observation, _Panel]], probe: Probe) -> Sample:
    guesses = []
    for subject, now, panel in after:
        answers = panel.seen.prediction.values[:, at].bincount(minlength=probe.task.classes)
        earlier = None if subject.before is None else probe.names[int(subject.before.prediction.values[0, at])]
        guesses.append(Guess(
            subject=subject.name,
            before=earlier,
            after=probe.names[int(now.prediction.values[0, at])],
            confidence=min(1.0, float(now.confidence["forget"].values[0, at])),
            oracle=probe.names[int(answers.argmax())],
            agree=int(answers.max()),
            oracles=len(panel.population),
        ))  # fmt: skip
    return Sample(id=probe.forget.ids[at], label=probe.names[int(probe.labels["forget"][at])],
                  picture=_picture(probe, at), guesses=tuple(guesses))  # fmt: skip


def _picture(probe: Probe, at: int) -> str | None:
    """The sample as a PNG in base64; None for what is no picture."""
    task: Any = probe.task
    shape: tuple[int, ...] = getattr(task, "shape", ())
    if len(shape) != 3 or shape[0] not in (1, 3):
        return None
    pixels = probe.forget.read(task.inputs, torch.tensor([at]))[0].float()
    low, high = pixels.new_tensor(task.low), pixels.new_tensor(task.high)
    return base64.b64encode(png((pixels - low) / (high - low))).decode()
