"""The rules from numbers to words, by hand."""

from erasable.evidence import Finding
from erasable.verdict import budget_of, cautions_of, evidence_in_words, power_of, reach, status_of, verdict_of


def finding(metric, value, band, *, direction="match", unit="%"):
    return Finding(
        metric=metric, subject="a", value=value, unit=unit, n=100, models=1, direction=direction,
        null_mean=sum(band) / 2, null_band=band, null_values=band,
    )  # fmt: skip


KNOWS = finding("forget accuracy", 100, (90, 96))
OVER = finding("forget accuracy", 20, (90, 96))
FINE = finding("forget accuracy", 95, (90, 96))
FAR = finding("KL", 0.4, (0.0, 0.1), direction="lower", unit="nats")
NEAR = finding("KL", 0.05, (0.0, 0.1), direction="lower", unit="nats")
FAST = finding("relearning", 1, (20, 30), unit="steps")
TEST = finding("test accuracy", 80, (95, 97), direction="higher")


def test_status_follows_the_rules_in_their_order():
    assert status_of([KNOWS, FAR], [KNOWS]) == "remembered"
    assert status_of([OVER, FAR], [KNOWS]) == "stands out"
    assert status_of([OVER, FAST], [KNOWS]) == "remembered"  # known less, and learned again at once: hidden
    assert status_of([FINE, FAR], [KNOWS]) == "stands out"
    assert status_of([FINE, NEAR], [KNOWS, FAR]) == "no trace"
    assert status_of([FINE, NEAR], [FINE, NEAR]) == "cannot tell"
    assert status_of([FINE, NEAR], []) == "no trace"


def test_a_broken_model_is_not_said_to_remember():
    """It is unsure of members and strangers alike, which looks like the confidence attack's side of knowing."""
    unsure = finding("confidence attack", 0, (10, 20))
    kept = [finding(f"{part} accuracy", 33, (90, 95), direction="higher") for part in ("test", "retain")]
    assert status_of([unsure], [], kept) == "stands out"
    assert status_of([unsure], []) == "remembered"
    assert status_of([unsure], [], [kept[0], FINE]) == "remembered"
    assert status_of([KNOWS, unsure], [], kept) == "remembered"


def test_a_closer_distance_than_between_oracles_is_no_alarm():
    assert status_of([finding("KL", 0.0, (0.05, 0.1), direction="lower")], []) == "no trace"


def test_numbers_in_words():
    assert evidence_in_words(KNOWS) == "forget accuracy 100.0 % (oracles 90.0 to 96.0 %)"
    assert evidence_in_words(FAR) == "KL divergence 0.400 nats (between oracles up to 0.100)"
    assert evidence_in_words(FAST) == "relearned after 1 step (oracles 20 to 30)"


def test_verdicts_keep_guarantee_and_audit_apart():
    assert verdict_of("no trace", [FINE], None, "empirical", 16).startswith(
        "Erased within what this audit can see: indistinguishable from 16 models"
    )
    revoked = verdict_of("remembered", [KNOWS], None, "revoked", 16)
    assert revoked.startswith("Erased from memory, still remembered by the network. Leaks: forget accuracy 100.0 %")
    assert "about once in 17" in verdict_of("stands out", [FAR], None, "exact", 16)
    worse = verdict_of("stands out", [FINE], None, "empirical", 16)
    assert worse.endswith("never saw the samples: it knows less of test and of retained samples than they do.")
    assert "once in" not in verdict_of("no trace", [FINE], None, "exact", 16)
    assert "costs accuracy: test accuracy 80.0 % (oracles 95.0 to 97.0 %)" in verdict_of(
        "no trace", [FINE], TEST, "empirical", 16
    )
    undecided = verdict_of("cannot tell", [FINE], None, "exact", 16, [FINE])
    assert undecided.startswith("Not decidable with this budget")
    assert "say nothing about forgetting" in undecided


def test_power_is_the_distance_to_the_edge_of_the_band():
    assert reach(FINE) == 3  # 93 to 96
    assert reach(finding("relearning", 5, (20, 30), unit="steps")) == 5  # sooner is what knowing looks like
    assert reach(NEAR) == 0.05
    assert power_of([FINE, NEAR], [KNOWS]) == (
        "The smallest distance from the oracles that would have been noticed: forget accuracy 3.0 % "
        "(before the erasure 7.0 %)."
    )
    assert power_of([NEAR], []) == ""


def test_the_budget_that_would_decide():
    """One point apart where three would be noticed: a mean over nine models has a third of the noise."""
    slight = finding("forget accuracy", 94, (90, 96))
    assert budget_of([FINE], [slight]) == 9
    assert budget_of([FINE, NEAR], [slight, finding("KL", 0.075, (0.0, 0.1), direction="lower")]) == 4
    assert budget_of([FINE], [finding("forget accuracy", 92, (90, 96))]) is None  # below the oracles: not knowing
    assert "About 9 models erased alike" in verdict_of("cannot tell", [FINE], None, None, 16, [slight])
    assert "no number of models" in verdict_of("cannot tell", [FINE], None, None, 16, [])


def test_a_side_comes_before_a_distance():
    assert verdict_of("remembered", [FAR, KNOWS], None, None, 4).startswith("Leaks: forget accuracy")


def test_missing_peers_are_told():
    assert any("membership AUROC was not measured" in each for each in cautions_of([], peers=False))
    assert cautions_of([], peers=True) == ()
