"""The user's own arrays in an .npz file or a folder of .npy files."""

import mmap
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import erasable.datasets._range as ranges
from erasable.datasets import npy_folder, npz
from erasable.errors import InvalidData, MissingFile, SettingsError

COLUMNS = {"image": "train_images", "label": "train_labels"}


def arrays(n: int = 4) -> dict[str, NDArray[Any]]:
    return {
        "train_images": np.arange(n * 2 * 5, dtype=np.uint8).reshape(n, 2, 5),
        "train_labels": (np.arange(n, dtype=np.uint8) % 2)[:, None],
        "names": np.array([f"file-{row}" for row in range(n)]),
        "people": np.arange(n, dtype=np.int32) // 2,
    }


def is_mapped(column: object) -> bool:
    """True when the values lie in a mapped file, not in memory that was allocated for them."""
    while isinstance(column, np.ndarray) and column.base is not None:
        column = column.base
    return isinstance(column, mmap.mmap)


def test_uncompressed_arrays_are_mapped_and_compressed_ones_loaded(tmp_path: Path) -> None:
    np.savez(tmp_path / "plain.npz", **arrays())
    np.savez_compressed(tmp_path / "packed.npz", **arrays())
    plain, packed = npz(tmp_path / "plain.npz", columns=COLUMNS), npz(tmp_path / "packed.npz", columns=COLUMNS)
    loaded = npz(tmp_path / "plain.npz", columns=COLUMNS, mmap=False)
    assert isinstance(plain.table.columns["image"], np.memmap)
    assert is_mapped(plain.table.columns["image"])
    assert isinstance(packed.table.columns["image"], torch.Tensor)
    assert isinstance(loaded.table.columns["image"], torch.Tensor)
    for data in (plain, packed, loaded):
        assert torch.equal(data.read("image"), torch.from_numpy(arrays()["train_images"]).unsqueeze(1))
        assert data.read("label").tolist() == [0, 1, 0, 1]
        assert data.read("label").dtype == torch.int64
    assert plain.digest() == loaded.digest()
    assert plain.ids[2] == "plain/00002"
    assert plain.facts["classes"] == ["0", "1"]
    assert (plain.facts["low"], plain.facts["high"], plain.facts["scaling"]) == (0, 255, "nominal")


