"""The data and networks of `coloured_digits.py`, and what is measured on them."""

from functools import cache
from typing import Any

import torch
from coloured_ways import CLASSES
from torch import Tensor

from erasable import Network, Recipe
from erasable._plumbing.seeds import generator
from erasable.dataset import Dataset
from erasable.datasets import coloured, mnist
from erasable.tasks import Classification

PICTURES, TESTS, BIASED, SATURATION = 10_000, 5_000, 0.995, 0.125
METHOD = Network(network="convnet widths=8,16,32 groups=4 pool=4", recipe=Recipe(epochs=10))
UNITS = {"reported": [(kind, seed) for kind in (2, 5, 8) for seed in (0, 1, 2)],
         "development": [(kind, seed) for kind in (3, 7) for seed in (100, 101)]}  # fmt: skip
PLACE: dict[str, str | None] = {"data_dir": None}


@cache
def data_of(stage: str) -> tuple[Dataset, Dataset]:
    """(train, test). No picture is in both stages."""
    second = stage == "development"
    parts = []
    for part, size, biased in (("train", PICTURES, BIASED), ("test", TESTS // 2 if second else TESTS, 0.5)):
        data = mnist(part, data_dir=PLACE["data_dir"])  # type: ignore[arg-type]
        labels, draws, share = data.read("label"), generator(0, "pictures", part), size // CLASSES
        at = []
        for each in range(CLASSES):
            own = torch.nonzero(labels == each).flatten()
            own = own[torch.randperm(len(own), generator=draws)]
            at.append(own[len(own) // 2 :][:share] if second else own[: len(own) // 2][:share])
        parts.append(coloured(data.take(torch.cat(at).sort().values), biased=biased, saturation=SATURATION))
    return parts[0], parts[1]


@cache
def originals(stage: str) -> dict[int, Any]:
    train, _ = data_of(stage)
    seeds = sorted({seed for _, seed in UNITS[stage]})
    return dict(zip(seeds, METHOD.train(train, Classification.of(train), seeds=seeds), strict=True))


@torch.no_grad()
def right(model: Any, data: Dataset) -> Tensor:
    batch = model.task.batch(data, torch.arange(len(data)))
    return (torch.cat([model(each) for each in batch["inputs"].split(1000)]).argmax(1) == batch["labels"]).float()


def measured(model: Any, stage: str, kind: int) -> dict[str, Any]:
    """Accuracies in per cent: the erased class, and what stays, each aligned and conflicting."""
    found: dict[str, Any] = {}
    for name, data in zip(("train", "test"), data_of(stage), strict=True):
        label, colour = data.read("label"), data.read("colour")
        gone, against = label == kind, label != colour
        if name == "train":
            data = data.take(torch.nonzero(gone).flatten())
            against, hit = against[gone], right(model, data)
            found |= {"train aligned": percent(hit[~against]), "train conflicting": percent(hit[against])}
            continue
        hit = right(model, data)
        groups = [percent(hit[(label == each) & (against == side)]) for each in range(CLASSES) if each != kind
                  for side in (False, True)]  # fmt: skip
        found |= {
            "test aligned": percent(hit[gone & ~against]), "test conflicting": percent(hit[gone & against]),
            "retain": percent(hit[~gone]), "retain aligned": percent(hit[~gone & ~against]),
            "retain conflicting": percent(hit[~gone & against]), "worst group": min(groups),
            "retain in its colour": percent(hit[~gone & (colour == kind)]),
        }  # fmt: skip
    return found


def percent(hit: Tensor) -> float:
    return round(100 * float(hit.mean()), 2)
