"""One class that is to go, the models that never had it, and what is measured of others beside them."""

import copy
import time
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
import torch

from erasable.attacks.nearest_neighbour import neighbour_of, recognised
from erasable.dataset import Dataset
from erasable.datasets import fashion_mnist
from erasable.datasets._part import Part
from erasable.network import Network
from erasable.request import Request
from erasable.signals import log_probabilities
from erasable.tasks import Classification
from erasable.train import Recipe
from erasable.unlearner import forget

METHOD = Network(network="convnet widths=8,16,32 groups=4 pool=4", recipe=Recipe(epochs=10, lr=0.01))
PICTURES, TEST = 200, 500  # of each class, on either side
ORACLES, TARGETS = {"development": 6, "reported": 10}, {"development": 4, "reported": 3}
NUMBERS = ("A", "B", "A log", "retained", "erased", "KL")


@dataclass(frozen=True)
class Side:
    """Half of what there is, "development" or "reported". Models are trained when first asked for."""

    name: str
    train: Dataset
    test: Dataset

    @cached_property
    def task(self) -> Any:
        return Classification.of(self.train)

    @cached_property
    def labels(self) -> torch.Tensor:
        return torch.as_tensor(np.asarray(self.test.read("label")))

    @cached_property
    def targets(self) -> list[Any]:
        return list(METHOD.train(self.train, self.task, seeds=range(TARGETS[self.name])))

    @cache  # noqa: B019  (two sides live as long as the process)
    def bench(self, erased: int) -> "Bench":
        request = Request(f"class {erased}", self.train.where("label", erased).ids)
        kept = self.train.without(request.ids)
        oracles = METHOD.train(kept, self.task, seeds=range(1000, 1000 + ORACLES[self.name]))
        again = METHOD.train(kept, self.task, seeds=range(2000, 2000 + TARGETS[self.name]))
        return Bench(self, erased, request, oracles, again)


@dataclass(frozen=True, eq=False)
class Bench:
    """One class, the models that never had it, and what is measured of others beside them."""

    side: Side
    erased: int
    request: Request
    oracles: list[Any]
    again: list[Any]

    def seen(self, models: list[Any]) -> Any:
        fitted = torch.zeros(len(models), len(self.side.test), dtype=torch.bool)
        return log_probabilities(models, self.side.task, self.side.test, fitted=fitted)

    @cached_property
    def reference(self) -> Any:
        return self.seen(self.oracles)

    @cached_property
    def neighbour(self) -> int:
        return neighbour_of(self.reference, self.side.labels, erased=self.erased)

    def measured(self, log_p: Any) -> list[dict[str, float]]:
        """The numbers of each model: accuracies in %, KL(oracle || model) in nats on the erased class."""
        labels = self.side.labels
        gone = labels == self.erased
        attacks: dict[str, Any] = {"A": {}, "B": {"variant": "B"}, "A log": {"features": "log-probabilities"}}
        found = {name: recognised(log_p, labels, erased=self.erased, neighbour=self.neighbour, **each)
                 for name, each in attacks.items()}  # fmt: skip
        right = (log_p.values.argmax(-1) == labels).double()
        known = self.reference.values[:, gone]
        far = [float((known.exp() * (known - each[gone])).sum(-1).mean()) for each in log_p.values]
        found |= {"retained": (100 * right[:, ~gone].mean(1)).tolist(), "KL": far,
                  "erased": (100 * right[:, gone].mean(1)).tolist()}  # fmt: skip
        return [{name: round(found[name][at], 4) for name in NUMBERS} for at in range(len(log_p.values))]

    def after(self, unlearner: Any, targets: dict[int, Any]) -> dict[str, Any]:
        """The same way out of each of the targets, which are named by their seeds."""
        models, seconds = [], []
        for seed, target in targets.items():
            model, receipt = forget(copy.deepcopy(target), self.request, data=self.side.train, unlearner=unlearner,
                                    seed=seed)  # fmt: skip
            models.append(model)
            seconds.append(receipt.seconds)
        return {"models": self.measured(self.seen(models)), "seconds": round(min(seconds), 3)}

    def known(self) -> dict[str, Any]:
        """The oracles, and the further ones that stand for training again."""
        begin = time.perf_counter()
        METHOD.train(self.side.train.without(self.request.ids), self.side.task, seeds=[0])
        seconds = round(time.perf_counter() - begin, 3)
        oracles = self.measured(self.reference)
        for each in oracles:
            each["KL"] *= len(oracles) / (len(oracles) - 1)  # it is zero from itself
        return {"neighbour": self.neighbour, "oracles": oracles,
                "retrain": self.measured(self.seen(self.again)), "seconds": seconds}  # fmt: skip


def sides(data_dir: str | None) -> dict[str, Side]:
    """Development first, then what is reported; all classes equally often."""
    found: dict[str, list[Dataset]] = {"development": [], "reported": []}
    parts: dict[Part, int] = {"train": PICTURES, "test": TEST}
    for part, size in parts.items():
        data = fashion_mnist(part, data_dir=data_dir)
        labels, order = np.asarray(data.read("label")), np.random.default_rng(4).permutation(len(data))
        for place, of in enumerate(found.values()):
            rows = [order[labels[order] == each][place * size : (place + 1) * size] for each in range(10)]
            of.append(data.take(np.sort(np.concatenate(rows))))
    return {name: Side(name, *of) for name, of in found.items()}


def gap(value: float, oracles: list[float]) -> float:
    return abs(value - sum(oracles) / len(oracles))


def score(model: dict[str, float], oracles: list[dict[str, float]]) -> float:
    """What is made least of, in points."""
    by = {name: [each[name] for each in oracles] for name in ("A", "B", "retained", "erased")}
    mean = {name: sum(each) / len(each) for name, each in by.items()}
    return ((gap(model["A"], by["A"]) + gap(model["B"], by["B"])) / 2
            + max(0.0, mean["retained"] - model["retained"]) + max(0.0, model["erased"] - mean["erased"]))  # fmt: skip
