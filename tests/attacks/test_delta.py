"""The before/after attack: by hand, by mask, quiet when nothing changed for the erased, ringing when they dropped."""

import pytest
import torch

from erasable.attacks._rates import auc, balanced_accuracy, rates
from erasable.attacks.delta import delta, delta_fitted
from erasable.errors import EvidenceError, Misaligned
from erasable.evidence import Evidence


def evidence(values, member, signal="margin"):
    values = torch.as_tensor(values, dtype=torch.float64)
    names = tuple(f"s{i}" for i in range(values.shape[1]))
    return Evidence(signal, names, values, torch.as_tensor(member).bool())


MEMBER = torch.tensor([[1, 1, 1, 0, 0]]).bool()
FORGOTTEN = torch.tensor([True, True, False, False, False])
BEFORE, AFTER = evidence([[5.0, 4, 6, 1, 2]], MEMBER), evidence([[1.0, 4.5, 5, 1, 4]], MEMBER)


def drawn(samples, seed, drop=0.0):
    """A third erased, a third retained, a third never seen; the erased lose `drop`, and all scatter by 1."""
    g = torch.Generator().manual_seed(seed)
    kind = torch.arange(samples)[None] % 3
    base = 3 * torch.randn(1, samples, generator=g, dtype=torch.float64)
    after = base + torch.randn(1, samples, generator=g, dtype=torch.float64) - drop * (kind == 0)
    member = kind < 2
    return evidence(base, member), evidence(after, member), (kind == 0)[0]


def test_drops_by_hand():
    """Drops 4, -.5 of the erased; 1 of the retained; 0, -2 of the never seen. Wins: 4 all three, -.5 one."""
    scores = delta(BEFORE, AFTER, forgotten=FORGOTTEN)
    assert scores.values.tolist() == [[4, -0.5, 1, 0, -2]]
    assert auc(scores, subject="x").value == pytest.approx(100 * 4 / 6)
    assert balanced_accuracy(scores, subject="x").value == pytest.approx(100 * (1 / 2 + 1.5 / 3) / 2)


def test_masks_choose_whom_the_erased_are_compared_with():
    retained = delta(BEFORE, AFTER, forgotten=FORGOTTEN, against=MEMBER & ~FORGOTTEN)
    never = delta(BEFORE, AFTER, forgotten=FORGOTTEN, against=~MEMBER)
    assert auc(retained, subject="x").value == 50
    assert auc(never, subject="x").value == 75
    assert retained.counted.tolist() == [[True, True, True, False, False]]
    assert retained.values.tolist() == [[4, -0.5, 1, 0, 0]]


def test_losses_rise_when_a_sample_is_erased():
    before, after = (evidence(-each.values, MEMBER, "loss") for each in (BEFORE, AFTER))
    expected = delta(BEFORE, AFTER, forgotten=FORGOTTEN).values
    assert torch.equal(delta(before, after, forgotten=FORGOTTEN).values, expected)


def test_the_fit_finds_a_rise_too():
    """Erased samples that gain: a drop finds less than nothing, the fit finds them."""
    before, after, forgotten = drawn(300, 0, drop=-2)
    assert auc(delta(before, after, forgotten=forgotten), subject="x").value < 20
    assert auc(delta_fitted(before, after, forgotten=forgotten), subject="x").value > 80


def test_the_fit_weighs_both_values():
    """The drop hides in differences between samples: neither version alone shows it."""
    before, after, forgotten = drawn(300, 1, drop=2)
    both = auc(delta_fitted(before, after, forgotten=forgotten), subject="x").value
    alone = auc(delta_fitted(after, after, forgotten=forgotten), subject="x").value
    assert both > 85
    assert alone < 75


@pytest.mark.parametrize("attack", [delta, delta_fitted])
def test_null_and_alarm_as_rates(attack):
    quiet = rang = above = 0
    for seed in range(60):
        before, after, forgotten = drawn(120, seed)
        low, high = rates(attack(before, after, forgotten=forgotten), subject="x")[0].interval
        quiet += low <= 50 <= high
        above += low > 50
        before, after, forgotten = drawn(120, seed, drop=1.5)
        rang += rates(attack(before, after, forgotten=forgotten), subject="x")[0].interval[0] > 50
    assert above / 60 <= 0.1
    assert rang / 60 >= 0.95
    if attack is delta:  # nominal 95 %; the fitted one reads less than 50 more often
        assert quiet / 60 >= 0.88


def test_what_does_not_fit_together_is_refused():
    with pytest.raises(Misaligned, match="'s3' was erased from model 0"):
        delta(BEFORE, AFTER, forgotten=~FORGOTTEN)
    with pytest.raises(Misaligned, match="2 erased pairs"):
        delta(BEFORE, AFTER, forgotten=FORGOTTEN, against=MEMBER)
    with pytest.raises(Misaligned, match="1 models before and 2 after"):
        delta(BEFORE, evidence(AFTER.values.repeat(2, 1), MEMBER.repeat(2, 1)), forgotten=FORGOTTEN)
    with pytest.raises(Misaligned):
        delta(BEFORE, evidence(AFTER.values, MEMBER, "confidence"), forgotten=FORGOTTEN)
    with pytest.raises(EvidenceError, match="2 known pairs"):
        delta_fitted(BEFORE, AFTER, forgotten=FORGOTTEN)
