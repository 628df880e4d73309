"""What settings are tried on before anything is reported: a development request, models that saw it, and oracles.

    ground = develop(method, data, test, task, reported=request.ids, request="class")
    ground.score(model, 0)       how far a target model is, after an erasure, from the oracles

The reported samples leave the data before anything else happens: no model, no oracle and no number here has seen them.
From what remains a *development* request is drawn, with target models that were trained on all that remains and oracles
that were trained without the development samples. A setting is as good as the target models after it:

    beyond(m) = max(0, low - value, value - high) / (high - low)       [low, high]: the oracles' noise band of number m
    score     = mean over target models of  max over judged m of beyond(m)  +  max over kept m of beyond(m)

judged  what a status rests on in an audit of the same `suite` (`erasable.panel.decisive`), with relearning
kept    accuracy on test and retained samples; only falling short counts, as only the upper side of a divergence does

Each number has a band of its own here, not the audit's bands that hold together: these are as wide as the oddest oracle
makes the widest of them, which keeps alarms rare and would blind a comparison. A band has the width of at least one
sample; divergences are compared by their logarithms, as everywhere. A score of 0 is inside every band. Doing nothing
has a score of 0 also where an audit could not tell it from the oracles.
"""

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from erasable import population
from erasable._plumbing.batching import labels_of
from erasable._plumbing.progress import Steps, Told
from erasable._plumbing.seeds import child
from erasable.dataset import Dataset
from erasable.errors import PopulationTooSmall, SettingsError, nearest_names
from erasable.evidence import TINY, Finding, joint
from erasable.metrics import accuracy
from erasable.panel import Panel, decisive
from erasable.probe import Probe
from erasable.rehearsal import SHADOWS, prepared
from erasable.report import Suite
from erasable.scenario import Scenario
from erasable.scenarios import Adaptive, Memorisation, OneClass, OneOwner, RandomShare
from erasable.stresses import Relearn, Relearned
from erasable.unlearner import Method, Unlearner, forget

REQUESTS: Mapping[str, Any] = {"random": RandomShare(), "owner": OneOwner(), "class": OneClass()}


@dataclass(frozen=True, kw_only=True)
class Seconds:
    """What each part is expected to take; only said, never used. `trial` is one erasure and its judgement."""

    preparing: float = 0.0
    targets: float = 0.0
    oracles: float = 0.0
    trial: float = 0.0


