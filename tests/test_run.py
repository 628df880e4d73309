"""The run folder: what comes back, what leaves it, and what happens when something is wrong with it."""

import json
import os
import random
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from errno import ENOSPC

import numpy as np
import pytest
import torch

import erasable
from erasable._plumbing import epilogue, storage
from erasable._plumbing.residue import probe
from erasable.dataset import Dataset
from erasable.errors import (
    AlreadyForgotten,
    CorruptRun,
    DiskFull,
    EmptyRequest,
    ErasableError,
    NewerVersion,
    NotErasable,
    NotForgettable,
    SettingsError,
    StorageError,
    UnknownName,
    UnknownOwner,
    UnknownSample,
    WrongDigest,
)
from erasable.receipt import Exposure
from erasable.request import Request
from erasable.run import Run
from erasable.unlearner import weights_digest
from tests.toy_run import Extra, Shift, Toy, ToyModel, ToyRefit, ToyTask, pattern, planted, stub_catalog

SPEC = {"name": "planted", "rows": 120}


@pytest.fixture(autouse=True)
def catalog(monkeypatch):
    stub = stub_catalog()
    monkeypatch.setitem(__import__("sys").modules, "erasable.catalog", stub)
    monkeypatch.setattr(erasable, "catalog", stub, raising=False)
    return stub


def trained(data: Dataset, method: Toy | None = None) -> ToyModel:
    return (method or Toy()).train(data, ToyTask(), seeds=[0])[0]


@pytest.fixture
def data() -> Dataset:
    return planted(120, public=20)


@pytest.fixture
def run(tmp_path, data) -> Run:
    return Run.create(tmp_path / "run", trained(data), data=data, spec=SPEC)


def state_of(run: Run) -> dict:
    """Everything that a reader of the run can see."""
    model = run.model
    memory = model.memory
    return {
        "weights": weights_digest(model),
        "memory": memory and memory.digest(),
        "rows": memory and {each: memory.keys[row].numpy().tobytes() for row, each in enumerate(memory.ids)},
        "exposure": run.exposure.parts,
        "ids": run.ids,
        "erased": run.erased,
        "receipts": run.receipts,
    }


def holds(run: Run, i: int) -> list[str]:
    """The files that hold the planted bytes of sample i; the slow way."""
    files = [each for each in run.path.rglob("*") if each.is_file()]
    return [str(each.relative_to(run.path)) for each in files if pattern(i) in each.read_bytes()]


def ask(run: Run, query: str) -> list:
    with closing(sqlite3.connect(run.path / "memory.sqlite")) as connection:
        return connection.execute(query).fetchall()


def one_line(caught) -> str:
    message = str(caught.value)
    assert "\n" not in message
    assert ";" in message
    return message


# --- making and opening --------------------------------------------------------------------------------------------


def test_a_run_comes_back(run, data):
    again = Run.open(run.path)
    assert state_of(again) == state_of(run)
    assert again.manifest == run.manifest
    assert again.ids == data.ids
    assert again.model.method == Toy()
    assert again.model.task == ToyTask()
    assert again.receipts == ()
    assert sorted(each.name for each in run.path.iterdir()) == [
        "manifest.json", "memory.sqlite", "model-0000.safetensors", "receipts", "reports"]  # fmt: skip
    assert [each.name for each in run.path.parent.iterdir()] == ["run"]


def test_settings_come_back_with_their_types(tmp_path, data):
    method = Toy(names=("a", "b"), extra=Extra(rate=2), limit=0.5)  # an int where a float is declared
    Run.create(tmp_path / "r", trained(data, method), data=data, spec=SPEC)
    again = Run.open(tmp_path / "r").model.method
    assert again == method
    assert isinstance(again.names, tuple)
    assert isinstance(again.extra, Extra)
    assert isinstance(again.extra.rate, float)


def test_the_manifest_says_how_the_model_came_to_be(run, data):
    manifest = json.loads((run.path / "manifest.json").read_text())
    assert manifest["method"]["name"] == "toy"
    assert manifest["task"] == {"name": "toy-task", "settings": {"shape": [16], "classes": 3, "draws": 0}}
    assert manifest["data"] == {"spec": SPEC, "name": "planted", "samples": 120, "digest": data.digest()}
    assert manifest["exposure"] == {"encoder": 20, "head": 60}
    assert manifest["memory"] == {"rows": 100, "key_width": 16, "value_width": 0}
    assert manifest["libraries"]["torch"] == torch.__version__


