"""A small convolutional encoder with batch-independent normalisation."""

from collections.abc import Sequence

from torch import Tensor, nn

from erasable._plumbing.grouped import ConvLayers
from erasable.errors import SettingsError


class ConvNet(nn.Module):
    """(batch, channels, height, width) -> (batch, width): blocks of conv, GroupNorm, ReLU; stride 2 after the first.

    widths  the blocks' channels
    pool    the last block's features are averaged to pool x pool positions: width = widths[-1] * pool^2. More positions
            tell a head that is fitted in closed form more; a learned similarity of that width has many parameters
    """

    def __init__(
        self,
        shape: Sequence[int],
        *,
        widths: Sequence[int] = (32, 64, 128),
        groups: int = 8,
        pool: int = 1,
    ) -> None:
        super().__init__()
        if len(shape) != 3 or pool < 1 or groups < 1 or any(each < 1 or each % groups for each in widths):
            raise SettingsError(f"widths={list(widths)} groups={groups} pool={pool} for inputs of {tuple(shape)}",
                                expected="pictures, (channels, height, width), and groups that divide the widths",
                                do="correct the encoder's settings, or choose another encoder")  # fmt: skip
        self.width = widths[-1] * pool**2
        layers: list[nn.Module] = []
        inside = shape[0]
        for i, outside in enumerate(widths):
            conv = nn.Conv2d(inside, outside, 3, stride=2 if i else 1, padding=1, bias=False)
            layers += [conv, nn.GroupNorm(groups, outside), nn.ReLU()]
            inside = outside
        self.layers = ConvLayers(*layers, nn.AdaptiveAvgPool2d(pool), nn.Flatten())

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)  # type: ignore[no-any-return]
