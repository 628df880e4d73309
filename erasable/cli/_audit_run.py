"""`erasable audit RUN`: a run folder judged by one of three suites."""

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from erasable.cli._options import result
from erasable.errors import EmptyRequest, PopulationTooSmall, SettingsError, WrongDigest

ORACLES = {"quick": 8, "standard": 16, "full": 16}
MODELS = 32  # shadow models of the unlearning game
LEAST = 0.1  # of each shadow model's samples is unlearned: with less hardly any sample is unlearned often enough
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
    from erasable import population
    from erasable._plumbing.progress import Steps, duration
    from erasable.audit import Subject, compile_report, judge
    from erasable.cli._source import data_of
    from erasable.cli.audit import refuse_untrainable, write_numbered
    from erasable.probe import Probe
    from erasable.request import Request
    from erasable.run import Run

    if suite not in ORACLES:
        raise SettingsError(f"--suite {suite}", expected="quick, standard or full", do="choose one of these")
    if models is not None and (suite != "full" or models < 8 or models % 2):
        raise SettingsError(f"--models {models} with --suite {suite}", do="leave it out, or ask for another number",
                            expected="an even number of at least 8, with --suite full")  # fmt: skip
    oracles, shadows = oracles or ORACLES[suite], (models or MODELS) if suite == "full" else 0
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
    if relearn:
        refuse_untrainable(model, task, probe)
    once = float((opened.manifest["data"]["spec"].get("training") or {}).get("seconds") or 1.0)
    judging = 2.0 + 0.2 * oracles
    steps = Steps((oracles + 1 + shadows) * once + judging + 0.1 * shadows)
    game = f" and {shadows} shadow models" if shadows else ""
    steps.say(f"Audit of {len(gone)} erased samples with {oracles} oracles{game}, suite {suite}: at most about "
              f"{duration(steps.expected)}")  # fmt: skip
    begin = time.perf_counter()
    first = 1000 * (seed + 1)
    with steps.step(f"training {oracles} models without the erased samples", about=oracles * once) as told:
        reference = population.oracles(method, samples.without(gone), task, progress=told,
                                       seeds=range(first + 1, first + 1 + oracles))  # fmt: skip
    with steps.step("training a control on everything", about=once) as told:
        control = method.train(samples, task, seeds=[first], progress=told)[0]
    with steps.step("judging", about=judging):
        before = probe.look([control]) if relearn else None
        receipts = opened.receipts
        subjects = [
            Subject(name="this run", model=model, oracles=reference, before=before, untouched=control,
                    note=STAND_IN if relearn else "",
                    receipt=receipts[0] if len(receipts) == 1 else None, seconds=sum(each.seconds for each in receipts),
                    level=min((each.level for each in receipts), key=WEAKEST_FIRST.index)),
            Subject(name="do nothing", model=control, oracles=reference, before=before, untouched=control,
                    level="empirical", role="untouched",
                    note="A model of the same method, trained on everything: the alarm must ring."),
        ]  # fmt: skip
        section = judge(
            subjects, probe, title=f"All {len(gone)} samples erased from {run.name}", seed=seed, suite=suite
        )
    if shadows:
        section = _with_game(section, opened, samples, len(gone), shadows, seed, steps, once)
    with steps.step("writing the report", about=0.5):
        made = compile_report([section], title=f"Audit of {run.name}", show_samples=show_samples, suite=suite,
                              command=_command(run, suite, oracles, shadows, seed, relearn))  # fmt: skip
        folder = write_numbered(run / "reports", made)
    row = section.rows[0]
    words = [section.verdict, f"this run: {row.verdict}", *section.cautions, str(folder / "report.html")]
    facts = {"report": str(folder / "report.html"), "json": str(folder / "report.json"), "verdict": section.verdict,
             "status": row.status, "level": row.level, "control": section.rows[1].status,
             "cautions": list(section.cautions), "seconds": round(time.perf_counter() - begin, 2)}  # fmt: skip
    result("\n".join(words), facts, as_json)


def _command(run: Path, suite: str, oracles: int, shadows: int, seed: int, relearn: bool) -> str:
    models = f" --models {shadows}" if shadows else ""
    again = "" if relearn else " --no-relearn"
    return f"erasable audit {run.name} --suite {suite} --oracles {oracles}{models} --seed {seed}{again}"


def _with_game(
    section: Any, opened: Any, samples: Any, erased: int, shadows: int, seed: int, steps: Any, once: float
) -> Any:
    """The section with the unlearning game added to this run's row.

    Its shadow models are kept beside the run until the report is there, so that an interrupted audit goes on where it
    stopped; they were trained on erased samples too, and are removed at the end.
    """
    from erasable.fleet import train_fleet
    from erasable.game import halves, play, with_game
    from erasable.verdict import summary_of

    model = opened.model
    how, name = _way_of(opened.receipts, model)
    folder = opened.path.with_name(f".{opened.path.name}.audit")
    share = min(0.5, max(LEAST, erased / len(samples.private if len(samples.public) else samples)))
    with steps.step(f"training {shadows} shadow models on random halves", about=shadows * once) as told:
        fleet = train_fleet(model.method, samples, model.task, halves(samples, models=shadows, seed=seed),
                            folder=folder, progress=told, log=steps.say)  # fmt: skip
    with steps.step(f"unlearning from each of them ({name})", about=0.1 * shadows) as told:
        game = play(fleet, how, share=share, seed=seed, folder=folder, progress=told)
    row, *others = section.rows
    rows = (with_game(row, game), *others)
    shutil.rmtree(folder)
    return section.model_copy(update={"rows": rows, "controls": (*section.controls, *game.controls(seed=seed)),
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
