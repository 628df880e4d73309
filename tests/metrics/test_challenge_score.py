"""The challenge's forgetting score: by hand, against a literal grid of rules, its calibration, null and alarm."""

import math
import sys

import pytest
import torch

from erasable.errors import EvidenceError, PopulationTooSmall
from erasable.evidence import Evidence
from erasable.metrics import challenge_score
from erasable.metrics.challenge_score import challenge_score_of_sides, epsilons, worths


def evidence(values):
    names = tuple(f"s{i}" for i in range(values.shape[1]))
    return Evidence("margin", names, values, torch.zeros(values.shape, dtype=torch.bool))


def normal(models, samples, seed):
    draws = torch.Generator().manual_seed(seed)
    return torch.randn(models, samples, generator=draws, dtype=torch.float64)


def column(*values):
    return torch.tensor(values, dtype=torch.float64)[:, None]


def rule(fpr, fnr):
    if not fpr and not fnr:
        return 50.0
    if not fpr or not fnr:
        return 0.0

    def side(x, y):
        return math.log(1 - 1e-5 - x) - math.log(y) if 1 - 1e-5 - x > 0 else 0.0

    return min(50.0, max(0.0, side(fpr, fnr), side(fnr, fpr)))


def literal(a, b):
    """One sample: every rule of the grid, one family after the other."""
    both = torch.cat([a, b])
    low, high = float(both.min()), float(both.max())
    widths = [float(each.max() - each.min()) for each in (a, b)]
    best = 0.0
    positive, negative = (a, b) if a.quantile(0.5) >= b.quantile(0.5) else (b, a)
    for k in range(int((high - low) * 100) + 1):
        t = low + k / 100
        fpr, fnr = float((negative >= t).double().mean()), float((positive < t).double().mean())
        best = max(best, rule(fpr, fnr))
    positive, negative = (a, b) if widths[0] <= widths[1] else (b, a)
    w = min(widths)
    for i in range(int((high + 2 - low - w + 2) * 100) + 1):
        r = low + w - 2 + i / 100
        l = r - w + (torch.arange(401, dtype=torch.float64)[:, None] - 200) / 100  # noqa: E741
        fprs = ((negative >= l) & (negative <= r)).double().mean(dim=1)
        fnrs = 1 - ((positive >= l) & (positive <= r)).double().mean(dim=1)
        pairs = {(x, y) for x, y in zip(fprs.tolist(), fnrs.tolist(), strict=True)}
        best = max([best, *(rule(x, y if y > 1e-12 else 0.0) for x, y in pairs)])
    return best


@pytest.mark.parametrize(("shift", "scale"), [(0.0, 1.0), (1.5, 1.0), (0.0, 0.3), (-6.0, 2.0)])
def test_equals_the_literal_grid(shift, scale):
    left, right = shift + scale * normal(9, 3, 0), normal(12, 3, 1)
    slow = [literal(left[:, i], right[:, i]) for i in range(3)]
    assert epsilons(left, right).tolist() == pytest.approx(slow, rel=1e-6)
    assert epsilons(right, left).tolist() == pytest.approx(slow, rel=1e-6)


def test_pieces_change_nothing(monkeypatch):
    left, right = normal(9, 11, 0), normal(12, 11, 1)
    whole = epsilons(left, right)
    monkeypatch.setattr(sys.modules[epsilons.__module__], "PIECE", 3 * 22**2)
    assert epsilons(left, right).equal(whole)


def test_rules_by_hand():
    # a threshold between 20 and 20.3 errs on one of four on each side: log(0.75 / 0.25)
    left, right = column(0, 10, 20, 30.5), column(10.3, 20.3, 30.3, 40.3)
    assert epsilons(left, right).item() == pytest.approx(math.log(3), abs=1e-4)


def test_both_rates_zero_is_fifty_and_worth_nothing():
    apart = epsilons(column(0, 1, 2), column(5, 6, 7))
    assert apart.item() == 50
    assert worths(apart).item() == 0
    between = epsilons(column(4.9, 5.0, 5.1), column(0, 3, 7, 10))  # no threshold does, an interval does
    assert between.item() == 50


def test_exactly_one_rate_zero_says_nothing():
    # with two models at the same two places, whatever leaves one side without errors errs on the other side
    assert epsilons(column(0.0, 1.0), column(0.0, 1.0)).item() == 0
    assert worths(torch.tensor([0.0, 0.49, 0.5, 1.6, 6.99, 7.0, 50.0])).tolist() == [
        1.0, 1.0, 0.5, 0.125, 2.0**-13, 0.0, 0.0
    ]  # fmt: skip