def test_a_model_without_memory(tmp_path, data):
    run = Run.create(tmp_path / "r", trained(data, Toy(forgetful=False)), data=data, spec=SPEC)
    again = Run.open(run.path)
    assert state_of(again) == state_of(run)
    assert again.model.memory is None
    assert again.manifest["memory"] is None
    with pytest.raises(NotForgettable):
        again.forget(again.request("c", ids=["s1"]))


def test_samples_that_were_erased_before_the_run_began_stay_erased(tmp_path, data):
    model = trained(data)
    model.forget(["s4"])
    run = Run.create(tmp_path / "r", model, data=data, spec=SPEC)
    for each in (run, Run.open(run.path)):
        assert each.erased == {"s4": 0}
        assert "s4" not in each.ids
        with pytest.raises(AlreadyForgotten, match="gone when the run began"):
            each.request("c", ids=["s4"])


def test_a_used_folder_is_refused(run, data, tmp_path):
    before = state_of(Run.open(run.path))
    with pytest.raises(StorageError, match="is in use") as caught:
        Run.create(run.path, trained(data), data=data, spec=SPEC)
    one_line(caught)
    assert state_of(Run.open(run.path)) == before
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="is in use"):
        Run.create(tmp_path / "file", trained(data), data=data, spec=SPEC)
    (tmp_path / "empty").mkdir()
    Run.create(tmp_path / "empty", trained(data), data=data, spec=SPEC)
    assert Run.open(tmp_path / "empty").ids == data.ids


def test_a_spec_must_be_json(tmp_path, data):
    for spec in ({"a": {1, 2}}, {"a": float("nan")}):
        with pytest.raises(SettingsError, match="no JSON"):
            Run.create(tmp_path / "r", trained(data), data=data, spec=spec)
    assert list(tmp_path.iterdir()) == []


# --- requests ------------------------------------------------------------------------------------------------------


def test_requests_by_id_owner_and_label(run, data):
    assert run.request("c", ids=["s3", "s1", "s3"]).ids == ("s3", "s1")
    assert run.request("c", ids="s3").ids == ("s3",)
    owned = run.request("c", label=1, received="2026-01-02T03:04:05+00:00")
    assert owned.received == "2026-01-02T03:04:05+00:00"
    assert owned.ids == tuple(f"s{i}" for i in range(100) if i % 3 == 1)  # none of the public ones
    private = planted(50)
    other = Run.create(run.path.parent / "other", trained(private), data=private, spec=SPEC)
    assert other.request("c", owner="owner 7").ids == tuple(f"s{i}" for i in range(50) if i % 10 == 7)
    assert other.request("c", owner="owner 7", data=private).ids


@pytest.mark.parametrize(
    ("ask", "error", "says"),
    [
        ({"ids": ["s1", "s12x"]}, UnknownSample, "1 of 2 ids .* did you mean"),
        ({"ids": []}, EmptyRequest, "names no samples"),
        ({"owner": "owner x"}, UnknownOwner, "one of its 10 owners; did you mean"),
        ({"owner": "owner 1"}, NotErasable, "first 's101'"),  # some of theirs was declared public
        ({"label": 9}, EmptyRequest, "names no samples"),
        ({"ids": ["s110"]}, NotErasable, "declared public"),
        ({"ids": ["s1"], "owner": "owner 1"}, SettingsError, "exactly one"),
        ({}, SettingsError, "exactly one"),
    ],
)
def test_requests_that_name_nobody(run, ask, error, says):
    before = state_of(run)
    with pytest.raises(error, match=says) as caught:
        run.request("c", **ask)
    one_line(caught)
    assert state_of(run) == before


def test_a_second_request_for_the_same_sample_names_the_receipt(run):
    run.forget(run.request("first", ids=["s1"]))
    run.forget(run.request("second", ids=["s2", "s3"]))
    for each in (run, Run.open(run.path)):
        with pytest.raises(AlreadyForgotten, match=r"1 of 2 ids .* first 's3'.* receipt 0002") as caught:
            each.request("c", ids=["s5", "s3"])
        one_line(caught)
        with pytest.raises(AlreadyForgotten):
            each.forget(Request("by hand", ["s3"]))


