"""Pictures of the user's own: one folder per class."""

import os
import re
import struct
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from erasable.dataset import Dataset
from erasable.datasets._extra import extra
from erasable.datasets._files import own_folder
from erasable.datasets._own import own_dataset
from erasable.errors import InvalidData, SettingsError

GREY = {"1", "L", "LA"}  # modes of the imaging library without colour
T = TypeVar("T")


class Looks(NamedTuple):
    """What a picture's header tells."""

    height: int
    width: int
    mode: str


def image_folder(
    path: str | Path, *, size: int | tuple[int, int] | None = None, owner_from: str | None = None
) -> Dataset:
    """image (n, channels, height, width) bytes, label (n,), from `path`/<class>/.../<file>.

    The id of a sample is its path below `path`, with slashes; classes are the folder names, sorted. There is one
    channel when all pictures are grey, otherwise three: transparency is dropped, the camera's turn tag is not applied,
    of several frames the first counts. Names that start with a dot are passed over; every other file in a class folder
    must be a picture, and no picture may lie outside.

    size         height and width, or one number for both, that all are resized to (bilinear); otherwise they must agree
    owner_from   a regular expression with one group, searched in the id: what the group matches is the owner, as in
                 "/([a-z]+)_" for "cats/anna_003.png"

    Raises MissingFile, InvalidData: no pictures, an unreadable one, different sizes, an id without an owner;
    SettingsError, MissingExtra.
    """
    imaging = extra("PIL.Image", package="erasable[data]", why="reading pictures")
    folder = own_folder(path)
    target = (size, size) if isinstance(size, int) else size
    if target is not None and min(target) < 1:
        raise SettingsError(f"a size of {target} came", expected="at least one pixel", do="choose another")
    files = _files(imaging, folder)
    ids = [file.relative_to(folder).as_posix() for file in files]
    looks = _in_threads(lambda file: _look(imaging, file), files)
    height, width = target or (looks[0].height, looks[0].width)
    if target is None:
        for each, look in zip(ids, looks, strict=True):
            if (look.height, look.width) != (height, width):
                raise InvalidData(f"'{each}' in '{folder}' is {look.height} x {look.width} pixels",
                                  expected=f"{height} x {width} as '{ids[0]}'",
                                  do="give a size that all are brought to")  # fmt: skip
    mode = "L" if all(look.mode in GREY for look in looks) else "RGB"
    image = np.empty((len(files), 1 if mode == "L" else 3, height, width), np.uint8)
    _in_threads(lambda row: _decode(imaging, files[row], mode, image[row]), range(len(files)))
    classes = sorted({each.split("/")[0] for each in ids})
    number = {each: at for at, each in enumerate(classes)}
    label = np.array([number[each.split("/")[0]] for each in ids])
    owners = None if owner_from is None else _owners(ids, owner_from)
    name = folder.resolve().name
    return own_dataset(name, {"image": image, "label": label}, ids=ids, owners=owners, classes=classes,
                       source=f"The folder '{name}'.")  # fmt: skip


def _files(imaging: Any, folder: Path) -> list[Path]:
    """The files below the class folders, sorted by path."""
    found = []
    for base, inner, names in os.walk(folder):
        inner[:] = sorted(each for each in inner if not each.startswith("."))
        if Path(base) != folder:
            found += [Path(base) / each for each in names if not each.startswith(".")]
        elif loose := sorted(each for each in names if Path(each).suffix.lower() in imaging.registered_extensions()):
            raise InvalidData(f"'{loose[0]}' in '{folder}' lies outside a class folder", expected="<class>/<file>",
                              do="move it into the folder of its class")  # fmt: skip
    if not found:
        raise InvalidData(f"'{folder}' has no pictures", expected="<class>/<file>", do="check the path")
    return sorted(found, key=lambda file: file.relative_to(folder).as_posix())


def _in_threads(work: Callable[[Any], T], items: Sequence[Any]) -> list[T]:
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:  # decoders release the interpreter lock
        return list(pool.map(work, items))


def _opened(imaging: Any, file: Path, use: Callable[[Any], T]) -> T:
    try:
        with imaging.open(file) as picture:
            return use(picture)
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error,
            imaging.DecompressionBombError) as error:  # fmt: skip
        raise InvalidData(f"'{file}' cannot be read as a picture ({error})", expected="a complete picture file",
                          do="repair or remove it") from error  # fmt: skip


def _look(imaging: Any, file: Path) -> Looks:
    look = _opened(imaging, file, lambda picture: Looks(picture.height, picture.width, picture.mode))
    if look.mode[0] in "IF":  # 16 bits and more: squeezing them into a byte would be a guess
        raise InvalidData(f"'{file}' has the pixel type {look.mode}", expected="8 bits per channel",
                          do="convert the picture")  # fmt: skip
    return look


def _decode(imaging: Any, file: Path, mode: str, into: NDArray[np.uint8]) -> None:
    """Write one picture into its place, (channels, height, width)."""

    def pixels(picture: Any) -> NDArray[np.uint8]:
        if "transparency" in picture.info:
            picture = picture.convert("RGBA")
        picture = picture.convert(mode)
        height, width = into.shape[1:]
        if picture.size != (width, height):
            picture = picture.resize((width, height), imaging.Resampling.BILINEAR)
        return np.asarray(picture, np.uint8).reshape(height, width, -1)

    into[:] = _opened(imaging, file, pixels).transpose(2, 0, 1)


def _owners(ids: Sequence[str], pattern: str) -> list[str]:
    try:
        search = re.compile(pattern)
    except re.error as error:
        raise SettingsError(f"owner_from '{pattern}' is no regular expression ({error})", expected="one with a group",
                            do="correct it") from error  # fmt: skip
    if search.groups != 1:
        raise SettingsError(f"owner_from '{pattern}' has {search.groups} groups", expected="exactly one",
                            do="put brackets around the owner")  # fmt: skip
    owners = []
    for each in ids:
        match = search.search(each)
        if match is None or not match[1]:
            raise InvalidData(f"id '{each}' tells no owner by '{pattern}'", expected="one for each picture",
                              do="correct owner_from")  # fmt: skip
        owners.append(match[1])
    return owners
