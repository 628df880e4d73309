"""A kind within a class: by hand, and kinds that are none."""

import pytest
import torch

from erasable.dataset import Dataset
from erasable.errors import EmptyRequest, InvalidData, NotErasable
from erasable.scenarios import Subclass
from tests.scenarios.toy import TASK

COARSE = [0, 0, 0, 1, 1, 1, 2, 2]
FINE = [10, 11, 10, 20, 21, 22, 30, 30]  # 30 is all of class 2


def data(fine=FINE, public=None):
    return Dataset.of({"x": torch.zeros(8, 2), "label": torch.tensor(COARSE), "fine": torch.tensor(fine)},
                      [f"s{i}" for i in range(8)], public=public)  # fmt: skip


def test_by_hand():
    scenario = Subclass(column="fine", value=10)(data(), TASK, seed=0, test=data())
    assert scenario.request.ids == ("s0", "s2")
    assert scenario.groups["siblings"].ids == ("s1",)
    assert scenario.groups["the kind in the test data"].ids == ("s0", "s2")
    assert (scenario.facts["value"], scenario.facts["label"]) == (10, 0)
    assert list(Subclass(column="fine", value=10)(data(), TASK, seed=0, test=data([11] * 8)).groups) == ["siblings"]


def test_the_seed_draws_among_the_kinds_that_leave_some_of_their_class():
    made = [Subclass(column="fine")(data(), TASK, seed=seed) for seed in range(60)]
    assert {each.facts["value"] for each in made} == {10, 11, 20, 21, 22}
    public = [True] + [False] * 7
    made = [Subclass(column="fine")(data(public=public), TASK, seed=seed) for seed in range(60)]
    assert {each.facts["value"] for each in made} == {11, 20, 21, 22}


@pytest.mark.parametrize(
    ("value", "changed", "error"),
    [
        (30, {}, InvalidData),  # a whole class
        (10, {"fine": [10, 11, 10, 10, 21, 22, 30, 30]}, InvalidData),  # spans two
        (99, {}, EmptyRequest),
        (10, {"public": [True] + [False] * 7}, NotErasable),
        (None, {"fine": COARSE}, EmptyRequest),  # nothing finer
    ],
)
def test_kinds_that_are_none_are_refused(value, changed, error):
    with pytest.raises(error):
        Subclass(column="fine", value=value)(data(**changed), TASK, seed=0)


@pytest.mark.parametrize("fine", [torch.zeros(8, 2), torch.full((8,), 0.5)])
def test_a_column_of_other_numbers_is_refused(fine):
    columns = {"x": torch.zeros(8, 2), "label": torch.tensor(COARSE), "fine": fine}
    with pytest.raises(InvalidData, match="one whole number"):
        Subclass(column="fine")(Dataset.of(columns, [f"s{i}" for i in range(8)]), TASK, seed=0)
