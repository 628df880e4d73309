"""U-LiRA: against the obvious loop, quiet under both nulls, ringing where margins stay, blind where it says so."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from erasable.attacks._rates import auc, balanced_accuracy, per_sample, rates
from erasable.attacks.ulira import CAP, FLOOR, ulira, ulira_retained
from erasable.errors import Misaligned, PopulationTooSmall, SettingsError
from erasable.evidence import Evidence

CALIBRATION = {8: 62.4, 16: 58.5, 32: 55.6, 64: 54.2}  # accuracy in-sample without a leak, pairs per side


def margins(values, member, signal="margin") -> Evidence:
    given = torch.as_tensor(values, dtype=torch.float64)
    return Evidence(signal, tuple(f"s{i}" for i in range(given.shape[1])), given, torch.as_tensor(member).bool())


def halves(models, samples, g):
    """Each sample is in exactly half of the models."""
    return torch.stack([torch.randperm(models, generator=g) < models // 2 for _ in range(samples)], dim=1)


def population(models=32, samples=100, *, leak=0.0, seed=0):
    """Margins with a level and a spread of each sample; forgotten ones keep `leak` spreads of what they had."""
    g = torch.Generator().manual_seed(seed)
    member = halves(models, samples, g)
    forgotten = member & (torch.rand(models, samples, generator=g) < 0.7)
    level, spread = 2 * torch.randn(1, samples, generator=g), 0.3 + torch.rand(1, samples, generator=g)
    values = level + spread * (torch.randn(models, samples, generator=g) + leak * forgotten)
    return values.double(), member, forgotten


def played(attack, drawn, null):
    """One game; for efficacy the second half of the models are plain ones."""
    values, member, forgotten = drawn
    if null == "privacy":
        return attack(margins(values, member), forgotten)
    half = len(values) // 2
    plain = margins(values[half:], member[half:])
    return attack(margins(values[:half], member[:half]), forgotten[:half], null=null, plain=plain)


def density(x, values, variance, fresh):
    mean, error = sum(values) / len(values), 1 / len(values) if fresh else 0.0
    return -0.5 * math.log(variance) - (x - mean) ** 2 / (2 * variance * (1 + error))


def squares(values):
    return sum((each - sum(values) / len(values)) ** 2 for each in values)


def slow(values, inside, outside, *, fit, pooled):
    """One sample: each of its pairs judged by Gaussians of which nothing was left in that ought to be out."""
    ours, theirs = ([i for i, each in enumerate(side) if each] for side in (inside, outside))
    found = [0.0] * len(values)
    for here, there in ((ours, theirs), (theirs, ours)):
        for rank, i in enumerate(here):
            out = {i, there[rank % len(there)]} if fit == "leave-one-out" else set()
            first, second = ([values[j] for j in side if j not in out] for side in (ours, theirs))
            free = (len(first) - 1, len(second) - 1)
            variances = (squares(first) / free[0], squares(second) / free[1])
            if pooled:
                variances = ((squares(first) + squares(second)) / sum(free),) * 2
            a, b = (max(each, FLOOR**2) for each in variances)
            fresh = fit == "leave-one-out"
            found[i] = density(values[i], first, a, fresh) - density(values[i], second, b, fresh)
    return found


@pytest.mark.parametrize("fit", ["leave-one-out", "in-sample"])
@pytest.mark.parametrize("spread", ["own", "pooled"])
def test_the_same_as_the_obvious_loop(fit, spread):
    values, member, forgotten = population(14, 12, leak=1.0)
    scores = ulira(margins(values, member), forgotten, fit=fit, spread=spread)
    asked = 0
    for at in range(12):
        if min(int(forgotten[:, at].sum()), int((~member[:, at]).sum())) < 3:
            continue
        expected = slow(values[:, at].tolist(), forgotten[:, at].tolist(), (~member[:, at]).tolist(), fit=fit,
                        pooled=spread == "pooled")  # fmt: skip
        assert scores.values[:, at].tolist() == pytest.approx(expected, rel=1e-9, abs=1e-6)
        asked += 1
    assert asked > 8


def test_which_pairs_are_asked():
    """Kept pairs are not; nor is a sample with fewer than three forgotten or never-seen pairs."""
    member = torch.tensor([[1, 1, 1]] * 4 + [[0, 0, 1]] * 4).bool()
    forgotten = torch.tensor([[1, 1, 1]] * 2 + [[1, 0, 1]] + [[0, 0, 0]] * 5).bool()
    scores = ulira(margins(torch.randn(8, 3, generator=torch.Generator().manual_seed(0)), member), forgotten)
    assert scores.counted.T.tolist() == [[True] * 3 + [False] + [True] * 4, [False] * 8, [False] * 8]
    assert scores.truth[:, 0].tolist() == [True] * 3 + [False] * 5
    assert bool((scores.values[~scores.counted] == 0).all())


@pytest.mark.parametrize(("n", "percent"), CALIBRATION.items())
def test_calibration_without_a_leak(n, percent):
    """Two equal Gaussians: judged by its own fit the attack seems to work; judged by others' it reads 50."""
    samples = 100_000 // n
    g = torch.Generator().manual_seed(n)
    member = (torch.arange(2 * n) < n)[:, None].expand(-1, samples)
    evidence = margins(torch.randn(2 * n, samples, generator=g), member)
    tolerance = 100 * 4 * 0.5 / math.sqrt(2 * n * samples) + 0.2  # four deviations, and the digits of the numbers
    found = ulira(evidence, member, fit="in-sample", spread="own")
    assert balanced_accuracy(found, subject="x").value == pytest.approx(percent, abs=tolerance)
    for spread in ("own", "pooled", "auto"):
        fair = ulira(evidence, member, spread=spread)
        assert balanced_accuracy(fair, subject="x").value == pytest.approx(50, abs=tolerance)
        assert auc(fair, subject="x").value == pytest.approx(50, abs=tolerance)


