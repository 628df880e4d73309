"""`erasable audit`: judge what a run still knows of the samples that were erased from it."""

import secrets
import shutil
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from erasable.cli._options import AsJson, DataAt, RunFolder, result
from erasable.errors import EmptyRequest, PopulationTooSmall, TaskMismatch, WrongDigest

WEAKEST_FIRST = ("empirical", "revoked", "certified", "exact")
STAND_IN = (
    "What it knew before its erasures is gone; in its place stands the control, another model of the same method that "
    "was trained on everything."
)


def audit(
    run: RunFolder,
    oracles: Annotated[
        int, typer.Option(metavar="N", help="Models trained without the erased samples; 2 or more.")
    ] = 8,
    relearn: Annotated[
        bool, typer.Option(help="Measure how soon the erased samples are learned again. Needs trainable outputs.")
    ] = True,
    seed: Annotated[int, typer.Option(help="Decides the oracles, the control and what the attacks draw.")] = 1,
    data_at: DataAt = None,
    show_samples: Annotated[
        bool, typer.Option("--show-samples", help="Show erased samples in the report. They are personal data.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Judge what a run still knows of its erased samples.

    Writes a report into the run folder. Reads the training data, erased samples included, and trains models that
    never saw these: the oracles.
    """
    from erasable import population
    from erasable._plumbing.progress import Steps, duration
    from erasable.audit import Subject, compile_report, judge
    from erasable.cli._source import data_of
    from erasable.probe import Probe
    from erasable.request import Request
    from erasable.run import Run

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
        _refuse_untrainable(model, task, probe)
    once = float((opened.manifest["data"]["spec"].get("training") or {}).get("seconds") or 1.0)
    judging = 2.0 + 0.2 * oracles
    steps = Steps((oracles + 1) * once + judging)
    steps.say(f"Audit of {len(gone)} erased samples with {oracles} oracles: at most about {duration(steps.expected)}")
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
            Subject(name="this run", model=model, oracles=reference, before=before, note=STAND_IN if relearn else "",
                    receipt=receipts[0] if len(receipts) == 1 else None, seconds=sum(each.seconds for each in receipts),
                    level=min((each.level for each in receipts), key=WEAKEST_FIRST.index)),
            Subject(name="do nothing", model=control, oracles=reference, before=before, level="empirical",
                    role="untouched", note="A model of the same method, trained on everything: the alarm must ring."),
        ]  # fmt: skip
        section = judge(subjects, probe, title=f"All {len(gone)} samples erased from {run.name}", seed=seed)
        made = compile_report([section], title=f"Audit of {run.name}", show_samples=show_samples,
                              command=f"erasable audit {run.name} --oracles {oracles} --seed {seed}")  # fmt: skip
        folder = _write(run / "reports", made)
    row = section.rows[0]
    words = [section.verdict, f"this run: {row.verdict}", *section.cautions, str(folder / "report.html")]
    facts = {"report": str(folder / "report.html"), "json": str(folder / "report.json"), "verdict": section.verdict,
             "status": row.status, "level": row.level, "control": section.rows[1].status,
             "cautions": list(section.cautions), "seconds": round(time.perf_counter() - begin, 2)}  # fmt: skip
    result("\n".join(words), facts, as_json)


def _refuse_untrainable(model: Any, task: Any, probe: Any) -> None:
    """Find out before the oracles are trained, not after."""
    from erasable.stresses import Relearn

    try:
        Relearn(cap=1)(model, task, probe.forget, untouched=200.0, seed=0)  # no accuracy reaches that: one step is made
    except TaskMismatch as wrong:
        raise TaskMismatch(wrong.came, expected=wrong.expected, do="add --no-relearn") from wrong


def _write(reports: Path, made: Any) -> Path:
    """A new numbered folder with all three forms: there as a whole, or not at all."""
    from erasable._plumbing.storage import atomic_write, translated

    with translated(reports):
        reports.mkdir(exist_ok=True)
        number = 1 + max((int(each.name) for each in reports.iterdir() if each.name.isdecimal()), default=0)
        folder = reports / f"{number:04d}"
        unfinished = reports / f".{folder.name}.{secrets.token_hex(4)}.tmp"
        try:
            unfinished.mkdir()
            for ending, text in (("json", made.to_json()), ("md", made.to_markdown()), ("html", made.to_html())):
                atomic_write(unfinished / f"report.{ending}", text.encode())
            unfinished.rename(folder)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
    return folder
