"""Fresh weights: those that training starts from, drawn by a seed, and refused where nobody knows how."""

import copy

import pytest
import torch
from torch import nn

from erasable._plumbing.untrained import untrained
from erasable.errors import TaskMismatch
from erasable.network import Network
from erasable.tasks.language import NextToken
from erasable.train import Supervised, fresh
from tests.toys import NETWORK, TINY, blob_task, blobs, sentences

DATA, TASK = blobs(), blob_task()


def test_the_weights_are_those_that_training_starts_from():
    model = NETWORK.train(DATA, TASK, seeds=[0])[0]
    before = copy.deepcopy(model.state_dict())
    twin = untrained(model, TASK, 7)
    start = fresh(Supervised(lambda: NETWORK.build(TASK), TASK), DATA, 7)
    assert all(torch.equal(a, b) for a, b in zip(twin.parameters(), start.parameters(), strict=True))
    assert all(torch.equal(before[name], each) for name, each in model.state_dict().items())
    assert not any(p.requires_grad for p in twin.parameters())
    lines = sentences()
    gpt = Network(network="gpt width=8 depth=1 heads=2", recipe=TINY).train(lines, NextToken.of(lines), seeds=[0])[0]
    assert float(untrained(gpt, gpt.task, 1).network.token.weight.std()) < 0.03


def test_a_bare_network_resets_its_layers():
    network = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))
    network[1].running_mean += 5
    state = torch.get_rng_state()
    one, same, other = (untrained(network, TASK, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(one[0].weight, same[0].weight)
    assert not torch.equal(one[0].weight, other[0].weight)
    assert not torch.equal(one[0].weight, network[0].weight)
    assert not one[1].running_mean.any()


def test_a_layer_of_unknown_origin_is_refused():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(2))

    with pytest.raises(TaskMismatch, match=r"layer '0' \(Odd\)"):
        untrained(nn.Sequential(Odd()), TASK, 0)
