"""`erasable tune`: choose the settings of an unlearner on samples that are not reported later."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from erasable.cli._method import fitting, settings_of
from erasable.cli._options import (
    WHERE,
    AsJson,
    DataOptions,
    Flip,
    NetworkName,
    Public,
    PublicWithout,
    RecipeOptions,
    Settings,
    Shift,
    flattened,
    result,
    spread,
)
from erasable.cli._threads import choose
from erasable.errors import PopulationTooSmall, SettingsError, StorageError, UnknownOwner

METHOD = "network"  # the one that unlearners change
SHOWN = 3  # settings in words, beside those to begin with


@spread
def tune(
    *,
    unlearner: Annotated[
        str,
        typer.Argument(
            metavar="UNLEARNER",
            help="An unlearner of the catalog, such as ssd ('erasable ls unlearners'), or package.module:Class. With "
            "settings, as in 'finetune epochs=3', these are held.",
        ),
    ],
    data: Annotated[str, typer.Option(metavar="DATA", help=f"What the models are trained and tested on: {WHERE}")],
    out: Annotated[
        Path, typer.Option(metavar="NAME.json", help="The file to make; --unlearner takes it by this name.")
    ],
    budget: Annotated[int, typer.Option(metavar="N", help="Settings to try, 2 or more.")] = 16,
    request: Annotated[
        str,
        typer.Option(
            metavar="random|owner|class",
            help="What the development models are asked: one of these, or a scenario with settings, such as "
            "'mislabelled share=0.02'.",
        ),
    ] = "random",
    reported: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|ID,ID|SCENARIO",
            help="The samples of which results will be reported: ids, a file with ids, or the scenario that 'erasable "
            "rehearse' will draw with the same --seed. Tuning never sees them.",
        ),
    ] = None,
    targets: Annotated[
        int, typer.Option(metavar="N", help="Models to make forget; settings that do badly on the first see no other.")
    ] = 3,
    suite: Annotated[
        str, typer.Option(metavar="quick|standard", help="What is judged, as in the audit that follows.")
    ] = "standard",
    oracles: Annotated[
        int | None, typer.Option(metavar="N", help="Models to compare with, 2 or more; 16, with quick 8.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides all that is random.")] = 0,
    public: Public = 0,
    public_without: PublicWithout = None,
    settings: Settings = None,
    network: NetworkName = None,
    recipe: RecipeOptions,
    shift: Shift = 0,
    flip: Flip = False,
    read: DataOptions,
    as_json: AsJson = False,
) -> None:
    """Choose the settings of an unlearner for networks, on samples that are not reported later.

    Trains networks, tries settings on a request of their own, and compares with networks that never saw its samples.
    What was chosen is refused for these samples later. With --set, settings of the network, as for 'erasable train'.

    Example: erasable tune finetune --data digits --network "mlp width=64" --request class --reported "class label=3"
    --out finetune.json, then erasable rehearse network --unlearner finetune.json --scenario "class label=3" and so on
    """
    options = flattened(locals())
    from erasable import development, tuning
    from erasable._plumbing.progress import Steps, duration
    from erasable.cli._fields import named
    from erasable.cli._source import source_of
    from erasable.cli._suites import ORACLES, as_rehearsed
    from erasable.cli._trainings import CHUNK
    from erasable.scenarios import Memorisation, OneOwner
    from erasable.tasks.classification import Classification
    from erasable.trials import trials_of

    start = named("unlearners", unlearner)
    given = settings_of(METHOD, options)
    asked = development.REQUESTS[request] if request in development.REQUESTS else named("scenarios", request)
    if isinstance(asked, Memorisation):
        raise SettingsError(f"--request {request}", expected="a request that takes no trainings to draw",
                            do="choose another, or tune from Python")  # fmt: skip
    trials, by = trials_of(start, budget, seed=seed), as_rehearsed(suite)
    count = ORACLES[by] if oracles is None else oracles
    if targets < 1 or count < 2:
        raise PopulationTooSmall(f"{targets} target models and {count} oracles", expected="at least 1 and 2",
                                 do="ask for more")  # fmt: skip
    if out.suffix != ".json" or out.exists():
        raise StorageError(f"'{out}' {'is in use' if out.exists() else 'is no name for a tuning'}",
                           expected="a new file that ends with .json", do="choose another name")  # fmt: skip
    begin, steps = time.perf_counter(), Steps()
    source = source_of(data, options, public=public, public_without=public_without or ())
    samples, fresh = source.train(), source.test()
    if isinstance(asked, OneOwner) and samples.owners is None:
        raise UnknownOwner(f"--request {request} for data without owners", expected="data that say whose they are",
                           do="name the column with --owner, or choose another request")  # fmt: skip
    task = Classification.of(samples, shift=shift, flip=flip)
    hidden = () if reported is None else _reported(reported, samples, fresh, task, seed)
    if hidden and task.fitted:
        raise SettingsError("--reported for data whose scaling is fitted to all of them", do="give --low and --high",
                            expected="a range that the reported samples have no part in")  # fmt: skip
    method = fitting(METHOD, given, task, samples)
    scenario = development.drawn(asked, method, samples, fresh, task, reported=hidden, seed=seed)
    choose(method, scenario.data, task, range(min(count, CHUNK)), steps.say)
    method, about = _about(method, start, trials, scenario, fresh, task, targets, count, by, seed, steps)
    counts = [len(trials)]
    while len(counts) < targets:
        counts.append(-(-counts[-1] // 2) + 1)
    steps.expected = about.targets + about.oracles + about.trial * sum(counts)
    announced = steps.expected + time.perf_counter() - begin
    steps.say(f"Tuning of {unlearner} by {len(trials)} settings on {len(scenario.request.ids)} of {len(scenario.data)} "
              f"samples ({scenario.request.case}): about {duration(announced)}")  # fmt: skip
    tuned = tuning.tune(start, method, samples, fresh, task, budget=budget, reported=hidden, request=scenario,
                        targets=targets, oracles=count, suite=by, seed=seed, steps=steps, about=about)  # fmt: skip
    tuned.write(out)
    seconds = time.perf_counter() - begin
    changed = {name: value for name, value in tuned.settings.items() if value != tuned.defaults.settings[name]}
    told = ", ".join(f"{name}={value}" for name, value in changed.items()) or "the settings to begin with"
    words = [
        f"Chosen for {unlearner}: {told}.",
        f"Distance from training again, in widths of its noise: {_score(tuned.chosen.score)}; with the settings to "
        f"begin with {_score(tuned.defaults.score)}, doing nothing {_score(tuned.nothing)}. One erasure takes "
        f"{duration(tuned.chosen.seconds)}.",
        *([tuned.caution] if tuned.caution else []),
        f"Tuned on {len(tuned.development)} samples ({tuned.request}), which it refuses from now on; {tuned.reported} "
        "reported samples were left out of everything.",
        f"It cost {tuned.cost.trainings} trainings and {tuned.cost.erasures} erasures, {duration(seconds)} in all; "
        f"about {duration(announced)} had been announced.",
        f"Next: --unlearner {out}, with 'erasable rehearse network' or 'erasable forget RUN'",
    ]
    facts = {
        "file": str(out), "unlearner": tuned.name, "settings": tuned.settings, "score": tuned.chosen.score,
        "score_of_defaults": tuned.defaults.score, "score_of_nothing": tuned.nothing, "caution": tuned.caution,
        "trials": len(tuned.trials), "development": len(tuned.development), "reported": tuned.reported,
        "cost": tuned.cost.model_dump(), "seconds": round(seconds, 2), "announced_seconds": round(announced, 2),
    }  # fmt: skip
    result("\n".join(words), facts, as_json)


def _score(score: float | None) -> str:
    return "not to be judged" if score is None else f"{score:.2f}"


def _reported(text: str, data: Any, test: Any, task: Any, seed: int) -> tuple[str, ...]:
    """Ids of the training data, from a file, a scenario, or written with commas between."""
    from erasable.catalog import SCENARIOS
    from erasable.cli._fields import named
    from erasable.cli._modes import ids_of
    from erasable.rehearsal import prepared
    from erasable.scenarios import Adaptive, Memorisation
    from erasable.unlearner import Method

    if Path(text).expanduser().is_file() or text.partition(" ")[0] not in SCENARIOS:
        ids = ids_of(text)
        data.positions(ids)  # raises for what is not there
        return ids
    asked = named("scenarios", text)
    if isinstance(asked, Adaptive | Memorisation):
        raise SettingsError(f"--reported {text}", expected="samples that are known before anything is trained",
                            do="name them by their ids")  # fmt: skip
    none: Method = None  # type: ignore[assignment]  # only strata of memorisation train
    scenario = prepared(asked, data, test, task, none, seed=seed)
    assert not isinstance(scenario, Adaptive)
    wanted = {each for one in scenario.requests for each in one.ids}
    found = tuple(each for each in data.ids if each in wanted)
    if len(found) != len(wanted):
        raise SettingsError(f"--reported {text}, which asks for samples that it makes itself",
                            expected="samples of the data", do="name those to leave out by their ids")  # fmt: skip
    return found


def _about(
    method: Any, start: Any, trials: Any, scenario: Any, fresh: Any, task: Any, targets: int, oracles: int, suite: str,
    seed: int, steps: Any,
) -> tuple[Any, Any]:  # fmt: skip
    """What each part will take, from the first steps of trainings and from one erasure that is thrown away.

    The method comes back as it is to be used: one by one, where its members cannot be trained together. Raises what the
    unlearner raises that cannot be used for such a request: now rather than later.
    """
    from dataclasses import replace

    import numpy as np

    from erasable import development
    from erasable._plumbing.executors import TrainsSubsets
    from erasable.cli._suites import TRIED, judging_seconds
    from erasable.cli._trainings import Trainings
    from erasable.probe import Probe
    from erasable.request import Request
    from erasable.unlearner import forget

    data, gone = scenario.data, scenario.request.ids
    brief = replace(method, recipe=replace(method.recipe, epochs=1))
    model = brief.train(data, task, seeds=[seed])[0]
    trainings = Trainings(method, data, task, Path(), steps.say)
    times = trainings.oracle_seconds(gone, range(oracles)), targets * trainings.control_seconds(seed)
    together = isinstance(method, TrainsSubsets) and not method.sequential  # type: ignore[attr-defined]
    if together and not trainings.together:
        steps.say("Models are trained one by one: members of this network cannot be trained together")
        method = replace(method, sequential=True)  # type: ignore[type-var]
    probe = Probe.of(scenario.request, data, development.answerable(fresh, data, task), task, seed=seed)
    judging = (judging_seconds(model, probe, oracles, suite, relearn=True) - 1) / (oracles + 2)
    share = min(1.0, TRIED / len(data))  # of what goes and of what stays
    going, staying = data.only(gone), data.without(gone)
    parts = [each.take(np.arange(max(1, round(share * len(each))))).ids for each in (going, staying)]
    if share < 1 and scenario.request.case.startswith(("the class", "everything of")):
        parts[0] = gone  # a part of it would be another request
    begin = time.perf_counter()
    forget(model, Request("trial", parts[0]), data=data.only([*parts[0], *parts[1]]), unlearner=start, seed=seed)
    erasing = (time.perf_counter() - begin) * len(data) / (len(parts[0]) + len(parts[1]))
    lengths = [max(1, getattr(each, "epochs", 1)) for each in trials]
    erasing *= sum(lengths) / len(lengths) / lengths[0]
    return method, development.Seconds(targets=times[1], oracles=times[0], trial=erasing + judging)