def test_a_mapped_column_works_end_to_end(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", **arrays())
    data = npz(tmp_path / "x.npz", columns=COLUMNS, ids="names", owners="people")
    assert data.owned_by("1").ids == ("file-2", "file-3")
    assert data.facts["owners"] == "given"
    view = data.without(["file-0"])
    assert view.read("image", np.array([1])).flatten().tolist() == list(range(20, 30))
    assert view.digest() != data.digest()


def test_names_and_owners_may_be_given_by_hand(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", **arrays())
    data = npz(tmp_path / "x.npz", columns=COLUMNS, ids=["a", "b", "c", "d"], owners=[7, 7, 8, 8])
    assert data.owned_by("8").ids == ("c", "d")
    assert npz(tmp_path / "x.npz", columns=COLUMNS).facts["owners"] == "none"


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(["u1", "i2", "<i8", "<f4", "<f8", "?", ">f4", ">i4"]),
    st.sampled_from([(1,), (3,), (2, 3), (4, 2, 3)]),
    st.booleans(),
    st.sampled_from(["x", "a-rather-long-array-name" * 3]),
)
def test_every_stored_array_reads_as_numpy_reads_it(
    tmp_path_factory: pytest.TempPathFactory, dtype: str, shape: tuple[int, ...], fortran: bool, name: str
) -> None:
    file = tmp_path_factory.mktemp("npz") / "x.npz"
    values = np.asarray(np.arange(np.prod(shape)).reshape(shape) % 5, dtype, order="F" if fortran else "C")
    np.savez(file, before=np.zeros(3), **{name: values}, after=np.zeros(5))
    data = npz(file, columns={"x": name})
    assert is_mapped(data.table.columns["x"]) == (not dtype.startswith(">"))
    assert data.read("x").tolist() == values.tolist()


def test_the_offset_is_that_of_the_members_own_header(tmp_path: Path) -> None:
    """Its extra field may be longer than the one in the directory at the end, as with zip64 or alignment padding."""
    file, values = tmp_path / "x.npz", np.arange(6, dtype=np.float32).reshape(3, 2)
    np.savez(file, x=values)
    raw = bytearray(file.read_bytes())
    name, extra_field = struct.unpack("<HH", raw[26:30])
    padding = b"\x34\x12" + struct.pack("<H", 8) + b"padding!"
    at = 30 + name + extra_field
    raw[28:30] = struct.pack("<H", extra_field + len(padding))
    raw[at:at] = padding
    end = raw.rfind(b"PK\x05\x06")
    start = struct.unpack("<I", raw[end + 16 : end + 20])[0] + len(padding)  # the directory has moved
    raw[end + 16 : end + 20] = struct.pack("<I", start)
    file.write_bytes(bytes(raw))
    assert np.load(file)["x"].tolist() == values.tolist()  # still a good archive
    data = npz(file, columns={"x": "x"})
    assert is_mapped(data.table.columns["x"])
    assert data.read("x").tolist() == values.tolist()


@pytest.mark.parametrize(
    ("shape", "presented"),
    [((4, 5, 6), (4, 1, 5, 6)), ((4, 5, 6, 3), (4, 3, 5, 6)), ((4, 3, 5, 6), (4, 3, 5, 6)), ((4, 1, 8, 4),) * 2],
)
def test_pictures_are_presented_with_channels_first(
    tmp_path: Path, shape: tuple[int, ...], presented: tuple[int, ...]
) -> None:
    values = np.arange(np.prod(shape), dtype=np.int64).reshape(shape) % 251
    np.savez(tmp_path / "x.npz", pictures=values.astype(np.uint8))
    data = npz(tmp_path / "x.npz", columns={"image": "pictures"})
    assert data.read("image").shape == presented
    assert is_mapped(data.table.columns["image"])
    if shape[-1] == 3:
        assert data.read("image")[1, 2, 3, 4] == values[1, 3, 4, 2]


def test_ranges_are_taken_from_the_values_and_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranges, "CHUNK_BYTES", 8)  # one row at a time
    values = np.array([[1, 5], [3, 5], [-2, 5]], np.float32)
    np.savez(tmp_path / "x.npz", x=values, picture=values.reshape(3, 1, 1, 2))
    facts = npz(tmp_path / "x.npz", columns={"features": "x"}).facts
    assert (facts["low"], facts["high"], facts["scaling"]) == ([-2, 5], [3, 6], "fitted")  # the constant gets range one
    facts = npz(tmp_path / "x.npz", columns={"image": "picture"}).facts
    assert (facts["low"], facts["high"]) == (-2, 5)
    facts = npz(tmp_path / "x.npz", columns={"features": "x"}, low=-10, high=[10, 20]).facts
    assert (facts["low"], facts["high"], facts["scaling"]) == (-10, [10, 20], "nominal")
    for low, high in ((0, None), (None, 1), ([0], 1), (1, 1), ([0, 2], [1, 1])):
        with pytest.raises(SettingsError):
            npz(tmp_path / "x.npz", columns={"features": "x"}, low=low, high=high)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.array([0, 1, -1, 0]), "label -1 of id 'x/00002'"),
        (np.array([0, 1, 1, 0.5]), "label 0.5 of id 'x/00003'"),
        (np.array([0, np.nan, 1, 0]), "label nan of id 'x/00001'"),
        (np.array([0, np.inf, 1, 0]), "label inf of id 'x/00001'"),
        (np.array([0, 1, 2, 10**9]), "label 1000000000 of id 'x/00003'"),
        (np.zeros((4, 2)), r"shape \[4, 2\]"),
        (np.zeros(3), "3 labels; expected 4"),
        (np.zeros(4, complex), "complex"),
    ],
)
def test_labels_that_are_no_class_numbers_are_refused(tmp_path: Path, labels: NDArray[Any], message: str) -> None:
    np.savez(tmp_path / "x.npz", x=np.zeros((4, 2)), y=labels)
    with pytest.raises(InvalidData, match=message):
        npz(tmp_path / "x.npz", columns={"features": "x", "label": "y"})


@pytest.mark.parametrize(
    ("labels", "numbers", "classes"),
    [
        (np.array(["dog", "ant", "dog"]), [1, 0, 1], ["ant", "dog"]),
        (np.array([True, False, True]), [1, 0, 1], ["False", "True"]),
        (np.array([2, 0, 2], np.uint16), [2, 0, 2], ["0", "1", "2"]),
        (np.array([2.0, 0.0, 1.0]), [2, 0, 1], ["0", "1", "2"]),
    ],
)
def test_labels_of_other_kinds(tmp_path: Path, labels: NDArray[Any], numbers: list[int], classes: list[str]) -> None:
    np.savez(tmp_path / "x.npz", x=np.zeros((3, 2)), y=labels)
    data = npz(tmp_path / "x.npz", columns={"features": "x", "label": "y"})
    assert data.read("label").tolist() == numbers
    assert data.read("label").dtype == torch.int64
    assert data.facts["classes"] == classes


