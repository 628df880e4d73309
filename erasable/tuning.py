"""Choose the settings of an unlearner on a request of its own, so that what is reported later is no part of the choice.

    tuned = tune(SSD, method, data, test, task, budget=16, reported=request.ids)
    forget(model, request, data=data, unlearner=tuned.unlearner())

The reported samples leave the data before anything else happens: no model, no oracle and no number here has seen them.
From what remains a *development* request is drawn, with target models that were trained on all that remains and oracles
that were trained without the development samples. A setting is as good as the target models after it:

    beyond(m) = max(0, low - value, value - high) / (high - low)       [low, high]: the oracles' noise band of number m
    score     = mean over target models of  max over judged m of beyond(m)  +  max over kept m of beyond(m)

judged  what a status rests on in an audit of the same `suite` (`erasable.panel.decisive`), with relearning
kept    accuracy on test and retained samples; only falling short counts, as only the upper side of a divergence does

A band has the width of at least one sample; divergences are compared by their logarithms, as everywhere. A score of 0
is inside all bands: indistinguishable from training again within what these numbers see. Of equal scores the faster
wins.

What is tried is said in `erasable/trials.py`. All trials go to the first target model, the better half of them to the
second, and so on (successive halving: K. Jamieson, A. Talwalkar, AISTATS 2016, arXiv 1502.07943, with target models as
the resource); the settings to begin with go to all. The best of many looks better on the development request than it
is: its score is no result, an audit of the reported request is. And where doing nothing has a score of 0 too, the
development request tells nothing about forgetting: then the settings to begin with are kept (`Tuned.caution`).
"""

import math
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version
from typing import Any

import torch

from erasable import catalog, population
from erasable._plumbing.batching import labels_of
from erasable._plumbing.progress import Steps, Told
from erasable._plumbing.seeds import child
from erasable._plumbing.settings import to_json
from erasable.dataset import Dataset
from erasable.errors import (
    ErasableError,
    EvidenceError,
    PopulationTooSmall,
    SettingsError,
    nearest_names,
)
from erasable.evidence import TINY, Finding, joint
from erasable.metrics import accuracy
from erasable.panel import Panel, decisive
from erasable.probe import Probe
from erasable.receipt import digest_of_ids
from erasable.rehearsal import SHADOWS, prepared
from erasable.report import Suite
from erasable.scenario import Scenario
from erasable.scenarios import Adaptive, Memorisation, OneClass, OneOwner, RandomShare
from erasable.stresses import Relearn, Relearned
from erasable.trials import Range, trials_of
from erasable.tuned import Cost, Trial, Tuned
from erasable.unlearner import Method, Unlearner, forget

LINEAR: type[Exception] = torch.linalg.LinAlgError  # type: ignore[attr-defined]
REQUESTS: Mapping[str, Any] = {"random": RandomShare(), "owner": OneOwner(), "class": OneClass()}


@dataclass(frozen=True, kw_only=True)
class Seconds:
    """What each part is expected to take; only said, never used. `trial` is one erasure and its judgement."""

    preparing: float = 0.0
    targets: float = 0.0
    oracles: float = 0.0
    trial: float = 0.0


