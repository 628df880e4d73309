"""MSG: which weights are drawn anew, how the others are held back, what it does, and what it refuses."""

import copy

import pytest
import torch
from torch import nn

from erasable._plumbing.seeds import generator
from erasable.errors import SettingsError, TaskMismatch
from erasable.models.convnet import ConvNet
from erasable.network import Classifier, Network
from erasable.tasks.language import NextToken
from erasable.unlearners.msg import MSG, inner_weights
from tests.toys import TINY, sentences
from tests.unlearners.by_heart import MODEL, SPLIT, TASK, accuracy, rise


def gradient(model, data, weight):
    batch = TASK.batch(data, torch.arange(len(data)))
    model.requires_grad_(True)
    found = torch.autograd.grad(TASK.losses(model, batch).sum(), weight(model))[0]
    model.requires_grad_(False)
    return found


def hidden(model):
    return model.network.encoder.layers[1].weight


def test_layers_are_all_but_the_head():
    convnet = Classifier(ConvNet((1, 8, 8), widths=(8, 8)), 3)
    names = {id(p): name for name, p in convnet.named_parameters()}
    assert [names[id(p)] for p in inner_weights(convnet)] == ["encoder.layers.0.weight", "encoder.layers.3.weight"]
    assert [id(p) for p in inner_weights(MODEL)] == [id(hidden(MODEL))]
    lines = sentences()
    gpt = Network(network="gpt width=8 depth=1 heads=2", recipe=TINY).build(NextToken.of(lines))
    assert len(inner_weights(gpt)) == 4  # attention's two and the perceptron's two, not the head


def test_the_smallest_gradients_are_drawn_anew_and_nothing_else():
    model = copy.deepcopy(MODEL)
    sample = SPLIT.retain.take(torch.randperm(66, generator=generator(3, "retain"))[:6])
    g = (gradient(model, sample, hidden) - gradient(model, SPLIT.forget, hidden)).abs()
    [drawn] = MSG(share=0.3).redraw(model, inner_weights(model), SPLIT, TASK, seed=3)
    assert int(drawn.sum()) == round(0.3 * drawn.numel())
    assert g[drawn].max() <= g[~drawn].min() + 1e-6
    new, old = hidden(model), hidden(MODEL)
    assert torch.equal(new[~drawn], old[~drawn])
    assert not (new[drawn] == old[drawn]).any()
    assert float(new[drawn].std()) == pytest.approx((2 / 32) ** 0.5, rel=0.2)  # 32 outputs
    assert all(torch.equal(a, b) for (name, a), b in zip(model.named_parameters(), MODEL.parameters(), strict=True)
               if name != "network.encoder.layers.1.weight")  # fmt: skip


def test_the_others_are_held_back():
    method = MSG(epochs=1, lr=0.1, batch=1000, momentum=0.0, weight_decay=0.3, damping=0.2, warmup=0.0)
    start = copy.deepcopy(MODEL)
    [drawn] = method.redraw(start, inner_weights(start), SPLIT, TASK, seed=3)
    model = method(copy.deepcopy(MODEL), SPLIT, TASK, seed=3)
    g = gradient(start, SPLIT.retain, hidden) / 66
    expected = hidden(start) - 0.1 * (torch.where(drawn, g, 0.2 * g) + 0.3 * hidden(start))
    assert torch.allclose(hidden(model), expected, atol=1e-6)
    head = gradient(start, SPLIT.retain, lambda each: each.network.head.weight) / 66
    expected = start.network.head.weight * (1 - 0.03) - 0.1 * head
    assert torch.allclose(model.network.head.weight, expected, atol=1e-6)
    assert not hidden(model)._backward_hooks, "a hook was left behind"


def test_it_forgets_and_the_rest_stays():
    model = MSG(lr=0.1, batch=16, share=0.6)(copy.deepcopy(MODEL), SPLIT, TASK, seed=1)
    assert rise(model) > 0.1
    assert accuracy(model, SPLIT.forget) < 0.7
    assert accuracy(model, SPLIT.retain) > 0.95


def test_refusals():
    before = copy.deepcopy(MODEL.state_dict())
    with pytest.raises(TaskMismatch, match="before its head"):
        MSG()(nn.Sequential(nn.Flatten(), nn.Linear(2, 3)), SPLIT, TASK, seed=0)
    assert all(torch.equal(each, before[name]) for name, each in MODEL.state_dict().items())
    for settings in ({"share": 0}, {"share": 2}, {"damping": -1}, {"warmup": 2}, {"lr": 0}):
        with pytest.raises(SettingsError):
            MSG(**settings)
