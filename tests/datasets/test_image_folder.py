"""A folder of pictures per class."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from erasable.datasets import image_folder
from erasable.errors import InvalidData, MissingExtra, MissingFile, SettingsError


def save(path: Path, pixels: object, mode: str | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(np.asarray(pixels, np.uint8))
    (picture if mode is None else picture.convert(mode)).save(path)


@pytest.fixture
def grey(tmp_path: Path) -> Path:
    root = tmp_path / "pets"
    save(root / "dogs" / "ann_1.png", [[0, 50, 100], [150, 200, 250]])
    save(root / "cats" / "ben_1.png", [[1, 1, 1], [1, 1, 1]])
    save(root / "cats" / "deep" / "ann_2.png", [[2, 2, 2], [2, 2, 2]])
    (root / "cats" / ".hidden").write_text("not a picture")
    return root


def test_grey_pictures(grey: Path) -> None:
    data = image_folder(grey)
    assert data.ids == ("cats/ben_1.png", "cats/deep/ann_2.png", "dogs/ann_1.png")
    assert data.facts["classes"] == ["cats", "dogs"]
    assert data.read("label").tolist() == [0, 0, 1]
    image = data.read("image")
    assert (image.shape, image.dtype) == ((3, 1, 2, 3), torch.uint8)
    assert image[2, 0].tolist() == [[0, 50, 100], [150, 200, 250]]
    assert (data.facts["low"], data.facts["high"], data.facts["owners"]) == (0, 255, "none")
    assert data.owners is None


def test_colour_makes_all_of_them_colour(grey: Path) -> None:
    colour = np.zeros((2, 3, 4), np.uint8)
    colour[..., 0], colour[..., 2], colour[..., 3] = 10, 30, 128
    save(grey / "birds" / "x.png", colour)  # with transparency
    save(grey / "birds" / "y.png", colour[..., :3], "P")
    image = image_folder(grey).read("image")
    assert image.shape == (5, 3, 2, 3)
    assert image[0, :, 1, 1].tolist() == [10, 0, 30]
    assert image[4, :, 0, 1].tolist() == [50, 50, 50]


def test_owners_from_the_id(grey: Path) -> None:
    data = image_folder(grey, owner_from=r"([a-z]+)_\d")
    assert data.owned_by("ann").ids == ("cats/deep/ann_2.png", "dogs/ann_1.png")
    with pytest.raises(InvalidData, match=r"id 'cats/deep/ann_2.png' tells no owner"):
        image_folder(grey, owner_from="([a-z]+)_1")
    for pattern in ("(", "ann", "(a)(n)"):
        with pytest.raises(SettingsError, match="owner_from"):
            image_folder(grey, owner_from=pattern)


def test_different_sizes_are_refused_by_name_or_resized(grey: Path) -> None:
    save(grey / "dogs" / "big.png", np.full((4, 4), 9))
    with pytest.raises(InvalidData, match=r"'dogs/big.png' in .* is 4 x 4 pixels; expected 2 x 3 as 'cats/ben_1.png'"):
        image_folder(grey)
    assert image_folder(grey, size=2).read("image").shape == (4, 1, 2, 2)
    resized = image_folder(grey, size=(6, 8)).read("image")
    assert resized.shape == (4, 1, 6, 8)
    assert resized[3].unique().tolist() == [9]  # dogs/big.png is one flat grey
    first = resized[2, 0].int()  # dogs/ann_1.png grows to the right and downwards
    assert bool((first.diff(dim=1) >= 0).all() and (first.diff(dim=0) >= 0).all())
    with pytest.raises(SettingsError):
        image_folder(grey, size=0)


def test_what_is_no_picture_is_refused(grey: Path) -> None:
    (grey / "dogs" / "notes.txt").write_text("hello")
    with pytest.raises(InvalidData, match=r"notes.txt' cannot be read as a picture") as caught:
        image_folder(grey)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("ending", ["png", "jpg", "gif", "bmp"])
@pytest.mark.parametrize("share", [0.0, 0.4, 0.7])
def test_a_cut_off_picture_is_refused(tmp_path: Path, ending: str, share: float) -> None:
    file = tmp_path / "a" / f"x.{ending}"
    save(file, np.random.default_rng(0).integers(0, 256, (64, 64)))
    raw = file.read_bytes()
    file.write_bytes(raw[: int(len(raw) * share)])
    with pytest.raises(InvalidData, match=f"x.{ending}' cannot be read"):
        image_folder(tmp_path)


def test_sixteen_bits_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    Image.fromarray(np.full((2, 2), 60_000, np.uint16)).save(tmp_path / "a" / "x.png")
    with pytest.raises(InvalidData, match="pixel type I"):
        image_folder(tmp_path)


def test_a_picture_outside_a_class_is_refused(grey: Path) -> None:
    (grey / "readme.txt").write_text("a file that is no picture may lie there")
    assert len(image_folder(grey)) == 3
    save(grey / "lost.png", [[1]])
    with pytest.raises(InvalidData, match=r"'lost.png' in .* lies outside"):
        image_folder(grey)


def test_empty_and_missing_folders(tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match="no pictures"):
        image_folder(tmp_path)
    (tmp_path / "a").mkdir()
    with pytest.raises(InvalidData, match="no pictures"):
        image_folder(tmp_path)
    with pytest.raises(MissingFile, match="does not exist"):
        image_folder(tmp_path / "none")


def test_without_the_imaging_library_the_message_names_the_extra(grey: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(MissingExtra, match=r"needs PIL; .*pip install 'erasable\[data\]'"):
        image_folder(grey)
