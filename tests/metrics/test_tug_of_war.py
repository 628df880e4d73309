"""ToW and ToW-MIA by hand, the published do-nothing values, and the floor."""

import pytest
import torch

from erasable.errors import Misaligned, PopulationTooSmall
from erasable.evidence import Evidence
from erasable.metrics import tug_of_war, tug_of_war_mia


def accuracies(*percent, n=10_000):
    """The signal `correct` with these accuracies."""
    values = torch.stack([(torch.arange(n) < round(each * n / 100)).double() for each in percent])
    return Evidence("correct", tuple(map(str, range(n))), values, torch.zeros(len(percent), n, dtype=torch.bool))


def parts(forget, retain, test, n=10_000):
    return {"forget": accuracies(*forget, n=n), "retain": accuracies(*retain, n=n), "test": accuracies(*test, n=n)}


RETRAINED = parts([94.76] * 2, [100.0] * 2, [94.26] * 2)  # the published reference: UA 5.24, RA 100, TA 94.26
NOTHING = parts([99.8], [100.0], [94.5])


def test_doing_nothing_scores_what_the_note_says():
    found = tug_of_war(NOTHING, RETRAINED, subject="nothing")
    assert found.value == pytest.approx((1 - 0.0504) * (1 - 0.0024))
    assert f"{found.value:.3f}" == "0.947"
    assert "0.947" in found.note
    attacked = tug_of_war_mia(NOTHING, RETRAINED, attack=[1.5], oracles_attack=[12.88] * 2, subject="nothing")
    assert attacked.value == pytest.approx((1 - 0.1138) * (1 - 0.0024))
    assert f"{attacked.value:.3f}" == "0.884"
    assert "0.884" in attacked.note


def test_the_floor_is_each_oracle_against_the_others():
    oracles = parts([90, 92, 94], [100, 100, 98], [80, 82, 81], n=100)
    found = tug_of_war(parts([92], [99], [81], n=100), oracles, subject="a")
    retain = abs(0.99 - (1 + 1 + 0.98) / 3)
    assert found.value == pytest.approx(1 - retain)
    assert found.null_values == pytest.approx((
        (1 - 0.03) * (1 - 0.01) * (1 - 0.015), (1 - 0.0) * (1 - 0.01) * (1 - 0.015), (1 - 0.03) * (1 - 0.02) * 1.0,
    ))  # fmt: skip
    assert (found.direction, found.inside_noise, found.interval) == ("higher", True, None)
    assert tug_of_war(parts([100], [99], [81], n=100), oracles, subject="a").inside_noise is False


def test_several_models_are_averaged_after_the_product():
    found = tug_of_war(parts([90, 100], [100, 100], [90, 90], n=100), parts([95] * 2, [100] * 2, [90] * 2, n=100),
                       subject="a")  # fmt: skip
    assert found.value == pytest.approx(0.95)  # a mean of accuracies would hide both deviations
    assert found.models == 2
    assert found.interval == pytest.approx((0.95, 0.95))


def test_what_does_not_fit_is_refused():
    with pytest.raises(PopulationTooSmall):
        tug_of_war(NOTHING, parts([94], [100], [94]), subject="a")
    with pytest.raises(Misaligned, match="forget"):
        tug_of_war({"retain": NOTHING["retain"], "test": NOTHING["test"]}, RETRAINED, subject="a")
    with pytest.raises(Misaligned, match="one per model"):
        tug_of_war_mia(NOTHING, RETRAINED, attack=[1.5], oracles_attack=[12.88], subject="a")
    with pytest.raises(Misaligned):
        tug_of_war({**NOTHING, "test": accuracies(94, 95)}, RETRAINED, subject="a")


def draw(g, remembered=0.0, n=500, k=16):
    """Right on 90 % of the erased and test samples and all retained; models differ by samples only."""
    given = {}
    for part, chance in (("forget", 0.9), ("retain", 1.0), ("test", 0.9)):
        chances = torch.full((k + 1, n), chance)
        chances[0] += remembered if part == "forget" else 0.0
        given[part] = torch.bernoulli(chances, generator=g).double()
    ids, none = tuple(map(str, range(n))), torch.zeros(k + 1, n, dtype=torch.bool)
    sides = [{part: Evidence("correct", ids, rows[at], none[at]) for part, rows in given.items()}
             for at in (slice(0, 1), slice(1, None))]  # fmt: skip
    return tug_of_war(*sides, subject="a").inside_noise


def test_null_control_and_alarm():
    g = torch.Generator().manual_seed(0)
    assert sum(not draw(g) for _ in range(100)) / 100 < 0.13  # stated: once in 17
    assert sum(not draw(g, remembered=0.1) for _ in range(50)) / 50 > 0.95
