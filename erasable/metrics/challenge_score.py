"""The forgetting score of the NeurIPS 2023 unlearning challenge, and the same divided by what perfect unlearning gets.

Per sample, the margins of unlearned and of retrained models are told apart by the best of many rules: a threshold, with
the ensemble of the larger median above it, or an interval, with the narrower ensemble inside. A rule with error rates
FPR and FNR over models shows that

    epsilon >= max( log(1 - delta - FPR) - log FNR, log(1 - delta - FNR) - log FPR ),  delta = 1e-5

No errors at all count 50, as does a range that is less than 1 % of the other's; a rule with exactly one of the rates
at 0 says nothing. A sample is worth 2^-floor(2 epsilon), and nothing from epsilon = 7 on; the score F is the mean.

The best rule is chosen on the models that it is judged by, so two ensembles of the same distribution score 0.18 to 0.19
and not 1. The second finding, F / F_null, is about 1 for them. F also falls with the number of models where something
differs. By default the target is therefore measured with as many models as one half of the oracles (or all of its own,
if fewer) and F_null with oracles of the other half; `gaussian` uses all models and simulates F_null from as many normal
numbers with each sample's mean and spread of the oracles, independent over samples, which makes a narrower band.

E. Triantafillou et al., *Are we making progress in unlearning?* (2024, arXiv 2406.09073). Same rules as in their code
(100 thresholds per unit of margin, interval ends up to 2 beyond the range and 2 around the narrower width), but each
set of rules that gives the same counts is looked at once. Their factor for accuracy on other samples is left out.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from erasable._plumbing.seeds import generator
from erasable.errors import EvidenceError, Misaligned
from erasable.evidence import Direction, Evidence, Finding
from erasable.metrics._resampling import against_half, bootstrap, ensembles
from erasable.metrics._sides import by_sample, judged, sides

DELTA = 1e-5
PER_UNIT = 100  # thresholds
REACH = 2 * PER_UNIT  # steps that an interval's ends go beyond the range, and its width beyond the narrower one
MOST = 50.0
STEP, LAST = 0.5, 7.0  # width of a bucket of epsilon, and where the worth ends: the ceiling of log 511
PIECE = 2_000_000  # rules held at once


def challenge_score(target: Evidence, oracles: Evidence, *, subject: str, gaussian: bool = False, splits: int = 8,
                    seed: int = 0) -> tuple[Finding, Finding, Finding]:  # fmt: skip
    """From the signal `margin`: F, F / F_null, and the median over samples of epsilon.

    Raises Misaligned, PopulationTooSmall for fewer than two models or four oracles.
    """
    if splits < 1:
        raise Misaligned(f"{splits} splits", expected="one or more", do="leave the default of 8")
    unlearned, retrained = ensembles(target, oracles, least=(2, 4))
    if gaussian:
        seen = [epsilons(unlearned, retrained)]
        floor = [epsilons(*each) for each in _simulated(retrained, len(unlearned), splits, seed)]
        note = f"{len(unlearned)} models against {len(retrained)} oracles, null of normal numbers"
    else:
        seen, floor = [], []
        for some, as_many, half in against_half(unlearned, retrained, splits=splits, seed=seed, name="challenge"):
            seen.append(epsilons(some, half))
            floor.append(epsilons(as_many, half))
        note = f"{len(some)} models against {len(half)} oracles, {splits} splits"
    found, null = torch.stack(seen), torch.stack(floor)  # (splits, samples)
    return _findings(found, null, subject=subject, models=target.models, note=note, seed=seed)


def challenge_score_of_sides(
    margins: Evidence, unlearned: Tensor, never: Tensor, *, subject: str, splits: int = 8, seed: int = 0
) -> tuple[Finding, Finding, Finding]:
    """The same inside an unlearning game, where every sample has its own models on both sides, (models, samples) bool.

    F_null is of models that never had the sample, as many as unlearned it. Raises what `klom.klom_of_sides` raises, and
    EvidenceError where F_null is 0.
    """
    given = judged(margins, unlearned, never)
    seen, floor = [], []
    for each in sides(margins, unlearned, never, given, splits=splits, seed=seed, name="challenge"):
        seen.append(by_sample(epsilons(each.unlearned, each.rest), splits))
        floor.append(by_sample(epsilons(each.as_many, each.rest), splits))
    found, null = torch.cat(seen, dim=1), torch.cat(floor, dim=1)
    return _findings(found, null, subject=subject, models=margins.models, note=f"{given.note}, {splits} splits",
                     seed=seed)  # fmt: skip


def _findings(
    found: Tensor, null: Tensor, *, subject: str, models: int, note: str, seed: int
) -> tuple[Finding, Finding, Finding]:
    """From epsilons (splits, samples) of the target and of the null. Raises EvidenceError for a null of 0."""
    n = found.shape[1]
    worth, among = worths(found).mean(dim=0), worths(null).mean(dim=1)
    expected = float(among.mean())
    if not expected:
        raise EvidenceError("oracles score 0 against oracles", expected="a null above 0",
                            do="look for oracles that differ from the others, or train more")  # fmt: skip
    low, high = bootstrap(worth, seed, "challenge score")

    def finding(metric: str, value: float, among: Tensor, direction: Direction,
                interval: tuple[float, float] | None = None) -> Finding:  # fmt: skip
        return Finding(metric=metric, subject=subject, value=value, interval=interval, n=n, note=note,
                       models=models, direction=direction, resolution=1e-6).beside(among.tolist())  # fmt: skip

    score, epsilon = float(worth.mean()), float(found.median(dim=1).values.mean())
    return (finding("challenge score", score, among, "higher", (low, high)),
            finding("challenge score / null", score / expected, among / expected, "higher",
                    (low / expected, high / expected)),
            finding("challenge epsilon", epsilon, null.median(dim=1).values, "lower"))  # fmt: skip


def worths(epsilon: Tensor) -> Tensor:
    """What samples add to the score, in [0, 1], same shape."""
    return torch.where(epsilon < LAST, 2.0 ** -(epsilon / STEP).floor(), torch.zeros_like(epsilon))


def epsilons(left: Tensor, right: Tensor) -> Tensor:
    """The largest epsilon that a rule shows, for each sample (samples,), from (models, samples) of two ensembles."""
    table = _table(len(left), len(right))
    at_once = max(1, PIECE // (len(left) + len(right) + 1) ** 2)
    found = []
    for start in range(0, left.shape[1], at_once):
        here, there = (each[:, start : start + at_once].double().T for each in (left, right))
        found.append(_piece(here, there, table))
    return torch.cat(found)


def _table(a: int, b: int) -> Tensor:
    """(a + 1, b + 1): epsilon of a rule that errs on so many models of one and so many of the other ensemble."""
    x = torch.arange(a + 1, dtype=torch.float64)[:, None] / a
    y = torch.arange(b + 1, dtype=torch.float64)[None] / b
    best = torch.maximum(_log(1 - DELTA - x) - y.log(), _log(1 - DELTA - y) - x.log()).clamp(0, MOST)
    best[0], best[:, 0] = 0.0, 0.0  # exactly one is 0: no rule
    best[0, 0] = MOST
    return best


def _log(values: Tensor) -> Tensor:
    return values.clamp(min=0).log()  # -inf where delta leaves nothing


def _piece(left: Tensor, right: Tensor, table: Tensor) -> Tensor:
    """From (samples, models) of two ensembles to (samples,)."""
    a, b = left.shape[1], right.shape[1]
    values, order = torch.cat([left, right], dim=1).sort(dim=1)
    first = torch.nn.functional.pad((order < a).long().cumsum(dim=1), (1, 0))  # of the s lowest, how many are left's
    second = torch.arange(a + b + 1) - first
    widths = torch.stack([each.amax(dim=1) - each.amin(dim=1) for each in (left, right)])
    higher = left.quantile(0.5, dim=1) >= right.quantile(0.5, dim=1)
    single = _thresholds(values, first, second, higher, table)
    double = _intervals(values, first, second, widths, table)
    degenerate = widths.amin(dim=0) < 0.01 * widths.amax(dim=0)
    return torch.maximum(single, double).masked_fill(degenerate, MOST)


def _thresholds(values: Tensor, first: Tensor, second: Tensor, higher: Tensor, table: Tensor) -> Tensor:
    """Best of all thresholds from the lowest to the highest value; s values below it is all that a rule knows."""
    a, b = table.shape[0] - 1, table.shape[1] - 1
    below_a, below_b = first[:, :-1], second[:, :-1]
    higher = higher[:, None]
    wrong_a, wrong_b = torch.where(higher, below_a, a - below_a), torch.where(higher, b - below_b, below_b)
    steps = ((values - values[:, :1]) * PER_UNIT).floor()  # the last threshold at or below each value
    there = torch.nn.functional.pad(steps[:, 1:] > steps[:, :-1], (1, 0), value=True)
    return table[wrong_a, wrong_b].masked_fill(~there, 0.0).amax(dim=1)


def _intervals(values: Tensor, first: Tensor, second: Tensor, widths: Tensor, table: Tensor) -> Tensor:
    """Best of all intervals, of which a rule knows that q values lie below its left and p up to its right end.

    Right ends stand on a grid of steps i, left ends on one of steps j, both from the lowest right end on; an interval
    is allowed where 0 <= j - i <= 2 * REACH. A pair (p, q) counts where such steps exist.
    """
    a, b, narrow = table.shape[0] - 1, table.shape[1] - 1, widths.amin(dim=0)[:, None]
    places = (values - values[:, :1]) * PER_UNIT  # steps above the lowest value
    on_right, on_left = (places - narrow * PER_UNIT + REACH).ceil(), (places + 2 * REACH).floor()
    last = (places[:, -1:] - narrow * PER_UNIT + 2 * REACH).floor()
    low_i = torch.nn.functional.pad(on_right, (1, 0)).clamp(min=0)  # (samples, p)
    high_i = torch.minimum(torch.cat([on_right - 1, last], dim=1), last)
    low_j = torch.nn.functional.pad(on_left + 1, (1, 0))  # (samples, q)
    high_j = torch.cat([on_left, last + 2 * REACH], dim=1)
    low_i, low_j = (low.masked_fill(low > high, math.inf) for low, high in ((low_i, high_i), (low_j, high_j)))
    there = (high_j[:, None] >= low_i[:, :, None]) & (low_j[:, None] - high_i[:, :, None] <= 2 * REACH)
    there &= torch.ones(there.shape[1:], dtype=torch.bool).tril()  # q <= p: no interval ends before it begins
    # Errors (of left, of right) are (a - in_a, in_b) with left inside and (in_a, b - in_b) with right inside. In_a and
    # in_b are differences between p and q, and so is the place in the flat table, up to a constant.
    left_inside = (widths[0] <= widths[1])[:, None, None]
    place = (b + 1) * first - second
    moved = place[:, :, None] - place[:, None]  # (samples, p, q)
    at = torch.where(left_inside, a * (b + 1) - moved, b + moved).clamp_(0, table.numel() - 1)  # q > p: not there
    return table.flatten()[at].masked_fill_(~there, 0.0).amax(dim=(1, 2))


def _simulated(oracles: Tensor, size: int, splits: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    draws = generator(seed, "challenge", "gaussian")
    mean, spread = oracles.mean(dim=0), oracles.std(dim=0)
    for _ in range(splits):
        left, right = (mean + spread * torch.randn(k, len(mean), generator=draws, dtype=torch.float64)
                       for k in (size, len(oracles)))  # fmt: skip
        yield left, right
