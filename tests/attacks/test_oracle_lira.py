"""The attack with a threshold per sample: silent among equals, and loud for a single sample."""

import pytest
import torch

from erasable.attacks.oracle_lira import findings, oracle_lira
from erasable.errors import PopulationTooSmall
from erasable.evidence import Evidence, joint

N = 100


def evidence(values: torch.Tensor) -> Evidence:
    return Evidence("margin", tuple(f"s{i}" for i in range(values.shape[1])), values, torch.zeros(values.shape).bool())


def drawn(models: int, seed: int, shift: float = 0.0) -> torch.Tensor:
    """Samples of very different difficulty, about which models differ by one."""
    g = torch.Generator().manual_seed(seed)
    return 10 * torch.linspace(-1, 1, N) + torch.randn(models, N, generator=g) + shift


def test_scores_by_hand():
    oracles = torch.tensor([[1.0, 5.0], [3.0, 5.0], [2.0, 8.0]])
    scores = oracle_lira(evidence(torch.tensor([[4.0, 6.0]])), evidence(oracles))
    spread = ((1.0 + 3.0) / 2) ** 0.5  # variances 1 and 3
    expected = torch.tensor([2.0, 0.0]) / (spread * (4 / 3) ** 0.5)
    assert torch.allclose(scores.values[0], expected.double())
    others = ((oracles[1] + oracles[2]) / 2, oracles[1:].var(0).mean().sqrt())
    assert torch.allclose(scores.values[1], ((oracles[0] - others[0]) / others[1] / 1.5**0.5).double())


def test_a_small_shift_that_is_lost_in_the_difficulty_of_samples_is_found():
    known = evidence(drawn(12, 1))
    rates = joint(findings(oracle_lira(evidence(drawn(1, 2, shift=1.0)), known), subject="x"))
    assert rates[0].value > 70
    assert rates[0].inside_noise is False
    plain = oracle_lira(evidence(drawn(1, 2)), known)
    assert all(each.inside_noise for each in joint(findings(plain, subject="x")))


def test_false_alarms_are_as_rare_as_the_bands_promise():
    """A further oracle leaves any of the joint bands about once in 13 times."""
    alarms = 0
    for seed in range(100):
        every = drawn(13, seed)
        rates = joint(findings(oracle_lira(evidence(every[:1]), evidence(every[1:])), subject="x"))
        alarms += not all(each.inside_noise for each in rates)
    assert alarms <= 16


def test_one_remembered_sample_in_ten_shows_in_the_tail():
    values = drawn(1, 5)
    values[0, ::10] += 6
    rates = joint(findings(oracle_lira(evidence(values), evidence(drawn(12, 6))), subject="x"))
    assert rates[2].metric == "most exposed 5 %"
    assert rates[2].inside_noise is False


def test_samples_without_any_spread_give_no_evidence():
    flat = evidence(torch.full((5, N), -50.0))
    rates = findings(oracle_lira(evidence(torch.full((1, N), -50.0)), flat), subject="x")
    assert rates[0].value == 50
    rounded = evidence(torch.full((1, N), -50.0) + 1e-5 * torch.rand(1, N))
    assert findings(oracle_lira(rounded, flat), subject="x")[0].value == 50


def test_two_oracles_are_too_few():
    with pytest.raises(PopulationTooSmall):
        oracle_lira(evidence(drawn(1, 0)), evidence(drawn(2, 1)))
