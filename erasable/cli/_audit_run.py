"""`erasable audit RUN`: a run folder judged by one of three suites."""

import shlex
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from erasable.cli._options import result
from erasable.errors import EmptyRequest, PopulationTooSmall, SettingsError, WrongDigest

ORACLES = {"quick": 8, "standard": 16, "full": 16}
MODELS, FEWEST = 32, 16  # shadow models of the unlearning game
LEAST = 0.1  # of each shadow model's samples is unlearned, whatever was asked: more samples are judged
PAIRS = 3  # shadow models that unlearn a sample on average, at least: the attack needs so many to judge it
LONG = 10.0  # seconds of an unlearning that is not tried only to tell how long it takes
RELEARNING = 30  # steps until a model knows the samples again, for the time that is announced
WEAKEST_FIRST = ("empirical", "revoked", "certified", "exact")
TOO_FEW = "The per-sample attack was left out: {} oracles are too few for it, it takes 3."
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
    from erasable._plumbing.progress import Steps, duration
    from erasable.audit import Subject, compile_report, judge
    from erasable.cli._source import data_of
    from erasable.cli._trainings import Trainings, kept_beside
    from erasable.cli.audit import write_numbered
    from erasable.probe import Probe
    from erasable.request import Request
    from erasable.run import Run

    if suite not in ORACLES:
        raise SettingsError(f"--suite {suite}", expected="quick, standard or full", do="choose one of these")
    if models is not None and (suite != "full" or models < FEWEST or models % 2):
        raise SettingsError(f"--models {models} with --suite {suite}", do="leave it out, or ask for another number",
                            expected=f"an even number of at least {FEWEST}, with --suite full")  # fmt: skip
    oracles = ORACLES[suite] if oracles is None else oracles
    shadows = (models or MODELS) if suite == "full" else 0
    if oracles < 2:
        raise PopulationTooSmall(f"{oracles} oracles", expected="at least 2",
                                 do="train more: one model hides seed noise")  # fmt: skip
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
    game = _Game.of(receipts, model, samples, len(gone), shadows, seed) if shadows else None
    steps = Steps()
    judging = _judging_seconds(model, probe, oracles, suite, relearn)
    first = 1000 * (seed + 1)
    seeds = range(first + 1, first + 1 + oracles)
    begin = time.perf_counter()
    with kept_beside(opened.path, steps.say) as folder:
        trainings = Trainings(method, samples, task, folder, steps.say)
        reference_seconds, control_seconds = trainings.oracle_seconds(gone, seeds), trainings.control_seconds(first)
        game_seconds = trainings.seconds(game.plan) if game else 0.0
        unlearning = shadows * (0.05 + game.seconds(model, samples, receipts[-1].seconds)) if game else 0.0
        steps.expected = reference_seconds + control_seconds + judging + game_seconds + unlearning + 0.5
        announced = steps.expected + time.perf_counter() - begin
        more = f" and {shadows} shadow models" if shadows else ""
        steps.say(f"Audit of {len(gone)} erased samples with {oracles} oracles{more}, suite {suite}: about "
                  f"{duration(announced)}")  # fmt: skip
        with steps.step(f"training {oracles} models without the erased samples", about=reference_seconds) as told:
            reference = trainings.oracles(gone, seeds, told)
        with steps.step("training a control on everything", about=control_seconds) as told:
            control = trainings.control(first, told)
        with steps.step("judging", about=judging):
            before = probe.look([control]) if relearn else None
            subjects = [
                Subject(name="this run", model=model, oracles=reference, before=before, untouched=control,
                        note=STAND_IN if relearn else "", receipt=receipts[0] if len(receipts) == 1 else None,
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
        if game is not None:
            with steps.step(f"training {shadows} shadow models on random halves", about=game_seconds) as told:
                fleet = trainings.fleet(game.plan, told)
            with steps.step(f"unlearning from each of them ({game.name})", about=unlearning) as told:
                section = game.played(section, fleet, folder, told)
        with steps.step("writing the report", about=0.5):
            again = _command(run, suite, oracles, shadows, seed, relearn, data_at, show_samples)
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


def _judging_seconds(model: Any, probe: Any, oracles: int, suite: str, relearn: bool) -> float:
    """What looking at all models and teaching them again will take. Raises TaskMismatch for what cannot be taught."""
    from erasable.cli.audit import refuse_untrainable
    from erasable.recoverability import STEPS
    from erasable.stresses import Relearn

    once = _fastest(lambda: probe.look([model]))
    if relearn:
        step = _fastest(lambda: refuse_untrainable(model, probe.task, probe))
        once += RELEARNING * step
        if suite == "full":  # three lessons, one of them with what was kept
            lesson = Relearn(cap=2, whole=True)
            three = _fastest(lambda: lesson(model, probe.task, probe.forget, untouched=100.0, seed=0,
                                            using=probe.retain))  # fmt: skip
            once += STEPS * (2 * step + three / 3)
    return 1.0 + (oracles + 2) * once


def _fastest(do: Callable[[], Any]) -> float:
    """Seconds, of three times: the first sets things up, and what disturbs only makes it slower."""
    found = []
    for _ in range(3):
        begin = time.perf_counter()
        do()
        found.append(time.perf_counter() - begin)
    return min(found)


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


class _Game(NamedTuple):
    """The unlearning game of a run, as far as it is known before anything is trained."""

    plan: Any
    share: float
    seed: int
    way: Any
    name: str
    cautions: tuple[str, ...]

    @classmethod
    def of(cls, receipts: Sequence[Any], model: Any, samples: Any, erased: int, shadows: int, seed: int) -> "_Game":
        """Raises SettingsError for a way to forget that cannot be repeated, PopulationTooSmall for too few models."""
        from erasable.game import halves, judged, requests

        way, name = _way_of(receipts, model)
        plan = halves(samples, models=shadows, seed=seed)
        share = min(0.5, max(LEAST, 2 * PAIRS / shadows, erased / len(samples.private)))
        asked = requests(plan, share=share, seed=seed)
        cautions = []
        count, targets = judged(plan, asked), int(plan.targets.sum())
        if 2 * count < targets:
            cautions.append(f"The unlearning game judges {count} of {targets} samples only: the others are not "
                            f"unlearned by {PAIRS} of its {shadows} models. More models judge more.")  # fmt: skip
        if way != "forget":
            cautions.append(f"The unlearning game was played with {name}; with which ones the run itself was unlearned "
                            "is not recorded.")  # fmt: skip
        if len({each.method for each in receipts}) > 1:
            cautions.append(f"The run forgot in several ways; the unlearning game was played with the last, {name}.")
        return cls(plan, share, seed, way, name, tuple(cautions))

    def seconds(self, model: Any, samples: Any, told: float) -> float:
        """Of one unlearning: tried with this run's model where it is short, else what the receipt told."""
        from erasable.request import Request
        from erasable.unlearner import forget

        if self.way == "forget" or told > LONG:
            return told
        held = samples.take(self.plan.positions[0])
        begin = time.perf_counter()
        forget(model, Request("trial", held.private.ids[:1]), data=held, unlearner=self.way, seed=self.seed)
        return time.perf_counter() - begin

    def played(self, section: Any, fleet: Any, folder: Path, progress: Any) -> Any:
        """The section with what the game found in this run's row, its controls and its cautions."""
        from erasable.game import play, with_game
        from erasable.verdict import summary_of

        game = play(fleet, self.way, share=self.share, seed=self.seed, folder=folder, progress=progress)
        row, *others = section.rows
        rows = (with_game(row, game), *others)
        return section.model_copy(update={"rows": rows, "controls": (*section.controls, *game.controls(seed=self.seed)),
                                          "cautions": (*section.cautions, *self.cautions),
                                          "verdict": summary_of(rows, section.erased)})  # fmt: skip


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
