"""Arrays in `.npy` and `.npz` format, read without pickle and mapped from disk where they can be.

A `.npz` file is a zip archive of `.npy` members. The `.npy` format is NumPy's own: a magic string, a version, a
header that tells type, order and shape, then the values.
"""

import math
import struct
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from erasable.errors import InvalidData, nearest_names

LOCAL_HEADER = 30  # bytes of a zip member's own header; the lengths of its name and its extra field end it


class Header(NamedTuple):
    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]
    length: int  # bytes before the values

    @property
    def size(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def read_header(stream: IO[bytes], what: str) -> Header:
    """The header of the array that starts here. Raises InvalidData: not an array, or one of Python objects."""
    start = stream.tell()
    try:
        version = np.lib.format.read_magic(stream)
        if version not in {(1, 0), (2, 0)}:
            raise InvalidData(f"{what} is in version {version} of the format", expected="version 1 or 2",
                              do="save it again as a plain array")  # fmt: skip
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(stream)
    except (ValueError, EOFError, OSError) as error:
        raise InvalidData(f"{what} is not an array ({error})", expected="the .npy format",
                          do="save it again with numpy.save or numpy.savez") from error  # fmt: skip
    if dtype.hasobject or dtype.names:
        raise InvalidData(f"{what} holds {dtype}", expected="numbers or text, never Python objects",
                          do="save it again with a plain type")  # fmt: skip
    return Header(tuple(shape), bool(fortran), dtype, stream.tell() - start)


def can_map(header: Header) -> bool:
    """Numbers in native byte order, at least one."""
    return header.dtype.kind in "biuf" and header.dtype.isnative and header.size > 0


def map_array(path: Path, at: int, header: Header, room: int, what: str) -> NDArray[Any]:
    """The values that start at byte `at` of a file, mapped for reading. Raises InvalidData when `room` bytes are not
    enough."""
    if header.size > room:
        raise InvalidData(f"{what} has {room} bytes of values", expected=f"{header.size} for {list(header.shape)}",
                          do="the file is cut off: get it again")  # fmt: skip
    return np.memmap(path, header.dtype, "r", offset=at, shape=header.shape, order="F" if header.fortran else "C")


def read_array(stream: IO[bytes], what: str) -> NDArray[Any]:
    """The whole array that starts here. Raises InvalidData."""
    try:
        array: NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise InvalidData(f"{what} cannot be read ({error})", expected="a complete array",
                          do="get the file again") from error  # fmt: skip
    return array


def read_npz(file: Path, names: Iterable[str], *, mmap: bool) -> dict[str, NDArray[Any]]:
    """These arrays of an archive; those that are numbers and stored without compression are mapped if `mmap`.

    Raises InvalidData: not an archive, damaged, an array that is not there or holds Python objects.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            return {name: _member(file, archive, name, mmap) for name in names}
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, struct.error) as error:
        raise InvalidData(f"'{file}' cannot be read ({error})", expected="an .npz file", do="get it again") from error


def _member(file: Path, archive: zipfile.ZipFile, name: str, mmap: bool) -> NDArray[Any]:
    members = {each.filename.removesuffix(".npy"): each for each in archive.infolist()}
    if name not in members:
        raise InvalidData(f"'{file}' has no array '{name}'", expected=f"one of {', '.join(members) or '(none)'}",
                          do=nearest_names(name, members))  # fmt: skip
    member, what = members[name], f"array '{name}' of '{file}'"
    if member.flag_bits & 1:
        raise InvalidData(f"{what} is encrypted", expected="a plain .npz file", do="save it again without a password")
    with archive.open(member) as stream:
        header = read_header(stream, what)
    if mmap and member.compress_type == zipfile.ZIP_STORED and can_map(header):
        at = _offset(file, member) + header.length
        return map_array(file, at, header, member.file_size - header.length, what)
    with archive.open(member) as stream:
        return read_array(stream, what)


def _offset(file: Path, member: zipfile.ZipInfo) -> int:
    """Where a stored member's bytes begin: its own header may be longer than the directory at the end says."""
    with file.open("rb") as stream:
        stream.seek(member.header_offset)
        name, extra_field = struct.unpack("<HH", stream.read(LOCAL_HEADER)[-4:])
    return member.header_offset + LOCAL_HEADER + int(name) + int(extra_field)
