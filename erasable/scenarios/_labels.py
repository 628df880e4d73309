"""Where the labels are: scenarios that change or compare them need a task that names their column."""

from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from erasable.dataset import Dataset
from erasable.errors import InvalidData, TaskMismatch
from erasable.task import LogitTask


@runtime_checkable
class Labelled(LogitTask, Protocol):
    """A task whose right answers are one column of the data."""

    @property
    def label(self) -> str: ...


def labelled(task: Any, data: Dataset) -> Labelled:
    """The task, checked against the data. Raises TaskMismatch, and InvalidData where the data do not fit it."""
    if not isinstance(task, Labelled):
        raise TaskMismatch(f"{type(task).__name__} has no column of labels", expected="a task such as Classification",
                           do="choose a scenario that needs none, such as a random share")  # fmt: skip
    task.check(data)
    return task


def whole_numbers(data: Dataset, column: str) -> Tensor:
    """A column of one whole number per sample, (n,) int64 on the CPU. Raises InvalidData."""
    values = data.read(column).cpu()
    if values.ndim != 1 or values.is_complex() or bool((values != values.long()).any()):
        raise InvalidData(f"column '{column}' of '{data.name}' holds {values.dtype} of the shape {list(values.shape)}",
                          expected="one whole number per sample", do="choose a column such as the label")  # fmt: skip
    return values.long()
