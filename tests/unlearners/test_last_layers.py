"""CF-k and EU-k: which layers are the last, that the others keep their bits, what they do, and what they refuse."""

import copy

import pytest
import torch
from torch import nn

from erasable._plumbing.seeds import child
from erasable._plumbing.untrained import untrained
from erasable.errors import SettingsError
from erasable.models.resnet import ResNet
from erasable.network import Classifier, Network
from erasable.tasks.language import NextToken
from erasable.unlearners.last_layers import CFk, EUk, last_layers
from tests.toys import TINY, sentences
from tests.unlearners.by_heart import MODEL, SPLIT, TASK, WIDTH, accuracy, rise

TINY_RATE = 1e-12


def test_layers_take_their_normalisation_along():
    network = Classifier(ResNet((1, 8, 8), widths=(8,), blocks=1), 3)
    assert last_layers(network, 1) == ["head"]
    assert last_layers(network, 2) == ["encoder.layers.3.way.3", "encoder.layers.3.way.4", "head"]
    assert last_layers(MODEL, 2) == ["network.encoder.layers.1", "network.head"]
    lines = sentences()
    gpt = Network(network="gpt width=8 depth=1 heads=2", recipe=TINY).build(NextToken.of(lines))
    assert last_layers(gpt, 2) == ["blocks.0.shrink", "norm", "head"]
    assert last_layers(gpt, 7)[0] == ""  # the table of positions is the network's own


def normalised():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(WIDTH, 8), nn.BatchNorm1d(8), nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))


@pytest.mark.parametrize("method", [CFk(k=2, epochs=2, lr=0.1), EUk(k=2, epochs=2, lr=0.1)])
def test_the_other_layers_keep_their_bits(method):
    network = normalised()
    before = copy.deepcopy(network.state_dict())
    method(network, SPLIT, TASK, seed=0)
    moved = {name for name, each in network.state_dict().items() if not torch.equal(each, before[name])}
    assert moved == {name for name in before if name[0] in "234"}


def test_a_layer_that_cf_k_moves_moves_as_in_training():
    twin = copy.deepcopy(MODEL).requires_grad_(True)
    head = twin.network.head
    mean = TASK.losses(twin, TASK.batch(SPLIT.retain, torch.arange(66))).mean()
    gradients = torch.autograd.grad(mean, [head.weight, head.bias])
    method = CFk(epochs=1, lr=0.1, batch=1000, weight_decay=0.3)
    model = method(copy.deepcopy(MODEL), SPLIT, TASK, seed=0)
    for w, old, g in zip(model.network.head.parameters(), head.parameters(), gradients, strict=True):
        assert torch.allclose(w, old - 0.1 * (g + 0.3 * old), atol=1e-6)


def test_eu_k_starts_from_fresh_weights_of_these_layers():
    model = EUk(epochs=1, lr=TINY_RATE)(copy.deepcopy(MODEL), SPLIT, TASK, seed=4)
    fresh = untrained(MODEL, TASK, child(4, "fresh")).network
    assert torch.allclose(model.network.head.weight, fresh.head.weight, atol=1e-6)
    assert not torch.allclose(fresh.head.weight, MODEL.network.head.weight, atol=1e-2)
    assert torch.equal(model.network.encoder.layers[1].weight, MODEL.network.encoder.layers[1].weight)
    network = normalised()
    network[3].running_mean += 5
    EUk(k=2, epochs=1, lr=TINY_RATE)(network, SPLIT, TASK, seed=0)
    assert network[3].running_mean.abs().max() < 1.0, "statistics of the old layer"


def test_new_layers_forget_and_the_rest_stays():
    model = EUk(k=2, lr=0.3, batch=16)(copy.deepcopy(MODEL), SPLIT, TASK, seed=1)
    assert rise(model) > 0.5
    assert accuracy(model, SPLIT.retain) > 0.95
    head = EUk(k=1, lr=0.1, batch=16)(copy.deepcopy(MODEL), SPLIT, TASK, seed=1)
    gone_on = CFk(k=1, lr=0.1, batch=16)(copy.deepcopy(MODEL), SPLIT, TASK, seed=1)
    assert rise(model) > rise(head) > rise(gone_on)  # a head on features that know the samples is not enough
    assert accuracy(gone_on, SPLIT.retain) > 0.95


@pytest.mark.parametrize("kind", [CFk, EUk])
def test_refusals(kind):
    with pytest.raises(SettingsError):
        kind(k=0)
    with pytest.raises(SettingsError):
        kind(lr=0)
    before = copy.deepcopy(MODEL.state_dict())
    with pytest.raises(SettingsError, match="k=3 for a network of 2 layers"):
        kind(k=3)(MODEL, SPLIT, TASK, seed=0)
    assert all(torch.equal(each, before[name]) for name, each in MODEL.state_dict().items())
