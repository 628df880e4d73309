"""Interclass confusion by hand."""

import pytest
import torch

from erasable.errors import Misaligned
from erasable.evidence import Evidence
from erasable.metrics.interclass_confusion import interclass_confusion

LABELS = torch.tensor([3, 3, 5, 5, 5])


def predictions(rows, *, signal="prediction", first="s"):
    values = torch.tensor(rows)
    names = tuple(f"{first}{i}" for i in range(values.shape[1]))
    return Evidence(signal, names, values, torch.zeros(values.shape, dtype=torch.bool))


def test_by_hand():
    # right, the other class, the other class, some third class, right
    any_kind, swapped = interclass_confusion(predictions([[3, 5, 3, 7, 5]]), LABELS, (3, 5), subject="a")
    assert (any_kind.metric, any_kind.value, any_kind.n) == ("IC-Err", pytest.approx(60.0), 5)
    assert (swapped.metric, swapped.value, swapped.n) == ("Fgt-Err", pytest.approx(40.0), 5)
    assert any_kind.direction == swapped.direction == "match"
    for found in (any_kind, swapped):
        assert found.interval[0] < found.value < found.interval[1]
        assert found.null_band is None


def test_a_perfect_and_a_wholly_confused_model():
    perfect, confused = [[3, 3, 5, 5, 5]], [[5, 5, 3, 3, 3]]
    oracles = predictions([[3, 3, 5, 5, 5], [3, 3, 5, 5, 0]])
    quiet = interclass_confusion(predictions(perfect), LABELS, (3, 5), oracles, subject="a")
    assert [each.value for each in quiet] == [0.0, 0.0]
    assert [each.null_values for each in quiet] == [(0.0, 20.0), (0.0, 0.0)]
    assert [each.inside_noise for each in quiet] == [True, True]
    loud = interclass_confusion(predictions(confused), LABELS, (5, 3), oracles, subject="a")
    assert [each.value for each in loud] == [100.0, 100.0]
    assert [each.inside_noise for each in loud] == [False, False]


def test_repairs_that_break_something_else_show_in_one_of_them_only():
    oracles = predictions([[3, 3, 5, 5, 5], [3, 3, 5, 5, 0]])
    elsewhere = interclass_confusion(predictions([[9, 9, 9, 9, 9]]), LABELS, (3, 5), oracles, subject="a")
    assert [each.inside_noise for each in elsewhere] == [False, True]


def test_what_does_not_fit_is_refused():
    seen = predictions([[3, 3, 5, 5, 5]])
    for arguments in (
        (seen, LABELS[:4], (3, 5)),
        (seen, LABELS, (3, 4)),
        (seen, LABELS, (3, 3)),
        (predictions([[3, 3, 5, 5, 5]], signal="correct"), LABELS, (3, 5)),
        (seen, LABELS, (3, 5), predictions([[3, 3, 5, 5, 5]], first="t")),
    ):
        with pytest.raises(Misaligned) as caught:
            interclass_confusion(*arguments, subject="a")
        assert "\n" not in str(caught.value)
