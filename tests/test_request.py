"""Requests and the splits that follow from them."""

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from erasable.errors import EmptyRequest, NotErasable, UnknownSample
from erasable.request import Request
from tests.toys import blobs

DATA = blobs(20, owners=5)


def test_ids_keep_their_order_and_lose_their_repeats():
    assert Request("r", ["b", "a", "b", "c", "a"]).ids == ("b", "a", "c")
    assert Request("r", (each for each in "xy")).ids == ("x", "y")


def test_one_id_is_not_a_list_of_letters():
    assert Request("r", "blob/001").ids == ("blob/001",)


@pytest.mark.parametrize("nobody", [[], (), "", iter(())])
def test_a_request_is_never_empty(nobody):
    if nobody == "":
        assert Request("r", nobody).ids == ("",)  # a name like any other; no data set has it
        return
    with pytest.raises(EmptyRequest, match="request 'r' names no samples"):
        Request("r", nobody)


def test_when_it_was_received():
    now = datetime.fromisoformat(Request("r", ["a"]).received)
    assert now.tzinfo is not None
    assert abs(datetime.now(UTC) - now) < timedelta(minutes=1)
    assert Request("r", ["a"], received="2026-01-02T03:04:05+00:00").received == "2026-01-02T03:04:05+00:00"
    assert Request("r", ["a"], "t") == Request("r", ["a"], "t")
    with pytest.raises(dataclasses.FrozenInstanceError):
        Request("r", ["a"]).case = "s"


@given(st.lists(st.sampled_from(DATA.ids), min_size=1, max_size=19))
def test_a_split_is_a_partition(ids):
    request = Request("r", ids)
    split = request.split(DATA)
    assert set(split.forget.ids) == set(ids)
    assert sorted(split.forget.ids + split.retain.ids) == sorted(DATA.ids)
    assert not set(split.forget.ids) & set(split.retain.ids)
    for half in (split.forget, split.retain):
        assert half.table is DATA.table  # views, no copies


def test_an_owner_is_erased_whole():
    split = Request("r", DATA.owned_by("person 2").ids).split(DATA)
    assert set(split.forget.owners) == {"person 2"}
    assert "person 2" not in split.retain.owners


@pytest.mark.parametrize("ids", [["blob/999"], [DATA.ids[0], "blob/999"]])
def test_an_unknown_id_is_an_error_and_never_passes_quietly(ids):
    with pytest.raises(UnknownSample, match="blob/999"):
        Request("r", ids).split(DATA)
    with pytest.raises(UnknownSample):
        Request("r", [DATA.ids[0]]).split(DATA.without([DATA.ids[0]]))


def test_what_was_declared_public_is_not_erased_in_place():
    data = DATA.declare_public(DATA.ids[:3])
    with pytest.raises(NotErasable, match="2 samples were declared public, first 'blob/001'"):
        Request("r", DATA.ids[1:5]).split(data)
    assert len(Request("r", DATA.ids[3:5]).split(data).retain) == 18


def test_something_has_to_stay():
    with pytest.raises(EmptyRequest, match="all 20 samples"):
        Request("r", DATA.ids).split(DATA)
