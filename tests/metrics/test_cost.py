"""Costs: what was measured is told, what was not is left out."""

import pytest

from erasable.errors import EvidenceError
from erasable.metrics import cost, costs


def test_one_time_as_before():
    assert (cost(2.0, subject="a").metric, cost(2.0, subject="a").unit) == ("time", "s")
    assert cost(3.0, subject="a", preparation=True).metric == "preparation"


def test_all_of_them_by_name():
    found = costs(subject="a", seconds=1.5, preparation_seconds=60.0, tuning_seconds=600.0, trials=20, stored=4096,
                  accessed={"retain": 900, "forget": 100, "public": 0})  # fmt: skip
    assert [(each.metric, each.value, each.unit) for each in found] == [
        ("time", 1.5, "s"), ("preparation", 60.0, "s"), ("tuning", 600.0, "s"), ("storage", 4096.0, "bytes"),
        ("access", 1000.0, "samples"),
    ]  # fmt: skip
    assert (found[2].note, found[2].n) == ("20 trials", 20)
    assert found[4].note == "forget 100, retain 900"
    assert all(each.direction == "lower" and each.subject == "a" for each in found)


def test_what_was_not_measured_is_no_zero():
    assert costs(subject="a") == ()
    assert costs(subject="a", seconds=2.0) == (cost(2.0, subject="a"),)
    (nothing,) = costs(subject="a", accessed={})
    assert (nothing.value, nothing.note) == (0.0, "no data")


def test_nonsense_is_refused():
    for wrong in ({"seconds": -1.0}, {"stored": -1}, {"accessed": {"forget": -1}}, {"trials": 3}):
        with pytest.raises(EvidenceError):
            costs(subject="a", **wrong)
