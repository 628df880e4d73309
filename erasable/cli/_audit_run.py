"""`erasable audit RUN`: a run folder judged by one of three suites."""

import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from erasable._plumbing.progress import Steps, duration
from erasable.cli._options import result
from erasable.cli._suites import MODELS, ORACLES, TOO_FEW, Game, Work, judging_seconds, refuse, refuse_few
from erasable.cli._threads import choose, repeating
from erasable.errors import EmptyRequest, SettingsError, WrongDigest

WEAKEST_FIRST = ("empirical", "revoked", "certified", "exact")
STAND_IN = (
    "What it knew before its erasures is gone; in its place stands the control, another model of the same method that "
    "was trained on everything."
)


def audit_run(
    run: Path,
    suite: Any,
    oracles: int | None,
    models: int | None,
    relearn: bool,
    seed: int,
    data_at: str | None,
    show_samples: bool,
    as_json: bool,
) -> None:
    from erasable.audit import Subject, compile_report, judge
    from erasable.cli._source import data_of
    from erasable.cli._trainings import CHUNK, Trainings, kept_beside
    from erasable.cli.audit import refuse_untrainable, write_numbered
    from erasable.probe import Probe
    from erasable.request import Request
    from erasable.run import Run
    from erasable.verdict import filter_cautions

    refuse(suite, models)
    oracles = ORACLES[suite] if oracles is None else oracles
    shadows = (models or MODELS) if suite == "full" else 0
    refuse_few(oracles)
    opened = Run.open(run)
    source = data_of(opened, data_at)
    gone = [each for each, number in opened.erased.items() if number]
    if not gone:
        raise EmptyRequest(f"nothing was erased from '{run}'", expected="a run with at least one erasure",
                           do=f"erase first: erasable forget {run} ...")  # fmt: skip
    samples, fresh = source.train(), source.test()
    trained_on = opened.manifest["data"]["digest"]
    if samples.digest() != trained_on:
        raise WrongDigest(f"the data of '{run}' have the digest {samples.digest()[:12]}...",
                          expected=f"{trained_on[:12]}..., all that was trained on, erased samples included",
                          do="audit with the data as they were")  # fmt: skip
    model: Any = opened.model
    task, method = model.task, model.method
    request = Request(f"{len(opened.receipts)} erasures", gone)
    probe = Probe.of(request, samples, fresh, task, seed=seed)
    receipts = opened.receipts
    game = _game_of(receipts, model, samples, len(gone), shadows, seed) if shadows else None
    steps, first = Steps(), 1000 * (seed + 1)
    if relearn:
        refuse_untrainable(model, task, probe)
    choose(method, samples, task, range(min(oracles, CHUNK)), steps.say)
    judging = judging_seconds(model, probe, oracles, suite, relearn)
    begin = time.perf_counter()
    with kept_beside(opened.path, steps.say) as folder:
        unlearning = game.seconds(model, samples, receipts[-1].seconds) if game else 0.0
        work = Work(Trainings(method, samples, task, folder, steps.say), steps, gone=gone, control=first,
                    seeds=range(first + 1, first + 1 + oracles), judging=judging, game=game,
                    unlearning=unlearning)  # fmt: skip
        announced = work.announce(f"{oracles} oracles", suite, begin)
        reference, control = work.oracles(), work.control()
        with steps.step("judging", about=judging):
            before = probe.look([control]) if relearn else None
            subjects = [
                Subject(name="this run", model=model, oracles=reference, before=before, untouched=control,
                        stand_in=True, note=STAND_IN if relearn else "",
                        receipt=receipts[0] if len(receipts) == 1 else None,
                        seconds=sum(each.seconds for each in receipts),
                        level=min((each.level for each in receipts), key=WEAKEST_FIRST.index)),
                Subject(name="do nothing", model=control, oracles=reference, before=before, untouched=control,
                        level="empirical", role="untouched",
                        note="A model of the same method, trained on everything: the alarm must ring."),
            ]  # fmt: skip
            section = judge(subjects, probe, title=f"All {len(gone)} samples erased from {run.name}", seed=seed,
                            suite=suite)  # fmt: skip
        if suite != "quick" and oracles < 3:
            section = section.model_copy(update={"cautions": (*section.cautions, TOO_FEW.format(oracles))})
        if left := sum(each.left_alone for each in receipts):
            told = filter_cautions([("this run", left)], len(gone), apart=False)
            section = section.model_copy(update={"cautions": (*section.cautions, *told)})
        section = work.played(section)
        with steps.step("writing the report", about=0.5):
            again = repeating(_command(run, suite, oracles, shadows, seed, relearn, data_at, show_samples))
            made = compile_report([section], title=f"Audit of {run.name}", show_samples=show_samples, suite=suite,
                                  command=again)  # fmt: skip
            written = write_numbered(run / "reports", made)
    seconds = time.perf_counter() - begin
    row = section.rows[0]
    words = [section.verdict, f"this run: {row.verdict}", *section.cautions,
             f"It took {duration(seconds)}; about {duration(announced)} had been announced.",
             str(written / "report.html")]  # fmt: skip
    facts = {"report": str(written / "report.html"), "json": str(written / "report.json"), "verdict": section.verdict,
             "status": row.status, "level": row.level, "control": section.rows[1].status,
             "cautions": list(section.cautions), "seconds": round(seconds, 2),
             "announced_seconds": round(announced, 2)}  # fmt: skip
    result("\n".join(words), facts, as_json)


def _command(
    run: Path, suite: str, oracles: int, shadows: int, seed: int, relearn: bool, data_at: str | None, show: bool
) -> str:
    """What repeats the audit, from the folder that the run is in."""
    words = ["erasable", "audit", run.resolve().name, "--suite", suite, "--oracles", str(oracles)]
    words += ["--models", str(shadows)] if shadows else []
    words += ["--seed", str(seed)]
    words += [] if relearn else ["--no-relearn"]
    words += ["--data-at", data_at] if data_at is not None else []
    return shlex.join([*words, "--show-samples"] if show else words)


def _game_of(receipts: Sequence[Any], model: Any, samples: Any, erased: int, shadows: int, seed: int) -> Game:
    """Played in the way in which the run forgot last. Raises SettingsError for one that cannot be repeated,
    PopulationTooSmall for too few models."""
    way, name = _way_of(receipts, model)
    game = Game.of(way, name, samples, erased, shadows, seed)
    cautions = [*game.cautions]
    if way != "forget":
        cautions.append(f"The unlearning game was played with {name}; with which ones the run itself was unlearned is "
                        "not recorded.")  # fmt: skip
    if len({each.method for each in receipts}) > 1:
        cautions.append(f"The run forgot in several ways; the unlearning game was played with the last, {name}.")
    return game._replace(cautions=tuple(cautions))


def _way_of(receipts: Sequence[Any], model: Any) -> tuple[Any, str]:
    """How the run forgot, by its last receipt: "forget", or the unlearner with its default settings."""
    from erasable import catalog

    last = receipts[-1].method
    if last == type(model.method).__name__:
        return "forget", last
    for name, unlearner in catalog.UNLEARNERS.items():
        if unlearner.__name__ == last:
            return unlearner(), f"{name} with its default settings"
    raise SettingsError(f"the unlearning game for '{last}'", expected="an unlearner of the catalog",
                        do="use --suite standard, or erasable.game from Python")  # fmt: skip
