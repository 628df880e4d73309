"""Choose the settings of an unlearner on a request of its own, so that what is reported later is no part of the choice.

    tuned = tune(SSD, method, data, test, task, budget=16, reported=request.ids)
    forget(model, request, data=data, unlearner=tuned.unlearner())

    ground = develop(method, data, test, task, reported=request.ids)         # several unlearners share the trainings:
    found = [tune_on(each, ground, budget=16) for each in (SSD, FineTune)]   # erasable/development.py

What is tried is said in `erasable/trials.py`, what makes a setting better in `erasable/development.py`. All trials go
to the first target model, the better half of them to the second, and so on (successive halving: K. Jamieson, A.
Talwalkar, AISTATS 2016, arXiv 1502.07943, with target models as the resource); the settings to begin with go to all.
The best of many looks better on the development request than it is: its score is no result, an audit of the reported
request is. And where doing nothing has a score of 0 too, the development request tells nothing about forgetting: then
the settings to begin with are kept (`Tuned.caution`).
"""

import math
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import torch

from erasable import catalog
from erasable._plumbing.progress import Steps
from erasable._plumbing.settings import to_json
from erasable.dataset import Dataset
from erasable.development import Development, Seconds, develop, step
from erasable.errors import ErasableError, EvidenceError
from erasable.receipt import digest_of_ids
from erasable.report import Suite
from erasable.trials import Range, trials_of
from erasable.tuned import Cost, Trial, Tuned
from erasable.unlearner import Method, Unlearner

LINEAR: type[Exception] = torch.linalg.LinAlgError  # type: ignore[attr-defined]


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
    """The best of `budget` settings on a development request: `develop`, then `tune_on`, whose arguments these are.

    Raises what both raise; what can be refused before anything is trained, is.
    """
    settings = trials_of(_begun(unlearner), budget, seed=seed, space=space)
    ground = develop(method, data, test, task, reported=reported, request=request, targets=targets, oracles=oracles,
                     suite=suite, seed=seed, steps=steps, about=about)  # fmt: skip
    return _best_of(settings, ground, steps, about or Seconds())


def tune_on(
    unlearner: type[Any] | Unlearner[Any],
    ground: Development,
    *,
    budget: int,
    space: Mapping[str, Range] | None = None,
    steps: Steps | None = None,
    about: Seconds | None = None,
) -> Tuned:
    """The best of `budget` settings on models and oracles that are there. Its cost counts the trainings as its own.

    unlearner  a class, or settings to begin with: those that differ from the defaults are held
    space      what to search instead of `space_of`: bounds of a number, or a list of values

    Raises SettingsError, EvidenceError where no trial could be judged, and what the unlearner raises that cannot be
    used for such a request at all.
    """
    settings = trials_of(_begun(unlearner), budget, seed=ground.seed, space=space)
    return _best_of(settings, ground, steps, about or Seconds())


def _begun(unlearner: type[Any] | Unlearner[Any]) -> Unlearner[Any]:
    return unlearner() if isinstance(unlearner, type) else unlearner


def _best_of(settings: Sequence[Unlearner[Any]], ground: Development, steps: Steps | None, about: Seconds) -> Tuned:
    from erasable import __version__ as erasable_version

    begin, targets = time.perf_counter(), len(ground.models)
    tried = [_Tried(each) for each in settings]
    for target, among in enumerate(_halving(tried, targets)):
        what = f"trying {len(among)} settings on model {target + 1} of {targets}"
        with step(steps, what, len(among) * about.trial) as told:
            for done, each in enumerate(among, 1):
                each.on(ground, target, first=each is tried[0] and target == 0)
                if told is not None:
                    told(done, len(among))
    best = _best(tried, targets) if ground.nothing or tried[0].note else tried[0]
    scenario, probe = ground.scenario, ground.probe
    return Tuned(
        name=catalog.name_of(settings[0]),
        settings=to_json(best.unlearner),
        trials=tuple(each.record() for each in tried),
        nothing=ground.nothing,
        cost=Cost(seconds=ground.seconds + time.perf_counter() - begin, trainings=ground.trainings,
                  erasures=sum(each.targets for each in tried)),
        request=scenario.request.case,
        development=scenario.request.ids,
        development_digest=digest_of_ids(scenario.request.ids),
        data=scenario.data.name,
        samples=len(scenario.data),
        data_digest=scenario.data.digest(),
        test_digest=probe.test.digest(),
        reported=len(ground.reported),
        reported_digest=digest_of_ids(ground.reported),
        method={"name": catalog.name_of(ground.method), "settings": to_json(ground.method)},
        targets=targets,
        oracles=len(ground.panel.population),
        suite=ground.panel.suite,
        seed=ground.seed,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        versions={"python": sys.version.split()[0], **{each: version(each) for each in ("torch", "numpy", "scipy")},
                  "erasable": erasable_version},
    )  # fmt: skip


@dataclass(eq=False)
class _Tried:
    """A trial in progress."""

    unlearner: Unlearner[Any]
    scores: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    note: str = ""

    def on(self, ground: Development, target: int, *, first: bool) -> None:
        """`first`: what the unlearner refuses now it would refuse always, and is raised."""
        begin = time.perf_counter()
        try:
            model, seconds = ground.erased(self.unlearner, target)
            self.seconds.append(seconds)
            self.scores.append(ground.score(model, target))
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
