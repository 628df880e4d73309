"""CIFAR-10: 60,000 colour pictures of ten kinds of things, 32 x 32.

A. Krizhevsky: Learning multiple layers of features from tiny images. Technical report, University of Toronto, 2009.

Two formats are read, batch by batch: the official binary version (`data_batch_1.bin`: per picture one label byte, then
1,024 red, green and blue bytes) and a lossless compressed one (`data_batch_1.npz`: prediction residuals, see
`unfilter`). The official pickle version is not: unpickling runs code from the file.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from erasable.dataset import Dataset
from erasable.datasets._files import find, folders
from erasable.datasets._labels import label_column
from erasable.datasets._npy import read_npz
from erasable.datasets._part import Part, checked, part_name, public_mask
from erasable.datasets.owners import synthetic_owners
from erasable.errors import InvalidData

HOME = "https://www.cs.toronto.edu/~kriz/cifar.html"
SOURCE = f"CIFAR-10 (Krizhevsky 2009), {HOME}; the authors state no licence and ask to be cited."
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
BATCHES = {"train": tuple(f"data_batch_{number}" for number in range(1, 6)), "test": ("test_batch",)}
SIDE = 32
RECORD = 1 + 3 * SIDE * SIDE


def cifar10(part: Part = "train", *, data_dir: str | Path | None = None, public: int = 0) -> Dataset:
    """image (n, 3, 32, 32) bytes, label (n,); 50,000 to train and 10,000 to test; ids such as "cifar10/train/00042".

    The files lie in `data_dir`, else in the folder $ERASABLE_DATA: there, or in its folder `cifar10` or
    `cifar-10-batches-bin`. Owners are made up. The first `public` samples of a fixed shuffle are declared not erasable.

    Raises MissingFile, InvalidData, UnknownName, SettingsError.
    """
    checked(part, "cifar10")
    where = folders("cifar10", data_dir, ["cifar10", "cifar-10-batches-bin"], HOME)
    images, labels, ids, owners = [], [], [], []
    for each in ("train", "test") if part == "all" else (part,):
        files = [find("cifar10", [f"{stem}.npz", f"{stem}.bin"], where, HOME) for stem in BATCHES[each]]
        batches = [_read_residual(file) if file.suffix == ".npz" else _read_binary(file) for file in files]
        n = sum(len(label) for _, label in batches)
        images += [image for image, _ in batches]
        labels += [label for _, label in batches]
        ids += [f"cifar10/{each}/{row:05d}" for row in range(n)]
        owners.append(synthetic_owners(n, name=f"cifar10/{each}"))
    label, _ = label_column(np.concatenate(labels), ids, "cifar10", CLASSES)
    facts: Mapping[str, Any] = {
        "inputs": "image", "classes": list(CLASSES), "low": 0, "high": 255, "scaling": "nominal", "owners": "synthetic",
        "source": SOURCE,
    }  # fmt: skip
    name = part_name("cifar10", part)
    return Dataset.of({"image": torch.from_numpy(np.concatenate(images)), "label": label}, ids, name=name, facts=facts,
                      owners=np.concatenate(owners), public=public_mask(len(ids), public, name))  # fmt: skip


def _read_binary(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    raw = np.fromfile(path, np.uint8)
    if not len(raw) or len(raw) % RECORD:
        raise InvalidData(f"'{path}' has {len(raw)} bytes", expected=f"a multiple of {RECORD}", do="get the file again")
    records = raw.reshape(-1, RECORD)
    return records[:, 1:].reshape(-1, 3, SIDE, SIDE), records[:, 0]


def _read_residual(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    arrays = read_npz(path, ["residual", "labels"], mmap=False)
    residual, labels = arrays["residual"], arrays["labels"]
    if labels.ndim != 1 or residual.dtype != np.uint8 or residual.shape != (3, len(labels), SIDE, SIDE):
        raise InvalidData(f"residuals of '{path}' are {residual.dtype} {list(residual.shape)}",
                          expected=f"uint8 [3, {len(labels)}, {SIDE}, {SIDE}]", do="get the file again")  # fmt: skip
    return unfilter(residual), labels


def unfilter(residual: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pictures (n, 3, h, w) in red, green, blue from residuals (3, n, h, w) of the planes G, R - G + 128, B - G + 128.

    A residual is a value minus its median-edge prediction, mod 256: left + up - corner, kept between left and up (M. J.
    Weinberger, G. Seroussi, G. Sapiro: LOCO-I, 1996). With low = min(left, up) and high = max(left, up) this equals

        low + high - clip(corner, low, high)

    which stays within bytes. A margin of zeros makes the first row depend on the left alone and the first column on
    what is above, so the border needs no case of its own. All pictures advance together, one pixel at a time.
    """
    planes, n, height, width = residual.shape
    by_pixel = np.ascontiguousarray(residual.transpose(2, 3, 0, 1)).reshape(height, width, planes * n)
    value = np.zeros((height + 1, width + 1, planes * n), np.uint8)  # row 0 and column 0 are the margin
    for i in range(height):
        for j in range(width):
            corner, up, left = value[i, j], value[i, j + 1], value[i + 1, j]
            low, high = np.minimum(left, up), np.maximum(left, up)
            value[i + 1, j + 1] = by_pixel[i, j] + (low + high - np.clip(corner, low, high))
    green, red, blue = value[1:, 1:].reshape(height, width, planes, n).transpose(2, 3, 0, 1)
    half = np.uint8(128)
    return np.stack([red + green - half, green, blue + green - half], axis=1)
