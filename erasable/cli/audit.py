"""`erasable audit`: judge what a run still knows of the samples that were erased from it."""

import secrets
import shutil
from pathlib import Path
from typing import Annotated, Any

import typer

from erasable.cli._modes import chosen
from erasable.cli._options import (
    WHERE,
    AsJson,
    DataAt,
    DataOptions,
    RecipeOptions,
    flattened,
    spread,
)
from erasable.errors import SettingsError, TaskMismatch


@spread
def audit(
    *,
    run: Annotated[Path | None, typer.Argument(metavar="[RUN]", help="A run folder with erasures.")] = None,
    oracles: Annotated[
        str | None,
        typer.Option(
            metavar="N|train|DIR",
            help="How many models to train without the erased samples, 2 or more; 16 without it, 8 with --suite quick. "
            "With --model also a folder with the weights of such models.",
        ),
    ] = None,
    suite: Annotated[
        str, typer.Option(metavar="quick|standard|full", help="How much is tried; see docs/verdicts.md.")
    ] = "standard",
    models: Annotated[
        int | None, typer.Option(metavar="N", help="--suite full: shadow models of the unlearning game; 32 without it.")
    ] = None,
    unlearner: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="--model, --suite full: how the model was made to forget, an unlearner of the catalog with settings, "
            "such as 'finetune epochs=3', or NAME.json that 'erasable tune' wrote. The unlearning game is played with "
            "it.",
        ),
    ] = None,
    relearn: Annotated[
        bool, typer.Option(help="Measure how soon the erased samples are learned again. Needs trainable outputs.")
    ] = True,
    seed: Annotated[int, typer.Option(help="Decides the oracles, the control and what the attacks draw.")] = 1,
    data_at: DataAt = None,
    show_samples: Annotated[
        bool, typer.Option("--show-samples", help="Show erased samples in the report. They are personal data.")
    ] = False,
    model: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Audit these weights, a safetensors file, instead of a run.")
    ] = None,
    architecture: Annotated[
        str | None,
        typer.Option(metavar="MODULE:BUILD", help="--model: the function that builds the network. It is imported."),
    ] = None,
    data: Annotated[
        str | None, typer.Option(metavar="DATA", help=f"--model: what it was trained and is tested on: {WHERE}")
    ] = None,
    forget_ids: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|ID,ID", help="--model, --scores: the erased samples: a file with one id a line, or ids."
        ),
    ] = None,
    manifest: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="--model, --scores: ids of all that was trained on, erased ones too; one a line or JSON.",
        ),
    ] = None,
    before: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="--model: the weights from before the erasure, if there are any."),
    ] = None,
    scores: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Audit from a table with the columns model, sample, value and member: Parquet or CSV."
        ),
    ] = None,
    signal: Annotated[
        str | None, typer.Option(metavar="NAME", help="--scores: the signal to judge, where the file has several.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="--model, --scores: the folder to make for the report: new or empty."),
    ] = None,
    recipe: RecipeOptions,
    read: DataOptions,
    as_json: AsJson = False,
) -> None:
    """Judge what a model still knows of erased samples.

    With RUN, writes a report into the run folder. Reads the training data, erased samples included, and trains models
    that never saw these: the oracles.

    With --model, the same for weights that were made elsewhere: erasable audit --model weights.safetensors
    --architecture package.module:build --data digits --forget-ids ids.txt --oracles train --out report. The options
    --epochs, --batch and --lr say how models are trained here.

    With --scores, from numbers that other people collected, without a model: erasable audit --scores signals.parquet
    --forget-ids ids.txt --out report.
    """
    options = flattened(locals())
    kind = chosen(options)
    if kind == "--model":
        from erasable.cli._foreign import audit_model

        return audit_model(options)
    if kind == "--scores":
        from erasable.cli._scores import audit_scores

        return audit_scores(options)
    assert run is not None
    if oracles is not None and not (oracles == "train" or oracles.isdecimal()):
        raise SettingsError(f"--oracles {oracles} for a run", expected="how many are trained", do="give a number")
    from erasable.cli._audit_run import audit_run

    count = int(oracles) if oracles is not None and oracles.isdecimal() else None
    return audit_run(run, suite, count, models, relearn, seed, data_at, show_samples, as_json)


def refuse_untrainable(model: Any, task: Any, probe: Any) -> None:
    """Find out before the oracles are trained, not after."""
    from erasable.stresses import Relearn

    try:
        Relearn(cap=1)(model, task, probe.forget, untouched=200.0, seed=0)  # no accuracy reaches that: one step is made
    except TaskMismatch as wrong:
        raise TaskMismatch(wrong.came, expected=wrong.expected, do="add --no-relearn") from wrong


def write_numbered(reports: Path, made: Any) -> Path:
    """A new numbered folder with all three forms: there as a whole, or not at all."""
    from erasable._plumbing.storage import translated

    with translated(reports):
        reports.mkdir(exist_ok=True)
        number = 1 + max((int(each.name) for each in reports.iterdir() if each.name.isdecimal()), default=0)
    return write_report(reports / f"{number:04d}", made)


def write_report(folder: Path, made: Any) -> Path:
    """All three forms in `folder`, which is new or empty: there as a whole, or not at all."""
    from erasable._plumbing.storage import atomic_write, translated

    with translated(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        unfinished = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.tmp")
        try:
            unfinished.mkdir()
            for ending, text in (("json", made.to_json()), ("md", made.to_markdown()), ("html", made.to_html())):
                atomic_write(unfinished / f"report.{ending}", text.encode())
            unfinished.rename(folder)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
    return folder
