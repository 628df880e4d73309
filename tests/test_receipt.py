"""Exposure, the guarantee that follows from it, and receipts."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from erasable.receipt import ERASURES, INPUT_SCALING, LEVELS, Exposure, Receipt, digest_of_ids

EXPOSURE = Exposure({"encoder": frozenset("abc"), "keys": frozenset("cd"), "nothing": frozenset()})
FIELDS = {
    "case": "7", "received": "2026-01-02T03:04:05+00:00", "completed": "2026-01-02T03:04:06+00:00", "method": "SPM",
    "samples": 2, "ids_digest": digest_of_ids("ab"), "level": "revoked", "why": "encoder was fitted on 2 of 2",
    "exposure": {"encoder": 2}, "memory_before": "1", "memory_after": "2", "weights_before": "3", "weights_after": "3",
    "seconds": 0.0123, "erasable_version": "0.1.0",
}  # fmt: skip


def test_exposure_counts_per_part_and_leaves_out_parts_that_saw_none():
    assert EXPOSURE.of("ac") == {"encoder": 2, "keys": 1}
    assert EXPOSURE.of(["a", "a", "z"]) == {"encoder": 1}
    assert EXPOSURE.of("z") == {}


def test_a_scaling_that_was_fitted_is_a_part_with_everybody():
    parts, fitted = {"encoder": ("a", "b"), "keys": ()}, SimpleNamespace(fitted=True)
    own = {"encoder": frozenset("ab"), "keys": frozenset()}
    for nominal in (SimpleNamespace(fitted=False), object()):
        assert Exposure.trained(parts, "abc", nominal).parts == own
    exposure = Exposure.trained(parts, iter("abc"), fitted)
    assert exposure.parts == {**own, "input scaling": frozenset("abc")}
    assert list(exposure.parts)[-1] == INPUT_SCALING == "input scaling"  # as stored in run folders
    assert parts == {"encoder": ("a", "b"), "keys": ()}
    assert exposure.level("c") == Exposure.trained({}, "abc", fitted).level("c")


def test_levels():
    level, why = EXPOSURE.level("cz")
    assert level == "revoked"
    assert "encoder was fitted on 1 of 2" in why
    assert "keys was fitted on 1 of 2" in why
    assert "nothing" not in why
    level, why = EXPOSURE.level("zy")
    assert level == "exact"
    assert "encoder, keys, nothing" in why
    assert Exposure({}).level("a") == ("exact", "every part that stays (memory) was fitted without these samples")


def test_a_part_that_is_mended_promises_nothing():
    parts = {"network": "ab", "head": "ab"}
    exposure = Exposure.trained(parts, "ab", SimpleNamespace(fitted=True), mended=["network"])
    assert exposure.mended == {"network"}
    level, why = exposure.level("abz")
    assert level == "empirical"
    mended, _, same = why.partition(", and was changed after the fact, not fitted again; ")
    assert mended == "network was fitted on 2 of 3 erased samples"
    assert same.startswith("head was fitted on 2 of 3 erased samples; input scaling was fitted on 2 of 3")
    assert ", and is unchanged. " in same
    assert "unchanged" not in Exposure.trained({"network": "ab"}, "ab", object(), mended=["network"]).level("a")[1]
    assert exposure.level("z")[0] == "exact"  # nobody's part saw it, mended or not
    assert exposure != Exposure.trained(parts, "ab", SimpleNamespace(fitted=True))


def test_a_mended_part_that_was_fitted_again_is_exact_for_what_went_and_mended_for_the_next():
    exposure = Exposure({"network": frozenset("abc")}, frozenset(["network"])).without("a", ["network"])
    assert exposure.level("a")[0] == "exact"
    assert exposure.level("b")[0] == "empirical"


def test_parts_that_were_fitted_again_forget_and_others_do_not():
    after = EXPOSURE.without("cd", ["encoder"])
    assert after.parts == {"encoder": frozenset("ab"), "keys": frozenset("cd"), "nothing": frozenset()}
    assert EXPOSURE.parts["encoder"] == frozenset("abc")
    assert after.level("c")[0] == "revoked"
    assert after.without("c", ["keys"]).level("c")[0] == "exact"


@given(st.sets(st.text("abcd", min_size=1, max_size=1)), st.sets(st.text("abcd", min_size=1, max_size=1), min_size=1))
def test_exact_means_that_no_part_saw_any(fitted, asked):
    assert (Exposure({"part": frozenset(fitted)}).level(asked)[0] == "exact") == (not fitted & asked)


def test_receipts_round_trip_and_say_what_they_do_not_reach():
    receipt = Receipt(**FIELDS)
    assert Receipt.model_validate_json(receipt.model_dump_json()) == receipt
    assert receipt.erasure == "L1"
    assert any("backups" in each for each in receipt.not_reached)
    sentence = receipt.sentence()
    for told in ("2 samples erased in 12.3 ms", "REVOKED", LEVELS["revoked"], FIELDS["why"], "L1", ERASURES["L1"]):
        assert told in sentence
    assert sentence.endswith(".")
    assert ".." not in sentence


def test_receipts_are_frozen_and_checked():
    receipt = Receipt(**FIELDS)
    with pytest.raises(ValidationError):
        receipt.level = "exact"
    for wrong in ({"level": "perfect"}, {"erasure": "L4"}, {"contents": "x"}):
        with pytest.raises(ValidationError):
            Receipt(**{**FIELDS, **wrong})
    with pytest.raises(ValidationError):
        Receipt(**{name: each for name, each in FIELDS.items() if name != "level"})


def test_a_digest_of_ids_is_that_of_a_set():
    assert digest_of_ids(["b", "a"]) == digest_of_ids(iter(["a", "b", "a"]))
    different = [["a"], ["a", "b"], ["ab"], ["a\x1fb"], ['a", "b'], ["a,b"], [""], [], ["é"], ["e"]]
    assert len({digest_of_ids(each) for each in different}) == len(different)
    assert len(digest_of_ids(["a"])) == 64
