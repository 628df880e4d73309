"""Duplicates: exact, under other names and owners; one or all are asked for."""

import pytest
import torch

from erasable.errors import InvalidData, SettingsError
from erasable.scenarios import Duplicates
from tests.scenarios.toy import TASK, toy
from tests.toys import blobs

DATA = toy()


def test_one_copy_goes_and_the_others_stay():
    scenario = Duplicates(share=0.05, copies=2)(DATA, TASK, seed=0)
    originals, stay = scenario.request.ids, scenario.groups["duplicates that stay"]
    assert len(originals) == 3
    assert len(scenario.data) == 66
    assert set(originals) <= set(DATA.private.ids)
    assert stay.ids == tuple(f"{each}/copy-{i}" for i in (1, 2) for each in originals)
    assert stay.owners == ("holder of copies 1",) * 3 + ("holder of copies 2",) * 3
    assert scenario.facts["copy_of"] == dict(zip(stay.ids, 2 * originals, strict=True))
    for column in ("x", "label", "fine", "bias"):
        assert torch.equal(stay.read(column), DATA.only(originals).read(column).repeat(2, *[1] * (column == "x")))
    assert scenario.data.only(DATA.ids).digest() == DATA.digest()
    assert set(stay.ids) <= set(scenario.before(1).ids)


def test_all_copies_go():
    scenario = Duplicates(share=0.05, copies=2, forget="all")(DATA, TASK, seed=0)
    assert len(scenario.request.ids) == 9
    one = Duplicates(share=0.05, copies=2)(DATA, TASK, seed=0)
    assert scenario.data.digest() == one.data.digest()
    assert scenario.request.ids[:3] == one.request.ids
    assert list(scenario.groups) == ["duplicates, erased as well"]
    assert scenario.before(1).digest() == DATA.without(one.request.ids).digest()


def test_copies_of_copies_and_data_without_owners():
    plain = Duplicates()(blobs(20), TASK, seed=0)
    assert plain.data.owners is None
    assert plain.groups["duplicates that stay"].ids == (f"{plain.request.ids[0]}/copy-1",)
    with pytest.raises(InvalidData, match="stands for 2"):
        Duplicates(share=0.9)(Duplicates(share=0.9)(blobs(20), TASK, seed=0).data, TASK, seed=0)
    with pytest.raises(SettingsError, match="'holder of copies 1' owns"):
        Duplicates()(Duplicates()(DATA, TASK, seed=0).data, TASK, seed=1)


@pytest.mark.parametrize("wrong", [{"copies": 0}, {"forget": "some"}])
def test_settings_are_refused(wrong):
    with pytest.raises(SettingsError):
        Duplicates(**wrong)