def develop(
    method: Method,
    data: Dataset,
    test: Dataset,
    task: Any,
    *,
    reported: Iterable[str] = (),
    request: Any = "random",
    targets: int = 3,
    oracles: int = 16,
    suite: Suite = "standard",
    seed: int = 0,
    steps: Steps | None = None,
    about: Seconds | None = None,
) -> "Development":
    """Draw the request and train the models.

    data      all that models are trained on. What is `reported` is taken out of it first; a `task` whose scaling was
              fitted to the data must have been made without the reported samples too
    request   what is asked of the development models: "random", "owner", "class", settings of `erasable.scenarios`, or
              a Scenario of data without the reported samples. Where a class or an owner is reported, it is another one
    suite     "quick" or "standard": what is judged, as in the audit that follows

    Raises SettingsError, PopulationTooSmall, and what the scenario, the trainings and `Probe.of` raise.
    """
    begin, about = time.perf_counter(), about or Seconds()
    if targets < 1 or oracles < 2:
        raise PopulationTooSmall(f"{targets} target models and {oracles} oracles", expected="at least 1 and 2",
                                 do="train more")  # fmt: skip
    if suite not in ("quick", "standard"):
        raise SettingsError(f"suite='{suite}'", expected="quick or standard", do="choose one of these")
    hidden = tuple(dict.fromkeys(reported))
    scenario = drawn(request, method, data, test, task, reported=hidden, seed=seed)
    with step(steps, f"training {targets} target models", about.targets) as told:
        seeds = [child(seed, "target", i) for i in range(targets)]
        models = method.train(scenario.data, task, seeds=seeds, progress=told)
    with step(steps, f"training {oracles} oracles", about.oracles) as told:
        seeds = [child(seed, "oracle", i) for i in range(oracles)]
        reference = population.oracles(method, scenario.before(1), task, seeds=seeds, progress=told)
    fresh = answerable(test, scenario.data, task)
    probe = Probe.of(scenario.request, scenario.data, fresh, task, seed=seed)
    shadows = SHADOWS if isinstance(request, Memorisation) else 0
    panel = Panel(reference, probe.look(reference.models), seed, Relearn(), suite)
    return Development(scenario, method, probe, tuple(models), panel, seed, hidden, targets + oracles + shadows,
                       time.perf_counter() - begin)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Development:
    """Target models that were trained on the development samples, and what oracles say that were not.

    reported             ids that were left out of everything
    trainings, seconds   what it took to make
    """

    scenario: Scenario
    method: Method
    probe: Probe
    models: tuple[Any, ...]
    panel: Panel
    seed: int
    reported: tuple[str, ...]
    trainings: int
    seconds: float

    @cached_property
    def untouched(self) -> tuple[float, ...]:
        """Accuracy on the development samples before any erasure, of each target model, in %."""
        right = self.probe.look(self.models).correct["forget"].values
        return tuple((100 * right.mean(dim=1)).tolist())

    @cached_property
    def nothing(self) -> float:
        """The score of the target models as they are: what a tuning has to go below."""
        known = Relearned(0, True, ())
        measured = [self._measured(each, i, known) for i, each in enumerate(self.models)]
        if not any(each.inside_noise is False for judged, kept in measured for each in (*judged, *joint(kept))):
            return 0.0
        return sum(_score(*each) for each in measured) / len(measured)

    def erased(self, unlearner: Unlearner[Any], target: int) -> tuple[Any, float]:
        """The model after an erasure, and the seconds that it took."""
        model, receipt = forget(self.models[target], self.probe.request, data=self.probe.data, unlearner=unlearner,
                                seed=child(self.seed, "unlearn", target))  # fmt: skip
        return model, receipt.seconds

    def score(self, model: Any, target: int) -> float:
        """How far the worst numbers lie outside the oracles' noise: the file's formula for one target model."""
        return _score(*self._measured(model, target, None))

    def _measured(
        self, model: Any, target: int, again: Relearned | None
    ) -> tuple[Sequence[Finding], Sequence[Finding]]:
        """What is judged, and what should be kept. `again`: how soon it learns the samples, where that is known."""
        probe, panel, untouched = self.probe, self.panel, self.untouched[target]
        now = probe.look([model])
        if again is None:
            again = panel.relearn(model, probe.task, probe.forget, untouched=untouched, seed=panel.seed)
        kept = [accuracy(now.correct[part], panel.seen.correct[part], subject="trial", on=part, direction="higher")
                for part in ("test", "retain")]  # fmt: skip
        return decisive(now, panel, "trial", untouched, again, panel.scores(now)), kept


def _score(judged: Sequence[Finding], kept: Sequence[Finding]) -> float:
    return sum(max(beyond(joint([each])[0]) for each in some) for some in (judged, kept))


def beyond(finding: Finding) -> float:
    """How far the value lies outside its noise band, in widths of the band; 0 inside, and on the better side."""
    if finding.inside_noise is not False or finding.null_band is None:
        return 0.0
    (low, high), value, step = finding.null_band, finding.value, finding.resolution
    if finding.unit == "nats":
        low, high, value = (math.log(max(each, TINY)) for each in (low, high, value))
        step = 0.0
    return max(low - value, value - high) / max(high - low, step, TINY)


def drawn(
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
    made: Any = request
    if not isinstance(request, Scenario):
        made = prepared(request, left, answerable(test, left, task), task, method, seed=child(seed, "development"))
    if seen := [each for each in made.data.ids if each in hidden]:
        raise SettingsError(f"scenario '{made.name}' holds {len(seen)} reported samples, first '{seen[0]}'",
                            expected="data without them", do="make it of data.without(reported)")  # fmt: skip
    scenario: Scenario = made
    return scenario


def answerable(test: Dataset, data: Dataset, task: Any) -> Dataset:
    """The test samples of classes that are in the data: of a reported class no model here knows anything."""
    known, asked = labels_of(task, data), labels_of(task, test)
    return test.take(torch.nonzero(torch.isin(asked, known)).flatten())


def step(steps: Steps | None, what: str, about: float) -> AbstractContextManager[Told | None]:
    return nullcontext(None) if steps is None else steps.step(what, about=about)
