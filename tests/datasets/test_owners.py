"""Made-up owners: skewed, complete, the same every time."""

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from erasable.datasets import synthetic_owners
from erasable.datasets._order import shuffled
from erasable.errors import InvalidData


@given(st.integers(1, 3000), st.sampled_from(["a", "digits"]), st.booleans())
def test_each_sample_has_one_owner_and_sizes_fall_with_the_number(n: int, name: str, consecutive: bool) -> None:
    owners = synthetic_owners(n, name=name, consecutive=consecutive)
    assert len(owners) == n
    sizes = [count for _, count in sorted(Counter(owners.tolist()).items())]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] == 1


def test_a_few_owners_are_big_and_most_have_one_sample() -> None:
    sizes = sorted(Counter(synthetic_owners(10_000, name="x").tolist()).values(), reverse=True)
    assert 200 < sizes[0] < 600
    assert 0.55 < sum(size == 1 for size in sizes) / len(sizes) < 0.75
    assert sum(sizes[: len(sizes) // 100]) > 0.15 * 10_000  # one in a hundred holds far more than its share


def test_the_name_alone_decides() -> None:
    one, again, other = (synthetic_owners(500, name=name).tolist() for name in ("x", "x", "y"))
    assert one == again
    assert one != other
    assert Counter(one) == Counter(other)


def test_these_owners_never_change() -> None:
    assert shuffled(8, "x", "owners").tolist() == GOLDEN_ORDER
    assert synthetic_owners(8, name="x").tolist() == [f"owner-{each:04d}" for each in GOLDEN_OWNERS]


GOLDEN_ORDER = [4, 2, 5, 7, 6, 1, 3, 0]
GOLDEN_OWNERS = [5, 3, 0, 4, 0, 0, 2, 1]


def test_consecutive_owners_hold_one_block_each() -> None:
    owners = synthetic_owners(2000, name="x", consecutive=True).tolist()
    blocks = 1 + sum(here != there for here, there in pairwise(owners))
    assert blocks == len(set(owners))
    assert sorted(Counter(owners).values()) == sorted(Counter(synthetic_owners(2000, name="x").tolist()).values())
    assert owners[0] != "owner-0000"  # sizes are mixed along the text


def test_names_grow_with_the_number_of_owners() -> None:
    assert synthetic_owners(60_000, name="x")[0].startswith("owner-")
    assert len(set(map(len, synthetic_owners(60_000, name="x").tolist()))) == 1


def test_nothing_to_share_out_is_refused() -> None:
    with pytest.raises(InvalidData, match="0 samples"):
        synthetic_owners(0, name="x")
