"""The idx format, and the sets that come as four idx files.

An idx file is big-endian: two zero bytes, a type code (8: bytes), the number of axes, one 32-bit length per axis, then
the values. Described by Y. LeCun, C. Cortes, C. Burges on the home page of MNIST (1998).
"""

import gzip
import math
import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from erasable.dataset import Dataset
from erasable.datasets._files import find, folders
from erasable.datasets._labels import label_column
from erasable.datasets._part import checked, part_name, public_mask
from erasable.datasets.owners import synthetic_owners
from erasable.errors import InvalidData

STEMS = {"train": "train", "test": "t10k"}
# MNIST and Fashion-MNIST use the same file names: a folder of the wrong one shows in its first labels.
FIRST_LABELS = {
    "mnist": {(5, 0, 4, 1, 9, 2, 1, 3), (7, 2, 1, 0, 4, 1, 4, 9)},
    "fashion_mnist": {(9, 0, 0, 3, 0, 2, 7, 2), (9, 2, 1, 1, 6, 1, 4, 6)},
}


def read_idx(path: Path, axes: int) -> NDArray[np.uint8]:
    """The bytes of a gzipped idx file with this many axes. Raises InvalidData: cut off, not gzip, another format."""
    try:
        with gzip.open(path, "rb") as file:
            head = file.read(4)
            if head != bytes((0, 0, 8, axes)):
                raise InvalidData(f"'{path}' starts with {head.hex(' ')}",
                                  expected=f"00 00 08 {axes:02x}, idx bytes with {axes} axes",
                                  do="get the file again")  # fmt: skip
            lengths = file.read(4 * axes)
            shape = struct.unpack(f">{axes}I", lengths.ljust(4 * axes, b"\0"))
            want = math.prod(shape)
            values = file.read(want + 1)  # one more than announced, to see that nothing follows
    except (OSError, EOFError, zlib.error) as error:
        raise InvalidData(f"'{path}' cannot be unpacked ({error})", expected="a complete gzip file",
                          do="get the file again") from error  # fmt: skip
    if len(lengths) < 4 * axes or len(values) != want:
        raise InvalidData(f"'{path}' holds other than its {want} values of the shape {list(shape)}",
                          expected="no less and no more",
                          do="get the file again")  # fmt: skip
    return np.frombuffer(values, np.uint8).reshape(shape).copy()  # a tensor wants memory that it may write to


def idx_set(
    name: str, part: str, data_dir: str | Path | None, public: int, *, classes: Sequence[str], home: str, source: str
) -> Dataset:
    """A data set of four idx files: image (n, 1, 28, 28) bytes and label (n,)."""
    checked(part, name)
    where = folders(name, data_dir, [name], home)
    images, labels, ids, owners = [], [], [], []
    for each in ("train", "test") if part == "all" else (part,):
        image_file = find(name, [f"{STEMS[each]}-images-idx3-ubyte.gz"], where, home)
        label_file = find(name, [f"{STEMS[each]}-labels-idx1-ubyte.gz"], where, home)
        images.append(read_idx(image_file, 3))
        labels.append(read_idx(label_file, 1))
        if len(images[-1]) != len(labels[-1]):
            raise InvalidData(f"'{image_file}' has {len(images[-1])} images", do="get both files again",
                              expected=f"{len(labels[-1])}, as many as '{label_file.name}' has labels")  # fmt: skip
        _refuse_other_set(name, label_file, labels[-1])
        ids += [f"{name}/{each}/{row:05d}" for row in range(len(labels[-1]))]
        owners.append(synthetic_owners(len(labels[-1]), name=f"{name}/{each}"))
    label, _ = label_column(np.concatenate(labels), ids, name, classes)
    facts: Mapping[str, Any] = {
        "inputs": "image", "classes": list(classes), "low": 0, "high": 255, "scaling": "nominal", "owners": "synthetic",
        "source": source,
    }  # fmt: skip
    whole = part_name(name, part)
    image = torch.from_numpy(np.concatenate(images)).unsqueeze(1)
    return Dataset.of({"image": image, "label": label}, ids, owners=np.concatenate(owners), name=whole, facts=facts,
                      public=public_mask(len(ids), public, whole))  # fmt: skip


def _refuse_other_set(name: str, file: Path, labels: NDArray[np.uint8]) -> None:
    start = tuple(labels[:8].tolist())
    for other, starts in FIRST_LABELS.items():
        if other != name and start in starts:
            raise InvalidData(f"'{file}' holds the labels of '{other}'", expected=f"those of '{name}'",
                              do=f"point to the folder of '{name}'")  # fmt: skip
