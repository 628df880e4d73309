"""Options that several commands have, and how results are printed."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, made by 'erasable train'.")]
DataAt = Annotated[
    str | None,
    typer.Option(metavar="PATH", help="Where the training data lie now, if they were moved since: the file or folder."),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="A setting; an unknown one lists those that exist. Repeatable."),
]


def result(words: str, facts: Mapping[str, Any], as_json: bool) -> None:
    """Print one result, for people or for programs."""
    print(json.dumps(facts, indent=1, ensure_ascii=False) if as_json else words)
