"""The memory that built-to-forget models read and erase from: rows by id, in RAM, searched exactly.

    row = (id, label, key, value)      key (key_width,) float32, value (value_width,) float32, label int64, -1 for none

Only rows live here; what is derived from them (class sums, folded heads) lives with the model that derives it. Deleting
moves rows from the end into the holes and zeroes the end, so it costs O(rows deleted) and the bytes leave RAM. The
search is exact: no centroid, code book or graph is learned from a row that somebody may ask to erase.

An index or a server can stand behind the same interface, `MemoryStore`.
"""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from erasable._plumbing.names import Names
from erasable.errors import (
    AlreadyForgotten,
    CorruptRun,
    EmptyRequest,
    InvalidData,
    SettingsError,
    UnknownSample,
    nearest_names,
)

Metric = Literal["cosine", "l2", "dot"]
BUDGET = 1 << 24  # scores held at a time during a search: 64 MiB
QUERIES = 256  # queries scored in one matrix product


@runtime_checkable
class MemoryStore(Protocol):
    """What a model may rely on, wherever the rows are kept."""

    @property
    def ids(self) -> Sequence[str]: ...

    def __len__(self) -> int: ...

    def __contains__(self, sample: object) -> bool: ...

    def rows(self, ids: Iterable[str]) -> Tensor: ...

    def find(self, ids: Iterable[str]) -> Tensor: ...

    def add(
        self, ids: Iterable[str], keys: Tensor, values: Tensor | None = None, labels: Tensor | None = None
    ) -> None: ...

    def remove(self, ids: Iterable[str]) -> None: ...

    def pop(self, ids: Iterable[str]) -> tuple[Tensor, Tensor]: ...

    def nearest(
        self, queries: Tensor, k: int, *, exclude: Tensor | None = None, metric: Metric = "cosine"
    ) -> tuple[Tensor, Tensor]: ...

    def digest(self) -> str: ...


