"""`erasable demo`: everything once, on data that come along."""

from pathlib import Path
from typing import Annotated

import typer

from erasable.cli._options import AsJson, result
from erasable.cli._threads import choose


def demo(
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Where results go. A folder made by an earlier demo is replaced.")
    ] = Path("demo"),
    seed: Annotated[int, typer.Option(help="Decides all that is random.")] = 0,
    quick: Annotated[bool, typer.Option("--quick", hidden=True)] = False,
    as_json: AsJson = False,
) -> None:
    """Train, erase and audit on handwritten digits.

    They come along: no network, no downloads, about a minute. Erases one person's pictures and one whole digit from
    models of several kinds, compares each with models that never saw them, and writes report.html.
    """
    from erasable import datasets
    from erasable._plumbing.progress import Steps
    from erasable.demo import FULL, QUICK, kinds, run
    from erasable.tasks.classification import Classification

    data = datasets.digits("train")
    choose(kinds(QUICK)["network"].method, data, Classification.of(data), range(QUICK.oracles), Steps().say)
    made = run(out, seed=seed, size=QUICK if quick else FULL)
    result(made.words(), made.facts(), as_json)
