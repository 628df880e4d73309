"""CT: which kernels are transposed, the step by hand, what it does, and what it refuses."""

import copy

import pytest
import torch
from torch import nn

from erasable.dataset import Dataset
from erasable.errors import SettingsError, TaskMismatch
from erasable.network import Network
from erasable.request import Request
from erasable.tasks.classification import Classification
from erasable.train import Recipe
from erasable.unlearners.ct import CT, transpose_kernels
from tests.unlearners.by_heart import MODEL, SPLIT, TASK

PIXELS = Classification(shape=(1, 4, 4), classes=2, low=(-4.0,), high=(4.0,), inputs="x")


def stripes(n=48):
    """Horizontal and vertical stripes; the labels of the first six are swapped."""
    g = torch.Generator().manual_seed(0)
    label = torch.arange(n) % 2
    rows = torch.tensor([2.0, -2.0, 2.0, -2.0])[:, None].expand(4, 4)
    x = torch.where(label[:, None, None] == 0, rows, rows.T) + torch.randn(n, 4, 4, generator=g)
    return Dataset.of({"x": x[:, None], "label": torch.where(torch.arange(n) < 6, 1 - label, label)},
                      [f"stripes/{i:02d}" for i in range(n)])  # fmt: skip


def loss(model, data):
    with torch.no_grad():
        return float(PIXELS.losses(model, PIXELS.batch(data, torch.arange(len(data)))).mean())


def test_square_kernels_are_transposed_and_nothing_else():
    torch.manual_seed(0)
    network = nn.ModuleDict({
        "square": nn.Conv2d(2, 3, 3), "back": nn.ConvTranspose2d(2, 3, 2), "flat": nn.Conv2d(2, 3, (1, 3)),
        "point": nn.Conv2d(2, 3, 1), "line": nn.Conv1d(2, 3, 3), "linear": nn.Linear(3, 3),
    })  # fmt: skip
    before = copy.deepcopy(network)
    transpose_kernels(network)
    for name in ("square", "back"):
        for o, i in ((0, 0), (1, 1)):
            for y, x in ((0, 0), (0, 1), (1, 0)):
                assert network[name].weight[o, i, y, x] == before[name].weight[o, i, x, y]
        assert not torch.equal(network[name].weight, before[name].weight)
    for name, each in network.state_dict().items():
        if name not in ("square.weight", "back.weight"):
            assert torch.equal(each, before.state_dict()[name])
    transpose_kernels(network)
    assert all(torch.equal(each, before.state_dict()[name]) for name, each in network.state_dict().items())


def test_step_by_hand():
    data = stripes()
    split = Request("r", data.ids[:6]).split(data)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))
    twin = copy.deepcopy(model)
    transpose_kernels(twin)
    mean = PIXELS.losses(twin, PIXELS.batch(split.retain, torch.arange(42))).mean()
    gradients = torch.autograd.grad(mean, list(twin.parameters()))
    expected = [w - 0.1 * (g + 0.3 * w) for w, g in zip(twin.parameters(), gradients, strict=True)]
    CT(epochs=1, lr=0.1, batch=1000, weight_decay=0.3)(model, split, PIXELS, seed=0)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(model.parameters(), expected, strict=True))


def test_it_forgets_what_was_learnt_by_heart_and_the_rest_stays():
    data = stripes()
    method = Network(network="convnet widths=16,32", recipe=Recipe(epochs=40, batch=16, lr=0.02, weight_decay=0.0))
    model = method.train(data, PIXELS, seeds=[0])[0]
    split = Request("r", data.ids[:6]).split(data)
    after = CT(epochs=5, lr=0.01, batch=16)(copy.deepcopy(model), split, PIXELS, seed=1)
    assert loss(model, split.forget) < 0.3
    assert loss(after, split.forget) > 0.7
    assert loss(after, split.retain) < 0.3


def test_refusals():
    before = copy.deepcopy(MODEL.state_dict())
    with pytest.raises(TaskMismatch, match="without square convolution kernels"):
        CT()(MODEL, SPLIT, TASK, seed=0)
    with pytest.raises(TaskMismatch, match="without square convolution kernels"):
        transpose_kernels(nn.Sequential(nn.Conv2d(1, 2, 1), nn.Conv2d(2, 2, (1, 3))))  # points and lines
    assert all(torch.equal(each, before[name]) for name, each in MODEL.state_dict().items())
    with pytest.raises(SettingsError):
        CT(lr=0)
