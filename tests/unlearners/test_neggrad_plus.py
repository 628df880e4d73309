"""NegGrad+: its step by hand, what it does to samples learnt by heart, and what it refuses."""

import copy

import pytest
import torch
from torch import nn

from erasable.errors import SettingsError
from erasable.unlearners.neggrad_plus import NegGradPlus
from tests.unlearners.by_heart import MODEL, SPLIT, TASK, WIDTH, accuracy, loss, rise


def gradient(model, data):
    twin = copy.deepcopy(model).requires_grad_(True)
    mean = TASK.losses(twin, TASK.batch(data, torch.arange(len(data)))).mean()
    return torch.autograd.grad(mean, list(twin.parameters()))


@pytest.mark.parametrize("weight", [0.7, 1.0])
def test_step_by_hand(weight):
    kept, erased = gradient(MODEL, SPLIT.retain), gradient(MODEL, SPLIT.forget)
    expected = [w - 0.1 * (weight * r - (1 - weight) * f + 0.3 * w)
                for w, r, f in zip(MODEL.parameters(), kept, erased, strict=True)]  # fmt: skip
    method = NegGradPlus(weight=weight, epochs=1, lr=0.1, batch=1000, weight_decay=0.3)
    model = method(copy.deepcopy(MODEL), SPLIT, TASK, seed=0)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(model.parameters(), expected, strict=True))


def test_it_forgets_and_the_rest_stays():
    model = NegGradPlus(weight=0.8, batch=16, lr=0.05)(copy.deepcopy(MODEL), SPLIT, TASK, seed=1)
    assert rise(model) > 0.2
    assert accuracy(model, SPLIT.retain) > 0.95
    plain = NegGradPlus(weight=1.0, batch=16, lr=0.05)(copy.deepcopy(MODEL), SPLIT, TASK, seed=1)
    assert rise(plain) < 0.05
    assert loss(plain, SPLIT.retain) < loss(MODEL, SPLIT.retain)


def test_statistics_of_batches_stand_still():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(WIDTH, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    before = copy.deepcopy(network)
    NegGradPlus(epochs=1)(network, SPLIT, TASK, seed=0)
    assert torch.equal(network[1].running_mean, before[1].running_mean)
    assert not torch.equal(network[0].weight, before[0].weight)


@pytest.mark.parametrize("settings", [{"weight": 0.0}, {"weight": 1.1}, {"lr": -1}, {"epochs": 0}])
def test_settings_are_checked(settings):
    with pytest.raises(SettingsError):
        NegGradPlus(**settings)
