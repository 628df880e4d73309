"""Atomic files, safetensors, SQLite that lets go of bytes: each promise, and each way it can be broken."""

import errno
import os
import shutil

import numpy as np
import pytest
import torch

from erasable._plumbing import storage
from erasable.errors import CorruptRun, DiskFull, StorageError


def one_line(caught) -> str:
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- files ---------------------------------------------------------------------------------------------------------


def test_a_file_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / "file"
    storage.atomic_write(path, b"old")
    storage.atomic_write(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_the_content_is_durable_before_the_name_changes(tmp_path, monkeypatch):
    calls = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *args, name=name, real=real: (calls.append(name), real(*args))[1])
    storage.atomic_write(tmp_path / "file", b"x")
    assert calls == ["fsync", "replace", "fsync"]  # the file, the name, the folder


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
@pytest.mark.parametrize("at", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch, number, at):
    path = tmp_path / "file"
    storage.atomic_write(path, b"old")

    def fail(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, at, fail)
    with pytest.raises(DiskFull, match="no space left") as caught:
        storage.atomic_write(path, b"new")
    one_line(caught)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_other_failures_are_storage_errors(tmp_path):
    with pytest.raises(StorageError, match="No such file") as caught:
        storage.atomic_write(tmp_path / "nowhere" / "file", b"x")
    assert not isinstance(caught.value, DiskFull)
    one_line(caught)


def test_json_comes_back(tmp_path):
    value = {"text": "žluťoučký", "numbers": [1, 2.5, None, True]}
    storage.write_json(tmp_path / "a.json", value)
    assert storage.read_json(tmp_path / "a.json") == value


