"""What follows the transaction that erased: old weights go, the journal is emptied, every file is searched.

The transaction itself stores a receipt of level L1 and, in `pending`, fingerprints of what to search for. When the
search is negative a second transaction makes it L2 and drops the fingerprints. A kill in between leaves an honest L1
that the next opening of the run completes.
"""

import secrets
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from pydantic import ValidationError
from torch import Tensor

from erasable._plumbing import residue, storage
from erasable.errors import CorruptRun, StorageError
from erasable.memory import Memory
from erasable.receipt import Receipt

TABLES = """
CREATE TABLE receipts (number INTEGER PRIMARY KEY, body TEXT NOT NULL) STRICT;
CREATE TABLE pending (number INTEGER PRIMARY KEY, salt BLOB NOT NULL, prints BLOB NOT NULL) STRICT;
"""
DATABASE, RECEIPTS = "memory.sqlite", "receipts"
PROBED = 1024  # erased rows that are searched for, spread over the request
PIECES = 16  # changed places of a weight tensor that are searched for
WORDS = residue.NEEDLE // 8
REMEMBERED = 64  # fingerprints that outlive a kill
PRINT = 18  # bytes of one
HERE = "the run folder: "  # how the limits begin that a later search may lift
TOMBSTONES = "the ids of the erased samples: the run folder keeps them, so that they cannot return or be erased twice"


def weights_name(generation: int) -> str:
    return f"model-{generation:04d}.safetensors"


# --- what to search for --------------------------------------------------------------------------------------------


def needles_of_rows(connection: sqlite3.Connection, ids: Sequence[str]) -> list[bytes]:
    """Pieces of the stored rows of `ids`, as they lie in the file."""
    spread = np.unique(np.linspace(0, len(ids) - 1, min(PROBED, len(ids))).round().astype(int)).tolist()
    needles: list[bytes] = []
    for at in spread:
        for key, value in connection.execute("SELECT key, value FROM memory WHERE id = ?", (ids[at],)):
            content = key + value
            if len(content) < residue.NEEDLE:  # with the end of the id before it, which alone stays as a tombstone
                content = (ids[at].encode() + content)[-residue.NEEDLE :]
            needles += residue.needles_in(content)
    return needles


