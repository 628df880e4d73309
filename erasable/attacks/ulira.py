"""Was this sample in and then unlearned, or never seen? Two Gaussians per sample say how likely either is (U-LiRA).

    score = log N(margin; forgotten) - log N(margin; never seen),  the log odds of p_f / (p_f + p_n)

M models are trained on random halves of a pool and each unlearns a part of its half. `null` is where the margins of a
sample that was never seen come from:

    "privacy"   the same models, which went through the unlearner on other samples: what an attacker meets
    "efficacy"  models trained plainly without the sample, `plain`: is unlearning as good as never training on it?

A pair of a model and a sample is never judged by Gaussians that it helped to fit, and one pair of the other side stays
out with it: without a leak both kinds of pairs then have the same distribution of scores, and balanced accuracy is 50 %
at every threshold, however few models there are. Judged by its own fit the attack reads 62 % with 8 models a side and
54 % with 64 where nothing leaks; `fit="in-sample"` is there to show that.

Blind to whatever leaves the margins of forgotten and of never-seen samples alike: other outputs, hidden features, and a
model that gives the same constant margin to both. One that gives it to forgotten samples alone is caught, by its level,
or from 64 pairs a side on by the spread that is missing. Put it beside utility, distances to oracles and relearning.

J. Hayes et al., *Inexact Unlearning Needs More Careful Evaluations to Avoid a False Sense of Privacy* (SaTML 2025,
arXiv 2403.01218); N. Carlini et al., *Membership Inference Attacks From First Principles* (S&P 2022, arXiv 2112.03570),
who pool spreads below 64 models (over all samples; here over the two sides of one sample, so that a sample with a wide
spread stays one). Differs: the second pair that is left out.
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from erasable.errors import Misaligned, PopulationTooSmall, SettingsError
from erasable.evidence import Evidence, Scores

Null = Literal["privacy", "efficacy"]
Fit = Literal["leave-one-out", "in-sample"]
Spread = Literal["auto", "own", "pooled"]

CAP = 50.0  # margins beyond it are saturated
FLOOR = 1e-3  # standard deviation of a margin, in nats: what is constant up to rounding is not infinitely sure
LEAST = 3  # pairs of each side: one is left out, and two still have a spread
OWN_FROM = 64  # pairs of each side from which "auto" gives each side its own spread
ROUNDING = 1e-6  # a log odds closer to zero than this is no evidence


def ulira(
    margins: Evidence,
    forgotten: Tensor,
    *,
    null: Null = "privacy",
    plain: Evidence | None = None,
    fit: Fit = "leave-one-out",
    spread: Spread = "auto",
) -> Scores:
    """From the signal `margin` of unlearned models; `forgotten` (models, samples) bool is part of `margins.member`.

    Counted are the pairs that were forgotten (truth: True) or never seen, of samples with three or more of each. For
    the efficacy game the never-seen pairs are those of `plain`, whose models follow the unlearned ones in the rows.
    `spread` "auto" pools the variance of both sides below 64 pairs a side. Raises Misaligned, PopulationTooSmall where
    no sample has enough pairs, SettingsError for a game without the models it needs.
    """
    _check(margins, forgotten)
    return _judged(f"U-LiRA {null}", margins, forgotten, null=null, plain=plain, fit=fit, spread=spread)


def ulira_retained(
    margins: Evidence,
    forgotten: Tensor,
    *,
    null: Null = "privacy",
    plain: Evidence | None = None,
    fit: Fit = "leave-one-out",
    spread: Spread = "auto",
) -> Scores:
    """The same attack on what was kept: in and not forgotten (truth: True) against never seen.

    What unlearning others does to the privacy of those who stay. Its goal is the value of the same models before.
    """
    _check(margins, forgotten)
    kept = margins.member & ~forgotten
    return _judged(f"U-LiRA retained, {null}", margins, kept, null=null, plain=plain, fit=fit, spread=spread)


class _Side(NamedTuple):
    """Moments per sample, broadcast against (models, samples): how many, their mean, their sum of squares about it."""

    pairs: Tensor
    mean: Tensor
    squares: Tensor

    def without(self, values: Tensor) -> "_Side":
        """The moments as they are when one of the values is left out, for each of them."""
        apart = values - self.mean
        squares = self.squares - apart.square() * self.pairs / (self.pairs - 1)
        return _Side(self.pairs - 1, self.mean - apart / (self.pairs - 1), squares.clamp(min=0))


def _judged(
    attack: str, margins: Evidence, asked: Tensor, *, null: Null, plain: Evidence | None, fit: Fit, spread: Spread
) -> Scores:
    values, inside, outside = _stacked(margins, asked, null, plain)
    if fit not in ("leave-one-out", "in-sample") or spread not in ("auto", "own", "pooled"):
        raise SettingsError(f"fit='{fit}', spread='{spread}'", do="choose one of these",
                            expected="leave-one-out or in-sample; auto, own or pooled")  # fmt: skip
    enough = (inside.sum(0) >= LEAST) & (outside.sum(0) >= LEAST)  # (samples,)
    if not bool(enough.any()):
        raise PopulationTooSmall(f"no sample was in for {LEAST} models and never seen by {LEAST}",
                                 expected=f"{LEAST} of each for some sample",
                                 do="train more models on random halves")  # fmt: skip
    counted = (inside | outside) & enough
    score = torch.zeros_like(values)
    score[:, enough] = _log_odds(values[:, enough], inside[:, enough], outside[:, enough], fit, spread)
    score[~counted | (score.abs() < ROUNDING)] = 0
    return Scores(attack, margins.ids, score, inside & counted, counted)


def _log_odds(values: Tensor, inside: Tensor, outside: Tensor, fit: Fit, spread: Spread) -> Tensor:
    """(models, samples), for samples with enough pairs on both sides; what is on neither side gets some number."""
    ours, theirs = _moments(values, inside), _moments(values, outside)
    own = spread == "own" or (spread == "auto" and (torch.minimum(ours.pairs, theirs.pairs) >= OWN_FROM))
    if fit == "leave-one-out":
        of_inside = torch.where(inside, values, _opposite(values, outside, inside))
        of_outside = torch.where(inside, _opposite(values, inside, outside), values)
        ours, theirs = ours.without(of_inside), theirs.without(of_outside)
    pooled = (ours.squares + theirs.squares) / (ours.pairs + theirs.pairs - 2)
    of = torch.as_tensor(own)
    first, second = (torch.where(of, each.squares / (each.pairs - 1), pooled).clamp(min=FLOOR**2)
                     for each in (ours, theirs))  # fmt: skip
    fresh = fit == "leave-one-out"
    return _log_density(values, ours, first, fresh=fresh) - _log_density(values, theirs, second, fresh=fresh)


def _moments(values: Tensor, side: Tensor) -> _Side:
    count = side.sum(0, keepdim=True).double()
    mean = (values * side).sum(0, keepdim=True) / count
    return _Side(count, mean, ((values - mean).square() * side).sum(0, keepdim=True))


def _opposite(values: Tensor, side: Tensor, other: Tensor) -> Tensor:
    """For the r-th pair of a side the r-th value of the other side of the same sample, from the start again if need be.

    Wrong for pairs that are not of `side`; nobody asks for those.
    """
    rank = (side.cumsum(0) - 1).clamp(min=0) % other.sum(0)
    first = torch.argsort((~other).to(torch.uint8), dim=0, stable=True)  # rows of the other side, in their order
    return values.gather(0, first.gather(0, rank))


def _log_density(values: Tensor, side: _Side, variance: Tensor, *, fresh: bool) -> Tensor:
    """Of the Gaussian, but for a constant. A `fresh` value, which the mean was taken without, is further from it by the
    mean's own error: unless that is allowed for, the side with fewer pairs looks less likely, and where sides differ
    between samples this alone reads 51 %."""
    apart = (values - side.mean).square() / (1 + 1 / side.pairs if fresh else 1.0)
    return -0.5 * (variance.log() + apart / variance)


def _stacked(margins: Evidence, asked: Tensor, null: Null, plain: Evidence | None) -> tuple[Tensor, Tensor, Tensor]:
    """Capped values, the pairs asked and the pairs never seen, each (models, samples), of all models of the game."""
    if null not in ("privacy", "efficacy") or (null == "efficacy") != (plain is not None):
        raise SettingsError(f"null='{null}' {'with' if plain is not None else 'without'} plain models",
                            expected="privacy without, or efficacy with plain models",
                            do="choose the game and give what it needs")  # fmt: skip
    values, never = margins.values, ~margins.member
    if plain is not None:
        if plain.ids != margins.ids or plain.signal != margins.signal or plain.values.ndim != 2:
            raise Misaligned(f"'{margins.signal}' on {len(margins.ids)} samples and '{plain.signal}' on "
                             f"{len(plain.ids)}", expected="the same signal on the same ids",
                             do="collect both from the same data")  # fmt: skip
        values = torch.cat([values, plain.values.to(values)])
        never = torch.cat([torch.zeros_like(never), ~plain.member])
        asked = torch.cat([asked, torch.zeros_like(plain.member)])
    return values.double().clamp(-CAP, CAP), asked, never


def _check(margins: Evidence, forgotten: Tensor) -> None:
    if margins.values.ndim != 2 or forgotten.shape != margins.member.shape or forgotten.dtype != torch.bool:
        raise Misaligned(f"values {tuple(margins.values.shape)} and forgotten {tuple(forgotten.shape)} of "
                         f"{forgotten.dtype}", expected="one number, and one bool, per model and sample",
                         do="say of each pair whether it was unlearned")  # fmt: skip
    if bool((forgotten & ~margins.member).any()):
        model, at = torch.nonzero(forgotten & ~margins.member)[0].tolist()
        raise Misaligned(f"model {model} has unlearned '{margins.ids[at]}' without having seen it",
                         expected="members only",
                         do="let `member` say what it was trained on before unlearning")  # fmt: skip