@pytest.mark.parametrize("content", [b"", b'{"a": ', b"\xff\xfe", b"[" * 100_000])
def test_damaged_json(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(CorruptRun) as caught:
        storage.read_json(tmp_path / "a.json")
    one_line(caught)


def test_missing_files(tmp_path):
    for read in (storage.read_json, storage.load_tensors):
        with pytest.raises(CorruptRun, match="is missing"):
            read(tmp_path / "none")


def test_tensors_come_back(tmp_path):
    shared = torch.arange(6.0)
    tensors = {"a": shared, "b": shared[2:], "t": torch.ones(2, 3).T, "n": torch.tensor(3), "e": torch.empty(0, 4),
               "h": torch.ones(3, dtype=torch.bfloat16)}  # fmt: skip
    digest = storage.save_tensors(tmp_path / "w", tensors)
    again = storage.load_tensors(tmp_path / "w", sha256=digest)
    assert set(again) == set(tensors)
    for name, tensor in tensors.items():
        assert torch.equal(again[name], tensor)
        assert again[name].dtype == tensor.dtype
    with pytest.raises(CorruptRun, match="SHA-256"):
        storage.load_tensors(tmp_path / "w", sha256="0" * 64)


@pytest.mark.parametrize("cut", [0, 4, 20, -1])
def test_damaged_tensors(tmp_path, cut):
    storage.save_tensors(tmp_path / "w", {"a": torch.arange(20.0)})
    (tmp_path / "w").write_bytes((tmp_path / "w").read_bytes()[:cut])
    with pytest.raises(CorruptRun, match="safetensors") as caught:
        storage.load_tensors(tmp_path / "w")
    one_line(caught)


def test_a_lock_keeps_others_out(tmp_path):
    import fcntl

    with storage.locked(tmp_path):
        handle = os.open(tmp_path, os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(handle)
    with storage.locked(tmp_path):  # free again
        pass


def test_one_process_alone_in_a_folder(tmp_path):
    """The second is told at once; a step that locks the folder itself is not in its way; and the folder may go."""
    folder = tmp_path / "deep" / "work"
    with storage.alone(folder, "'work' is busy"):
        with (
            pytest.raises(StorageError, match=r"^'work' is busy; expected one process") as caught,
            storage.alone(folder, "'work' is busy"),
        ):
            pass
        one_line(caught)
        with storage.locked(folder):
            pass
        shutil.rmtree(folder)
        with storage.alone(folder, "busy"):  # another folder of that name
            pass
    with pytest.raises(ZeroDivisionError), storage.alone(folder, "busy"):
        1 / 0  # noqa: B018
    with storage.alone(folder, "busy"):
        pass


def test_a_folder_that_goes_while_it_is_entered(tmp_path, monkeypatch):
    """Its file was removed between being opened and being held: nobody would see that it is held."""
    import fcntl

    folder, real = tmp_path / "work", fcntl.flock

    def flock(handle, how):
        monkeypatch.setattr(fcntl, "flock", real)
        shutil.rmtree(folder)
        real(handle, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    with storage.alone(folder, "busy"):
        assert folder.is_dir()
        with pytest.raises(StorageError, match="busy"), storage.alone(folder, "busy"):
            pass


def test_leftovers_of_a_killed_creation_go_and_a_living_one_stays(tmp_path):
    dead, alive, other = (tmp_path / name for name in (".run.1.tmp", ".run.2.tmp", ".runner.3.tmp"))
    for folder in (dead, alive, other):
        folder.mkdir()
        (folder / "memory.sqlite").write_bytes(b"x")
    (tmp_path / ".run.4.tmp").write_bytes(b"a file is somebody else's")
    with storage.locked(alive):
        storage.sweep_unfinished(tmp_path / "run")
    assert (tmp_path / ".run.4.tmp").exists()
    assert not dead.exists()
    assert alive.exists()
    assert other.exists()


# --- SQLite --------------------------------------------------------------------------------------------------------


def rows_of(n: int, width: int = 8, value: int = 0):
    keys = torch.arange(n * width, dtype=torch.float32).reshape(n, width) + 0.37
    return [f"s{i}" for i in range(n)], torch.arange(n), keys, torch.ones(n, value)


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "memory.sqlite"
    with storage.building(path) as connection:
        storage.insert_rows(connection, *rows_of(300))
        storage.write_state(connection, {"a": 1, "b": [None, "x"]})
    return path


def test_connections_are_set_to_erase_and_to_last(database):
    names = ("journal_mode", "synchronous", "foreign_keys", "secure_delete", "temp_store")
    with storage.opened(database) as connection:
        found = {name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names}
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "secure_delete": 1, "temp_store": 2}
    assert [each.name for each in database.parent.iterdir()] == ["memory.sqlite"]  # the log went with the connection


def test_rows_come_back(database):
    ids, labels, keys, _ = rows_of(300)
    with storage.opened(database) as connection:
        found = storage.read_rows(connection, database, 8, 0)
    assert found.ids == ids
    assert np.array_equal(found.labels, labels)
    assert found.keys.tobytes() == keys.numpy().tobytes()
    assert found.values.shape == (300, 0)
    with storage.opened(database) as connection, pytest.raises(CorruptRun, match="another width"):
        storage.read_rows(connection, database, 9, 0)


def test_state_comes_back_and_is_checked(database):
    with storage.opened(database) as connection:
        assert storage.read_state(connection, database, {"a": int, "b": list}) == {"a": 1, "b": [None, "x"]}
        for needed in ({"c": int}, {"a": str}, {"a": bool}):
            with pytest.raises(CorruptRun, match="lacks"):
                storage.read_state(connection, database, needed)
        connection.execute("UPDATE state SET value = '[1' WHERE name = 'a'")
        with pytest.raises(CorruptRun, match="is damaged"):
            storage.read_state(connection, database, {})


def test_deleted_bytes_stay_in_the_log_until_it_is_purged(database):
    ids, _, keys, _ = rows_of(300)
    needle, log = keys[150].numpy().tobytes(), database.with_name("memory.sqlite-wal")
    assert needle in database.read_bytes()
    with storage.opened(database) as connection:
        with storage.transaction(connection):  # written, so that the log holds the row's page
            connection.execute("UPDATE memory SET label = 5 WHERE id = ?", (ids[150],))
        assert needle in log.read_bytes()
        with storage.transaction(connection):
            storage.delete_rows(connection, [ids[150], "not there"])
        assert needle in log.read_bytes()  # why purge exists
        storage.purge(connection)
        assert needle not in database.read_bytes()
        assert log.stat().st_size == 0
        storage.purge(connection, rebuild=True)
        assert connection.execute("SELECT count(*) FROM memory").fetchone() == (299,)


def test_a_purge_says_when_a_reader_keeps_the_log(database, monkeypatch):
    monkeypatch.setattr(storage, "WAIT", 0.05)
    with storage.opened(database) as reader, storage.opened(database) as writer:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM memory").fetchone()
        with storage.transaction(writer):
            storage.delete_rows(writer, ["s1"])
        with pytest.raises(StorageError, match="being read"):
            storage.purge(writer)


def test_a_transaction_is_all_or_nothing(database):
    def interrupted(connection):
        with storage.transaction(connection):
            storage.delete_rows(connection, ["s1"])
            raise KeyboardInterrupt

    with storage.opened(database) as connection:
        with pytest.raises(KeyboardInterrupt):
            interrupted(connection)
        assert connection.execute("SELECT count(*) FROM memory").fetchone() == (300,)


def test_matching_writes_only_what_differs(database):
    ids, labels, keys, _ = rows_of(300)
    keys[7] += 1
    labels[8] += 1
    keep = [i for i in range(300) if i != 9]
    ids = [*(ids[i] for i in keep), "new"]
    labels, keys = (torch.cat([each[keep], each[:1]]) for each in (labels, keys))
    with storage.opened(database) as connection:
        before = connection.total_changes
        storage.match_rows(connection, database, ids, labels, keys, torch.ones(300, 0))
        assert connection.total_changes - before == 3 + 3  # s7, s8 and s9 go; s7, s8 and "new" come
        found = storage.read_rows(connection, database, 8, 0)
        assert set(zip(found.ids, found.labels.tolist(), map(bytes, found.keys), strict=True)) == set(
            zip(ids, labels.tolist(), map(bytes, keys.numpy()), strict=True)
        )
        storage.match_rows(connection, database, [], labels[:0], keys[:0], torch.ones(0, 0))
        assert storage.read_rows(connection, database, 8, 0).ids == []
        storage.match_rows(connection, database, ids, labels, keys, torch.ones(300, 0))
        assert storage.read_rows(connection, database, 8, 0).ids == ids


def test_a_failed_build_leaves_nothing(tmp_path):
    def failing():
        with storage.building(tmp_path / "x.sqlite") as connection:
            storage.insert_rows(connection, *rows_of(3))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        failing()
    assert list(tmp_path.iterdir()) == []


def count(database) -> int:
    with storage.opened(database) as connection:
        return connection.execute("SELECT count(*) FROM memory").fetchone()[0]


def test_a_database_that_cannot_grow_is_a_full_disk(database):
    def cramped():
        with storage.opened(database) as connection:
            (pages,) = connection.execute("PRAGMA page_count").fetchone()
            connection.execute(f"PRAGMA max_page_count = {pages}")
            with storage.transaction(connection):
                storage.insert_rows(connection, [f"x{i}" for i in range(500)], *rows_of(500)[1:])

    with pytest.raises(DiskFull) as caught:
        cramped()
    one_line(caught)
    assert count(database) == 300


def test_a_second_writer_is_told_to_wait(database, monkeypatch):
    def write():
        with storage.opened(database) as second, storage.transaction(second):
            pass

    monkeypatch.setattr(storage, "WAIT", 0.05)
    with (
        storage.opened(database) as connection,
        storage.transaction(connection),
        pytest.raises(StorageError, match="in use by another process") as caught,
    ):
        write()
    one_line(caught)


def test_damaged_and_missing_databases(database):
    def read():
        with storage.opened(database) as connection:
            storage.read_rows(connection, database, 8, 0)

    content = database.read_bytes()
    for damaged in (b"", b"x" * 8192, content[:4096] + b"\xff" * 8192 + content[12288:]):
        database.write_bytes(damaged)
        with pytest.raises(CorruptRun) as caught:
            read()
        one_line(caught)
    database.unlink()
    with pytest.raises(CorruptRun, match="is missing"):
        read()
    assert not database.exists()  # looking does not make one


def test_a_table_that_is_not_there_is_damage(database):
    with pytest.raises(CorruptRun, match="no such table"), storage.opened(database) as connection:
        connection.execute("SELECT * FROM elsewhere")
