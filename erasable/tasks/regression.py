"""Regression: numbers predicted from numbers, by squared error."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from erasable.dataset import Dataset, Rows
from erasable.errors import InvalidData, SettingsError
from erasable.task import Batch, Forward


@dataclass(frozen=True, kw_only=True)
class Regression:
    """Predict the numbers in `target` from `inputs`.

    shape      of one input, such as (features,)
    width      how many numbers are predicted; the column `target` is (samples,) for one, else (samples, width)
    low, high  the nominal range of the inputs, mapped to [-1, 1]; as they are by default. Targets are never scaled
    fitted     low and high were taken from the data themselves, which is then an exposure of its own

    There are no classes: a method that needs a finite set of answers refuses this task.
    """

    shape: tuple[int, ...]
    width: int = 1
    low: float = -1.0
    high: float = 1.0
    inputs: str = "x"
    target: str = "y"
    fitted: bool = False

    def __post_init__(self) -> None:
        if self.width < 1 or not self.shape or min(self.shape) < 1:
            raise SettingsError(f"{self.width} targets, inputs of the shape {self.shape}", expected="positive numbers",
                                do="correct them")  # fmt: skip
        if not -math.inf < self.low < self.high < math.inf:
            raise SettingsError(f"low {self.low} and high {self.high}", expected="finite numbers, low below high",
                                do="correct the range")  # fmt: skip

    @property
    def draws(self) -> int:
        return 0

    def check(self, data: Dataset) -> None:
        """Raises InvalidData: a missing column, another shape."""
        columns: list[tuple[str, list[tuple[int, ...]]]] = [
            (self.inputs, [self.shape]),
            (self.target, [(), (1,)] if self.width == 1 else [(self.width,)]),
        ]
        for column, fitting in columns:
            if column not in data.table.columns:
                raise InvalidData(f"'{data.name}' has no column '{column}'",
                                  expected=f"one of {sorted(data.table.columns)}", do="name the column")  # fmt: skip
            shape = tuple(data.table.columns[column].shape[1:])
            if shape not in fitting:
                raise InvalidData(f"'{column}' of '{data.name}' has the shape {shape} per sample",
                                  expected=" or ".join(map(str, fitting)),
                                  do="bring the data to the model's shape")  # fmt: skip

    def batch(self, data: Dataset, at: Tensor | Rows) -> Batch:
        x, y = data.read(self.inputs, at).float(), data.read(self.target, at).float()
        scaled = (x - (self.low + self.high) / 2) / ((self.high - self.low) / 2)
        return {"inputs": scaled, "targets": y.reshape(-1, self.width)}

    def augment(self, batch: Batch, uniform: Tensor) -> Batch:
        return batch

    def outputs(self, model: Forward, batch: Batch) -> Tensor:
        """What the model predicts, (batch, width)."""
        return model(batch["inputs"])

    def losses(self, model: Forward, batch: Batch) -> Tensor:
        """Squared error, the mean over a sample's targets."""
        return torch.square(self.outputs(model, batch) - batch["targets"]).mean(1)
