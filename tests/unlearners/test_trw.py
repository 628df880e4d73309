"""TRW: its targets and its step by hand, what it does to a class, and what it refuses."""

import copy
import math

import pytest
import torch

from erasable.errors import RequestError, SettingsError, TaskMismatch
from erasable.network import Network
from erasable.request import Request
from erasable.tasks.language import NextToken
from erasable.train import Recipe
from erasable.unlearners.trw import TRW
from tests.toys import blob_task, blobs, sentences

DATA, TASK = blobs(160, classes=4), blob_task(4)
NETWORK = Network(network="mlp width=16", recipe=Recipe(epochs=15, batch=32, lr=0.05, optimizer="sgd"))
MODEL = NETWORK.train(DATA, TASK, seeds=[0])[0]
SPLIT = Request("r", DATA.where("label", 1).ids).split(DATA)  # lies between 0 and 2, 3 is opposite


def logits(model, data):
    with torch.no_grad():
        return TASK.logits(model, TASK.batch(data, torch.arange(len(data))))


def test_similarities_by_hand():
    angles = torch.tensor([0.0, 60.0, 180.0, 240.0]) * math.pi / 180  # centred already: pairs of opposites
    weight = torch.stack([angles.cos(), angles.sin()], 1) + 5.0  # what all rows share is taken off
    s = TRW(variance=1.0).similarities(weight, torch.tensor([0]))
    expected = [math.exp((cosine - 0.5) / 0.1) for cosine in (0.5, -1.0, -0.5)]
    assert torch.allclose(s, torch.tensor([[0.0, *expected]]), atol=1e-5)
    one = TRW(variance=0.7, temperature=1.0).similarities(weight, torch.tensor([0]))  # one direction: bisects 0 and 60
    assert torch.allclose(one, torch.tensor([[0.0, 1.0, math.exp(-2), math.exp(-2)]]), atol=1e-5)


def test_equal_similarity_is_refused_and_beta_zero_does_not_look():
    simplex = torch.eye(4) - 0.25 + 1e-4 * torch.randn(4, 4, generator=torch.Generator().manual_seed(0))
    with pytest.raises(TaskMismatch, match=r"class 2 is equally similar.*beta=0"):
        TRW().similarities(simplex, torch.tensor([2]))
    collapsed = copy.deepcopy(MODEL)
    with torch.no_grad():
        collapsed.network.head.weight.copy_(torch.eye(4, 16))
    with pytest.raises(TaskMismatch):
        TRW(epochs=1)(copy.deepcopy(collapsed), SPLIT, TASK, seed=0)
    TRW(epochs=1, beta=0)(collapsed, SPLIT, TASK, seed=0)


def test_targets_renormalise_and_tilt():
    erased = torch.tensor([1])
    p = logits(MODEL, SPLIT.forget).softmax(1)
    plain = TRW(beta=0).targets(MODEL, SPLIT.forget, TASK, erased)
    expected = p / (1 - p[:, 1:2])
    expected[:, 1] = 0
    assert torch.allclose(plain, expected, atol=1e-4)
    s = TRW().similarities(MODEL.network.head.weight.detach(), erased)[0]
    tilted = expected * (3.0 * s).exp()
    found = TRW(beta=3.0).targets(MODEL, SPLIT.forget, TASK, erased)
    assert torch.allclose(found, tilted / tilted.sum(1, keepdim=True), atol=1e-4)
    assert not torch.allclose(found, plain, atol=1e-3)


def test_several_classes_each_use_their_own_similarity():
    split = Request("r", [*DATA.where("label", 1).ids, *DATA.where("label", 3).ids]).split(DATA)
    erased = torch.tensor([1, 3])
    found = TRW().targets(MODEL, split.forget, TASK, erased)
    assert float(found[:, erased].max()) == 0
    s = TRW().similarities(MODEL.network.head.weight.detach(), erased)
    labels = split.forget.read("label")
    own = logits(MODEL, split.forget) + 10.0 * torch.stack([s[0 if each == 1 else 1] for each in labels])
    own[:, erased] = -torch.inf
    assert torch.allclose(found, own.softmax(1), atol=1e-5)


def test_step_by_hand():
    q = TRW(beta=2.0).targets(MODEL, SPLIT.forget, TASK, torch.tensor([1]))
    twin = copy.deepcopy(MODEL).requires_grad_(True)
    gone, kept = (TASK.batch(each, torch.arange(len(each))) for each in (SPLIT.forget, SPLIT.retain))
    log_p = TASK.logits(twin, gone).log_softmax(1)
    away = (torch.special.xlogy(q, q) - q * log_p).sum(1).mean()
    gradients = torch.autograd.grad(TASK.losses(twin, kept).mean() + 0.7 * away, list(twin.parameters()))
    expected = [w - 0.1 * (g + 0.3 * w) for w, g in zip(MODEL.parameters(), gradients, strict=True)]
    settings = {"epochs": 1, "batch": 1000, "lr": 0.1, "weight_decay": 0.3}
    model = TRW(beta=2.0, weight=0.7, **settings)(copy.deepcopy(MODEL), SPLIT, TASK, seed=0)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(model.parameters(), expected, strict=True))


def test_the_class_goes_to_its_neighbours_and_the_others_stay():
    model = TRW(epochs=20, lr=0.05, batch=32)(copy.deepcopy(MODEL), SPLIT, TASK, seed=0)
    labels = SPLIT.retain.read("label")
    before = (logits(MODEL, SPLIT.retain).argmax(1) == labels).float().mean()
    after = (logits(model, SPLIT.retain).argmax(1) == labels).float().mean()
    assert before > 0.9
    assert after > before - 0.03
    answers = logits(model, SPLIT.forget).argmax(1)
    assert (logits(MODEL, SPLIT.forget).argmax(1) == 1).float().mean() > 0.9
    assert (answers == 1).float().mean() < 0.05
    assert (answers == 3).float().mean() < 0.1  # a network that never saw the class does not send it across


def test_batch_normalisation_learns_from_what_stays_alone():
    def net(shift):
        torch.manual_seed(0)
        body = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 4)).eval()
        split = copy.deepcopy(SPLIT)
        split.forget.table.columns["x"][split.forget.rows] += shift
        return TRW(epochs=1, batch=1000, beta=0)(body, split, TASK, seed=0)[1].running_mean

    assert torch.equal(net(0.0), net(2.0))
    assert float(net(0.0).abs().max()) > 0


def test_refusals():
    with pytest.raises(RequestError, match="whole classes"):
        TRW()(copy.deepcopy(MODEL), Request("r", SPLIT.forget.ids[:3]).split(DATA), TASK, seed=0)
    lines = sentences()
    with pytest.raises(TaskMismatch):
        TRW()(copy.deepcopy(MODEL), Request("r", lines.ids[:2]).split(lines), NextToken.of(lines), seed=0)
    ends = torch.nn.Sequential(torch.nn.Linear(2, 5), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool1d(4))
    with pytest.raises(TaskMismatch, match="linear layer"):
        TRW()(ends, SPLIT, TASK, seed=0)
    for wrong in ({"beta": -1}, {"weight": 0}, {"variance": 0}, {"temperature": 0}, {"lr": 0}, {"spread": -1}):
        with pytest.raises(SettingsError):
            TRW(**wrong)