# --- erasing -------------------------------------------------------------------------------------------------------


def test_forgetting_erases_in_ram_and_on_disk(run):
    assert holds(run, 7) == ["memory.sqlite"]  # the search can find
    receipt = run.forget(run.request("case 1", ids=["s7", "s8"]))
    assert receipt.erasure == "L2"
    assert receipt.level == "revoked"  # the head was fitted on s8
    assert receipt.exposure == {"head": 1}
    assert not any(each.startswith(epilogue.HERE) for each in receipt.not_reached)
    assert epilogue.TOMBSTONES in receipt.not_reached
    assert holds(run, 7) == holds(run, 8) == []
    assert holds(run, 9) == ["memory.sqlite"]
    assert pattern(7) not in run.model.memory._columns["keys"].numpy().tobytes()
    again = Run.open(run.path)
    assert state_of(again) == state_of(run)
    assert again.receipts == (receipt,)
    assert again.erased == {"s7": 1, "s8": 1}
    assert again.model.memory.forgotten == {"s7", "s8"}
    assert json.loads((run.path / "receipts" / "0001.json").read_text())["case"] == "case 1"
    assert sorted(each.name for each in run.path.iterdir()) == [
        "manifest.json", "memory.sqlite", "model-0000.safetensors", "receipts", "reports"]  # fmt: skip


def test_what_remains_equals_a_run_that_never_had_them(run, data, tmp_path):
    run.forget(run.request("c", ids=["s7", "s50", "s99"]))
    never = trained(data.without(["s7", "s50", "s99"]))
    assert Run.open(run.path).model.memory.digest() == never.memory.digest()


def test_the_tombstone_keeps_the_id_and_nothing_else(run, data):
    query = "SELECT owner, label, content, erased FROM samples WHERE id = 's7'"
    ((owner, label, content, erased),) = ask(run, query)
    assert (owner, label, erased) == ("owner 7", 1, None)
    assert content in (run.path / "memory.sqlite").read_bytes()
    run.forget(run.request("c", ids=["s7"]))
    assert ask(run, query) == [(None, None, None, 1)]
    assert ask(run, "SELECT count(*) FROM pending") == [(0,)]
    assert content not in (run.path / "memory.sqlite").read_bytes()


def test_erased_owners_leave_the_files(tmp_path):
    data = planted(400)
    names = [f"SOMEBODY {i:05d} IN PARTICULAR" for i in range(400)]
    data = Dataset.of(data.table.columns, data.ids, owners=names)
    run = Run.create(tmp_path / "r", trained(data), data=data, spec=SPEC)
    order = random.Random(0).sample(range(400), 400)
    for start in range(0, 360, 40):
        run.forget(run.request("c", ids=[f"s{i}" for i in order[start : start + 40]]))
    found = probe(run.path, [names[i].encode() for i in order[:360]])
    assert set(found.values()) == {0}
    assert probe(run.path, [names[i].encode() for i in order[360:]])["memory.sqlite"] == 40


def test_many_small_erasures_leave_no_copy_in_rearranged_pages(tmp_path):
    data = planted(600)
    run = Run.create(tmp_path / "r", trained(data), data=data, spec=SPEC)
    order = random.Random(1).sample(range(600), 600)
    for start in range(0, 580, 20):
        gone = order[start : start + 20]
        assert run.forget(run.request("c", ids=[f"s{i}" for i in gone])).erasure == "L2"
    needles = [pattern(i) * 2 for i in range(600)]
    found = probe(run.path, needles)
    assert found.pop("memory.sqlite") == 20
    assert set(found.values()) == {0}
    assert len(Run.open(run.path).model.memory) == 20


def test_copies_in_slack_are_found_and_written_away(run, monkeypatch):
    """Without secure_delete a deleted row stays in its page; the search notices, and the file is rebuilt."""
    real = storage.prepare

    def careless(connection):
        real(connection)
        connection.execute("PRAGMA secure_delete = OFF")

    rebuilt = []
    purge = storage.purge
    monkeypatch.setattr(storage, "prepare", careless)
    monkeypatch.setattr(storage, "purge", lambda connection, rebuild=False: (
        rebuilt.append(rebuild), purge(connection, rebuild=rebuild)))  # fmt: skip
    receipt = run.forget(run.request("c", ids=["s7"]))
    assert True in rebuilt
    assert receipt.erasure == "L2"
    assert holds(run, 7) == []
    assert len(Run.open(run.path).model.memory) == 99


