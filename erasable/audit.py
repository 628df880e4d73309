"""Judge what is left of a request: models in, one Section of a Report out.

    probe   = Probe.of(request, data, test, task)        which samples to look at
    before  = probe.look([model])                        what the model says before it forgets
    section = judge([Subject(...), ...], probe, ...)     what it says after, beside its oracles
    report  = compile_report([section, ...], ...)        with provenance; to_json, to_markdown, to_html

Each subject is compared with its own oracles: models of the same method, trained without the erased samples. The status
follows from the rules of `erasable.verdict`; the guarantee of the receipt stands beside it and is never mixed with it.
"""

import platform
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import torch

from erasable.errors import EvidenceError, PopulationTooSmall
from erasable.evidence import Finding, joint
from erasable.exhibits import Looked, histogram, leakage_of, roc_of, samples_of
from erasable.metrics import accuracy, average_gap, cost
from erasable.metrics.cost import costs
from erasable.panel import Panel, decisive, further
from erasable.population import Population
from erasable.probe import Observation, Probe
from erasable.receipt import LEVELS, Level, Receipt, Tuning, digest_of_ids
from erasable.recoverability import handled, relearnings
from erasable.report import Relearning, Report, Role, Row, Section, Suite
from erasable.stresses import Relearn, Relearned
from erasable.unlearner import Tried, Unlearner
from erasable.verdict import cautions_of, filter_cautions, limits_of, power_of, status_of, summary_of, verdict_of


@dataclass(frozen=True, kw_only=True, eq=False)
class Subject:
    """A model after an erasure, and what it is to be compared with.

    oracles  models of the same method that were trained without the erased samples, at least two
    before   `probe.look([model])` from before the erasure; without it, relearning is not measured and nobody can say
             whether the audit would have seen the samples at all
    untouched  the model itself from before, or one that stands in for it: relearning curves are drawn beside its
    stand_in   `before` and `untouched` are of another model that was trained alike: nobody held this very pair
    level    the guarantee; the receipt's where there is one
    seconds  of the erasure; preparation_seconds: of what had to be done for it before the request came
    unlearner  by which it was erased, where its settings were tuned: it refuses the samples by which they were chosen

    A model with `left_alone`, ids that a filter kept from the method behind it, is asked about these by themselves too.
    """

    name: str
    model: Any
    oracles: Population
    before: Observation | None = None
    untouched: Any = None
    stand_in: bool = False
    receipt: Receipt | None = None
    level: Level | None = None
    seconds: float | None = None
    preparation_seconds: float | None = None
    role: Role = "method"
    note: str = ""
    unlearner: Unlearner[Any] | None = None

    @property
    def tuning(self) -> Tuning | None:
        if isinstance(self.unlearner, Tried):
            return self.unlearner.tuning
        return None if self.receipt is None else self.receipt.tuning

    def left_alone(self, probe: Probe) -> frozenset[str]:
        """Erased samples that a filter left alone."""
        return frozenset(getattr(self.model, "left_alone", ())).intersection(probe.request.ids)


