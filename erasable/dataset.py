"""A data set: columns of samples with names that last.

    columns   tensors or memory-mapped arrays; the first axis is samples
    ids       one stable, unique name per sample, never a position
    owners    whose sample it is (optional)
    public    which samples were declared *not erasable* (optional): nobody can ask for them, so a model part that was
              fitted on nothing else never has to be refitted

`only`, `without`, `owned_by`, `where` and `private` are views: they share the columns and hold row numbers. `replace`
and `with_copies` are new data sets: the original never changes.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from erasable.errors import EmptyRequest, InvalidData, UnknownOwner, UnknownSample, nearest_names

Column = Tensor | NDArray[Any]
Rows = NDArray[np.int64]
CHUNK_BYTES = 1 << 24  # read at a time when a whole column must be seen: bounded memory for memory-mapped columns


@dataclass(frozen=True, eq=False)
class _Table:
    """What all views of one data set share."""

    name: str
    columns: Mapping[str, Column]
    ids: NDArray[np.str_]
    owners: NDArray[np.str_] | None
    public: NDArray[np.bool_]
    facts: Mapping[str, Any]

    @cached_property
    def position(self) -> dict[str, int]:
        return {name: row for row, name in enumerate(self.ids.tolist())}


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples by id. Build one with `Dataset.of`, or with a function of `erasable.datasets`."""

    table: _Table
    rows: Rows = field(repr=False)  # this view's row numbers in the table

    @classmethod
    def of(
        cls,
        columns: Mapping[str, Column],
        ids: Sequence[str] | NDArray[Any],
        *,
        owners: Sequence[str] | NDArray[Any] | None = None,
        public: Sequence[bool] | NDArray[np.bool_] | None = None,
        name: str = "data",
        facts: Mapping[str, Any] | None = None,
    ) -> "Dataset":
        """Check and wrap columns; nothing is copied.

        `facts` are JSON-like notes that travel with the data: `classes` (names), `low` and `high` (the nominal range of
        the inputs), `owners` ("synthetic" where they were made up), `source`.

        Raises InvalidData: no samples, columns of different lengths, repeated ids, NaN or infinity in a column, a type
        that no tensor can hold.
        """
        names = np.asarray(ids, dtype=np.str_)
        n = len(names)
        if n == 0 or not columns:
            raise InvalidData(f"data set '{name}' has {n} samples and {len(columns)} columns",
                              expected="at least one of each", do="check the source that was read")  # fmt: skip
        for key, column in columns.items():
            _refuse_type(name, key, column)
            if len(column) != n:
                raise InvalidData(f"column '{key}' of '{name}' has {len(column)} rows",
                                  expected=f"{n}, one per id", do="give every column the same first axis")  # fmt: skip
            _refuse_nan(name, key, column, names)
        unique, counts = np.unique(names, return_counts=True)
        if len(unique) != n:
            raise InvalidData(f"id '{unique[counts > 1][0]}' of '{name}' stands for {counts[counts > 1][0]} samples",
                              expected="ids that are unique", do="choose another id column")  # fmt: skip
        who = None if owners is None else np.asarray(owners, dtype=np.str_)
        if who is not None and len(who) != n:
            raise InvalidData(f"'{name}' has {len(who)} owners", expected=f"{n}, one per id", do="give one each")
        open_to_all = np.zeros(n, np.bool_) if public is None else np.asarray(public, np.bool_)
        if open_to_all.shape != (n,):
            raise InvalidData(f"'{name}' has a public mask of shape {open_to_all.shape}", expected=f"({n},)",
                              do="say of each sample whether it is public")  # fmt: skip
        return cls(_Table(name, dict(columns), names, who, open_to_all, dict(facts or {})), np.arange(n))

    # --- looking ---------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        shapes = ", ".join(f"{k}{list(c.shape[1:])}" for k, c in self.table.columns.items())
        return f"Dataset('{self.name}', {len(self)} samples, {shapes})"

    @property
    def name(self) -> str:
        return self.table.name

    @property
    def facts(self) -> Mapping[str, Any]:
        return self.table.facts

    @cached_property
    def ids(self) -> tuple[str, ...]:
        return tuple(self.table.ids[self.rows].tolist())

    @cached_property
    def owners(self) -> tuple[str, ...] | None:
        return None if self.table.owners is None else tuple(self.table.owners[self.rows].tolist())

    def read(self, column: str, at: Tensor | Rows | None = None) -> Tensor:
        """Rows `at` (positions in this view; all when None) of one column, in one indexed read. Raises InvalidData."""
        stored = self.table.columns.get(column)
        if stored is None:
            raise InvalidData(f"'{self.name}' has no column '{column}'",
                              expected=f"one of {', '.join(sorted(self.table.columns))}",
                              do=nearest_names(column, self.table.columns))  # fmt: skip
        rows = self.rows if at is None else self.rows[at.cpu().numpy() if isinstance(at, Tensor) else at]
        if isinstance(stored, Tensor):
            return stored[torch.from_numpy(rows).to(stored.device)]
        return torch.from_numpy(np.ascontiguousarray(stored[rows]))

    @cached_property
    def _inverse(self) -> Rows:
        """Table row -> position in this view, -1 where absent."""
        inverse = np.full(len(self.table.ids), -1, np.int64)
        inverse[self.rows] = np.arange(len(self.rows))
        return inverse

    def positions(self, ids: Iterable[str]) -> Rows:
        """Positions in this view of the samples called `ids`. Raises UnknownSample, EmptyRequest."""
        known = self.table.position
        ids = [ids] if isinstance(ids, str) else list(ids)  # one id is not a list of letters
        if not ids:
            raise EmptyRequest(f"no ids for '{self.name}'", expected="at least one", do="name the samples you mean")
        found = np.fromiter((known.get(each, -1) for each in ids), np.int64, len(ids))
        here = np.where(found >= 0, self._inverse[found], -1)
        if (here < 0).any():
            lost = [each for each, at in zip(ids, here, strict=True) if at < 0]
            raise UnknownSample(f"{len(lost)} of {len(ids)} ids are not in '{self.name}', first '{lost[0]}'",
                                expected=f"ids such as '{self.ids[0] if len(self) else ''}'",
                                do=nearest_names(lost[0], self.ids[:2000]))  # fmt: skip
        return here

    # --- views -----------------------------------------------------------------------------------------------------

    def take(self, at: Tensor | Rows) -> "Dataset":
        """The samples at positions `at` of this view."""
        return Dataset(self.table, self.rows[at.cpu().numpy() if isinstance(at, Tensor) else at])

    def only(self, ids: Iterable[str]) -> "Dataset":
        """Just these samples, in this view's order. Raises UnknownSample, EmptyRequest."""
        return self.take(np.unique(self.positions(ids)))

    def without(self, ids: Iterable[str]) -> "Dataset":
        """All but these samples. Raises UnknownSample, EmptyRequest."""
        keep = np.ones(len(self), np.bool_)
        keep[self.positions(ids)] = False
        return self.take(np.flatnonzero(keep))

    def owned_by(self, owner: str) -> "Dataset":
        """One owner's samples. Raises UnknownOwner."""
        owners = self.table.owners
        at = np.flatnonzero(owners[self.rows] == owner) if owners is not None else np.empty(0, np.int64)
        if not len(at):
            known = [] if owners is None else np.unique(owners[self.rows]).tolist()
            raise UnknownOwner(f"'{owner}' owns nothing in '{self.name}'",
                               expected=f"one of its {len(known)} owners",
                               do=nearest_names(owner, known))  # fmt: skip
        return self.take(at)

    def where(self, column: str, value: int) -> "Dataset":
        """The samples whose `column`, one number each, equals `value`; may be empty. Raises InvalidData."""
        values = self.read(column)
        if values.ndim != 1:
            raise InvalidData(f"column '{column}' of '{self.name}' has {list(values.shape[1:])} values per sample",
                              expected="one number", do="choose a column such as the label")  # fmt: skip
        return self.take(torch.nonzero(values == value).flatten())

    @property
    def public(self) -> "Dataset":
        """The samples that were declared not erasable; may be empty."""
        return self.take(np.flatnonzero(self.table.public[self.rows]))

    @property
    def private(self) -> "Dataset":
        """The samples that somebody may ask to erase; may be empty."""
        return self.take(np.flatnonzero(~self.table.public[self.rows]))

    def declare_public(self, ids: Iterable[str]) -> "Dataset":
        """This view, with these samples declared not erasable. Raises UnknownSample, EmptyRequest."""
        public = self.table.public.copy()
        public[self.rows[self.positions(ids)]] = True
        table = self.table
        return Dataset(_Table(table.name, table.columns, table.ids, table.owners, public, table.facts), self.rows)

    def to(self, device: torch.device | str) -> "Dataset":
        """The same data with tensor columns on `device`; memory-mapped columns stay where they are."""
        table = self.table
        moved = {k: c.to(device) if isinstance(c, Tensor) else c for k, c in table.columns.items()}
        return Dataset(_Table(table.name, moved, table.ids, table.owners, table.public, table.facts), self.rows)

    # --- changed copies --------------------------------------------------------------------------------------------

    def replace(self, column: str, ids: Iterable[str], values: Tensor) -> "Dataset":
        """This view with other `values`, one row per id, in one column; that column is copied, the others are shared.

        Raises UnknownSample, EmptyRequest, InvalidData: no such column, an id that is named twice, another shape, a
        value that the column's type cannot hold.
        """
        named = [ids] if isinstance(ids, str) else list(ids)
        rows = self.rows[self.positions(named)]
        if len(np.unique(rows)) != len(rows):
            twice = next(each for each, count in Counter(named).items() if count > 1)
            raise InvalidData(f"id '{twice}' is named twice", expected="one new value per sample", do="name it once")
        shape = (len(rows), *self.read(column, np.arange(0)).shape[1:])
        if tuple(values.shape) != shape:
            raise InvalidData(f"values of the shape {tuple(values.shape)} for column '{column}' of '{self.name}'",
                              expected=f"{shape}, one row per id", do="give each id its value")  # fmt: skip
        stored = self.table.columns[column]
        whole = stored if isinstance(stored, Tensor) else torch.from_numpy(np.array(stored))
        fresh = values.to(whole.device, whole.dtype)
        kept = fresh.to(values.dtype) == values.to(whole.device)
        if not whole.is_floating_point() and not bool(kept.all()):
            raise InvalidData(f"{values[~kept.cpu()][0].item()} for column '{column}' of '{self.name}'",
                              expected=f"values that {whole.dtype} can hold", do="correct the values")  # fmt: skip
        _refuse_nan(self.name, column, fresh, np.asarray(named, np.str_))
        order = torch.arange(len(whole))
        order[torch.from_numpy(rows)] = torch.arange(len(whole), len(whole) + len(rows))
        changed = torch.cat([whole, fresh])[order.to(whole.device)]  # unsigned types know no indexed assignment
        table = self.table
        columns = {**table.columns, column: changed}
        return Dataset(_Table(table.name, columns, table.ids, table.owners, table.public, table.facts), self.rows)

    def with_copies(
        self, ids: Iterable[str], names: Sequence[str], *, owners: Sequence[str] | None = None
    ) -> "Dataset":
        """This view, then exact copies of these samples, called `names` in the order of `ids`. Reads all columns.

        A copy belongs to `owners`, or to the owner of its original, and is public where that is. Raises UnknownSample,
        EmptyRequest, InvalidData: other lengths, a name that is taken, owners in a data set without any.
        """
        at = self.positions(ids)
        if len(names) != len(at) or (owners is not None and len(owners) != len(at)):
            raise InvalidData(f"{len(at)} samples to copy, {len(names)} names and "
                              f"{'no' if owners is None else len(owners)} owners", expected="one of each per copy",
                              do="name each copy")  # fmt: skip
        if owners is not None and self.owners is None:
            raise InvalidData(f"owners of copies in '{self.name}', which has no owners", expected="none",
                              do="leave them out, or give the data owners")  # fmt: skip
        order = np.concatenate([np.arange(len(self)), at])
        who = None if self.owners is None else [*self.owners, *(owners or (self.owners[each] for each in at))]
        return Dataset.of({key: self.read(key, order) for key in self.table.columns}, [*self.ids, *names], owners=who,
                          public=self.table.public[self.rows[order]], name=self.name, facts=self.facts)  # fmt: skip

    # --- identity --------------------------------------------------------------------------------------------------

    @cached_property
    def _digest(self) -> str:
        hasher = hashlib.sha256()
        for names in (self.ids, self.owners or (), self.table.public[self.rows].tolist()):
            hasher.update(("\x1f".join(map(str, names)) + "\x1e").encode())
        for key in sorted(self.table.columns):
            column = self.table.columns[key]
            hasher.update(f"{key} {column.dtype} {tuple(column.shape[1:])}".replace("torch.", "").encode())
            step = _rows_at_a_time(column)
            for start in range(0, len(self), step):
                part = self.read(key, np.arange(start, min(start + step, len(self)))).cpu().contiguous()
                hasher.update(part.view(torch.uint8).numpy().tobytes())  # bytes: numpy knows no bfloat16
        return hasher.hexdigest()

    def digest(self) -> str:
        """SHA-256 of ids, owners and contents in this view's order; independent of device and storage."""
        return self._digest


