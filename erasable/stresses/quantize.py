"""Round the weights to int8, as for deployment: does erased knowledge come back with the digits that are lost?

    w' = round(w / s) * s,   s = max |w| / (2^(bits - 1) - 1)  over each output channel

Methods that move weights by little hide what they did in digits that rounding takes away, and the rounded model knows
again. Weights of two and more axes are rounded, symmetrically around zero, with a scale per entry of the first axis;
biases and normalisation stay as they are, as in practice. The result is float32 again and runs everywhere.

Z. Zhang et al., *Catastrophic failure of LLM unlearning via quantization* (ICLR 2025, arXiv 2410.16454).
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from erasable.errors import SettingsError
from erasable.stresses._network import trainable


@dataclass(frozen=True, kw_only=True)
class Quantize:
    """model -> a copy of its network with rounded weights. The model is never changed."""

    bits: int = 8

    def __post_init__(self) -> None:
        if not 2 <= self.bits <= 16:
            raise SettingsError(f"bits={self.bits}", expected="2 to 16", do="choose 8 for int8, 4 for int4")

    @torch.no_grad()
    def __call__(self, model: Any) -> nn.Module:
        network = trainable(model).requires_grad_(False)
        for weight in network.parameters():
            if weight.is_floating_point() and weight.ndim >= 2:
                weight.copy_(self._rounded(weight))
        return network

    def _rounded(self, weight: Tensor) -> Tensor:
        rows = weight.flatten(1).float()
        scale = rows.abs().amax(dim=1, keepdim=True) / (2 ** (self.bits - 1) - 1)
        scale = torch.where(scale > 0, scale, 1.0)  # a channel of zeros stays one
        return ((rows / scale).round() * scale).view_as(weight)
