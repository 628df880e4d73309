"""Energy distance by hand, against loops, and the rates of its permutation test."""

import itertools

import pytest
import torch

from erasable.errors import EvidenceError, Misaligned, PopulationTooSmall
from erasable.evidence import Evidence
from erasable.metrics import energy_distance
from erasable.metrics.energy_distance import energies


def evidence(values):
    values = torch.as_tensor(values, dtype=torch.float64)
    names = tuple(f"s{i}" for i in range(values.shape[1]))
    return Evidence("margin", names, values, torch.zeros(values.shape[:2], dtype=torch.bool))


def slow(left, right):
    """One sample."""

    def mean(pairs):
        pairs = list(pairs)
        return sum(abs(a - b) for a, b in pairs) / max(1, len(pairs))

    within = [mean(itertools.combinations(each, 2)) for each in (left, right)]
    return 2 * mean(itertools.product(left, right)) - within[0] - within[1]


def test_by_hand():
    distance, p = energy_distance(evidence([[3.0], [5.0]]), evidence([[0.0], [1.0], [0.0], [1.0]]), subject="a")
    # across 3.5, within the models 2, within the oracles 4 pairs of 6 at distance 1
    assert distance.value == pytest.approx(2 * 3.5 - 2 - 4 / 6)
    assert (distance.metric, distance.unit, distance.direction) == ("energy distance", "", "lower")
    assert p.metric == "energy distance p"
    assert f"p = {p.value:.3g}" in distance.note
    # 15 ways to choose two of six; none is farther apart than the given one
    assert p.value == pytest.approx(1 / 15, abs=0.03)


def test_sorting_the_matrix_and_loops_agree():
    draws = torch.Generator().manual_seed(0)
    left, right = (torch.randn(k, 7, generator=draws, dtype=torch.float64) for k in (5, 6))
    by_loop = [slow(left[:, i].tolist(), right[:, i].tolist()) for i in range(7)]
    assert energies(left, right).tolist() == pytest.approx(by_loop)
    distance, _ = energy_distance(evidence(left), evidence(right), subject="a")
    assert distance.value == pytest.approx(sum(by_loop) / 7)


def test_one_model_beside_each_oracle_against_the_others():
    values = torch.randn(6, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    distance, p = energy_distance(evidence(values[:1]), evidence(values[1:]), subject="a")
    oracles = values[1:]
    expected = [
        float(energies(oracles[i : i + 1], torch.cat([oracles[:i], oracles[i + 1 :]])).mean()) for i in range(5)
    ]
    assert distance.null_values == pytest.approx(expected)
    held_out = [float(energies(values[i : i + 1], torch.cat([values[:i], values[i + 1 :]])).mean()) for i in range(6)]
    assert p.value == pytest.approx(sum(each >= held_out[0] for each in held_out) / 6)  # all splits, none twice
    assert "all 6 splits; no smaller than 0.17 with 1 model and 5 oracles" in p.note


def test_repeats_with_its_seed():
    values = torch.randn(12, 9, generator=torch.Generator().manual_seed(0))
    first, again, other = (
        energy_distance(evidence(values[:5]), evidence(values[5:]), subject="a", seed=seed) for seed in (1, 1, 2)
    )
    assert first == again
    assert first[0].value == other[0].value
    assert first[0].interval[0] < first[0].value < first[0].interval[1]


def test_equal_constants_are_no_surprise():
    distance, p = energy_distance(evidence(torch.ones(4, 3)), evidence(torch.ones(6, 3)), subject="a")
    assert (distance.value, p.value) == (0.0, 1.0)


def test_bad_input_is_refused():
    with pytest.raises(PopulationTooSmall):
        energy_distance(evidence(torch.ones(2, 3)), evidence(torch.ones(3, 3)), subject="a")
    with pytest.raises(Misaligned, match="several numbers"):
        energy_distance(evidence(torch.ones(2, 3, 4)), evidence(torch.ones(5, 3, 4)), subject="a")
    with pytest.raises(EvidenceError):
        energy_distance(evidence(torch.ones(2, 3)), evidence(torch.ones(5, 3)), subject="a", permutations=0)


def judged(draws, shift=0.0, scale=1.0, models=8, oracles=16, samples=30):
    """Models have a level of their own, so that samples are not independent."""
    level = 0.5 * torch.randn(models + oracles, 1, generator=draws)
    values = (level + torch.randn(models + oracles, samples, generator=draws)).double()
    values[:models] = scale * values[:models] + shift
    pair = evidence(values[:models]), evidence(values[models:])
    return energy_distance(*pair, subject="a", permutations=199)


def test_null_p_values_are_uniform_and_the_floor_covers():
    draws = torch.Generator().manual_seed(1)
    seen = [judged(draws) for _ in range(200)]
    p = torch.tensor([each[1].value for each in seen])
    for level in (0.05, 0.1, 0.5):
        share = float((p <= level).double().mean())
        assert abs(share - level) < 3.5 * (level * (1 - level) / 200) ** 0.5 + 0.01
    assert sum(each[0].inside_noise for each in seen) / 200 > 0.9
    assert abs(sum(each[0].value for each in seen) / 200) < 0.03  # unbiased


@pytest.mark.parametrize("change", [{"shift": 1.0}, {"scale": 0.3}])
def test_alarm_a_shift_or_a_missing_spread_is_caught(change):
    draws = torch.Generator().manual_seed(2)
    assert sum(judged(draws, **change)[1].value <= 0.05 for _ in range(50)) / 50 >= 0.95
