"""Coloured pictures: shares, colours and pixels by hand, what decides them, and the scenario that asks for them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from erasable.dataset import Dataset
from erasable.datasets import coloured, digits, mnist
from erasable.datasets.coloured import palette
from erasable.errors import InvalidData, SettingsError
from erasable.scenarios import BiasConflicting
from erasable.tasks import Classification


def grey(
    n: int = 90,
    *,
    classes: int = 3,
    low: float = 0,
    dtype: torch.dtype = torch.uint8,
    shape: tuple[int, ...] = (1, 2, 2),
) -> Dataset:
    """Picture i is filled with low + i; labels take turns."""
    fill = (low + torch.arange(n)).to(dtype).view(n, *[1] * len(shape)).expand(n, *shape)
    facts = {"inputs": "x", "classes": [str(each) for each in range(classes)], "low": low, "high": low + 255}
    return Dataset.of({"x": fill.contiguous(), "label": torch.arange(n) % classes}, [f"g{i:03d}" for i in range(n)],
                      owners=[f"p{i % 7}" for i in range(n)], name="grey", facts=facts)  # fmt: skip


def conflicts(data: Dataset) -> torch.Tensor:
    return data.read("colour") != data.read("label")


@given(st.integers(2, 80), st.integers(2, 5), st.sampled_from([0.0, 0.5, 0.9, 0.995, 1.0]), st.integers(0, 3))
def test_each_class_has_its_share(n: int, classes: int, biased: float, seed: int) -> None:
    data = coloured(grey(n, classes=classes), biased=biased, seed=seed)
    for each in range(classes):
        of_class = conflicts(data.where("label", each))
        assert int((~of_class).sum()) == int(biased * len(of_class) + 1e-9)
    assert data.read("colour").min() >= 0
    assert data.read("colour").max() < classes


def test_conflicting_pictures_wear_every_other_colour() -> None:
    data = coloured(grey(1200), biased=0.0).where("label", 1)
    assert torch.bincount(data.read("colour"), minlength=3)[1] == 0
    counts = torch.bincount(data.read("colour"), minlength=3)[[0, 2]]
    assert abs(int(counts[0]) - 200) < 60  # 6 standard deviations of 10


def test_pixels_by_hand() -> None:
    """Three classes: red, green, blue."""
    assert palette(3).tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    data = coloured(grey(6), biased=1.0)
    image = data.read("image")
    assert (image.shape, image.dtype) == ((6, 3, 2, 2), torch.uint8)
    assert image[4, :, 1, 1].tolist() == [0, 4, 0]
    assert image[5, :, 0, 1].tolist() == [0, 0, 5]
    lifted = coloured(grey(6, low=-1, dtype=torch.float32), biased=1.0).read("image")  # -1 is black
    assert lifted[4, :, 0, 0].tolist() == [-1, 3, -1]
    pale = coloured(grey(6), biased=1.0, saturation=0.5).read("image")
    assert pale[4, :, 0, 0].tolist() == [2, 4, 2]
    six = coloured(grey(60, classes=6), biased=1.0).read("image")
    assert six[7, :, 0, 0].tolist() == [7, 7, 0]  # the second hue of six is yellow


def test_the_rest_stays_as_it_was() -> None:
    before = grey().declare_public(["g004", "g010"])
    after = coloured(before, biased=0.5, seed=4)
    assert after.ids == before.ids
    assert after.owners == before.owners
    assert set(after.public.ids) == {"g004", "g010"}
    assert torch.equal(after.read("label"), before.read("label"))
    assert set(after.table.columns) == {"image", "label", "colour"}
    assert {
        "inputs": "image",
        "biased": 0.5,
        "colour_seed": 4,
        "classes": ["0", "1", "2"],
    }.items() <= after.facts.items()
    task = Classification.of(after)
    task.check(after)
    assert task.shape == (3, 2, 2)


def test_seed_and_ids_decide_not_the_order() -> None:
    data = grey()
    one, again, other = (coloured(data, biased=0.5, seed=seed) for seed in (1, 1, 2))
    assert one.digest() == again.digest()
    assert not torch.equal(one.read("colour"), other.read("colour"))
    shuffled = coloured(data.take(torch.randperm(90, generator=torch.Generator().manual_seed(0))), biased=0.5, seed=1)
    assert shuffled.take(np.argsort(shuffled.ids)).digest() == one.digest()


def test_a_larger_share_keeps_what_a_smaller_one_aligned() -> None:
    few, many = (coloured(grey(), biased=biased) for biased in (0.4, 0.8))
    assert bool((conflicts(few) | ~conflicts(many)).all())
    assert torch.equal(few.read("colour")[conflicts(many)], many.read("colour")[conflicts(many)])


def test_the_scenario_asks_for_the_conflicting_ones() -> None:
    data, test = coloured(digits("train"), biased=0.9), coloured(digits("test"), biased=0.5)
    assert int(data.read("image").max()) == 16
    scenario = BiasConflicting(column="colour", share=1.0)(data, Classification.of(data), seed=0, test=test)
    assert set(scenario.request.ids) == set(data.take(torch.nonzero(conflicts(data)).flatten()).ids)
    in_test = scenario.groups["bias-conflicting in the test data"]
    assert set(in_test.ids) == set(test.take(torch.nonzero(conflicts(test)).flatten()).ids)


def test_published_digits(published: Path) -> None:
    data = coloured(mnist("train", data_dir=published))
    assert data.read("image").shape == (60_000, 3, 28, 28)
    assert 300 <= int(conflicts(data).sum()) <= 310  # half a per cent, rounded up in each class
    assert len(data.owners or ()) == 60_000


@pytest.mark.parametrize("biased", [-0.1, 1.1, float("nan")])
def test_a_share_is_a_share(biased: float) -> None:
    with pytest.raises(SettingsError, match="expected a share from 0 to 1"):
        coloured(grey(), biased=biased)


@pytest.mark.parametrize("saturation", [0, 1.1, float("nan")])
def test_grey_is_no_colour(saturation: float) -> None:
    with pytest.raises(SettingsError, match="expected above 0"):
        coloured(grey(), saturation=saturation)


def test_other_data_are_refused() -> None:
    for data, message in (
        (grey(shape=(3, 2, 2)), "expected grey pictures"),
        (grey(shape=(4,)), "expected grey pictures"),
        (grey(classes=1), "1 classes"),
        (Dataset.of({"x": torch.zeros(2, 1, 2, 2)}, ["a", "b"]), "does not tell its inputs and classes and low"),
        (
            grey().replace("label", ["g004"], torch.tensor([3])),
            "has the value 3; expected whole numbers from 0 to 2",
        ),
        (grey(), "no column 'kind'"),
    ):
        with pytest.raises(InvalidData, match=message) as caught:
            coloured(data, label="kind" if "kind" in message else "label")
        assert "\n" not in str(caught.value)
    with pytest.raises(InvalidData, match=r"has the shape \[90, 1, 2, 2\]"):
        coloured(grey(), label="x")
