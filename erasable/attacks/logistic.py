"""A logistic regression on one or several signals tells members from others, and is asked about samples it did not see.

Every sample is in one of `folds` parts and is scored by the fit on the known samples of the other parts, whether it is
known itself or not. So nothing is scored by a fit that saw it, and samples that the fit knows nothing of (the erased)
are compared with known ones on equal terms. One fit serves all samples: a population attack, weak on hard ones.

Settings that unlearning papers report, with `never = ~member`, `forgotten` as in Evidence of unlearned models:

    SSD    called_members(logistic([entropy], known=~forgotten, counted=forgotten))
    SCRUB  sign_blind(logistic([loss], truth=forgotten, known=both, counted=both, clip=100))
           with both = forgotten | (never & the classes of the erased samples)

SSD: J. Foster, S. Schoepf, A. Brintrup, *Fast Machine Unlearning Without Retraining Through Selective Synaptic
Dampening* (AAAI 2024, arXiv 2308.07707). SCRUB: M. Kurmanji, P. Triantafillou, J. Hayes, E. Triantafillou, *Towards
Unbounded Machine Unlearning* (NeurIPS 2023, arXiv 2302.09880). Differs from both: signals are standardised; classes
are balanced by weights, where SCRUB draws as many of each; folds instead of repeated splits.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from erasable._plumbing.seeds import generator
from erasable.attacks._pairs import pairs, scalar, scored
from erasable.errors import EvidenceError, Misaligned, SettingsError
from erasable.evidence import Evidence, Finding, Scores, binomial_interval

Array = npt.NDArray[np.float64]


def logistic(
    signals: Sequence[Evidence],
    *,
    known: Tensor | None = None,
    truth: Tensor | None = None,
    counted: Tensor | None = None,
    folds: int = 5,
    clip: float | None = None,
    seed: int = 0,
) -> Scores:
    """The log-odds of being in, one regression per model and fold, all of the same pairs.

    known    pairs whose truth the attacker knows and fits on; all when None
    truth    what counts as in, for the fit and for the rates; the first signal's `member` when None
    counted  pairs that are asked; all when None. Masks are (models, samples) or (samples,) bool
    clip     signals are cut off at +- this before

    The threshold for `rates` is 0. Raises Misaligned, SettingsError, and EvidenceError where a model has fewer known
    pairs of a kind than folds.
    """
    if folds < 2 or (clip is not None and clip <= 0):
        raise SettingsError(f"folds={folds}, clip={clip}", expected="two folds or more and a positive clip",
                            do="correct them")  # fmt: skip
    if not signals or len({(each.models, each.ids) for each in signals}) != 1:
        raise Misaligned(f"{len(signals)} signals, not all of the same models and samples",
                         expected="one or more on the same ones", do="collect them together")  # fmt: skip
    first, everything = signals[0], torch.ones_like(signals[0].member)
    inside, asked = pairs(first, truth, default=first.member), pairs(first, counted, default=everything)
    fitted = pairs(first, known, default=everything)
    features = torch.stack([scalar(each) for each in signals], dim=2)  # (models, samples, signals)
    features = features if clip is None else features.clamp(-clip, clip)
    odds = torch.zeros(first.member.shape, dtype=torch.float64)
    for model in range(first.models):
        least = min(int((fitted[model] & (inside[model] == side)).sum()) for side in (True, False))
        if least < folds:
            raise EvidenceError(f"model {model} has {least} known pairs that are in, or that are out",
                                expected=f"at least one of each in {folds} folds",
                                do="give more known samples, or fewer folds")  # fmt: skip
        part = _parts(inside[model].long() + 2 * fitted[model], folds, seed, model)
        for fold in range(folds):
            fit = fitted[model] & (part != fold)
            x, y = features[model].numpy(), inside[model, fit].numpy()
            odds[model, part == fold] = torch.from_numpy(_log_odds(x[fit.numpy()], y, x[(part == fold).numpy()]))
    return scored("logistic", first, odds, inside, asked)


def called_members(scores: Scores, *, subject: str, oracles: Sequence[float] = ()) -> Finding:
    """The share of pairs that are in and called so, in %, as the SSD paper reports; `oracles` are their own `shares`.

    The goal is the oracles' value: 0 would say that the erased samples stand out.
    """
    return _finding(scores, "logistic attack", subject, shares(scores), scores.counted & scores.truth).beside(oracles)


def shares(scores: Scores) -> list[float]:
    """Of each model's pairs that are in, the share called so, in %. Raises EvidenceError for a model without."""
    return [100 * called_in for called_in, _ in _rates(scores, both=False)]


def sign_blind(scores: Scores, *, subject: str, oracles: Sequence[float] = ()) -> Finding:
    """max(accuracy, 100 - accuracy) in %, balanced, the mean over models: samples made too unfamiliar show as well.

    Chance is a little above 50, since the larger is taken: `oracles`, their own `accuracies`, say how much.
    """
    return _finding(scores, "logistic accuracy", subject, accuracies(scores), scores.counted).beside(oracles)


def accuracies(scores: Scores) -> list[float]:
    """One per model, sign-blind. Raises EvidenceError for a model without pairs of both kinds."""
    found = [100 * (called_in + called_out) / 2 for called_in, called_out in _rates(scores, both=True)]
    return [max(each, 100 - each) for each in found]


def _log_odds(known: Array, inside: npt.NDArray[np.bool_], asked: Array) -> Array:
    """Fitted on the known (pairs, signals), for those that are asked."""
    from sklearn.linear_model import LogisticRegression

    centre, spread = known.mean(0), known.std(0)
    spread = np.where(spread > 0, spread, 1.0)
    fit = LogisticRegression(class_weight="balanced", max_iter=1_000).fit((known - centre) / spread, inside)
    found: Array = fit.decision_function((asked - centre) / spread) if len(asked) else np.zeros(0)
    return found


def _parts(groups: Tensor, folds: int, seed: int, model: int) -> Tensor:
    """A part in [0, folds) for each sample, at random, equally many of each group in each part."""
    order = torch.randperm(len(groups), generator=generator(seed, "logistic", model))
    part = torch.empty_like(groups)
    for group in range(4):
        of = order[groups[order] == group]
        part[of] = torch.arange(len(of)) % folds
    return part


def _rates(scores: Scores, *, both: bool) -> list[tuple[float, float]]:
    """Per model the share of pairs that are in and called in, and of those that are out and called out."""
    found = []
    for values, truth, counted in zip(scores.values, scores.truth, scores.counted, strict=True):
        inside, outside = values[counted & truth], values[counted & ~truth]
        if not len(inside) or (both and not len(outside)):
            raise EvidenceError(f"'{scores.attack}' has {len(inside)} pairs that are in and {len(outside)} that are "
                                "out, for one model", expected="some of both" if both else "some that are in",
                                do="give masks that leave some")  # fmt: skip
        called = [float((each > 0).double().mean() + 0.5 * (each == 0).double().mean()) for each in (inside, -outside)]
        found.append((called[0], called[1] if len(outside) else 0.0))
    return found


def _finding(scores: Scores, metric: str, subject: str, found: list[float], of: Tensor) -> Finding:
    value, n = sum(found) / len(found), int(of.any(0).sum())
    low, high = binomial_interval(value / 100 * n, n)
    return Finding(metric=metric, subject=subject, value=value, unit="%", interval=(100 * low, 100 * high), n=n,
                   models=len(found), direction="match", resolution=100 / n)  # fmt: skip
