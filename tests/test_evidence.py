"""Evidence, findings, and noise bands that hold together."""

import math
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t

from erasable.errors import Misaligned, PopulationTooSmall, TaskMismatch
from erasable.evidence import Evidence, Finding, aligned, band, binomial_interval, exposed, joint, once_in
from erasable.receipt import Exposure


def evidence(values, signal="loss", ids=None):
    values = torch.as_tensor(values, dtype=torch.float64)
    names = tuple(ids or (f"s{i}" for i in range(values.shape[1])))
    return Evidence(signal, names, values, torch.zeros(values.shape[:2], dtype=torch.bool))


def finding(value, null, **more):
    settings = {"metric": "m", "subject": "s", "n": 10, "models": 1, "direction": "match", **more}
    return Finding(value=value, **settings).beside(null)


def test_evidence_refuses_other_shapes_and_nan():
    with pytest.raises(Misaligned):
        Evidence("loss", ("a",), torch.zeros(1, 2), torch.zeros(1, 2, dtype=torch.bool))
    with pytest.raises(Misaligned, match="diverged"):
        evidence([[1.0, math.nan]])


def test_aligned_wants_the_same_samples_and_enough_models():
    left, right = evidence([[1.0, 2.0]]), evidence([[1.0, 2.0]], ids=("s0", "other"))
    with pytest.raises(Misaligned):
        aligned(left, right)
    with pytest.raises(PopulationTooSmall):
        aligned(left, left, at_least=2)


def test_band_is_the_range_of_few_and_the_quantiles_of_many():
    assert band([3.0, 1.0, 2.0]) == (1.0, 3.0)
    assert band(list(range(101))) == pytest.approx((2.5, 97.5))


@pytest.mark.parametrize(
    ("direction", "inside"),
    [("match", (False, True, False)), ("lower", (True, True, False)), ("higher", (False, True, True))],
)
def test_inside_noise_looks_at_the_side_that_is_worse(direction, inside):
    told = [finding(v, [1.0, 2.0], direction=direction).inside_noise for v in (0.0, 1.5, 3.0)]
    assert tuple(told) == inside
    assert finding(1.0, []).inside_noise is None


def test_findings_hold_no_nan():
    with pytest.raises(ValueError, match="finite"):
        finding(math.nan, [])


def test_binomial_interval_by_hand():
    low, high = binomial_interval(0, 10)
    assert low == 0
    assert high == pytest.approx(1 - 0.025 ** (1 / 10))
    low, high = binomial_interval(10, 10)
    assert (low, high) == (pytest.approx(0.025 ** (1 / 10)), 1)
    # the bounds are the shares at which 3 or more (3 or fewer) of 8 have a probability of 2.5 %
    low, high = binomial_interval(3, 8)
    tail = lambda p, ks: sum(math.comb(8, k) * p**k * (1 - p) ** (8 - k) for k in ks)  # noqa: E731
    assert tail(low, range(3, 9)) == pytest.approx(0.025)
    assert tail(high, range(4)) == pytest.approx(0.025)


def test_joint_by_hand():
    # a: 1, 2, 3, 6: mean 3; 6 is 4 from the mean of the others, whose sd is 1, and no other is further: 4 of t with 2
    # degrees of freedom, which with one oracle more is c
    rare = t.sf(4 / (4 / 3) ** 0.5, 2)
    c = t.isf(rare, 3) * 1.25**0.5
    a_sd = (14 / 3) ** 0.5
    a, b = joint([finding(0.0, [1.0, 2.0, 3.0, 6.0]), finding(0.0, [10.0, 20.0, 30.0, 60.0])])
    assert a.null_band == pytest.approx((3 - c * a_sd, 3 + c * a_sd))
    assert b.null_band == pytest.approx((30 - 10 * c * a_sd, 30 + 10 * c * a_sd))
    # oracles that all agree get one sample of room, as wide as the other quantity needs it
    a, flat = joint([finding(0.0, [1.0, 2.0, 3.0, 6.0]), finding(0.0, [5.0] * 4, resolution=2.0)])
    assert flat.null_band == pytest.approx((5 - 2 * c, 5 + 2 * c))
    # only the upper side counts for a distance: the larger deviation below is passed over
    (lower,) = joint([finding(0.0, [-6.0, -3.0, -2.0, -1.0], direction="lower")])
    assert lower.null_band[1] < -3 + c * a_sd


@pytest.mark.parametrize("k", [2, 3, 4])
@pytest.mark.parametrize("quantities", [1, 9])
def test_few_oracles_ring_no_more_often_than_they_promise(k, quantities):
    draws = 300
    g = torch.Generator().manual_seed(k)
    rang = sum(not all(each.inside_noise for each in joint([finding(row[0], row[1:]) for row in draw]))
               for draw in torch.randn(draws, quantities, k + 1, generator=g).tolist())  # fmt: skip
    assert rang / draws < 1 / (k + 1) + 0.08  # three standard errors


def test_joint_leaves_findings_without_oracles_alone():
    bare = Finding(metric="m", subject="s", value=1, n=1, models=1)
    assert joint([bare]) == (bare,)


