"""The exact store: rows by id, deletion in place, search against the obvious loop, and the digest of a multiset."""

import hashlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from erasable.errors import (
    AlreadyForgotten,
    CorruptRun,
    EmptyRequest,
    InvalidData,
    SettingsError,
    StorageError,
    UnknownSample,
)
from erasable.memory import Memory, MemoryStore
from tests.toy_run import pattern, planted


def filled(n: int = 6, *, key: int = 3, value: int = 2, seed: int = 0) -> Memory:
    g = torch.Generator().manual_seed(seed)
    memory = Memory(key, value)
    memory.add([f"s{i}" for i in range(n)], torch.randn(n, key, generator=g), torch.randn(n, value, generator=g),
               torch.arange(n))  # fmt: skip
    return memory


def contents(memory: Memory) -> dict[str, tuple[int, bytes, bytes]]:
    return {
        each: (int(memory.labels[row]), memory.keys[row].numpy().tobytes(), memory.values[row].numpy().tobytes())
        for row, each in enumerate(memory.ids)
    }


def test_rows_come_back_by_id():
    memory = Memory(2, 1)
    memory.add(["b", "a"], torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[5.0], [6.0]]), torch.tensor([7, 8]))
    assert memory.rows(["a", "b", "a"]).tolist() == [1, 0, 1]
    assert memory.ids == ["b", "a"]
    assert memory.keys.tolist() == [[1, 2], [3, 4]]
    assert memory.values.tolist() == [[5], [6]]
    assert memory.labels.tolist() == [7, 8]
    assert len(memory) == 2
    assert "a" in memory
    assert "c" not in memory
    assert memory.labels.dtype == torch.int64
    assert isinstance(memory, MemoryStore)


def test_rows_without_labels_and_values():
    memory = Memory(2)
    memory.add(["a"], np.ones((1, 2)))
    assert memory.labels.tolist() == [-1]
    assert memory.values.shape == (1, 0)


def test_removal_swaps_with_the_end_and_zeroes_it():
    memory = filled(6)
    rows = {each: memory.keys[i].tolist() for i, each in enumerate(memory.ids)}
    memory.remove(["s1", "s5"])  # s4 moves into the hole of s1; s5 is in the tail itself
    assert memory.ids == ["s0", "s4", "s2", "s3"]
    assert {each: memory.keys[i].tolist() for i, each in enumerate(memory.ids)} == {
        each: rows[each] for each in memory.ids
    }
    assert memory.rows(["s0", "s4", "s2", "s3"]).tolist() == [0, 1, 2, 3]
    for column in memory._columns.values():
        assert not column[4:].any()


def test_the_row_order_after_a_removal_does_not_depend_on_the_order_of_the_request():
    one, other = filled(9), filled(9)
    one.remove(["s1", "s7", "s0", "s3"])
    other.remove(["s3", "s0", "s7", "s1"])
    assert one.ids == other.ids


def test_removal_is_all_or_nothing():
    memory = filled()
    before = contents(memory), memory.digest()
    with pytest.raises(UnknownSample, match=r"1 of 2 ids are not in the memory, first 'x'"):
        memory.remove(["s1", "x"])
    with pytest.raises(EmptyRequest):
        memory.remove([])
    assert (contents(memory), memory.digest()) == before


def test_pop_is_remove_and_hands_out_copies():
    memory, twin = filled(), filled()
    asked = [memory.ids[4], memory.ids[0], memory.ids[4]]
    rows = twin.rows(dict.fromkeys(asked))
    keys, labels = memory.pop(asked)
    assert torch.equal(keys, twin.keys[rows])
    assert torch.equal(labels, twin.labels[rows])
    twin.remove(asked)
    assert memory.ids == twin.ids
    assert memory.digest() == twin.digest()
    before = contents(memory)
    with pytest.raises(UnknownSample):
        memory.pop([memory.ids[1], "nobody", memory.ids[0]])
    assert contents(memory) == before
    assert memory.rows(memory.ids).tolist() == list(range(len(memory)))


def test_what_was_forgotten_is_known_and_does_not_return_silently():
    memory = filled()
    memory.remove(["s1", "s1"])
    assert memory.forgotten == {"s1"}
    for ask in (memory.rows, memory.remove):
        with pytest.raises(AlreadyForgotten, match="first 's1'"):
            ask(["s1"])
    with pytest.raises(UnknownSample):  # the id that was never there is the more important news
        memory.rows(["s1", "x"])
    row = torch.zeros(1, 3), torch.zeros(1, 2)
    with pytest.raises(AlreadyForgotten):
        memory.add(["s1"], *row)
    memory.add(["s1"], *row, again=True)
    assert memory.rows(["s1"]).tolist() == [5]
    assert memory.forgotten == set()


