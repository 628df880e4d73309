"""What every built-in set promises: facts, ids, parts, owners, public samples."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from erasable import datasets
from erasable.dataset import Dataset
from erasable.errors import MissingFile, SettingsError, UnknownName

BUNDLED = [datasets.digits, datasets.breast_cancer]


def test_exports_are_functions_and_sorted() -> None:
    assert datasets.__all__ == sorted(datasets.__all__)
    assert all(callable(getattr(datasets, name)) for name in datasets.__all__)


@pytest.mark.parametrize("of", BUNDLED)
def test_parts_partition_the_set(of: Callable[..., Dataset]) -> None:
    train, test, whole = of("train"), of("test"), of("all")
    assert set(train.ids).isdisjoint(test.ids)
    assert set(train.ids + test.ids) == set(whole.ids)
    assert train.digest() == whole.only(train.ids).digest()  # a sample has the same owner in each part
    share = len(test) / len(whole)
    assert share == pytest.approx(0.2, abs=0.002)
    for label in range(len(whole.facts["classes"])):
        assert len(test.where("label", label)) == round(0.2 * len(whole.where("label", label)))


@pytest.mark.parametrize("of", BUNDLED)
def test_facts_are_plain_and_complete(of: Callable[..., Dataset]) -> None:
    data = of("test")
    assert {"inputs", "classes", "low", "high", "scaling", "owners", "source"} <= set(data.facts)
    assert json.loads(json.dumps(data.facts)) == data.facts
    assert data.facts["inputs"] in data.table.columns
    assert (data.facts["owners"], data.facts["scaling"]) == ("synthetic", "nominal")
    assert "CC BY" in data.facts["source"]


@pytest.mark.parametrize("of", BUNDLED)
def test_public_samples_are_a_fixed_number_and_less_is_a_subset_of_more(of: Callable[..., Dataset]) -> None:
    assert len(of("train").public) == 0
    few, many = of("train", public=10).public, of("train", public=40).public
    assert (len(few), len(many)) == (10, 40)
    assert set(few.ids) < set(many.ids)
    assert few.ids != of("train").ids[:10]  # shuffled
    assert len(of("test", public=len(of("test"))).private) == 0


@pytest.mark.parametrize("of", BUNDLED)
@pytest.mark.parametrize("public", [-1, 10_000])
def test_a_wrong_number_of_public_samples_is_refused(of: Callable[..., Dataset], public: int) -> None:
    with pytest.raises(SettingsError, match="declared public; expected 0 to"):
        of("train", public=public)


@pytest.mark.parametrize("of", [*BUNDLED, datasets.mnist, datasets.fashion_mnist, datasets.cifar10])
def test_an_unknown_part_is_refused(of: Callable[..., Dataset]) -> None:
    with pytest.raises(UnknownName, match="no part 'valid'; expected train, test or all"):
        of("valid")


@pytest.mark.parametrize("of", [datasets.mnist, datasets.fashion_mnist, datasets.cifar10])
def test_without_a_folder_the_message_says_how_to_give_one(of: Callable[..., Dataset]) -> None:
    with pytest.raises(MissingFile, match=r"--data-dir .*or set ERASABLE_DATA"):
        of()


@pytest.mark.parametrize(
    ("of", "file", "home"),
    [
        (datasets.mnist, "train-images-idx3-ubyte.gz", "yann.lecun.com"),
        (datasets.fashion_mnist, "train-images-idx3-ubyte.gz", "github.com/zalandoresearch"),
        (datasets.cifar10, "data_batch_1.npz or data_batch_1.bin", "cs.toronto.edu"),
    ],
)
def test_a_missing_file_is_named_with_the_folder_and_its_home(
    of: Callable[..., Dataset], file: str, home: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for given in ({"data_dir": tmp_path}, {}):
        monkeypatch.setenv("ERASABLE_DATA", str(tmp_path))
        with pytest.raises(MissingFile) as caught:
            of(**given)
        message = str(caught.value)
        assert file in message
        assert str(tmp_path) in message
        assert home in message
        assert "\n" not in message


def test_digits_are_those_of_scikit_learn() -> None:
    from sklearn.datasets import load_digits

    data, loaded = datasets.digits("all"), load_digits()
    assert len(data) == 1797
    assert data.ids[42] == "digits/00042"
    image = data.read("image")
    assert (image.shape, str(image.dtype)) == ((1797, 1, 8, 8), "torch.uint8")
    assert (int(image.min()), int(image.max())) == (data.facts["low"], data.facts["high"]) == (0, 16)
    np.testing.assert_array_equal(image[:, 0].numpy(), loaded.images)
    assert str(data.read("label").dtype) == "torch.int64"
    one = datasets.digits("test").ids[3]
    assert int(datasets.digits("test").only([one]).read("label")) == loaded.target[int(one.split("/")[1])]


def test_breast_cancer_has_its_published_ranges() -> None:
    from sklearn.datasets import load_breast_cancer

    data, loaded = datasets.breast_cancer("all"), load_breast_cancer()
    features = data.read("features").numpy()
    assert (features.shape, features.dtype) == ((569, 30), np.float32)
    np.testing.assert_allclose(features, loaded.data, rtol=1e-6)
    np.testing.assert_allclose(data.facts["low"], features.min(0), atol=6e-4)  # the table has three decimals
    np.testing.assert_allclose(data.facts["high"], features.max(0), atol=6e-4)
    assert data.facts["classes"] == ["malignant", "benign"]
    assert len(data.where("label", 0)) == 212
