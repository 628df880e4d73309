"""A `datasets.Dataset` that the user has loaded, as a data set with names that last. Nothing is fetched."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from erasable.dataset import Dataset
from erasable.datasets._own import own_dataset
from erasable.datasets._range import Bound
from erasable.errors import InvalidData, SettingsError, nearest_names

ROWS = 1000  # converted at a time


def huggingface(
    dataset: Any,
    *,
    id: str | None = None,
    label: str | None = "label",
    image: str | None = None,
    features: str | Sequence[str] | None = None,
    tokens: str | None = None,
    owner: str | None = None,
    low: Bound = None,
    high: Bound = None,
    name: str = "huggingface",
) -> Dataset:
    """Columns of one split (not of a `DatasetDict`), copied into memory.

    image      pictures of one size -> image (n, channels, height, width)
    features   a column of equally long lists, or several columns of numbers -> features (n, f) float32
    tokens     a column of equally long lists of integers -> tokens (n, length) int64
    label      integers or text -> label (n,); class names come with the data if it has them. None: there is none
    id, owner  columns of text or integers; ids default to "<name>/00042"
    low, high  the nominal range of the inputs; without them bytes get 0 and 255, other types their own extremes

    The first of image, features and tokens that is given is the input. The library that loaded the data keeps copies in
    its cache folder: erasing somebody here does not reach those.

    Raises InvalidData: not such an object, a column that is not there, samples of different shapes; SettingsError.
    """
    usable = all(hasattr(dataset, each) for each in ("column_names", "with_format", "__len__", "__getitem__"))
    if not usable or isinstance(dataset, dict):
        raise InvalidData(f"an object of the type {type(dataset).__name__} came", expected="a datasets.Dataset",
                          do="choose one split; a streamed one must be downloaded first")  # fmt: skip
    if image is None and features is None and tokens is None:
        raise SettingsError("no input column was named", expected="image, features or tokens",
                            do=f"choose among {', '.join(dataset.column_names)}")  # fmt: skip
    several = [] if features is None or isinstance(features, str) else list(features)
    single = [each for each in (image, features, tokens, label, id, owner) if isinstance(each, str)]
    for each in (*single, *several):
        if each not in dataset.column_names:
            raise InvalidData(f"'{name}' has no column '{each}'", expected=f"one of {', '.join(dataset.column_names)}",
                              do=nearest_names(each, dataset.column_names))  # fmt: skip
    if not len(dataset):
        raise InvalidData(f"'{name}' has no rows", expected="at least one", do="check how it was filtered")
    read = _read(dataset, list(dict.fromkeys((*single, *several))), name)
    arrays: dict[str, NDArray[Any]] = {}
    if image is not None:
        arrays["image"] = _bytes(read[image])
    if features is not None:
        joined = np.stack([read[each] for each in several], axis=1) if several else read[str(features)]
        arrays["features"] = joined.astype(np.float32)
    if tokens is not None:
        arrays["tokens"] = read[tokens].astype(np.int64)
    if label is not None:
        arrays["label"] = read[label]
    classes = None if label is None else getattr((getattr(dataset, "features", None) or {}).get(label), "names", None)
    return own_dataset(name, arrays, ids=None if id is None else read[id], classes=classes, low=low, high=high,
                       owners=None if owner is None else read[owner],
                       source=f"The Hugging Face data set '{name}'.")  # fmt: skip


def _read(dataset: Any, columns: Sequence[str], name: str) -> dict[str, NDArray[Any]]:
    """Each column as one array, (n, ...), filled slice by slice."""
    n, formatted = len(dataset), dataset.with_format("numpy", columns=list(columns))
    whole: dict[str, NDArray[Any]] = {}
    for start in range(0, n, ROWS):
        part = formatted[start : start + ROWS]
        for key in columns:
            values = _stacked(part[key], key, start, name)
            if values.dtype.kind in "US":  # text: the widest slice decides the width
                whole[key] = values if start == 0 else np.concatenate([whole[key], values])
                continue
            if start == 0:
                whole[key] = np.empty((n, *values.shape[1:]), values.dtype)
            if values.shape[1:] != whole[key].shape[1:]:
                raise InvalidData(f"row {start} of '{key}' in '{name}' has the shape {list(values.shape[1:])}",
                                  expected=f"{list(whole[key].shape[1:])} as row 0",
                                  do="bring all samples to one shape")  # fmt: skip
            whole[key][start : start + len(values)] = values
    return whole


def _stacked(values: Any, key: str, start: int, name: str) -> NDArray[Any]:
    """One slice of a column as an array. Raises InvalidData, naming the first row that differs."""
    if isinstance(values, np.ndarray) and values.dtype.kind in "biufUS":
        return values
    rows = [np.asarray(each) for each in values]
    for at, row in enumerate(rows):
        if row.dtype.kind not in "biufUS" or row.shape != rows[0].shape:
            raise InvalidData(f"row {start + at} of '{key}' in '{name}' is {row.dtype} of the shape {list(row.shape)}",
                              expected=f"{rows[0].dtype} {list(rows[0].shape)} as the others, nothing missing",
                              do="bring all samples to one shape, or drop those without a value")  # fmt: skip
    return np.stack(rows)


def _bytes(pixels: NDArray[Any]) -> NDArray[Any]:
    """Whole numbers from 0 to 255 as bytes: some formats widen them."""
    if pixels.dtype.kind in "iu" and pixels.dtype != np.uint8 and pixels.min() >= 0 and pixels.max() <= 255:
        return pixels.astype(np.uint8)
    return pixels
