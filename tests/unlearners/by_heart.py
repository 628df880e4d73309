"""A small network that has learnt six wrong labels by heart, and what it would be without them.

Its request is for these six: retraining gives them a loss of several nats, the network as it is hardly any. What
forgets them must raise that loss, and must not pay with what stays.
"""

import torch

from erasable.dataset import Dataset
from erasable.network import Network
from erasable.request import Request
from erasable.tasks.classification import Classification
from erasable.train import Recipe

N, WIDTH = 72, 20
TASK = Classification(shape=(WIDTH,), classes=3, low=(-4.0,), high=(4.0,), inputs="x")
NETWORK = Network(network="mlp width=32", recipe=Recipe(epochs=40, batch=16, lr=0.02, weight_decay=0.0, warmup=0.0))


def _data() -> Dataset:
    """Three classes around three axes; in so many dimensions every sample can be told from all others."""
    labels = torch.arange(N) % 3
    x = torch.randn(N, WIDTH, generator=torch.Generator().manual_seed(0)) + 3 * torch.eye(WIDTH)[labels]
    return Dataset.of({"x": x, "label": torch.where(torch.arange(N) < 6, (labels + 1) % 3, labels)},
                      [f"sample/{i:02d}" for i in range(N)])  # fmt: skip


DATA = _data()
SPLIT = Request("by heart", DATA.ids[:6]).split(DATA)
MODEL = NETWORK.train(DATA, TASK, seeds=[0])[0]
RETRAINED = NETWORK.train(SPLIT.retain, TASK, seeds=[0])[0]


def loss(model, data):
    """The mean loss, in nats."""
    with torch.no_grad():
        return float(TASK.losses(model, TASK.batch(data, torch.arange(len(data)))).mean())


def accuracy(model, data):
    """The share of right answers."""
    batch = TASK.batch(data, torch.arange(len(data)))
    with torch.no_grad():
        return float((TASK.logits(model, batch).argmax(1) == TASK.labels(batch)).float().mean())


def rise(model):
    """How far the loss of the forgotten samples has come: 0 as trained, 1 as if they had never been seen."""
    start, end = loss(MODEL, SPLIT.forget), loss(RETRAINED, SPLIT.forget)
    return (loss(model, SPLIT.forget) - start) / (end - start)
