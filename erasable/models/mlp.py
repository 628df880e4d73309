"""A multi-layer perceptron encoder: flattened input -> width features."""

import math
from collections.abc import Sequence

from torch import Tensor, nn


class MLP(nn.Module):
    """(batch, *shape) -> (batch, width), ReLU after every layer."""

    def __init__(self, shape: Sequence[int], *, width: int = 128, depth: int = 1) -> None:
        super().__init__()
        self.width = width
        sizes = [math.prod(shape), *[width] * depth]
        self.layers = nn.Sequential(
            nn.Flatten(), *(layer for a, b in zip(sizes, sizes[1:], strict=False) for layer in (nn.Linear(a, b), nn.ReLU()))
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)  # type: ignore[no-any-return]
