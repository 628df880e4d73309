"""MinNorm-OG: the step against a linear solution by hand, its projection against QR, and what it forgets."""

import copy

import pytest
import torch
from torch import nn

from erasable._plumbing.gradients import flat
from erasable.dataset import Dataset
from erasable.errors import SettingsError
from erasable.network import Network
from erasable.request import Request
from erasable.tasks import NextToken, Regression
from erasable.train import Recipe
from erasable.unlearners.min_norm import MinNorm, output, perturb, within
from tests.toys import BETWEEN, NETWORK, between, blob_task, blobs, sentences

LINE = Regression(shape=(6,))


def points(n, seed=0):
    """A linear law with fewer points than weights."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 6, generator=g)
    return Dataset.of({"x": x, "y": x @ torch.arange(1.0, 7.0)}, [f"p{i}" for i in range(n)])


def fitting(data):
    """Any weights that fit the points, and not the shortest: the least-squares solution and something orthogonal."""
    x, y = data.read("x"), data.read("y")
    model = nn.Linear(6, 1, bias=False)
    least = torch.linalg.pinv(x) @ y
    free = torch.linalg.svd(x).Vh[len(x) :].sum(0)
    with torch.no_grad():
        model.weight.copy_((least + 2 * free)[None])
    return model, least


@pytest.mark.parametrize("ridge", [1.0, 0.25])
def test_one_step_takes_a_linear_model_to_the_shortest_that_fits(ridge):
    data = points(4)
    model, least = fitting(data)
    start = model.weight.detach()[0].clone()
    perturb(model, LINE, data, ridge)
    assert torch.allclose(model.weight.detach()[0], start + ridge * (least - start), atol=1e-4)
    batch = LINE.batch(data, torch.arange(4))
    assert torch.allclose(LINE.outputs(model, batch), batch["targets"], atol=1e-3)  # what is retained stays


def test_erased_points_leave_a_linear_model():
    """Fitted on six points, erased are two: the shortest that fits the other four is what training on these gives."""
    data = points(6)
    model, _ = fitting(data)
    split = Request("r", data.ids[:2]).split(data)
    _, least = fitting(split.retain)
    away = float((model.weight.detach()[0] - least).norm())
    model = MinNorm(epochs=1, settle=0, ridge=1.0, lr=1e-12)(model, split, LINE, seed=0)
    assert away > 1
    assert float((model.weight[0] - least).norm()) < 1e-3


def test_the_projection_is_that_of_a_qr_factor():
    g = torch.Generator().manual_seed(0)
    rows, w = torch.randn(5, 40, generator=g).double(), torch.randn(40, generator=g).double()
    q = torch.linalg.qr(rows.T).Q
    assert torch.allclose(within(rows, w), q @ (q.T @ w), atol=1e-7)
    doubled = torch.cat([rows, rows[:2], torch.zeros(1, 40).double()])  # repeated and empty columns change nothing
    assert torch.allclose(within(doubled, w), q @ (q.T @ w), atol=1e-6)
    assert torch.equal(within(torch.zeros(2, 40).double(), w), torch.zeros(40).double())


def test_the_pass_comes_after_the_perturbation():
    """With one batch and plain arithmetic: the step's gradient is that of the perturbed weights."""
    data, task = blobs(20), blob_task()
    model = NETWORK.train(data, task, seeds=[0])[0]
    split = Request("r", data.ids[:4]).split(data)
    settings = {"epochs": 1, "settle": 0, "ridge": 0.5, "batch": 100, "points": 100}
    found = MinNorm(lr=1e-3, **settings)(copy.deepcopy(model), split, task, seed=0)
    twin = copy.deepcopy(model)
    perturb(twin, task, split.retain, 0.5)
    moved = MinNorm(lr=1e-12, **settings)(copy.deepcopy(model), split, task, seed=0)
    assert torch.allclose(flat(moved.parameters()), flat(twin.parameters()), atol=1e-5)
    twin.requires_grad_(True)
    loss = task.losses(twin, task.batch(split.retain, torch.arange(16))).mean()
    g = flat(torch.autograd.grad(loss, list(twin.parameters())))
    step = flat(found.parameters()) - flat(twin.parameters()).detach()
    clear = g.abs() > 1e-5  # AdamW's first step is lr times the gradient's sign
    assert torch.allclose(step[clear], -1e-3 * g[clear].sign(), atol=2e-5)


