"""A table of the user's own: CSV or Parquet, one row per sample."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from erasable.dataset import Dataset
from erasable.datasets._extra import extra
from erasable.datasets._files import own_file
from erasable.datasets._own import own_dataset
from erasable.datasets._range import Bound
from erasable.errors import InvalidData, nearest_names


def table(
    path: str | Path,
    *,
    id: str,
    label: str,
    owner: str | None = None,
    features: Sequence[str] | None = None,
    low: Bound = None,
    high: Bound = None,
) -> Dataset:
    """features (n, f) float32 and label (n,) from a `.csv` (commas, header line) or `.parquet` file.

    id, owner   columns of text or integers; in CSV they are kept letter for letter ("007" stays "007")
    label       integers, or text, whose names are sorted to become classes
    features    columns of numbers or truth values, in this order; without it all other columns
    low, high   the range to scale from, one or one per feature. Without them each feature's extremes in this table are
                taken, and the fact `scaling` is "fitted": scaling has then seen every row

    Raises MissingFile, MissingExtra, InvalidData: another format, a column that is not there or not numeric, an empty
    cell; naming the id.
    """
    file = own_file(path)
    pa = extra("pyarrow", package="erasable[data]", why="reading tables")
    rows = _read(pa, file, [each for each in (id, owner) if each is not None])
    for each in (id, label, *([] if owner is None else [owner]), *(features or [])):
        if rows.column_names.count(each) != 1:
            raise InvalidData(f"'{file}' has {rows.column_names.count(each)} columns called '{each}'",
                              expected=f"one of {', '.join(rows.column_names)}",
                              do=nearest_names(each, rows.column_names))  # fmt: skip
    if not rows.num_rows:
        raise InvalidData(f"'{file}' has no rows", expected="at least one", do="check the file")
    rest = [each for each in rows.column_names if each not in (id, label, owner)]
    chosen = rest if features is None else list(features)
    if not chosen:
        raise InvalidData(f"'{file}' has no columns besides id, label and owner", expected="at least one feature",
                          do="add the columns that a model reads")  # fmt: skip
    ids = _values(pa, file, rows, id, None)
    inputs = np.empty((rows.num_rows, len(chosen)), np.float32)
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite and is refused by name below
        for at, each in enumerate(chosen):
            values = _values(pa, file, rows, each, ids)
            if values.dtype.kind not in "biuf":
                raise InvalidData(f"feature '{each}' of '{file}' holds {rows.schema.field(each).type}",
                                  expected="numbers", do="list the columns to use as features")  # fmt: skip
            inputs[:, at] = values
    return own_dataset(file.stem, {"features": inputs, "label": _values(pa, file, rows, label, ids)}, ids=ids,
                       owners=None if owner is None else _values(pa, file, rows, owner, ids), low=low, high=high,
                       facts={"features": chosen}, source=f"The file '{file.name}'.")  # fmt: skip


def _read(pa: Any, file: Path, names: Sequence[str]) -> Any:
    """The whole table. `names` are read as text."""
    ending = file.suffix.lower()
    if ending not in {".csv", ".parquet"}:
        raise InvalidData(f"'{file}' ends in '{ending}'", expected=".csv or .parquet", do="convert the table")
    try:
        if ending == ".parquet":
            return extra("pyarrow.parquet", package="erasable[data]", why="reading Parquet").read_table(file)
        csv = extra("pyarrow.csv", package="erasable[data]", why="reading CSV")
        return csv.read_csv(file, convert_options=csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string())))
    except (pa.ArrowException, OSError, KeyError) as error:
        raise InvalidData(f"'{file}' cannot be read ({error})", expected=f"a complete {ending[1:]} file",
                          do="check the file") from error  # fmt: skip


def _values(pa: Any, file: Path, rows: Any, name: str, ids: NDArray[Any] | None) -> NDArray[Any]:
    """One column, (n,), of numbers or text. Raises InvalidData for an empty cell."""
    column = rows.column(name)
    if column.null_count:
        first = column.is_null().to_pylist().index(True)
        where = f"row {first}" if ids is None else f"id '{ids[first]}'"
        raise InvalidData(f"column '{name}' of '{file}' is empty {column.null_count} times, first at {where}",
                          expected="a value in each row", do="fill it in or drop those rows")  # fmt: skip
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_decimal(column.type):
        column = column.cast(pa.float64())
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return np.array(column.to_pylist(), np.str_)
    return np.asarray(column.to_numpy())
