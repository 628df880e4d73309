"""A residual network for small pictures: a 3 x 3 stem without pooling, then stages of basic blocks.

The defaults are ResNet-18's widths and blocks. Normalisation is over groups of channels, so that a picture's features
depend on no other picture; norm="batch" is the original, which populations refuse (train with sequential=True).

Reference: He, Zhang, Ren, Sun (2015), "Deep Residual Learning for Image Recognition", arXiv:1512.03385; Wu, He (2018),
"Group Normalization", arXiv:1803.08494. Differs: the stem is the one that is customary for 32 x 32 pixels.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from erasable.errors import SettingsError


class ResNet(nn.Module):
    """(batch, channels, height, width) -> (batch, widths[-1]).

    widths   channels of the stages; each after the first halves height and width
    blocks   per stage
    norm     "group" (`groups` groups of channels) or "batch"
    """

    def __init__(
        self,
        shape: Sequence[int],
        *,
        widths: Sequence[int] = (64, 128, 256, 512),
        blocks: int = 2,
        norm: str = "group",
        groups: int = 8,
    ) -> None:
        super().__init__()
        if norm not in ("group", "batch") or blocks < 1 or (norm == "group" and any(each % groups for each in widths)):
            raise SettingsError(f"norm={norm} groups={groups} blocks={blocks} widths={list(widths)}",
                                expected="norm=group with groups that divide the widths, or norm=batch",
                                do="correct the encoder's settings")  # fmt: skip
        self.width = widths[-1]

        def normed(channels: int) -> nn.Module:
            return nn.BatchNorm2d(channels) if norm == "batch" else nn.GroupNorm(groups, channels)

        def conv(inside: int, outside: int, size: int, stride: int) -> nn.Module:
            return nn.Conv2d(inside, outside, size, stride=stride, padding=size // 2, bias=False)

        def block(inside: int, outside: int, stride: int) -> nn.Module:
            way = nn.Sequential(conv(inside, outside, 3, stride), normed(outside), nn.ReLU(),
                                conv(outside, outside, 3, 1), normed(outside))  # fmt: skip
            same = inside == outside and stride == 1
            return Residual(
                way, nn.Identity() if same else nn.Sequential(conv(inside, outside, 1, stride), normed(outside))
            )

        layers: list[nn.Module] = [conv(shape[0], widths[0], 3, 1), normed(widths[0]), nn.ReLU()]
        inside = widths[0]
        for stage, outside in enumerate(widths):
            for i in range(blocks):
                layers.append(block(inside, outside, 2 if stage and i == 0 else 1))
                inside = outside
        self.layers = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)  # type: ignore[no-any-return]


class Residual(nn.Module):
    """relu(way(x) + short(x))."""

    def __init__(self, way: nn.Module, short: nn.Module) -> None:
        super().__init__()
        self.way, self.short = way, short

    def forward(self, x: Tensor) -> Tensor:
        return (self.way(x) + self.short(x)).relu()  # type: ignore[no-any-return]
