"""Which unlearner `auto` takes, and what it says."""

import pytest

from erasable import catalog, choice
from erasable.choice import FILE, choose, kind_of, measured, read_measured, write_measured
from erasable.errors import EmptyRequest, InvalidData, UnknownSample
from tests.toys import blob_task, blobs, curve

TASK, DATA = blob_task(), blobs(60, owners=7)
SOME, OWNER, CLASS = DATA.ids[:5], DATA.owned_by("person 2").ids, DATA.where("label", 1).ids


def row(unlearner, leaks=0.1, lost=0.5, seconds=1.0, request="samples", **more):
    return {
        "unlearner": unlearner,
        "request": request,
        "leaks": leaks,
        "accuracy_lost": lost,
        "seconds": seconds,
    } | more


def chosen(*rows, ids=SOME, **more):
    return choose(ids, DATA, TASK, table=measured(rows, "by hand"), **more)


def test_the_kind_of_a_request():
    assert kind_of(SOME, DATA, TASK) == "samples"
    assert kind_of(OWNER, DATA, TASK) == "owner"
    assert kind_of([*OWNER, *DATA.owned_by("person 0").ids], DATA, TASK) == "owner"
    assert kind_of([*OWNER, *SOME], DATA, TASK) == "samples"
    assert kind_of(CLASS, DATA, TASK) == "class"
    assert kind_of(CLASS[1:], DATA, TASK) == "samples"
    assert kind_of(CLASS[1:], DATA.without(CLASS[:1]), TASK) == "class"  # one was erased before
    assert kind_of(blobs().ids[:2], blobs(), TASK) == "samples"  # no owners
    assert kind_of(curve().ids[:2], curve(), object()) == "samples"
    with pytest.raises(UnknownSample):
        kind_of(["nobody"], DATA, TASK)
    with pytest.raises(EmptyRequest):
        kind_of([], DATA, TASK)


def test_the_least_leaky_then_the_most_accurate_then_the_fastest():
    assert chosen(row("ssd", leaks=0.2), row("scrub", lost=1.5), row("finetune", leaks=0.15)).name == "scrub"
    assert chosen(row("ssd", lost=0.3), row("scrub")).name == "ssd"
    assert chosen(row("ssd", seconds=3.0), row("scrub")).name == "scrub"
    assert chosen(row("ssd", leaks=0.1001, seconds=0.5), row("scrub")).name == "ssd"  # no difference but the time


def test_settings_are_averaged_over_their_audits():
    found = chosen(row("ssd", leaks=0.0, audits=9), row("ssd", leaks=1.0, audits=1), row("scrub", leaks=0.12))
    assert found.name == "ssd"
    assert "the best of 2 that were measured: it leaked in 10 % of 10 audits" in found.why


def test_only_what_was_measured_on_such_requests_counts():
    rows = row("ssd", request="class"), row("scrub", request="owner"), row("finetune")
    for ids, name in ((CLASS, "ssd"), (OWNER, "scrub"), (SOME, "finetune")):
        assert chosen(*rows, ids=ids).name == name
    found = chosen(rows[0])
    assert (found.name, "nothing that fits was measured" in found.why) == ("retrain", True)


def test_what_is_not_good_enough_is_not_chosen():
    for bad in (row("ssd", leaks=0.3), row("ssd", lost=2.5)):
        found = chosen(bad)
        assert found.name == "retrain"
        assert "none of 1 measured unlearners" in found.why
    assert chosen(row("ssd", leaks=0.3), row("scrub", leaks=0.25)).name == "scrub"


def test_what_was_good_when_tuned_is_named_and_not_chosen():
    found = chosen(row("ssd", leaks=0.0, tuned=True), row("scrub", leaks=1.0, tuned=True), row("finetune", leaks=1.0))
    assert found.name == "retrain"
    assert "none of 1 measured unlearners" in found.why
    assert "(tuned, ssd leaked in 0 % of 1 audits and took 1.0 s: see 'erasable tune')" in found.why
    assert "tuned" not in chosen(row("scrub"), row("ssd", leaks=0.0, tuned=True)).why
    assert "tuned" not in chosen(row("ssd", leaks=0.9, tuned=True)).why


def test_baselines_are_never_chosen_for_what_they_measured():
    found = chosen(row("nothing", leaks=0.0, lost=0.0), row("retrain", leaks=0.0, lost=0.0))
    assert (found.name, "nothing that fits" in found.why) == ("retrain", True)


def test_the_data_at_hand_decide():
    rows = row("ssd"), row("gradient-ascent", leaks=0.2, lost=1.0), row("finetune", leaks=0.2)
    assert chosen(*rows).name == "ssd"
    assert chosen(*rows, have=frozenset({"forget"})).name == "gradient-ascent"
    assert chosen(*rows, have=frozenset({"retain"})).name == "finetune"
    only = frozenset({"forget"})
    worst = chosen(row("gradient-ascent", leaks=0.9), row("cupid", leaks=0.8), have=only)
    assert (worst.name, "leaked least, in 80 %" in worst.why) == ("cupid", True)
    assert "expect leaks" in chosen(have=only).why
    assert chosen(have=only).name == "gradient-ascent"
    assert chosen(have=frozenset()).name == "nothing"


def test_without_a_table_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(choice, "FILE", tmp_path / "none.json")
    found = choose(SOME, DATA, TASK)
    assert found.name == "retrain"
    assert found.why == ("auto chose retrain: for single samples, with forget and retain data at hand, no table of "
                         "measurements is stored: training again, which is exact.")  # fmt: skip
    assert found.unlearner == catalog.UNLEARNERS["retrain"]()


def test_a_table_is_stored_and_read(tmp_path, monkeypatch):
    monkeypatch.setattr(choice, "FILE", tmp_path / "table.json")
    made = write_measured([row("ssd", setting="digits, mlp", audits=3)], about="a test")
    assert read_measured() == read_measured(tmp_path / "table.json") == made
    assert choose(SOME, DATA, TASK).name == "ssd"


@pytest.mark.parametrize("wrong", [row("sdd"), row("ssd", leaks=2.0), row("ssd", request="everybody"),
                                   row("ssd", more=1), {"unlearner": "ssd"}])  # fmt: skip
def test_a_table_of_another_form_is_refused(tmp_path, wrong):
    file = tmp_path / "table.json"
    with pytest.raises(InvalidData):
        write_measured([wrong], about="", file=file)
    assert not file.exists()
    file.write_text("no table")
    with pytest.raises(InvalidData, match=r"table\.json"):
        read_measured(file)


def test_what_is_stored_in_the_package_can_be_read():
    table = read_measured()
    assert (table is not None) == FILE.exists()
    for ids in (SOME, OWNER, CLASS):
        assert choose(ids, DATA, TASK).name in catalog.UNLEARNERS
