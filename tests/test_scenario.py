"""Scenarios: requests that can be carried out in their order, or an error."""

import json

import pytest

from erasable.errors import EmptyRequest, NotErasable, SettingsError, UnknownSample
from erasable.request import Request
from erasable.scenario import Scenario
from tests.toys import blobs

DATA = blobs(6)
A, B = Request("a", ["blob/000"]), Request("b", ["blob/001", "blob/002"])


def test_one_request_and_several():
    one, two = Scenario("one", DATA, (A,), "truth"), Scenario("two", DATA, (A, B), "truth")
    assert one.request is A
    assert [each.ids for each in two.requests] == [A.ids, B.ids]
    with pytest.raises(SettingsError, match="which has 2"):
        _ = two.request


def test_before_is_what_the_earlier_requests_left():
    two = Scenario("two", DATA, (A, B), "truth")
    assert [two.before(i).ids for i in range(3)] == [DATA.ids, DATA.ids[1:], DATA.ids[3:]]
    for wrong in (-1, 3):
        with pytest.raises(SettingsError, match="0 to 2"):
            two.before(wrong)


@pytest.mark.parametrize(
    ("data", "requests", "error"),
    [
        (DATA, (), EmptyRequest),
        (DATA, (Request("c", ["nobody"]),), UnknownSample),
        (DATA, (B, Request("again", ["blob/003", "blob/001"])), UnknownSample),  # gone by then
        (DATA, (A, Request("the rest", DATA.ids[1:])), EmptyRequest),
        (DATA.declare_public(["blob/000"]), (A,), NotErasable),
    ],
)
def test_what_cannot_be_carried_out_is_refused(data, requests, error):
    with pytest.raises(error):
        Scenario("bad", data, requests, "truth")


def test_an_empty_group_is_refused():
    with pytest.raises(EmptyRequest, match="group 'nobody'"):
        Scenario("bad", DATA, (A,), "truth", {"nobody": DATA.where("label", 9)})


def test_the_record_is_json_with_all_ids():
    scenario = Scenario("one", DATA, (A,), "truth", {"others": DATA.only(["blob/004"])}, {"seed": 3})
    read = json.loads(json.dumps(scenario.record()))
    assert read["requests"] == [{"case": "a", "ids": ["blob/000"]}]
    assert read["groups"] == {"others": ["blob/004"]}
    assert (read["digest"], read["facts"], read["truth"]) == (DATA.digest(), {"seed": 3}, "truth")
