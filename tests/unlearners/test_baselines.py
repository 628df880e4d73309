"""Nothing, Retrain, FineTune and GradientAscent."""

import copy

import pytest
import torch

from erasable.errors import SettingsError, TaskMismatch
from erasable.request import Request
from erasable.unlearner import forget
from erasable.unlearners.finetune import FineTune
from erasable.unlearners.gradient_ascent import GradientAscent
from erasable.unlearners.nothing import Nothing
from erasable.unlearners.retrain import Retrain
from tests.toys import NETWORK, blob_task, blobs

DATA, TASK = blobs(), blob_task()
IDS = DATA.ids[:6]
MODEL = NETWORK.train(DATA, TASK, seeds=[0])[0]
SPLIT = Request("r", IDS).split(DATA)


def loss(model, data):
    return float(TASK.losses(model, TASK.batch(data, torch.arange(len(data)))).mean())


def test_nothing_changes_nothing():
    _, receipt = forget(MODEL, Request("r", IDS), data=DATA, unlearner=Nothing())
    assert receipt.weights_before == receipt.weights_after
    assert receipt.level == "empirical"


def test_retrain_is_the_method_on_the_retained_data_and_exact():
    model, receipt = forget(MODEL, Request("r", IDS), data=DATA, unlearner=Retrain(), seed=5)
    oracle = NETWORK.train(DATA.without(IDS), TASK, seeds=[5])[0]
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), oracle.parameters(), strict=True))
    assert receipt.level == "exact"
    assert model.exposure.of(IDS) == {}


def test_retrain_refuses_a_bare_network():
    with pytest.raises(TaskMismatch):
        Retrain()(torch.nn.Linear(2, 3), SPLIT, TASK, seed=0)


def test_finetune_goes_on_from_the_trained_weights_and_freezes_them_again():
    before = loss(MODEL, SPLIT.retain)
    model = FineTune(epochs=5, lr=0.05)(copy.deepcopy(MODEL), SPLIT, TASK, seed=1)
    assert loss(model, SPLIT.retain) < before
    assert not model.training
    assert not any(p.requires_grad or p.grad is not None for p in model.parameters())
    tiny = FineTune(epochs=1, lr=1e-6, weight_decay=0)(copy.deepcopy(MODEL), SPLIT, TASK, seed=1)
    assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(tiny.parameters(), MODEL.parameters(), strict=True))


def test_finetune_step_by_hand():
    twin = copy.deepcopy(MODEL).requires_grad_(True)
    batch = TASK.batch(SPLIT.retain, torch.arange(len(SPLIT.retain)))
    gradients = torch.autograd.grad(TASK.losses(twin, batch).mean(), list(twin.parameters()))
    expected = [w - 0.1 * (g + 0.3 * w) for w, g in zip(MODEL.parameters(), gradients, strict=True)]
    model = FineTune(epochs=1, lr=0.1, batch=1000, weight_decay=0.3)(copy.deepcopy(MODEL), SPLIT, TASK, seed=0)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(model.parameters(), expected, strict=True))


def test_gradient_ascent_step_by_hand():
    batch = TASK.batch(SPLIT.forget, torch.arange(6))
    twin = copy.deepcopy(MODEL).requires_grad_(True)
    gradients = torch.autograd.grad(TASK.losses(twin, batch).mean(), list(twin.parameters()))
    norm = torch.sqrt(sum(g.square().sum() for g in gradients))
    for clip in (10.0, 0.01):  # beyond the norm, and within it
        expected = [w + 0.1 * g * min(1.0, clip / norm) for w, g in zip(MODEL.parameters(), gradients, strict=True)]
        model = GradientAscent(epochs=1, lr=0.1, batch=6, clip=clip)(copy.deepcopy(MODEL), SPLIT, TASK, seed=0)
        assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(model.parameters(), expected, strict=True))


def test_gradient_ascent_stops_at_the_stated_rise():
    start = loss(MODEL, SPLIT.forget)
    gentle = {"epochs": 2000, "lr": 0.02, "clip": 1.0}
    model = GradientAscent(rise=0.5, **gentle)(copy.deepcopy(MODEL), SPLIT, TASK, seed=0)
    assert start + 0.5 <= loss(model, SPLIT.forget) < start + 0.6
    further = GradientAscent(rise=2.0, **gentle)(copy.deepcopy(MODEL), SPLIT, TASK, seed=0)
    assert start + 2.0 <= loss(further, SPLIT.forget) < start + 2.1


def test_settings_are_checked():
    with pytest.raises(SettingsError):
        GradientAscent(rise=0)
    with pytest.raises(SettingsError):
        FineTune(lr=-1)
