"""Confidence beyond the oracles': by hand, silent among equals, blind to what training runs differ by in general."""

import pytest
import torch

from erasable.attacks.difficulty_calibration import difficulty_calibration
from erasable.errors import Misaligned, PopulationTooSmall
from erasable.evidence import Evidence, joint

ERASED, FRESH = 80, 200


def evidence(values, name="e"):
    values = torch.as_tensor(values, dtype=torch.float64)
    ids = tuple(f"{name}{i}" for i in range(values.shape[1]))
    return Evidence("confidence", ids, values, torch.zeros(values.shape, dtype=torch.bool))


def drawn(models, seed, *, knows=0.0, surer=0.0):
    """Erased and fresh confidences of models; hard ones are hard for all, and some models are surer of all."""
    hard = 2 * torch.randn(ERASED + FRESH, generator=torch.Generator().manual_seed(0))
    g = torch.Generator().manual_seed(seed)
    logits = hard + 0.5 * torch.randn(models, ERASED + FRESH, generator=g) + 0.3 * torch.randn(models, 1, generator=g)
    logits = logits + surer
    logits[:, :ERASED] += knows
    sure = logits.sigmoid()
    return evidence(sure[:, :ERASED]), evidence(sure[:, ERASED:], "f")


def judged(target, oracles):
    (found,) = joint([difficulty_calibration(*target, oracles=oracles, subject="x")])
    return found


def test_by_hand():
    oracles = evidence([[0.2, 0.6], [0.4, 0.8]]), evidence([[0.5], [0.7]], "f")
    found = difficulty_calibration(evidence([[0.9, 0.9]]), evidence([[0.8]], "f"), oracles=oracles, subject="x")
    assert found.value == pytest.approx(100 * ((0.6 + 0.2) / 2 - 0.2))
    assert found.null_values == pytest.approx((0.0, 0.0))  # (-0.2 - -0.2) and (0.2 - 0.2)
    assert found.unit == "points"


def test_held_out_oracles_equal_the_obvious_loop():
    oracles = drawn(7, 3)
    found = difficulty_calibration(*drawn(1, 4), oracles=oracles, subject="x")
    for i, value in enumerate(found.null_values):
        others = [each.values[[j for j in range(7) if j != i]].mean(0) for each in oracles]
        mine = [(each.values[i] - mean).mean() for each, mean in zip(oracles, others, strict=True)]
        assert value == pytest.approx(100 * float(mine[0] - mine[1]))


def test_it_stays_quiet_among_equals_and_rings_for_a_small_leak():
    draws = 60
    false = sum(judged(drawn(1, 100 + i), drawn(16, 1000 + i)).inside_noise is False for i in range(draws))
    rang = sum(judged(drawn(1, 100 + i, knows=0.5), drawn(16, 1000 + i)).inside_noise is False for i in range(draws))
    assert false <= 8  # about once in 17
    assert rang >= 0.95 * draws


def test_a_model_that_is_surer_of_everything_is_no_leak():
    found = judged(drawn(1, 5, surer=1.5), drawn(16, 6))
    assert found.value < judged(drawn(1, 5, knows=1.5), drawn(16, 6)).value / 3


def test_the_interval_holds_the_mean_over_other_samples():
    hits = 0
    for seed in range(60):
        g = torch.Generator().manual_seed(seed)
        target = (
            evidence(0.5 + 0.1 * torch.randn(1, 50, generator=g)),
            evidence(0.4 + 0.1 * torch.randn(1, 60, generator=g), "f"),
        )
        flat = evidence(torch.full((2, 50), 0.5)), evidence(torch.full((2, 60), 0.5), "f")
        low, high = difficulty_calibration(*target, oracles=flat, subject="x").interval
        hits += low <= 10.0 <= high
    assert hits >= 52


def test_bad_input():
    erased, fresh = drawn(1, 0)
    with pytest.raises(PopulationTooSmall, match="1 reference"):
        difficulty_calibration(erased, fresh, oracles=drawn(1, 1), subject="x")
    with pytest.raises(Misaligned, match="expected the same signal on the same ids"):
        difficulty_calibration(fresh, erased, oracles=drawn(3, 1), subject="x")
    two = drawn(2, 2)
    with pytest.raises(Misaligned, match="one model"):
        difficulty_calibration(*two, oracles=drawn(3, 1), subject="x")
