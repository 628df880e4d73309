"""Which pairs of a model and a sample an attack asks about, and its answers as Scores."""

import torch
from torch import Tensor

from erasable.errors import Misaligned
from erasable.evidence import Evidence, Scores

FALLING = frozenset({"loss", "entropy", "modified_entropy", "perplexity"})  # signals that are smaller on members


def pairs(evidence: Evidence, given: Tensor | None, *, default: Tensor) -> Tensor:
    """`given` as (models, samples) bool; (samples,) means the same samples of every model, None the `default`.

    Raises Misaligned for another shape or type.
    """
    mask = default if given is None else given
    shape = evidence.member.shape
    if mask.dtype != torch.bool or (mask.shape != shape and mask.shape != shape[1:]):
        raise Misaligned(f"a mask of shape {tuple(mask.shape)} and type {mask.dtype}",
                         expected=f"bool, {tuple(shape)} or {tuple(shape[1:])}",
                         do="say for each model and sample whether it counts")  # fmt: skip
    return mask.expand(shape)


def scored(attack: str, evidence: Evidence, values: Tensor, truth: Tensor, counted: Tensor) -> Scores:
    """Scores with 0 where nothing was asked. Raises Misaligned."""
    return Scores(attack, evidence.ids, torch.where(counted, values.double(), 0.0), truth, counted)


def scalar(evidence: Evidence) -> Tensor:
    """Its values (models, samples) in float64. Raises Misaligned for a signal that is a vector."""
    if evidence.values.ndim != 2:
        raise Misaligned(f"signal '{evidence.signal}' of shape {tuple(evidence.values.shape)}",
                         expected="one number per model and sample",
                         do="derive one from it, such as the margin")  # fmt: skip
    return evidence.values.double()


def rising(evidence: Evidence, falls: bool | None) -> Tensor:
    """The signal (models, samples), negated where it falls on members; None: its name tells (see FALLING)."""
    falling = evidence.signal.replace("-", "_") in FALLING if falls is None else falls
    return -scalar(evidence) if falling else scalar(evidence)
