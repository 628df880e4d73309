"""Sums over samples that can be taken back exactly.

Floating-point addition depends on order, so a sum from which a sample was subtracted differs in its last bits from a sum
that never had it. Here every number is rounded once to a fixed-point integer; integer sums do not depend on order, and
the state after any deletions equals, bit for bit, the state built from what remains.
"""

import torch
from torch import Tensor

from erasable.errors import InvalidData

FIRST = 2.0**24  # fixed-point unit of first moments: 6e-8, float32's own precision near 1
SECOND = 2.0**10  # of second moments, whose integer products must stay exact in float64
LIMIT = 2.0**12  # the largest embedding entry: with 2^20 samples sums stay below 2^62 and 2^53


class ClassSums:
    """Per class: the sum of embeddings and their number; optionally the sum of outer products over all classes.

    sums     (classes, width) int64, in units of 1 / FIRST
    counts   (classes,) int64
    second   (width, width) int64, in units of 1 / SECOND^2, or None
    """

    def __init__(self, classes: int, width: int, *, second: bool = False) -> None:
        self.sums = torch.zeros(classes, width, dtype=torch.int64)
        self.counts = torch.zeros(classes, dtype=torch.int64)
        self.second = torch.zeros(width, width, dtype=torch.int64) if second else None

    def add(self, keys: Tensor, labels: Tensor) -> None:
        """Count embeddings (n, width) with labels (n,) in. Raises InvalidData for entries beyond LIMIT."""
        self._move(keys, labels, 1)

    def remove(self, keys: Tensor, labels: Tensor) -> None:
        """Count them out again; they must be the same numbers that were added."""
        self._move(keys, labels, -1)

    def _move(self, keys: Tensor, labels: Tensor, sign: int) -> None:
        keys, labels = keys.detach().cpu(), labels.cpu()
        if len(keys) and not float(keys.abs().max()) < LIMIT:
            raise InvalidData(f"an embedding with an entry of {float(keys.abs().max()):.3g}",
                              expected=f"finite entries below {LIMIT:.0f}", do="normalise the encoder's output")  # fmt: skip
        self.sums.index_add_(0, labels, (keys.double() * FIRST).round_().long(), alpha=sign)
        self.counts.index_add_(0, labels, torch.ones_like(labels), alpha=sign)
        if self.second is not None:
            for part in (keys.double() * SECOND).round_().split(1 << 16):  # integers: the product is exact
                self.second += sign * (part.T @ part).long()

    def means(self) -> Tensor:
        """(classes, width) float32; zero for a class without samples."""
        return (self.sums.double() / (self.counts.clamp_min(1)[:, None] * FIRST)).float()

    def within(self) -> Tensor:
        """The covariance within classes, (width, width) float64. Needs `second`."""
        if self.second is None:
            raise ValueError("these sums were built without second moments")
        means = self.sums.double() / (self.counts.clamp_min(1)[:, None] * FIRST)
        between = (means * self.counts[:, None].double()).T @ means
        return (self.second.double() / SECOND**2 - between) / max(1, int(self.counts.sum()))
