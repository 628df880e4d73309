"""Steps on a loss of one's own: by hand, with weights that stay, and with both halves of a split."""

import copy

import pytest
import torch
from torch import nn

from erasable._plumbing.steps import batches_in, descend, pairs, still_statistics, together
from erasable._plumbing.weights import unfrozen
from erasable.request import Request
from erasable.train import Recipe
from tests.toys import NETWORK, blob_task, blobs

DATA, TASK = blobs(50), blob_task()
SPLIT = Request("r", DATA.ids[:8]).split(DATA)
SGD = Recipe(epochs=1, lr=0.1, momentum=0.9, weight_decay=0.1, warmup=0.0, optimizer="sgd")


def test_one_step_by_hand():
    model = NETWORK.train(DATA, TASK, seeds=[0])[0]
    twin = copy.deepcopy(model).requires_grad_(True)
    batch = TASK.batch(DATA, torch.arange(10))
    gradients = torch.autograd.grad(TASK.losses(twin, batch).sum(), list(twin.parameters()))
    expected = [w - 0.1 * (g + 0.1 * w) for w, g in zip(model.parameters(), gradients, strict=True)]
    with unfrozen(model, train=False):
        descend(model, [batch], lambda each: TASK.losses(model, each).sum(), SGD, steps=1)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(model.parameters(), expected, strict=True))


def test_weights_that_may_not_move_do_not():
    model = NETWORK.train(DATA, TASK, seeds=[0])[0]
    before = [p.clone() for p in model.parameters()]
    moving = [torch.rand(p.shape, generator=torch.Generator().manual_seed(i)) < 0.5 for i, p in enumerate(before)]
    batch = TASK.batch(DATA, torch.arange(10))
    with unfrozen(model, train=False):
        descend(model, [batch] * 5, lambda each: TASK.losses(model, each).mean(), SGD, steps=5, moving=moving)
    for weight, old, free in zip(model.parameters(), before, moving, strict=True):
        assert torch.equal(weight[~free], old[~free]), "decay and momentum moved it"
        assert not torch.equal(weight[free], old[free])


def test_a_schedule_of_ones_own():
    model = NETWORK.train(DATA, TASK, seeds=[0])[0]
    before = [p.clone() for p in model.parameters()]
    batch = TASK.batch(DATA, torch.arange(10))
    with unfrozen(model, train=False):
        descend(model, [batch] * 3, lambda each: TASK.losses(model, each).mean(), SGD, steps=3, factor=lambda _: 0.0)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), before, strict=True))


@pytest.mark.parametrize("mixed", [False, True])
def test_both_halves_together(mixed):
    found = list(together(TASK, SPLIT, 5, epochs=2, seed=1, mixed=mixed))
    positions = torch.cat([at for _, at in found])
    assert torch.equal(positions[positions >= 0].sort().values, torch.arange(8).repeat_interleave(2))
    assert len(positions) == 2 * len(DATA)
    erased = TASK.batch(SPLIT.forget, torch.arange(8))["inputs"]
    for batch, at in found:
        gone = at >= 0
        assert torch.equal(batch["inputs"][gone], erased[at[gone]])
        assert not any((erased == each).all(1).any() for each in batch["inputs"][~gone])
    alone = [bool((at >= 0).all()) or bool((at < 0).all()) for _, at in found]
    assert all(alone) is not mixed
    if not mixed:
        assert [len(at) for _, at in found[:3]] == [5, 3, 5]


def test_pairs_go_once_through_one_half_and_again_through_the_other():
    for over, long in (("retain", SPLIT.retain), ("forget", SPLIT.forget)):
        found = list(pairs(TASK, SPLIT, 3, epochs=2, seed=1, over=over))
        assert len(found) == batches_in(long, 3, epochs=2)
        erased, kept = (torch.cat([pair[side]["inputs"] for pair in found]) for side in (0, 1))
        seen = erased if over == "forget" else kept
        assert len(seen) == 2 * len(long)
        whole = TASK.batch(SPLIT.forget, torch.arange(len(SPLIT.forget)))["inputs"]
        assert all((whole == each).all(1).any() for each in erased)
        assert not any((whole == each).all(1).any() for each in kept)


def test_statistics_stand_still_inside_only():
    network = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4)).train()
    x = torch.randn(8, 2, generator=torch.Generator().manual_seed(0)) + 3
    before = network[1].running_mean.clone()
    with still_statistics(network):
        network(x)
    assert torch.equal(network[1].running_mean, before)
    network(x)
    assert not torch.equal(network[1].running_mean, before)
