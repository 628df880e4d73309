"""One class: all of it, or an error."""

import pytest

from erasable.errors import EmptyRequest, NotErasable
from erasable.scenarios import OneClass
from tests.scenarios.toy import TASK, TEST
from tests.toys import blobs

DATA = blobs(10)  # classes 0 1 2 0 1 2 0 1 2 0


def test_all_of_the_class_is_asked_for():
    scenario = OneClass(label=0)(DATA, TASK, seed=0, test=TEST)
    assert scenario.request.ids == ("blob/000", "blob/003", "blob/006", "blob/009")
    assert 0 not in scenario.before(1).read("label")
    (group,) = scenario.groups.values()
    assert group.read("label").tolist() == [0] * 10
    assert OneClass(label=0)(DATA, TASK, seed=0, test=TEST.without(group.ids)).groups == {}
    assert OneClass(label=0)(DATA, TASK, seed=0).groups == {}


def test_the_seed_draws_a_class_that_may_be_erased():
    some = DATA.declare_public(["blob/001"])
    assert {OneClass()(DATA, TASK, seed=seed).facts["label"] for seed in range(30)} == {0, 1, 2}
    assert {OneClass()(some, TASK, seed=seed).facts["label"] for seed in range(30)} == {0, 2}


def test_what_cannot_be_erased_is_refused():
    some = DATA.declare_public(["blob/000", "blob/001", "blob/002"])
    with pytest.raises(NotErasable):
        OneClass(label=1)(some, TASK, seed=0)
    with pytest.raises(EmptyRequest, match="each class"):
        OneClass()(some, TASK, seed=0)
    with pytest.raises(EmptyRequest, match="label 7"):
        OneClass(label=7)(DATA, TASK, seed=0)
    with pytest.raises(EmptyRequest, match="all 4"):
        OneClass(label=0)(DATA.where("label", 0), TASK, seed=0)
