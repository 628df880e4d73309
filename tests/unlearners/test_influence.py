"""Influence unlearning: the system solved against a dense one, the line search, and what it does to a class."""

import copy
import dataclasses
import math

import pytest
import torch

from erasable._plumbing.gradients import flat
from erasable.errors import SettingsError
from erasable.network import Network
from erasable.request import Request
from erasable.tasks.language import NextToken
from erasable.train import Recipe
from erasable.unlearner import weights_digest
from erasable.unlearners import influence
from erasable.unlearners.influence import Influence, conjugate_gradients
from tests.toys import BETWEEN, NETWORK, between, blob_task, blobs, sentences

TASK = blob_task()
DATA = blobs(30)
MODEL = NETWORK.train(DATA, TASK, seeds=[0])[0]
SPLIT = Request("r", DATA.ids[:5]).split(DATA)


def each_gradient(data, model=MODEL):
    net = copy.deepcopy(model).requires_grad_(True)
    losses = TASK.losses(net, TASK.batch(data, torch.arange(len(data))))
    return torch.stack([flat(torch.autograd.grad(one, list(net.parameters()), retain_graph=True)) for one in losses])


def loss(model, data):
    return float(TASK.losses(model, TASK.batch(data, torch.arange(len(data)))).detach().mean())


def newton(damping):
    """The step with dense matrices."""
    gone, stay = each_gradient(SPLIT.forget).double(), each_gradient(SPLIT.retain).double()
    curvature = stay.T @ stay / 25
    damped = curvature + damping * curvature.diag().mean() * torch.eye(len(curvature))
    right = gone.sum(0) / 30 - 5 / (30 * 25) * stay.sum(0)
    return torch.linalg.solve(damped, right).float(), right.float()


@pytest.mark.parametrize("held", [10**9, 0])  # kept in memory, and computed in each round
def test_a_step_by_hand(held, monkeypatch):
    monkeypatch.setattr(influence, "HELD", held)
    step, right = newton(0.1)
    model = Influence(damping=0.1, scales=(0.5,), rise=100.0)(copy.deepcopy(MODEL), SPLIT, TASK, seed=0)
    assert torch.allclose(flat(model.parameters()), flat(MODEL.parameters()) + 0.5 * step, rtol=1e-3, atol=1e-4)
    assert not model.training
    assert not any(p.requires_grad for p in model.parameters())
    along = float(torch.cosine_similarity(step, right, dim=0))
    assert along < 0.95  # curvature matters: it is no step of ascent


def test_more_damping_is_closer_to_plain_ascent():
    cosines = []
    for damping in (0.01, 1.0, 1000.0):
        method = Influence(damping=damping, scales=(1e-3,), rise=100.0)
        moved = flat(method(copy.deepcopy(MODEL), SPLIT, TASK, seed=0).parameters()) - flat(MODEL.parameters())
        cosines.append(float(torch.cosine_similarity(moved, newton(damping)[1], dim=0)))
    assert cosines == sorted(cosines)
    assert cosines[0] < 0.9
    assert cosines[2] > 0.999


def test_conjugate_gradients_against_a_dense_solution():
    g = torch.Generator().manual_seed(0)
    a = torch.randn(20, 20, generator=g)
    a = a @ a.T + 0.5 * torch.eye(20)
    right = torch.randn(20, generator=g)
    assert torch.allclose(conjugate_gradients(a.mv, right, 100), torch.linalg.solve(a, right), atol=1e-3)
    early = conjugate_gradients(a.mv, right, 3)
    assert 0 < float((a @ early - right).norm()) < float(right.norm())
    assert torch.equal(conjugate_gradients(a.mv, torch.zeros(20), 10), torch.zeros(20))


def test_the_largest_scale_that_leaves_the_retained_loss_in_its_bound():
    step, _ = newton(0.01)
    start, scales = loss(MODEL, SPLIT.retain), (20.0, 0.1, 1.0, 5.0, 0.3)

    def rise(scale):
        twin = copy.deepcopy(MODEL)
        torch.nn.utils.vector_to_parameters(flat(MODEL.parameters()) + scale * step, twin.parameters())
        return loss(twin, SPLIT.retain) - start

    rises = {scale: rise(scale) for scale in scales}
    bound = (rises[1.0] + rises[5.0]) / 2
    assert rises[1.0] < bound < rises[5.0]
    model = Influence(scales=scales, rise=bound)(copy.deepcopy(MODEL), SPLIT, TASK, seed=0)
    expected = max(scale for scale in scales if rises[scale] <= bound)
    assert torch.allclose(flat(model.parameters()), flat(MODEL.parameters()) + expected * step, rtol=1e-2, atol=1e-3)
    nothing = Influence(scales=(1e6, math.inf), rise=1e-9)(copy.deepcopy(MODEL), SPLIT, TASK, seed=0)
    assert weights_digest(nothing) == weights_digest(MODEL)


def test_it_forgets_a_class_and_keeps_the_others():
    data = between()
    model = BETWEEN.train(data, TASK, seeds=[0])[0]
    split = Request("c", data.where("label", 2).ids).split(data)
    after = Influence(rise=0.1)(copy.deepcopy(model), split, TASK, seed=0)
    assert loss(after, split.forget) > loss(model, split.forget) + 1
    assert loss(after, split.retain) <= loss(model, split.retain) + 0.1 + 1e-5


def test_few_samples_for_the_curvature_are_drawn_by_the_seed():
    few = [Influence(samples=6)(copy.deepcopy(MODEL), SPLIT, TASK, seed=s) for s in (1, 1, 2)]
    assert weights_digest(few[0]) == weights_digest(few[1]) != weights_digest(few[2])


def test_without_any_gradient_nothing_moves():
    still = copy.deepcopy(MODEL)
    for parameter in still.parameters():
        parameter.data.zero_()
    still.network.head.bias.data[:] = torch.tensor([200.0, 0.0, 0.0])
    data = DATA.where("label", 0)
    split = Request("r", data.ids[:2]).split(data)
    after = Influence()(copy.deepcopy(still), split, TASK, seed=0)
    assert weights_digest(after) == weights_digest(still)


def test_text():
    lines = sentences()
    task = NextToken.of(lines)
    gpt = Network(network="gpt width=8 depth=1 heads=2", recipe=Recipe(epochs=2, batch=8, lr=0.01))
    model, split = gpt.train(lines, task, seeds=[0])[0], Request("r", lines.ids[:4]).split(lines)
    after = Influence(scales=(1e-3,), rise=1.0, iterations=5)(copy.deepcopy(model), split, task, seed=0)
    means = [float(task.losses(net, task.batch(split.forget, torch.arange(4))).mean()) for net in (model, after)]
    assert means[1] > means[0]


@pytest.mark.parametrize("settings", [{"samples": 0}, {"damping": 0.0}, {"iterations": 0}, {"scales": (1.0, -1.0)},
                                      {"rise": 0.0}, {"batch": 0}])  # fmt: skip
def test_refused_settings(settings):
    with pytest.raises(SettingsError):
        dataclasses.replace(Influence(), **settings)
