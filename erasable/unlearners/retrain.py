"""Train again from scratch on what stays: the definition of forgetting, and its price.

    train on the retained data, from fresh weights, with the model's own settings

Cost: a whole training, times retained / all. Fails when: the retained data are gone, or there is no time. One retrained
model shows seed noise as if it were an effect; comparisons need a population of them (`population.oracles`).
The number of epochs is the same as before, so there are fewer steps; nothing is taken over from the old weights.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from erasable.errors import TaskMismatch
from erasable.receipt import Level
from erasable.request import Split
from erasable.task import Task
from erasable.unlearner import Needs, Trained


@dataclass(frozen=True, kw_only=True)
class Retrain:
    """A new model by the old model's method. Raises TaskMismatch for a model that does not know its method."""

    guarantee: ClassVar[Level] = "exact"
    needs: ClassVar[Needs] = frozenset({"retain"})

    def __call__(self, model: nn.Module, split: Split, task: Task, *, seed: int) -> nn.Module:
        if not isinstance(model, Trained):
            raise TaskMismatch(f"a {type(model).__name__} does not know how it was trained",
                               expected="a model that a method of Erasable trained",
                               do="train it with Network(...) first")  # fmt: skip
        retrained: nn.Module = model.method.train(split.retain, task, seeds=[seed])[0]
        return retrained
