"""`erasable rehearse`: how would a method do with such requests, before anybody asks?"""

import inspect
import shlex
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from erasable.cli._options import (
    WHERE,
    AsJson,
    DataOptions,
    Flip,
    MethodName,
    NetworkName,
    Public,
    PublicWithout,
    RecipeOptions,
    Relearning,
    Settings,
    Shift,
    Show,
    flattened,
    result,
    spread,
)
from erasable.cli._threads import choose, repeating
from erasable.cli._way import NAMES, Way
from erasable.errors import NotForgettable, PopulationTooSmall, UnknownOwner

NATIVE = 0.05  # seconds of a deletion from memory


@spread
def rehearse(
    *,
    method: MethodName,
    data: Annotated[str, typer.Option(metavar="DATA", help=f"What to train and test on: {WHERE}")],
    scenario: Annotated[
        str,
        typer.Option(
            metavar="SCENARIO", help="What is asked, with settings, such as mislabelled or 'sequential rounds=5'."
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="The folder to make for the report: new or empty.")],
    unlearner: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help=f"For plain networks, with settings such as 'finetune epochs=3': {NAMES}.",
        ),
    ] = None,
    suite: Annotated[
        str, typer.Option(metavar="quick|standard", help="How much is tried; see docs/verdicts.md.")
    ] = "standard",
    oracles: Annotated[
        int | None,
        typer.Option(metavar="N", help="Models to train without the erased samples, 2 or more; 16, with quick 8."),
    ] = None,
    each: Annotated[bool, typer.Option("--each", help="Judge after every request, not only after the last.")] = False,
    relearn: Relearning = True,
    seed: Annotated[int, typer.Option(help="Decides all that is random.")] = 0,
    show_samples: Show = False,
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
    """Try a method on requests with a known truth, before anybody asks.

    Trains a model, carries out what the scenario asks ('erasable ls scenarios'), and judges what is left beside models
    that never saw these samples, the model from before and one that was trained again. Nothing of the models is kept.

    Example: erasable rehearse spm --data digits --network "mlp width=64" --scenario mislabelled --out rehearsal
    """
    options = flattened(locals())
    from erasable import rehearsal
    from erasable._plumbing.progress import Steps, duration
    from erasable.audit import compile_report
    from erasable.cli._fields import named
    from erasable.cli._method import fitting, settings_of
    from erasable.cli._modes import refuse_used
    from erasable.cli._source import source_of
    from erasable.cli._suites import ORACLES, TOO_FEW, as_rehearsed
    from erasable.cli._trainings import CHUNK
    from erasable.cli.audit import write_report
    from erasable.scenarios import Adaptive, Memorisation, OneOwner
    from erasable.tasks.classification import Classification

    given = settings_of(method, options)
    asked = named("scenarios", scenario)
    chose = Way("", None) if unlearner is None else Way.of(unlearner)
    tried = as_rehearsed(suite)
    count = ORACLES[suite] if oracles is None else oracles
    if count < 2:
        raise PopulationTooSmall(f"{count} oracles", expected="at least 2",
                                 do="train more: one model hides seed noise")  # fmt: skip
    refuse_used(out)
    source = source_of(data, options, public=public, public_without=public_without or ())
    samples, fresh = source.train(), source.test()
    task = Classification.of(samples, shift=shift, flip=flip)
    chosen = fitting(method, given, task, samples)
    if isinstance(asked, OneOwner) and samples.owners is None:
        raise UnknownOwner(f"scenario '{scenario}' for data without owners", expected="data that say whose they are",
                           do="name the column with --owner, or choose another scenario")  # fmt: skip
    if isinstance(asked, Adaptive):
        rehearsal.starting_data(asked, samples)
    begin, steps = time.perf_counter(), Steps()
    choose(chosen, samples, task, range(min(count, CHUNK)), steps.say)
    sized = isinstance(asked, Adaptive | Memorisation)  # who is asked for shows later, but not how many
    ready: Any = asked if sized else rehearsal.prepared(asked, samples, fresh, task, chosen, seed=seed)
    if unlearner is not None:
        first = samples.private.ids[:1] if sized else [each for one in ready.requests[:1] for each in one.ids]
        chose = chose.chosen(first, samples if sized else ready.data, task)
        for one in () if sized else ready.requests:
            chose.refuse(one.ids)
    way = chose.unlearner
    chosen, about, shadows = _about(
        chosen, samples, fresh, task, ready, chose.plain, suite, count, relearn, seed, steps
    )
    rounds = asked.rounds if isinstance(asked, Adaptive) else 1 if sized else len(ready.requests)
    sections = rounds if each else 1
    steps.expected = shadows + about.training + about.erasing + sections * (about.population + about.judging) + 0.5
    announced = steps.expected + time.perf_counter() - begin
    steps.say(f"Rehearsal of {method} with {count} oracles, suite {suite}: about {duration(announced)}")
    if isinstance(asked, Memorisation):
        with steps.step(f"training {rehearsal.SHADOWS} models on halves: who is memorised?", about=shadows) as told:
            ready = rehearsal.prepared(asked, samples, fresh, task, chosen, seed=seed, progress=told)
    found = rehearsal.rehearse(ready, chosen, fresh, task, data=samples if isinstance(asked, Adaptive) else None,
                               unlearner=way, oracles=count, suite=tried, seed=seed, each=each, relearn=relearn,
                               steps=steps, about=about)  # fmt: skip
    if suite != "quick" and count < 3:
        found = tuple(one.model_copy(update={"cautions": (*one.cautions, TOO_FEW.format(count))}) for one in found)
    with steps.step("writing the report", about=0.5):
        again = repeating(_command({**options, "oracles": count, "unlearner": chose.name or None}))
        title = f"Rehearsal: {scenario} with {method}" + (f" and {chose.name}" if chose.name else "")
        made = compile_report(found, title=title, command=again, suite=tried, show_samples=show_samples)
        written = write_report(out, made)
    seconds = time.perf_counter() - begin
    last = found[-1]
    row = last.rows[0]
    words = [chose.why] if chose.why else []
    words += [f"{one.title}. {one.verdict}" for one in found]
    methods = [each for each in last.rows if each.role == "method"]  # and what its filter left alone, or did not
    words += [*(f"{each.name}: {each.verdict}" for each in methods), *last.cautions,
              f"It took {duration(seconds)}; about {duration(announced)} had been announced.",
              str(written / "report.html")]  # fmt: skip
    facts = {
        "report": str(written / "report.html"), "json": str(written / "report.json"), "verdict": last.verdict,
        "status": row.status, "level": row.level, "control": last.rows[1].status, "retrained": last.rows[2].status,
        "cautions": list(last.cautions), "seconds": round(seconds, 2), "announced_seconds": round(announced, 2),
        "sections": [{"title": one.title, "erased": one.erased, "status": one.rows[0].status} for one in found],
    } | ({"chosen": chose.why} if chose.why else {}) | (
        {"apart": [{"name": each.name, "status": each.status} for each in methods[1:]]} if methods[1:] else {}
    )  # fmt: skip
    result("\n".join(words), facts, as_json)


