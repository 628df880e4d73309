"""Labels of any spelling, as the integers that a loss wants."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from erasable.errors import InvalidData

MOST_CLASSES = 100_000  # more distinct labels than this are a column of something else


def label_column(
    values: NDArray[Any], ids: Sequence[str] | NDArray[Any], name: str, classes: Sequence[str] | None = None
) -> tuple[Tensor, list[str]]:
    """Labels (n,) int64 and the class names they index.

    Text becomes its position among the sorted names. Numbers stay what they are; without `classes` their names are
    "0", "1", ... up to the largest. A trailing axis of length one is dropped.

    Raises InvalidData: a negative label, a fraction, one beyond `classes`, several labels per sample; naming the id.
    """
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        raise InvalidData(f"labels of '{name}' have the shape {list(values.shape)}", expected="one label per sample",
                          do="choose a column with a single number or name")  # fmt: skip
    if len(values) != len(ids):
        raise InvalidData(f"'{name}' has {len(values)} labels", expected=f"{len(ids)}, one per id",
                          do="check that both come from the same samples")  # fmt: skip
    if values.dtype.kind in "US":
        names, positions = np.unique(values.astype(np.str_), return_inverse=True)
        return torch.from_numpy(positions.astype(np.int64)), names.tolist()
    if values.dtype.kind == "b":
        return torch.from_numpy(values.astype(np.int64)), ["False", "True"]
    if values.dtype.kind not in "iuf":
        raise InvalidData(f"labels of '{name}' hold {values.dtype}", expected="integers or text",
                          do="choose another label column")  # fmt: skip
    limit = MOST_CLASSES if classes is None else len(classes)
    with np.errstate(invalid="ignore"):  # NaN is refused below, by name
        bad = ~((values >= 0) & (values < limit) & (values == np.floor(values)))
    if bad.any():
        at = int(np.flatnonzero(bad)[0])
        raise InvalidData(f"label {values[at]} of id '{ids[at]}' in '{name}' is not a class number",
                          expected=f"an integer from 0 to {limit - 1}",
                          do="correct that label or choose another column")  # fmt: skip
    numbers = values.astype(np.int64)
    names_found = [str(each) for each in range(int(numbers.max(initial=-1)) + 1)] if classes is None else list(classes)
    return torch.from_numpy(numbers), names_found
