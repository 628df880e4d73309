"""Pruning by hand: the smallest weights over all layers, and an exact share."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from erasable.errors import SettingsError
from erasable.forgettable.spm import SPM
from erasable.stresses import Prune
from erasable.unlearner import weights_digest
from tests.toys import NETWORK, TINY, blob_task, blobs


def network():
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[0.1, -5.0], [3.0, -0.2]]))
        model[2].weight.copy_(torch.tensor([[0.3, -4.0]]))
        model[0].bias.fill_(0.001)
    return model


def test_by_hand():
    found = Prune(share=0.5)(network())
    assert found[0].weight.tolist() == [[0.0, -5.0], [3.0, 0.0]]
    assert found[2].weight.tolist() == [[0.0, -4.0]]
    assert found[0].bias.tolist() == pytest.approx([0.001, 0.001])  # biases are not counted
    assert Prune(share=0.0)(network())[0].weight.tolist() == network()[0].weight.tolist()


@settings(max_examples=30, deadline=None)
@given(st.floats(0, 0.99), st.integers(0, 1000))
def test_the_share_is_exact_and_what_stays_is_larger(share, seed):
    layer = nn.Linear(7, 9)
    with torch.no_grad():  # many ties
        layer.weight.copy_(1 + torch.randint(0, 4, (9, 7), generator=torch.Generator().manual_seed(seed)))
    found, weight = Prune(share=share)(layer).weight, layer.weight.detach()
    gone = found == 0
    assert int(gone.sum()) == int(share * 63 + 1e-9)
    assert torch.equal(found[~gone], weight[~gone])
    if bool(gone.any()):
        assert float(weight[gone].max()) <= float(weight[~gone].min())


def test_the_weightmodel_is_unchanged():
    data, task = blobs(), blob_task()
    for model in (NETWORK.train(data, task, seeds=[0])[0],
                  SPM(network="mlp width=8", recipe=TINY).train(data, task, seeds=[0])[0]):  # fmt: skip
        before = weights_digest(model)
        found = Prune()(model)
        assert weights_digest(model) == before
        assert weights_digest(found) == weights_digest(Prune()(model)) != before


def test_nonsense_is_refused():
    for share in (-0.1, 1.0):
        with pytest.raises(SettingsError):
            Prune(share=share)