def _rows_at_a_time(column: Column) -> int:
    row = math.prod(column.shape[1:]) * column.dtype.itemsize
    return max(1, CHUNK_BYTES // max(1, row))


def _refuse_type(name: str, key: str, column: Column) -> None:
    if isinstance(column, Tensor):
        return
    try:
        torch.from_numpy(np.empty(0, column.dtype))
    except (TypeError, ValueError) as error:  # text, objects, foreign byte order
        raise InvalidData(f"column '{key}' of '{name}' holds {column.dtype}", expected="numbers in native byte order",
                          do="convert that column first") from error  # fmt: skip


def _refuse_nan(name: str, key: str, column: Column, ids: NDArray[np.str_]) -> None:
    floating = column.is_floating_point() if isinstance(column, Tensor) else np.issubdtype(column.dtype, np.floating)
    if not floating:
        return
    step = _rows_at_a_time(column)
    for start in range(0, len(column), step):
        part = column[start : start + step]
        finite = torch.isfinite(part) if isinstance(part, Tensor) else torch.from_numpy(np.isfinite(part))
        bad = ~finite.reshape(len(finite), -1).all(1)
        if bad.any():
            row = start + int(torch.nonzero(bad)[0])
            raise InvalidData(f"column '{key}' of '{name}' holds NaN or infinity, first at id '{ids[row]}'",
                              expected="finite numbers", do="repair or drop those samples")  # fmt: skip
