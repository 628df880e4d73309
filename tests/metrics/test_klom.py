"""KLoM by hand, against a slow twin, its published calibration, its null and its alarm."""

import math

import pytest
import torch

from erasable.errors import EvidenceError, PopulationTooSmall
from erasable.evidence import Evidence
from erasable.metrics import klom
from erasable.metrics.klom import divergences, klom_of_sides

POINTS = 2000


def evidence(values):
    names = tuple(f"s{i}" for i in range(values.shape[1]))
    return Evidence("margin", names, values, torch.zeros(values.shape, dtype=torch.bool))


def normal(models, seed, samples=POINTS):
    draws = torch.Generator().manual_seed(seed)
    return torch.randn(models, samples, generator=draws, dtype=torch.float64)


def named(findings):
    return {each.metric: each for each in findings}


def slow_published(left, right):
    """One sample: a loop over bins."""
    low, high = min([*left, *right]), max([*left, *right])

    def histogram(values):
        counts = [0] * 20
        for each in values:
            counts[min(19, int((each - low) / (high - low) * 20))] += 1
        return [count / len(values) for count in counts]

    pairs = zip(histogram(left), histogram(right), strict=True)
    return sum(p * math.log(p / max(q, 1e-5)) for p, q in pairs if p)


def test_published_form_equals_the_slow_twin():
    left, right = normal(30, 0, 8) + 0.4, normal(25, 1, 8)
    slow = [slow_published(left[:, i].tolist(), right[:, i].tolist()) for i in range(8)]
    assert divergences(left, right).tolist() == pytest.approx(slow)


def test_quantile_bins_by_hand():
    oracles = torch.arange(10.0, dtype=torch.float64)[:, None]  # two bins of five, the edge at 4.5
    models = torch.tensor([[0.0], [1.0], [-900.0], [5.0]], dtype=torch.float64)
    p, q = [3.5 / 5, 1.5 / 5], [5.5 / 11, 5.5 / 11]
    there = sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    back = sum(b * math.log(b / a) for a, b in zip(p, q, strict=True))
    assert divergences(models, oracles, edges_of=oracles).item() == pytest.approx(there)
    assert divergences(oracles, models, edges_of=oracles).item() == pytest.approx(back)


def test_published_calibration_of_the_null():
    for models, mean, p95 in ((20, 3.02, 4.95), (50, 0.85, 1.71), (100, 0.34, 0.67), (200, 0.15, 0.28)):
        found = divergences(normal(models, 0), normal(models, 1))
        assert float(found.mean()) == pytest.approx(mean, rel=0.1)  # the largest value counts here: 4 % more at 50
        assert float(found.quantile(0.95)) == pytest.approx(p95, rel=0.1)


def test_published_calibration_of_shifts():
    oracles = normal(100, 1)
    for shift, mean in ((0.25, 0.40), (0.5, 0.56), (1, 1.19), (2, 3.6), (3, 6.6)):
        assert float(divergences(normal(100, 0) + shift, oracles).mean()) == pytest.approx(mean, rel=0.05)


def test_one_diverged_model_shrinks_the_published_form_only():
    models, oracles = normal(100, 0), normal(100, 1)
    oracles[0] = 20
    assert float(divergences(models, oracles).mean()) == pytest.approx(0.10, abs=0.04)  # 0.34 without it
    assert float(divergences(models + 1, oracles).mean()) == pytest.approx(0.68, abs=0.08)  # 1.19 without it
    clean, dirty = (divergences(models + 1, each, edges_of=each).mean() for each in (normal(100, 1), oracles))
    assert float(dirty) == pytest.approx(float(clean), rel=0.08)


def test_findings_their_floor_and_what_a_shift_does():
    oracles = evidence(normal(60, 1, 200))
    same = named(klom(evidence(normal(30, 0, 200)), oracles, subject="a"))
    far = named(klom(evidence(normal(30, 0, 200) + 1), oracles, subject="a"))
    ways = ("symmetric", "model||oracles", "oracles||model")
    assert list(same) == [f"KLoM {way} {of}" for way in ways for of in ("mean", "median", "P95")] + ["KLoM saturated"]
    assert len(same["KLoM symmetric mean"].null_values) == 20
    assert same["KLoM symmetric mean"].note == "30 models against 30 oracles, 20 splits"
    for way in ways:
        assert far[f"KLoM {way} mean"].value > 3 * same[f"KLoM {way} mean"].value
        assert not far[f"KLoM {way} mean"].inside_noise
        assert same[f"KLoM {way} mean"].null_mean == pytest.approx(same[f"KLoM {way} mean"].value, rel=0.2)
    both = [far[f"KLoM {way} mean"].value for way in ways]
    assert both[0] == pytest.approx((both[1] + both[2]) / 2)
    low, high = far["KLoM symmetric mean"].interval
    assert low < both[0] < high