def test_a_copy_that_cannot_be_reached_keeps_the_receipt_at_l1(run):
    copy = run.path / "reports" / "audit.json"
    copy.write_bytes(b"x" + pattern(7) * 3)
    receipt = run.forget(run.request("c", ids=["s7"]))
    assert receipt.erasure == "L1"
    assert receipt.not_reached[0] == f"{epilogue.HERE}erased bytes were found in reports/audit.json"
    assert Run.open(run.path).receipts == (receipt,)  # as long as the file is there
    copy.unlink()
    (after,) = Run.open(run.path).receipts
    assert after.erasure == "L2"
    assert after.not_reached == receipt.not_reached[1:]
    assert json.loads((run.path / "receipts" / "0001.json").read_text())["erasure"] == "L2"


def test_bytes_that_another_sample_holds_too_cannot_be_claimed(tmp_path):
    data = planted(40)
    columns = {name: column.clone() for name, column in data.table.columns.items()}
    columns["x"][5] = columns["x"][6]
    twins = Dataset.of(columns, data.ids)
    run = Run.create(tmp_path / "r", trained(twins), data=twins, spec=SPEC)
    receipt = run.forget(run.request("c", ids=["s5"]))
    assert receipt.erasure == "L1"
    assert epilogue.UNSEARCHED in receipt.not_reached[0]
    assert run.forget(run.request("c", ids=["s8", "s6"])).erasure == "L2"  # now nobody has them
    assert holds(run, 6) == []


def test_rows_too_bland_to_search_for(tmp_path):
    data = planted(20)
    flat = Dataset.of({"x": torch.zeros(20, 16), "label": data.read("label")}, data.ids)
    run = Run.create(tmp_path / "r", trained(flat), data=flat, spec=SPEC)
    receipt = run.forget(run.request("c", ids=["s5"]))
    assert receipt.erasure == "L1"
    assert epilogue.UNSEARCHED in receipt.not_reached[0]


@pytest.mark.parametrize("name", ["a rather long name", "a name that is longer than what is searched for"])
def test_short_keys_are_searched_for_with_their_ids(tmp_path, name):
    data = planted(30)
    names = [f"{name} {i}" for i in range(30)]
    short = Dataset.of({"x": data.read("x")[:, :2], "label": data.read("label")}, names)
    model = Toy().train(short, ToyTask(shape=(2,)), seeds=[0])[0]
    run = Run.create(tmp_path / "r", model, data=short, spec=SPEC)
    needle = names[3].encode() + data.read("x")[3, :2].numpy().tobytes()
    assert probe(run.path, [needle])["memory.sqlite"] == 1  # id and key do lie next to each other
    assert run.forget(run.request("c", ids=names[3:4])).erasure == "L2"
    assert probe(run.path, [needle])["memory.sqlite"] == 0


