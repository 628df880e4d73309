"""Many small requests: how many, how large, and never a sample twice."""

import pytest

from erasable.errors import EmptyRequest, SettingsError
from erasable.scenarios import Sequential
from tests.scenarios.toy import TASK, toy
from tests.toys import blobs


def test_ten_of_one_per_cent():
    data = blobs(300)
    scenario = Sequential()(data, TASK, seed=0)
    assert [len(each.ids) for each in scenario.requests] == [3] * 10
    assert [len(scenario.before(i)) for i in range(11)] == list(range(300, 269, -3))
    assert len({each for request in scenario.requests for each in request.ids}) == 30
    assert len({each.case for each in scenario.requests}) == 10


def test_public_samples_stay_and_the_last_private_one_may_go():
    data = toy()  # 51 of 60 may be erased
    scenario = Sequential(rounds=17, share=0.05)(data, TASK, seed=0)
    assert scenario.before(17).ids == data.public.ids
    with pytest.raises(SettingsError, match="18 requests for 3 samples, of 51"):
        Sequential(rounds=18, share=0.05)(data, TASK, seed=0)


def test_nothing_left_and_no_rounds_are_refused():
    with pytest.raises(EmptyRequest):
        Sequential(rounds=10, share=0.1)(blobs(30), TASK, seed=0)
    with pytest.raises(SettingsError):
        Sequential(rounds=0)