def tune(
    unlearner: type[Any] | Unlearner[Any],
    method: Method,
    data: Dataset,
    test: Dataset,
    task: Any,
    *,
    budget: int,
    reported: Iterable[str] = (),
    request: Any = "random",
    targets: int = 3,
    oracles: int = 16,
    suite: Suite = "standard",
    seed: int = 0,
    space: Mapping[str, Range] | None = None,
    steps: Steps | None = None,
    about: Seconds | None = None,
) -> Tuned:
    """The best of `budget` settings on a development request.

    unlearner  a class, or settings to begin with: those that differ from the defaults are held
    data       all that models are trained on. What is `reported` is taken out of it first; a `task` whose scaling was
               fitted to the data must have been made without the reported samples too
    request    what is asked of the development models: "random", "owner", "class", settings of `erasable.scenarios`, or
               a Scenario of data without the reported samples. Where a class or an owner is reported, it is another one
    suite      "quick" or "standard": what is judged, as in the audit that follows
    space      what to search instead of `space_of`: bounds of a number, or a list of values

    Raises SettingsError, PopulationTooSmall, EvidenceError where no trial could be judged, what the scenario, the
    trainings and `Probe.of` raise, and what the unlearner raises that cannot be used for such a request at all.
    """
    from erasable import __version__ as erasable_version

    begin, about = time.perf_counter(), about or Seconds()
    start: Unlearner[Any] = unlearner() if isinstance(unlearner, type) else unlearner
    settings = trials_of(start, budget, seed=seed, space=space)
    if targets < 1 or oracles < 2:
        raise PopulationTooSmall(f"{targets} target models and {oracles} oracles", expected="at least 1 and 2",
                                 do="train more")  # fmt: skip
    if suite not in ("quick", "standard"):
        raise SettingsError(f"suite='{suite}'", expected="quick or standard", do="choose one of these")
    hidden = tuple(dict.fromkeys(reported))
    scenario = development(request, method, data, test, task, reported=hidden, seed=seed)
    asked, kept = scenario.request, scenario.before(1)
    with _step(steps, f"training {targets} target models", about.targets) as told:
        seeds = [child(seed, "target", i) for i in range(targets)]
        models = method.train(scenario.data, task, seeds=seeds, progress=told)
    with _step(steps, f"training {oracles} oracles", about.oracles) as told:
        seeds = [child(seed, "oracle", i) for i in range(oracles)]
        reference = population.oracles(method, kept, task, seeds=seeds, progress=told)
    fresh = answerable(test, scenario.data, task)
    probe = Probe.of(asked, scenario.data, fresh, task, seed=seed)
    bench = Bench(probe, tuple(models), Panel(reference, probe.look(reference.models), seed, Relearn(), suite),
                  seed)  # fmt: skip
    tried = [_Tried(each) for each in settings]
    for target, among in enumerate(_halving(tried, targets)):
        what = f"trying {len(among)} settings on model {target + 1} of {targets}"
        with _step(steps, what, len(among) * about.trial) as told:
            for done, each in enumerate(among, 1):
                each.on(bench, target, first=each is tried[0] and target == 0)
                if told is not None:
                    told(done, len(among))
    nothing = bench.nothing()
    best = _best(tried, targets) if nothing or tried[0].note else tried[0]
    shadows = SHADOWS if isinstance(request, Memorisation) else 0
    return Tuned(
        name=catalog.name_of(start),
        settings=to_json(best.unlearner),
        trials=tuple(each.record() for each in tried),
        nothing=nothing,
        cost=Cost(seconds=time.perf_counter() - begin, trainings=targets + oracles + shadows,
                  erasures=sum(each.targets for each in tried)),
        request=asked.case,
        development=asked.ids,
        development_digest=digest_of_ids(asked.ids),
        data=scenario.data.name,
        samples=len(scenario.data),
        data_digest=scenario.data.digest(),
        test_digest=fresh.digest(),
        reported=len(hidden),
        reported_digest=digest_of_ids(hidden),
        method={"name": catalog.name_of(method), "settings": to_json(method)},
        targets=targets,
        oracles=oracles,
        suite=suite,
        seed=seed,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        versions={"python": sys.version.split()[0], **{each: version(each) for each in ("torch", "numpy", "scipy")},
                  "erasable": erasable_version},
    )  # fmt: skip


# --- what it is tried on ---------------------------------------------------------------------------------------------


def development(
    request: Any, method: Method, data: Dataset, test: Dataset, task: Any, *, reported: Sequence[str], seed: int
) -> Scenario:
    """One request, drawn from what is not reported. Raises SettingsError, UnknownSample for a reported id that is not
    in the data, and what the scenario raises."""
    hidden = frozenset(reported)
    left = data.without(reported) if reported else data
    if seen := [each for each in test.ids if each in hidden]:
        raise SettingsError(f"{len(seen)} reported samples are in the test data, first '{seen[0]}'",
                            expected="test data without them", do="give other test data")  # fmt: skip
    if isinstance(request, str):
        if request not in REQUESTS:
            raise SettingsError(f"request='{request}'", expected=f"one of {', '.join(REQUESTS)}",
                                do=nearest_names(request, REQUESTS))  # fmt: skip
        request = REQUESTS[request]
    if isinstance(request, Adaptive):
        raise SettingsError("adaptive requests to tune on", expected="a request that is known beforehand",
                            do="tune on a random share")  # fmt: skip
    drawn: Any = request
    if not isinstance(request, Scenario):
        drawn = prepared(request, left, answerable(test, left, task), task, method, seed=child(seed, "development"))
    if seen := [each for each in drawn.data.ids if each in hidden]:
        raise SettingsError(f"scenario '{drawn.name}' holds {len(seen)} reported samples, first '{seen[0]}'",
                            expected="data without them", do="make it of data.without(reported)")  # fmt: skip
    scenario: Scenario = drawn
    return scenario


def answerable(test: Dataset, data: Dataset, task: Any) -> Dataset:
    """The test samples of classes that are in the data: of a reported class no model here knows anything."""
    known, asked = labels_of(task, data), labels_of(task, test)
    return test.take(torch.nonzero(torch.isin(asked, known)).flatten())


