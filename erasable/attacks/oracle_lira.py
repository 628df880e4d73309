"""LiRA with oracles as shadows: is a single erased sample known better than by models that never had it?

    z(x) = (margin(x) - mean of the oracles' margins at x) / their spread

Each sample has its own threshold, so one unusual sample that is remembered does not hide among easy ones, as it does in
an attack with one threshold for all. Every oracle is judged by the others in the same way; their z are what "never saw
it" looks like, and their own rates stand beside the model's. Below 64 oracles the spread is pooled over samples.

This is the offline attack of N. Carlini et al., *Membership Inference Attacks From First Principles* (IEEE S&P 2022,
arXiv 2112.03570), played as an efficacy game with a single model. It needs no model that unlearned others; `ulira` is
the stronger attack that does.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from erasable.attacks._rates import auc, tpr_at
from erasable.evidence import Evidence, Finding, Scores, aligned

OWN_SPREAD = 64  # oracles from which a sample has its own spread
SMALLEST = 1e-3  # nats: what is closer together than this differs by rounding


def oracle_lira(target: Evidence, oracles: Evidence) -> Scores:
    """From the signal `margin` of one model and at least three oracles; row 0 is the model, the others are the oracles.

    Raises Misaligned and PopulationTooSmall.
    """
    aligned(target, oracles, at_least=3)
    known = oracles.values.double()
    k = len(known)
    total, squares = known.sum(0), known.square().sum(0)
    values = torch.cat([_surprise(target.values[:1].double(), total, squares, k),
                        _surprise(known, total - known, squares - known.square(), k - 1)])  # fmt: skip
    truth = torch.zeros(values.shape, dtype=torch.bool)
    truth[0] = True
    return Scores("per-sample attack", target.ids, values, truth, torch.ones_like(truth))


def _surprise(own: Tensor, total: Tensor, squares: Tensor, n: int) -> Tensor:
    """z of each row of `own` by `n` others, whose sums and sums of squares are given."""
    mean = total / n
    variance = ((squares - n * mean.square()) / (n - 1)).clamp_min(0)
    if n < OWN_SPREAD:
        variance = variance.mean(dim=-1, keepdim=True).expand_as(mean)
    apart = own - mean
    apart = apart.masked_fill(apart.abs() < SMALLEST, 0.0)  # a class without samples has one margin, up to rounding
    return apart / (variance.sqrt().clamp_min(SMALLEST) * math.sqrt(1 + 1 / n))


def findings(scores: Scores, *, subject: str) -> tuple[Finding, ...]:
    """AUC, true-positive rate at 1 % false positives, and the score that one erased sample in twenty exceeds.

    From the scores of `oracle_lira`, with the oracles' own values beside.
    """
    rates: tuple[Callable[[Scores], Finding], ...] = (
        lambda each: auc(each, subject=subject),
        lambda each: tpr_at(each, 0.01, subject=subject),
    )
    played = [_as_target(scores, i) for i in range(1, len(scores.values))]
    found = [rate(scores).beside([rate(each).value for each in played]) for rate in rates]
    top = torch.quantile(scores.values, 0.95, dim=1)
    n = len(scores.ids)
    worst = Finding(metric="most exposed 5 %", subject=subject, value=float(top[0]), unit="sd", n=n, models=1,
                    direction="match", resolution=1e-3).beside(top[1:].tolist())  # fmt: skip
    return (*found, worst)


def _as_target(scores: Scores, row: int) -> Scores:
    """The same game with one of the oracles in the model's place."""
    truth, counted = torch.zeros_like(scores.truth), scores.counted.clone()
    truth[row], counted[0] = True, False
    return Scores(scores.attack, scores.ids, scores.values, truth, counted)
