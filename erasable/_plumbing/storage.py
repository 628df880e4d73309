"""Files and SQLite that survive a kill, and that let go of what was erased.

A file is replaced in one step: temporary sibling, fsync, rename, fsync of the folder. Rows live in SQLite with
secure_delete, and `purge` empties the write-ahead log afterwards: until then every deleted byte is still in it.
Nothing here reads pickle. Operating-system and SQLite errors leave as StorageError, CorruptRun or DiskFull.
"""

import errno
import glob
import hashlib
import json
import os
import secrets
import shutil
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor

from erasable.errors import CorruptRun, DiskFull, StorageError

TEMPORARY = ".tmp"  # how the name of an unfinished file ends
ALONE = ".alone"  # the file that a process holds which works in a folder alone
WAIT = 30.0  # seconds that SQLite waits for another process
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

# id, key and value lie next to each other in a stored row, so that even a short key makes a long piece to search for
ROWS = """
CREATE TABLE memory (
    row INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, key BLOB NOT NULL, value BLOB NOT NULL, label INTEGER NOT NULL
) STRICT;
CREATE TABLE state (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
"""


class StoredRows(NamedTuple):
    """All rows of a memory, in the order in which they were stored."""

    ids: list[str]
    labels: NDArray[np.int64]  # (rows,)
    keys: NDArray[np.float32]  # (rows, key_width)
    values: NDArray[np.float32]  # (rows, value_width)


@contextmanager
def translated(path: Path | str) -> Iterator[None]:
    """Errors of the operating system and of SQLite about `path`, as one line each."""
    try:
        yield
    except OSError as wrong:
        if wrong.errno in FULL:
            raise _full(path) from wrong
        raise StorageError(f"'{path}' cannot be used ({wrong.strerror or wrong})",
                           expected="a folder that can be read and written",
                           do="check the path, its permissions and the disk") from wrong  # fmt: skip
    except sqlite3.Error as wrong:
        code = getattr(wrong, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_FULL:
            raise _full(path) from wrong
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise StorageError(f"'{path}' is in use by another process", expected="one writer at a time",
                               do="wait for it to end, then try again") from wrong  # fmt: skip
        if code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
            raise StorageError(f"'{path}' cannot be used ({wrong})", expected="a file that can be read and written",
                               do="check its permissions and the disk") from wrong  # fmt: skip
        raise CorruptRun(f"'{path}' is damaged ({wrong})", expected="the SQLite file as it was written",
                         do="restore the run folder from a backup") from wrong  # fmt: skip


def _full(path: Path | str) -> DiskFull:
    return DiskFull(f"no space left to write '{path}'", expected="room for the new file beside the old one",
                    do="free some space and try again; nothing was changed")  # fmt: skip


# --- files ---------------------------------------------------------------------------------------------------------


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends, and disappears when it fails."""
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}{TEMPORARY}")
    with translated(path):
        try:
            yield unfinished
            with open(unfinished, "rb") as file:
                os.fsync(file.fileno())
            os.replace(unfinished, path)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def atomic_write(path: Path, content: bytes) -> None:
    """Replace a file: a reader, or a kill at any moment, sees all of the old content or all of the new.

    Raises DiskFull, StorageError; then the old content is intact.
    """
    with replacing(path) as unfinished, open(unfinished, "xb") as file:
        file.write(content)


def sync_folder(folder: Path) -> None:
    """Make renames and deletions in a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_bytes(path: Path) -> bytes:
    """Raises CorruptRun when the file is missing."""
    with translated(path):
        try:
            return path.read_bytes()
        except FileNotFoundError as wrong:
            raise CorruptRun(f"'{path}' is missing", expected="a complete run folder",
                             do="restore the run folder from a backup") from wrong  # fmt: skip


def write_json(path: Path, value: Any) -> None:
    """Raises DiskFull, StorageError."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    atomic_write(path, (text + "\n").encode())


def read_json(path: Path) -> Any:
    """Raises CorruptRun for a missing or damaged file."""
    try:
        return json.loads(read_bytes(path).decode())
    except (ValueError, RecursionError) as wrong:  # both JSON and Unicode errors are ValueErrors
        raise CorruptRun(f"'{path}' is damaged ({wrong})", expected="JSON as it was written",
                         do="restore the run folder from a backup") from wrong  # fmt: skip


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> str:
    """Write a safetensors file atomically; gives its SHA-256. Raises DiskFull, StorageError."""
    apart = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}  # none share memory
    content = safetensors.torch.save(apart)
    atomic_write(path, content)
    return hashlib.sha256(content).hexdigest()


def load_tensors(path: Path, *, sha256: str | None = None) -> dict[str, Tensor]:
    """Read a safetensors file. Raises CorruptRun: missing, damaged, or another digest than `sha256`."""
    content = read_bytes(path)
    if sha256 is not None and (found := hashlib.sha256(content).hexdigest()) != sha256:
        raise CorruptRun(f"'{path}' has the SHA-256 {found[:12]}...", expected=f"{sha256[:12]}..., as it was written",
                         do="restore the run folder from a backup")  # fmt: skip
    try:
        return dict(safetensors.torch.load(content))
    except (safetensors.SafetensorError, KeyError, ValueError, AssertionError) as wrong:
        raise CorruptRun(f"'{path}' is no safetensors file ({wrong})", expected="weights as they were written",
                         do="restore the run folder from a backup") from wrong  # fmt: skip


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Only one process at a time: an exclusive lock on the folder itself, which a kill releases."""
    import fcntl  # not on Windows, where run folders are not supported

    with translated(folder):
        handle = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


@contextmanager
def alone(folder: Path, busy: str) -> Iterator[None]:
    """The only process that works in `folder`, which is made where it is missing and may be gone in the end.

    What is held is a hidden file in there, so that `locked` stays free for single steps; a kill lets it go. Raises
    StorageError at once, with `busy` as what came, while another process is there.
    """
    with translated(folder):
        handle = None
        while handle is None:
            handle = _held(folder, busy)
    try:
        yield
    finally:
        os.close(handle)


def _held(folder: Path, busy: str) -> int | None:
    """The open file; None where whoever was there removed it meanwhile."""
    import fcntl

    folder.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(folder / ALONE, os.O_RDWR | os.O_CREAT, 0o600)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(handle), os.stat(folder / ALONE)):
            return handle
    except BlockingIOError:
        os.close(handle)
        raise StorageError(busy, expected="one process at a time", do="wait for it to end, then try again") from None
    except FileNotFoundError:
        pass
    os.close(handle)
    return None