def test_a_kill_before_the_search_leaves_l1_and_opening_completes_it(run, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    request = run.request("c", ids=["s7"])
    with monkeypatch.context() as patch:
        patch.setattr(epilogue, "settle", killed)
        with pytest.raises(KeyboardInterrupt):
            run.forget(request)
    assert '"L1"' in ask(run, "SELECT body FROM receipts")[0][0]
    assert ask(run, "SELECT count(*) FROM pending") == [(1,)]
    assert "s7" not in run.model.memory  # the transaction was through
    again = Run.open(run.path)
    assert again.receipts[0].erasure == "L2"
    assert holds(again, 7) == []
    assert state_of(again) == state_of(run)


def test_a_full_disk_after_the_transaction_is_told_on_the_receipt(run, monkeypatch):
    def full(*_, **__):
        raise DiskFull("no space left", expected="room", do="free some")

    with monkeypatch.context() as patch:
        patch.setattr(storage, "purge", full)
        receipt = run.forget(run.request("c", ids=["s7"]))
    assert receipt.erasure == "L1"
    assert "no space left" in receipt.not_reached[0]
    assert Run.open(run.path).receipts[0].erasure == "L2"
    assert holds(run, 7) == []


# --- erasures that change weights ----------------------------------------------------------------------------------


def test_a_refit_replaces_the_weights_and_the_exposure(tmp_path):
    data = planted(120)
    run = Run.create(tmp_path / "r", trained(data, ToyRefit(rekeys=True)), data=data, spec=SPEC)
    old = (run.path / "model-0000.safetensors").read_bytes()
    receipt = run.forget(run.request("c", ids=["s2", "s7"]), data=data)
    assert receipt.level == "exact"
    assert receipt.erasure == "L2"
    assert receipt.weights_before != receipt.weights_after
    assert [each.name for each in run.path.glob("model-*")] == ["model-0001.safetensors"]
    table = old[-8 * 16 * 4 :]
    assert not any(table[:64] in each.read_bytes() for each in run.path.rglob("*") if each.is_file())
    again = Run.open(run.path)
    assert state_of(again) == state_of(run)
    assert "s2" not in again.exposure.parts["head"]
    assert "s4" in again.exposure.parts["head"]
    rekeyed = again.model.memory
    assert any(not np.array_equal(rekeyed.keys[rekeyed.rows([each])[0]], data.read("x")[int(each[1:])])
               for each in rekeyed.ids)  # the stored row followed the new encoder  # fmt: skip


def test_an_unlearner_replaces_the_weights(tmp_path, data):
    run = Run.create(tmp_path / "r", trained(data, Toy(forgetful=False)), data=data, spec=SPEC)
    before = run.model
    receipt = run.forget(run.request("c", ids=["s1"]), data=data, unlearner=Shift())
    assert receipt.level == "empirical"
    assert receipt.erasure == "L2"
    assert run.model is not before
    again = Run.open(run.path)
    assert state_of(again) == state_of(run)
    assert "s1" not in again.ids


def test_the_data_are_compared_sample_by_sample(tmp_path):
    data = planted(60)
    run = Run.create(tmp_path / "r", trained(data, ToyRefit()), data=data, spec=SPEC)
    before = state_of(run)
    columns = {name: column.clone() for name, column in data.table.columns.items()}
    columns["x"][20, 3] += 1e-3
    wrong = {
        "other contents, first 's20'": Dataset.of(columns, data.ids, name="planted"),
        "missing, first 's10'": data.without(["s10"]),
        "unknown, first 's60'": planted(61),
    }
    for says, other in wrong.items():
        with pytest.raises(WrongDigest, match=says) as caught:
            run.forget(run.request("c", ids=["s1"]), data=other)
        assert '"name": "planted"' in one_line(caught)
        with pytest.raises(WrongDigest):
            run.request("c", ids=["s1"], data=other)
    assert state_of(run) == before == state_of(Run.open(run.path))
    shuffled = data.take(torch.randperm(60, generator=torch.Generator().manual_seed(0)))
    run.forget(run.request("c", ids=["s1"]), data=shuffled)


def test_what_was_erased_before_is_not_shown_to_a_refit(tmp_path):
    data = planted(60)
    run = Run.create(tmp_path / "r", trained(data, ToyRefit()), data=data, spec=SPEC)
    run.forget(run.request("c", ids=["s1", "s2"]), data=data)
    run.forget(run.request("c", ids=["s3"]), data=data)  # the caller's data still hold s1 and s2
    assert set(run.model.seen) == set(data.ids) - {"s1", "s2", "s3"}
    run = Run.open(run.path)
    run.forget(run.request("c", ids=["s4"]), data=data.without(["s1", "s3"]))  # or hold one of them only
    assert set(run.model.seen) == set(data.ids) - {"s1", "s2", "s3", "s4"}
    never = trained(data.without(["s1", "s2", "s3", "s4"]), ToyRefit())
    assert torch.equal(run.model.mean, never.mean)


# --- failures ------------------------------------------------------------------------------------------------------


def test_a_method_that_fails_half_way_is_loaded_anew(tmp_path):
    data = planted(60)
    run = Run.create(tmp_path / "r", trained(data, Toy(breaks=True)), data=data, spec=SPEC)
    before = state_of(run)
    with pytest.raises(RuntimeError, match="half way"):
        run.forget(run.request("c", ids=["s1", "s2"]))
    assert "s1" in run.model.memory
    assert state_of(run) == before


@pytest.mark.parametrize("method", [Toy(), ToyRefit(rekeys=True)])
def test_a_full_disk_at_any_moment_changes_all_or_nothing(tmp_path, monkeypatch, method):
    """The n-th fsync fails, for every n; those inside SQLite are out of reach here and tested with a real limit."""
    data = planted(60)
    real, outcomes = os.fsync, []
    for n in range(1, 20):
        run = Run.create(tmp_path / f"{n}", trained(data, method), data=data, spec=SPEC)
        before, calls = state_of(run), []

        def failing(handle, n=n, calls=calls):
            calls.append(handle)
            if len(calls) == n:
                raise OSError(ENOSPC, os.strerror(ENOSPC))
            real(handle)

        raised = False
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", failing)
            try:
                receipt = run.forget(run.request("c", ids=["s7"]), data=data)
            except DiskFull as full:
                raised = "\n" not in str(full)
        if raised:
            assert state_of(run) == before == state_of(Run.open(run.path))
            assert sorted(each.name for each in run.path.iterdir())[:3] == [
                "manifest.json", "memory.sqlite", "model-0000.safetensors"]  # fmt: skip
        else:
            (stored,) = Run.open(run.path).receipts  # what was missing is done by now
            assert stored.erasure == "L2"
            assert stored.completed == receipt.completed
            assert holds(run, 7) == []
            assert "s7" not in run.model.memory
        outcomes.append(raised)
        if len(calls) < n:
            break
    else:
        pytest.fail("forget never completed")
    assert any(outcomes) == isinstance(method, ToyRefit)  # new weights are written before the transaction


def test_a_database_without_room_changes_nothing(run, monkeypatch):
    before = state_of(run)
    real = storage.transaction

    def cramped(connection):
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}")
        connection.execute("PRAGMA cache_size = 2")
        return real(connection)

    with monkeypatch.context() as patch:
        patch.setattr(storage, "transaction", cramped)
        patch.setattr(epilogue, "store_receipt", lambda connection, number, receipt: connection.execute(
            "INSERT INTO receipts VALUES (?, ?)", (number, "x" * 200_000)))  # fmt: skip
        with pytest.raises(DiskFull) as caught:
            run.forget(run.request("c", ids=["s7"]))
    one_line(caught)
    assert state_of(run) == before == state_of(Run.open(run.path))


