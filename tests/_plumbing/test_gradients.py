"""Gradients over a data set against the obvious loop over samples, for labels and for text."""

import copy

import pytest
import torch

from erasable._plumbing.gradients import batch_importance, dot, flat, mean_gradient, per_sample, shaped
from erasable.network import Network
from erasable.tasks.language import NextToken
from erasable.train import Recipe
from tests.toys import NETWORK, blob_task, blobs, sentences

LINES = sentences()
CASES = {
    "classification": (blobs(23), blob_task(), NETWORK),
    "next-token": (LINES.take(torch.arange(9)), NextToken.of(LINES),
                   Network(network="gpt width=8 depth=1 heads=2", recipe=Recipe(epochs=1, batch=8, lr=0.01))),
}  # fmt: skip


@pytest.fixture(params=CASES)
def case(request):
    data, task, method = CASES[request.param]
    model = method.train(data, task, seeds=[0])[0]
    return data, task, model


def one(model, task, data, at):
    twin = copy.deepcopy(model).requires_grad_(True)
    loss = task.losses(twin, task.batch(data, torch.tensor(at))).mean()
    return flat(torch.autograd.grad(loss, list(twin.parameters())))


def test_one_pass_equals_the_loop_over_samples(case):
    data, task, model = case
    each = torch.stack([one(model, task, data, [i]) for i in range(len(data))])
    assert torch.allclose(flat(mean_gradient(model, task, data, batch=4)), each.mean(0), atol=1e-6)
    for floats in (1, 10 * each.shape[1], 10**9):
        chunks = list(per_sample(model, task, data, floats=floats))
        assert torch.allclose(torch.cat(chunks), each, atol=1e-6)
    assert len(list(per_sample(model, task, data, floats=1))) == len(data)


def test_importance_is_the_mean_square_of_batch_gradients(case):
    data, task, model = case
    parts = torch.arange(len(data)).split(4)
    each = torch.stack([one(model, task, data, part.tolist()) for part in parts])
    assert torch.allclose(flat(batch_importance(model, task, data, batch=4)), each.square().mean(0), atol=1e-7)
    found = flat(batch_importance(model, task, data, batch=4, power=torch.abs))
    assert torch.allclose(found, each.abs().mean(0), atol=1e-6)


def test_the_model_is_left_as_it_was(case):
    data, task, model = case
    before, asked = copy.deepcopy(model.state_dict()), [p.requires_grad for p in model.parameters()]
    mean_gradient(model, task, data, batch=4)
    list(per_sample(model, task, data))
    assert not model.training
    assert asked == [p.requires_grad for p in model.parameters()]
    assert all(p.grad is None for p in model.parameters())
    assert all(torch.equal(before[name], each) for name, each in model.state_dict().items())


def test_flat_and_shaped_are_each_others_reverse(case):
    _, _, model = case
    vector = tuple(torch.randn_like(p) for p in model.parameters())
    again = shaped(flat(vector), model.parameters())
    assert all(torch.equal(a, b) for a, b in zip(vector, again, strict=True))
    assert torch.allclose(dot(vector, vector), flat(vector).square().sum())
