"""A text in chunks."""

from pathlib import Path

import pytest

from erasable.datasets import text
from erasable.errors import InvalidData, MissingFile, SettingsError


def written(tmp_path: Path, content: str) -> Path:
    file = tmp_path / "tale.txt"
    file.write_text(content, encoding="utf-8")
    return file


def test_chunks_by_hand(tmp_path: Path) -> None:
    data = text(written(tmp_path, "abcab€cab!"), context=2)
    assert data.facts["vocabulary"] == ["a", "b", "c", "€"]  # the dropped rest tells nothing
    assert data.read("tokens").tolist() == [[0, 1, 2], [0, 1, 3], [2, 0, 1]]
    assert data.ids == ("tale/00000", "tale/00001", "tale/00002")
    assert (data.facts["inputs"], data.facts["owners"], data.facts["scaling"]) == ("tokens", "synthetic", "fitted")


def test_a_given_vocabulary_keeps_its_order_and_knows_nothing_of_the_text(tmp_path: Path) -> None:
    data = text(written(tmp_path, "abba"), context=1, vocabulary="zba")
    assert data.read("tokens").tolist() == [[2, 1], [1, 2]]
    assert data.facts["scaling"] == "nominal"
    with pytest.raises(InvalidData, match="character 'b' at position 1"):
        text(written(tmp_path, "abba"), context=1, vocabulary="az")


def test_own_owners_and_public_chunks(tmp_path: Path) -> None:
    data = text(written(tmp_path, "abba"), context=1, owners=["ann", "ben"], public=1)
    assert data.owned_by("ben").ids == ("tale/00001",)
    assert len(data.public) == 1
    assert data.facts["owners"] == "given"


def test_what_cannot_be_used_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match="3 characters; expected at least 65"):
        text(written(tmp_path, "abc"))
    with pytest.raises(InvalidData, match="0 characters"):
        text(written(tmp_path, ""))
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9 noir")
    with pytest.raises(InvalidData, match="not UTF-8 at byte 3"):
        text(tmp_path / "latin.txt")
    with pytest.raises(MissingFile, match="does not exist"):
        text(tmp_path / "none.txt")
    with pytest.raises(MissingFile, match="is not a file"):
        text(tmp_path)
    with pytest.raises(SettingsError):
        text(written(tmp_path, "abc"), context=0)
    for vocabulary in ("", "aab", ["ab"]):
        with pytest.raises(SettingsError, match="single characters"):
            text(written(tmp_path, "abc"), context=1, vocabulary=vocabulary)


def test_a_real_book_reads_back(published: Path) -> None:
    file = published / "text" / "frankenstein.txt"
    data = text(file, context=99)
    content, vocabulary = file.read_text(encoding="utf-8"), data.facts["vocabulary"]
    assert len(data) == len(content) // 100
    read = data.read("tokens")
    assert "".join(vocabulary[token] for token in read.flatten().tolist()) == content[: 100 * len(data)]