def test_a_wrong_name_is_told_with_those_that_exist(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", **arrays())
    with pytest.raises(InvalidData, match="'images'; expected one of train_images, train_labels, names, people; did"):
        npz(tmp_path / "x.npz", columns={"image": "images"})


def test_python_objects_are_refused_unread(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.array([{}, {}], dtype=object), y=np.zeros(2, [("a", int)]))
    for name in ("x", "y"):
        with pytest.raises(InvalidData, match="never Python objects"):
            npz(tmp_path / "x.npz", columns={"x": name})
    np.save(tmp_path / "x.npy", np.array([{}, {}], dtype=object))
    with pytest.raises(InvalidData, match="never Python objects"):
        npy_folder(tmp_path)


def test_damaged_files_are_refused_in_one_line(tmp_path: Path) -> None:
    file = tmp_path / "x.npz"
    np.savez_compressed(file, x=np.random.default_rng(0).random((50, 2)))
    whole = file.read_bytes()
    flipped = bytearray(whole)
    flipped[200] ^= 255
    for content in (b"", b"hello", whole[:-40], bytes(flipped)):
        file.write_bytes(content)
        with pytest.raises(InvalidData, match=r"x\.npz") as caught:
            npz(file, columns={"x": "x"})
        assert "\n" not in str(caught.value)
    with pytest.raises(MissingFile):
        npz(tmp_path / "none.npz", columns={"x": "x"})


def test_a_header_that_promises_too_much_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((5, 2)))
    raw = (tmp_path / "x.npy").read_bytes()
    (tmp_path / "x.npy").write_bytes(raw[:-8])
    with pytest.raises(InvalidData, match="72 bytes of values; expected 80"):
        npy_folder(tmp_path)
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("x.npy", raw[:-8])
        archive.writestr("y.npy", raw)
    with pytest.raises(InvalidData, match="72 bytes of values"):
        npz(tmp_path / "x.npz", columns={"x": "x"})
    with pytest.raises(InvalidData, match="cannot be read"):
        npz(tmp_path / "x.npz", columns={"x": "x"}, mmap=False)


def test_other_refusals(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.zeros((2, 2)), y=np.zeros(2), none=np.zeros((0, 2)), one=np.float32(1),
             ids=np.array(["a", ""]), parts=np.array([0.5, 1]), words=np.array(["a", "b"]))  # fmt: skip
    for columns, more, message in (
        ({"label": "y"}, {}, "inputs besides the label"),
        ({}, {}, "inputs besides the label"),
        ({"features": "none"}, {}, "no samples"),
        ({"features": "one"}, {}, "no samples"),
        ({"features": "x"}, {"ids": "ids"}, "empty 1 times, first at row 1"),
        ({"features": "x"}, {"owners": "ids"}, "empty 1 times, first at id 'x/00001'"),
        ({"features": "x"}, {"ids": "parts"}, "one text or integer per sample"),
        ({"features": "x"}, {"ids": ["a"]}, "1 ids; expected 2"),
        ({"features": "x"}, {"owners": ["a"]}, "1 owners; expected 2"),
        ({"features": "words"}, {}, "column 'features' of 'x' holds <U1"),
    ):
        with pytest.raises(InvalidData, match=message):
            npz(tmp_path / "x.npz", columns=columns, **more)


def test_nan_in_a_mapped_array_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.array([[1.0, 2], [np.nan, 0]]))
    with pytest.raises(InvalidData, match="NaN or infinity, first at id 'x/00001'"):
        npz(tmp_path / "x.npz", columns={"features": "x"})


def test_a_folder_of_npy_files(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    for name, values in {"image": np.arange(12, dtype=np.uint8).reshape(3, 2, 2), "label": np.array([0, 1, 1]),
                         "people": np.array(["ann", "ben", "ann"])}.items():  # fmt: skip
        np.save(folder / f"{name}.npy", values)
    data = npy_folder(folder, owners="people")
    assert set(data.table.columns) == {"image", "label"}
    assert is_mapped(data.table.columns["image"])
    assert data.owned_by("ann").ids == ("mine/00000", "mine/00002")
    assert data.read("image")[1].tolist() == [[[4, 5], [6, 7]]]
    chosen = npy_folder(folder, columns={"x": "image"}, mmap=False)
    assert isinstance(chosen.table.columns["x"], torch.Tensor)
    assert "classes" not in chosen.facts
    with pytest.raises(InvalidData, match=r"no file 'lable.npy'; expected one of image, label, people; did you mean"):
        npy_folder(folder, columns={"label": "lable"})


def test_a_folder_without_arrays_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match=r"no .npy files"):
        npy_folder(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(MissingFile, match="is not a folder"):
        npy_folder(tmp_path / "file")
    (tmp_path / "x.npy").write_text("hello")
    with pytest.raises(InvalidData, match="is not an array"):
        npy_folder(tmp_path)