@dataclass(frozen=True, eq=False)
class Bench:
    """Target models that were trained on the development samples, and what oracles say that were not."""

    probe: Probe
    models: tuple[Any, ...]
    panel: Panel
    seed: int

    @cached_property
    def untouched(self) -> tuple[float, ...]:
        """Accuracy on the development samples before any erasure, of each target model, in %."""
        right = self.probe.look(self.models).correct["forget"].values
        return tuple((100 * right.mean(dim=1)).tolist())

    def nothing(self) -> float:
        """The score of the target models as they are: what a tuning has to go below."""
        known = Relearned(0, True, ())
        scores = [self.score(each, i, known) for i, each in enumerate(self.models)]
        return sum(scores) / len(scores)

    def erased(self, unlearner: Unlearner[Any], target: int) -> tuple[Any, float]:
        """The model after an erasure, and the seconds that it took."""
        model, receipt = forget(self.models[target], self.probe.request, data=self.probe.data, unlearner=unlearner,
                                seed=child(self.seed, "unlearn", target))  # fmt: skip
        return model, receipt.seconds

    def score(self, model: Any, target: int, again: Relearned | None = None) -> float:
        """How far the worst numbers lie outside the oracles' noise: the file's formula for one target model.

        again  how soon the model learns the samples again, where that is known
        """
        probe, panel, untouched = self.probe, self.panel, self.untouched[target]
        now = probe.look([model])
        if again is None:
            again = panel.relearn(model, probe.task, probe.forget, untouched=untouched, seed=panel.seed)
        judged = decisive(now, panel, "trial", untouched, again, panel.scores(now))
        kept = joint([accuracy(now.correct[part], panel.seen.correct[part], subject="trial", on=part,
                               direction="higher") for part in ("test", "retain")])  # fmt: skip
        return max(map(beyond, judged)) + max(map(beyond, kept))


def beyond(finding: Finding) -> float:
    """How far the value lies outside its noise band, in widths of the band; 0 inside, and on the better side."""
    if finding.inside_noise is not False or finding.null_band is None:
        return 0.0
    (low, high), value, step = finding.null_band, finding.value, finding.resolution
    if finding.unit == "nats":
        low, high, value = (math.log(max(each, TINY)) for each in (low, high, value))
        step = 0.0
    return max(low - value, value - high) / max(high - low, step, TINY)


@dataclass(eq=False)
class _Tried:
    """A trial in progress."""

    unlearner: Unlearner[Any]
    scores: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    note: str = ""

    def on(self, bench: Bench, target: int, *, first: bool) -> None:
        """`first`: what the unlearner refuses now it would refuse always, and is raised."""
        begin = time.perf_counter()
        try:
            model, seconds = bench.erased(self.unlearner, target)
            self.seconds.append(seconds)
            self.scores.append(bench.score(model, target))
        except (ErasableError, ArithmeticError, LINEAR) as wrong:
            if first and isinstance(wrong, ErasableError) and not isinstance(wrong, EvidenceError):
                raise
            self.seconds += [time.perf_counter() - begin] * (len(self.scores) + 1 - len(self.seconds))
            self.note = wrong.came if isinstance(wrong, ErasableError) else str(wrong)

    @property
    def targets(self) -> int:
        return len(self.seconds)

    @property
    def mean(self) -> float:
        return math.inf if self.note else sum(self.scores) / len(self.scores)

    @property
    def rank(self) -> tuple[float, float]:
        """The score, then the time."""
        return self.mean, sum(self.seconds) / len(self.seconds)

    def record(self) -> Trial:
        return Trial(settings=to_json(self.unlearner), score=None if self.note else self.mean, seconds=self.rank[1],
                     targets=self.targets, note=self.note)  # fmt: skip


def _halving(tried: Sequence[_Tried], targets: int) -> Iterator[list[_Tried]]:
    """Who is tried on each target model: the better half of those before, and always the first while it can be."""
    among = list(tried)
    for _ in range(targets):
        yield among
        going = sorted((each for each in among if not each.note), key=lambda each: each.rank)
        among = going[: math.ceil(len(among) / 2)]
        if not tried[0].note and tried[0] not in among:
            among.append(tried[0])


def _best(tried: Sequence[_Tried], targets: int) -> _Tried:
    """Raises EvidenceError where none went through."""
    through = [each for each in tried if not each.note and each.targets == targets]
    if not through:
        raise EvidenceError(f"none of {len(tried)} settings left a model that could be judged ({tried[0].note})",
                            expected="some that do", do="give a narrower space, or a larger budget")  # fmt: skip
    return min(through, key=lambda each: each.rank)


def _step(steps: Steps | None, what: str, about: float) -> AbstractContextManager[Told | None]:
    return nullcontext(None) if steps is None else steps.step(what, about=about)
