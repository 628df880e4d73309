"""Accuracy per class by hand, the worst class, and classes that are gone."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from erasable.errors import EvidenceError, Misaligned
from erasable.evidence import Evidence, binomial_interval, joint
from erasable.metrics import accuracy, per_class, worst_class

LABELS = torch.tensor([0, 0, 1, 1, 1, 1, 2])
NAMES = ("cat", "dog", "emu", "fox")


def correct(*rows):
    values = torch.tensor(rows, dtype=torch.float64)
    names = tuple(f"s{i}" for i in range(values.shape[1]))
    return Evidence("correct", names, values, torch.zeros(values.shape, dtype=torch.bool))


TARGET = correct([1, 0, 1, 1, 1, 0, 1])
ORACLES = correct([1, 1, 1, 1, 0, 0, 0], [0, 0, 1, 1, 1, 1, 1])


def test_by_hand():
    found = per_class(TARGET, LABELS, ORACLES, subject="a", on="test", names=NAMES[:3])
    assert [each.metric for each in found] == [f"test accuracy of {name}" for name in NAMES[:3]]
    assert [each.value for each in found] == [50.0, 75.0, 100.0]
    assert [each.null_values for each in found] == [(100.0, 0.0), (50.0, 100.0), (0.0, 100.0)]
    assert [each.n for each in found] == [2, 4, 1]
    low, high = binomial_interval(3, 4)
    assert found[1].interval == (100 * low, 100 * high)
    assert all(each.note == "" and each.subject == "a" for each in found)
    assert per_class(TARGET, LABELS, subject="a", on="test")[2].metric == "test accuracy of class 2"


def test_the_worst_class_and_each_oracles_own():
    found = worst_class(TARGET, LABELS, ORACLES, subject="a", on="test", names=NAMES[:3])
    assert (found.value, found.n, found.resolution) == (50.0, 2, 50.0)
    assert found.null_values == (0.0, 0.0)  # emu for the first, cat for the second
    assert found.note == "cat (2 samples)"
    several = worst_class(correct([1, 0, 1, 1, 1, 0, 1], [1, 1, 1, 1, 1, 1, 0]), LABELS, subject="a", on="test")
    assert several.value == 25.0
    assert several.note == "class 0 (2 samples), class 2 (1 samples)"
    assert (several.n, several.interval, several.null_band) == (1, None, None)


def test_a_class_that_is_gone_is_left_out_and_told():
    found = per_class(TARGET, LABELS, ORACLES, subject="a", on="test", names=NAMES, gone={0})
    assert [each.metric for each in found] == ["test accuracy of dog", "test accuracy of emu"]
    note = "left out, as no training sample remains: cat; without samples here: fox"
    assert all(each.note == note for each in found)
    worst = worst_class(TARGET, LABELS, subject="a", on="test", names=NAMES, gone={0})
    assert (worst.value, worst.note) == (75.0, f"dog (4 samples); {note}")
    with pytest.raises(EvidenceError, match="cat, dog, emu"):
        per_class(TARGET, LABELS, subject="a", on="forget", names=NAMES, gone={0, 1, 2})


def test_what_does_not_fit_is_refused():
    with pytest.raises(Misaligned):
        per_class(TARGET, LABELS[:3], subject="a", on="test")
    with pytest.raises(Misaligned):
        worst_class(TARGET, LABELS, correct([1, 0]), subject="a", on="test")
    wrong = Evidence("confidence", TARGET.ids, TARGET.values, TARGET.member)
    with pytest.raises(Misaligned, match="correct"):
        per_class(wrong, LABELS, subject="a", on="test")


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=1, max_size=30))
def test_classes_weighed_by_their_samples_give_the_accuracy(pairs):
    target, labels = correct([float(right) for _, right in pairs]), torch.tensor([label for label, _ in pairs])
    found = per_class(target, labels, subject="a", on="test")
    whole = accuracy(target, subject="a", on="test")
    assert sum(each.n for each in found) == whole.n
    assert sum(each.value * each.n for each in found) / whole.n == pytest.approx(whole.value)
    assert worst_class(target, labels, subject="a", on="test").value == min(each.value for each in found)


def draw(g, *, paid=0.0, together=True, models=17, per=40, classes=10):
    """A target and oracles that are right on 80 % of each class; the target on fewer of class 3."""
    labels = torch.arange(classes).repeat_interleave(per)
    chance = torch.full((models, classes * per), 0.8)
    chance[0, labels == 3] -= paid
    rows = torch.bernoulli(chance, generator=g).tolist()
    arguments = {"labels": labels, "oracles": correct(*rows[1:]), "subject": "a", "on": "retain"}
    found = per_class(correct(rows[0]), **arguments)
    if together:
        found = joint(found)
    return [each.inside_noise for each in found], worst_class(correct(rows[0]), **arguments).inside_noise


def test_null_control_the_worst_class_is_quiet_and_ten_classes_have_to_be_joined():
    g = torch.Generator().manual_seed(0)
    drawn = [draw(g) for _ in range(150)]
    assert sum(not worst for _, worst in drawn) / 150 < 0.12  # the lowest of 17: once in 17
    alone = sum(not all(draw(g, together=False)[0]) for _ in range(150))
    assert sum(not all(classes) for classes, _ in drawn) < alone / 2
    assert alone / 150 > 0.5  # ten bands of 16 oracles each: some class always looks unusual


def test_alarm_one_class_that_pays_for_the_others_is_named():
    g = torch.Generator().manual_seed(1)
    drawn = [draw(g, paid=0.5) for _ in range(50)]
    assert sum(not classes[3] for classes, _ in drawn) / 50 > 0.95
    assert sum(not worst for _, worst in drawn) / 50 > 0.95