@pytest.mark.parametrize(
    ("ids", "keys", "values", "labels"),
    [
        (["s0"], torch.zeros(1, 3), torch.zeros(1, 2), None),  # is there already
        (["x", "x"], torch.zeros(2, 3), torch.zeros(2, 2), None),
        (["x"], torch.zeros(1, 4), torch.zeros(1, 2), None),
        (["x"], torch.zeros(1, 3), None, None),
        (["x"], torch.zeros(2, 3), torch.zeros(1, 2), None),
        (["x"], torch.full((1, 3), torch.nan), torch.zeros(1, 2), None),
        (["x"], torch.zeros(1, 3), torch.full((1, 2), torch.inf), None),
        (["x"], torch.full((1, 3), 1e300, dtype=torch.float64), torch.zeros(1, 2), None),
        (["x"], torch.zeros(1, 3), torch.zeros(1, 2), torch.zeros(1)),  # labels are no numbers with a point
        ([1], torch.zeros(1, 3), torch.zeros(1, 2), None),  # a position is no name
        (["\ud800"], torch.zeros(1, 3), torch.zeros(1, 2), None),
    ],
)
def test_rows_that_cannot_be_stored_change_nothing(ids, keys, values, labels):
    memory = filled()
    before = contents(memory), memory.digest()
    with pytest.raises(InvalidData) as caught:
        memory.add(ids, keys, values, labels)
    assert "\n" not in str(caught.value)
    assert (contents(memory), memory.digest()) == before
    assert not any(column[6:].any() for column in memory._columns.values())


def test_a_memory_needs_a_key():
    with pytest.raises(InvalidData):
        Memory(0)


def test_erased_bytes_leave_every_buffer():
    data = planted(40)
    memory = Memory(16)
    buffers = []
    for start in range(0, 40, 5):  # several growths
        memory.add(data.ids[start : start + 5], data.read("x")[start : start + 5])
        buffers.append(memory._columns["keys"])
    live = memory._columns["keys"].numpy().tobytes()
    assert all(pattern(i) in live for i in range(40))  # the search can find
    for old in {id(each): each for each in buffers if each is not memory._columns["keys"]}.values():
        assert not old.any()  # outgrown buffers are zeroed
    memory.digest()
    hashes = memory._hashes.copy()
    rows = memory.rows(["s3", "s17", "s39"]).tolist()
    memory.remove(["s3", "s17", "s39"])
    live = memory._columns["keys"].numpy().tobytes()
    assert [i for i in range(40) if pattern(i) not in live] == [3, 17, 39]
    held = {each.tobytes() for each in memory._hashes}
    assert not any(hashes[row].tobytes() in held for row in rows)


def test_moving_leaves_the_old_buffers_empty():
    memory = filled()
    before, old = contents(memory), memory._columns["keys"]
    for same in ("cpu", "cpu:0"):  # nothing moves, so nothing may be zeroed
        assert memory.to(same) is memory
        assert contents(memory) == before
    memory.to("meta")  # a device without storage
    assert memory.device.type == memory.keys.device.type == "meta"
    assert not old.any()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an accelerator")
def test_a_memory_on_an_accelerator_is_the_same(tmp_path):
    here, there = filled(50, key=8), filled(50, key=8).to("cuda")
    there.to("cuda").to("cuda:0")
    queries = torch.randn(9, 8, generator=torch.Generator().manual_seed(3))
    for memory in (here, there):
        memory.digest()
        memory.remove(["s3", "s49", "s10"])
        memory.add(["new"], torch.ones(1, 8), torch.ones(1, 2), torch.tensor([1]))
    assert there.keys.device.type == "cuda"
    assert there.digest() == here.digest()
    for metric in ("cosine", "l2", "dot"):
        exclude = here.rows(["s1"] * 9)
        expected, found = here.nearest(queries, 4, metric=metric, exclude=exclude), there.nearest(
            queries.cuda(), 4, metric=metric, exclude=there.rows(["s1"] * 9))  # fmt: skip
        assert torch.equal(found[1].cpu(), expected[1])
        assert torch.allclose(found[0].cpu(), expected[0], atol=1e-5)
    there.save(tmp_path / "m.sqlite")
    assert Memory.open(tmp_path / "m.sqlite", device="cuda").digest() == here.digest()
    assert there.select(["s5", "new"]).keys.device.type == "cuda"


# --- search --------------------------------------------------------------------------------------------------------


