"""Random labels: which are drawn and when, the step by hand, what it does, and what it refuses."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from erasable.errors import SettingsError, TaskMismatch
from erasable.tasks.classification import Classification
from erasable.tasks.language import NextToken
from erasable.unlearners.random_labels import RandomLabels
from tests.unlearners.by_heart import MODEL, SPLIT, TASK, WIDTH, accuracy, rise

FORGET = TASK.batch(SPLIT.forget, torch.arange(6))


def taught(method, seed=0):
    """Per epoch the labels that the forgotten samples are taught, (epochs, 6); checks those of the others."""
    epochs, seen = [], 0
    for batch, labels, gone in method.batches(SPLIT, TASK, seed):
        if seen % 72 == 0:
            epochs.append(torch.full((6,), -1))
        assert torch.equal(labels[~gone], batch["labels"][~gone])
        for x, label in zip(batch["inputs"][gone], labels[gone], strict=True):
            epochs[-1][(FORGET["inputs"] == x).all(1)] = label
        seen += len(labels)
    return torch.stack(epochs)


def test_fresh_labels_are_any_and_drawn_in_every_epoch():
    found = taught(RandomLabels(epochs=60, batch=50))
    assert found.shape == (60, 6)
    counts = torch.stack([(found == (FORGET["labels"] + k) % 3).sum() for k in range(3)])
    assert (counts - 120).abs().max() < 4 * (360 * 2 / 9) ** 0.5  # the true label too, as often as the others
    assert len({tuple(row.tolist()) for row in found}) > 50


@pytest.mark.parametrize("mixed", [True, False])
def test_fixed_labels_are_others_and_stay(mixed):
    method = RandomLabels(epochs=5, batch=50, fresh=False, mixed=mixed)
    found = taught(method)
    assert torch.equal(found, found[:1].expand_as(found))
    assert not (found == FORGET["labels"]).any()
    many = torch.stack([taught(method, seed)[0] for seed in range(60)])
    share = ((many - FORGET["labels"]) % 3 == 1).float().mean()
    assert abs(share - 0.5) < 4 * (0.25 / 360) ** 0.5


def test_step_by_hand():
    method = RandomLabels(mixed=True, epochs=1, lr=0.1, batch=1000, weight_decay=0.3)
    [(batch, labels, gone)] = method.batches(SPLIT, TASK, 3)
    assert int(gone.sum()) == 6
    twin = copy.deepcopy(MODEL).requires_grad_(True)
    gradients = torch.autograd.grad(F.cross_entropy(twin(batch["inputs"]), labels), list(twin.parameters()))
    expected = [w - 0.1 * (g + 0.3 * w) for w, g in zip(MODEL.parameters(), gradients, strict=True)]
    model = method(copy.deepcopy(MODEL), SPLIT, TASK, seed=3)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(model.parameters(), expected, strict=True))


@pytest.mark.parametrize("settings", [{}, {"fresh": False, "mixed": True, "optimizer": "adamw", "lr": 0.01}])
def test_it_forgets_and_the_rest_stays(settings):
    model = RandomLabels(**{"batch": 16, "lr": 0.3, **settings})(copy.deepcopy(MODEL), SPLIT, TASK, seed=1)
    assert rise(model) > 0.1
    assert accuracy(model, SPLIT.forget) < 0.7
    assert accuracy(model, SPLIT.retain) > 0.95


def test_statistics_of_batches_come_from_what_stays():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(WIDTH, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    kept = network[0](TASK.batch(SPLIT.retain, torch.arange(66))["inputs"]).detach()
    RandomLabels(epochs=1, lr=1e-9, batch=1000)(network, SPLIT, TASK, seed=0)
    assert torch.allclose(network[1].running_mean, 0.1 * kept.mean(0), atol=1e-5)


def test_refusals():
    with pytest.raises(TaskMismatch, match="RandomLabels needs labels"):
        RandomLabels()(MODEL, SPLIT, NextToken(vocabulary=3, length=4), seed=0)
    with pytest.raises(TaskMismatch, match="1 class"):
        RandomLabels()(MODEL, SPLIT, Classification(shape=(WIDTH,), classes=1, inputs="x"), seed=0)
    for settings in ({"lr": 0}, {"optimizer": "adam"}, {"batch": 0}):
        with pytest.raises(SettingsError):
            RandomLabels(**settings)
