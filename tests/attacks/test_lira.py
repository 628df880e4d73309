"""LiRA: closed forms against loops, scipy and arithmetic; no bias under the null; a true shift is found."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import norm

from erasable.attacks._rates import auc, balanced_accuracy, rates
from erasable.attacks.lira import FLOOR, gaussians, lira, memorisation, strata
from erasable.errors import Misaligned, PopulationTooSmall, SettingsError
from erasable.evidence import Evidence


def evidence(values, member, signal="margin"):
    values = torch.as_tensor(values, dtype=torch.float64)
    return Evidence(signal, tuple(f"s{i}" for i in range(values.shape[1])), values, torch.as_tensor(member).bool())


def halves(models, samples, g):
    """Each sample in exactly half of the models."""
    return torch.rand(models, samples, generator=g).argsort(0) < models // 2


def population(models, samples, seed, shift=0.0, sigma=1.0):
    """Margins with a difficulty per sample; those of members are higher by `shift`."""
    g = torch.Generator().manual_seed(seed)
    member = halves(models, samples, g)
    noise = torch.randn(models, samples, generator=g, dtype=torch.float64)
    hard = 3 * torch.randn(1, samples, generator=g, dtype=torch.float64)
    return evidence(sigma * noise + shift * member + hard, member)


def loop(values, side, *, out, location, own):
    """Location and sigma as one would write them down first; `out` is the model that is left out, or None."""
    models, samples = values.shape
    keep = [i for i in range(models) if i != out]
    kept = [values[[i for i in keep if side[i, t]], t] for t in range(samples)]
    total = sum(float((each - each.mean()).square().sum()) for each in kept if len(each) > 1)
    shared = total / sum(len(each) - 1 for each in kept if len(each) > 1)
    locations, sigmas = [], []
    for t, each in enumerate(kept):
        number = int(side[:, t].sum())
        locations.append(float(each.quantile(0.5) if location == "median" else each.mean()) if len(each) else None)
        alone = models >= own and number >= own / 4 and number > 2
        sigmas.append(math.sqrt(float(each.var()) if alone else shared))
    return locations, sigmas


@pytest.mark.parametrize("location", ["median", "mean"])
@pytest.mark.parametrize("own", [4, 8, 64])
@pytest.mark.parametrize("seed", range(4))
def test_closed_form_equals_the_loop(location, own, seed):
    g = torch.Generator().manual_seed(seed)
    values = torch.randn(9, 7, generator=g, dtype=torch.float64).mul(3).round(decimals=1)  # with equal values
    side = torch.rand(9, 7, generator=g) > 0.4
    side[:, 0] = False
    side[2, 0] = True  # only one model
    fast = gaussians(values, side, leave_out=True, location=location, own=own)
    assert torch.equal(fast.n, side.sum(0) - side.long())
    for i in range(9):
        locations, sigmas = loop(values, side, out=i, location=location, own=own)
        for t in range(7):
            assert float(fast.sigma[i, t]) == pytest.approx(sigmas[t], abs=1e-9)
            if locations[t] is not None:
                assert float(fast.location[i, t]) == pytest.approx(locations[t], abs=1e-9)
    whole = gaussians(values, side, leave_out=False, location=location, own=own)
    locations, sigmas = loop(values, side, out=None, location=location, own=own)
    assert whole.location[0].tolist() == pytest.approx(locations, abs=1e-9)
    assert whole.sigma.expand(1, 7)[0].tolist() == pytest.approx(sigmas, abs=1e-9)


def test_online_by_hand():
    """IN 3, 5 (mean 4, variance 2) and OUT -1, 1 (mean 0, variance 2): at x the ratio is (x^2 - (x - 4)^2) / 4."""
    shadows = evidence([[3.0], [5.0], [-1.0], [1.0]], [[1], [1], [0], [0]])
    asked = evidence([[2.0], [3.0], [0.0]], [[1], [1], [0]])
    assert lira(asked, shadows).values.flatten().tolist() == pytest.approx([0, 2, -4])
    assert lira(asked, shadows).truth.flatten().tolist() == [True, True, False]


def test_sides_have_their_own_sigma():
    """OUT spreads ten times as far: the shared OUT sigma is that of OUT scores."""
    shadows = evidence([[3.0], [5.0], [-10.0], [10.0]], [[1], [1], [0], [0]])
    x = 6.0
    expected = norm.logpdf(x, 4, math.sqrt(2)) - norm.logpdf(x, 0, math.sqrt(200))
    assert float(lira(evidence([[x]], [[1]]), shadows).values) == pytest.approx(expected)


@pytest.mark.parametrize("models", [8, 64])
def test_offline_equals_scipy(models):
    shadows, asked = population(models, 20, 0), population(5, 20, 1, shift=2)
    found = lira(asked, shadows, offline=True, location="mean").values
    outside = torch.where(shadows.member, torch.nan, shadows.values).numpy()
    mean, sigma = np.nanmean(outside, 0), np.nanstd(outside, 0, ddof=1)
    if models < 64:
        sigma = np.sqrt((sigma**2).mean())  # equal numbers on each side
    expected = norm.logcdf((asked.values.numpy() - mean) / sigma)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9, atol=1e-12)


def test_offline_never_looks_at_models_that_saw_the_sample():
    shadows, asked = population(16, 10, 0), population(3, 10, 1)
    other = evidence(torch.where(shadows.member, 1e3, shadows.values), shadows.member)
    assert torch.equal(lira(asked, shadows, offline=True).values, lira(asked, other, offline=True).values)
    nobody = evidence(shadows.values, torch.zeros(16, 10))
    assert lira(asked, nobody, offline=True).counted.all()
    with pytest.raises(PopulationTooSmall):
        lira(asked, nobody)


@pytest.mark.parametrize("location", ["median", "mean"])
def test_a_target_that_was_a_shadow_before_is_left_out_of_the_shadows(location):
    shadows = population(10, 12, seed=1, shift=1)
    g = torch.Generator().manual_seed(2)
    targets = evidence(shadows.values + torch.randn(10, 12, generator=g, dtype=torch.float64), shadows.member)
    found = lira(targets, shadows, location=location, paired=True)
    for i in range(10):
        others = [each for each in range(10) if each != i]
        rest = evidence(shadows.values[others], shadows.member[others])
        alone = lira(targets.model(i), rest, location=location)
        assert torch.allclose(found.values[i], alone.values[0])
    assert torch.equal(lira(shadows, evidence(shadows.values, shadows.member), paired=True).values,
                       lira(shadows).values)  # fmt: skip
    with pytest.raises(Misaligned, match="10 targets and 9 shadow models, paired"):
        lira(targets, rest, paired=True)


@pytest.mark.parametrize("location", ["median", "mean"])
def test_noise_is_not_found_when_each_model_is_left_out(location):
    """32 a side: fits that hold the attacked model read about 0.556 under the null, leave-one-out reads 0.5."""
    shadows = population(64, 1_500, 0)
    held_out = balanced_accuracy(lira(shadows, location=location), subject="x").value / 100
    assert held_out == pytest.approx(0.5, abs=0.008)
    same = Evidence(
        shadows.signal, shadows.ids, shadows.values, shadows.member
    )  # shadows that happen to be the targets
    in_sample = balanced_accuracy(lira(same, shadows, location="mean"), subject="x").value / 100
    assert in_sample == pytest.approx(0.556, abs=0.008)


@pytest.mark.parametrize(("models", "expected"), [(8, 48.1), (16, 49.0), (32, 49.6), (64, 49.8)])
def test_what_noise_reads_is_never_above_a_half(models, expected):
    """One side is fitted to one model fewer: with few models the attack is slightly worse than guessing."""
    found = [balanced_accuracy(lira(population(models, 500, seed)), subject="x").value for seed in range(10)]
    assert sum(found) / 10 == pytest.approx(expected, abs=0.6)
    assert sum(found) / 10 < 50.3


def test_a_shift_is_found_as_well_as_theory_allows():
    """Two sigmas apart: the best accuracy is Phi(1) = 84.1 %, the best AUC Phi(sqrt 2) = 92.1 %."""
    shadows = population(64, 500, 3, shift=2)
    for scores, threshold in (
        (lira(shadows), 0.0),
        (lira(population(8, 500, 3, shift=2), offline=True), math.log(0.5)),
    ):
        assert auc(scores, subject="x").value > 85
        assert balanced_accuracy(scores, subject="x", threshold=threshold).value > 70
    assert balanced_accuracy(lira(shadows), subject="x").value == pytest.approx(84.1, abs=1.5)
    assert auc(lira(shadows), subject="x").value == pytest.approx(92.1, abs=1.5)


def test_null_and_alarm_as_rates():
    quiet = rang = 0
    for seed in range(60):
        low, high = rates(lira(population(32, 40, seed)), subject="x")[0].interval
        quiet += low <= 50 <= high
        rang += rates(lira(population(32, 40, seed, shift=1)), subject="x")[0].interval[0] > 50
    assert quiet / 60 >= 0.88  # nominal 95 %
    assert rang / 60 >= 0.95


def test_a_sample_with_one_model_on_a_side_gives_no_nan():
    member = torch.tensor([[1, 1, 0], [0, 1, 0], [0, 0, 0], [0, 0, 1], [0, 1, 1]]).bool()
    given = evidence(torch.randn(5, 3, generator=torch.Generator().manual_seed(0)), member)
    for location in ("median", "mean"):
        for own in (4, 64):
            scores = lira(given, location=location, own=own)
            assert bool(torch.isfinite(scores.values).all())
            assert not scores.counted[0, 0]  # without model 0 nobody saw s0
            assert int(scores.counted.sum()) == 14
    assert lira(given, offline=True).counted.all()


def test_models_that_all_say_the_same_give_finite_scores():
    member = torch.arange(8)[:, None] % 2 == torch.arange(3)
    given = evidence(torch.where(member, 5.0, -5.0), member)
    scores = lira(given)
    assert bool(torch.isfinite(scores.values).all())
    assert balanced_accuracy(scores, subject="x").value == 100
    constant = lira(evidence(torch.zeros(8, 3), member))
    assert constant.values.abs().max() == 0
    assert gaussians(given.values, member, leave_out=True).sigma.max() == FLOOR


def test_masks_choose_the_pairs_and_mismatches_are_refused():
    given = population(16, 10, 0)
    forgotten = given.member & (torch.arange(10) < 3)
    scores = lira(given, truth=forgotten, counted=forgotten | ~given.member)
    assert torch.equal(scores.truth, forgotten)
    assert not scores.counted[given.member & ~forgotten].any()
    with pytest.raises(Misaligned):
        lira(given, population(16, 11, 0))
    with pytest.raises(PopulationTooSmall):
        lira(given, given.model(0))
    with pytest.raises(SettingsError):
        lira(given, own=2)


def test_memorisation_by_hand():
    """s0: seen by two, both right, of the others one of two. s1: seen by one, who is wrong as all are."""
    member = [[1, 1], [1, 0], [0, 0], [0, 0]]
    given = evidence([[1, 0], [1, 0], [1, 0], [0, 0]], member, "correct")
    assert memorisation(given).tolist() == [0.5, 0]
    with pytest.raises(PopulationTooSmall, match="1 of 2 samples"):
        memorisation(evidence(given.values, [[1, 1], [1, 1], [0, 1], [0, 1]], "correct"))


def test_strata_by_hand():
    given = torch.tensor([0.0, 0.01, 0.5, 0.51, 0.2, -0.1, 0.9])
    found = strata(given)
    assert [each.tolist() for each in found] == [[0, 5], [1, 2, 4], [3, 6]]
    drawn = strata(given, size=2, seed=1)
    assert [len(each) for each in drawn] == [2, 2, 2]
    assert set(drawn.middle.tolist()) <= {1, 2, 4}
    assert torch.equal(drawn.middle, strata(given, size=2, seed=1).middle)
    assert {tuple(strata(given, size=2, seed=s).middle.tolist()) for s in range(20)} == {(1, 2), (1, 4), (2, 4)}
    with pytest.raises(PopulationTooSmall, match="2 samples of low"):
        strata(given, size=3)
    with pytest.raises(SettingsError):
        strata(given, low=0.6)
