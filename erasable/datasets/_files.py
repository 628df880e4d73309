"""Where the files of a published set lie."""

import os
from collections.abc import Sequence
from pathlib import Path

from erasable.errors import MissingFile

VARIABLE = "ERASABLE_DATA"


def folders(of: str, data_dir: str | Path | None, names: Sequence[str], home: str) -> list[Path]:
    """The folders to look in, in order: `data_dir`, else $ERASABLE_DATA, and in it one of `names` or the folder itself.

    Raises MissingFile when neither was given.
    """
    given = data_dir or os.environ.get(VARIABLE)
    if not given:
        raise MissingFile(f"no folder was given for the files of '{of}'", expected=f"a folder with those of {home}",
                          do=f"pass --data-dir (data_dir=) or set {VARIABLE}")  # fmt: skip
    root = Path(given).expanduser()
    return [*(root / name for name in names), root]


def find(of: str, file_names: Sequence[str], among: Sequence[Path], home: str) -> Path:
    """The first file called one of `file_names`. Raises MissingFile, which names the first, the folder and its home."""
    for folder in among:
        for name in file_names:
            if (folder / name).is_file():
                return folder / name
    raise MissingFile(f"'{' or '.join(file_names)}' of '{of}' is not in '{among[0]}' or '{among[-1]}'",
                      expected="the file as published", do=f"get it from {home}")  # fmt: skip


def own_file(path: str | Path) -> Path:
    """A file of the user's own. Raises MissingFile."""
    file = Path(path).expanduser()
    if not file.is_file():
        raise MissingFile(f"'{file}' is not a file" if file.exists() else f"'{file}' does not exist",
                          expected="a file to read", do="check the path")  # fmt: skip
    return file


def own_folder(path: str | Path) -> Path:
    """A folder of the user's own. Raises MissingFile."""
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise MissingFile(f"'{folder}' is not a folder" if folder.exists() else f"'{folder}' does not exist",
                          expected="a folder to read", do="check the path")  # fmt: skip
    return folder
