"""The nearest class mean on an ordinary network's features: the control for every prototype method.

    mu_c = mean of the stored features e_i with y_i = c
    log p(c | x) = -|e - mu_c|^2 / 2 + constant,   over classes that have samples

Forgetting subtracts a sample's features from its class's sum, exactly (`_plumbing/sums.py`), and a class whose samples
are all gone has probability 0. The encoder was trained on everybody, with a head that is then thrown away, and does not
change: the level is `revoked`. A model designed to forget has to beat this to claim anything for its design.

Reference: Mensink, Verbeek, Perronnin, Csurka (2013), "Distance-Based Image Classification: Generalizing to New Classes
at Near-Zero Cost", IEEE TPAMI 35(11). Differs: no metric is learned on top of the features.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from erasable._plumbing.batching import refuse_unlabelled
from erasable._plumbing.feature_memory import restore_features, train_features
from erasable._plumbing.sums import ClassSums
from erasable.dataset import Dataset
from erasable.memory import Memory
from erasable.network import Network
from erasable.receipt import Exposure
from erasable.task import LogitTask
from erasable.train import Progress, Recipe


class NearestMeanModel(nn.Module):
    """An encoder with class means, which are derived from the memory's rows (key = features).

    Calling it gives log-probabilities up to a constant, (batch, classes); minus infinity for a class without samples.
    """

    means: Tensor
    bias: Tensor

    def __init__(
        self, method: "NearestMean", task: LogitTask, exposure: Exposure, encoder: nn.Module, memory: Memory
    ) -> None:
        super().__init__()
        self.method, self.task, self.exposure, self.memory = method, task, exposure, memory
        self.encoder = encoder
        self.sums = ClassSums(task.classes, memory.key_width)
        self.sums.add(memory.keys, memory.labels)
        self.register_buffer("means", torch.zeros(task.classes, memory.key_width), persistent=False)
        self.register_buffer("bias", torch.zeros(task.classes), persistent=False)
        self.fold()

    def fold(self) -> None:
        """Write the class means as a linear head: -|e - mu|^2 / 2 without the |e|^2 that all classes share."""
        self.means.copy_(self.sums.means())
        self.bias.copy_((-0.5 * self.means.square().sum(1)).masked_fill(self.sums.counts == 0, -torch.inf))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(self.encoder(x), self.means, self.bias)

    def forget(self, ids: Iterable[str], *, data: Dataset | None = None) -> None:
        """Erase samples. Raises UnknownSample, AlreadyForgotten, EmptyRequest; then nothing has changed."""
        keys, labels = self.memory.pop(ids)
        self.sums.remove(keys, labels)
        keys.zero_()
        self.fold()


@dataclass(frozen=True, kw_only=True)
class NearestMean:
    """Settings: those of the ordinary network whose features are used."""

    network: str = "convnet"
    recipe: Recipe = field(default_factory=Recipe)
    sequential: bool = False
    needs_data: ClassVar[bool] = False

    def plain(self) -> Network:
        return Network(network=self.network, recipe=self.recipe, sequential=self.sequential)

    def train(
        self, data: Dataset, task: LogitTask, *, seeds: Sequence[int], progress: Progress | None = None
    ) -> list[NearestMeanModel]:
        refuse_unlabelled(task, self)
        trained = train_features(self.plain(), data, task, seeds=seeds, progress=progress)
        return [NearestMeanModel(self, task, *each).eval() for each in trained]

    def restore(
        self, task: LogitTask, weights: dict[str, Tensor], memory: Memory | None, exposure: Exposure
    ) -> NearestMeanModel:
        return NearestMeanModel(self, task, exposure, *restore_features(self.plain(), task, weights, memory)).eval()
