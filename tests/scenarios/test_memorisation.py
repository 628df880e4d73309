"""Strata by score: by hand, disjoint, and for any number of samples."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from erasable.errors import Misaligned, PopulationTooSmall, SettingsError, UnknownSample
from erasable.scenarios import Memorisation
from tests.scenarios.toy import TASK
from tests.toys import blobs

DATA = blobs(10)
SCORES = dict(zip(DATA.ids, [5, 3, 9, 1, 0, 8, 2, 7, 6, 4], strict=True))  # ranks
STRATA = {"low": {"blob/004", "blob/003"}, "middle": {"blob/009", "blob/000"}, "high": {"blob/005", "blob/002"}}


@pytest.mark.parametrize("stratum", STRATA)
def test_by_hand(stratum):
    scenario = Memorisation(stratum=stratum, share=0.2)(DATA, TASK, scores=SCORES, seed=0)
    assert set(scenario.request.ids) == STRATA[stratum]
    assert {name: set(each.ids) for name, each in scenario.groups.items()} == {
        f"{name} memorisation": ids for name, ids in STRATA.items() if name != stratum
    }
    assert scenario.facts["scores"] == {"low": [0.0, 1.0], "middle": [4.0, 5.0], "high": [8.0, 9.0]}


@given(st.integers(3, 40), st.floats(0.001, 1 / 3), st.integers(0, 5))
def test_strata_are_disjoint_equal_and_in_order(n, share, values):
    data = blobs(n)
    scores = {each: float(i % (values + 1)) for i, each in enumerate(data.ids)}
    scenario = Memorisation(stratum="middle", share=share)(data, TASK, scores=scores, seed=n)
    low, middle, high = (scenario.groups["low memorisation"].ids, scenario.request.ids,
                         scenario.groups["high memorisation"].ids)  # fmt: skip
    assert len(low) == len(middle) == len(high) >= 1
    assert len({*low, *middle, *high}) == 3 * len(low)
    ranked = sorted(scores.values())
    for ids, expected in ((low, ranked[: len(low)]), (high, ranked[-len(low) :])):
        assert sorted(scores[each] for each in ids) == expected
    assert max(scores[each] for each in low) <= min(scores[each] for each in middle)
    assert max(scores[each] for each in middle) <= min(scores[each] for each in high)


def test_equal_scores_are_drawn():
    same = dict.fromkeys(DATA.ids, 1.0)
    drawn = {Memorisation()(DATA, TASK, scores=same, seed=seed).request.ids for seed in range(60)}
    assert len(drawn) == 10  # one sample each, every one at some time


def test_samples_without_a_score_and_public_ones_are_left_aside():
    data = DATA.declare_public(["blob/002"])
    some = {each: SCORES[each] for each in DATA.ids[:8]}
    assert Memorisation(share=0.1)(data, TASK, scores=some, seed=0).request.ids == ("blob/005",)


@pytest.mark.parametrize(
    ("scores", "error"),
    [
        ({**SCORES, "nobody": 1.0}, UnknownSample),
        ({**SCORES, "blob/000": float("nan")}, Misaligned),
        (dict.fromkeys(DATA.ids[:2], 1.0), PopulationTooSmall),
    ],
)
def test_scores_that_do_not_fit_are_refused(scores, error):
    with pytest.raises(error):
        Memorisation()(DATA, TASK, scores=scores, seed=0)


def test_strata_that_overlap_or_do_not_exist_are_refused():
    with pytest.raises(SettingsError, match=r"at most 0\.333333"):
        Memorisation(share=0.34)
    with pytest.raises(SettingsError, match="low, middle or high"):
        Memorisation(stratum="medium")
