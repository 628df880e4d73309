"""One owner: the median by hand, a named one, and who is never chosen."""

import pytest
import torch

from erasable.dataset import Dataset
from erasable.errors import EmptyRequest, NotErasable, SettingsError, UnknownOwner
from erasable.scenarios import OneOwner
from tests.scenarios.toy import TASK
from tests.toys import blobs

SIZES = {"ann": 1, "ben": 1, "cleo": 2, "dora": 4, "eve": 4, "finn": 7}


def owned(public=()):
    owners = [name for name, size in SIZES.items() for _ in range(size)]
    n = len(owners)
    data = Dataset.of({"x": torch.zeros(n, 2), "label": torch.zeros(n, dtype=torch.int64)}, [f"s{i}" for i in range(n)],
                      owners=owners)  # fmt: skip
    return data.declare_public([each for name in public for each in data.owned_by(name).ids]) if public else data


@pytest.mark.parametrize(
    ("least", "public", "chosen"),
    [
        (1, (), {"cleo"}),  # 1 1 2 4 4 7: of the two in the middle the smaller
        (2, (), {"dora", "eve"}),  # 2 4 4 7
        (5, (), {"finn"}),
        (2, ("dora",), {"eve"}),  # 2 4 7
        (1, ("dora", "eve", "finn"), {"ann", "ben"}),  # 1 1 2
    ],
)
def test_the_median_by_hand(least, public, chosen):
    made = [OneOwner(least=least)(owned(public), TASK, seed=seed) for seed in range(30)]
    assert {each.facts["owner"] for each in made} == chosen
    for each in made:
        assert each.request.ids == each.data.owned_by(each.facts["owner"]).ids
        assert len(each.request.ids) == each.facts["samples"] == SIZES[each.facts["owner"]]


def test_a_named_owner():
    assert OneOwner(owner="ben")(owned(), TASK, seed=0).request.ids == ("s1",)
    with pytest.raises(UnknownOwner, match="did you mean 'ann'"):
        OneOwner(owner="anna")(owned(), TASK, seed=0)
    with pytest.raises(NotErasable):
        OneOwner(owner="eve")(owned(("eve",)), TASK, seed=0)


def test_nobody_to_choose_is_refused():
    with pytest.raises(EmptyRequest, match="with 8 samples"):
        OneOwner(least=8)(owned(), TASK, seed=0)
    with pytest.raises(EmptyRequest):
        OneOwner()(blobs(9), TASK, seed=0)  # without owners
    with pytest.raises(SettingsError):
        OneOwner(least=0)