def sweep_unfinished(path: Path) -> None:
    """Remove what a killed process left of a folder `path` that it was building; one still being built stays."""
    import fcntl

    for folder in path.parent.glob(f".{glob.escape(path.name)}.*{TEMPORARY}/"):
        with translated(folder):
            handle = os.open(folder, os.O_RDONLY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            else:
                shutil.rmtree(folder)
            finally:
                os.close(handle)


# --- SQLite --------------------------------------------------------------------------------------------------------


@contextmanager
def opened(path: Path, *, wal: bool = True) -> Iterator[sqlite3.Connection]:
    """A connection for one piece of work; closing the last one removes the write-ahead log. Raises CorruptRun."""
    with translated(path):
        if not path.is_file():
            raise CorruptRun(f"'{path}' is missing", expected="a complete run folder",
                             do="restore the run folder from a backup")  # fmt: skip
        with closing(sqlite3.connect(path, timeout=WAIT, isolation_level=None)) as connection:
            prepare(connection)
            if wal:
                connection.execute("PRAGMA journal_mode = WAL")
            yield connection


def prepare(connection: sqlite3.Connection) -> None:
    """What every connection is set to. `temp_store` keeps the copy that VACUUM makes out of /tmp."""
    for pragma in ("synchronous = FULL", "foreign_keys = ON", "secure_delete = ON", "temp_store = MEMORY",
                   "cell_size_check = ON", "trusted_schema = OFF"):  # fmt: skip
        connection.execute(f"PRAGMA {pragma}")


@contextmanager
def building(path: Path, schema: str = "") -> Iterator[sqlite3.Connection]:
    """A new SQLite file with the tables of a memory and of `schema`: there when the block has ended, or not at all."""
    with replacing(path) as unfinished, closing(sqlite3.connect(unfinished, isolation_level=None)) as connection:
        for pragma in ("journal_mode = OFF", "synchronous = OFF", "secure_delete = ON", "foreign_keys = ON"):
            connection.execute(f"PRAGMA {pragma}")
        connection.executescript(ROWS + schema)
        connection.execute("BEGIN")
        yield connection
        connection.execute("COMMIT")


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All of the statements, or none of them."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def purge(connection: sqlite3.Connection, *, rebuild: bool = False) -> None:
    """Move committed pages into the main file and empty the log; `rebuild` copies live rows into fresh pages first.

    Raises StorageError while another connection still reads an older state.
    """
    if rebuild:
        connection.execute("VACUUM")
    busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if busy:
        raise StorageError("the write-ahead log is still being read by another process", expected="no open reader",
                           do="open the run again when it has ended: the rest is then done")  # fmt: skip


def write_state(connection: sqlite3.Connection, facts: Mapping[str, Any]) -> None:
    """Facts by name, as JSON; those of the same name are replaced."""
    connection.executemany("INSERT OR REPLACE INTO state VALUES (?, ?)",
                           [(name, json.dumps(value)) for name, value in facts.items()])  # fmt: skip


def read_state(connection: sqlite3.Connection, path: Path | str, needed: Mapping[str, type]) -> dict[str, Any]:
    """Raises CorruptRun where a needed fact is missing, unreadable or of another type."""
    with translated(path):
        try:
            facts = {name: json.loads(value) for name, value in connection.execute("SELECT name, value FROM state")}
        except ValueError as wrong:
            raise CorruptRun(f"the state in '{path}' is damaged ({wrong})", expected="JSON as it was written",
                             do="restore the run folder from a backup") from wrong  # fmt: skip
    if missing := [name for name, kind in needed.items() if type(facts.get(name)) is not kind]:
        raise CorruptRun(f"the state in '{path}' lacks {', '.join(missing)}", expected="the state as it was written",
                         do="restore the run folder from a backup")  # fmt: skip
    return facts


def insert_rows(
    connection: sqlite3.Connection, ids: Iterable[str], labels: Tensor, keys: Tensor, values: Tensor
) -> None:
    """Append rows of a memory: labels (n,), keys (n, key_width), values (n, value_width)."""
    stored = [memoryview(each.detach().cpu().contiguous().numpy().tobytes()) for each in (keys, values)]
    (key, value), (k, v) = stored, (4 * keys.shape[1], 4 * values.shape[1])
    connection.executemany(
        "INSERT INTO memory (id, key, value, label) VALUES (?, ?, ?, ?)",
        ((each, key[k * i : k * i + k], value[v * i : v * i + v], label)
         for i, (each, label) in enumerate(zip(ids, labels.tolist(), strict=True))),
    )  # fmt: skip


def read_rows(connection: sqlite3.Connection, path: Path | str, key_width: int, value_width: int) -> StoredRows:
    """Every stored row. Raises CorruptRun for one of another width."""
    with translated(path):
        (n,) = connection.execute("SELECT count(*) FROM memory").fetchone()
        ids: list[str] = []
        labels = np.empty(n, np.int64)
        columns = [np.empty((n, width), np.float32) for width in (key_width, value_width)]
        cursor = connection.execute("SELECT id, label, key, value FROM memory ORDER BY row")
        while chunk := cursor.fetchmany(4096):
            names, numbers, *blobs = zip(*chunk, strict=True)
            at = slice(len(ids), len(ids) + len(names))
            labels[at] = numbers
            for column, part in zip(columns, blobs, strict=True):
                if {len(each) for each in part} != {4 * column.shape[1]}:
                    raise CorruptRun(f"'{path}' holds a row of another width", expected=f"{column.shape[1]} numbers",
                                     do="restore the run folder from a backup")  # fmt: skip
                column[at] = np.frombuffer(b"".join(part), np.float32).reshape(len(names), -1)
            ids.extend(names)
    return StoredRows(ids, labels, *columns)


def delete_rows(connection: sqlite3.Connection, ids: Iterable[str]) -> None:
    """Ids that are not stored are passed over."""
    connection.executemany("DELETE FROM memory WHERE id = ?", ((each,) for each in ids))


def match_rows(
    connection: sqlite3.Connection, path: Path, ids: list[str], labels: Tensor, keys: Tensor, values: Tensor
) -> None:
    """Bring the table to these rows, whatever it held; rows that are the same bit for bit are not written."""
    stored = read_rows(connection, path, keys.shape[1], values.shape[1])
    row_of = {each: row for row, each in enumerate(stored.ids)}
    at = np.fromiter((row_of.get(each, -1) for each in ids), np.int64, len(ids))
    same = at >= 0
    new = (labels, keys, values)
    before: tuple[NDArray[Any], ...] = (stored.labels, stored.keys, stored.values)
    for old, now in zip(before, new, strict=True):
        same[same] = (_bits(old)[at[same]] == _bits(now.detach().cpu().numpy())[same]).all(axis=1)
    kept = {stored.ids[row] for row in at[same].tolist()}
    delete_rows(connection, (each for each in stored.ids if each not in kept))
    write = torch.from_numpy(np.flatnonzero(~same)).to(keys.device)
    insert_rows(connection, [ids[row] for row in write.tolist()], *(each[write] for each in new))


def _bits(column: NDArray[Any]) -> NDArray[np.uint8]:
    """The bytes of each row, (rows, bytes)."""
    width = column.itemsize * int(np.prod(column.shape[1:]))
    return np.frombuffer(column.tobytes(), np.uint8).reshape(len(column), width)
