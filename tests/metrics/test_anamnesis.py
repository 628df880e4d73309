"""The anamnesis index by hand, and what a cap does to it."""

import pytest
import torch

from erasable.errors import EvidenceError, PopulationTooSmall
from erasable.evidence import joint
from erasable.metrics import anamnesis


def reached(*steps):
    return [(each, True) for each in steps]


def test_by_hand():
    found = anamnesis(reached(5), reached(8, 12), cap=100, n=30, subject="a")
    assert found.value == 0.5
    assert found.null_values == pytest.approx((0.8, 1.2))
    assert (found.null_mean, found.resolution, found.direction) == (1.0, 0.1, "match")
    assert found.interval is None
    assert found.inside_noise is False
    assert found.note == "0 of 1 models and 0 of 2 oracles stopped at the cap of 100 steps"
    several = anamnesis(reached(5, 15), reached(8, 12), cap=100, n=30, subject="a")
    assert (several.value, several.models) == (1.0, 2)
    assert several.interval[0] == 0.0  # a time is never negative


def test_what_stopped_at_the_cap_is_a_bound():
    late = (20, False)
    assert anamnesis([late], reached(8, 12), cap=20, n=1, subject="a").note.endswith("so the index is at least this")
    over = anamnesis(reached(5), [(10, True), late], cap=20, n=1, subject="a")
    assert over.note == "0 of 1 models and 1 of 2 oracles stopped at the cap of 20 steps, so the index is at most this"
    assert over.value == pytest.approx(5 / 15)
    assert "unknown" in anamnesis([late], [late, late], cap=20, n=1, subject="a").note


def test_what_gives_no_ratio_is_refused():
    with pytest.raises(EvidenceError, match="before the first step"):
        anamnesis(reached(5), reached(0, 0), cap=20, n=1, subject="a")
    for wrong in ((21, True), (5, False), (-1, True)):
        with pytest.raises(EvidenceError, match="cap of 20"):
            anamnesis([wrong], reached(1, 2), cap=20, n=1, subject="a")
    for few in (([], reached(1, 2)), (reached(1), reached(1))):
        with pytest.raises(PopulationTooSmall):
            anamnesis(*few, cap=20, n=1, subject="a")


def test_null_control_and_alarm():
    """Steps of models that never knew the samples: about 40, give or take 8; of one that hides them: 5."""
    g = torch.Generator().manual_seed(0)

    def quiet(mean):
        steps = (8 * torch.randn(17, generator=g) + 40).round().clamp(1, 99).int().tolist()
        own = steps[0] if mean is None else mean
        return joint([anamnesis(reached(own), reached(*steps[1:]), cap=100, n=30, subject="a")])[0].inside_noise

    assert sum(not quiet(None) for _ in range(100)) / 100 < 0.13  # stated: once in 17
    assert sum(not quiet(5) for _ in range(50)) / 50 > 0.95
