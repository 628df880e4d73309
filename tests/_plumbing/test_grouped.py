"""Convolutional layers of many members at once are the layers of each."""

import pytest
import torch
from torch import nn
from torch.func import functional_call, stack_module_state, vmap

from erasable.models.convnet import ConvNet

G = torch.Generator().manual_seed(0)


def members(n: int = 3, pool: int = 2) -> list[ConvNet]:
    return [ConvNet((2, 6, 5), widths=(4, 8), groups=2, pool=pool) for _ in range(n)]


def together(base: nn.Module, weights: dict[str, torch.Tensor], x: torch.Tensor, *dims: int | None) -> torch.Tensor:
    return vmap(lambda w, each: functional_call(base, w, (each,)), in_dims=dims)(weights, x)


@pytest.mark.parametrize("pool", [1, 2])
def test_outputs_and_gradients_are_those_of_each_member(pool):
    networks = members(pool=pool)
    weights = stack_module_state(networks)[0]
    x = torch.randn(3, 4, 2, 6, 5, generator=G)
    found = together(networks[0], weights, x, 0, 0)
    expected = torch.stack([network(each) for network, each in zip(networks, x, strict=True)])
    assert torch.allclose(found, expected, atol=1e-5)
    scale = torch.randn(found.shape, generator=G)
    (found * scale).sum().backward()
    (expected * scale).sum().backward()
    for name, stacked in weights.items():
        for i, network in enumerate(networks):
            assert torch.allclose(stacked.grad[i], network.get_parameter(name).grad, atol=1e-4), name


def test_members_on_another_axis_and_shared_weights():
    networks = members()
    weights = stack_module_state(networks)[0]
    x = torch.randn(4, 3, 2, 6, 5, generator=G)
    expected = torch.stack([network(x[:, i]) for i, network in enumerate(networks)])
    assert torch.allclose(together(networks[0], weights, x, 0, 1), expected, atol=1e-5)
    shared = dict(networks[0].named_parameters())
    assert torch.allclose(together(networks[0], shared, x, None, 1),
                          torch.stack([networks[0](x[:, i]) for i in range(3)]), atol=1e-5)  # fmt: skip


def test_the_same_inputs_for_all_members():
    networks = members()
    x = torch.randn(4, 2, 6, 5, generator=G)
    found = together(networks[0], stack_module_state(networks)[0], x, 0, None)
    assert torch.allclose(found, torch.stack([network(x) for network in networks]), atol=1e-5)


def test_gradients_per_sample():
    network, x = members()[0], torch.randn(5, 2, 6, 5, generator=G)
    weights = dict(network.named_parameters())

    def loss(w, one):
        return functional_call(network, w, (one[None],)).square().sum()

    found = vmap(torch.func.grad(loss), in_dims=(None, 0))(weights, x)
    for i, one in enumerate(x):
        network.zero_grad()
        loss(weights, one).backward()
        for name, each in found.items():
            assert torch.allclose(each[i], network.get_parameter(name).grad, atol=1e-4), name