def judge(
    subjects: Sequence[Subject],
    probe: Probe,
    *,
    title: str,
    suite: Suite = "quick",
    seed: int = 0,
    relearn: Relearn | None = None,
    samples: int = 8,
    apart: bool = False,
) -> Section:
    """One request, all ways of carrying it out. `samples` erased samples are kept for the page, at most 12.

    suite  "quick": one threshold for all samples. "standard" and "full": each erased sample is attacked by itself too,
           which takes three oracles or more
    apart  after all others come rows for what a filter left alone, and for what it did not, where one did

    Raises PopulationTooSmall for fewer than two oracles, EvidenceError for no subjects or two of one name, what
    `Tried.refuse` raises, and what the signals and stresses raise; a model that diverged is such a case.
    """
    start = time.perf_counter()
    names = [each.name for each in subjects]
    if not names or len(set(names)) != len(names):
        raise EvidenceError(f"subjects {names}", expected="at least one, each with its own name", do="rename them")
    for each in subjects:
        if len(each.oracles) < 2:
            raise PopulationTooSmall(f"{len(each.oracles)} oracles for '{each.name}'", expected="at least 2",
                                     do="train more: one model hides seed noise")  # fmt: skip
        if isinstance(each.unlearner, Tried):
            each.unlearner.refuse(probe.request)
    panels: dict[int, Panel] = {}
    rows, looked = [], []
    for subject in subjects:
        panel = panels.get(id(subject.oracles))
        if panel is None:
            seen = probe.look(subject.oracles.models)
            _refuse_no_oracles(subject.name, seen)
            panel = panels[id(subject.oracles)] = Panel(subject.oracles, seen, seed, relearn or Relearn(), suite)
        now = probe.look([subject.model])
        rows.append(_row(subject, now, panel))
        looked.append(Looked(subject.name, subject.before, now, panel.seen))
    if apart:
        for subject, seen_by in zip(subjects, tuple(looked), strict=True):
            for part, own in _parts(subject, probe):
                panel = Panel(own.oracles, seen_by.oracles.on(part), seed, relearn or Relearn(), suite)
                rows.append(_row(own, seen_by.now.on(part), panel))
    filtered = [(each.name, len(each.left_alone(probe))) for each in subjects if each.left_alone(probe)]
    cautions = cautions_of(rows, peers=probe.peers is not None)
    return Section(
        title=title,
        case=probe.request.case,
        verdict=summary_of(rows, len(probe.forget)),
        cautions=(*cautions, *filter_cautions(filtered, len(probe.forget), apart=apart)),
        erased=len(probe.forget),
        retained=probe.retained,
        classes_gone=probe.gone,
        rows=tuple(rows),
        samples=samples_of(looked, probe, min(samples, 12)),
        samples_order="those first of which the oracles are least sure: there forgetting shows",
        data=probe.data.name,
        digests={"training data": probe.data.digest(), "test data looked at": probe.test.digest(),
                 "erased ids": digest_of_ids(probe.request.ids)},
        seed=seed,
        seconds=time.perf_counter() - start,
    )  # fmt: skip


def _parts(subject: Subject, probe: Probe) -> Iterator[tuple[Probe, Subject]]:
    """What a filter left alone, and what the method behind it was shown: the same model and oracles, asked less."""
    left = subject.left_alone(probe)
    kept = [[each for each in probe.forget.ids if (each in left) is side] for side in (True, False)]
    if not all(kept):
        return
    told = (("left alone by", "The model was trained on these, and the unlearner's filter kept them from its method."),
            ("unlearned by", "What the filter of the unlearner showed to its method."))  # fmt: skip
    for ids, (how, note) in zip(kept, told, strict=True):
        name = f"{len(ids)} of {len(probe.forget)} samples {how} {subject.name}"
        part = probe.part(ids, f"{probe.request.case}: {name}")
        level = subject.level if subject.receipt is None else subject.receipt.level
        yield part, replace(subject, name=name, note=note, level=level, receipt=None, unlearner=None, seconds=None,
                            preparation_seconds=None,
                            before=None if subject.before is None else subject.before.on(part))  # fmt: skip


def _refuse_no_oracles(subject: str, seen: Observation) -> None:
    """Raise for oracles that saw the erased samples, or are copies of one another: their noise floor would be none."""
    forget = seen.log_p["forget"]
    if bool(forget.member.any()):
        model, at = torch.nonzero(forget.member)[0].tolist()
        raise EvidenceError(f"oracle {model} of '{subject}' was fitted on the erased sample '{forget.ids[at]}'",
                            expected="models that never saw the erased samples",
                            do="train them on what remains")  # fmt: skip
    answers = torch.cat([each.values.flatten(1) for each in (forget, seen.log_p["retain"])], dim=1)
    different = len(torch.unique(answers, dim=0))
    if different < len(answers):
        raise PopulationTooSmall(f"{len(answers)} oracles of '{subject}', of which {different} differ",
                                 expected="each trained by itself", do="give every oracle its own seed")  # fmt: skip