@pytest.mark.parametrize("attack", [ulira, ulira_retained])
@pytest.mark.parametrize("null", ["privacy", "efficacy"])
def test_null_control_intervals_cover_fifty(attack, null):
    covered = 0
    for seed in range(100):
        scores = played(attack, population(24, 60, seed=seed), null)
        low, high = rates(scores, subject="x")[0].interval
        covered += low <= 50 <= high
    assert 0.9 <= covered / 100 <= 0.99


@pytest.mark.parametrize("null", ["privacy", "efficacy"])
def test_alarm_an_unlearner_that_keeps_the_margins_of_members(null):
    """As rates over draws: one spread of a leak with 32 models and 60 samples is found every time."""
    rung = 0
    for seed in range(50):
        scores = played(ulira, population(32, 60, leak=1.0, seed=seed), null)
        rung += rates(scores, subject="x")[0].interval[0] > 50
    assert rung / 50 >= 0.95


def test_the_efficacy_game_finds_what_the_privacy_game_cannot():
    """An unlearner that lowers everybody's margin alike: in its own models nothing stands out."""
    values, member, forgotten = population(32, 80)
    hurt = margins(values[:16] - 3, member[:16])
    private = ulira(hurt, forgotten[:16])
    faithful = ulira(hurt, forgotten[:16], null="efficacy", plain=margins(values[16:], member[16:]))
    assert 45 < auc(private, subject="x").value < 55
    assert auc(faithful, subject="x").value > 95
    assert faithful.values.shape == (32, 80)
    assert not bool(faithful.counted[:16][~member[:16]].any())  # never seen there, but not of this game
    assert (private.attack, faithful.attack) == ("U-LiRA privacy", "U-LiRA efficacy")


def test_retained_samples_that_leak_while_forgotten_ones_do_not():
    values, member, forgotten = population(32, 80)
    evidence = margins(values + 2.0 * (member & ~forgotten), member)
    assert auc(ulira_retained(evidence, forgotten), subject="x").value > 90
    assert 45 < auc(ulira(evidence, forgotten), subject="x").value < 55


def test_a_leak_of_some_samples_shows_in_those():
    values, member, forgotten = population(64, 40)
    values[:, :3] += 4.0 * forgotten[:, :3]
    found, at = per_sample(ulira(margins(values, member), forgotten))
    assert at[found.argsort(descending=True)[:3]].sort().values.tolist() == [0, 1, 2]


