"""Do nothing: the first row of every table.

A method that cannot be told from this one has not unlearned, and an attack that cannot tell this one from a retrained
model measures nothing.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from erasable.receipt import Level
from erasable.request import Split
from erasable.task import Task
from erasable.unlearner import Needs


@dataclass(frozen=True, kw_only=True)
class Nothing:
    """The model as it is."""

    guarantee: ClassVar[Level] = "empirical"
    needs: ClassVar[Needs] = frozenset()

    def __call__(self, model: nn.Module, split: Split, task: Task, *, seed: int) -> nn.Module:
        return model
