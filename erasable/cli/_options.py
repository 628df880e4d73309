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


# --- data ------------------------------------------------------------------------------------------------------------

WHERE = "digits, breast-cancer, mnist, fashion-mnist, cifar10, npz:FILE, npy:FOLDER, folder:FOLDER or table:FILE."

DataDir = Annotated[
    str | None,
    typer.Option(metavar="DIR", help="Where the files of a published set lie (or set ERASABLE_DATA)."),
]
Columns = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=ARRAY", help="npz, npy: image=x_train, label=y_train. Repeatable."),
]
TestColumns = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=ARRAY", help="npz, npy: the arrays of the test part. Repeatable."),
]
SampleId = Annotated[
    str | None, typer.Option("--id", metavar="COLUMN", help="npz, npy, table: the column with the ids.")
]
Owner = Annotated[str | None, typer.Option(metavar="COLUMN", help="npz, npy, table: the column with the owners.")]
LabelColumn = Annotated[str | None, typer.Option(metavar="COLUMN", help="table: the column with the labels.")]
Low = Annotated[float | None, typer.Option(help="npz, npy, table: the smallest value that inputs can have.")]
High = Annotated[float | None, typer.Option(help="npz, npy, table: the largest value that inputs can have.")]
Size = Annotated[int | None, typer.Option(metavar="PIXELS", help="folder: bring pictures to this size.")]
OwnerFrom = Annotated[
    str | None, typer.Option(metavar="REGEX", help="folder: its group, searched in the id, is the owner.")
]
Epochs = Annotated[int | None, typer.Option(help="Passes over the data.")]
Batch = Annotated[int | None, typer.Option(help="Samples per step.")]
Rate = Annotated[float | None, typer.Option(help="Learning rate.")]
