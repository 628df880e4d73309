"""The ordinary network: a Method without a memory, the one that unlearners change and that others are compared with."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from erasable._plumbing.architecture import build_encoder
from erasable._plumbing.seeds import seeded
from erasable._plumbing.settings import LATER
from erasable.dataset import Dataset
from erasable.errors import SettingsError
from erasable.memory import Memory
from erasable.population import train_members
from erasable.receipt import Exposure
from erasable.task import Batch, Forward, LogitTask, OutputTask, Task
from erasable.train import Progress, Recipe, Supervised


class Classifier(nn.Module):
    """An encoder with a linear head: (batch, *shape) -> (batch, classes) logits, or as many numbers."""

    def __init__(self, encoder: nn.Module, classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(int(encoder.width), classes)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(x))  # type: ignore[no-any-return]


class NetworkModel(nn.Module):
    """A trained network with its exposure. No memory: only an unlearner can make it forget."""

    memory: Memory | None = None

    def __init__(self, method: "Network", task: Task, exposure: Exposure, network: nn.Module) -> None:
        super().__init__()
        self.method, self.task, self.exposure = method, task, exposure
        self.network = network

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.network(*inputs)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Restricted(Supervised):
    """Plain training that avoids steep places:  mean loss + penalty * sum over tensors of ||gradient of it||_2.

    Gradients of gradients need a second pass backward through the first. Members cannot share one: a population's
    forward pass does not show its weights. Reference: Liu, Wu, Lian, Chen (2025), arXiv:2507.23257, as released, where
    each tensor has a norm of its own; one norm over all of them would be smaller.
    """

    penalty: float

    def loss(self, forward: Forward, batch: Batch) -> tuple[Tensor, Batch]:
        assert isinstance(forward, nn.Module)  # trained alone
        loss, seen = super().loss(forward, batch)
        weights = [each for each in forward.parameters() if each.requires_grad]
        gradients = torch.autograd.grad(loss, weights, create_graph=True, allow_unused=True)
        norms = [torch.linalg.vector_norm(each) for each in gradients if each is not None]
        return loss + self.penalty * torch.stack(norms).sum(), seen


@dataclass(frozen=True, kw_only=True)
class Network:
    """Train `network` (see `_plumbing/architecture.py`) by the task's own losses.

    gradient_penalty  adds that many times the length of the loss's gradient, summed over tensors (`Restricted`), so
                      that single steps behave: the gradient restriction of IAU, published at 0.005. A step takes two to
                      three times as long, and populations are trained one after another
    """

    network: str = "convnet"
    recipe: Recipe = field(default_factory=Recipe)
    sequential: bool = False
    gradient_penalty: float = field(default=0.0, metadata=LATER)
    needs_data: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not 0 <= self.gradient_penalty < math.inf:
            raise SettingsError(f"gradient_penalty={self.gradient_penalty}", expected="a number of at least 0",
                                do="correct it")  # fmt: skip

    def build(self, task: Task) -> nn.Module:
        """A fresh network for the task; classes and numbers get a linear head, other tasks bring a complete network."""
        shape: tuple[int, ...] = task.shape  # type: ignore[attr-defined]
        encoder = build_encoder(self.network, shape, vocabulary=getattr(task, "vocabulary", None))
        if isinstance(task, LogitTask):
            return Classifier(encoder, task.classes)
        return Classifier(encoder, task.width) if isinstance(task, OutputTask) else encoder

    def train(
        self, data: Dataset, task: Task, *, seeds: Sequence[int], progress: Progress | None = None
    ) -> list[NetworkModel]:
        return self.train_subsets(data, task, seeds=seeds, subsets=None, progress=progress)

    def train_subsets(
        self, data: Dataset, task: Task, *, seeds: Sequence[int], subsets: Tensor | None,
        progress: Progress | None = None,
    ) -> list[NetworkModel]:  # fmt: skip
        """Member i on the samples at positions `subsets[i]` (members, m) alone; all on all of them when None."""
        plain, penalty = Supervised(lambda: self.build(task), task), self.gradient_penalty
        objective = Restricted(plain.architecture, task, penalty) if penalty else plain
        trained = train_members(objective, data, self.recipe, seeds=seeds, subsets=subsets,
                                sequential=self.sequential or penalty > 0, progress=progress)  # fmt: skip
        whole = Exposure.trained({"network": data.ids}, data.ids, task)
        models = []
        for i, (network, _) in enumerate(trained):
            ids = () if subsets is None else data.take(subsets[i]).ids
            exposure = whole if subsets is None else Exposure.trained({"network": ids}, ids, task)
            models.append(NetworkModel(self, task, exposure, network).eval())
        return models

    def restore(
        self, task: Task, weights: dict[str, Tensor], memory: Memory | None, exposure: Exposure
    ) -> NetworkModel:
        with seeded(0, "restore"):  # initial weights, which are replaced: not from anyone else's random numbers
            network = self.build(task)
        model = NetworkModel(self, task, exposure, network)
        model.load_state_dict(weights)
        return model.eval().requires_grad_(False)
