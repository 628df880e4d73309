"""A rehearsal: how would this method do with such requests, before anybody asks?

    scenario = prepared(Mislabelled(), data, test, task, method, seed=0)     # any of `erasable.scenarios`
    sections = rehearse(scenario, method, test, task, seed=0)                # or with unlearner=FineTune()
    report   = compile_report(sections, title="...", suite="standard")

A model is trained on the scenario's data and carries out its requests in their order. What it then says is judged
beside models that never saw any erased sample (the oracles, and one more that stands for training again) and beside
itself from before (doing nothing). The scenario's groups, such as copies that stay, get numbers of their own.
"""

import copy
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch

from erasable import catalog, population
from erasable._plumbing.batching import labels_of
from erasable._plumbing.executors import TrainsSubsets
from erasable._plumbing.progress import Steps, Told
from erasable._plumbing.seeds import child
from erasable.attacks.lira import memorisation
from erasable.audit import Subject, judge
from erasable.dataset import Dataset
from erasable.errors import NotForgettable, PopulationTooSmall, SettingsError
from erasable.evidence import exposed
from erasable.fleet import train_fleet
from erasable.game import halves
from erasable.groups import beside
from erasable.population import Population
from erasable.probe import Probe
from erasable.receipt import LEVELS, Level, Receipt
from erasable.report import Section, Suite
from erasable.request import Request
from erasable.scenario import Scenario
from erasable.scenarios import Adaptive, BiasConflicting, InterclassConfusion, Memorisation, OneClass, Subclass
from erasable.scenarios.adaptive import TRUTH
from erasable.signals import correct_of, log_probabilities
from erasable.unlearner import Forgettable, Method, Progress, Tried, Unlearner, forget

WEAKEST: tuple[Level, ...] = tuple(LEVELS)  # comes last
SHADOWS = 32  # models on random halves, from which memorisation is estimated
CHOSEN = (
    "Each request was chosen from what this very model said, so its samples are unusual for the model's own random "
    "numbers as well: what keeps these (its weights, or an encoder) may stand out without knowing a sample."
)


@dataclass(frozen=True, kw_only=True)
class Seconds:
    """What each part of a rehearsal is expected to take; only said, never used."""

    training: float = 0.0
    population: float = 0.0  # of oracles, for one section
    erasing: float = 0.0  # all requests
    judging: float = 0.0  # one section


# --- from settings to a scenario -------------------------------------------------------------------------------------


def prepared(
    settings: Any, data: Dataset, test: Dataset, task: Any, method: Method, *, seed: int = 0,
    progress: Progress | None = None,
) -> Scenario | Adaptive:  # fmt: skip
    """Settings of `erasable.scenarios`, called with what they take. Raises what they do.

    Strata of memorisation train `SHADOWS` models on halves of the data. Adaptive requests stay settings: they are
    chosen while the model goes through them.
    """
    if isinstance(settings, Adaptive):
        return settings
    more: dict[str, Any] = {}
    if isinstance(settings, Memorisation):
        more["scores"] = memorised(method, data, task, seed=seed, progress=progress)
    elif isinstance(settings, BiasConflicting | InterclassConfusion | OneClass | Subclass):
        more["test"] = test
    scenario: Scenario = settings(data, task, seed=seed, **more)
    return scenario


def memorised(
    method: Method, data: Dataset, task: Any, *, models: int = SHADOWS, seed: int = 0, progress: Progress | None = None
) -> Mapping[str, float]:
    """By id, how much more often models that had a sample get it right than models that did not, for all but one of
    the samples that may be erased."""
    together = isinstance(method, TrainsSubsets) and not getattr(method, "sequential", False)
    plan = halves(data, models=models, seed=seed)
    fleet = train_fleet(method, data, task, plan, executor="vectorised" if together else "one-by-one",
                        progress=progress)  # fmt: skip
    at = torch.nonzero(plan.targets).flatten()
    looked = fleet.data.take(at)
    seen = log_probabilities(fleet.models, task, looked, fitted=plan.members[:, at])
    scores = memorisation(correct_of(seen, labels_of(task, looked)))
    return dict(zip(looked.ids, scores.tolist(), strict=True))


