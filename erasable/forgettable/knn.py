"""A vote of the nearest neighbours on an ordinary network's features: the control for every retrieval method.

    p(c | x) = share of the `neighbours` stored samples nearest to x whose label is c

Forgetting removes the rows. The encoder was trained on everybody and does not change: the level is `revoked`. A stored
sample is its own nearest neighbour, so whoever asks about a member's own picture learns that it is in the memory.

Reference: Papernot, McDaniel (2018), "Deep k-Nearest Neighbors: Towards Confident, Interpretable and Robust Deep
Learning", arXiv:1803.04765, of which this is the last layer alone, without calibration.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from erasable._plumbing.batching import refuse_unlabelled
from erasable._plumbing.feature_memory import restore_features, train_features
from erasable.dataset import Dataset
from erasable.errors import SettingsError
from erasable.memory import Memory
from erasable.network import Network
from erasable.receipt import Exposure
from erasable.task import LogitTask
from erasable.train import Progress, Recipe


class KNNModel(nn.Module):
    """An encoder with its memory (key = features).

    Calling it gives the logarithms of the vote's shares, (batch, classes); minus infinity for a class without a vote.
    With fewer rows than neighbours all rows vote. Raises InvalidData once no row is left.
    """

    def __init__(self, method: "KNN", task: LogitTask, exposure: Exposure, encoder: nn.Module, memory: Memory) -> None:
        super().__init__()
        self.method, self.task, self.exposure, self.memory = method, task, exposure, memory
        self.encoder = encoder

    def forward(self, x: Tensor) -> Tensor:
        k = max(1, min(self.method.neighbours, len(self.memory)))
        _, rows = self.memory.nearest(self.encoder(x), k, metric=self.method.metric)
        votes = torch.zeros(len(rows), self.task.classes, device=rows.device)
        return votes.scatter_add_(1, self.memory.labels[rows], torch.full_like(rows, 1 / k, dtype=votes.dtype)).log()

    def forget(self, ids: Iterable[str], *, data: Dataset | None = None) -> None:
        """Erase samples. Raises UnknownSample, AlreadyForgotten, EmptyRequest; then nothing has changed."""
        self.memory.remove(ids)


@dataclass(frozen=True, kw_only=True)
class KNN:
    """Settings: those of the ordinary network whose features are used, and of the vote."""

    network: str = "convnet"
    neighbours: int = 10
    metric: Literal["cosine", "l2"] = "cosine"
    recipe: Recipe = field(default_factory=Recipe)
    sequential: bool = False
    needs_data: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.neighbours < 1 or self.metric not in ("cosine", "l2"):
            raise SettingsError(f"neighbours={self.neighbours}, metric='{self.metric}'",
                                expected="at least 1, and 'cosine' or 'l2'", do="correct the settings")  # fmt: skip

    def plain(self) -> Network:
        return Network(network=self.network, recipe=self.recipe, sequential=self.sequential)

    def train(
        self, data: Dataset, task: LogitTask, *, seeds: Sequence[int], progress: Progress | None = None
    ) -> list[KNNModel]:
        refuse_unlabelled(task, self)
        trained = train_features(self.plain(), data, task, seeds=seeds, progress=progress)
        return [KNNModel(self, task, *each).eval() for each in trained]

    def restore(
        self, task: LogitTask, weights: dict[str, Tensor], memory: Memory | None, exposure: Exposure
    ) -> KNNModel:
        return KNNModel(self, task, exposure, *restore_features(self.plain(), task, weights, memory)).eval()
