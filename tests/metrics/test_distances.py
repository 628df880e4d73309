"""JS, activation distance and ZRF by hand, with their null controls, alarms and the published calibration."""

import math

import pytest
import torch

from erasable.errors import Misaligned, PopulationTooSmall
from erasable.evidence import Evidence, joint
from erasable.metrics import activation_distance, js, kl, zrf


def evidence(values):
    names = tuple(f"s{i}" for i in range(values.shape[1]))
    return Evidence("log_probabilities", names, values, torch.zeros(values.shape[:2], dtype=torch.bool))


def binary(*first):
    return evidence(torch.tensor([[[math.log(p), math.log(1 - p)]] for p in first], dtype=torch.float64))


def divergence(p, q):
    return p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))


def halfway(p, q):
    return (divergence(p, (p + q) / 2) + divergence(q, (p + q) / 2)) / 2


def test_js_by_hand():
    found = js(binary(0.2), binary(0.5, 0.9), subject="a")
    assert found.value == pytest.approx((halfway(0.2, 0.5) + halfway(0.2, 0.9)) / 2)
    assert found.null_values == pytest.approx((halfway(0.5, 0.9), halfway(0.5, 0.9)))
    assert (found.unit, found.direction, found.n, found.models) == ("nats", "lower", 1, 1)


def test_js_is_bounded_where_kl_is_not():
    floor = math.log(1e-8)
    sure, wrong = torch.tensor([[[0.0, floor]]]).double(), torch.tensor([[[floor, 0.0]]] * 2).double()
    assert js(evidence(sure), evidence(wrong), subject="a").value == pytest.approx(math.log(2), abs=1e-6)
    assert kl(evidence(sure), evidence(wrong), subject="a").value > 18


def test_activation_distance_by_hand():
    found = activation_distance(binary(0.2, 0.5), binary(0.5, 0.9), subject="a")
    assert found.value == pytest.approx(math.sqrt(2) * (0.3 + 0.7 + 0.0 + 0.4) / 4)
    assert found.null_values == pytest.approx([math.sqrt(2) * 0.4] * 2)
    assert (found.unit, found.models) == ("", 2)


@pytest.mark.parametrize("distance", [js, activation_distance])
def test_distances_refuse_what_cannot_be_compared(distance):
    with pytest.raises(PopulationTooSmall):
        distance(binary(0.2), binary(0.5), subject="a")
    other = Evidence("log_probabilities", ("x",), binary(0.5, 0.9).values, torch.zeros(2, 1, dtype=torch.bool))
    with pytest.raises(Misaligned):
        distance(binary(0.2), other, subject="a")


def test_zrf_by_hand():
    found = zrf(binary(0.2), binary(0.5, 0.9), binary(0.4, 0.6), subject="a")
    assert found.value == pytest.approx(1 - (halfway(0.2, 0.5) + halfway(0.2, 0.9)) / 2)
    assert found.null_values == pytest.approx([1 - (halfway(p, 0.5) + halfway(p, 0.9)) / 2 for p in (0.4, 0.6)])
    assert (found.direction, found.note) == ("match", "against 2 random networks")
    with pytest.raises(PopulationTooSmall):
        zrf(binary(0.2), binary(0.5), subject="a")


def test_released_zrf_is_what_torch_calls_divergence_with_its_default_reduction():
    torch.manual_seed(0)
    p, q = torch.log_softmax(torch.randn(2, 30, 7, dtype=torch.float64), dim=2)
    middle = (p.exp() + q.exp()) / 2
    with pytest.warns(UserWarning, match="reduction"):
        slow = sum(torch.nn.functional.kl_div(each, middle, reduction="mean") for each in (p, q)) / 2
    found = zrf(evidence(p[None]), evidence(q[None]), subject="a", released=True)
    assert found.value == pytest.approx(1 - float(slow))
    assert found.metric == "ZRF, released code"


def network(kind, classes, draws):
    """Log-probabilities of 1000 samples; a confident model has one logit 12 above the others."""
    spread = {"teacher": 0.35, "confident": 1.0, "soft": 1.3, "uniform": 0.0}[kind]
    logits = spread * torch.randn(1, 1000, classes, generator=draws, dtype=torch.float64)
    if kind == "confident":
        logits[..., 0] += 12
    return torch.log_softmax(logits, dim=2)


@pytest.mark.parametrize(("classes", "kind", "released", "correct"), [
    (10, "confident", 0.781, 0.474), (10, "soft", 0.981, 0.853), (20, "confident", 0.886, 0.408),
    (100, "confident", 0.977, 0.340), (100, "uniform", 1.000, 0.978),
])  # fmt: skip
def test_zrf_calibration(classes, kind, released, correct):
    draws = torch.Generator().manual_seed(0)
    teachers = evidence(torch.cat([network("teacher", classes, draws) for _ in range(3)]))
    model = evidence(network(kind, classes, draws))
    assert zrf(model, teachers, subject="a").value == pytest.approx(correct, abs=0.012)
    assert zrf(model, teachers, subject="a", released=True).value == pytest.approx(released, abs=0.005)


def judged(draws, *, remembered=0.0, samples=60, classes=4, oracles=16):
    """One target beside k oracles whose logits differ by seed noise; the target may be surer of the labels, all 0."""
    shared = torch.randn(1, samples, classes, generator=draws)
    logits = shared + 0.7 * torch.randn(oracles + 1, samples, classes, generator=draws)
    logits[0, :, 0] += remembered
    log_p = torch.log_softmax(logits.double(), dim=2)
    teachers = torch.log_softmax(0.3 * torch.randn(3, samples, classes, generator=draws).double(), dim=2)
    target, rest = evidence(log_p[:1]), evidence(log_p[1:])
    return {each.metric: each for each in joint([
        js(target, rest, subject="a"), activation_distance(target, rest, subject="a"),
        zrf(target, evidence(teachers), rest, subject="a"),
    ])}  # fmt: skip


def test_null_control_oracles_stay_inside_the_noise():
    draws = torch.Generator().manual_seed(1)
    flagged = sum(not all(each.inside_noise for each in judged(draws).values()) for _ in range(100))
    assert flagged / 100 < 0.14  # stated: once in 17


def test_alarm_a_model_that_remembers_is_caught_by_each():
    draws = torch.Generator().manual_seed(2)
    seen = [judged(draws, remembered=2.0) for _ in range(50)]
    for metric in ("JS", "activation distance", "ZRF"):
        assert sum(not each[metric].inside_noise for each in seen) / 50 >= 0.95


def test_intervals_repeat_and_hold_the_value():
    torch.manual_seed(0)
    rows = torch.log_softmax(torch.randn(4, 200, 5, dtype=torch.float64), dim=2)
    for found, again in (
        [each(evidence(rows[:1]), evidence(rows[1:]), subject="a", seed=1) for _ in range(2)]
        for each in (js, activation_distance, zrf)
    ):
        assert found == again
        assert found.interval[0] < found.value < found.interval[1]
