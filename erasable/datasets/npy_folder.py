"""Arrays of the user's own as a folder of `.npy` files, one per column, mapped from disk."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from erasable.dataset import Dataset
from erasable.datasets._files import own_folder
from erasable.datasets._npy import can_map, map_array, read_array, read_header
from erasable.datasets._own import Names, own_dataset
from erasable.datasets._range import Bound
from erasable.errors import InvalidData, nearest_names


def npy_folder(
    path: str | Path,
    *,
    columns: Mapping[str, str] | None = None,
    ids: str | Names | None = None,
    owners: str | Names | None = None,
    low: Bound = None,
    high: Bound = None,
    mmap: bool = True,
) -> Dataset:
    """A data set of the files that `columns` names without their ending, such as {"image": "x_train", "label": "y"}.

    columns       without it every `.npy` file is a column of its own name, but for those named by ids and owners
    ids, owners   the name of a file of text or integers, or the names themselves; ids default to "<folder>/00042"
    low, high     the nominal range of the inputs; without them bytes get 0 and 255, other types their own extremes
    mmap          map the files instead of loading them

    `image` is presented as (n, channels, height, width), `label` as int64. Raises MissingFile, InvalidData: a file that
    is not there, holds Python objects, is cut off or has another length.
    """
    folder = own_folder(path)
    files = {file.stem: file for file in sorted(folder.glob("*.npy"))}
    if not files:
        raise InvalidData(f"'{folder}' has no .npy files", expected="one per column", do="check the path")
    if columns is None:
        other = {each for each in (ids, owners) if isinstance(each, str)}
        columns = {name: name for name in files if name not in other}
    arrays = {key: _array(folder, files, name, mmap) for key, name in columns.items()}
    called = _array(folder, files, ids, False) if isinstance(ids, str) else ids
    who = _array(folder, files, owners, False) if isinstance(owners, str) else owners
    name = folder.resolve().name
    return own_dataset(name, arrays, ids=called, owners=who, low=low, high=high, source=f"The folder '{name}'.")


def _array(folder: Path, files: Mapping[str, Path], name: str, mmap: bool) -> NDArray[Any]:
    if name not in files:
        raise InvalidData(f"'{folder}' has no file '{name}.npy'", expected=f"one of {', '.join(files)}",
                          do=nearest_names(name, files))  # fmt: skip
    file = files[name]
    with file.open("rb") as stream:
        header = read_header(stream, f"'{file}'")
        if not (mmap and can_map(header)):
            stream.seek(0)
            return read_array(stream, f"'{file}'")
    return map_array(file, header.length, header, file.stat().st_size - header.length, f"'{file}'")
