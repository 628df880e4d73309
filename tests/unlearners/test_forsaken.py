"""Forsaken: its step and its sparsity by hand, when it ends, and that erased samples end up looking unseen."""

import copy
import dataclasses
import math

import pytest
import torch

from erasable.dataset import Dataset
from erasable.errors import InvalidData, SettingsError, TaskMismatch
from erasable.network import Network
from erasable.request import Request
from erasable.tasks.language import NextToken
from erasable.train import Recipe
from erasable.unlearners.forsaken import Forsaken, reference_of
from tests.toys import NETWORK, blob_task, blobs, sentences

DATA, TASK = blobs(), blob_task()
MODEL = NETWORK.train(DATA, TASK, seeds=[0])[0]
SPLIT = Request("r", DATA.ids[:6]).split(DATA)
EVEN = (1 / 3,) * 3
ROWS = (0.8, 0.1, 0.1, 0.0, 1.0, 0.0, 0.2, 0.2, 0.6)


def one_step(sparsity, lr=0.1):
    twin = copy.deepcopy(MODEL).requires_grad_(True)
    batch = TASK.batch(SPLIT.forget, torch.arange(6))
    r = torch.tensor(ROWS).view(3, 3)[batch["labels"]]
    log_p = TASK.logits(twin, batch).log_softmax(1)
    loss = (torch.special.xlogy(r, r) - r * log_p).sum(1).mean()
    moved = []
    for w, g in zip(MODEL.parameters(), torch.autograd.grad(loss, list(twin.parameters())), strict=True):
        m = -lr * g
        moved.append(w + m.sign() * (m.abs() - lr * sparsity).clamp_min(0))
    return moved


@pytest.mark.parametrize("sparsity", [0.0, 0.02])
def test_step_by_hand(sparsity):
    settings = Forsaken(reference=ROWS, epochs=1, lr=0.1, batch=6, sparsity=sparsity)
    model = settings(copy.deepcopy(MODEL), SPLIT, TASK, seed=0)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(model.parameters(), one_step(sparsity), strict=True))


def test_the_mask_is_sparse_and_the_rest_exactly_as_it_was():
    def moved(sparsity):
        settings = Forsaken(reference=EVEN, epochs=20, batch=6, sparsity=sparsity, tolerance=0)
        model = settings(copy.deepcopy(MODEL), SPLIT, TASK, seed=0)
        return sum(int((a != b).sum()) for a, b in zip(model.parameters(), MODEL.parameters(), strict=True))

    some, few, none = moved(0.01), moved(0.1), moved(100.0)
    assert some > few > none == 0


def test_it_ends_when_the_answers_match():
    rows = Forsaken(reference=EVEN).rows(3)
    settings = Forsaken(reference=EVEN, epochs=500, lr=0.02, batch=6, sparsity=0, tolerance=0.005)
    model = settings(copy.deepcopy(MODEL), SPLIT, TASK, seed=0)
    assert settings.apart(MODEL, TASK, SPLIT.forget, rows) > 0.02
    assert 0.003 < settings.apart(model, TASK, SPLIT.forget, rows) <= 0.005
    again = settings(copy.deepcopy(model), SPLIT, TASK, seed=0)
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), model.parameters(), strict=True))


def test_distance_by_hand():
    class Two(torch.nn.Module):
        def forward(self, x):
            return torch.tensor([[0.5, 0.25, 0.25], [0.7, 0.05, 0.25]]).log()[: len(x)]

    data = DATA.where("label", 0).take(torch.arange(2))
    rows = Forsaken(reference=(0.5, 0.5, 0.0)).rows(3)
    expected = 0.5 * math.log(0.5 / 0.6) + 0.5 * math.log(0.5 / 0.15)  # mean answer 0.6, 0.15, 0.25
    assert abs(Forsaken().apart(Two(), TASK, data, rows.float()) - expected) < 1e-6


def test_reference_of_unseen_samples():
    found = torch.tensor(reference_of(MODEL, TASK, DATA)).view(3, 3)
    batch = TASK.batch(DATA, torch.arange(len(DATA)))
    p = MODEL(batch["inputs"]).softmax(1)
    for label in range(3):
        assert torch.allclose(found[label], p[batch["labels"] == label].mean(0), atol=1e-5)
    assert torch.equal(Forsaken(reference=tuple(found.flatten().tolist())).rows(3).float(), found)
    with pytest.raises(InvalidData, match="no sample of class 2"):
        reference_of(MODEL, TASK, DATA.without(DATA.where("label", 2).ids))


def test_memorised_samples_end_up_looking_unseen():
    """Many directions, few samples: the network knows its own by heart and is often wrong about others."""

    def loss(model, data):
        return float(task.losses(model, task.batch(data, torch.arange(len(data)))).mean())

    task = dataclasses.replace(TASK, shape=(20,))
    labels = torch.arange(120) % 3
    x = torch.randn(120, 20, generator=torch.Generator().manual_seed(0)) + 1.5 * torch.eye(20)[labels]
    data = Dataset.of({"x": x, "label": labels}, [f"{i}" for i in range(120)])
    train, unseen = data.take(torch.arange(60)), data.take(torch.arange(60, 120))
    method = Network(network="mlp width=32", recipe=Recipe(epochs=40, batch=16, lr=0.02, weight_decay=0.0))
    model = method.train(train, task, seeds=[0])[0]
    split = Request("r", train.ids[:6]).split(train)
    settings = Forsaken(reference=reference_of(model, task, unseen), epochs=100, lr=0.05, batch=6)
    result = settings(copy.deepcopy(model), split, task, seed=0)
    assert loss(model, train) < 0.1 < 0.6 < loss(model, unseen)
    assert loss(result, split.forget) > 0.3
    assert loss(result, split.retain) < 0.2


def test_refusals():
    with pytest.raises(SettingsError, match="reference of 0 numbers"):
        Forsaken()(copy.deepcopy(MODEL), SPLIT, TASK, seed=0)
    with pytest.raises(SettingsError, match="3, or 9"):
        Forsaken(reference=(0.5, 0.5))(copy.deepcopy(MODEL), SPLIT, TASK, seed=0)
    with pytest.raises(SettingsError, match="add up"):
        Forsaken(reference=(0.5, 0.5, 0.5))(copy.deepcopy(MODEL), SPLIT, TASK, seed=0)
    lines = sentences()
    with pytest.raises(TaskMismatch):
        Forsaken()(copy.deepcopy(MODEL), Request("r", lines.ids[:2]).split(lines), NextToken.of(lines), seed=0)
    for wrong in ({"reference": (1.5, -0.5)}, {"lr": 0}, {"sparsity": -1}, {"epochs": 0}, {"tolerance": -1}):
        with pytest.raises(SettingsError):
            Forsaken(**wrong)