def compile_report(
    sections: Sequence[Section], *, title: str, command: str = "", suite: Suite = "quick", show_samples: bool = False
) -> Report:
    """Sections with provenance. The erased samples are personal data: they are left out unless `show_samples`."""
    from erasable import __version__

    kept = [each if show_samples else _without_samples(each) for each in sections]
    packages = ("torch", "numpy", "scipy", "scikit-learn", "pydantic")
    return Report(
        title=title,
        command=command,
        suite=suite,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        show_samples=show_samples,
        sections=tuple(kept),
        limits=limits_of(suite),
        versions={"python": sys.version.split()[0], **{each: version(each) for each in packages}},
        platform=f"{platform.system()} {platform.machine()}, threads: {torch.get_num_threads()}",
        erasable_version=__version__,
    )


def _without_samples(section: Section) -> Section:
    rows = tuple(
        each if each.leakage is None
        else each.model_copy(update={"leakage": each.leakage.model_copy(update={"worst": ()})})
        for each in section.rows
    )  # fmt: skip
    return section.model_copy(update={"samples": (), "rows": rows})


# --- one row ----------------------------------------------------------------------------------------------------------


def _row(subject: Subject, now: Observation, panel: Panel) -> Row:
    untouched = None
    if subject.before is not None:
        untouched = 100 * float(subject.before.correct["forget"].values[0].mean())
    again = None
    if untouched is not None:
        probe = now.probe
        again = panel.relearn(subject.model, probe.task, probe.forget, untouched=untouched, seed=panel.seed)
    scores = panel.scores(now)
    judged = decisive(now, panel, subject.name, untouched, again, scores)
    before: tuple[Finding, ...] = ()
    if subject.before is not None:
        before = decisive(subject.before, panel, subject.name, untouched, Relearned(0, True, ()),
                          panel.scores(subject.before))  # fmt: skip
    oracle = panel.seen.correct
    kept = joint([accuracy(now.correct[part], oracle[part], subject=subject.name, on=part, direction="higher")
                  for part in ("test", "retain")])  # fmt: skip
    gaps = [*kept, *(each for each in judged if each.metric in ("forget accuracy", "membership AUROC"))]
    shown = [*kept, average_gap(gaps, subject=subject.name)]
    pair = None if subject.stand_in else subject.before
    shown += joint(further(now, pair, panel, subject.name, subject.model))
    if subject.seconds is not None:
        shown.append(cost(subject.seconds, subject=subject.name))
    if subject.preparation_seconds is not None:
        shown.append(cost(subject.preparation_seconds, subject=subject.name, preparation=True))
    tuning = subject.tuning
    if tuning is not None:
        shown += costs(subject=subject.name, tuning_seconds=tuning.seconds, trials=tuning.trials)
    curves: tuple[Relearning, ...] = ()
    if panel.suite == "full":
        curves, recovered = relearnings(subject.model, subject.untouched, panel.lessons, subject=subject.name)
        shown += joint([*recovered, *handled(subject.model, panel.lessons, subject=subject.name)])
    level = subject.receipt.level if subject.receipt is not None else subject.level
    status = status_of(judged, before, kept)
    return Row(
        name=subject.name,
        role=subject.role,
        level=level,
        why=_why(level, subject.receipt),
        status=status,
        verdict=verdict_of(
            status, judged, kept[0] if subject.role == "method" else None, level, len(subject.oracles), before
        ),
        oracles=len(subject.oracles),
        oracle_seeds=subject.oracles.seeds,
        judged=judged,
        shown=tuple(shown),
        before=before,
        histogram=histogram(now, panel.seen),
        note=subject.note if tuning is None else f"{subject.note} {tuning.sentence()}.".strip(),
        receipt=subject.receipt,
        roc=() if scores is None else (roc_of(scores),),
        leakage=None if scores is None else leakage_of(scores, now.probe),
        relearning=curves,
        power=power_of(judged, before),
    )


def _why(level: Level | None, receipt: Receipt | None) -> str:
    """The receipt's reason; for an empirical level there is none that would outlast this audit."""
    return receipt.why if receipt is not None and level != "empirical" else LEVELS[level] if level else ""
