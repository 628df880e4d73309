"""IAU: both variants by hand, what they do to a class, and on a network with restricted gradients."""

import copy
import dataclasses

import pytest
import torch

from erasable._plumbing.gradients import flat
from erasable.errors import SettingsError
from erasable.request import Request
from erasable.unlearners.iau import IAU
from tests.toys import BETWEEN, NETWORK, between, blob_task, blobs

TASK = blob_task()
DATA = blobs(30)
MODEL = NETWORK.train(DATA, TASK, seeds=[0])[0]
SPLIT = Request("r", DATA.ids[:6]).split(DATA)


def gradient(data, model=MODEL):
    """Of the summed loss."""
    net = copy.deepcopy(model).requires_grad_(True)
    return flat(torch.autograd.grad(TASK.losses(net, TASK.batch(data, torch.arange(len(data)))).sum(),
                                    list(net.parameters())))  # fmt: skip


def moved(before=MODEL, **settings):
    model = IAU(**settings)(copy.deepcopy(before), SPLIT, TASK, seed=0)
    assert not model.training
    assert not any(p.requires_grad or p.grad is not None for p in model.parameters())
    return flat(model.parameters()) - flat(before.parameters())


@pytest.mark.parametrize("batch", [256, 4])
def test_the_theory_by_hand(batch):
    step = (gradient(SPLIT.forget) - gradient(SPLIT.retain)) / 30
    assert torch.allclose(moved(lr=0.3, batch=batch), 0.3 * step, atol=1e-6)
    assert torch.equal(moved(), moved(lr=1.0))


def test_the_released_step_by_hand():
    g = gradient(SPLIT.retain) / 24 - gradient(SPLIT.forget) / 6
    found = moved(variant="code")
    assert torch.allclose(found, -1e-3 * g / (g.abs() + 1e-8), atol=1e-6)
    clear = g.abs() > 1e-5
    assert torch.allclose(found[clear].abs(), torch.tensor(1e-3), atol=2e-6)  # its size tells nothing of the gradient


def test_two_steps_look_again():
    one = IAU(lr=0.3)(copy.deepcopy(MODEL), SPLIT, TASK, seed=0)
    again = (gradient(SPLIT.forget, one) - gradient(SPLIT.retain, one)) / 30
    assert torch.allclose(moved(lr=0.3, steps=2), moved(lr=0.3) + 0.3 * again, atol=1e-6)
    assert not torch.allclose(moved(variant="code", steps=2), 2 * moved(variant="code"), atol=1e-7)


def test_sums_weigh_by_numbers_and_means_do_not():
    tilt = torch.cosine_similarity
    ascent = gradient(SPLIT.forget) / 6
    descent = -gradient(SPLIT.retain) / 24
    by_sums = moved(lr=1.0)
    assert torch.allclose(by_sums, (6 * ascent + 24 * descent) / 30, atol=1e-6)
    assert float(tilt(by_sums, descent, dim=0)) > float(tilt(ascent + descent, descent, dim=0))


@pytest.mark.parametrize("penalty", [0.0, 0.005])
@pytest.mark.parametrize("settings", [{}, {"variant": "code", "lr": 0.1}])
def test_it_forgets_a_class_and_keeps_the_others(settings, penalty):
    data = between()
    model = dataclasses.replace(BETWEEN, gradient_penalty=penalty).train(data, TASK, seeds=[0])[0]
    split = Request("c", data.where("label", 2).ids).split(data)

    def right(net, part):
        batch = TASK.batch(part, torch.arange(len(part)))
        return float((net(batch["inputs"]).argmax(1) == batch["labels"]).float().mean())

    after = IAU(**settings)(copy.deepcopy(model), split, TASK, seed=0)
    assert right(model, split.forget) > 0.95
    assert right(after, split.forget) < 0.5
    assert right(after, split.retain) > 0.97


@pytest.mark.parametrize("settings", [{"variant": "adam"}, {"lr": 0.0}, {"steps": 0}, {"batch": 0}])
def test_refused_settings(settings):
    with pytest.raises(SettingsError):
        IAU(**settings)
