"""An object of the `datasets` library: a stand-in with the few methods that are used, and the real one where it is."""

import sys
from typing import Any

import numpy as np
import pytest
import torch

import erasable.datasets
from erasable.datasets import huggingface
from erasable.errors import InvalidData, SettingsError

source = sys.modules["erasable.datasets.huggingface"]  # the package exports the function under the same name


class StandIn:
    """Column names, length, a format, slices: nothing else may be used."""

    def __init__(self, columns: dict[str, list[Any]], features: dict[str, Any] | None = None) -> None:
        self.columns, self.column_names = columns, list(columns)
        if features is not None:
            self.features = features

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def with_format(self, kind: str, columns: list[str]) -> "StandIn":
        assert kind == "numpy"
        return StandIn({key: self.columns[key] for key in columns})

    def __getitem__(self, rows: slice) -> dict[str, Any]:
        return {key: values[rows] for key, values in self.columns.items()}


class Names:
    names = ("cat", "dog")


ROWS = {
    "key": ["a", "bb", "c"],
    "pixels": [np.full((2, 4, 3), value) for value in (1, 2, 255)],
    "label": [0, 1, 1],
    "person": [7, 7, 8],
    "height": [1.5, 2.5, 3.5],
    "weight": [1, 2, 3],
    "vector": [[1, 2], [3, 4], [5, 6]],
    "text": ["x", "y", "z"],
}


@pytest.fixture(params=[1000, 1, 2])
def rows_at_a_time(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "ROWS", request.param)


@pytest.mark.usefixtures("rows_at_a_time")
def test_pictures_with_ids_owners_and_class_names() -> None:
    data = huggingface(StandIn(ROWS, {"label": Names()}), id="key", image="pixels", owner="person", name="pets")
    assert data.ids == ("a", "bb", "c")
    assert data.owned_by("7").ids == ("a", "bb")
    image = data.read("image")
    assert (image.shape, image.dtype) == ((3, 3, 2, 4), torch.uint8)
    assert image[:, 2, 1, 3].tolist() == [1, 2, 255]
    assert data.facts["classes"] == ["cat", "dog"]
    assert (data.facts["inputs"], data.facts["scaling"], data.facts["owners"]) == ("image", "nominal", "given")


@pytest.mark.usefixtures("rows_at_a_time")
def test_features_and_tokens() -> None:
    several = huggingface(StandIn(ROWS), features=["weight", "height"])
    assert several.read("features").tolist() == [[1, 1.5], [2, 2.5], [3, 3.5]]
    assert several.read("features").dtype == torch.float32
    assert several.facts["scaling"] == "fitted"
    assert several.ids[2] == "huggingface/00002"
    one = huggingface(StandIn(ROWS), features="vector", label="text")
    assert one.read("features").tolist() == [[1, 2], [3, 4], [5, 6]]
    assert one.facts["classes"] == ["x", "y", "z"]
    tokens = huggingface(StandIn(ROWS), tokens="vector", label=None)
    assert (tokens.read("tokens").dtype, set(tokens.table.columns)) == (torch.int64, {"tokens"})


def test_what_cannot_be_used_is_refused() -> None:
    for wrong in ({"train": StandIn(ROWS)}, [1, 2], object()):
        with pytest.raises(InvalidData, match=r"expected a datasets.Dataset"):
            huggingface(wrong, image="pixels")
    with pytest.raises(SettingsError, match="image, features or tokens"):
        huggingface(StandIn(ROWS))
    with pytest.raises(InvalidData, match=r"no column 'pixel'; .*did you mean 'pixels'"):
        huggingface(StandIn(ROWS), image="pixel")
    with pytest.raises(InvalidData, match="no rows"):
        huggingface(StandIn({"label": [], "x": []}), tokens="x")
    with pytest.raises(InvalidData, match="label 1 of id 'huggingface/00001'"):
        huggingface(StandIn(ROWS, {"label": type("One", (), {"names": ["cat"]})()}), image="pixels")


@pytest.mark.usefixtures("rows_at_a_time")
def test_the_first_row_of_another_shape_is_named() -> None:
    uneven = {"tokens": [[1, 2], [3, 4], [5]], "label": [0, 1, 0]}
    with pytest.raises(InvalidData, match="row 2 of 'tokens'"):
        huggingface(StandIn(uneven), tokens="tokens")
    with pytest.raises(InvalidData, match=r"row 1 of 'label' .*nothing missing"):
        huggingface(StandIn({"tokens": [[1], [2], [3]], "label": [0, None, 0]}), tokens="tokens")


def real() -> Any:
    pytest.importorskip("datasets.arrow_dataset", reason="the datasets library is not installed (extra erasable[hf])")
    import datasets

    return datasets


def test_the_real_library_with_numbers_and_names() -> None:
    library = real()
    columns = {key: ROWS[key] for key in ("key", "label", "person", "vector", "height", "text")}
    features = library.Features(
        {
            "key": library.Value("string"),
            "label": library.ClassLabel(names=["cat", "dog"]),
            "person": library.Value("int64"),
            "vector": library.List(library.Value("int64")),
            "height": library.Value("float32"),
            "text": library.Value("string"),
        }
    )
    dataset = library.Dataset.from_dict(columns, features=features)
    data = huggingface(dataset, id="key", owner="person", tokens="vector")
    assert data.ids == ("a", "bb", "c")
    assert data.owners == ("7", "7", "8")
    assert data.read("tokens").tolist() == ROWS["vector"]
    assert data.facts["classes"] == ["cat", "dog"]
    assert huggingface(dataset, features=["height"], label="text").read("features").tolist() == [[1.5], [2.5], [3.5]]
    with pytest.raises(InvalidData, match=r"expected a datasets.Dataset"):
        huggingface(library.DatasetDict({"train": dataset}), tokens="vector")
    with pytest.raises(InvalidData, match=r"expected a datasets.Dataset"):
        huggingface(dataset.to_iterable_dataset(), tokens="vector")
    uneven = library.Dataset.from_dict({"tokens": [[1, 2], [3, 4], [5]], "label": [0, 1, 0]})
    with pytest.raises(InvalidData, match="row 2 of 'tokens'"):
        huggingface(uneven, tokens="tokens")
    missing = library.Dataset.from_dict({"tokens": [[1], [2], [3]], "label": ["x", None, "y"]})
    with pytest.raises(InvalidData, match="row 1 of 'label'"):
        huggingface(missing, tokens="tokens")


def test_the_real_library_with_pictures() -> None:
    library = real()
    imaging = pytest.importorskip("PIL.Image", reason="pictures need pillow, the extra erasable[data]")
    pictures = [imaging.fromarray(pixels.astype(np.uint8)) for pixels in ROWS["pixels"]]
    features = library.Features({"pixels": library.Image(), "label": library.Value("int64")})
    dataset = library.Dataset.from_dict({"pixels": pictures, "label": [0, 1, 1]}, features=features)
    image = huggingface(dataset, image="pixels").read("image")
    assert (image.shape, image.dtype) == ((3, 3, 2, 4), torch.uint8)
    assert image[:, 0, 0, 0].tolist() == [1, 2, 255]


def test_the_function_is_what_the_family_exports() -> None:
    assert erasable.datasets.huggingface is source.huggingface
