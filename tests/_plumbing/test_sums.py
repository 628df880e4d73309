"""Class sums: integers, so that order never matters and what was taken back leaves no trace."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from erasable._plumbing.sums import LIMIT, ROWS, ClassSums
from erasable.errors import InvalidData

CLASSES, WIDTH = 4, 3


def sample(seed, n):
    g = torch.Generator().manual_seed(seed)
    scale = 10.0 ** torch.randint(-6, 3, (n, 1), generator=g)  # numbers whose float sums do depend on order
    return torch.randn(n, WIDTH, generator=g) * scale, torch.randint(0, CLASSES, (n,), generator=g)


def built(keys, labels):
    sums = ClassSums(CLASSES, WIDTH, second=True)
    sums.add(keys, labels)
    return sums


def state(sums):
    return [sums.sums, sums.counts, sums.coarse, sums.second, sums.means(), sums.within()]


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(state(a), state(b), strict=True))


@given(st.integers(0, 2**31), st.integers(1, 40), st.data())
def test_any_order_of_adding_and_removing_equals_building_from_what_remains(seed, n, data):
    keys, labels = sample(seed, n)
    order = torch.tensor(data.draw(st.permutations(range(n))))
    gone = torch.tensor(data.draw(st.lists(st.sampled_from(range(n)), unique=True)), dtype=torch.long)
    cut = data.draw(st.integers(0, n))
    sums = ClassSums(CLASSES, WIDTH, second=True)
    for part in (order[:cut], order[cut:]):
        sums.add(keys[part], labels[part])
    for each in gone[: len(gone) // 2]:
        sums.remove(keys[each : each + 1], labels[each : each + 1])
    sums.remove(keys[gone[len(gone) // 2 :]], labels[gone[len(gone) // 2 :]])
    stays = torch.ones(n, dtype=torch.bool)
    stays[gone] = False
    assert same(sums, built(keys[stays], labels[stays]))


def test_floats_would_not_pass_the_test_above():
    keys = sample(0, 40)[0]
    total = keys.sum(0)
    assert not torch.equal(total - keys[0], keys[1:].sum(0))


def test_means_by_hand_and_zero_without_samples():
    sums = built(torch.tensor([[1.0, 2, 3], [3, 4, 5], [0.5, 0, -1]]), torch.tensor([2, 2, 0]))
    assert sums.counts.tolist() == [1, 0, 2, 0]
    assert torch.equal(sums.means(), torch.tensor([[0.5, 0, -1], [0, 0, 0], [2, 3, 4], [0, 0, 0]]))


def test_means_keep_the_precision_of_float32():
    keys = torch.rand(1000, WIDTH, generator=torch.Generator().manual_seed(0))
    labels = torch.zeros(1000, dtype=torch.long)
    assert torch.allclose(built(keys, labels).means()[0].double(), keys.double().mean(0), rtol=0, atol=6e-8)


@pytest.mark.parametrize("centre", [0.0, 1.0, 300.0])
def test_within_equals_numpy_also_far_from_the_origin(centre):
    g = torch.Generator().manual_seed(1)
    labels = torch.arange(500) % CLASSES
    mixing = torch.randn(WIDTH, WIDTH, generator=g)
    keys = centre + labels[:, None] * 0.5 + 0.1 * torch.randn(500, WIDTH, generator=g) @ mixing
    parts = [keys[labels == c].double().numpy() for c in range(CLASSES)]
    expected = sum(len(part) * np.cov(part.T, bias=True) for part in parts) / 500
    within = built(keys, labels).within().numpy()
    assert np.allclose(within, expected, rtol=0, atol=1e-3 * np.abs(expected).max())
    assert np.linalg.eigvalsh(within).min() > 0


def test_second_moments_are_exact_at_the_limit_and_over_several_blocks():
    n = 2 * ROWS + 5
    most = torch.nextafter(torch.tensor(LIMIT), torch.tensor(0.0)).item()
    keys = torch.full((n, 2), most)
    keys[:, 1] = -(LIMIT - 1)
    sums = ClassSums(1, 2, second=True)
    sums.add(keys, torch.zeros(n, dtype=torch.long))
    a, b = round(most * 1024), -round((LIMIT - 1) * 1024)
    assert sums.second.tolist() == [[n * a * a, n * a * b], [n * a * b, n * b * b]]  # Python's integers know no limit


@pytest.mark.parametrize("bad", [LIMIT, -LIMIT, float("inf"), float("nan")])
def test_large_and_broken_entries_are_refused_and_change_nothing(bad):
    sums = built(*sample(3, 5))
    before = [each.clone() for each in state(sums)]
    with pytest.raises(InvalidData, match="below 2048"):
        sums.add(torch.tensor([[0.0, 1, 2], [0, bad, 0]]), torch.tensor([0, 1]))
    assert all(torch.equal(a, b) for a, b in zip(state(sums), before, strict=True))


def test_second_moments_must_be_asked_for():
    sums = ClassSums(CLASSES, WIDTH)
    sums.add(*sample(0, 5))
    assert sums.second is None
    with pytest.raises(ValueError, match="second moments"):
        sums.within()