def starting_data(scenario: Scenario | Adaptive, data: Dataset | None) -> Dataset:
    """What the model is trained on. Raises SettingsError for adaptive requests that would ask for too many samples."""
    if isinstance(scenario, Scenario):
        return scenario.data
    if data is None:
        raise SettingsError("adaptive requests without data", expected="what they are chosen from", do="pass data=...")
    if scenario.rounds * max(1, round(scenario.share * len(data))) > len(data.private):
        raise SettingsError(f"{scenario.rounds} adaptive requests for {100 * scenario.share:g} % of {len(data)} "
                            f"samples each, of which {len(data.private)} may be erased",
                            expected="no more than there are", do="lower the share or the rounds")  # fmt: skip
    return data


# --- the rehearsal ---------------------------------------------------------------------------------------------------


def rehearse(
    scenario: Scenario | Adaptive,
    method: Method,
    test: Dataset,
    task: Any,
    *,
    data: Dataset | None = None,
    unlearner: Unlearner[Any] | None = None,
    oracles: int = 16,
    suite: Suite = "standard",
    seed: int = 0,
    each: bool = False,
    relearn: bool = True,
    steps: Steps | None = None,
    about: Seconds | None = None,
) -> tuple[Section, ...]:
    """One Section, of all requests together, judged after the last; with `each`, one after every request.

    data       what adaptive requests are chosen from; every other scenario brings its own
    unlearner  for models that were not designed to forget; without it their own way to forget
    oracles    models that never saw what was erased by then, trained anew for every section
    relearn    False for models that no loss can teach; nothing is then known from before the erasures

    Raises SettingsError, PopulationTooSmall for fewer than two oracles, NotForgettable, MismatchError for requests of
    samples by which the unlearner was tuned, and what the method, the unlearner and `judge` raise.
    """
    start = starting_data(scenario, data)
    if suite == "full":
        raise SettingsError("a rehearsal with suite 'full'", expected="quick or standard", do="choose one of these")
    if oracles < 2:
        raise PopulationTooSmall(f"{oracles} oracles", expected="at least 2",
                                 do="train more: one model hides seed noise")  # fmt: skip
    name = catalog.name_of(unlearner or method)
    if isinstance(unlearner, Tried):
        name = f"{catalog.name_of(unlearner.plain)}, tuned"
        for request in scenario.requests if isinstance(scenario, Scenario) else ():
            unlearner.refuse(request)
    seconds, first = about or Seconds(), 1000 * (seed + 1)
    with _step(steps, "training the model", seconds.training) as told:
        untouched = method.train(start, task, seeds=[seed], progress=told)[0]
    if unlearner is None and not isinstance(untouched, Forgettable):
        raise NotForgettable(f"a plain {catalog.name_of(method)}, which has nothing to erase from",
                             expected="an unlearner",
                             do=f"name one: {', '.join(catalog.UNLEARNERS)}")  # fmt: skip
    with _step(steps, "carrying out what is asked", seconds.erasing):
        states = [*_carried_out(scenario, start, untouched, task, unlearner, seed, each)]
    sections = []
    for state in states:
        kept = state.scenario.before(len(state.scenario.requests))
        what = f"training {oracles + 1} models without the {len(start) - len(kept)} erased samples"
        with _step(steps, what, seconds.population) as told:
            trained = population.oracles(method, kept, task, seeds=range(first, first + oracles + 1), progress=told)
        with _step(steps, "judging", seconds.judging):
            sections.append(_judged(state, untouched, trained, name, unlearner, test, task, suite, seed, relearn))
    return tuple(sections)


@dataclass(frozen=True, eq=False)
class _State:
    """A model after the requests of a scenario, which are those that came by then."""

    model: Any
    scenario: Scenario
    receipts: tuple[Receipt, ...]
    of: int  # requests in all