def test_ridge_falls_by_the_epoch_and_the_tail_only_descends(monkeypatch):
    used = []
    monkeypatch.setattr(
        "erasable.unlearners.min_norm.perturb", lambda model, task, data, ridge: used.append((len(data), ridge))
    )
    data, task = blobs(40), blob_task()
    model, split = NETWORK.train(data, task, seeds=[0])[0], Request("r", data.ids[:8]).split(data)
    MinNorm(epochs=7, settle=2, period=2, batch=16, ridge=0.8, decay=0.5, points=6)(model, split, task, seed=0)
    assert [ridge for _, ridge in used] == [0.8, 0.8, 0.4, 0.4, 0.2, 0.2]  # epochs 0, 2 and 4, two batches each
    assert all(count <= 6 for count, _ in used)
    used.clear()
    MinNorm(epochs=1, settle=0, batch=16, share=0.25)(model, split, task, seed=0)
    assert [count for count, _ in used] == [8]


def test_constraining_samples_come_evenly_from_the_classes():
    data, task = blobs(60), blob_task()
    at = torch.arange(60)[torch.arange(60) % 3 != 2][:30]
    at = torch.cat([at, torch.tensor([2, 5])])
    chosen = MinNorm(points=9)._points(task, task.batch(data, at), at)
    labels = data.read("label")[chosen]
    assert torch.bincount(labels).tolist() == [3, 3, 2]


def test_what_must_not_change_is_one_number_a_sample():
    lines = sentences().take(torch.arange(3))
    task = NextToken.of(lines)
    method = Network(network="gpt width=8 depth=1 heads=2", recipe=Recipe(epochs=1, batch=4))
    model = method.train(lines, task, seeds=[0])[0]
    batch = task.batch(lines, torch.arange(3))
    expected = torch.stack([torch.stack([row.max() for row in each]).mean() for each in model(batch["inputs"])])
    assert torch.allclose(output(task, 0, model, batch), expected, atol=1e-6)
    task = blob_task()
    batch = task.batch(blobs(5), torch.arange(5))
    network = nn.Linear(2, 3)
    assert torch.equal(output(task, 0, network, batch), network(batch["inputs"]).max(1).values)


def test_it_forgets_a_class_where_descent_alone_does_not():
    data, task = between(), blob_task()
    model = BETWEEN.train(data, task, seeds=[0])[0]
    split = Request("r", data.where("label", 2).ids).split(data)

    def right(of, part):
        batch = task.batch(part, torch.arange(len(part)))
        return float((task.logits(of, batch).argmax(1) == batch["labels"]).float().mean())

    settings = {"epochs": 12, "lr": 5e-3, "batch": 40, "settle": 4, "points": 40}
    with_steps = MinNorm(ridge=0.3, decay=0.9, **settings)(copy.deepcopy(model), split, task, seed=0)
    without = MinNorm(ridge=0.0, **settings)(copy.deepcopy(model), split, task, seed=0)
    assert right(model, split.forget) > 0.9
    assert right(with_steps, split.forget) < right(without, split.forget) - 0.2
    assert right(with_steps, split.retain) > 0.95


@pytest.mark.parametrize("wrong", [{"ridge": 1.5}, {"decay": 0.0}, {"period": 0}, {"points": 0}, {"settle": 11},
                                   {"lr": 0.0}, {"share": 0.0}])  # fmt: skip
def test_settings_are_checked(wrong):
    with pytest.raises(SettingsError):
        MinNorm(**wrong)
