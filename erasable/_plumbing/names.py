"""Which row of a table holds which name, when rows move.

A name gets a number for life. Which row a number is in is kept in arrays, so that looking a thousand names up costs one
dictionary look-up each and one read of an array, and moving rows touches no Python object at all.
"""

from collections.abc import Iterable, Sequence
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]


class Names:
    """Names by row and rows by name; the rows are always 0 ... len - 1."""

    def __init__(self) -> None:
        self._number: dict[str, int] = {}
        self._row: Rows = np.full(1, -1, np.int64)  # by number; the last entry serves number -1, "no such name"
        self._at: Rows = np.zeros(0, np.int64)  # number by row
        self._given = 0  # numbers so far

    def __len__(self) -> int:
        return len(self._number)

    def __contains__(self, name: object) -> bool:
        return name in self._number

    def in_order(self) -> list[str]:
        """A new list of all names, row by row."""
        out = np.empty(len(self), dtype=object)
        out[self.rows_of(self._number)] = list(self._number)
        return out.tolist()  # type: ignore[no-any-return]

    def rows_of(self, names: Iterable[str]) -> Rows:
        """The row of each name, -1 for one that is not here."""
        return self._row[np.fromiter(map(self._number.get, names, repeat(-1)), np.int64)]

    def append(self, names: Sequence[str]) -> None:
        """Give the next rows to names that are all new and differ from one another."""
        start, end = len(self), len(self) + len(names)
        if self._given + len(names) >= len(self._row):
            self._make_room(end)
        numbers = range(self._given, self._given + len(names))
        self._number.update(zip(names, numbers, strict=True))
        self._row[numbers.start : numbers.stop] = np.arange(start, end)
        self._at[start:end] = np.arange(numbers.start, numbers.stop)
        self._given = numbers.stop

    def _make_room(self, rows: int) -> None:
        """Arrays for twice as many rows as are needed, and numbers from 0 again: those of names that left are free."""
        names, n = self.in_order(), len(self)
        self._number = dict(zip(names, range(n), strict=True))
        self._row, self._at = np.full(2 * rows + 1, -1, np.int64), np.zeros(2 * rows, np.int64)
        self._row[:n] = self._at[:n] = np.arange(n)
        self._given = n

    def pop(self, names: Sequence[str]) -> Rows | None:
        """Take names out and return their rows, which `close` must fill. None, and nothing is changed, when one of them
        is not here, or is given twice."""
        numbers = np.fromiter(map(self._number.pop, names, repeat(-1)), np.int64, len(names))
        if (numbers < 0).any():
            found = zip(names, numbers.tolist(), strict=True)
            self._number.update((name, number) for name, number in found if number >= 0)
            return None
        return self._row[numbers]

    def close(self, holes: Rows, movers: Rows) -> None:
        """Move the names of rows `movers` into the rows `holes`."""
        moved = self._at[movers]
        self._row[moved] = holes
        self._at[holes] = moved