def _about(
    method: Any, samples: Any, fresh: Any, task: Any, ready: Any, way: Any, suite: str, oracles: int,
    relearn: bool, seed: int, steps: Any,
) -> tuple[Any, Any, float]:  # fmt: skip
    """What each part will take, from the first steps of trainings that are thrown away; and of the shadow models.

    The method comes back as it is to be used: one by one, where its members cannot be trained together.

    Raises NotForgettable for a method that needs an unlearner, and what a training raises: now rather than later.
    """
    from erasable import catalog
    from erasable._plumbing.executors import TrainsSubsets
    from erasable.cli._suites import judging_seconds
    from erasable.cli._trainings import Trainings
    from erasable.game import halves
    from erasable.probe import Probe
    from erasable.rehearsal import SHADOWS, Seconds
    from erasable.request import Request
    from erasable.scenario import Scenario
    from erasable.scenarios import Memorisation
    from erasable.unlearner import Forgettable

    held = ready.data if isinstance(ready, Scenario) else samples
    rounds = len(ready.requests) if isinstance(ready, Scenario) else getattr(ready, "rounds", 1)
    if isinstance(ready, Scenario):
        gone = [one for request in ready.requests for one in request.ids]
    else:
        gone = list(held.private.ids[: max(1, min(round(rounds * ready.share * len(held)), len(held) - 1))])
    if not gone:
        raise NotForgettable(f"'{held.name}' has no sample that may be erased", expected="some that are not public",
                             do="declare fewer public")  # fmt: skip
    brief = replace(method, **{
        name: replace(getattr(method, name), epochs=(getattr(method, "slices", 1) + 2) // 2)
        for name in ("recipe", "key_recipe") if hasattr(method, name)
    })  # fmt: skip
    model = brief.train(held, task, seeds=[seed])[0]
    if way is None and not isinstance(model, Forgettable):
        raise NotForgettable(f"a plain {catalog.name_of(method)}, which has nothing to erase from",
                             expected="an unlearner", do="add --unlearner retrain, which is exact, or another: "
                             f"{', '.join(catalog.UNLEARNERS)}")  # fmt: skip
    trainings = Trainings(method, held, task, Path(), steps.say)
    population = trainings.oracle_seconds(gone, range(oracles + 1))
    if isinstance(method, TrainsSubsets) and not trainings.together and not getattr(method, "sequential", True):
        steps.say("Models are trained one by one: members of this network cannot be trained together")
        method = replace(method, sequential=True)  # type: ignore[type-var]
    training = trainings.control_seconds(seed)
    shadows = trainings.seconds(halves(held, models=SHADOWS, seed=seed)) if isinstance(ready, Memorisation) else 0.0
    judging = judging_seconds(model, Probe.of(Request("trial", gone), held, fresh, task), oracles, suite, relearn)
    epochs = getattr(getattr(method, "recipe", None), "epochs", 1)
    erasing = rounds * _erasing(way, model, training, epochs, len(gone) / rounds / len(held))
    seconds = Seconds(training=training, population=population, erasing=erasing, judging=judging)
    return method, seconds, shadows


def _erasing(way: Any, model: Any, training: float, epochs: int, share: float) -> float:
    """Seconds of one request: what trains is counted in passes over the data."""
    if way is None:
        return training if model.method.needs_data else NATIVE
    if way.guarantee == "exact":
        return training
    passes = getattr(way, "epochs", 0) * ((1 - share if "retain" in way.needs else 0) + share * ("forget" in way.needs))
    smaller = max(1.0, getattr(getattr(model.method, "recipe", None), "batch", 1) / getattr(way, "batch", 1))
    return NATIVE + float(training * passes / epochs * smaller)


def _command(options: Mapping[str, Any]) -> str:
    """What repeats the rehearsal: the options that differ from their defaults, but for where the report goes."""
    from erasable.cli._modes import flag

    words = ["erasable", "rehearse", options["method"]]
    for name, parameter in inspect.signature(rehearse).parameters.items():
        value = options[name]
        if name in ("method", "out", "as_json") or (value == parameter.default and name != "seed"):
            continue
        if isinstance(value, bool):
            words.append(flag(name))
        else:
            for each in value if isinstance(value, list) else [value]:
                words += ["--set" if name == "settings" else flag(name), str(each)]
    return shlex.join([*words, "--out", "again"])
