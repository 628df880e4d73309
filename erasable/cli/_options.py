"""Options that several commands have, and how results are printed.

What belongs together is a dataclass, of which every field is an option; a command that takes one as a parameter and is
`spread` has all of these options.
"""

import dataclasses
import functools
import inspect
import json
import typing
from collections.abc import Callable, Mapping
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
MethodName = Annotated[
    str, typer.Argument(metavar="METHOD", help="A method of the catalog, such as spm ('erasable ls').")
]
NetworkName = Annotated[
    str | None, typer.Option(metavar="NETWORK", help="The network, such as 'mlp width=64 depth=2' or convnet.")
]
Public = Annotated[int, typer.Option(metavar="N", help="Declare up to N samples not erasable, by whole owners.")]
PublicWithout = Annotated[
    list[int] | None, typer.Option(metavar="LABEL", help="A label that no public sample has. Repeatable.")
]
Shift = Annotated[int, typer.Option(help="Augment pictures: move them by up to so many pixels.")]
Flip = Annotated[bool, typer.Option("--flip", help="Augment pictures: mirror them.")]
Relearning = Annotated[
    bool, typer.Option(help="Measure how soon the erased samples are learned again. Needs trainable outputs.")
]
Show = Annotated[
    bool, typer.Option("--show-samples", help="Show erased samples in the report. They are personal data.")
]


def result(words: str, facts: Mapping[str, Any], as_json: bool) -> None:
    """Print one result, for people or for programs."""
    print(json.dumps(facts, indent=1, ensure_ascii=False) if as_json else words)


def spread(command: Callable[..., None]) -> Callable[..., None]:
    """The command with the fields of each parameter that is a dataclass in that parameter's place, as options."""
    groups: dict[str, tuple[type[Any], tuple[str, ...]]] = {}
    written: list[inspect.Parameter] = []
    for parameter in inspect.signature(command).parameters.values():
        kind = parameter.annotation
        if not dataclasses.is_dataclass(kind) or not isinstance(kind, type):
            written.append(parameter)
            continue
        hints = typing.get_type_hints(kind, include_extras=True)
        groups[parameter.name] = kind, tuple(hints)
        written += [inspect.Parameter(each.name, inspect.Parameter.KEYWORD_ONLY, default=each.default,
                                      annotation=hints[each.name]) for each in dataclasses.fields(kind)]  # fmt: skip

    @functools.wraps(command)
    def flat(**given: Any) -> None:
        for name, (kind, fields) in groups.items():
            given[name] = kind(**{field: given.pop(field) for field in fields})
        command(**given)

    keywords = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in written]
    flat.__annotations__ = {each.name: each.annotation for each in keywords}
    flat.__signature__ = inspect.Signature(keywords)  # type: ignore[attr-defined]
    return flat


def flattened(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """A command's parameters by name, with the options of each dataclass as if they were its own."""
    found: dict[str, Any] = {}
    for name, value in parameters.items():
        found |= vars(value) if dataclasses.is_dataclass(value) else {name: value}
    return found


WHERE = "digits, breast-cancer, mnist, fashion-mnist, cifar10, npz:FILE, npy:FOLDER, folder:FOLDER or table:FILE."


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataOptions:
    """Where data lie and how they are read; `_source.source_of` takes them."""

    data_dir: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="Where the files of a published set lie (or set ERASABLE_DATA)."),
    ] = None
    column: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=ARRAY", help="npz, npy: image=x_train, label=y_train. Repeatable."),
    ] = None
    test_column: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=ARRAY", help="npz, npy: the arrays of the test part. Repeatable."),
    ] = None
    sample_id: Annotated[
        str | None, typer.Option("--id", metavar="COLUMN", help="npz, npy, table: the column with the ids.")
    ] = None
    owner: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="npz, npy, table: the column with the owners.")
    ] = None
    label_column: Annotated[str | None, typer.Option(metavar="COLUMN", help="table: the column with the labels.")] = (
        None
    )
    low: Annotated[float | None, typer.Option(help="npz, npy, table: the smallest value that inputs can have.")] = None
    high: Annotated[float | None, typer.Option(help="npz, npy, table: the largest value that inputs can have.")] = None
    size: Annotated[int | None, typer.Option(metavar="PIXELS", help="folder: bring pictures to this size.")] = None
    owner_from: Annotated[
        str | None, typer.Option(metavar="REGEX", help="folder: its group, searched in the id, is the owner.")
    ] = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecipeOptions:
    """Fields of `train.Recipe`; None leaves the default."""

    epochs: Annotated[int | None, typer.Option(help="Passes over the data.")] = None
    batch: Annotated[int | None, typer.Option(help="Samples per step.")] = None
    lr: Annotated[float | None, typer.Option(help="Learning rate.")] = None


def names(kind: type[Any]) -> tuple[str, ...]:
    """The options of such a dataclass."""
    return tuple(each.name for each in dataclasses.fields(kind))