def test_a_failed_creation_leaves_nothing(tmp_path, data, monkeypatch):
    def full(*_):
        raise OSError(ENOSPC, os.strerror(ENOSPC))

    model = trained(data)
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(DiskFull):
            Run.create(tmp_path / "deep" / "r", model, data=data, spec=SPEC)
    assert list((tmp_path / "deep").iterdir()) == []


def test_two_processes_do_not_overwrite_each_other(run):
    other = Run.open(run.path)
    assert "s7" in other.model.memory
    run.forget(run.request("c", ids=["s7"]))
    with pytest.raises(AlreadyForgotten):
        other.request("c", ids=["s7"])
    with pytest.raises(StorageError, match="changed by another process") as caught:
        other.forget(other.request("c", ids=["s8"]))
    one_line(caught)
    assert "s7" not in other.model.memory  # it was loaded anew
    other.forget(other.request("c", ids=["s8"]))
    assert len(Run.open(run.path).model.memory) == 98


def test_views_of_receipts_are_made_again(run):
    receipt = run.forget(run.request("c", ids=["s7"]))
    view = run.path / "receipts" / "0001.json"
    good = view.read_bytes()
    view.unlink()
    assert Run.open(run.path).receipts == (receipt,)
    assert view.read_bytes() == good
    view.write_text('{"level": "exact"}')
    Run.open(run.path)
    assert view.read_bytes() == good


def test_what_a_kill_leaves_behind_is_cleaned(run):
    (run.path / ".manifest.json.abcd.tmp").write_text("x")
    (run.path / "receipts" / ".0001.json.abcd.tmp").write_text("x")
    (run.path / "model-0001.safetensors").write_bytes(b"x")
    before = state_of(run)
    assert state_of(Run.open(run.path)) == before
    assert sorted(each.name for each in run.path.rglob("*")) == [
        "manifest.json", "memory.sqlite", "model-0000.safetensors", "receipts", "reports"]  # fmt: skip


