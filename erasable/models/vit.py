"""A small vision transformer with one exemplar slot: what it reads beside the picture is a token from a memory.

    [CLS] [exemplar] [patch 1] ... [patch P]  ->  blocks  ->  LayerNorm of CLS

The exemplar is a value vector, projected to the width of the tokens. A learned null value stands for "no memory" and a
learned mask token for "no picture", so that either pathway can be switched off per sample. Without a memory the network
is an ordinary vision transformer.

Dosovitskiy et al.: An image is worth 16x16 words (2020, arXiv:2010.11929); the exemplar slot follows Laguna et al.:
Rethinking machine unlearning: models designed to forget via key deletion (2026, arXiv:2603.15033). How their exemplars
enter the transformer is not published; this is our choice. The last block computes CLS only: nothing else is read.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from erasable.errors import SettingsError


class ViT(nn.Module):
    """(batch, *shape) -> (batch, width) features of CLS.

    shape        (channels, height, width), cut into squares of `patch` pixels; or (features,), cut into groups of
                 `patch` features, each group with its own projection
    stem         channels of a 3 x 3 convolution before the patches are cut; 0 for none; rows of features have none
    mlp          width of a block's hidden layer, in widths
    value_width  of an exemplar's value
    """

    def __init__(
        self,
        shape: Sequence[int],
        *,
        patch: int = 4,
        width: int = 64,
        depth: int = 2,
        heads: int = 2,
        mlp: int = 2,
        stem: int = 0,
        value_width: int = 128,
    ) -> None:
        super().__init__()
        if min(patch, width, depth, heads, mlp, value_width) < 1 or stem < 0 or width % heads:
            raise SettingsError(f"patch={patch}, width={width}, depth={depth}, heads={heads}, mlp={mlp}, stem={stem}",
                                expected="positive numbers, and a width that the heads divide",
                                do="correct the network")  # fmt: skip
        if len(shape) not in (1, 3) or (len(shape) == 3 and (shape[1] % patch or shape[2] % patch)):
            raise SettingsError(f"inputs of the shape {tuple(shape)} in patches of {patch}",
                                expected="(features,), or (channels, height, width) that the patch divides",
                                do="choose another patch")  # fmt: skip
        self.width, self.value_width = width, value_width
        self.patches = PatchPixels(shape, patch, width, stem) if len(shape) == 3 else PatchFeatures(shape, patch, width)
        self.position = nn.Parameter(torch.empty(self.patches.count, width).normal_(std=0.02))
        self.cls = nn.Parameter(torch.empty(width).normal_(std=0.02))
        self.mask = nn.Parameter(torch.empty(width).normal_(std=0.02))
        self.null = nn.Parameter(torch.zeros(value_width))
        self.exemplar = nn.Linear(value_width, width)  # its bias is the slot's type embedding
        self.blocks = nn.ModuleList(Block(width, heads, mlp * width) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    def forward(
        self, x: Tensor, values: Tensor | None = None, *, present: Tensor | None = None, visible: Tensor | None = None
    ) -> Tensor:
        """The features of x (batch, *shape), read beside the exemplars `values` (batch, value_width).

        values   None: the null value for every sample. (batch, k, value_width): k exemplars read one at a time, giving
                 (batch, k, width); the patches are embedded once
        present  (batch,) bool, False where the null value takes the exemplar's place
        visible  (batch,) bool, False where the mask token takes the place of the patches
        """
        if values is not None and values.ndim == 3:
            variants = values.shape[1]
            tokens = self.tokens(x, visible).repeat_interleave(variants, dim=0)
            return torch.unflatten(self.read(tokens, values.flatten(0, 1)), 0, (len(x), variants))
        if values is None:
            values = self.null.expand(len(x), -1)
        elif present is not None:
            values = torch.where(present[:, None], values, self.null)
        return self.read(self.tokens(x, visible), values)

    def tokens(self, x: Tensor, visible: Tensor | None = None) -> Tensor:
        """The patch tokens with their positions, (batch, patches, width)."""
        patches: Tensor = self.patches(x)
        if visible is not None:
            patches = torch.where(visible[:, None, None], patches, self.mask)
        return patches + self.position

    def read(self, tokens: Tensor, values: Tensor) -> Tensor:
        """CLS (batch, width) after the blocks, from patch tokens and one value (batch, value_width) each."""
        cls = self.cls.expand(len(tokens), 1, -1)
        x = torch.cat([cls, self.exemplar(values)[:, None], tokens], dim=1)  # (batch, 2 + patches, width)
        for i, block in enumerate(self.blocks):
            x = block(x, 1 if i + 1 == len(self.blocks) else x.shape[1])
        return self.norm(x[:, 0])  # type: ignore[no-any-return]


class Block(nn.Module):
    """Attention and a two-layer network, each after a LayerNorm and beside a shortcut.

    Attention is written as two products: the fused kernel has no vectorised form for populations, and is not faster for
    a dozen tokens. Keys and values have no bias: softmax ignores that of the keys (whose gradient would be nothing but
    rounding, which AdamW blows up), and that of the values is one with the bias of the projection.
    """

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key_value = nn.Linear(width, width), nn.Linear(width, 2 * width, bias=False)
        self.project = nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(self, x: Tensor, wanted: int) -> Tensor:
        """x (batch, tokens, width) -> the first `wanted` tokens."""
        y = self.norm1(x)
        query = self._split(self.query(y[:, :wanted]))  # (batch, heads, wanted, width / heads)
        key, value = (self._split(each) for each in self.key_value(y).chunk(2, dim=-1))
        attention = (query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])).softmax(dim=-1)
        x = x[:, :wanted] + self.project((attention @ value).transpose(1, 2).flatten(2))
        return x + self.mlp(self.norm2(x))  # type: ignore[no-any-return]

    def _split(self, x: Tensor) -> Tensor:
        return torch.unflatten(x, -1, (self.heads, -1)).transpose(1, 2)


class PatchPixels(nn.Module):
    """(batch, channels, height, width) -> (batch, patches, width)."""

    def __init__(self, shape: Sequence[int], patch: int, width: int, stem: int) -> None:
        super().__init__()
        self.count = (shape[1] // patch) * (shape[2] // patch)
        self.stem = nn.Sequential(nn.Conv2d(shape[0], stem, 3, padding=1), nn.ReLU()) if stem else nn.Identity()
        self.cut = nn.Conv2d(stem or shape[0], width, patch, stride=patch)

    def forward(self, x: Tensor) -> Tensor:
        return self.cut(self.stem(x)).flatten(2).transpose(1, 2)  # type: ignore[no-any-return]


class PatchFeatures(nn.Module):
    """(batch, features) -> (batch, patches, width); the last group is filled up with zeros."""

    def __init__(self, shape: Sequence[int], patch: int, width: int) -> None:
        super().__init__()
        self.patch, self.count = patch, math.ceil(shape[0] / patch)
        self.weight = nn.Parameter(torch.empty(self.count, patch, width).uniform_(-(patch**-0.5), patch**-0.5))

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.pad(x, (0, self.count * self.patch - x.shape[1]))
        return torch.einsum("btp,tpw->btw", torch.unflatten(x, 1, (self.count, self.patch)), self.weight)
