"""Sample ids as users write them: with commas between, or in a file, text with one per line or a JSON list."""

import json
from pathlib import Path

from erasable.errors import EmptyRequest, InvalidData, MissingFile


def read_ids(file: Path) -> tuple[str, ...]:
    """In the order of the file, without repeats; `.json` holds a list, or an object with one called "ids".

    Raises MissingFile, InvalidData for JSON of another form, EmptyRequest for a file without ids.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as wrong:
        raise MissingFile(f"'{file}' cannot be read ({wrong})", expected="a UTF-8 text file with one id a line, or a "
                          "JSON list", do="check the path") from None  # fmt: skip
    names = _listed(file, text) if file.suffix.lower() == ".json" else text.splitlines()
    found = tuple(dict.fromkeys(each.strip() for each in names if each.strip()))
    if not found:
        raise EmptyRequest(f"'{file}' is a list without ids", expected="at least one id", do="name the samples")
    return found


def split_ids(text: str) -> tuple[str, ...]:
    """Ids with commas between, in their order, without repeats. Raises EmptyRequest."""
    found = tuple(dict.fromkeys(each.strip() for each in text.split(",") if each.strip()))
    if not found:
        raise EmptyRequest(f"'{text}' is a list without ids", expected="at least one id", do="name the samples")
    return found


def _listed(file: Path, text: str) -> list[str]:
    try:
        held = json.loads(text)
    except (ValueError, RecursionError) as wrong:
        raise InvalidData(f"'{file}' is no JSON ({wrong})", expected="a list of ids", do="correct the file") from None
    ids = held.get("ids") if isinstance(held, dict) else held
    if not isinstance(ids, list) or not all(isinstance(each, str | int) and each is not True for each in ids):
        raise InvalidData(f"'{file}' holds JSON of another form", expected='a list of ids, or {"ids": [...]}',
                          do="correct the file")  # fmt: skip
    return [str(each) for each in ids]
