"""Names and rows against a plain list."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from erasable._plumbing.names import Names


def filled(n: int) -> Names:
    names = Names()
    names.append([f"s{i}" for i in range(n)])
    return names


def test_rows_are_counted_up_and_unknown_names_are_minus_one():
    names = filled(3)
    names.append(["x"])
    assert names.in_order() == ["s0", "s1", "s2", "x"]
    assert names.rows_of(["x", "nobody", "s0", "x"]).tolist() == [3, -1, 0, 3]
    assert names.rows_of([]).tolist() == []
    assert len(names) == 4
    assert "x" in names
    assert "nobody" not in names


def test_an_unknown_name_leaves_everything_as_it_was():
    names = filled(4)
    assert names.pop(["s3", "nobody", "s1"]) is None
    assert names.in_order() == ["s0", "s1", "s2", "s3"]
    assert names.rows_of(["s3", "s1"]).tolist() == [3, 1]


@settings(max_examples=100)
@given(st.lists(st.one_of(st.integers(1, 6), st.lists(st.integers(0, 30), min_size=1, unique=True)), max_size=20))
def test_any_adds_and_removals_match_a_list(steps: list[int | list[int]]) -> None:
    """A number adds so many names; a list takes names away, whose gaps are filled from the end."""
    names, twin, fresh = Names(), [], 0
    for step in steps:
        if isinstance(step, int):
            new = [f"n{fresh + i}" for i in range(step)]
            fresh += step
            names.append(new)
            twin += new
            continue
        at = sorted({each % len(twin) for each in step}) if twin else []
        if not at:
            continue
        left = len(twin) - len(at)
        rows = names.pop([twin[each] for each in at])
        assert rows is not None
        assert rows.tolist() == at
        holes = [each for each in at if each < left]
        movers = [each for each in range(left, len(twin)) if each not in at]
        names.close(np.array(holes, np.int64), np.array(movers, np.int64))
        for hole, mover in zip(holes, movers, strict=True):
            twin[hole] = twin[mover]
        del twin[left:]
        assert names.in_order() == twin
        assert names.rows_of(twin).tolist() == list(range(len(twin)))


def test_arrays_do_not_grow_with_what_came_and_went():
    names = Names()
    for i in range(1_000):
        names.append([f"{i}/{j}" for j in range(10)])
        rows = names.pop([f"{i}/{j}" for j in range(10)])
        assert rows is not None
        names.close(np.zeros(0, np.int64), np.zeros(0, np.int64))
    assert len(names) == 0
    assert names._row.nbytes + names._at.nbytes < 10_000