def test_blind_spot_one_margin_for_forgotten_and_never_seen_is_no_evidence():
    """A model that answers alike whatever comes: no NaN, no rounding taken for evidence, no leak that it sees."""
    _, member, forgotten = population(32, 50)
    for value in (0.1, 1 / 3, 60.0):
        scores = ulira(margins(torch.full(member.shape, value), member), forgotten)
        assert bool((scores.values == 0).all())
        assert auc(scores, subject="x").value == 50
        assert balanced_accuracy(scores, subject="x").value == 50


def test_blind_spot_margins_redrawn_from_those_of_never_seen_samples():
    values, member, forgotten = population(32, 100, leak=3.0)
    assert auc(ulira(margins(values, member), forgotten), subject="x").value > 95
    fresh = population(32, 100, leak=0.0)[0]  # the margins alone; whatever else the outputs tell is not looked at
    low, high = auc(ulira(margins(fresh, member), forgotten), subject="x").interval
    assert low < 50 < high


@pytest.mark.parametrize("models", [32, 160])
def test_one_margin_for_forgotten_samples_alone_is_caught(models):
    """Never-seen samples have a spread and forgotten ones have none; from 64 pairs a side on that alone is enough."""
    values, member, forgotten = population(models, 60)
    forgotten = member
    values[forgotten] = 3.0
    assert auc(ulira(margins(values, member), forgotten), subject="x").value > 85
    level = torch.stack([row[~seen].mean() for row, seen in zip(values.T, member.T, strict=True)])
    natural = ulira(margins(torch.where(forgotten, level, values), member), forgotten)
    if models == 160:
        assert auc(natural, subject="x").value > 99
    else:  # a blind spot: with few pairs spreads are pooled, and each level is just that of never-seen pairs
        assert auc(natural, subject="x").value < 60


def test_margins_are_capped():
    values, member, forgotten = population(16, 20)
    values[3] = 4000.0
    first = ulira(margins(values, member), forgotten)
    values[3] = CAP
    assert first.values.equal(ulira(margins(values, member), forgotten).values)


@settings(max_examples=30, deadline=None)
@given(st.floats(-20, 20), st.floats(0.3, 3), st.randoms(use_true_random=False))
def test_level_and_order_of_samples_change_nothing(shift, scale, random):
    values, member, forgotten = population(16, 10, leak=1.0)
    scores = ulira(margins(values, member), forgotten).values
    order = list(range(10))
    random.shuffle(order)
    moved = ulira(margins((values * scale + shift)[:, order], member[:, order]), forgotten[:, order]).values
    torch.testing.assert_close(moved, scores[:, order], rtol=1e-6, atol=1e-5)


def test_what_cannot_be_judged_is_refused():
    values, member, forgotten = population(16, 20)
    evidence = margins(values, member)
    with pytest.raises(Misaligned, match="without having seen it"):
        ulira(evidence, ~member)
    with pytest.raises(Misaligned, match="forgotten"):
        ulira(evidence, forgotten[:, :3])
    with pytest.raises(Misaligned, match="float"):
        ulira(evidence, forgotten.double())
    with pytest.raises(SettingsError, match="efficacy"):
        ulira(evidence, forgotten, null="efficacy")
    with pytest.raises(SettingsError, match="privacy"):
        ulira(evidence, forgotten, plain=evidence)
    with pytest.raises(SettingsError, match="two-out"):
        ulira(evidence, forgotten, fit="two-out")
    with pytest.raises(Misaligned, match="loss"):
        ulira(evidence, forgotten, null="efficacy", plain=margins(values, member, "loss"))
    with pytest.raises(PopulationTooSmall, match="3 models"):
        ulira(margins(values[:4], member[:4]), forgotten[:4])


def test_sides_of_unequal_size_are_no_evidence():
    """Half of the never-seen pairs, called forgotten by lot: their number differs from sample to sample."""
    found = []
    for seed in range(40):
        g = torch.Generator().manual_seed(seed)
        member = torch.stack([torch.randperm(32, generator=g) for _ in range(200)], dim=1) < 16
        called = ~member & (torch.rand(member.shape, generator=g) < 0.5)
        values = torch.randn(member.shape, generator=g)
        found.append(rates(ulira(margins(values, member | called), called), subject="x")[0].value)
    assert abs(sum(found) / len(found) - 50) < 0.7  # without the mean's own error in the densities: 51
