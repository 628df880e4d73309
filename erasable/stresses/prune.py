"""Set the smallest weights to zero, as for deployment: does erased knowledge hide in them, or come back without them?

The `share` of all weights with the smallest magnitude goes, over all layers together. Weights of two and more axes are
counted; biases and normalisation stay as they are. Of equal magnitudes the earlier ones go, so the share is exact.

S. Han, J. Pool, J. Tran, W. Dally, *Learning both weights and connections for efficient neural networks* (NeurIPS 2015,
arXiv 1506.02626). Differs: one threshold for all layers, in one go, without training afterwards.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from erasable.errors import SettingsError
from erasable.stresses._network import trainable


@dataclass(frozen=True, kw_only=True)
class Prune:
    """model -> a copy of its network without its smallest weights. The model is never changed."""

    share: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.share < 1:
            raise SettingsError(f"share={self.share}", expected="a share in [0, 1)", do="correct it")

    @torch.no_grad()
    def __call__(self, model: Any) -> nn.Module:
        network = trainable(model).requires_grad_(False)
        weights = [each for each in network.parameters() if each.is_floating_point() and each.ndim >= 2]
        if not weights:
            return network
        sizes = torch.cat([each.abs().flatten().float() for each in weights])
        kept = torch.ones_like(sizes, dtype=torch.bool)
        kept[sizes.argsort(stable=True)[: int(self.share * len(sizes) + 1e-9)]] = False
        for weight, keep in zip(weights, torch.split(kept, [each.numel() for each in weights]), strict=True):
            weight.mul_(keep.view_as(weight))
        return network
