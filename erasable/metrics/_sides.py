"""Models that unlearned a sample beside models that never had it: who they are differs from sample to sample.

In an unlearning game each sample has its own few models on the one side and its own many on the other. For a distance
between the sides to mean the same for every sample, it is measured with equal numbers: `size` of those that never had
it are set apart at random, again and again, and both those that unlearned it and as many others that never had it are
held against them. The second is the noise floor.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from erasable._plumbing.seeds import generator
from erasable.errors import EvidenceError, Misaligned, PopulationTooSmall
from erasable.evidence import Evidence

FEWEST = 3  # models that unlearned a sample
REST = 10  # models that never had it, besides as many as unlearned it
LEFT_OUT = 0.05  # of the samples, so that the others are held against more models
PIECE = 4_000_000  # numbers held at once


class Sides(NamedTuple):
    """Of some samples, all of which as many models unlearned. Columns are splits x samples, splits outermost.

    at        (samples,) positions
    unlearned (k, columns), as_many (k, columns) and rest (size, columns); the last two are others in every split
    """

    at: Tensor
    unlearned: Tensor
    as_many: Tensor
    rest: Tensor


class Judged(NamedTuple):
    """at (samples,): those that are judged; k (samples,): by how many they were unlearned; size: of the rest."""

    at: Tensor
    k: Tensor
    size: int

    @property
    def note(self) -> str:
        low, high = int(self.k.min()), int(self.k.max())
        models = str(low) if low == high else f"{low} to {high}"
        return f"{len(self.at)} samples; {models} models that unlearned each against {self.size} that never had it"


def judged(evidence: Evidence, unlearned: Tensor, never: Tensor) -> Judged:
    """Which samples have enough models on both sides, (models, samples) bool, and how many are set apart.

    Raises Misaligned, PopulationTooSmall where no sample has enough.
    """
    shape = evidence.member.shape
    if evidence.values.shape != shape or any(each.shape != shape or each.dtype != torch.bool
                                             for each in (unlearned, never)):  # fmt: skip
        raise Misaligned(f"values {tuple(evidence.values.shape)}, sides {tuple(unlearned.shape)} and "
                         f"{tuple(never.shape)}", expected="one number, and two bools, per model and sample",
                         do="say of each pair on which side it is")  # fmt: skip
    if bool((unlearned & never).any()):
        raise Misaligned(f"{int((unlearned & never).sum())} pairs are on both sides", expected="one side at most",
                         do="leave out of the second what is on the first")  # fmt: skip
    k, others = unlearned.sum(0), never.sum(0) - unlearned.sum(0)
    enough = (k >= FEWEST) & (others >= REST)
    if not bool(enough.any()):
        raise PopulationTooSmall(f"no sample that {FEWEST} models unlearned and {FEWEST + REST} never had",
                                 expected="some", do="train more models, or let them unlearn more")  # fmt: skip
    size = int(torch.quantile(others[enough].double(), LEFT_OUT, interpolation="lower"))
    at = torch.nonzero(enough & (others >= size)).flatten()
    return Judged(at, k[at], size)


def sides(
    evidence: Evidence, unlearned: Tensor, never: Tensor, given: Judged, *, splits: int, seed: int, name: str
) -> Iterator[Sides]:
    """All judged samples in pieces: in each, as many models unlearned every sample. Raises EvidenceError."""
    if splits < 1:
        raise EvidenceError(f"{splits} splits", expected="one or more", do="leave the default")
    draws, values = generator(seed, name, "sides"), evidence.values.double().cpu()
    ours, theirs = (torch.argsort((~each).to(torch.uint8), dim=0, stable=True) for each in (unlearned, never))
    at_once = max(1, PIECE // (splits * len(values)))
    for k in torch.unique(given.k).tolist():
        for at in torch.split(given.at[given.k == k], at_once):  # type: ignore[no-untyped-call]
            own = values[:, at].gather(0, ours[:k, at])
            count = never[:, at].sum(0)
            keys = torch.rand(len(values), splits, len(at), generator=draws)
            beyond = torch.arange(len(values))[:, None, None] >= count  # those that had it come last
            order = keys.masked_fill(beyond, 2.0).argsort(dim=0)[: k + given.size]
            picked = theirs[:, at][:, None].expand(-1, splits, -1).gather(0, order)
            other = values[:, at][:, None].expand(-1, splits, -1).gather(0, picked).flatten(1)
            yield Sides(at, own[:, None].expand(-1, splits, -1).flatten(1), other[:k], other[k:])


def by_sample(found: Tensor, splits: int) -> Tensor:
    """What was found for columns (..., splits x samples), as (..., splits, samples)."""
    return found.reshape(*found.shape[:-1], splits, -1)