class Memory:
    """The embedded, exact store.

    `keys`, `values` and `labels` are views into buffers that grow and are zeroed: use them before the next `add`,
    `remove` or `to`, and copy what must last longer. `forgotten` holds the names of rows that were removed.
    """

    def __init__(self, key_width: int, value_width: int = 0, *, device: torch.device | str = "cpu") -> None:
        if key_width < 1 or value_width < 0:
            raise InvalidData(f"a memory of key width {key_width} and value width {value_width}",
                              expected="keys of at least one number", do="pass key_width >= 1")  # fmt: skip
        self.key_width, self.value_width = key_width, value_width
        self.device = torch.device(device)
        self._names = Names()
        self.forgotten: set[str] = set()
        self._columns = self._allocate(0)
        self._hashes: NDArray[np.uint64] = np.zeros((0, 8), np.uint64)  # of each row; see digest
        self._hashed: NDArray[np.bool_] = np.zeros(0, np.bool_)  # which rows have their hash
        self._sum: NDArray[np.uint64] = np.zeros(8, np.uint64)  # of the hashes of the rows that have one

    def _allocate(self, capacity: int) -> dict[str, Tensor]:
        return {
            "keys": torch.empty(capacity, self.key_width, device=self.device),
            "values": torch.empty(capacity, self.value_width, device=self.device),
            "labels": torch.empty(capacity, dtype=torch.int64, device=self.device),
            "norms": torch.empty(capacity, device=self.device),  # Euclidean, of the keys
        }

    # --- looking ---------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, sample: object) -> bool:
        return sample in self._names

    def __repr__(self) -> str:
        return f"Memory({len(self)} rows, keys {self.key_width}, values {self.value_width}, {self.device})"

    @property
    def ids(self) -> list[str]:
        """The names, row by row: a new list, so keep it where you need it more than once."""
        return self._names.in_order()

    @property
    def keys(self) -> Tensor:
        """(rows, key_width) float32."""
        return self._columns["keys"][: len(self)]

    @property
    def values(self) -> Tensor:
        """(rows, value_width) float32."""
        return self._columns["values"][: len(self)]

    @property
    def labels(self) -> Tensor:
        """(rows,) int64, -1 where a row was added without one."""
        return self._columns["labels"][: len(self)]

    @property
    def bytes_used(self) -> int:
        """Size of the buffers, spare capacity included, without Python's ids."""
        return sum(each.nbytes for each in self._columns.values()) + self._hashes.nbytes + self._hashed.nbytes

    def rows(self, ids: Iterable[str]) -> Tensor:
        """Row numbers, (ids,) int64 on this device, valid until the next `remove`.

        Raises UnknownSample, AlreadyForgotten.
        """
        return torch.from_numpy(self._known(list(ids))).to(self.device)

    def find(self, ids: Iterable[str]) -> Tensor:
        """As `rows`, with -1 for an id that is not held."""
        return torch.from_numpy(self._names.rows_of(ids)).to(self.device)

    def _known(self, ids: list[str]) -> NDArray[np.int64]:
        rows = self._names.rows_of(ids)
        if (rows < 0).any():
            lost = [each for each, row in zip(ids, rows.tolist(), strict=True) if row < 0]
            never = [each for each in lost if each not in self.forgotten]
            if not never:
                raise AlreadyForgotten(f"{len(lost)} of {len(ids)} ids were erased before, first '{lost[0]}'",
                                       expected="ids that the memory holds", do="leave them out")  # fmt: skip
            known = self.ids[:2000]
            raise UnknownSample(f"{len(never)} of {len(ids)} ids are not in the memory, first '{never[0]}'",
                                expected=f"ids such as '{known[0] if known else ''}'",
                                do=nearest_names(never[0], known))  # fmt: skip
        return rows

    # --- changing --------------------------------------------------------------------------------------------------

    def add(
        self,
        ids: Iterable[str],
        keys: Tensor | NDArray[Any],
        values: Tensor | NDArray[Any] | None = None,
        labels: Tensor | NDArray[Any] | None = None,
        *,
        again: bool = False,
    ) -> None:
        """Append rows; all of them or, when it raises, none.

        keys (n, key_width), values (n, value_width) or None when the width is 0, labels (n,) integers or None.
        Raises InvalidData (repeated id, wrong shape, NaN or infinity) and AlreadyForgotten for an id that was removed
        before, unless `again` says that its return is meant.
        """
        names = list(ids)
        given = self._checked(names, keys, values, labels, again)
        start, end = len(self), len(self) + len(names)
        self._reserve(end)
        for name, column in given.items():
            self._columns[name][start:end].copy_(column)
        norms = {name: torch.linalg.vector_norm(self._columns[name][start:end], dim=1) for name in ("keys", "values")}
        finite = torch.isfinite(norms["keys"]) & torch.isfinite(norms["values"])
        if not bool(finite.all()):
            for column in self._columns.values():
                column[start:end].zero_()
            raise InvalidData(f"row '{names[int(finite.int().argmin())]}' holds NaN, infinity or numbers above 1e19",
                              expected="finite keys and values", do="repair the encoder or drop it")  # fmt: skip
        self._columns["norms"][start:end] = norms["keys"]
        self._names.append(names)
        self.forgotten.difference_update(names)

    def _checked(self, names: list[str], keys: Any, values: Any, labels: Any, again: bool) -> dict[str, Tensor]:
        n = len(names)
        _refuse_bad_names(names)
        if len(set(names)) != n or any(each in self._names for each in names):
            seen = set(self._names.in_order())
            twice = next(each for each in names if each in seen or seen.add(each))  # type: ignore[func-returns-value]
            raise InvalidData(f"id '{twice}' would stand for two rows", expected="ids that are new to the memory",
                              do="remove the old row first, or choose another id")  # fmt: skip
        if not again and self.forgotten and (back := [each for each in names if each in self.forgotten]):
            raise AlreadyForgotten(f"{len(back)} of {n} ids were erased before, first '{back[0]}'",
                                   expected="samples that nobody asked to erase",
                                   do="leave them out, or pass again=True when their return is meant")  # fmt: skip
        if values is None:
            values = torch.empty(n, 0)
        if labels is None:
            labels = torch.full((n,), -1, dtype=torch.int64)
        given = {"keys": _tensor(keys), "values": _tensor(values), "labels": _tensor(labels)}
        shapes = {"keys": (n, self.key_width), "values": (n, self.value_width), "labels": (n,)}
        for name, shape in shapes.items():
            if tuple(given[name].shape) != shape:
                raise InvalidData(f"{name} of shape {tuple(given[name].shape)} for {n} ids", expected=f"{shape}",
                                  do="encode one row per id, in the width of this memory")  # fmt: skip
        kind = given["labels"].dtype
        if kind.is_floating_point or kind.is_complex or kind == torch.bool:
            raise InvalidData(f"labels of type {kind}", expected="integers", do="pass class numbers")
        return {name: column.detach() for name, column in given.items()}

    def _reserve(self, rows: int) -> None:
        """Room for `rows` rows. A buffer that is outgrown is zeroed before it is let go: rows leave RAM with it."""
        n, capacity = len(self), len(self._hashed)
        if rows <= capacity:
            return
        capacity = max(rows, 2 * capacity)
        wider = self._allocate(capacity)
        for name, old in self._columns.items():
            wider[name][:n].copy_(old[:n])
            wider[name][rows:].zero_()  # what lies between is written next
            old.zero_()
        hashes, hashed = np.zeros((capacity, 8), np.uint64), np.zeros(capacity, np.bool_)
        hashes[:n], hashed[:n] = self._hashes[:n], self._hashed[:n]
        self._hashes.fill(0)
        self._columns, self._hashes, self._hashed = wider, hashes, hashed

    def remove(self, ids: Iterable[str]) -> None:
        """Delete rows; all of them or, when it raises, none. O(ids), however many rows remain.

        The remaining rows keep their bits; some move to another row number, the same ones whatever the order of `ids`.
        Raises UnknownSample, AlreadyForgotten, EmptyRequest.
        """
        self._drop(*self._claim(ids))

    def pop(self, ids: Iterable[str]) -> tuple[Tensor, Tensor]:
        """`remove`, and copies of the keys and labels that went, in the order of `ids`. Raises what `remove` raises."""
        names, rows = self._claim(ids)
        at = torch.from_numpy(rows).to(self.device)
        keys, labels = (self._columns[name].index_select(0, at) for name in ("keys", "labels"))
        self._drop(names, rows)
        return keys, labels

    def _claim(self, ids: Iterable[str]) -> tuple[list[str], NDArray[np.int64]]:
        """Take names out, all or none: the one look-up per id that a deletion costs."""
        names = list(ids)
        if not names:
            raise EmptyRequest("no ids to remove from the memory", expected="at least one",
                               do="name the samples you mean")  # fmt: skip
        rows = self._names.pop(names)
        if rows is None:  # a repeated name is gone when it comes again
            names = list(dict.fromkeys(names))
            rows = self._names.pop(names)
        return names, self._known(names) if rows is None else rows  # `_known` says which one is wrong

    def _drop(self, names: list[str], rows: NDArray[np.int64]) -> None:
        """Close the gaps at `rows`, whose `names` were claimed, with rows from the end, and zero the end."""
        gone = np.sort(rows)
        left, n = len(self), len(self) + len(names)
        holes, tail = gone[gone < left], gone[gone >= left]
        stays = np.ones(n - left, np.bool_)
        stays[tail - left] = False
        movers = left + np.flatnonzero(stays)  # rows of the tail that must survive: exactly one per hole

        to, source = torch.from_numpy(holes).to(self.device), torch.from_numpy(movers).to(self.device)
        for column in self._columns.values():
            column.index_copy_(0, to, column.index_select(0, source))
            column[left:n].zero_()
        hashed = gone[self._hashed[gone]]
        self._sum -= self._hashes[hashed].sum(axis=0, dtype=np.uint64)
        for buffer in (self._hashes, self._hashed):
            buffer[holes] = buffer[movers]
            buffer[left:n] = 0
        self._names.close(holes, movers)
        self.forgotten.update(names)

    def to(self, device: torch.device | str) -> "Memory":
        """Move the buffers in place, and zero the ones that were left."""
        target = torch.device(device)
        if target != self.device:
            old = self._columns
            self._columns = {name: column.to(target) for name, column in old.items()}
            self.device = self._columns["keys"].device
            for name, column in old.items():
                if self._columns[name] is not column:  # "cuda" and "cuda:0" may be the same place
                    column.zero_()
        return self

    # --- searching -------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def nearest(
        self, queries: Tensor, k: int, *, exclude: Tensor | None = None, metric: Metric = "cosine"
    ) -> tuple[Tensor, Tensor]:
        """The k best rows of each query, best first: scores (queries, k) and row numbers (queries, k).

        queries (q, key_width). A larger score is a better one: `cosine` similarity, `dot` product, or minus the
        Euclidean distance for `l2`. `exclude` (q,) names a row that a query may not find, such as its own; -1 for none.
        A query's answer depends on no other query. Memory is bounded: rows and queries are scored in blocks. The order
        among equal scores is not specified. No gradients.

        Raises InvalidData for fewer than k rows to choose from, a wrong width, NaN, or a row that does not exist;
        SettingsError for an unknown metric.
        """
        asked = queries.to(self.device, torch.float32)
        skip = self._check_search(asked, k, exclude, metric)
        if metric == "cosine":
            asked = torch.nn.functional.normalize(asked, dim=1)
        q, n = len(asked), len(self)
        best = torch.empty(q, k, device=self.device)
        found = torch.empty(q, k, dtype=torch.int64, device=self.device)
        block = max(1, min(QUERIES, BUDGET // (k * self.key_width)))
        width = max(1, BUDGET // block)
        for start in range(0, q, block):
            at = slice(start, start + block)
            scores, rows = best[at, :0], found[at, :0]
            for low in range(0, n, width):
                new = self._scores(asked[at], slice(low, min(low + width, n)), metric)
                if skip is not None:
                    column = skip[at] - low
                    here = torch.nonzero((column >= 0) & (column < new.shape[1])).flatten()
                    new[here, column[here]] = -torch.inf
                top, where = new.topk(min(k, new.shape[1]), dim=1)
                scores, rows = torch.cat([scores, top], dim=1), torch.cat([rows, where + low], dim=1)
                scores, order = scores.topk(min(k, scores.shape[1]), dim=1)
                rows = rows.gather(1, order)
            if metric == "l2":  # the scan ranks by 2qk - kk; the distances themselves come from differences
                scores = -torch.linalg.vector_norm(self.keys[rows] - asked[at, None], dim=2)
                scores, order = scores.sort(dim=1, descending=True)
                rows = rows.gather(1, order)
            best[at], found[at] = scores, rows
        return best, found

    def _scores(self, asked: Tensor, part: slice, metric: Metric) -> Tensor:
        """What the scan ranks a block of rows by, (queries, rows)."""
        product = asked @ self._columns["keys"][part].T
        norms = self._columns["norms"][part]
        if metric == "cosine":
            return product.div_(norms.clamp_min(1e-12))
        return product.mul_(2).sub_(norms.square()) if metric == "l2" else product

    def _check_search(self, asked: Tensor, k: int, exclude: Tensor | None, metric: str) -> Tensor | None:
        if metric not in ("cosine", "l2", "dot"):
            raise SettingsError(f"metric '{metric}'", expected="cosine, l2 or dot", do="choose one of these")
        if asked.ndim != 2 or asked.shape[1] != self.key_width or not bool(torch.isfinite(asked).all()):
            raise InvalidData(f"queries of shape {tuple(asked.shape)}, or with NaN",
                              expected=f"finite numbers of shape (queries, {self.key_width})",
                              do="encode them like the keys")  # fmt: skip
        skip = None
        if exclude is not None:
            skip = exclude.to(self.device)
            if skip.shape != (len(asked),) or bool(((skip < -1) | (skip >= len(self))).any()):
                raise InvalidData(f"excluded rows of shape {tuple(skip.shape)}, or rows that do not exist",
                                  expected=f"one row in [0, {len(self)}) or -1 per query",
                                  do="take them from `rows`")  # fmt: skip
            skip = skip if bool((skip >= 0).any()) else None
        free = len(self) - (skip is not None)
        if not 1 <= k <= free:
            raise InvalidData(f"{k} nearest rows asked of {free}", expected=f"k in [1, {free}]",
                              do="ask for fewer neighbours, or fill the memory first")  # fmt: skip
        return skip

    # --- identity --------------------------------------------------------------------------------------------------

    def digest(self, *, without: Iterable[str] = ()) -> str:
        """A fingerprint of all rows that does not depend on their order, as SHA-256 in hexadecimal.

        `without` leaves rows out, as if they had been removed; names that are not held are passed over.

        Each row's BLAKE2b hash is read as eight 64-bit words and the words are added up with wrap-around, so a row is
        taken out by subtracting its hash: O(rows changed) since the last call. This is a multiset hash in the manner
        of AdHash (Bellare and Micciancio, 1997). It shows that two memories hold the same rows; it is no commitment
        towards somebody who may choose the rows, because sums of this size can be steered.
        """
        self._hash_new_rows()
        out = self._names.rows_of(set(without))
        out = out[out >= 0]
        total = self._sum - self._hashes[out].sum(axis=0, dtype=np.uint64)
        header = f"erasable memory 1, keys {self.key_width}, values {self.value_width}, rows {len(self) - len(out)}\n"
        return hashlib.sha256(header.encode() + total.astype("<u8").tobytes()).hexdigest()

    def _hash_new_rows(self) -> None:
        new = np.flatnonzero(~self._hashed[: len(self)])
        names = self.ids if len(new) else []
        for start in range(0, len(new), 4096):
            rows = new[start : start + 4096]
            hashes = _row_hashes([names[row] for row in rows.tolist()], *(
                self._columns[name][torch.from_numpy(rows).to(self.device)].cpu().numpy()
                for name in ("labels", "keys", "values")))  # fmt: skip
            self._hashes[rows] = hashes
            self._hashed[rows] = True
            self._sum += hashes.sum(axis=0, dtype=np.uint64)

    # --- copies and files ------------------------------------------------------------------------------------------

    def select(self, ids: Iterable[str]) -> "Memory":
        """A new memory with just these rows, in the order given; it has forgotten nothing. Raises UnknownSample."""
        names = list(ids)
        rows = self.rows(names)
        copy = Memory(self.key_width, self.value_width, device=self.device)
        copy.add(names, self.keys[rows], self.values[rows], self.labels[rows])
        return copy

    def save(self, path: Path | str) -> None:
        """Write one SQLite file, atomically. Raises DiskFull, StorageError."""
        from erasable._plumbing import storage

        facts = {"key_width": self.key_width, "value_width": self.value_width, "memory_digest": self.digest()}
        with storage.building(Path(path), "CREATE TABLE forgotten (id TEXT PRIMARY KEY) STRICT;") as connection:
            storage.insert_rows(connection, self.ids, self.labels, self.keys, self.values)
            storage.write_state(connection, facts)
            connection.executemany("INSERT INTO forgotten VALUES (?)", ((each,) for each in sorted(self.forgotten)))

    @classmethod
    def open(cls, path: Path | str, *, device: torch.device | str = "cpu") -> "Memory":
        """Read what `save` wrote; ids, bits and row order are the same. Raises CorruptRun, StorageError."""
        from erasable._plumbing import storage

        with storage.opened(Path(path), wal=False) as connection:
            memory = cls.read(connection, path, device=device)
            memory.forgotten.update(name for (name,) in connection.execute("SELECT id FROM forgotten"))
        return memory

    @classmethod
    def read(cls, connection: Any, path: Path | str, *, device: torch.device | str = "cpu") -> "Memory":
        """The rows of an open SQLite file, checked against the digest stored beside them. Raises CorruptRun."""
        from erasable._plumbing import storage

        facts = storage.read_state(connection, path, {"key_width": int, "value_width": int, "memory_digest": str})
        memory = cls(facts["key_width"], facts["value_width"], device=device)
        try:
            rows = storage.read_rows(connection, path, memory.key_width, memory.value_width)
            memory.add(rows.ids, rows.keys, rows.values, rows.labels)
        except InvalidData as wrong:
            raise CorruptRun(f"'{path}' is damaged ({wrong.came})", expected="the rows as they were written",
                             do="restore it from a backup") from wrong  # fmt: skip
        if memory.digest() != facts["memory_digest"]:
            raise CorruptRun(f"the rows of '{path}' do not have the digest stored beside them",
                             expected="the rows as they were written", do="restore it from a backup")  # fmt: skip
        return memory


def _tensor(column: Any) -> Tensor:
    """A tensor, of a read-only (memory-mapped) array too."""
    return torch.as_tensor(column.copy() if isinstance(column, np.ndarray) and not column.flags.writeable else column)


def _refuse_bad_names(names: list[str]) -> None:
    if not all(isinstance(each, str) for each in names):
        raise InvalidData("an id that is not a string", expected="names, never positions", do="pass str ids")
    try:
        "".join(names).encode()
    except UnicodeEncodeError as wrong:  # the id itself is not shown: it cannot be printed
        raise InvalidData(f"an id that is no valid text ({wrong.reason})", expected="Unicode text",
                          do="rename the sample") from wrong  # fmt: skip


def _row_hashes(
    ids: list[str], labels: NDArray[np.int64], keys: NDArray[np.float32], values: NDArray[np.float32]
) -> NDArray[np.uint64]:
    """BLAKE2b of each row as eight words, (rows, 8). Lengths come first, so that no two rows share an encoding."""
    key_bytes, value_bytes = keys.view(np.uint8).reshape(-1).data, values.view(np.uint8).reshape(-1).data
    key, value = keys.itemsize * keys.shape[1], values.itemsize * values.shape[1]
    out = bytearray()
    for row, (name, label) in enumerate(zip(ids, labels.tolist(), strict=True)):
        encoded = name.encode()
        header = len(encoded).to_bytes(8, "little") + encoded + label.to_bytes(8, "little", signed=True)
        hasher = hashlib.blake2b(header)
        hasher.update(key_bytes[row * key : (row + 1) * key])
        hasher.update(value_bytes[row * value : (row + 1) * value])
        out += hasher.digest()
    return np.frombuffer(bytes(out), "<u8").astype(np.uint64).reshape(-1, 8)