# --- damage --------------------------------------------------------------------------------------------------------


def edit_manifest(change):
    def damage(path):
        manifest = json.loads((path / "manifest.json").read_text())
        change(manifest)
        (path / "manifest.json").write_text(json.dumps(manifest))

    return damage


def edit_database(statement):
    def damage(path):
        with closing(sqlite3.connect(path / "memory.sqlite", isolation_level=None)) as connection:
            connection.execute(statement)

    return damage


def cut(name, keep):
    def damage(path):
        (path / name).write_bytes((path / name).read_bytes()[:keep])

    return damage


def flip(name, at):
    def damage(path):
        content = bytearray((path / name).read_bytes())
        content[at] ^= 0xFF
        (path / name).write_bytes(content)

    return damage


DAMAGE = {
    "an empty folder": (lambda path: [each.unlink() for each in path.iterdir() if each.is_file()], "no manifest.json"),
    "no manifest": (lambda path: (path / "manifest.json").unlink(), "no manifest.json"),
    "half a manifest": (cut("manifest.json", 200), "is damaged"),
    "a manifest that is a list": (lambda path: (path / "manifest.json").write_text("[1]"), "no schema_version"),
    "a section is missing": (edit_manifest(lambda m: m.pop("task")), "lacks task"),
    "settings that do not exist": (edit_manifest(lambda m: m["method"]["settings"].update(depth=3)), "setting 'depth'"),
    "settings of another type": (edit_manifest(lambda m: m["method"]["settings"].update(names=3)), "names is 3"),
    "settings that are none": (edit_manifest(lambda m: m["method"].update(settings=3)), "is int"),
    "no weights": (lambda path: (path / "model-0000.safetensors").unlink(), "is missing"),
    "half of the weights": (cut("model-0000.safetensors", 100), "SHA-256"),
    "a flipped bit in the weights": (flip("model-0000.safetensors", -5), "SHA-256"),
    "no database": (lambda path: (path / "memory.sqlite").unlink(), "is missing"),
    "an empty database": (cut("memory.sqlite", 0), "no such table|lacks"),
    "half a database": (cut("memory.sqlite", 8192), "damaged"),
    "another file": (lambda path: (path / "memory.sqlite").write_bytes(b"hello " * 3000), "not a database"),
    "a changed key": (
        edit_database("UPDATE memory SET key = zeroblob(64) WHERE id = 's3'"),
        "do not have the digest",
    ),
    "a short key": (edit_database("UPDATE memory SET key = zeroblob(60) WHERE id = 's3'"), "another width"),
    "a key that is no number": (
        edit_database("UPDATE memory SET key = CAST(replace(hex(zeroblob(64)), '0', char(127)) AS BLOB)"),
        "another width|damaged",
    ),
    "a row less": (edit_database("DELETE FROM memory WHERE id = 's3'"), "do not have the digest"),
    "another label": (edit_database("UPDATE memory SET label = 9 WHERE id = 's3'"), "do not have the digest"),
    "no state": (edit_database("DELETE FROM state WHERE name = 'generation'"), "lacks generation"),
    "a state of another type": (edit_database("UPDATE state SET value = '\"x\"' WHERE name = 'sequence'"), "sequence"),
    "no samples": (edit_database("DROP TABLE samples"), "no such table"),
}  # fmt: skip


@pytest.mark.parametrize("what", DAMAGE)
def test_damage_is_told_in_one_line(run, what):
    damage, says = DAMAGE[what]
    damage(run.path)
    with pytest.raises(CorruptRun, match=says) as caught:
        Run.open(run.path)
    one_line(caught)


def test_a_damaged_receipt(run):
    run.forget(run.request("c", ids=["s7"]))
    edit_database("UPDATE receipts SET body = '{}'")(run.path)
    with pytest.raises(CorruptRun, match="receipt"):
        _ = Run.open(run.path).receipts


def test_what_is_not_a_run(tmp_path):
    with pytest.raises(CorruptRun, match="is no folder") as caught:
        Run.open(tmp_path / "nowhere")
    one_line(caught)


