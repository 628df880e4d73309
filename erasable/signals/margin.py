"""How far the right answer is ahead of all others together: its log odds, in nats, between -50 and 50.

    margin(x, y) = z_y - logsumexp over c != y of z_c = log(p_y / (1 - p_y))

Also called logit-scaled confidence. Over training runs it is close to normal for one sample, which confidence and
loss are not, so attacks and distances for single samples use it. 1 - p_y is never formed: the others are added up in
logarithms, so a model that is sure to sixteen digits still has its own value.

N. Carlini et al., *Membership Inference Attacks From First Principles* (IEEE S&P 2022, arXiv 2112.03570); K. Georgiev
et al., *Attribute-to-Delete* (ICLR 2025, arXiv 2410.23232), call it margin.
"""

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from erasable.dataset import Dataset
from erasable.evidence import Evidence
from erasable.signals._pass import over_batches
from erasable.task import Batch, LogitTask

CLIP = 50.0


def margin(models: Sequence[Any], task: LogitTask, data: Dataset, *, fitted: Tensor) -> Evidence:
    """From the logits themselves, in float64. `fitted` (models, samples) bool. Raises Misaligned for NaN."""

    def of(model: Any, batch: Batch) -> Tensor:
        return _log_odds(task.logits(model, batch).double(), task.labels(batch))

    return Evidence("margin", data.ids, over_batches(models, task, data, of), fitted)


def margin_of(log_p: Evidence, labels: Tensor) -> Evidence:
    """From log-probabilities and the right answers (samples,).

    Log-probabilities have a floor of 1e-8, so this one stops at about 18.4 - log(classes - 1), and `margin` does not.
    """
    right = labels.expand(log_p.values.shape[:2])
    return Evidence("margin", log_p.ids, _log_odds(log_p.values, right), log_p.member)


def _log_odds(scores: Tensor, labels: Tensor) -> Tensor:
    """From (..., classes), logits or log-probabilities, and (...): a constant added to all classes cancels."""
    at = labels.to(scores.device).unsqueeze(-1)
    others = scores.scatter(-1, at, -math.inf).logsumexp(-1)
    return (scores.gather(-1, at).squeeze(-1) - others).clamp(-CLIP, CLIP)  # classes of -inf end at the clip
