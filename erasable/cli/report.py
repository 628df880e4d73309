"""`erasable report`: an audit's report, rendered again."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from erasable.cli._options import AsJson, result
from erasable.errors import MissingFile


class Format(StrEnum):
    """The forms of a report."""

    HTML = "html"
    MD = "md"
    JSON = "json"


def report(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="A run folder that was audited, or a folder with a report.json.")
    ],
    number: Annotated[int | None, typer.Option(metavar="N", help="Which report; the latest without it.")] = None,
    format: Annotated[Format, typer.Option(help="What to make from the JSON.")] = Format.HTML,
    as_json: AsJson = False,
) -> None:
    """Render an audit's report again and print its path."""
    from erasable._plumbing.storage import atomic_write, read_bytes
    from erasable.report import Report

    folder = _folder(run, number)
    found = Report.from_json(read_bytes(folder / "report.json"))
    file = folder / f"report.{format}"
    if format is not Format.JSON:
        atomic_write(file, (found.to_html() if format is Format.HTML else found.to_markdown()).encode())
    words = [f"{each.title}: {each.verdict}" for each in found.sections]
    facts = {"report": str(file), "created": found.created, "sections": [
        {"title": each.title, "case": each.case, "verdict": each.verdict,
         "rows": [{"name": row.name, "level": row.level, "status": row.status} for row in each.rows]}
        for each in found.sections]}  # fmt: skip
    result("\n".join([*words, str(file)]), facts, as_json)


def _folder(run: Path, number: int | None) -> Path:
    """Where the report lies. Raises MissingFile."""
    if (run / "report.json").is_file() and number is None:
        return run
    there = sorted(each.parent for each in run.glob("reports/*/report.json"))
    chosen = [each for each in there if number is None or each.name == f"{number:04d}"]
    if not chosen:
        told = "no report" if number is None else f"no report {number:04d}"
        raise MissingFile(f"'{run}' has {told}", expected=f"one of {', '.join(each.name for each in there) or 'none'}",
                          do=f"make one with 'erasable audit {run}'")  # fmt: skip
    return chosen[-1]
