"""Forgetting a class of Fashion-MNIST whose neighbours stay: pictures, models, oracles, and accuracy near and far.

Two questions, "subclass" (coarse labels, a fine class goes) and "class"; see `near_and_far.py`. Reported and
development classes have pictures of their own, 2,000 to train and 3,000 to test, at half resolution.
"""

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from erasable.dataset import Dataset
from erasable.datasets import fashion_mnist
from erasable.evidence import Evidence
from erasable.network import Network
from erasable.probe import Probe
from erasable.request import Request
from erasable.signals import log_probabilities
from erasable.tasks import Classification
from erasable.train import Recipe

NAMES = ("T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
LABELS, LABEL = ("tops", "shoes", "others"), (0, 2, 0, 2, 0, 1, 0, 1, 2, 1)
REPORTED, DEVELOPMENT = (6, 5, 3), (4, 9, 8)  # a top, a shoe and one of the others
METHOD = Network(network="convnet widths=8,16,32 groups=4 pool=3", recipe=Recipe(epochs=20))
TARGETS, ORACLES, SHARE = 3, 9, 0.1


@dataclass(frozen=True, eq=False)
class Case:
    """A class to forget: models that know it, oracles that do not, and the test pictures by fine class."""

    part: str
    value: int
    probe: Probe
    test: Dataset
    targets: list[Any]
    oracles: list[Any]
    again: list[Any]
    near: tuple[int, ...] = ()

    def says(self, models: list[Any], data: Dataset) -> Evidence:
        """Log-probabilities; who was trained on what does not matter here."""
        fitted = torch.zeros(len(models), len(data), dtype=torch.bool)
        return log_probabilities(models, self.probe.task, data, fitted=fitted)

    def by_class(self, models: list[Any]) -> Tensor:
        """Accuracy on each fine class of the test pictures, (models, 10) in %."""
        right = self.says(models, self.test).values.argmax(dim=2) == self.test.read("label")
        fine = self.test.read("fine")
        return torch.stack([100 * right[:, fine == each].float().mean(dim=1) for each in range(10)], dim=1)

    def parts(self, accuracy: Tensor) -> dict[str, Tensor]:
        """From (..., 10): the forgotten class, the means of the adjacent, the remote and all retained, the lowest."""
        kept = [each for each in range(10) if each != self.value]
        far = [each for each in kept if each not in self.near]
        return {"forgotten": accuracy[..., self.value], "adjacent": accuracy[..., list(self.near)].mean(-1),
                "remote": accuracy[..., far].mean(-1), "mean": accuracy[..., kept].mean(-1),
                "worst": accuracy[..., kept].min(-1).values}  # fmt: skip


def made(data: Dataset, at: Any, part: str) -> Dataset:
    """Half the resolution, and the labels of the question."""
    data = data.take(at)
    fine = data.read("label")
    image = avg_pool2d(data.read("image").float(), 2).round().to(torch.uint8)
    label = torch.tensor(LABEL)[fine] if part == "subclass" else fine
    names = LABELS if part == "subclass" else NAMES
    return Dataset.of({"image": image, "label": label, "fine": fine}, data.ids, name=f"Fashion-MNIST, {part}",
                      facts={**data.facts, "classes": list(names)})  # fmt: skip


@cache
def pictures(part: str, reported: bool, folder: str | None) -> tuple[Dataset, Dataset]:
    pick, (train, test) = np.random.default_rng(0), (fashion_mnist(each, data_dir=folder) for each in ("train", "test"))
    of_train, of_test = pick.permutation(len(train)), pick.permutation(len(test))
    first = 0 if reported else 1
    return (made(train, of_train[2_000 * first :][:2_000], part), made(test, of_test[3_000 * first :][:3_000], part))


@cache
def known(part: str, reported: bool, folder: str | None) -> list[Any]:
    data, _ = pictures(part, reported, folder)
    return METHOD.train(data, Classification.of(data), seeds=range(TARGETS if reported else 1))


@cache
def case(part: str, value: int, folder: str | None) -> Case:
    reported = value in REPORTED
    data, test = pictures(part, reported, folder)
    task, ids = Classification.of(data), data.where("fine", value).ids
    request = Request(f"{NAMES[value]}, a {part}", ids)
    seeds = range(1000, 1000 + (ORACLES if reported else 6))
    others = METHOD.train(data.without(ids), task, seeds=[*seeds, *(range(2000, 2000 + TARGETS) if reported else ())])
    found = Case(part, value, Probe.of(request, data, test, task), test, known(part, reported, folder),
                 others[: len(seeds)], others[len(seeds) :])  # fmt: skip
    if part == "subclass":
        return replace(found, near=tuple(i for i in range(10) if LABEL[i] == LABEL[value] and i != value))
    answers = found.says(found.oracles, test.where("fine", value)).values.argmax(dim=2)
    shares = torch.bincount(answers.flatten(), minlength=10) / answers.numel()
    return replace(found, near=tuple(i for i in range(10) if shares[i] >= SHARE))
