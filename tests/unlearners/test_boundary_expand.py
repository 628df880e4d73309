"""Boundary expand: its step against a network that really has one class more, and what comes back."""

import copy
import dataclasses

import pytest
import torch
import torch.nn.functional as F

from erasable._plumbing.seeds import seeded
from erasable.errors import SettingsError, TaskMismatch
from erasable.network import Network
from erasable.request import Request
from erasable.tasks.language import NextToken
from erasable.train import Recipe
from erasable.unlearners.boundary_expand import BoundaryExpand
from tests.toys import blob_task, blobs, sentences

DATA, TASK = blobs(160, classes=4), blob_task(4)
NETWORK = Network(network="mlp width=16", recipe=Recipe(epochs=15, batch=32, lr=0.05, optimizer="sgd"))
MODEL = NETWORK.train(DATA, TASK, seeds=[0])[0]
SPLIT = Request("r", DATA.where("label", 1).ids).split(DATA)


def accuracy(model, data):
    batch = TASK.batch(data, torch.arange(len(data)))
    with torch.no_grad():
        return float((TASK.logits(model, batch).argmax(1) == TASK.labels(batch)).float().mean())


def test_two_steps_against_a_network_with_one_class_more():
    seed, lr = 3, 0.1
    with seeded(seed, "row"):
        row = torch.nn.Linear(16, 1)
    twin = copy.deepcopy(MODEL.network)
    wide = torch.nn.Linear(16, 5)
    with torch.no_grad():
        wide.weight.copy_(torch.cat([twin.head.weight, row.weight]))
        wide.bias.copy_(torch.cat([twin.head.bias, row.bias]))
    twin.head = wide
    twin.requires_grad_(True)
    batch = TASK.batch(SPLIT.forget, torch.arange(len(SPLIT.forget)))
    optimizer = torch.optim.SGD(twin.parameters(), lr=lr, momentum=0.9)
    for factor in (1.0, 1.0, 0.5):  # the first step is the warm-up, then half a cosine in two steps
        optimizer.param_groups[0]["lr"] = lr * factor
        optimizer.zero_grad()
        F.cross_entropy(twin(batch["inputs"]), torch.full((len(SPLIT.forget),), 4)).backward()
        optimizer.step()
    model = BoundaryExpand(epochs=3, lr=lr, batch=1000)(copy.deepcopy(MODEL), SPLIT, TASK, seed=seed)
    expected = dict(twin.named_parameters())
    for name, weight in model.network.named_parameters():
        assert torch.allclose(weight, expected[name][: len(weight)], atol=1e-5)


def test_a_plain_network_with_as_many_answers_comes_back():
    model = BoundaryExpand(epochs=1)(copy.deepcopy(MODEL), SPLIT, TASK, seed=0)
    shapes = {name: each.shape for name, each in MODEL.state_dict().items()}
    assert {name: each.shape for name, each in model.state_dict().items()} == shapes
    assert not any(p.requires_grad for p in model.parameters())
    assert not any(each._forward_pre_hooks for each in model.modules())
    other = BoundaryExpand(epochs=1, lr=0.1)(copy.deepcopy(MODEL), SPLIT, TASK, seed=1)
    same = BoundaryExpand(epochs=1, lr=0.1)(copy.deepcopy(MODEL), SPLIT, TASK, seed=0)
    assert not torch.equal(other.network.head.weight, same.network.head.weight)  # the row is drawn by the seed


def test_a_class_is_forgotten():
    trained = dataclasses.replace(NETWORK, network="mlp width=64").train(DATA, TASK, seeds=[0])[0]
    before = accuracy(trained, SPLIT.retain)
    assert accuracy(trained, SPLIT.forget) > 0.9
    model = BoundaryExpand(epochs=10, lr=0.05)(trained, SPLIT, TASK, seed=0)
    assert accuracy(model, SPLIT.forget) < 0.2
    assert accuracy(model, SPLIT.retain) > before - 0.1


def test_refusals():
    lines = sentences()
    with pytest.raises(TaskMismatch):
        BoundaryExpand()(copy.deepcopy(MODEL), Request("r", lines.ids[:2]).split(lines), NextToken.of(lines), seed=0)
    ends = torch.nn.Sequential(torch.nn.Linear(2, 5), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool1d(4))
    with pytest.raises(TaskMismatch, match="linear layer"):
        BoundaryExpand()(ends, SPLIT, TASK, seed=0)
    with pytest.raises(SettingsError):
        BoundaryExpand(lr=0)