def test_a_newer_run_is_left_alone(run):
    edit_manifest(lambda m: m.update(schema_version=99, erasable_version="9.9"))(run.path)
    (run.path / "model-0001.safetensors").write_bytes(b"of the new version")
    with pytest.raises(NewerVersion, match=r"schema version 99; expected at most 1; use Erasable 9.9"):
        Run.open(run.path)
    assert (run.path / "model-0001.safetensors").exists()


def test_a_method_that_this_version_does_not_have(run):
    edit_manifest(lambda m: m["method"].update(name="tox"))(run.path)
    with pytest.raises(UnknownName, match="did you mean 'toy'"):
        Run.open(run.path)


@dataclass(frozen=True, kw_only=True)
class Stranger(Toy):
    """A method of the user's own, which the catalog does not know."""


def test_a_method_of_the_users_own_is_passed_by_class(tmp_path, data):
    run = Run.create(tmp_path / "r", trained(data, Stranger()), data=data, spec=SPEC)
    with pytest.raises(UnknownName, match=r"'elsewhere:Class' is not in the catalog.* pass method=\.\.\.") as caught:
        Run.open(run.path)
    one_line(caught)
    assert Run.open(run.path, method=Stranger).model.method == Stranger()
    with pytest.raises(UnknownName, match="method=Toy for a run whose method is 'elsewhere:Class'"):
        Run.open(run.path, method=Toy)


def test_flipped_bytes_never_pass_for_something_else(run):
    """Whatever byte changes: a one-line error, or a run with the same model and memory."""
    run.forget(run.request("c", ids=["s7"]))
    before = state_of(run)
    draw = random.Random(0)
    for name in ("memory.sqlite", "manifest.json", "model-0000.safetensors"):
        good = (run.path / name).read_bytes()
        caught = same = 0
        for _ in range(60):
            bad = bytearray(good)
            bad[draw.randrange(len(bad))] ^= 1 << draw.randrange(8)
            (run.path / name).write_bytes(bad)
            try:
                again = Run.open(run.path)
                after = {"weights": weights_digest(again.model), "memory": again.model.memory.digest()}
                assert after == {key: before[key] for key in after}
                _ = again.receipts, again.ids, again.erased
                same += 1
            except ErasableError as wrong:
                caught += "\n" not in str(wrong)
            (run.path / name).write_bytes(good)
        assert caught + same == 60
        assert caught > 5
    assert state_of(Run.open(run.path)) == before


def test_the_exposure_survives_any_number_of_parts(tmp_path):
    data = planted(40)
    model = trained(data)
    parts = {f"shard {i}": frozenset(data.ids[i::20]) for i in range(20)}
    parts["pretraining"] = frozenset(["elsewhere 1", "s3"])
    parts["nobody"] = frozenset()
    model.exposure = Exposure(parts, frozenset(["nobody", "shard 3"]))
    run = Run.create(tmp_path / "r", model, data=data, spec=SPEC)
    assert Run.open(run.path).exposure == model.exposure


def test_mended_parts_are_kept_through_erasures_and_none_are_taken_for_granted(tmp_path):
    data = planted(120)
    model = trained(data, ToyRefit())
    model.exposure = Exposure(model.exposure.parts, frozenset(["head"]))
    run = Run.create(tmp_path / "r", model, data=data, spec=SPEC)
    run.forget(run.request("c", ids=["s2", "s7"]), data=data)
    again = Run.open(run.path)
    assert again.exposure.mended == {"head"}
    assert again.exposure.level(["s4"])[0] == "empirical"
    with sqlite3.connect(run.path / "memory.sqlite") as connection:
        connection.execute("UPDATE state SET value = '[\"tail\"]' WHERE name = 'mended'")
    with pytest.raises(CorruptRun, match="tail"):
        Run.open(run.path)
    with sqlite3.connect(run.path / "memory.sqlite") as connection:
        connection.execute("DELETE FROM state WHERE name = 'mended'")  # as runs were before there was such a part
    assert Run.open(run.path).exposure.mended == frozenset()


def test_rows_added_to_the_model_are_stored_with_the_next_erasure(run):
    run.model.memory.add(["late"], torch.ones(1, 16) * 0.123, labels=torch.tensor([2]))
    run.forget(run.request("c", ids=["s7"]))
    again = Run.open(run.path)
    assert "late" in again.model.memory
    assert "late" in again.ids
    assert again.forget(again.request("c", ids=["late"])).samples == 1
