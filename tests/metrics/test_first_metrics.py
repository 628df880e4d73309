"""Metrics by hand, their null controls and their alarms."""

import math

import pytest
import torch

from erasable.errors import Misaligned, PopulationTooSmall
from erasable.evidence import Evidence, Finding, joint
from erasable.metrics import accuracy, average_gap, cost, disagreement, kl, membership, relearning
from erasable.metrics.membership import auroc


def evidence(values, signal):
    values = torch.as_tensor(values)
    names = tuple(f"s{i}" for i in range(values.shape[1]))
    return Evidence(signal, names, values, torch.zeros(values.shape[:2], dtype=torch.bool))


def correct(rows):
    return evidence(torch.tensor(rows, dtype=torch.float64), "correct")


def test_accuracy_by_hand():
    found = accuracy(correct([[1, 1, 1, 0]]), correct([[1, 1, 0, 0], [1, 1, 1, 1]]), subject="a", on="test")
    assert (found.metric, found.value, found.n, found.models) == ("test accuracy", 75.0, 4, 1)
    assert found.null_values == (50.0, 100.0)
    assert (found.null_mean, found.null_band) == (75.0, (50.0, 100.0))
    assert found.interval[0] < 75 < found.interval[1]
    several = accuracy(correct([[1, 1, 1, 0], [1, 0, 0, 0]]), subject="a", on="test")
    assert several.value == 50.0
    assert several.null_band is None


def test_disagreement_by_hand():
    target = evidence([[0, 1, 2, 3]], "prediction")
    oracles = evidence([[0, 1, 2, 2], [0, 1, 0, 0], [0, 1, 2, 3]], "prediction")
    found = disagreement(target, oracles, subject="a")
    assert found.value == pytest.approx(100 * (1 / 4 + 2 / 4 + 0) / 3)
    # oracle pairs: 0-1 differ on 2 of 4, 0-2 on 1, 1-2 on 2
    assert found.null_values == pytest.approx((100 * 0.375, 100 * 0.5, 100 * 0.375))
    with pytest.raises(PopulationTooSmall):
        disagreement(target, evidence([[0, 1, 2, 3]], "prediction"), subject="a")
    assert found.resolution == 100 / len(target.ids)  # one sample


def test_kl_by_hand():
    def log_p(*first):
        return evidence(torch.tensor([[[math.log(p), math.log(1 - p)]] for p in first], dtype=torch.float64), "lp")

    def divergence(p, q):
        return p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))

    found = kl(log_p(0.2), log_p(0.5, 0.9), subject="a")
    assert found.value == pytest.approx((divergence(0.5, 0.2) + divergence(0.9, 0.2)) / 2)
    assert found.null_values == pytest.approx((divergence(0.9, 0.5), divergence(0.5, 0.9)))
    assert found.interval == pytest.approx((found.value, found.value))  # one sample has no spread


def test_kl_interval_covers_the_mean_and_repeats():
    torch.manual_seed(0)
    rows = torch.log_softmax(torch.randn(4, 200, 5, dtype=torch.float64), dim=2)
    found = kl(evidence(rows[:1], "lp"), evidence(rows[1:], "lp"), subject="a", seed=1)
    again = kl(evidence(rows[:1], "lp"), evidence(rows[1:], "lp"), subject="a", seed=1)
    assert found == again
    assert found.interval[0] < found.value < found.interval[1]


def test_membership_by_hand():
    erased, fresh = evidence([[0.9, 0.5]], "confidence"), evidence([[0.7, 0.1, 0.5]], "confidence")
    found = membership(erased, fresh, subject="a")
    assert found.value == pytest.approx(100 * (3 + 1 + 0.5) / 6)  # pairs won, ties count half
    assert 0 <= found.interval[0] < found.value < found.interval[1] <= 100
    apart = membership(evidence([[0.9, 0.8]], "confidence"), evidence([[0.1, 0.2]], "confidence"), subject="a")
    assert apart.value == 100
    assert apart.interval[0] == pytest.approx(100 * 0.025**0.5)  # not "exactly 100": two samples show little
    with pytest.raises(Misaligned):
        membership(erased, evidence([[0.1], [0.2]], "confidence"), subject="a")


def test_auroc_equals_the_library_with_ties():
    from sklearn.metrics import roc_auc_score

    g = torch.Generator().manual_seed(0)
    erased, fresh = (torch.randint(0, 9, (3, n), generator=g).double() / 9 for n in (30, 50))
    group = [1] * 30 + [0] * 50
    slow = [100 * roc_auc_score(group, torch.cat(pair).numpy()) for pair in zip(erased, fresh, strict=True)]
    assert auroc(evidence(erased, "c"), evidence(fresh, "c")) == pytest.approx(slow)


def test_the_auroc_interval_covers_the_truth_about_as_often_as_it_says():
    g = torch.Generator().manual_seed(0)
    covered = 0
    for _ in range(200):
        erased, fresh = torch.rand(1, 40, generator=g), torch.rand(1, 40, generator=g)
        low, high = membership(evidence(erased, "c"), evidence(fresh, "c"), subject="a").interval
        covered += low <= 50 <= high
    assert covered / 200 > 0.9


def test_average_gap_by_hand():
    def finding(value, null):
        return Finding(metric="m", subject="a", value=value, n=5, models=1).beside(null)

    found = average_gap([finding(90, [80, 84]), finding(50, [50, 60])], subject="a")
    assert found.value == pytest.approx((8 + 5) / 2)
    assert found.null_values == pytest.approx(((4 + 10) / 2, (4 + 10) / 2))
    with pytest.raises(Misaligned):
        average_gap([finding(90, [80, 84]), finding(50, [50])], subject="a")


def test_relearning_tells_what_was_censored():
    found = relearning(60, reached=False, n=10, subject="a", oracles=[(20, True), (60, False)])
    assert (found.value, found.null_mean) == (60, 40)
    assert found.note == "stopped at the cap; 1 of 2 oracles stopped at the cap"


def test_cost_names_what_was_timed():
    assert (cost(2.0, subject="a").metric, cost(2.0, subject="a", preparation=True).metric) == ("time", "preparation")


def population(draws, *, remembered=0.0, samples=60, classes=4, oracles=16):
    """One target and k oracles whose logits differ by seed noise; the target may be surer of the labels, all 0."""
    shared = torch.randn(1, samples, classes, generator=draws)
    logits = shared + 0.7 * torch.randn(oracles + 1, samples, classes, generator=draws)
    logits[0, :, 0] += remembered
    return evidence(torch.log_softmax(logits.double(), dim=2), "log_probabilities")


def judged(log_p):
    def part(signal, values):
        return evidence(values[:1], signal), evidence(values[1:], signal)

    right = (log_p.values.argmax(2) == 0).double()
    return joint([
        kl(*part("log_probabilities", log_p.values), subject="a"),
        disagreement(*part("prediction", log_p.values.argmax(2)), subject="a"),
        accuracy(*part("correct", right), subject="a", on="forget"),
    ])  # fmt: skip


def test_null_control_oracles_stay_inside_the_noise():
    draws = torch.Generator().manual_seed(1)
    flagged = sum(not all(each.inside_noise for each in judged(population(draws))) for _ in range(150))
    assert flagged / 150 < 0.12  # stated: once in 17


def test_alarm_a_model_that_remembers_is_caught():
    draws = torch.Generator().manual_seed(2)
    caught = sum(not all(each.inside_noise for each in judged(population(draws, remembered=1.5))) for _ in range(60))
    assert caught / 60 > 0.95
