"""The user's own arrays as a data set: layout, names, labels and facts."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from erasable.dataset import Column, Dataset
from erasable.datasets._labels import label_column
from erasable.datasets._range import Bound, range_facts
from erasable.errors import InvalidData

CHANNELS = (1, 3, 4)  # what a colour axis can be: grey, colour, colour with transparency
Names = Sequence[str] | NDArray[Any]


def own_dataset(
    name: str,
    arrays: Mapping[str, NDArray[Any]],
    *,
    source: str,
    ids: Names | None = None,
    owners: Names | None = None,
    classes: Sequence[str] | None = None,
    low: Bound = None,
    high: Bound = None,
    facts: Mapping[str, Any] | None = None,
) -> Dataset:
    """A data set of arrays (n, ...), memory-mapped ones left where they are.

    An array called `label` becomes int64 with class names, one called `image` is presented as (n, channels, height,
    width); the first that is not the label is the input. Without `ids` samples are called "<name>/00042".

    Raises InvalidData, SettingsError.
    """
    inputs = next((key for key in arrays if key != "label"), None)
    if inputs is None:
        raise InvalidData(f"'{name}' has the columns {sorted(arrays)}", expected="inputs besides the label",
                          do="name the column that a model reads")  # fmt: skip
    if any(array.ndim == 0 for array in arrays.values()) or not len(arrays[inputs]):
        raise InvalidData(f"'{name}' has no samples", expected="at least one row in each column", do="check the source")
    n = len(arrays[inputs])
    called = np.array([f"{name}/{row:05d}" for row in range(n)]) if ids is None else as_names(ids, f"ids of '{name}'")
    if len(called) != n:
        raise InvalidData(f"'{name}' has {len(called)} ids", expected=f"{n}, one per row of '{inputs}'",
                          do="check that both come from the same samples")  # fmt: skip
    who = None if owners is None else as_names(owners, f"owners of '{name}'", called)
    laid_out = {key: image_layout(array) if key == "image" else array for key, array in arrays.items()}
    columns: dict[str, Column] = {
        key: array if isinstance(array, np.memmap) else _tensor(name, key, array)
        for key, array in laid_out.items() if key != "label"
    }  # fmt: skip
    noted: dict[str, Any] = {"inputs": inputs, "owners": "none" if who is None else "given", "source": source}
    noted |= range_facts(laid_out[inputs], low, high)
    if "label" in arrays:
        columns["label"], noted["classes"] = label_column(arrays["label"], called, name, classes)
    return Dataset.of(columns, called, owners=who, name=name, facts=noted | dict(facts or {}))


def image_layout(array: NDArray[Any]) -> NDArray[Any]:
    """A view (n, channels, height, width) of pictures that come without a channel axis, or with it at the end."""
    if array.ndim == 3:
        return array[:, None]
    if array.ndim == 4 and array.shape[3] in CHANNELS and array.shape[1] not in CHANNELS:
        return array.transpose(0, 3, 1, 2)
    return array


def as_names(values: Names, what: str, ids: NDArray[np.str_] | None = None) -> NDArray[np.str_]:
    """Text or integers as names, (n,). Raises InvalidData: other types, an empty name (by id where known)."""
    array = np.asarray(values)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1 or array.dtype.kind not in "USiu":
        raise InvalidData(f"{what} are {array.dtype} of the shape {list(array.shape)}",
                          expected="one text or integer per sample", do="choose another column")  # fmt: skip
    try:
        names = np.char.decode(array, "utf-8") if array.dtype.kind == "S" else array.astype(np.str_)
    except UnicodeDecodeError as error:
        raise InvalidData(f"{what} are bytes that are not UTF-8", expected="readable names",
                          do="store them as text") from error  # fmt: skip
    empty = np.flatnonzero(names == "")
    if len(empty):
        where = f"row {empty[0]}" if ids is None else f"id '{ids[empty[0]]}'"
        raise InvalidData(f"{what} are empty {len(empty)} times, first at {where}", expected="a name for each sample",
                          do="fill it in or drop those samples")  # fmt: skip
    return np.asarray(names, np.str_)


def _tensor(name: str, key: str, array: NDArray[Any]) -> torch.Tensor:
    try:
        native = array.astype(array.dtype.newbyteorder("="), copy=False)
        return torch.from_numpy(np.require(native, requirements=["C", "W"]))
    except TypeError as error:
        raise InvalidData(f"column '{key}' of '{name}' holds {array.dtype}", expected="numbers",
                          do="choose another column, or convert it first") from error  # fmt: skip
