"""Whoever keeps the model from before an erasure can see what changed: the drop of the signal from before to after.

    score = signal before - signal after    reversed for signals that fall on members, such as the loss

Erased samples are "in", and are compared with samples that were not erased. Even exact retraining is found by this: a
sample that leaves the training set loses what fitting it had gained. It says what an erasure reveals to someone who
holds both versions, and nothing about whether it worked: compare with the oracles' value, never with 50.

M. Chen, Z. Zhang, T. Wang, M. Backes, M. Humbert, Y. Zhang, *When Machine Unlearning Jeopardizes Privacy* (CCS 2021,
arXiv 2005.02205) asked this first. Differs from it: one number per sample where they use the two posteriors, and no
shadow models; their attack is trained on pairs of shadow models. That the two versions of a simple model can give
away the erased record itself is shown by M. Bertran et al., *Reconstruction Attacks on Machine Unlearning: Simple
Models are Vulnerable* (NeurIPS 2024, arXiv 2405.20272); their attack is not this one.
"""

import torch
from torch import Tensor

from erasable.attacks._pairs import pairs, rising, scalar, scored
from erasable.attacks.logistic import logistic
from erasable.errors import Misaligned
from erasable.evidence import Evidence, Scores, aligned


def delta(
    before: Evidence, after: Evidence, *, forgotten: Tensor, against: Tensor | None = None, falls: bool | None = None
) -> Scores:
    """The drop per sample; row i of `after` is row i of `before` once the erasure is done.

    forgotten  what was erased from each model; `before.member` holds it
    against    what it is compared with; None: all that was not erased. Retained samples are `before.member &
               ~forgotten`, never seen ones `~before.member`. Masks are (models, samples) or (samples,) bool
    falls      None: the signal's name tells, as in `threshold`

    The threshold for `rates` is 0, "anything was lost", which is a guess: see the AUC. Raises Misaligned.
    """
    erased, asked = _masks(before, after, forgotten, against)
    return scored("delta", before, rising(before, falls) - rising(after, falls), erased, asked)


def delta_fitted(
    before: Evidence,
    after: Evidence,
    *,
    forgotten: Tensor,
    against: Tensor | None = None,
    folds: int = 5,
    seed: int = 0,
) -> Scores:
    """Both values, weighed by a logistic regression that learns from other samples of the same pair of models.

    Finds a rise as well as a drop, and a level that stands out after the erasure. The attacker knows of some samples
    whether they were erased; each is scored by fits that did not see it, so noise reads 50 or slightly less. Its 95 %
    interval is too narrow, about 85 % under the null, for each half is judged by a fit on the other: compare with the
    oracles' values. Raises Misaligned, and EvidenceError for fewer samples of a kind than folds.
    """
    erased, asked = _masks(before, after, forgotten, against)
    found = logistic([before, after], known=asked, truth=erased, counted=asked, folds=folds, seed=seed)
    return Scores("delta fitted", found.ids, found.values, found.truth, found.counted)


def _masks(before: Evidence, after: Evidence, forgotten: Tensor, against: Tensor | None) -> tuple[Tensor, Tensor]:
    """What was erased, and the pairs that are asked."""
    aligned(before, after)
    if scalar(before).shape != scalar(after).shape:
        raise Misaligned(f"{before.models} models before and {after.models} after the erasure",
                         expected="the same models", do="give one row for each model in both")  # fmt: skip
    erased = pairs(before, forgotten, default=forgotten)
    if bool((erased & ~before.member).any()):
        model, at = torch.nonzero(erased & ~before.member)[0].tolist()
        raise Misaligned(f"'{before.ids[at]}' was erased from model {model}, which never saw it",
                         expected="samples that it was trained on",
                         do="let `before.member` say what it was trained on")  # fmt: skip
    other = pairs(before, against, default=~erased)
    if bool((erased & other).any()):
        raise Misaligned(f"{int((erased & other).sum())} erased pairs are also among those they are compared with",
                         expected="two groups without a common pair",
                         do="leave `forgotten` out of `against`")  # fmt: skip
    return erased, erased | other
