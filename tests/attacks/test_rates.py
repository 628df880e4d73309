"""Rates from scores: by hand, and intervals that cover as often as they say."""

import pytest
import torch

from erasable.attacks._rates import auc, balanced_accuracy, per_sample, rates, roc, tpr_at
from erasable.errors import EvidenceError, Misaligned
from erasable.evidence import Scores


def scores(values, truth, counted=None) -> Scores:
    v = torch.tensor(values, dtype=torch.float64)
    asked = torch.ones(v.shape).bool() if counted is None else torch.tensor(counted).bool()
    return Scores("toy", tuple(f"s{i}" for i in range(v.shape[1])), v, torch.tensor(truth).bool(), asked)


HAND = scores([[3.0, 1.0, 9.0], [0.0, 1.0, -2.0]], [[1, 1, 0], [0, 0, 0]], [[1, 1, 0], [1, 1, 1]])


def test_auc_by_hand():
    """In: 3, 1. Out: 0, 1, -2. Of the six pairs five are won and one is a tie."""
    assert auc(HAND, subject="x").value == pytest.approx(100 * 5.5 / 6)


def test_balanced_accuracy_by_hand():
    assert balanced_accuracy(HAND, subject="x").value == pytest.approx(100 * (1 + (0.5 + 0 + 1) / 3) / 2)


def test_tpr_by_hand():
    assert tpr_at(HAND, 0.01, subject="x").value == 50  # above the highest of the out scores, 1
    assert tpr_at(HAND, 0.34, subject="x").value == 100  # one of three may lie above
    assert "cannot show 1 %" in tpr_at(HAND, 0.01, subject="x").note


def test_roc_ends_in_the_corners_and_its_area_is_the_auc():
    curve = roc(HAND)
    assert (curve.fpr[0], curve.tpr[0], curve.fpr[-1], curve.tpr[-1]) == (0, 0, 1, 1)
    assert 100 * float(torch.trapezoid(curve.tpr, curve.fpr)) == pytest.approx(auc(HAND, subject="x").value)
    assert bool((curve.low <= curve.tpr).all() & (curve.tpr <= curve.high).all())


def test_each_sample_by_itself():
    found, at = per_sample(HAND)
    assert at.tolist() == [0, 1]
    assert found.tolist() == [100, 50]


def test_what_cannot_be_rated_is_refused():
    with pytest.raises(EvidenceError, match="2 pairs that are in and 0 that are out"):
        auc(scores([[1.0, 2.0]], [[1, 1]]), subject="x")
    with pytest.raises(Misaligned, match="NaN"):
        scores([[float("nan")]], [[1]])


def test_full_separation_has_an_interval_of_some_width():
    finding = auc(scores([[5.0, 6.0], [1.0, 0.0]], [[1, 1], [0, 0]]), subject="x")
    assert finding.value == 100
    assert finding.interval is not None
    assert finding.interval[0] < 90


@pytest.mark.parametrize("shape", [(32, 100), (64, 20), (1, 400)])
def test_intervals_cover_the_truth_under_shared_samples_and_models(shape):
    """Scores depend on the sample and on the model, not on the truth: 50 is right, and 95 % of intervals say so."""
    models, samples = shape
    covered = 0
    for seed in range(200):
        g = torch.Generator().manual_seed(seed)
        values = torch.randn(shape, generator=g) + torch.randn(1, samples, generator=g)
        values = values + 0.5 * torch.randn(models, 1, generator=g)
        truth = torch.rand(shape, generator=g) > 0.5
        given = Scores("toy", tuple(map(str, range(samples))), values.double(), truth, torch.ones_like(truth))
        low, high = rates(given, subject="x")[0].interval
        covered += low <= 50 <= high
    assert 0.90 <= covered / 200 <= 0.99
