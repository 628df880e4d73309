"""What a sample means to a model: the one place that knows the modality.

A method written against `Task.losses` works for pictures, text and tables alike. Everything a training step needs is a
tensor operation on a whole batch, so that `torch.func` can train many models in one loop.
"""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from torch import Tensor

from erasable.dataset import Dataset, Rows

Batch = dict[str, Tensor]
Forward = Callable[..., Tensor]  # a network, or a network with its parameters given by hand


@runtime_checkable
class Task(Protocol):
    """What every method may rely on."""

    @property
    def draws(self) -> int:
        """Uniform numbers in [0, 1) that `augment` uses per sample; 0 for no augmentation."""
        ...

    def check(self, data: Dataset) -> None:
        """Raise InvalidData where the data do not fit the task."""
        ...

    def batch(self, data: Dataset, at: Tensor | Rows) -> Batch:
        """The samples at positions `at`: each tensor has them on its first axis."""
        ...

    def augment(self, batch: Batch, uniform: Tensor) -> Batch:
        """A random variant of each sample, decided by `uniform` (batch, draws) alone."""
        ...

    def losses(self, model: Forward, batch: Batch) -> Tensor:
        """One loss per sample, (batch,)."""
        ...


@runtime_checkable
class LogitTask(Task, Protocol):
    """A task with a finite set of answers."""

    @property
    def classes(self) -> int: ...

    def logits(self, model: Forward, batch: Batch) -> Tensor:
        """Unnormalised log-probabilities, (batch, classes)."""
        ...

    def labels(self, batch: Batch) -> Tensor:
        """The right answers, (batch,) integers."""
        ...


@runtime_checkable
class OutputTask(Task, Protocol):
    """A task whose answer is numbers."""

    @property
    def width(self) -> int:
        """How many numbers are predicted for a sample."""
        ...

    def outputs(self, model: Forward, batch: Batch) -> Tensor:
        """What the model predicts, (batch, width)."""
        ...
