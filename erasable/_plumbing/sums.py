"""Sums over samples that can be taken back exactly.

Floating-point addition depends on order, so a sum from which a sample was subtracted differs in its last bits from a
sum that never had it. Here every number is rounded once to a fixed-point integer; integer sums do not depend on order,
and the state after any deletions equals, bit for bit, the state built from what remains.
"""

import torch
from torch import Tensor

from erasable.errors import InvalidData

FIRST = 2.0**24  # fixed-point unit of first moments: 6e-8, float32's own precision near 1
SECOND = 2.0**10  # of second moments, coarser so that their integer products stay exact in float64
LIMIT = 2.0**11  # the largest embedding entry: with 2^20 samples every sum stays below 2^63
ROWS = 1 << 11  # multiplied at a time: a product is below 2^42, and a sum of so many is exact in float64 (2^53)


class ClassSums:
    """Per class: the sum of embeddings and their number; optionally the sum of outer products over all classes.

    sums     (classes, width) int64, in units of 1 / FIRST
    counts   (classes,) int64
    coarse   (classes, width) int64, in units of 1 / SECOND: sums of the very numbers that `second` multiplies. None
             without second moments
    second   (width, width) int64, in units of 1 / SECOND^2, or None
    """

    def __init__(self, classes: int, width: int, *, second: bool = False) -> None:
        self.sums = torch.zeros(classes, width, dtype=torch.int64)
        self.counts = torch.zeros(classes, dtype=torch.int64)
        self.coarse = torch.zeros_like(self.sums) if second else None
        self.second = torch.zeros(width, width, dtype=torch.int64) if second else None

    @staticmethod
    def check(keys: Tensor) -> None:
        """Raises InvalidData for entries that `add` would refuse."""
        most = float(keys.abs().max()) if keys.numel() else 0.0
        if not most < LIMIT:  # written so that NaN is refused as well
            raise InvalidData(f"an embedding with an entry of {most:.3g}", expected=f"finite entries below {LIMIT:.0f}",
                              do="normalise the encoder's output")  # fmt: skip

    def add(self, keys: Tensor, labels: Tensor) -> None:
        """Count embeddings (n, width) with labels (n,) in. Raises InvalidData for entries beyond LIMIT."""
        self.check(keys)
        self._move(keys, labels, 1)

    def remove(self, keys: Tensor, labels: Tensor) -> None:
        """Count them out again; they must be the same numbers that were added."""
        self._move(keys, labels, -1)

    def _move(self, keys: Tensor, labels: Tensor, sign: int) -> None:
        keys, labels = keys.detach().cpu().float(), labels.cpu()
        self.counts.index_add_(0, labels, torch.ones_like(labels), alpha=sign)
        self.sums.index_add_(0, labels, (keys * FIRST).round_().long(), alpha=sign)  # exact: the unit is a power of two
        if self.second is not None and self.coarse is not None:
            rounded = (keys * SECOND).round_()
            self.coarse.index_add_(0, labels, rounded.long(), alpha=sign)
            for part in torch.split(rounded.double(), ROWS):
                self.second += sign * (part.T @ part).long()

    def means(self) -> Tensor:
        """(classes, width) float32; zero for a class without samples."""
        return (self.sums.double() / (self.counts.clamp_min(1)[:, None] * FIRST)).float()

    def within(self) -> Tensor:
        """The covariance within classes, (width, width) float64, divided by the number of samples. Needs `second`."""
        if self.second is None or self.coarse is None:
            raise ValueError("these sums were built without second moments")
        coarse = self.coarse.double()
        between = (coarse / self.counts.clamp_min(1)[:, None]).T @ coarse
        return (self.second.double() - between) / (max(1, int(self.counts.sum())) * SECOND**2)
