"""A multi-layer perceptron encoder: flattened input -> width features."""

import math
from collections.abc import Sequence

from torch import Tensor, nn

from erasable.errors import SettingsError

ACTIVATIONS = {"relu": nn.ReLU, "silu": nn.SiLU, "gelu": nn.GELU, "tanh": nn.Tanh}


class MLP(nn.Module):
    """(batch, *shape) -> (batch, width), the activation after every layer."""

    def __init__(self, shape: Sequence[int], *, width: int = 128, depth: int = 1, activation: str = "relu") -> None:
        super().__init__()
        if width < 1 or depth < 1:
            raise SettingsError(f"width={width} depth={depth}", expected="at least 1", do="correct the settings")
        if activation not in ACTIVATIONS:
            raise SettingsError(f"activation={activation}", expected=f"one of {', '.join(ACTIVATIONS)}",
                                do="choose one")  # fmt: skip
        self.width = width
        layers: list[nn.Module] = [nn.Flatten()]
        for inside in [math.prod(shape), *[width] * (depth - 1)]:
            layers += [nn.Linear(inside, width), ACTIVATIONS[activation]()]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)  # type: ignore[no-any-return]
