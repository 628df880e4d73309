"""Toy data and settings that tests share: seconds on one core, and still something to learn."""

import torch

from erasable.dataset import Dataset
from erasable.network import Network
from erasable.tasks.classification import Classification
from erasable.train import Recipe

TINY = Recipe(epochs=3, batch=16, lr=0.05, weight_decay=5e-4, optimizer="sgd")
NETWORK = Network(network="mlp width=8", recipe=TINY)


def blobs(n: int = 60, *, classes: int = 3, seed: int = 0, owners: int | None = None) -> Dataset:
    """Gaussian blobs in the plane, one per class; ids "blob/000". Owners take turns."""
    g = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % classes
    angle = 2 * torch.pi * labels / classes
    x = torch.stack([angle.cos(), angle.sin()], 1) * 2 + 0.5 * torch.randn(n, 2, generator=g)
    names = [f"person {i % owners}" for i in range(n)] if owners else None
    return Dataset.of({"x": x, "label": labels}, [f"blob/{i:03d}" for i in range(n)], owners=names, name="blobs",
                      facts={"inputs": "x", "classes": [f"c{i}" for i in range(classes)]})  # fmt: skip


def blob_task(classes: int = 3) -> Classification:
    return Classification(shape=(2,), classes=classes, low=(-4.0,), high=(4.0,), inputs="x")


def curve(n: int = 40, *, seed: int = 0) -> Dataset:
    """Points of a sine with a little noise; ids "point/000"."""
    g = torch.Generator().manual_seed(seed)
    x = 3 * (2 * torch.rand(n, 1, generator=g) - 1)
    y = x.sin() + 0.05 * torch.randn(n, 1, generator=g)
    return Dataset.of({"x": x, "y": y}, [f"point/{i:03d}" for i in range(n)], name="curve")


LINES = """
the cat sat on the mat and saw the rat
the dog sat on the log and saw the frog
a bird in the hand is worth two in the bush
the early bird gets the worm but the second mouse gets the cheese
all that glitters is not gold and all who wander are not lost
"""


def sentences(length: int = 12) -> Dataset:
    """Rows of characters from a few lines; ids "line/000"."""
    written = " ".join(LINES.split())
    letters = sorted(set(written))
    n = len(written) // length
    tokens = torch.tensor([letters.index(each) for each in written[: n * length]]).view(n, length)
    return Dataset.of({"tokens": tokens}, [f"line/{i:03d}" for i in range(n)], name="lines",
                      facts={"inputs": "tokens", "vocabulary": letters})  # fmt: skip


def between(n: int = 180, *, seed: int = 0) -> Dataset:
    """Classes 0 and 1 left and right, each above and below; class 2 between their halves, on either side.

    Telling 0 from 1 takes one line. Class 2 takes features that nobody needs for that, so a small network that never
    saw it has none. Ids "between/000".
    """
    g = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 3
    half = 4.0 * torch.randint(0, 2, (n,), generator=g) - 2
    along = torch.where(labels == 2, half, torch.where(labels == 0, -2.0, 2.0))
    across = torch.where(labels == 2, 0.0, half)
    x = torch.stack([along, across], 1) + 0.4 * torch.randn(n, 2, generator=g)
    return Dataset.of({"x": x, "label": labels}, [f"between/{i:03d}" for i in range(n)], name="between",
                      facts={"inputs": "x", "classes": ["left", "right", "between"]})  # fmt: skip


BETWEEN = Network(network="mlp width=12", recipe=Recipe(epochs=100, batch=32, lr=0.05, weight_decay=5e-3,
                                                        optimizer="sgd"))  # fmt: skip
