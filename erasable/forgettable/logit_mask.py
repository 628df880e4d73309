"""An ordinary network that no longer names a class whose samples are all gone: forgetting as a curtain.

    p(c | x) = softmax over the classes that have samples left

The simplest thing that reaches an accuracy of 0 on a forgotten class, without any forgetting: no weight changes, a
single sample's departure shows nowhere, and whoever holds the weights lifts the mask. It stands in tables of class-wise
forgetting: a measure that cannot tell it from a retrained model is no measure. The level is `revoked`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from erasable._plumbing.batching import labels_of, refuse_unlabelled
from erasable._plumbing.seeds import seeded
from erasable.dataset import Dataset
from erasable.errors import CorruptRun
from erasable.memory import Memory
from erasable.network import Network
from erasable.receipt import Exposure
from erasable.task import LogitTask
from erasable.train import Progress, Recipe


class LogitMaskModel(nn.Module):
    """A network and a list of who is in: the memory's rows hold a label each and an empty key.

    Calling it gives logits, (batch, classes), with minus infinity for a class without samples.
    """

    counts: Tensor

    def __init__(
        self, method: "LogitMask", task: LogitTask, exposure: Exposure, network: nn.Module, memory: Memory
    ) -> None:
        super().__init__()
        self.method, self.task, self.exposure, self.memory = method, task, exposure, memory
        self.network = network
        self.register_buffer("counts", torch.bincount(memory.labels, minlength=task.classes), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network(x)
        return logits.masked_fill(self.counts == 0, -torch.inf)

    def forget(self, ids: Iterable[str], *, data: Dataset | None = None) -> None:
        """Erase samples. Raises UnknownSample, AlreadyForgotten, EmptyRequest; then nothing has changed."""
        self.memory.remove(ids)
        self.counts = torch.bincount(self.memory.labels, minlength=self.task.classes)


@dataclass(frozen=True, kw_only=True)
class LogitMask:
    """Settings: those of the ordinary network."""

    network: str = "convnet"
    recipe: Recipe = field(default_factory=Recipe)
    sequential: bool = False
    needs_data: ClassVar[bool] = False

    def plain(self) -> Network:
        return Network(network=self.network, recipe=self.recipe, sequential=self.sequential)

    def train(
        self, data: Dataset, task: LogitTask, *, seeds: Sequence[int], progress: Progress | None = None
    ) -> list[LogitMaskModel]:
        refuse_unlabelled(task, self)
        exposure = Exposure.trained({"encoder": data.ids}, data.ids, task)
        models = []
        for model in self.plain().train(data, task, seeds=seeds, progress=progress):
            memory = Memory(1)
            memory.add(data.ids, torch.zeros(len(data), 1), labels=labels_of(task, data))
            models.append(LogitMaskModel(self, task, exposure, model.network, memory).eval())
        return models

    def restore(
        self, task: LogitTask, weights: dict[str, Tensor], memory: Memory | None, exposure: Exposure
    ) -> LogitMaskModel:
        if memory is None:
            raise CorruptRun("a masked network without its memory", expected="the samples that are left",
                             do="restore the run folder from a backup")  # fmt: skip
        with seeded(0, "restore"):
            network = self.plain().build(task)
        model = LogitMaskModel(self, task, exposure, network, memory)
        model.load_state_dict(weights)
        return model.eval().requires_grad_(False)