@given(st.lists(st.lists(st.floats(-5, 5), min_size=4, max_size=4), min_size=2, max_size=4))
@settings(max_examples=60, deadline=None)
def test_more_quantities_never_make_a_band_narrower(rows):
    (alone,) = joint([finding(0.0, rows[0])])
    beside = joint([finding(0.0, row) for row in rows])[0]
    assert beside.null_band[0] <= alone.null_band[0] + 1e-9
    assert beside.null_band[1] >= alone.null_band[1] - 1e-9


@pytest.mark.parametrize("quantities", [1, 10, 30])
def test_null_control_with_many_independent_quantities(quantities):
    """Where quantities share nothing, a scale that contained the held-out oracle rang three to five times too often."""
    draws, k, rang = 300, 16, 0
    g = torch.Generator().manual_seed(7)
    for draw in torch.randn(draws, quantities, k + 1, generator=g).tolist():
        rang += not all(each.inside_noise for each in joint([finding(row[0], row[1:]) for row in draw]))
    assert rang / draws < 1 / (k + 1) + 0.04  # three standard errors


def test_null_control_a_further_oracle_leaves_the_joint_bands_about_once_in_k_plus_one():
    draws, k, quantities = 600, 16, 5
    g = torch.Generator().manual_seed(3)
    skewed = torch.randn(draws, k + 1, quantities, generator=g).exp()  # no distribution is assumed
    mixed = skewed @ torch.rand(quantities, quantities, generator=g)  # and no independence
    left = 0
    for draw in mixed:
        found = joint([finding(float(draw[0, m]), draw[1:, m].tolist()) for m in range(quantities)])
        left += not all(each.inside_noise for each in found)
    assert 0.03 < left / draws < 0.1  # 1/17 = 0.059


def test_alarm_a_shift_of_seven_standard_deviations_in_one_of_five_quantities_rings():
    draws, k = 200, 16
    g = torch.Generator().manual_seed(4)
    values = torch.randn(draws, k + 1, 5, generator=g)
    values[:, 0, 2] += 7
    rang = sum(
        not all(each.inside_noise for each in joint([finding(float(d[0, m]), d[1:, m].tolist()) for m in range(5)]))
        for d in values
    )
    assert rang / draws > 0.95


def test_exposed_looks_at_parts_and_memory():
    encoder = SimpleNamespace(exposure=Exposure({"encoder": frozenset({"a"})}), memory=["b"])
    clean = SimpleNamespace(exposure=Exposure({}), memory=None)
    assert exposed([encoder, clean], ("a", "b", "c")).tolist() == [[True, True, False], [False] * 3]
    with pytest.raises(TaskMismatch, match="fitted on"):
        exposed([object()], ("a",))


def test_divergences_are_compared_by_their_logarithms():
    logs = [1.0, 2.0, 3.0, 6.0]
    (plain,) = joint([finding(0.0, logs)])
    (nats,) = joint([finding(0.0, [math.exp(each) for each in logs]).model_copy(update={"unit": "nats"})])
    assert nats.null_band == pytest.approx([math.exp(each) for each in plain.null_band])
    # values of zero have no logarithm, and still give a band
    (still,) = joint([finding(0.0, [0.0, 0.0, 1.0, 1.0], resolution=1e-6).model_copy(update={"unit": "nats"})])
    assert all(math.isfinite(each) for each in still.null_band)


def test_one_odd_oracle_among_39_does_not_blind_the_bands():
    draw = torch.randn(40, generator=torch.Generator().manual_seed(1)).tolist()
    (calm,) = joint([finding(0.0, draw[:39])])
    (odd,) = joint([finding(0.0, [*draw[:38], 40.0])])
    width = calm.null_band[1] - calm.null_band[0]
    assert odd.null_band[1] - odd.null_band[0] < 8 * width  # its standard deviation still grows
    (few,) = joint([finding(0.0, [*draw[:37], 40.0])])
    assert few.null_band[1] - few.null_band[0] > 3 * (odd.null_band[1] - odd.null_band[0])


def test_an_odd_oracle_in_a_number_without_spread_does_not_blind_the_other_numbers():
    """Fifteen oracles agree and one is a sample off: as many steps as it is, and not infinitely many deviations."""
    draw = torch.randn(16, generator=torch.Generator().manual_seed(2)).tolist()
    (alone,) = joint([finding(0.0, draw)])
    beside, _ = joint([finding(0.0, draw), finding(0.0, [*[0.07] * 15, 1.053], resolution=1.053)])
    assert beside.null_band == pytest.approx(alone.null_band)
    without, _ = joint([finding(0.0, draw), finding(0.0, [*[0.07] * 15, 1.053])])  # rounding is no spread either
    assert without.null_band == pytest.approx(alone.null_band)


@pytest.mark.parametrize("k", [39, 60])
def test_many_oracles_ring_once_in_twenty(k):
    draws, rang = 400, 0
    g = torch.Generator().manual_seed(k)
    for draw in torch.randn(draws, 8, k + 1, generator=g).tolist():
        rang += not all(each.inside_noise for each in joint([finding(row[0], row[1:]) for row in draw]))
    assert once_in(k) == 20
    assert 0.02 < rang / draws < 0.085
