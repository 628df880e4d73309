"""The search for erased bytes: against `needle in content`, wherever the needle lies."""

import random
import secrets

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from erasable._plumbing import residue
from erasable._plumbing.residue import Fingerprints, Needles, needles_in, probe, search
from erasable.errors import InvalidData

SALT = b"0123456789abcdef"


def finders(needles):
    return Needles(needles), Fingerprints([Fingerprints.of(each, SALT) for each in needles], SALT)


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32), size=st.integers(0, 400), count=st.integers(1, 6), block=st.sampled_from([64, 100]))
def test_search_equals_the_obvious_loop(tmp_path_factory, seed, size, count, block):
    draw = random.Random(seed)
    folder = tmp_path_factory.mktemp("search")
    needles = [draw.randbytes(24) for _ in range(count)]
    content = bytearray(draw.randbytes(size))
    for needle in needles:
        if draw.random() < 0.6:
            at = draw.randrange(size + 1)
            content[at:at] = needle[: draw.choice([24, 24, 23])]
    (folder / "file").write_bytes(content)
    expected = {each for each in needles if each in content}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(residue, "BLOCK", block)  # so that needles straddle blocks
        raw, prints = (search(folder, finder)["file"] for finder in finders(needles))
    assert raw == expected
    assert prints == {Fingerprints.of(each, SALT) for each in expected}


@pytest.mark.parametrize("shift", range(9))
def test_a_needle_is_found_at_every_byte_offset(tmp_path, shift):
    needle = bytes(range(40))
    (tmp_path / "file").write_bytes(bytes(shift) + needle + bytes(3))
    assert probe(tmp_path, [needle]) == {"file": 1}
    assert probe(tmp_path, [needle[:39] + b"x"]) == {"file": 0}  # it is compared in full


def test_every_file_is_named_with_its_count(tmp_path):
    one, other = (secrets.token_bytes(30) for _ in range(2))
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "a").write_bytes(one + b"..." + other)
    (tmp_path / "deep" / "b").write_bytes(b"nothing")
    (tmp_path / "deep" / "er" / "c-wal").write_bytes(b"x" + other)
    (tmp_path / "empty").write_bytes(b"")
    assert probe(tmp_path, [one, other, one]) == {"a": 2, "deep/b": 0, "deep/er/c-wal": 1, "empty": 0}


def test_a_short_needle_is_refused():
    with pytest.raises(InvalidData, match="at least 24"):
        Needles([b"x" * 23])


def test_fingerprints_do_not_contain_the_needle():
    needle = secrets.token_bytes(24)
    found = Fingerprints.of(needle, SALT)
    assert len(found) == 18
    assert not any(needle[i : i + 4] in found for i in range(20))
    assert Fingerprints.of(needle, b"another salt 123") != found


def test_needles_are_distinctive_and_spread():
    content = bytes(48) + bytes(range(24)) + b"ab" * 60 + bytes(range(100, 124)) + bytes(range(50, 74)) + bytes(10)
    assert needles_in(content) == [bytes(range(24)), bytes(range(100, 124)), bytes(range(50, 74))]
    assert needles_in(bytes(1000)) == []
    assert needles_in(bytes(range(23))) == []
    many = np.random.default_rng(0).bytes(2400)
    assert needles_in(many) == [many[:24], many[50 * 24 : 51 * 24], many[-24:]]