def test_a_range_below_one_per_cent_of_the_other_is_fifty():
    wide = column(*[i / 10 for i in range(11)])
    assert epsilons(column(0.5, 0.505, 0.5, 0.509), wide).item() == 50
    assert epsilons(wide, column(0.5, 0.505, 0.5, 0.509)).item() == 50
    spread = epsilons(column(0.5, 0.505, 0.5, 0.511), wide)  # 1.1 %: judged by the rules
    assert spread.item() < 50
    assert epsilons(column(1, 1, 1), column(1, 1, 1, 1)).item() == 0  # the same constant


@pytest.mark.parametrize("models", [64, 128])
def test_perfect_unlearning_scores_a_fifth(models):
    found = epsilons(normal(models, 400, 0), normal(models, 400, 1))
    assert float(found.median()) == pytest.approx(1.61, abs=0.12)
    assert float(worths(found).mean()) == pytest.approx(0.187, abs=0.015)


def test_sensitivity_with_512_models():
    oracles = normal(512, 16, 1)
    for shift, scale, expected in ((0.5, 1, 0.074), (1, 1, 0.0155), (2, 1, 0.0017), (0, 0.5, 0.004)):
        found = worths(epsilons(shift + scale * normal(512, 16, 0), oracles)).mean()
        assert float(found) == pytest.approx(expected, rel=0.5)


@pytest.mark.parametrize("gaussian", [False, True])
def test_findings_are_normalised_by_their_null(gaussian):
    oracles = evidence(normal(40, 60, 1))
    same = challenge_score(evidence(normal(20, 60, 0)), oracles, subject="a", gaussian=gaussian, splits=4)
    far = challenge_score(evidence(normal(20, 60, 0) + 1), oracles, subject="a", gaussian=gaussian, splits=4)
    assert [each.metric for each in same] == ["challenge score", "challenge score / null", "challenge epsilon"]
    assert same[1].value == pytest.approx(1, abs=0.25)
    assert same[1].value == pytest.approx(same[0].value / same[0].null_mean)
    assert same[1].null_mean == pytest.approx(1)
    assert far[1].value < 0.5
    assert far[2].value > far[2].null_band[1]
    assert not any(each.inside_noise for each in far)
    assert same[0].interval[0] < same[0].value < same[0].interval[1]
    again = challenge_score(evidence(normal(20, 60, 0)), oracles, subject="a", gaussian=gaussian, splits=4)
    assert again == same


def test_bad_input_is_refused():
    with pytest.raises(PopulationTooSmall):
        challenge_score(evidence(normal(1, 3, 0)), evidence(normal(8, 3, 1)), subject="a")
    with pytest.raises(EvidenceError):
        challenge_score(evidence(normal(4, 3, 0)), evidence(normal(8, 3, 1)), subject="a", splits=0)


def draw(draws, shift):
    """Models have a level of their own, so that samples are not independent."""
    level = 0.3 * torch.randn(48, 1, generator=draws)
    values = (level + torch.randn(48, 20, generator=draws)).double()
    values[:16] += shift
    return challenge_score(evidence(values[:16]), evidence(values[16:]), subject="a", splits=12)[1].inside_noise


def test_null_and_alarm_rates():
    draws = torch.Generator().manual_seed(3)
    assert sum(draw(draws, 0.0) for _ in range(50)) / 50 >= 0.85
    assert sum(not draw(draws, 1.0) for _ in range(50)) / 50 >= 0.95


def test_sides_of_a_game_equal_sample_after_sample():
    from erasable.metrics._sides import judged, sides

    draws = torch.Generator().manual_seed(5)
    member = torch.rand(32, 12, generator=draws).argsort(0) < 16
    unlearned = member & (torch.rand(32, 12, generator=draws) < 0.3)
    margins = evidence(torch.randn(32, 12, generator=draws, dtype=torch.float64) + 2 * unlearned)
    given = judged(margins, unlearned, ~member)
    ours, theirs = [], []
    for each in sides(margins, unlearned, ~member, given, splits=2, seed=0, name="challenge"):
        for of, kept in ((each.unlearned, ours), (each.as_many, theirs)):
            kept += [worths(epsilons(of[:, [at]], each.rest[:, [at]])).item() for at in range(of.shape[1])]
    score, normalised, _ = challenge_score_of_sides(margins, unlearned, ~member, subject="a", splits=2)
    assert score.value == pytest.approx(sum(ours) / len(ours))
    assert score.null_mean == pytest.approx(sum(theirs) / len(theirs))
    assert normalised.value == pytest.approx(sum(ours) / sum(theirs))
