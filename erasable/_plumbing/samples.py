"""The training manifest of a run: one row per sample in the table `samples`.

    owner, label   to find samples by; cleared when the sample is erased
    content        a keyed hash of the sample's columns, to recognise the data; cleared when the sample is erased
    public         declared not erasable
    fitted         one bit per part of the model: was that part fitted on the sample?
    erased         the number of the receipt; 0 for a sample erased before the run began; NULL while it is held

There is no index on owners: when the pages of one split, copies of names would stay behind.
"""

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import numpy as np
import torch

from erasable.dataset import Dataset
from erasable.errors import (
    AlreadyForgotten,
    CorruptRun,
    NotErasable,
    UnknownOwner,
    UnknownSample,
    WrongDigest,
    nearest_names,
)
from erasable.receipt import Exposure
from erasable.task import LogitTask

TABLE = """
CREATE TABLE samples (
    row INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, owner TEXT, label INTEGER, content BLOB,
    public INTEGER NOT NULL, fitted BLOB NOT NULL, erased INTEGER
) STRICT;
"""
INSERT = "INSERT INTO samples (id, owner, label, content, public, fitted, erased) VALUES (?, ?, ?, ?, ?, ?, ?)"
CHUNK = 4096  # samples read at a time
SHOWN = 2000  # names among which a similar one is looked for


def insert(connection: sqlite3.Connection, model: Any, data: Dataset, salt: bytes) -> list[str]:
    """Fill the table from a trained model and its training data; gives the parts in the order of their bits."""
    exposure, memory = model.exposure, model.memory
    parts = sorted(exposure.parts)
    fitted = _bits(exposure, parts)
    stored = [] if memory is None else memory.ids
    gone = set() if memory is None else memory.forgotten
    owners = dict(zip(data.ids, data.owners or [None] * len(data), strict=True))
    content = dict(zip(data.ids, contents(data, salt), strict=True))
    labels = dict(zip(stored, [] if memory is None else memory.labels.tolist(), strict=True))
    labels |= _labels(model.task, data)
    public = set(data.public.ids)
    everyone = dict.fromkeys(chain(data.ids, stored, sorted(gone), sorted(set().union(*exposure.parts.values()))))
    connection.executemany(INSERT, (
        (each, None, None, None, each in public, fitted(each), 0) if each in gone else
        (each, owners.get(each), labels.get(each), content.get(each), each in public, fitted(each), None)
        for each in everyone))  # fmt: skip
    return parts


def insert_missing(connection: sqlite3.Connection, ids: Iterable[str], exposure: Exposure, parts: list[str]) -> None:
    """Rows for samples that were added to the model after the run began."""
    known = {each for (each,) in connection.execute("SELECT id FROM samples")}
    fitted = _bits(exposure, parts)
    new = (each for each in ids if each not in known)
    connection.executemany(INSERT, ((each, None, None, None, False, fitted(each), None) for each in new))


def _bits(exposure: Exposure, parts: Sequence[str]) -> Any:
    """A function from an id to its `fitted` column."""
    masks: dict[str, int] = {}
    for place, part in enumerate(parts):
        for each in exposure.parts[part]:
            masks[each] = masks.get(each, 0) | 1 << place
    width = (len(parts) + 7) // 8
    return lambda each: masks.get(each, 0).to_bytes(width, "little")


def _labels(task: Any, data: Dataset) -> dict[str, int]:
    """One label per sample, where the task has them."""
    if not isinstance(task, LogitTask):
        return {}
    found = [task.labels(task.batch(data, at)).cpu() for at in torch.split(torch.arange(len(data)), CHUNK)]
    single = all(each.ndim == 1 and not each.is_floating_point() for each in found)
    return dict(zip(data.ids, torch.cat(found).tolist(), strict=True)) if single else {}


def contents(data: Dataset, salt: bytes) -> list[bytes]:
    """A keyed hash of every sample's columns: names, types, shapes and bytes."""
    out = []
    for start in range(0, len(data), CHUNK):
        at = np.arange(start, min(start + CHUNK, len(data)))
        read = {key: data.read(key, at).cpu().contiguous() for key in sorted(data.table.columns)}
        header = " ".join(f"{key} {each.dtype} {tuple(each.shape[1:])}" for key, each in read.items()).encode()
        columns = [each.view(torch.uint8).numpy().reshape(-1).data for each in read.values() if each.numel()]
        for row in range(len(at)):
            hasher = hashlib.blake2b(header, key=salt, digest_size=16)
            for column in columns:
                width = len(column) // len(at)
                hasher.update(column[row * width : (row + 1) * width])
            out.append(hasher.digest())
    return out


# --- exposure ------------------------------------------------------------------------------------------------------


def read_exposure(connection: sqlite3.Connection, parts: Sequence[str], mended: Sequence[str]) -> Exposure:
    """Which samples each part was fitted on, and which parts an erasure mends. Raises CorruptRun for others."""
    if strange := [each for each in mended if each not in parts]:
        raise CorruptRun(f"the run mends {strange}, which it does not have", expected=f"some of {', '.join(parts)}",
                         do="restore the run folder from a backup")  # fmt: skip
    groups: dict[bytes, list[str]] = {}
    for each, fitted in connection.execute("SELECT id, fitted FROM samples"):
        groups.setdefault(fitted, []).append(each)
    return Exposure({
        part: frozenset().union(*(ids for fitted, ids in groups.items()
                                  if int.from_bytes(fitted, "little") >> place & 1))
        for place, part in enumerate(parts)
    }, frozenset(mended))  # fmt: skip


