"""CIFAR-10: the binary version and the residual format, by hand, against a slow twin and as published."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from erasable.datasets import cifar10
from erasable.datasets.cifar10 import unfilter
from erasable.errors import InvalidData, MissingFile


def slow_filter(pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Residuals (3, n, h, w) of pictures (n, 3, h, w), pixel by pixel as the format is described."""
    n, _, height, width = pictures.shape
    red, green, blue = (pictures[:, at].astype(int) for at in range(3))
    planes = np.stack([green, (red - green + 128) % 256, (blue - green + 128) % 256])
    residual = np.zeros((3, n, height, width), np.uint8)
    for plane in range(3):
        for at in range(n):
            for i in range(height):
                for j in range(width):
                    value = planes[plane, at]
                    left = value[i, j - 1] if j else None
                    up = value[i - 1, j] if i else None
                    if left is None or up is None:
                        guess = up if left is None else left
                    else:
                        guess = sorted((left + up - value[i - 1, j - 1], left, up))[1]  # the median
                    residual[plane, at, i, j] = (value[i, j] - (guess or 0)) % 256
    return residual


def test_decoding_undoes_the_slow_filter() -> None:
    draw = np.random.default_rng(0)
    noise = draw.integers(0, 256, (2, 3, 5, 4), np.uint8)
    smooth = (np.arange(2 * 3 * 5 * 4).reshape(2, 3, 5, 4) * 2).astype(np.uint8)
    edges = draw.choice(np.array([0, 255], np.uint8), (2, 3, 5, 4))
    for pictures in (noise, smooth, edges):
        np.testing.assert_array_equal(unfilter(slow_filter(pictures)), pictures)


def some_pictures(n: int) -> NDArray[np.uint8]:
    return np.random.default_rng(n).integers(0, 256, (n, 3, 32, 32), np.uint8)


def test_both_formats_give_the_same_data(tmp_path: Path) -> None:
    pictures, labels = some_pictures(2), np.array([3, 9], np.uint8)
    records = np.concatenate([labels[:, None], pictures.reshape(2, -1)], axis=1)
    for folder in ("binary", "residual"):
        (tmp_path / folder).mkdir()
    records.tofile(tmp_path / "binary" / "test_batch.bin")
    np.savez_compressed(tmp_path / "residual" / "test_batch.npz", residual=slow_filter(pictures), labels=labels)
    one, other = (cifar10("test", data_dir=tmp_path / folder) for folder in ("binary", "residual"))
    assert torch.equal(one.read("image"), torch.from_numpy(pictures))
    assert one.read("label").tolist() == [3, 9]
    assert one.ids == ("cifar10/test/00000", "cifar10/test/00001")
    assert one.digest() == other.digest()


def test_training_batches_follow_each_other(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-10-batches-bin"  # the name of the folder in the official archive
    folder.mkdir()
    for number in range(1, 6):
        np.full((number, 3073), number, np.uint8).tofile(folder / f"data_batch_{number}.bin")
    data = cifar10("train", data_dir=tmp_path)
    assert data.read("label").tolist() == [1, 2, 2, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 5]
    assert data.ids[-1] == "cifar10/train/00014"


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "0 bytes; expected a multiple of 3073"), (b"\0" * 3072, "3072 bytes"), (b"\x0a" * 3073, "label 10 of id")],
)
def test_damaged_binary_files_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "test_batch.bin").write_bytes(content)
    with pytest.raises(InvalidData, match=message):
        cifar10("test", data_dir=tmp_path)


@pytest.mark.parametrize("damage", ["cut", "text", "names", "shape", "objects"])
def test_damaged_residual_files_are_refused(tmp_path: Path, damage: str) -> None:
    file, labels = tmp_path / "test_batch.npz", np.zeros(2, np.uint8)
    residual = np.zeros((3, 2, 32, 32), np.uint8)
    members = {"labels": labels, "residual": residual}
    if damage == "names":
        members = {"labels": labels}
    if damage == "shape":
        members["residual"] = residual[:2]
    if damage == "objects":
        members["labels"] = np.array([{}, {}], dtype=object)
    np.savez(file, **members)
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:-30])
    if damage == "text":
        file.write_text("hello")
    with pytest.raises(InvalidData, match=r"test_batch.npz") as caught:
        cifar10("test", data_dir=tmp_path)
    assert "\n" not in str(caught.value)


def test_the_pickle_version_is_not_looked_for(tmp_path: Path) -> None:
    (tmp_path / "test_batch").write_bytes(b"\x80\x04.")
    with pytest.raises(MissingFile, match=r"test_batch.npz or test_batch.bin"):
        cifar10("test", data_dir=tmp_path)


def test_published_test_batch_equals_its_reference_decoder(published: Path) -> None:
    spec = importlib.util.spec_from_file_location("published_check", published / "check.py")
    assert spec is not None
    assert spec.loader is not None
    check = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(check)
    pictures, labels = check.load_cifar10(train=False)
    data = cifar10("test", data_dir=published)
    assert torch.equal(data.read("image"), torch.from_numpy(pictures.transpose(0, 3, 1, 2).copy()))
    assert data.read("label").tolist() == labels.tolist()


def test_published_training_set(published: Path) -> None:
    data = cifar10("train", data_dir=published)
    assert data.read("label").bincount().tolist() == [5000] * 10
    mean = data.read("image").double().mean((0, 2, 3)) / 255
    assert mean.tolist() == pytest.approx([0.4914, 0.4822, 0.4465], abs=1e-4)  # the well-known means
