"""Data sets: views by id, digests, refusals, memory-mapped columns."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import erasable.dataset
from erasable.dataset import Dataset
from erasable.errors import EmptyRequest, InvalidData, UnknownOwner, UnknownSample

IDS = ["a", "b", "c", "d"]


def small(**changed: object) -> Dataset:
    given_: dict = {
        "columns": {"x": torch.arange(8.0).reshape(4, 2), "label": torch.tensor([0, 1, 1, 0])},
        "ids": IDS,
        "owners": ["ann", "ben", "ann", "cleo"],
        "public": [False, False, True, False],
        "name": "small",
    }
    return Dataset.of(**(given_ | changed))


# --- views ---------------------------------------------------------------------------------------------------------


@given(st.integers(2, 30).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.integers(0, n - 1), min_size=1))))
def test_only_and_without_partition_and_keep_rows_with_their_ids(drawn: tuple[int, set[int]]) -> None:
    n, chosen = drawn
    data = Dataset.of({"x": torch.arange(n)}, [f"s{row}" for row in range(n)])
    ids = [f"s{row}" for row in chosen]
    inside, outside = data.only(ids), data.without(ids)
    assert set(inside.ids) == set(ids)
    assert set(inside.ids).isdisjoint(outside.ids)
    assert sorted(inside.ids + outside.ids) == sorted(data.ids)
    for view in (inside, outside):
        assert [f"s{value}" for value in view.read("x").tolist()] == list(view.ids)


@given(st.permutations(IDS), st.integers(0, 3))
def test_only_does_not_depend_on_the_order_or_on_repeats(order: list[str], repeated: int) -> None:
    assert small().only([*order[:3], order[repeated % 3]]).ids == small().only(sorted(order[:3])).ids


def test_views_of_views_share_memory() -> None:
    data = small()
    view = data.without(["a"]).only(["b", "d"])
    assert view.table is data.table
    data.table.columns["x"][3] = 77.0
    assert view.read("x").tolist() == [[2.0, 3.0], [77.0, 77.0]]


def test_positions_are_those_of_the_view() -> None:
    assert small().without(["a", "c"]).positions(["d", "b"]).tolist() == [1, 0]


def test_a_single_id_is_not_a_list_of_letters() -> None:
    data = Dataset.of({"x": torch.arange(2)}, ["cat", "dog"])
    assert data.only("dog").ids == ("dog",)


def test_unknown_id_raises_with_suggestions_and_never_forgets_nothing() -> None:
    data = Dataset.of({"x": torch.arange(3)}, ["digits/00041", "digits/00042", "other"])
    with pytest.raises(UnknownSample, match=r"1 of 2 ids.*'digits/0042'.*did you mean 'digits/00042'") as caught:
        data.only(["other", "digits/0042"])
    assert "\n" not in str(caught.value)
    with pytest.raises(UnknownSample):
        data.without(["digits/0042"])
    with pytest.raises(UnknownSample):
        data.without(["other"]).only(["other"])  # known to the table, gone from the view


def test_naming_nobody_raises() -> None:
    for view in (small().only, small().without, small().positions):
        with pytest.raises(EmptyRequest):
            view([])


def test_owned_by() -> None:
    assert small().owned_by("ann").ids == ("a", "c")
    with pytest.raises(UnknownOwner, match="did you mean 'ann'"):
        small().owned_by("anne")
    with pytest.raises(UnknownOwner):
        small().without(["d"]).owned_by("cleo")
    with pytest.raises(UnknownOwner):
        small(owners=None).owned_by("ann")


def test_where_takes_a_column_of_single_numbers() -> None:
    assert small().where("label", 1).ids == ("b", "c")
    assert len(small().where("label", 9)) == 0
    with pytest.raises(InvalidData, match="one number"):
        small().where("x", 1)


def test_an_unknown_column_is_told_with_those_that_exist() -> None:
    with pytest.raises(InvalidData, match="no column 'lable'; expected one of label, x; did you mean 'label'"):
        small().read("lable")


def test_public_and_private_partition_and_can_be_declared() -> None:
    data = small()
    assert data.public.ids == ("c",)
    assert data.private.ids == ("a", "b", "d")
    more = data.without(["b"]).declare_public(["d"])
    assert more.public.ids == ("c", "d")
    assert data.public.ids == ("c",)  # the original is unchanged


def test_read_follows_the_order_of_positions() -> None:
    data = small().without(["a"])
    assert data.read("x", np.array([2, 0])).tolist() == [[6.0, 7.0], [2.0, 3.0]]
    assert data.read("x", torch.tensor([1, 1])).tolist() == [[4.0, 5.0], [4.0, 5.0]]


# --- refusals ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_nan_and_infinity_are_refused_by_id(bad: float) -> None:
    column = torch.zeros(4, 2)
    column[2, 1] = bad
    for each in (column, column.numpy(), column.half(), column.bfloat16()):
        with pytest.raises(InvalidData, match=r"column 'x'.*first at id 'c'"):
            small(columns={"x": each})


def test_nan_is_found_behind_the_first_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasable.dataset, "CHUNK_BYTES", 3 * 4)  # three rows of one float at a time
    values = np.zeros(10, np.float32)
    values[7] = np.nan
    np.save(tmp_path / "x.npy", values)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    with pytest.raises(InvalidData, match="id 's7'"):
        Dataset.of({"x": mapped}, [f"s{row}" for row in range(10)])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"ids": ["a", "b", "b", "c"]}, "id 'b' of 'small' stands for 2 samples"),
        ({"ids": ["a", "a", "b", "b", "b"], "columns": {"x": torch.zeros(5)}}, "id 'a' of 'small' stands for 2"),
        ({"columns": {"x": torch.zeros(3)}}, "column 'x' of 'small' has 3 rows; expected 4"),
        ({"ids": [], "columns": {"x": torch.zeros(0)}}, "0 samples"),
        ({"columns": {}}, "0 columns"),
        ({"owners": ["ann"]}, "1 owners; expected 4"),
        ({"public": [True]}, "public mask"),
        ({"columns": {"x": np.array(IDS)}}, "column 'x' of 'small' holds <U1"),
        ({"columns": {"x": np.zeros(4, ">f4")}}, "native byte order"),
        ({"columns": {"x": np.zeros(4, object)}}, "holds object"),
    ],
)
def test_of_refuses(changed: dict, message: str) -> None:
    with pytest.raises(InvalidData, match=message) as caught:
        small(**changed)
    assert "\n" not in str(caught.value)


# --- changed copies ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32, np.float16, np.bool_, np.uint16])
def test_replace_changes_these_values_and_nothing_else(tmp_path: Path, dtype: type) -> None:
    values = np.array([[0, 1], [1, 0], [0, 0], [1, 1]]).astype(dtype)
    np.save(tmp_path / "x.npy", values)
    columns = (torch.from_numpy(values), values, np.load(tmp_path / "x.npy", mmap_mode="r"))
    digests = set()
    for column in columns:
        data = Dataset.of({"x": column, "label": torch.arange(4)}, IDS, owners=["o"] * 4)
        before, view = data.digest(), data.without(["b"])
        changed = view.replace("x", ["d", "a"], torch.tensor([[0, 1], [1, 0]]))
        assert changed.ids == view.ids
        assert changed.read("x").tolist() == torch.from_numpy(np.array([[1, 0], [0, 0], [0, 1]], dtype)).tolist()
        assert changed.read("x").dtype == data.read("x").dtype
        assert changed.table.columns["label"] is data.table.columns["label"]
        assert Dataset.of({"x": column, "label": torch.arange(4)}, IDS, owners=["o"] * 4).digest() == before
        digests.add(changed.digest())
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("label", ["e"], torch.tensor([1])), UnknownSample, "'e'"),
        (("label", [], torch.tensor([])), EmptyRequest, "no ids"),
        (("lable", ["a"], torch.tensor([1])), InvalidData, "no column 'lable'"),
        (("label", ["a", "b", "a"], torch.tensor([1, 0, 0])), InvalidData, "id 'a' is named twice"),
        (("label", ["a"], torch.tensor([1, 0])), InvalidData, r"shape \(2,\).*expected \(1,\)"),
        (("x", ["a"], torch.tensor([1.0])), InvalidData, r"expected \(1, 2\)"),
        (("label", ["a"], torch.tensor([0.5])), InvalidData, r"0\.5 for column 'label'.*int64"),
        (("x", ["a", "c"], torch.tensor([[1.0, 2], [3, torch.nan]])), InvalidData, "NaN or infinity, first at id 'c'"),
    ],
)
def test_replace_refuses(arguments: tuple, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        small().replace(*arguments)
    assert "\n" not in str(caught.value)


def test_replace_refuses_what_the_type_would_wrap() -> None:
    with pytest.raises(InvalidData, match="300 for column 'x'"):
        Dataset.of({"x": torch.zeros(2, dtype=torch.uint8)}, ["a", "b"]).replace("x", "b", torch.tensor([300]))


def test_with_copies_appends_the_same_samples_under_other_names() -> None:
    data = small()
    before, view = data.digest(), data.without(["b"])
    more = view.with_copies(["d", "c"], ["d2", "c2"])
    assert more.ids == ("a", "c", "d", "d2", "c2")
    assert more.owners == ("ann", "ann", "cleo", "cleo", "ann")
    assert more.public.ids == ("c", "c2")
    assert more.read("x").tolist() == [[0, 1], [4, 5], [6, 7], [6, 7], [4, 5]]
    assert more.read("label").tolist() == [0, 1, 0, 0, 1]
    assert more.only(view.ids).digest() == view.digest()
    assert data.digest() == before
    assert view.with_copies(["a"], ["a2"], owners=["zoe"]).owned_by("zoe").ids == ("a2",)
    assert view.with_copies(["a", "a"], ["a2", "a3"]).only(["a2", "a3"]).read("x").tolist() == [[0, 1], [0, 1]]
    assert small(owners=None).with_copies(["a"], ["a2"]).owners is None


def test_with_copies_refuses() -> None:
    for arguments, changed, message in (
        ((["a"], ["b"]), {}, "id 'b' of 'small' stands for 2"),
        ((["a"], ["e", "f"]), {}, "1 samples to copy, 2 names"),
        ((["a", "b"], ["e", "f"]), {"owners": ["one"]}, "and 1 owners"),
    ):
        with pytest.raises(InvalidData, match=message):
            small().with_copies(*arguments, **changed)
    with pytest.raises(InvalidData, match="no owners"):
        small(owners=None).with_copies(["a"], ["e"], owners=["ann"])
    with pytest.raises(UnknownSample):
        small().with_copies(["z"], ["e"])


# --- identity ------------------------------------------------------------------------------------------------------


def test_digest_is_of_content_order_owners_and_public() -> None:
    same, other = small().digest(), [
        small(ids=["a", "b", "c", "e"]),
        small(owners=None),
        small(owners=["ann", "ben", "ann", "dora"]),
        small(public=None),
        small(columns={"x": torch.arange(8.0).reshape(4, 2), "label": torch.tensor([0, 1, 1, 1])}),
        small(columns={"y": torch.arange(8.0).reshape(4, 2), "label": torch.tensor([0, 1, 1, 0])}),
        small(columns={"x": torch.arange(8.0).reshape(4, 2).double(), "label": torch.tensor([0, 1, 1, 0])}),
        small(columns={"x": torch.arange(8.0).reshape(4, 2, 1), "label": torch.tensor([0, 1, 1, 0])}),
        small().take(np.array([1, 0, 2, 3])),
        small().without(["a"]),
    ]  # fmt: skip
    assert small().digest() == same
    assert len({same, *(each.digest() for each in other)}) == 1 + len(other)


def test_digest_of_a_view_is_that_of_the_same_samples_alone() -> None:
    view = small().only(["b", "d"])
    alone = Dataset.of({"x": torch.tensor([[2.0, 3], [6, 7]]), "label": torch.tensor([1, 0])}, ["b", "d"],
                       owners=["ben", "cleo"], name="another name")  # fmt: skip
    assert view.digest() == alone.digest()


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32, np.float64, np.float16, np.bool_, np.uint16])
def test_memory_map_array_and_tensor_are_the_same_data(tmp_path: Path, dtype: type) -> None:
    values = (np.arange(4 * 3 * 2) % 7).reshape(4, 3, 2).astype(dtype)
    np.save(tmp_path / "x.npy", values)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    sets = [Dataset.of({"x": column}, IDS) for column in (torch.from_numpy(values), values, mapped)]
    turned = Dataset.of({"x": np.asfortranarray(values)}, IDS)
    assert isinstance(sets[2].table.columns["x"], np.memmap)
    assert len({each.digest() for each in (*sets, turned)}) == 1
    for data in (*sets, turned):
        assert torch.equal(data.without(["b"]).read("x"), torch.from_numpy(values[[0, 2, 3]]))


def test_what_is_read_from_a_memory_map_may_be_written_to(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((4, 2), np.float32))
    data = Dataset.of({"x": np.load(tmp_path / "x.npy", mmap_mode="r")}, IDS)
    read = data.read("x")
    read += 1.0
    assert data.read("x").sum() == 0  # the file is untouched


def test_digest_does_not_depend_on_the_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = small().digest()
    monkeypatch.setattr(erasable.dataset, "CHUNK_BYTES", 1)
    assert small().digest() == whole


def test_digest_of_brain_floats() -> None:
    one, other = torch.tensor([1.0, 2, 3, 4]).bfloat16(), torch.tensor([1.0, 2, 3, 5]).bfloat16()
    assert small(columns={"x": one}).digest() != small(columns={"x": other}).digest()


def test_moving_keeps_ids_rows_and_digest() -> None:
    view = small().without(["a"])
    assert view.to("cpu").digest() == view.digest()
    assert view.to("cpu").ids == view.ids


def test_repr_tells_name_size_and_shapes() -> None:
    assert repr(small().only(["a"])) == "Dataset('small', 1 samples, x[2], label[])"
