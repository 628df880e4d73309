"""Quantisation by hand, and its bounds."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from erasable.errors import SettingsError
from erasable.forgettable.spm import SPM
from erasable.stresses import Quantize
from erasable.unlearner import weights_digest
from tests.toys import NETWORK, TINY, blob_task, blobs


def linear(weight, bias=(0.3, -0.1)):
    layer = nn.Linear(len(weight[0]), len(weight))
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(weight))
        layer.bias.copy_(torch.tensor(bias))
    return layer


def test_by_hand():
    """Three bits are -3 .. 3: steps of 0.1 in the first channel, 2 in the second."""
    found = Quantize(bits=3)(linear([[0.3, -0.14, 0.16], [-6.0, 0.9, 1.1]]))
    assert found.weight.flatten().tolist() == pytest.approx([0.3, -0.1, 0.2, -6.0, 0.0, 2.0])
    assert found.bias.tolist() == pytest.approx([0.3, -0.1])
    assert found.weight.dtype == torch.float32
    zero = Quantize()(linear([[0.0, 0.0], [1.0, 2.0]]))
    assert zero.weight[0].tolist() == [0.0, 0.0]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 8))
def test_no_weight_moves_by_more_than_half_a_step(seed, bits):
    g = torch.Generator().manual_seed(seed)
    layer = nn.Conv2d(3, 4, 3)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(4, 3, 3, 3, generator=g) * torch.rand(4, 1, 1, 1, generator=g))
    found = Quantize(bits=bits)(layer)
    step = layer.weight.abs().flatten(1).max(1).values / (2 ** (bits - 1) - 1)
    assert bool(((found.weight - layer.weight).abs().flatten(1).max(1).values <= 0.5001 * step).all())
    assert all(len(each.unique()) <= 2**bits - 1 for each in found.weight)
    again = Quantize(bits=bits)(found)
    assert torch.allclose(again.weight, found.weight, atol=1e-6)


def test_the_given_model_is_unchanged():
    data, task = blobs(), blob_task()
    x = task.batch(data, torch.arange(len(data)))["inputs"]
    for model in (NETWORK.train(data, task, seeds=[0])[0],
                  SPM(network="mlp width=8", recipe=TINY).train(data, task, seeds=[0])[0]):  # fmt: skip
        before, kept = weights_digest(model), copy.deepcopy(model)
        found = Quantize()(model)
        assert weights_digest(model) == before == weights_digest(kept)
        assert weights_digest(found) == weights_digest(Quantize()(model)) != before
        near, far = (float((each(x).softmax(1) - model(x).softmax(1)).abs().max())
                     for each in (found, Quantize(bits=2)(model)))  # fmt: skip
        assert near < 0.02 < far


def test_nonsense_is_refused():
    for bits in (1, 17):
        with pytest.raises(SettingsError):
            Quantize(bits=bits)
