"""MNIST and Fashion-MNIST: the idx format, by hand and as published."""

import gzip
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from erasable.dataset import Dataset
from erasable.datasets import fashion_mnist, mnist
from erasable.errors import InvalidData, MissingFile

BOTH = [mnist, fashion_mnist]


def idx_bytes(values: NDArray[np.uint8]) -> bytes:
    return bytes((0, 0, 8, values.ndim)) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


@pytest.fixture
def idx_folder(tmp_path: Path) -> Path:
    """Three training and two test pictures, 28 x 28, each filled with its number; labels 9, 8, 7 and 1, 0."""
    for stem, labels in (("train", [9, 8, 7]), ("t10k", [1, 0])):
        images = np.repeat(np.arange(len(labels), dtype=np.uint8), 28 * 28).reshape(-1, 28, 28)
        with gzip.open(tmp_path / f"{stem}-images-idx3-ubyte.gz", "wb") as file:
            file.write(idx_bytes(images))
        with gzip.open(tmp_path / f"{stem}-labels-idx1-ubyte.gz", "wb") as file:
            file.write(idx_bytes(np.array(labels, np.uint8)))
    return tmp_path


@pytest.mark.parametrize("of", BOTH)
def test_hand_made_files(of: Callable[..., Dataset], idx_folder: Path) -> None:
    name = of.__name__
    train, test, whole = (of(part, data_dir=idx_folder) for part in ("train", "test", "all"))
    assert train.ids == (f"{name}/train/00000", f"{name}/train/00001", f"{name}/train/00002")
    assert whole.ids == train.ids + test.ids
    assert whole.owners == (*(train.owners or ()), *(test.owners or ()))
    assert whole.read("label").tolist() == [9, 8, 7, 1, 0]
    assert whole.read("label").dtype == torch.int64
    image = whole.read("image")
    assert image.shape == (5, 1, 28, 28)
    assert image.dtype == torch.uint8
    assert image[:, 0, 5, 9].tolist() == [0, 1, 2, 0, 1]
    assert len(of("train", data_dir=idx_folder, public=2).public) == 2
    assert (train.name, whole.name) == (f"{name}/train", name)


def test_rows_and_columns_are_not_swapped(idx_folder: Path) -> None:
    picture = np.zeros((3, 28, 28), np.uint8)
    picture[1, 2, 3] = 200
    with gzip.open(idx_folder / "train-images-idx3-ubyte.gz", "wb") as file:
        file.write(idx_bytes(picture))
    assert int(mnist(data_dir=idx_folder).read("image")[1, 0, 2, 3]) == 200


def test_the_environment_and_a_folder_of_folders(idx_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = idx_folder / "root" / "fashion_mnist"
    inner.mkdir(parents=True)
    for file in idx_folder.glob("*.gz"):
        file.rename(inner / file.name)
    monkeypatch.setenv("ERASABLE_DATA", str(idx_folder / "root"))
    assert len(fashion_mnist("test")) == 2
    with pytest.raises(MissingFile):
        mnist("test")
    with pytest.raises(MissingFile):  # what is given goes first, and there is no second guess
        fashion_mnist("test", data_dir=idx_folder / "elsewhere")


def rewritten(folder: Path, name: str, change: Callable[[bytes], bytes]) -> None:
    with gzip.open(folder / name, "rb") as file:
        raw = file.read()
    with gzip.open(folder / name, "wb") as file:
        file.write(change(raw))


IMAGES, LABELS = "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (IMAGES, lambda raw: b"\0\0\x0d\x03" + raw[4:], "starts with 00 00 0d 03; expected 00 00 08 03"),
        (LABELS, lambda raw: b"\0\0\x08\x03" + raw[4:], "expected 00 00 08 01"),
        (IMAGES, lambda raw: raw[:-1], "other than its 2352 values"),
        (IMAGES, lambda raw: raw + b"\0", "other than its 2352 values"),
        (IMAGES, lambda raw: raw[:9], "values of the shape"),
        (IMAGES, lambda raw: b"", "starts with"),
        (LABELS, lambda raw: raw[:7] + b"\2" + raw[8:-1], "3 images|2, as many"),
        (LABELS, lambda raw: raw[:-1] + b"\x0a", "label 10 of id 'mnist/train/00002'"),
    ],
)
def test_damaged_contents_are_refused(
    idx_folder: Path, name: str, change: Callable[[bytes], bytes], message: str
) -> None:
    rewritten(idx_folder, name, change)
    with pytest.raises(InvalidData, match=message) as caught:
        mnist(data_dir=idx_folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [lambda raw: raw[: len(raw) // 2], lambda raw: raw[:-6], lambda raw: b"text", lambda raw: raw[:12] + b"\xff" * 9],
    ids=["half", "no checksum", "no gzip", "garbage"],
)
def test_damaged_archives_are_refused(idx_folder: Path, change: Callable[[bytes], bytes]) -> None:
    file = idx_folder / IMAGES
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(InvalidData, match=IMAGES) as caught:
        mnist(data_dir=idx_folder)
    assert isinstance(caught.value.__cause__, OSError | EOFError | zlib.error)


def test_the_other_set_under_the_same_file_names_is_refused(published: Path) -> None:
    for of, other in ((mnist, "fashion_mnist"), (fashion_mnist, "mnist")):
        for part in ("train", "test"):
            with pytest.raises(InvalidData, match=f"holds the labels of '{other}'"):
                of(part, data_dir=published / other)


@pytest.mark.parametrize("of", BOTH)
def test_published_files(of: Callable[..., Dataset], published: Path) -> None:
    train, test = of("train", data_dir=published), of("test", data_dir=published)
    assert (len(train), len(test)) == (60_000, 10_000)
    mean, std = {"mnist": (0.1307, 0.3081), "fashion_mnist": (0.2860, 0.3530)}[of.__name__]  # the well-known numbers
    image = train.read("image").float() / 255
    assert image.shape == (60_000, 1, 28, 28)
    assert float(image.mean()) == pytest.approx(mean, abs=5e-4)
    assert float(image.std()) == pytest.approx(std, abs=5e-4)
    assert set(test.read("label").tolist()) == set(range(10))
    assert len(train.facts["classes"]) == 10