def slow_nearest(memory, query, k, exclude, metric):
    """One query, one row at a time, in float64."""
    scored = []
    for row, key in enumerate(memory.keys.double()):
        if row == exclude:
            continue
        score = {"dot": query @ key, "l2": -(query - key).norm(), "cosine": query @ key / (query.norm() * key.norm())}
        scored.append((float(score[metric]), row))
    return sorted(scored, reverse=True)[:k]


@pytest.mark.parametrize("metric", ["cosine", "l2", "dot"])
def test_search_equals_the_obvious_loop(metric, monkeypatch):
    monkeypatch.setattr("erasable.memory.BUDGET", 64)  # blocks of a few rows and queries
    memory = filled(50, key=4)
    g = torch.Generator().manual_seed(1)
    queries = torch.randn(7, 4, generator=g)
    exclude = torch.tensor([-1, 0, 49, 7, -1, 3, 12])
    scores, rows = memory.nearest(queries, 5, exclude=exclude, metric=metric)
    assert scores.shape == rows.shape == (7, 5)
    for i, query in enumerate(queries.double()):
        expected = slow_nearest(memory, query, 5, int(exclude[i]), metric)
        assert rows[i].tolist() == [row for _, row in expected]
        assert scores[i].tolist() == pytest.approx([score for score, _ in expected], rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("metric", ["cosine", "l2", "dot"])
def test_a_query_does_not_depend_on_its_neighbours_in_the_batch(metric):
    memory = filled(30, key=4)
    queries = torch.randn(6, 4, generator=torch.Generator().manual_seed(2))
    _, together = memory.nearest(queries, 3, metric=metric)
    alone = torch.cat([memory.nearest(query[None], 3, metric=metric)[1] for query in queries])
    assert torch.equal(together, alone)


def test_search_by_hand():
    memory = Memory(2)
    memory.add(["east", "north", "far"], torch.tensor([[1.0, 0.0], [0.0, 1.0], [10.0, 1.0]]))
    query = torch.tensor([[2.0, 0.0]])
    assert memory.nearest(query, 3, metric="cosine")[1].tolist() == [[0, 2, 1]]
    assert memory.nearest(query, 3, metric="dot")[1].tolist() == [[2, 0, 1]]
    scores, rows = memory.nearest(query, 3, metric="l2")
    assert rows.tolist() == [[0, 1, 2]]
    assert scores[0].tolist() == pytest.approx([-1, -(5**0.5), -(65**0.5)])
    assert memory.nearest(query, 1, exclude=torch.tensor([0]), metric="l2")[1].tolist() == [[1]]
    assert memory.nearest(torch.empty(0, 2), 1)[0].shape == (0, 1)


def test_a_removed_row_is_not_found():
    memory = filled(20)
    query = memory.keys[3:4].clone()
    assert memory.ids[int(memory.nearest(query, 1, metric="l2")[1])] == "s3"
    memory.remove(["s3"])
    _, rows = memory.nearest(query, 19, metric="l2")
    assert sorted(rows[0].tolist()) == list(range(19))
    with pytest.raises(InvalidData, match="20 nearest rows asked of 19"):
        memory.nearest(query, 20)


@pytest.mark.parametrize(
    ("queries", "k", "exclude"),
    [
        (torch.zeros(2, 3), 7, None),
        (torch.zeros(2, 3), 6, torch.tensor([0, -1])),
        (torch.zeros(2, 3), 0, None),
        (torch.zeros(2, 4), 1, None),
        (torch.zeros(3), 1, None),
        (torch.full((2, 3), torch.nan), 1, None),
        (torch.zeros(2, 3), 1, torch.tensor([0, 6])),
        (torch.zeros(2, 3), 1, torch.tensor([0])),
    ],
)
def test_searches_that_cannot_be_answered(queries, k, exclude):
    with pytest.raises(InvalidData) as caught:
        filled(6).nearest(queries, k, exclude=exclude)
    assert "\n" not in str(caught.value)


def test_an_unknown_metric():
    with pytest.raises(SettingsError, match="cosine, l2 or dot"):
        filled().nearest(torch.zeros(1, 3), 1, metric="hamming")


# --- digest --------------------------------------------------------------------------------------------------------


def slow_digest(memory: Memory) -> str:
    """The definition, one row at a time, with Python's integers."""
    words = [0] * 8
    for each, (label, key, value) in contents(memory).items():
        name = each.encode()
        row = len(name).to_bytes(8, "little") + name + label.to_bytes(8, "little", signed=True) + key + value
        digest = hashlib.blake2b(row).digest()
        words = [(word + int.from_bytes(digest[8 * i : 8 * i + 8], "little")) % 2**64 for i, word in enumerate(words)]
    header = f"erasable memory 1, keys {memory.key_width}, values {memory.value_width}, rows {len(memory)}\n"
    return hashlib.sha256(header.encode() + b"".join(word.to_bytes(8, "little") for word in words)).hexdigest()


steps = st.lists(st.tuples(st.sampled_from(["add", "remove", "digest"]), st.integers(1, 5), st.integers(0, 10**6)))


@settings(max_examples=150, deadline=None)
@given(steps=steps)
def test_any_history_equals_a_memory_of_what_remains(steps):
    memory, expected, made = Memory(2, 1), {}, 0
    for what, count, seed in steps:
        g = torch.Generator().manual_seed(seed)
        if what == "add":
            ids = [f"n{made + i}" for i in range(count)]
            made += count
            new = torch.randn(count, 2, generator=g), torch.randn(count, 1, generator=g), torch.arange(count)
            memory.add(ids, *new)
            for i, each in enumerate(ids):
                expected[each] = (i, new[0][i].numpy().tobytes(), new[1][i].numpy().tobytes())
        elif what == "remove" and expected:
            names = sorted(expected)
            gone = [names[int(i)] for i in torch.randperm(len(names), generator=g)[:count]]
            memory.remove(gone)
            for each in gone:
                del expected[each]
        else:
            memory.digest()  # so that some rows have been hashed and others have not
    assert contents(memory) == expected
    fresh = Memory(2, 1)
    for each in sorted(expected, reverse=True):
        label, key, value = expected[each]
        fresh.add([each], *(np.frombuffer(raw, np.float32)[None] for raw in (key, value)), np.array([label]))
    assert memory.digest() == fresh.digest() == slow_digest(memory)
    assert memory.rows(memory.ids).tolist() == list(range(len(memory)))


def test_the_digest_sees_every_part_of_a_row():
    reference = filled().digest()
    assert filled().digest() == reference
    for column, row in (("keys", 2), ("values", 0), ("labels", 5)):
        changed = filled()
        changed._columns[column][row] += 1
        assert changed.digest() != reference
    renamed = Memory(3, 2)
    base = filled()
    renamed.add(["x", *base.ids[1:]], base.keys, base.values, base.labels)
    assert renamed.digest() != reference
    swapped = Memory(3, 2)  # the same keys under each other's names
    swapped.add(base.ids, base.keys.flip(0), base.values, base.labels)
    assert swapped.digest() != reference


def test_the_digest_without_rows_is_that_after_their_removal():
    memory = filled(8)
    expected = memory.digest(without=["s2", "s5", "nobody"])
    whole = memory.digest()
    memory.remove(["s2", "s5"])
    assert memory.digest() == expected != whole
    assert memory.digest() == memory.select(memory.ids).digest()


# --- files ---------------------------------------------------------------------------------------------------------


def test_a_saved_memory_comes_back_bit_for_bit(tmp_path):
    memory = filled(9)
    memory.remove(["s4", "s0"])
    memory.save(tmp_path / "memory.sqlite")
    assert [each.name for each in tmp_path.iterdir()] == ["memory.sqlite"]
    again = Memory.open(tmp_path / "memory.sqlite")
    assert again.ids == memory.ids
    assert contents(again) == contents(memory)
    assert again.digest() == memory.digest()
    assert again.forgotten == {"s4", "s0"}
    again.save(tmp_path / "memory.sqlite")  # over the old file
    assert Memory.open(tmp_path / "memory.sqlite").digest() == memory.digest()


def test_an_empty_memory_comes_back(tmp_path):
    Memory(3).save(tmp_path / "empty.sqlite")
    assert len(Memory.open(tmp_path / "empty.sqlite")) == 0


def test_damaged_files_are_refused(tmp_path):
    path = tmp_path / "memory.sqlite"
    with pytest.raises(CorruptRun, match="is missing"):
        Memory.open(path)
    filled(40).save(path)
    good = path.read_bytes()
    at = good.index(filled(40).keys[20].numpy().tobytes())
    for bad in (good[:5000], b"", b"not a database, but long enough to look like one" * 40,
                good[:at] + bytes(4) + good[at + 4 :]):  # fmt: skip
        path.write_bytes(bad)
        with pytest.raises(CorruptRun) as caught:
            Memory.open(path)
        assert "\n" not in str(caught.value)
    with pytest.raises(StorageError):
        filled().save(tmp_path / "no such folder" / "memory.sqlite")


def test_a_selection_is_a_copy():
    memory = filled()
    part = memory.select(["s4", "s1"])
    assert part.ids == ["s4", "s1"]
    assert contents(part) == {each: contents(memory)[each] for each in ("s4", "s1")}
    part.remove(["s4"])
    assert "s4" in memory
    with pytest.raises(UnknownSample):
        memory.select(["x"])
    assert memory.bytes_used > part.bytes_used > 0
