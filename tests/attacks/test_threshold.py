"""The global threshold: by hand, by mask, quiet without a signal, ringing with one."""

import pytest
import torch

from erasable.attacks._rates import auc, balanced_accuracy, rates
from erasable.attacks.threshold import cut, threshold
from erasable.errors import EvidenceError, Misaligned
from erasable.evidence import Evidence


def evidence(values, member, signal="confidence"):
    values = torch.as_tensor(values, dtype=torch.float64)
    return Evidence(signal, tuple(f"s{i}" for i in range(values.shape[1])), values, torch.as_tensor(member).bool())


HAND = evidence([[0.9, 0.6, 0.7, 0.1], [0.8, 0.3, 0.2, 0.4]], [[1, 1, 0, 0], [1, 1, 0, 0]])


def test_the_signal_is_the_score_by_hand():
    """In .9 .6 .8 .3, out .7 .1 .2 .4: of sixteen pairs .9 and .8 win four each, .6 three, .3 two."""
    scores = threshold(HAND)
    assert torch.equal(scores.values, HAND.values)
    assert auc(scores, subject="x").value == pytest.approx(100 * (4 + 4 + 3 + 2) / 16)


def test_what_falls_on_members_is_negated():
    losses = evidence(-HAND.values, HAND.member, "loss")
    assert torch.equal(threshold(losses).values, HAND.values)
    assert torch.equal(threshold(losses, falls=False).values, -HAND.values)
    assert torch.equal(threshold(evidence(HAND.values, HAND.member, "modified-entropy")).values, -HAND.values)


def test_masks_choose_the_pairs():
    """Sample s1 was erased from both models: asked against those never seen, s0 does not count."""
    forgotten = torch.tensor([False, True, False, False])
    scores = threshold(HAND, truth=forgotten, counted=forgotten | ~HAND.member)
    assert scores.values[:, 0].tolist() == [0, 0]
    assert not scores.counted[:, 0].any()
    assert auc(scores, subject="x").value == pytest.approx(100 * (3 + 2) / 8)


def test_the_best_cut_by_hand():
    """Above .25 lie all of the four that are in and two of the others; above .5 three and one; above .75 two, none."""
    assert cut(threshold(HAND)) == pytest.approx(0.25)
    found = [balanced_accuracy(threshold(HAND), subject="x", threshold=at).value for at in (0.25, 0.5, 0.75)]
    assert found == [75, 75, 75]  # the lowest of equals
    useless = threshold(evidence([[0.0, 1.0, 1.0]], [[1, 0, 0]]))
    assert cut(useless) == -1  # under all: whatever is called in is as good as guessing
    with pytest.raises(EvidenceError, match="0 that are out"):
        cut(threshold(HAND, truth=torch.ones(4).bool()))


def test_the_cut_is_the_best_of_all():
    g = torch.Generator().manual_seed(0)
    for _ in range(20):
        given = threshold(evidence(torch.randn(1, 40, generator=g), torch.rand(1, 40, generator=g) > 0.5))
        best = balanced_accuracy(given, subject="x", threshold=cut(given)).value
        tried = torch.linspace(-4, 4, 400).tolist()
        assert best >= max(balanced_accuracy(given, subject="x", threshold=at).value for at in tried) - 1e-9


def test_wrong_masks_and_vectors_are_refused():
    with pytest.raises(Misaligned, match="bool"):
        threshold(HAND, truth=torch.ones(2, 4))
    with pytest.raises(Misaligned, match=r"\(3,\)"):
        threshold(HAND, counted=torch.ones(3).bool())
    with pytest.raises(Misaligned, match="one number"):
        threshold(Evidence("log_probabilities", HAND.ids, torch.zeros(2, 4, 3), HAND.member))


def test_null_and_alarm_as_rates():
    quiet = rang = 0
    for seed in range(60):
        g = torch.Generator().manual_seed(seed)
        noise, member = torch.randn(1, 200, generator=g), torch.arange(200)[None] < 100
        low, high = rates(threshold(evidence(noise, member)), subject="x")[0].interval
        quiet += low <= 50 <= high
        rang += rates(threshold(evidence(noise + member, member)), subject="x")[0].interval[0] > 50
    assert quiet / 60 >= 0.88  # nominal 95 %
    assert rang / 60 >= 0.95