def write_exposure(connection: sqlite3.Connection, before: Exposure, after: Exposure) -> list[str]:
    """Change the bits that differ; gives the parts in the order of their bits."""
    parts = sorted(after.parts)
    if sorted(before.parts) == parts:
        moved = (
            before.parts[each] ^ after.parts[each] for each in parts if before.parts[each] is not after.parts[each]
        )
        changed: Iterable[str] = frozenset().union(*moved)
    else:
        changed = [each for (each,) in connection.execute("SELECT id FROM samples")]
    if changed:
        fitted = _bits(after, parts)
        connection.executemany("UPDATE samples SET fitted = ? WHERE id = ?", ((fitted(each), each) for each in changed))
    return parts


# --- asking --------------------------------------------------------------------------------------------------------


def erase(connection: sqlite3.Connection, ids: Iterable[str], receipt: int) -> None:
    """Leave the tombstones only."""
    connection.executemany("UPDATE samples SET owner = NULL, label = NULL, content = NULL, erased = ? WHERE id = ?",
                           ((receipt, each) for each in ids))  # fmt: skip


def owned_by(connection: sqlite3.Connection, owner: str, where: str) -> list[str]:
    """Raises UnknownOwner."""
    query = "SELECT id FROM samples WHERE owner = ? AND erased IS NULL ORDER BY row"
    found = [each for (each,) in connection.execute(query, (owner,))]
    if not found:
        known = [each for (each,) in connection.execute("SELECT DISTINCT owner FROM samples WHERE owner IS NOT NULL")]
        raise UnknownOwner(f"'{owner}' owns nothing in '{where}'", expected=f"one of its {len(known)} owners",
                           do=nearest_names(owner, known[:SHOWN]))  # fmt: skip
    return found


def labelled(connection: sqlite3.Connection, label: int) -> list[str]:
    """The samples of a label that may be erased; may be empty."""
    query = "SELECT id FROM samples WHERE label = ? AND erased IS NULL AND NOT public ORDER BY row"
    return [each for (each,) in connection.execute(query, (label,))]


def held(connection: sqlite3.Connection) -> list[str]:
    return [each for (each,) in connection.execute("SELECT id FROM samples WHERE erased IS NULL ORDER BY row")]


def erased(connection: sqlite3.Connection) -> dict[str, int]:
    """Tombstones, each with the number of its receipt."""
    return dict(connection.execute("SELECT id, erased FROM samples WHERE erased IS NOT NULL ORDER BY erased, row"))


def check(connection: sqlite3.Connection, ids: Sequence[str], where: str) -> None:
    """Raises UnknownSample, AlreadyForgotten, NotErasable."""
    query = "SELECT public, erased FROM samples WHERE id = ?"
    found = [(each, connection.execute(query, (each,)).fetchone()) for each in ids]
    if lost := [each for each, row in found if row is None]:
        some = held(connection)[:SHOWN]
        raise UnknownSample(f"{len(lost)} of {len(ids)} ids are not in '{where}', first '{lost[0]}'",
                            expected=f"ids such as '{some[0] if some else ''}'",
                            do=nearest_names(lost[0], some))  # fmt: skip
    if gone := [(each, erased) for each, (_, erased) in found if erased is not None]:
        told = f"receipt {gone[0][1]:04d} has it" if gone[0][1] else "it was gone when the run began"
        raise AlreadyForgotten(f"{len(gone)} of {len(ids)} ids were erased before, first '{gone[0][0]}'",
                               expected="samples that are still held", do=f"leave them out: {told}")  # fmt: skip
    if public := [each for each, (public, _) in found if public]:
        raise NotErasable(f"{len(public)} of {len(ids)} samples were declared public, first '{public[0]}'",
                          expected="samples that may be erased",
                          do="retrain without them: a public part is never erased in place")  # fmt: skip


def check_data(
    connection: sqlite3.Connection, data: Dataset, leaving: Iterable[str], spec: Any, salt: bytes
) -> Dataset:
    """The samples of `data` that are still held, once they are known to be those that the model was trained on.

    Erased samples are left out, so that no refit can bring them back; they, and those `leaving`, may be missing.
    Raises WrongDigest.
    """
    rows = connection.execute("SELECT id, content, erased FROM samples").fetchall()
    gone = {each for each, _, erased in rows if erased is not None}
    stored = {each: content for each, content, erased in rows if erased is None}
    stays = np.array([each not in gone for each in data.ids], np.bool_)
    data = data if stays.all() else data.take(np.flatnonzero(stays))
    have = dict(zip(data.ids, contents(data, salt), strict=True))
    wrong = {
        "are unknown": [each for each in have if each not in stored],
        "have other contents": [each for each, hashed in have.items() if stored.get(each) not in (None, hashed)],
        "are missing": sorted({each for each, hashed in stored.items() if hashed} - have.keys() - set(leaving)),
    }
    for what, ids in wrong.items():
        if ids:
            raise WrongDigest(f"{len(ids)} samples of '{data.name}' {what}, first '{ids[0]}'",
                              expected="the training data; only erased samples may be missing",
                              do=f"load it as the run says: {json.dumps(spec)}")  # fmt: skip
    return data
