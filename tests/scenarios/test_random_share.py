"""A random share: counts by hand."""

import pytest

from erasable.errors import EmptyRequest
from erasable.scenarios import RandomShare
from tests.scenarios.toy import TASK, toy
from tests.toys import blobs


@pytest.mark.parametrize(("n", "share", "count"), [(60, 0.1, 6), (60, 0.125, 8), (60, 0.001, 1), (60, 0.85, 51)])
def test_the_share_is_of_all_samples_and_drawn_from_those_that_may_be_erased(n, share, count):
    data = toy(n)
    forget = RandomShare(share=share)(data, TASK, seed=0).request.ids
    assert len(forget) == count  # 7.5 is rounded up; 51 is every private sample of 60 with 9 public ones
    assert set(forget) <= set(data.private.ids)


def test_every_sample_is_as_likely():
    data = blobs(12)
    counts = dict.fromkeys(data.ids, 0)
    for seed in range(600):
        for each in RandomShare(share=0.25)(data, TASK, seed=seed).request.ids:
            counts[each] += 1
    assert sum(counts.values()) == 1800
    assert all(abs(count - 150) < 4.5 * (600 * 0.25 * 0.75) ** 0.5 for count in counts.values())


def test_erasing_everything_is_refused():
    with pytest.raises(EmptyRequest, match="all 12"):
        RandomShare(share=1.0)(blobs(12), TASK, seed=0)
