"""A small trained model with a memory, for tests of storage: keys are recognisable bytes, and weights may move."""

import sys
import types
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

import erasable
from erasable.dataset import Dataset
from erasable.memory import Memory
from erasable.receipt import Exposure

WIDTH = 16  # numbers in a key: 64 bytes


def pattern(i: int) -> bytes:
    """What the key of sample i says, over and over; as float32 these are moderate numbers."""
    return b"PLANTED%07d--" % i


def planted(n: int, *, width: int = WIDTH, owners: int = 10, public: int = 0) -> Dataset:
    """Samples whose column x is `pattern` as float32. The last `public` of them are declared public."""
    raw = b"".join((pattern(i) * (width // 4 + 1))[: 4 * width] for i in range(n))
    return Dataset.of({"x": torch.from_numpy(np.frombuffer(raw, np.float32).reshape(n, width).copy()),
                       "label": torch.arange(n) % 3},
                      [f"s{i}" for i in range(n)], owners=[f"owner {i % owners}" for i in range(n)],
                      public=np.arange(n) >= n - public, name="planted")  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Extra:
    rate: float = 1.0


@dataclass(frozen=True, kw_only=True)
class ToyTask:
    shape: tuple[int, ...] = (WIDTH,)
    classes: int = 3
    draws: int = 0

    def check(self, data: Dataset) -> None: ...

    def batch(self, data: Dataset, at: Any) -> dict[str, Tensor]:
        return {"inputs": data.read("x", at), "labels": data.read("label", at)}

    def augment(self, batch: dict[str, Tensor], uniform: Tensor) -> dict[str, Tensor]:
        return batch

    def losses(self, model: Any, batch: dict[str, Tensor]) -> Tensor:
        return torch.zeros(len(batch["labels"]))

    def logits(self, model: Any, batch: dict[str, Tensor]) -> Tensor:
        return torch.zeros(len(batch["labels"]), self.classes)

    def labels(self, batch: dict[str, Tensor]) -> Tensor:
        return batch["labels"]


class ToyModel(nn.Module):
    """Weights are the mean of the samples it was fitted on; the memory holds every sample's x."""

    def __init__(self, method: "Toy", task: ToyTask, exposure: Exposure, memory: Memory | None, mean: Tensor) -> None:
        super().__init__()
        self.method, self.task, self.exposure, self.memory = method, task, exposure, memory
        self.mean = nn.Parameter(mean, requires_grad=False)
        self.table = nn.Parameter(mean.repeat(8, 1) * torch.arange(1.0, 9.0)[:, None], requires_grad=False)
        self.seen: tuple[str, ...] = ()  # what the last refit was shown

    def forward(self, x: Tensor) -> Tensor:
        return x - self.mean

    def forget(self, ids: Iterable[str], *, data: Dataset | None = None) -> None:
        assert self.memory is not None
        gone = list(ids)
        self.memory.rows(gone)
        if self.method.breaks:
            self.memory.remove(gone[:1])
            raise RuntimeError("half way")
        self.memory.remove(gone)
        if self.method.needs_data:
            assert data is not None
            stay = data.only([each for each in data.ids if each not in set(gone)])
            self.seen = stay.ids
            self.mean.copy_(stay.read("x").mean(0))
            self.table.copy_(self.mean.repeat(8, 1) * torch.arange(1.0, 9.0)[:, None])
            self.exposure = self.exposure.without(gone, self.exposure.parts)
            if self.method.rekeys:  # the encoder changed, so the last row's key does too
                name = self.memory.ids[-1]
                key = self.memory.keys[-1:].clone()
                self.memory.remove([name])
                self.memory.add([name], key / 2, labels=torch.tensor([1]), again=True)


@dataclass(frozen=True, kw_only=True)
class Toy:
    names: tuple[str, ...] = ("encoder", "head")
    extra: Extra = field(default_factory=Extra)
    limit: float | None = None
    forgetful: bool = True
    breaks: bool = False
    rekeys: bool = False
    needs_data: ClassVar[bool] = False

    def train(self, data: Dataset, task: ToyTask, *, seeds: Sequence[int], progress: Any = None) -> list[ToyModel]:
        memory = None
        if self.forgetful:
            memory = Memory(task.shape[0])
            memory.add(data.private.ids, data.private.read("x"), labels=data.private.read("label"))
        parts = {self.names[0]: frozenset(data.public.ids), self.names[1]: frozenset(data.ids[::2])}
        return [self.restore(task, {"mean": data.read("x").mean(0)}, memory, Exposure(parts)) for _ in seeds]

    def restore(self, task: ToyTask, weights: dict[str, Tensor], memory: Memory | None, exposure: Exposure) -> ToyModel:
        kind = ToyModel if memory is not None else ToyPlain
        model = kind(self, task, exposure, memory, weights["mean"].clone())
        model.load_state_dict(weights, strict=False)  # a new one brings the mean alone
        return model


class ToyPlain(ToyModel):
    """Without a memory, so without a way to forget by itself."""

    forget = None  # type: ignore[assignment]


@dataclass(frozen=True, kw_only=True)
class ToyRefit(Toy):
    needs_data: ClassVar[bool] = True


@dataclass(frozen=True)
class Shift:
    """An unlearner that moves every weight."""

    guarantee: ClassVar[str] = "empirical"
    needs: ClassVar[frozenset[str]] = frozenset({"retain"})

    def __call__(self, model: ToyModel, split: Any, task: Any, *, seed: int) -> ToyModel:
        model.seen = split.retain.ids
        model.mean += 1.5
        model.table -= 2.5
        return model


def stub_catalog() -> types.ModuleType:
    module = types.ModuleType("erasable.catalog")
    module.METHODS = {"toy": Toy, "toy-refit": ToyRefit}  # type: ignore[attr-defined]
    module.TASKS = {"toy-task": ToyTask}  # type: ignore[attr-defined]
    names = {Toy: "toy", ToyRefit: "toy-refit", ToyTask: "toy-task"}
    module.name_of = lambda each: names.get(  # type: ignore[attr-defined]
        each if isinstance(each, type) else type(each), "elsewhere:Class"
    )
    return module


def install_catalog() -> None:
    """For processes of their own; tests use monkeypatch."""
    sys.modules["erasable.catalog"] = erasable.catalog = stub_catalog()  # type: ignore[attr-defined]
