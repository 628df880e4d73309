"""The range that inputs are scaled from: nominal where the type tells it, otherwise fitted."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from erasable.dataset import CHUNK_BYTES
from erasable.errors import SettingsError

Bound = float | Sequence[float] | None


def range_facts(column: NDArray[Any], low: Bound = None, high: Bound = None) -> dict[str, Any]:
    """`low`, `high` and `scaling` of a column (n, ...).

    Given bounds and those of bytes (0 and 255) and truth values are "nominal": they tell nothing about anybody. Other
    columns get the smallest and largest value, per feature for tables and one pair for larger shapes, and "fitted":
    scaling has then seen every sample, which is an exposure of its own. A constant feature gets a range of one.

    Raises SettingsError when only one bound is given, low is not below high, or there is not one per feature.
    """
    if (low is None) != (high is None):
        raise SettingsError("only one of low and high was given", expected="both or none", do="give the other as well")
    if low is not None and high is not None:
        bounds = np.asarray(low, np.float64), np.asarray(high, np.float64)
        if any(each.ndim and each.shape != column.shape[1:] for each in bounds) or not (bounds[0] < bounds[1]).all():
            raise SettingsError(f"low {low} and high {high} came for inputs of the shape {list(column.shape[1:])}",
                                expected="one number each, or one per feature, low below high",
                                do="correct the range")  # fmt: skip
        return {"low": bounds[0].tolist(), "high": bounds[1].tolist(), "scaling": "nominal"}
    if column.dtype == np.uint8:
        return {"low": 0, "high": 255, "scaling": "nominal"}
    if column.dtype == np.bool_:
        return {"low": 0, "high": 1, "scaling": "nominal"}
    step = max(1, CHUNK_BYTES // max(1, math.prod(column.shape[1:]) * column.dtype.itemsize))
    axes = 0 if column.ndim == 2 else None
    parts = [column[start : start + step] for start in range(0, len(column), step)]  # views: nothing is read yet
    lowest = np.min([np.min(part, axis=axes) for part in parts], axis=0).astype(np.float64)
    highest = np.max([np.max(part, axis=axes) for part in parts], axis=0).astype(np.float64)
    highest = np.where(highest > lowest, highest, lowest + 1.0)
    return {"low": lowest.tolist(), "high": highest.tolist(), "scaling": "fitted"}
