"""A small convolutional encoder with batch-independent normalisation."""

from collections.abc import Sequence

from torch import Tensor, nn


class ConvNet(nn.Module):
    """(batch, channels, height, width) -> (batch, width): conv-GroupNorm-ReLU blocks, each after the first with stride 2.

    widths  the blocks' channels
    pool    the last block's features are averaged to pool x pool positions: width = widths[-1] * pool^2. More positions
            tell a head that is fitted in closed form more; a learned similarity of that width has many parameters
    """

    def __init__(
        self, shape: Sequence[int], *, widths: Sequence[int] = (32, 64, 128), groups: int = 8, pool: int = 1
    ) -> None:
        super().__init__()
        self.width = widths[-1] * pool**2
        layers: list[nn.Module] = []
        inside = shape[0]
        for i, outside in enumerate(widths):
            conv = nn.Conv2d(inside, outside, 3, stride=2 if i else 1, padding=1, bias=False)
            layers += [conv, nn.GroupNorm(groups, outside), nn.ReLU()]
            inside = outside
        self.layers = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(pool), nn.Flatten())

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)  # type: ignore[no-any-return]