def _carried_out(
    asked: Scenario | Adaptive, start: Dataset, untouched: Any, task: Any, unlearner: Unlearner[Any] | None, seed: int,
    each: bool,
) -> Iterator[_State]:  # fmt: skip
    """One model goes through all requests; a copy of it after each, or after the last."""
    model, left, receipts = copy.deepcopy(untouched), start, list[Receipt]()
    rounds = len(asked.requests) if isinstance(asked, Scenario) else asked.rounds
    scenario = asked if isinstance(asked, Scenario) else None
    requests: tuple[Request, ...] = ()
    for i in range(rounds):
        if isinstance(asked, Adaptive):
            seen = log_probabilities([model], task, left, fitted=exposed([model], left.ids))
            one = asked(left, task, seen=seen, seed=seed)
            requests = (*requests, one.request)
            facts = {"choice": asked.choice, "share": asked.share, "seed": seed}
            scenario = Scenario("adaptive", start, requests, TRUTH, one.groups, facts)
        else:
            requests = asked.requests[: i + 1]
            scenario = replace(asked, requests=requests)
        model, receipt = forget(model, requests[-1], data=left, unlearner=unlearner, seed=child(seed, "unlearn", i))
        receipts.append(receipt)
        left = scenario.before(i + 1)
        if each or i + 1 == rounds:
            yield _State(copy.deepcopy(model), scenario, tuple(receipts), rounds)


def _judged(
    state: _State, untouched: Any, trained: Population, name: str, unlearner: Unlearner[Any] | None, test: Dataset,
    task: Any, suite: Suite, seed: int, relearn: bool,
) -> Section:  # fmt: skip
    """The first of the trained models is no oracle: it stands for training again."""
    scenario, receipts = state.scenario, state.receipts
    case, title = _in_words(scenario, state.of)
    ids = [each for request in scenario.requests for each in request.ids]
    probe = Probe.of(Request(f"{case}. {scenario.truth.rstrip('.')}", ids), scenario.data, test, task, seed=seed)
    reference = Population(trained.models[1:], trained.seeds[1:], "oracle")
    before = probe.look([untouched]) if relearn else None
    subjects = [
        Subject(name=name, model=state.model, oracles=reference, before=before, untouched=untouched,
                receipt=receipts[0] if len(receipts) == 1 else None, seconds=sum(each.seconds for each in receipts),
                level=max((each.level for each in receipts), key=WEAKEST.index), unlearner=unlearner),
        Subject(name="do nothing", model=untouched, oracles=reference, before=before, untouched=untouched,
                level="empirical", role="untouched", note="The same model from before: the alarm must ring."),
        Subject(name="train again", model=trained.models[0], oracles=reference, before=before, untouched=untouched,
                level="exact", role="retrain", note="One more model that never saw the samples: it must not ring."),
    ]  # fmt: skip
    section = judge(subjects, probe, title=title, suite=suite, seed=seed, apart=True)
    if len(scenario.requests) > 1:  # does anything add up?
        ends = {"asked first": scenario.requests[0], "asked last": scenario.requests[-1]}
        own = {name: scenario.data.only(request.ids) for name, request in ends.items()}
        scenario = replace(scenario, groups={**own, **scenario.groups})
    numbers = beside(scenario, test, task, {each.name: each.model for each in subjects}, reference)
    rows = tuple(row.model_copy(update={"shown": (*row.shown, *numbers.get(row.name, ()))}) for row in section.rows)
    more = (CHOSEN,) if scenario.name == "adaptive" else ()
    return section.model_copy(update={"rows": rows, "cautions": (*section.cautions, *more)})


def _in_words(scenario: Scenario, of: int) -> tuple[str, str]:
    """What was asked, and a title."""
    sizes = [len(each.ids) for each in scenario.requests]
    title = f"{scenario.name[:1].upper()}{scenario.name[1:]}: {sum(sizes):,} sample{'s' if sum(sizes) > 1 else ''}"
    if of == 1:
        return scenario.request.case, title
    told = f"{sizes[0]}" if len(set(sizes)) == 1 else f"{min(sizes)} to {max(sizes)}"
    case = f"{scenario.name}, {len(sizes)} of {of} requests, one after another, for {told} samples each"
    return case, f"{title} in {len(sizes)} of {of} requests" if len(sizes) < of else f"{title} in {of} requests"


def _step(steps: Steps | None, what: str, about: float) -> AbstractContextManager[Told | None]:
    return nullcontext(None) if steps is None else steps.step(what, about=about)
