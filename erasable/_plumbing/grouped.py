"""The convolutional layers of many members in one pass.

Vectorised over members, a convolution is a grouped convolution over members x channels, and vmap rearranges its input
in memory before every layer. Here the layers are passed as one, and the input is rearranged once.
`benchmarks/population.py` measures what that brings.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ConvLayers(nn.Sequential):
    """Conv2d, GroupNorm, ReLU, AdaptiveAvgPool2d and Flatten, (batch, channels, height, width) -> (batch, features).

    Alone it is an ordinary nn.Sequential.
    """

    def forward(self, x: Tensor) -> Tensor:
        if torch._C._functorch.is_batchedtensor(x):  # there is no public way to ask
            return _Together.apply(x, tuple(self), *self.parameters())  # type: ignore[no-any-return, no-untyped-call]
        return super().forward(x)  # type: ignore[no-any-return, no-untyped-call]


class _Together(torch.autograd.Function):
    """Exists for its vmap rule, which is made of ordinary operations; so gradients need no rule of their own."""

    @staticmethod
    def forward(x: Tensor, layers: tuple[nn.Module, ...], *weights: Tensor) -> Tensor:
        raise AssertionError("called for inputs that are not vectorised")

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        return None

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[Any, ...], x: Tensor, layers: tuple[nn.Module, ...], *weights: Tensor
    ) -> tuple[Tensor, int]:
        members = info.batch_size
        x = x.movedim(in_dims[0], 1).flatten(1, 2)  # (batch, members x channels, ...)
        given = (
            each.expand(members, *each.shape) if at is None else each.movedim(at, 0)
            for each, at in zip(weights, in_dims[2:], strict=True)
        )
        stacked = (each.flatten(0, 1) for each in given)  # in the order of the layers, a weight before its bias
        for layer in layers:
            weight, bias = (
                None if getattr(layer, name, None) is None else next(stacked) for name in ("weight", "bias")
            )
            match layer:
                case nn.Conv2d():
                    assert weight is not None
                    assert not isinstance(layer.padding, str)
                    groups = layer.groups * members
                    x = F.conv2d(x, weight, bias, layer.stride, layer.padding, layer.dilation, groups)
                case nn.GroupNorm():
                    x = F.group_norm(x, layer.num_groups * members, weight, bias, layer.eps)
                case nn.ReLU() | nn.AdaptiveAvgPool2d():
                    x = layer(x)
                case nn.Flatten():
                    x = torch.unflatten(x.flatten(1), 1, (members, -1))
                case _:
                    raise AssertionError(f"a {type(layer).__name__} among the layers")
        return x, 1