def needles_of_weights(old: dict[str, Tensor], new: dict[str, Tensor]) -> list[bytes]:
    """Pieces of the tensors that an erasure changed."""
    needles: list[bytes] = []
    for name, before in old.items():
        after = new.get(name)
        was = _bytes(before)
        now = _bytes(after) if after is not None and after.shape == before.shape else np.zeros_like(was)
        if len(was) < residue.NEEDLE or len(was) != len(now):
            continue
        pieces = [each[: len(each) // residue.NEEDLE * residue.NEEDLE].view(np.uint64).reshape(-1, WORDS)
                  for each in (was, now)]  # fmt: skip
        changed = np.flatnonzero((pieces[0] != pieces[1]).any(axis=1))  # an erasure may change a few rows of many
        spread = np.linspace(0, len(changed) - 1, min(PIECES, len(changed))).astype(int)
        for piece in pieces[0][changed[spread]]:
            needles += residue.needles_in(piece.tobytes(), most=1)
    return needles


def _bytes(tensor: Tensor) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()


def remember(connection: sqlite3.Connection, number: int, needles: Sequence[bytes]) -> None:
    """Store fingerprints of some of the needles until the search is done."""
    salt = secrets.token_bytes(16)
    few = needles[:: max(1, -(-len(needles) // REMEMBERED))]
    prints = b"".join(residue.Fingerprints.of(each, salt) for each in few)
    if prints:
        connection.execute("INSERT INTO pending VALUES (?, ?, ?)", (number, salt, prints))


# --- the receipt ---------------------------------------------------------------------------------------------------


def read_receipt(body: str, path: Path) -> Receipt:
    """Raises CorruptRun."""
    try:
        return Receipt.model_validate_json(body)
    except ValidationError as wrong:
        first = wrong.errors()[0]
        raise CorruptRun(f"a receipt in '{path}' is damaged ({first['msg']})", expected="receipts as they were written",
                         do="restore the run folder from a backup") from wrong  # fmt: skip


def settle(
    folder: Path,
    connection: sqlite3.Connection,
    number: int,
    finder: residue.Finder | None,
    memory: Memory | None,
    generation: int,
) -> Receipt:
    """Make the erased bytes leave the folder, search for them, and state the outcome on receipt `number`.

    A file that cannot be written or searched leaves the receipt at L1, with the reason. Raises CorruptRun.
    """
    (body,) = connection.execute("SELECT body FROM receipts WHERE number = ?", (number,)).fetchone()
    receipt = read_receipt(body, folder / DATABASE)
    limits = tuple(each for each in receipt.not_reached if not each.startswith(HERE))
    try:
        with storage.translated(folder):
            sweep(folder, generation)
            storage.purge(connection)
            left = _left(folder, finder, memory)
            if left and left != UNSEARCHED:  # pages that were rearranged can keep copies: write them all again
                storage.purge(connection, rebuild=True)
                left = _left(folder, finder, memory)
            update = {"erasure": "L1" if left else "L2", "not_reached": (HERE + left, *limits) if left else limits}
            searched = receipt.model_copy(update=update)
            with storage.transaction(connection):
                connection.execute("UPDATE receipts SET body = ? WHERE number = ?", (_body(searched), number))
                if not left or left == UNSEARCHED:
                    connection.execute("DELETE FROM pending WHERE number = ?", (number,))
            receipt = searched
            storage.purge(connection)
            write_views(folder, connection)
    except CorruptRun:
        raise
    except StorageError as wrong:  # the erasure itself is committed: say what is missing, and let the next opening try
        return receipt.model_copy(update={"not_reached": (HERE + str(wrong), *limits)})
    return receipt


UNSEARCHED = "nothing erased was long and distinctive enough to search for, or other samples have the same bytes"


def _left(folder: Path, finder: residue.Finder | None, memory: Memory | None) -> str:
    """What the search says, in words; nothing when it is negative."""
    if finder is None:
        return UNSEARCHED
    found = residue.search(folder, finder)
    every = set().union(*found.values())
    shared = {each for block in _blocks(memory) for each in finder.find(block)} if every else set()
    files = sorted(name for name, needles in found.items() if needles - shared)
    if files:
        return f"erased bytes were found in {', '.join(files)}"
    return UNSEARCHED if len(shared) == finder.size else ""


def _blocks(memory: Memory | None) -> Iterator[bytes]:
    """The rows that stay, as they lie in the file."""
    if memory is None:
        return
    for at in range(0, len(memory), 4096):
        rows = torch.cat([memory.keys[at : at + 4096], memory.values[at : at + 4096]], dim=1)
        yield rows.cpu().numpy().tobytes()


# --- files ---------------------------------------------------------------------------------------------------------


def _body(receipt: Receipt) -> str:
    return receipt.model_dump_json(indent=2)


def store_receipt(connection: sqlite3.Connection, number: int, receipt: Receipt) -> None:
    """As it is before the search."""
    limits = (HERE + "it has not been searched yet", TOMBSTONES, *receipt.not_reached)
    receipt = receipt.model_copy(update={"erasure": "L1", "not_reached": limits})
    connection.execute("INSERT INTO receipts VALUES (?, ?)", (number, _body(receipt)))


def write_views(folder: Path, connection: sqlite3.Connection) -> None:
    """receipts/0001.json and so on, where they are missing or differ from the table."""
    (folder / RECEIPTS).mkdir(exist_ok=True)
    for number, body in connection.execute("SELECT number, body FROM receipts").fetchall():
        path, content = folder / RECEIPTS / f"{number:04d}.json", (body + "\n").encode()
        if not path.is_file() or path.read_bytes() != content:
            storage.atomic_write(path, content)


def sweep(folder: Path, generation: int) -> None:
    """Remove unfinished files and every generation of weights but this one."""
    old = [path for path in folder.glob("model-*.safetensors") if path.name != weights_name(generation)]
    unfinished = [*folder.glob(f".*{storage.TEMPORARY}"), *(folder / RECEIPTS).glob(f".*{storage.TEMPORARY}")]
    for path in (*old, *unfinished):
        path.unlink()
    if old or unfinished:
        storage.sync_folder(folder)


def recover(folder: Path, connection: sqlite3.Connection, memory: Memory | None, generation: int) -> None:
    """Finish what a kill interrupted."""
    with storage.translated(folder):
        sweep(folder, generation)
        log = folder / f"{DATABASE}-wal"
        if log.is_file() and log.stat().st_size:
            storage.purge(connection)
        for number, salt, prints in connection.execute("SELECT number, salt, prints FROM pending").fetchall():
            pieces = [prints[at : at + PRINT] for at in range(0, len(prints), PRINT)]
            settle(folder, connection, number, residue.Fingerprints(pieces, salt), memory, generation)
        write_views(folder, connection)
