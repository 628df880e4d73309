"""A small causal transformer for next-token prediction.

    token + position -> depth x (x + attention(norm x), x + mlp(norm x)) -> norm -> logits

Pre-normalised, without dropout and without biases in the blocks: a row's logits depend on no other row, so populations
of it train as one.

Reference: Radford, Wu, Child, Luan, Amodei, Sutskever (2019), "Language Models are Unsupervised Multitask Learners".
Differs: no tied embedding, no dropout, no biases.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from erasable.errors import SettingsError


class GPT(nn.Module):
    """(batch, time) tokens -> (batch, time, vocabulary) logits; position t sees tokens 0 .. t. `shape` is (time,)."""

    def __init__(
        self, shape: Sequence[int], *, vocabulary: int, width: int = 64, depth: int = 2, heads: int = 4, mlp: int = 4
    ) -> None:
        super().__init__()
        if len(shape) != 1 or width % heads:
            raise SettingsError(f"inputs of the shape {tuple(shape)}, width={width}, heads={heads}",
                                expected="one axis of tokens, and a width that the heads divide",
                                do="correct the settings")  # fmt: skip
        self.width = width
        self.token = nn.Embedding(vocabulary, width)
        self.position = nn.Parameter(torch.zeros(shape[0], width))
        self.blocks = nn.ModuleList(Block(width, heads, mlp) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:  # what writes into the residual stream is scaled down by the number of writers
                last = name.endswith(("out.weight", "shrink.weight"))
                nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * depth) if last else 0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.token(tokens) + self.position[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))  # type: ignore[no-any-return]


class Block(nn.Module):
    """(batch, time, width) -> the same."""

    def __init__(self, width: int, heads: int, mlp: int) -> None:
        super().__init__()
        self.heads = heads
        self.attend, self.think = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.grow = nn.Linear(width, mlp * width, bias=False)
        self.shrink = nn.Linear(mlp * width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(self.attend(x)).unflatten(-1, (3, self.heads, -1)).transpose(1, 3).unbind(2)
        scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])  # (batch, heads, time, time)
        future = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).triu(1)
        mixed = scores.masked_fill(future, -torch.inf).softmax(-1) @ v  # (batch, heads, time, width / heads)
        x = x + self.out(mixed.transpose(1, 2).flatten(2))
        return x + self.shrink(nn.functional.gelu(self.grow(self.think(x))))  # type: ignore[no-any-return]