def test_saturated_samples_are_counted():
    oracles, models = normal(40, 1, 50), normal(20, 0, 50)
    models[:, :10] += 100
    found = named(klom(evidence(models), evidence(oracles), subject="a"))["KLoM saturated"]
    assert (found.value, found.null_band, found.unit) == (20.0, (0.0, 0.0), "%")
    farther = models.clone()
    farther[:, :10] += 100  # cannot be told from the former
    for published in (False, True):
        near, far = (klom(evidence(each), evidence(oracles), subject="a", published=published)[0].value
                     for each in (models, farther))  # fmt: skip
        assert near == pytest.approx(far, rel=0.05)


def test_constant_margins_are_no_division_by_zero():
    constant = evidence(torch.full((10, 3), 50.0))
    for published in (False, True):
        found = klom(constant, constant, subject="a", published=published)
        assert found[0].value == pytest.approx(0, abs=1e-12)
    alarm = klom(constant, evidence(normal(10, 0, 3)), subject="a")
    assert alarm[-1].value == 100


def test_too_few_models_are_refused():
    with pytest.raises(PopulationTooSmall):
        klom(evidence(normal(1, 0, 5)), evidence(normal(8, 1, 5)), subject="a")
    with pytest.raises(PopulationTooSmall):
        klom(evidence(normal(2, 0, 5)), evidence(normal(3, 1, 5)), subject="a")
    with pytest.raises(EvidenceError):
        klom(evidence(normal(2, 0, 5)), evidence(normal(8, 1, 5)), subject="a", splits=0)


def draw(draws, shift, *, models=16, oracles=32, samples=40):
    """Margins of models, each with a level of its own, so that samples are not independent."""
    level = 0.3 * torch.randn(models + oracles, 1, generator=draws)
    values = (level + torch.randn(models + oracles, samples, generator=draws)).double()
    values[:models] += shift
    return named(klom(evidence(values[:models]), evidence(values[models:]), subject="a", splits=20))


def test_null_and_alarm_rates():
    draws = torch.Generator().manual_seed(3)
    quiet = [draw(draws, 0.0) for _ in range(150)]
    rings = [draw(draws, 1.0) for _ in range(50)]
    for of in ("mean", "median", "P95"):
        assert sum(each[f"KLoM symmetric {of}"].inside_noise for each in quiet) / 150 >= 0.9
        assert sum(not each[f"KLoM symmetric {of}"].inside_noise for each in rings) / 50 >= 0.95


def played(models=32, samples=30, leak=0.0, seed=0):
    """A game: half of the models had a sample, a fifth of these unlearned it and keep a `leak`."""
    draws = torch.Generator().manual_seed(seed)
    member = torch.rand(models, samples, generator=draws).argsort(0) < models // 2
    unlearned = member & (torch.rand(models, samples, generator=draws) < 0.25)
    values = torch.randn(models, samples, generator=draws, dtype=torch.float64) + leak * unlearned
    return evidence(values), unlearned, ~member


def slow_quantile(left, right):
    """One sample, bins of the right's quantiles: loops."""
    bins, ordered = min(20, max(2, len(right) // 5)), sorted(right)
    edges = [(ordered[k * len(right) // bins - 1] + ordered[k * len(right) // bins]) / 2 for k in range(1, bins)]

    def share(values):
        counts = [0.5] * bins
        for each in values:
            counts[sum(edge <= each for edge in edges)] += 1
        return [count / sum(counts) for count in counts]

    p, q = share(left), share(right)
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True)), sum(
        b * math.log(b / a) for a, b in zip(p, q, strict=True)
    )


def test_sides_of_a_game_equal_the_slow_twin():
    from erasable.metrics._sides import judged, sides

    margins, unlearned, never = played()
    given = judged(margins, unlearned, never)
    there, back, null = [], [], []
    for each in sides(margins, unlearned, never, given, splits=3, seed=0, name="klom"):
        for of, kept in ((each.unlearned, (there, back)), (each.as_many, (null, []))):
            for column in range(of.shape[1]):
                a, b = slow_quantile(of[:, column].tolist(), each.rest[:, column].tolist())
                kept[0].append(a)
                kept[1].append(b)
    found = klom_of_sides(margins, unlearned, never, subject="a", splits=3)
    assert [each.metric for each in found] == [
        f"KLoM, {way}, {of}" for way in ("unlearned to never seen", "never seen to unlearned") for of in ("mean", "P95")
    ]
    assert found[0].value == pytest.approx(sum(there) / len(there))
    assert found[2].value == pytest.approx(sum(back) / len(back))
    assert found[0].null_mean == pytest.approx(sum(null) / len(null))
    assert len(found[0].null_values) == 3


def test_a_shift_of_what_was_unlearned_shows_in_a_game():
    quiet, loud = (klom_of_sides(*played(samples=200, leak=leak), subject="a") for leak in (0.0, 1.0))
    assert all(each.inside_noise for each in quiet)
    assert not any(each.inside_noise for each in loud)
    assert quiet[0].note.endswith(" that never had it, 20 splits")
    with pytest.raises(EvidenceError, match="0 splits"):
        klom_of_sides(*played(), subject="a", splits=0)
