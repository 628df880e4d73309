"""A text of the user's own, cut into chunks of characters for next-character models."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from erasable.dataset import Dataset
from erasable.datasets._files import own_file
from erasable.datasets._own import Names, as_names
from erasable.datasets._part import public_mask
from erasable.datasets.owners import synthetic_owners
from erasable.errors import InvalidData, SettingsError


def text(
    path: str | Path,
    *,
    context: int = 64,
    owners: Names | None = None,
    vocabulary: Sequence[str] | None = None,
    public: int = 0,
) -> Dataset:
    """tokens (n, context + 1) int64 from a UTF-8 file; ids such as "frankenstein/00042", in the order of the text.

    Chunks do not overlap, so that no character belongs to two samples; what is left at the end is dropped. A token is a
    position in `vocabulary`: the characters of the text in code-point order, unless it is given. (Found in the text it
    depends on every chunk, if only by which characters exist: `scaling` is then "fitted".) Without `owners`, one per
    chunk, made-up ones get consecutive blocks of skewed sizes.

    Raises MissingFile, InvalidData: not UTF-8, too short, a character outside the vocabulary; SettingsError.
    """
    file = own_file(path)
    if context < 1:
        raise SettingsError(f"a context of {context} came", expected="at least one character", do="choose another")
    try:
        written = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidData(f"'{file}' is not UTF-8 at byte {error.start}", expected="UTF-8 text",
                          do="convert the file") from error  # fmt: skip
    points = np.frombuffer(written.encode("utf-32-le"), np.uint32)
    n = len(points) // (context + 1)
    if not n:
        raise InvalidData(f"'{file}' has {len(points)} characters", expected=f"at least {context + 1}, one chunk",
                          do="choose a shorter context or a longer text")  # fmt: skip
    points = points[: n * (context + 1)]
    alphabet = np.unique(points) if vocabulary is None else _points(vocabulary)
    tokens = _positions(file, points, alphabet)
    name = file.stem
    ids = [f"{name}/{row:05d}" for row in range(n)]
    made_up = synthetic_owners(n, name=name, consecutive=True)
    who = made_up if owners is None else as_names(owners, f"owners of '{name}'")
    characters = [chr(point) for point in alphabet]
    facts: dict[str, Any] = {
        "inputs": "tokens", "vocabulary": characters, "classes": characters, "low": 0, "high": len(characters) - 1,
        "scaling": "fitted" if vocabulary is None else "nominal",
        "owners": "synthetic" if owners is None else "given", "source": f"The file '{file.name}'.",
    }  # fmt: skip
    return Dataset.of({"tokens": torch.from_numpy(tokens.reshape(n, context + 1))}, ids, owners=who, name=name,
                      public=public_mask(n, public, name), facts=facts)  # fmt: skip


def _points(vocabulary: Sequence[str]) -> NDArray[np.uint32]:
    if not len(vocabulary) or any(len(each) != 1 for each in vocabulary) or len(set(vocabulary)) != len(vocabulary):
        raise SettingsError(f"a vocabulary of {len(vocabulary)} entries came", expected="single characters, each once",
                            do="list the characters that may occur")  # fmt: skip
    return np.array([ord(each) for each in vocabulary], np.uint32)


def _positions(file: Path, points: NDArray[np.uint32], alphabet: NDArray[np.uint32]) -> NDArray[np.int64]:
    """Where in the alphabet each code point stands. Raises InvalidData."""
    order = np.argsort(alphabet)
    at = np.minimum(np.searchsorted(alphabet, points, sorter=order), len(alphabet) - 1)
    tokens = order[at]
    unknown = np.flatnonzero(alphabet[tokens] != points)
    if len(unknown):
        first = int(unknown[0])
        raise InvalidData(f"'{file}' has the character {chr(points[first])!r} at position {first}",
                          expected="characters of the vocabulary", do="add it, or replace it in the text")  # fmt: skip
    return tokens
