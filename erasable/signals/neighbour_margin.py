"""Where a sample leans once the erased classes are no answer: the log odds of each retained class among themselves.

    margin_c(x) = z_c - logsumexp over the other retained c' of z_c',   (models, samples, retained classes) in nats

For requests that erase whole classes. A model trained without a class sends its samples to a few close classes; one in
which the class is merely suppressed, or answers with something random, sends them elsewhere, or more surely, and the
margin of the right answer does not tell. Between -50 and 50, like `margin`. The column of one class, `toward`, is a
number per sample, for whatever compares distributions of margins over models.

A. Ebrahimpour-Boroojeny, Y. Wang, H. Sundaram, *On the Necessity of Output Distribution Reweighting for Effective
Class Unlearning* (2025, arXiv 2506.20893) look at these classes; K. Georgiev et al., *Attribute-to-Delete* (ICLR 2025,
arXiv 2410.23232) define the margin.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from erasable.dataset import Dataset
from erasable.errors import SettingsError
from erasable.evidence import Evidence
from erasable.signals._pass import over_batches
from erasable.task import Batch, LogitTask

CLIP = 50.0


def neighbour_margin(
    models: Sequence[Any], task: LogitTask, data: Dataset, *, fitted: Tensor, erased: Sequence[int]
) -> Evidence:
    """From the logits themselves, in float64; `erased` are the numbers of the classes that are no answer.

    `fitted` (models, samples) bool. Raises Misaligned for NaN, SettingsError where fewer than two classes stay.
    """

    def of(model: Any, batch: Batch) -> Tensor:
        return _log_odds(task.logits(model, batch).double(), erased)

    return Evidence("neighbour_margin", data.ids, over_batches(models, task, data, of), fitted)


def neighbour_margin_of(log_p: Evidence, erased: Sequence[int]) -> Evidence:
    """From log-probabilities (models, samples, classes).

    They have a floor of 1e-8. A model that is surer than that of an erased class has all others at the floor, so that
    nothing is left to lean to; `neighbour_margin` still sees it.
    """
    return Evidence("neighbour_margin", log_p.ids, _log_odds(log_p.values.double(), erased), log_p.member)


def toward(margins: Evidence, neighbour: int, *, erased: Sequence[int]) -> Evidence:
    """One retained class's column of `neighbour_margin`, (models, samples)."""
    stay = retained(margins.values.shape[-1] + len(set(erased)), erased)
    if neighbour not in stay:
        raise SettingsError(f"class {neighbour}", expected=f"one of {stay}", do="name a class that stays")
    at = stay.index(neighbour)
    return Evidence(f"margin of class {neighbour}", margins.ids, margins.values[..., at], margins.member)


def retained(classes: int, erased: Sequence[int]) -> list[int]:
    """The classes that stay, in order. Raises SettingsError for fewer than two, or for an erased class that is none."""
    if not set(erased) <= set(range(classes)) or not erased:
        raise SettingsError(f"erased classes {sorted(set(erased))} of {classes}",
                            expected=f"some of 0 to {classes - 1}", do="name classes of the task")  # fmt: skip
    stay = [each for each in range(classes) if each not in set(erased)]
    if len(stay) < 2:
        raise SettingsError(f"{len(stay)} of {classes} classes stay", expected="at least 2",
                            do="neighbours need a class to choose from")  # fmt: skip
    return stay


def _log_odds(logits: Tensor, erased: Sequence[int]) -> Tensor:
    """(..., classes) to (..., retained classes)."""
    log_p = logits[..., retained(logits.shape[-1], erased)].log_softmax(-1)
    top = log_p.argmax(-1, keepdim=True)
    rest = torch.log1p(-log_p.scatter(-1, top, -math.inf).exp())  # exact for all but the top class, whose 1 - p cancels
    rest = rest.scatter(-1, top, log_p.scatter(-1, top, -math.inf).logsumexp(-1, keepdim=True))
    return (log_p - rest).clamp(-CLIP, CLIP)
