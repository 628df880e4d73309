"""A search for erased bytes in files: does anything of what was deleted remain?

A *needle* is a piece of at least 24 bytes of something that was erased. Every file of a folder is read in blocks and
searched at every byte offset, whatever its format. The obvious loop, `needle in content` for each needle, reads the
file once per needle; here one pass serves all of them:

    any run of 15 bytes holds a whole 8-byte word that is aligned in the file. So the eight words that start at
    bytes 0 to 7 of each needle go into a table of bits, each aligned word of the file is looked up, and hits are
    compared in full

A `Fingerprint` searches for needles that are no longer known: 16 bits of a hash of the first word to find candidates,
and a keyed hash of 24 bytes to decide. It outlives the needles after a kill, and is deleted when the search is done.
"""

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from erasable._plumbing.storage import translated
from erasable.errors import InvalidData

NEEDLE = 24  # bytes
DISTINCT = 8  # different byte values that a needle must have: a run of zeros is everywhere
BLOCK = 1 << 22  # bytes of a file searched at a time
MIX = np.uint64(0x9E3779B97F4A7C15)  # multiplicative hashing: the golden ratio, in 64 bits


class Finder(Protocol):
    overlap: int  # bytes by which two blocks must overlap
    size: int  # how many needles there are

    def find(self, block: bytes) -> set[bytes]:
        """Which needles (or their names) the block holds."""
        ...


class Needles:
    """Finds byte strings of at least 24 bytes."""

    def __init__(self, needles: Iterable[bytes]) -> None:
        self.of: dict[bytes, list[bytes]] = {}
        for each in set(needles):
            if len(each) < NEEDLE:
                raise InvalidData(f"a needle of {len(each)} bytes", expected=f"at least {NEEDLE}",
                                  do="search for a longer piece")  # fmt: skip
            self.of.setdefault(each[:NEEDLE], []).append(each)
        self.overlap = max((len(each) for several in self.of.values() for each in several), default=NEEDLE) + 8
        self.size = sum(len(several) for several in self.of.values())
        words = [np.frombuffer(head, "<u8", 1, shift)[0] for head in self.of for shift in range(8)]
        self.words = np.unique(np.array(words, np.uint64))
        self.table = _Table(self.words, bits=22)

    def find(self, block: bytes) -> set[bytes]:
        aligned = np.frombuffer(block, "<u8", len(block) // 8)
        at = self.table.hits(aligned)
        place = np.searchsorted(self.words, aligned[at]).clip(max=len(self.words) - 1)
        at = at[self.words[place] == aligned[at]]
        found = set()
        for position in (8 * at).tolist():
            for start in range(max(position - 7, 0), position + 1):
                for needle in self.of.get(block[start : start + NEEDLE], ()):
                    if block.startswith(needle, start):
                        found.add(needle)
        return found


class Fingerprints:
    """Finds needles by fingerprint: the first 24 bytes of each. Slower, because every byte offset is a candidate."""

    overlap = NEEDLE

    def __init__(self, prints: Iterable[bytes], salt: bytes) -> None:
        self.prints, self.salt = set(prints), salt
        self.size = len(self.prints)
        bits = np.array([int.from_bytes(each[:2], "little") for each in self.prints], np.int64)
        self.table = _Table(np.empty(0, np.uint64), bits=16)
        self.table.bit[bits] = True

    @staticmethod
    def of(needle: bytes, salt: bytes) -> bytes:
        """18 bytes."""
        word = np.frombuffer(needle, "<u8", 1)
        return int(_mix(word, 16)[0]).to_bytes(2, "little") + _keyed(needle[:NEEDLE], salt)

    def find(self, block: bytes) -> set[bytes]:
        found = set()
        for phase in range(min(8, len(block))):
            words = np.frombuffer(block, "<u8", (len(block) - phase) // 8, phase)
            hits = self.table.hits(words)
            for word, start in zip(_mix(words[hits], 16).tolist(), (8 * hits + phase).tolist(), strict=True):
                whole = word.to_bytes(2, "little") + _keyed(block[start : start + NEEDLE], self.salt)
                if whole in self.prints:
                    found.add(whole)
        return found


class _Table:
    """A set of words with false positives, looked up many at a time."""

    def __init__(self, words: NDArray[np.uint64], *, bits: int) -> None:
        self.bits = bits
        self.bit = np.zeros(1 << bits, np.bool_)
        self.bit[_mix(words, bits)] = True

    def hits(self, words: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Where the words are that may be members."""
        return np.flatnonzero(self.bit[_mix(words, self.bits)])


def _mix(words: NDArray[np.uint64], bits: int) -> NDArray[np.int64]:
    return ((words * MIX) >> np.uint64(64 - bits)).astype(np.int64)


def _keyed(piece: bytes, salt: bytes) -> bytes:
    return hashlib.blake2b(piece, key=salt, digest_size=16).digest()


def needles_in(content: bytes, *, most: int = 3) -> list[bytes]:
    """Up to `most` 24-byte pieces of `content` that are distinctive, spread over it; none when all of it is bland."""
    pieces = [content[start : start + NEEDLE] for start in range(0, len(content) - NEEDLE + 1, NEEDLE)]
    pieces = [each for each in pieces if len(set(each)) >= DISTINCT]
    spread = np.linspace(0, len(pieces) - 1, min(most, len(pieces))).round().astype(int)
    return [pieces[at] for at in spread.tolist()]


def search(folder: Path, finder: Finder) -> dict[str, set[bytes]]:
    """What the finder finds in each file below a folder; a file without a find is listed too."""
    found: dict[str, set[bytes]] = {}
    with translated(folder):
        for root, _, names in os.walk(folder):
            for name in sorted(names):
                path = Path(root) / name
                try:
                    found[str(path.relative_to(folder))] = _search_file(path, finder)
                except FileNotFoundError:  # a journal that its owner removed meanwhile
                    continue
    return found


def _search_file(path: Path, finder: Finder) -> set[bytes]:
    found: set[bytes] = set()
    with open(path, "rb") as file:
        block = file.read(BLOCK)
        while block:
            found |= finder.find(block)
            if len(block) < finder.overlap or not (more := file.read(BLOCK)):
                break
            block = block[-finder.overlap :] + more
    return found


def probe(folder: Path | str, needles: Sequence[bytes]) -> Mapping[str, int]:
    """How many of the needles each file below a folder holds. Raises StorageError for a file that cannot be read."""
    return {name: len(found) for name, found in search(Path(folder), Needles(needles)).items()}
