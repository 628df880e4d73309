"""MIA-NN: groups by hand, the neighbour, quiet among oracles, ringing where a class is suppressed or made uniform."""

import pytest
import torch

from erasable.attacks.nearest_neighbour import nearest_neighbour, neighbour_of, recognised
from erasable.errors import EvidenceError, Misaligned, PopulationTooSmall, SettingsError
from erasable.evidence import Evidence

ERASED, NEXT, CLASSES, EACH = 2, 3, 5, 40
LABELS = torch.arange(CLASSES * EACH) % CLASSES


def log_p(probabilities) -> Evidence:
    given = torch.as_tensor(probabilities, dtype=torch.float64)
    return Evidence("log_probabilities", tuple(f"s{i}" for i in range(given.shape[1])), given.clamp(min=1e-8).log(),
                    torch.zeros(given.shape[:2]).bool())  # fmt: skip


def outputs(models, seed, *, oracle=True):
    """Probabilities: samples of the erased class go to class 3, rather than to the rest, and are less sure of it."""
    g = torch.Generator().manual_seed(seed)
    near = torch.full((CLASSES, CLASSES), -1.0) + 5 * torch.eye(CLASSES)
    near[ERASED, NEXT], near[NEXT, ERASED] = 2.0, 1.5
    shared = torch.Generator().manual_seed(99)  # the samples are the same for all models
    logits = near[LABELS] + torch.randn(len(LABELS), CLASSES, generator=shared)
    logits = logits + 0.5 * torch.randn(models, len(LABELS), CLASSES, generator=g)
    if oracle:
        logits[..., ERASED] = -30.0
    return logits.double().softmax(-1)


def judged(target, variant, seed=0):
    references = log_p(outputs(8, seed))
    return nearest_neighbour(log_p(target), references, LABELS, erased=ERASED, subject="a", variant=variant)


def test_two_groups_by_hand():
    """Samples of class 2 lie between classes 0 and 1: a line tells them from either, and a curve from both."""
    labels = torch.tensor([0, 1, 2] * 20)
    rows = torch.eye(3)[labels].clone()
    rows[labels == 2] = torch.tensor([0.5, 0.5, 0.0])
    evidence = log_p(torch.stack([rows, torch.full((60, 3), 1 / 3)]))  # the second model tells nothing
    for variant, kernel in (("A", "rbf"), ("A", "linear"), ("B", "rbf")):
        for features in ("log-probabilities", "probabilities"):
            asked = {"neighbour": 0, "variant": variant, "kernel": kernel, "features": features}
            assert recognised(evidence, labels, erased=2, **asked) == [100, 50]


def test_only_probabilities_of_retained_classes_are_looked_at():
    one = outputs(1, 0)
    other = one.clone()
    other[..., ERASED] = torch.rand(other.shape[:2])
    for variant in ("A", "B"):
        asked = {"erased": ERASED, "neighbour": NEXT, "variant": variant}
        assert recognised(log_p(one), LABELS, **asked) == recognised(log_p(other), LABELS, **asked)


def test_the_neighbour_is_named_by_the_mean_over_oracles():
    evidence = log_p(outputs(4, 0))
    assert neighbour_of(evidence, LABELS, erased=ERASED) == NEXT
    by_hand = evidence.values[:, LABELS == ERASED].exp().mean((0, 1))
    assert int(by_hand.argsort(descending=True)[0]) == NEXT
    untouched = log_p(outputs(4, 0, oracle=False))
    assert neighbour_of(untouched, LABELS, erased=ERASED) == NEXT  # never the erased class itself


def test_the_finding_says_what_it_says():
    target, oracles = outputs(1, 5), log_p(outputs(8, 0))
    found = nearest_neighbour(log_p(target), oracles, LABELS, erased=ERASED, subject="a")
    assert (found.metric, found.n, found.models, found.unit) == ("MIA-NN A", 2 * EACH, 1, "%")
    assert len(found.null_values) == 8
    own = recognised(oracles.model(3), LABELS, erased=ERASED, neighbour=NEXT)
    assert found.null_values[3] == own[0]
    apart = abs(found.value - sum(found.null_values) / 8)
    assert f"class 2 against its nearest, 3; {apart:.1f} points from the oracles' mean" in found.note
    assert found.interval[0] <= found.value <= found.interval[1]
    assert judged(target, "A") == judged(target, "A")
    both = torch.cat([target, outputs(1, 6)])
    assert judged(both, "B").value == pytest.approx((judged(both[:1], "B").value + judged(both[1:], "B").value) / 2)


@pytest.mark.parametrize("variant", ["A", "B"])
def test_null_control_and_alarm_as_rates(variant):
    """Fifty draws of one further oracle and eight others from a pool; then untouched models, and uniform answers."""
    pool, untouched, uniform = outputs(60, 1), outputs(20, 2, oracle=False), outputs(20, 3)
    uniform[:, LABELS == ERASED] = torch.tensor([0.25, 0.25, 0.0, 0.25, 0.25], dtype=torch.float64)
    own, hurt, flat = (torch.tensor(recognised(log_p(each), LABELS, erased=ERASED, neighbour=NEXT, variant=variant))
                       for each in (pool, untouched, uniform))  # fmt: skip
    draws, quiet, rung = torch.Generator().manual_seed(0), 0, 0
    for draw in range(50):
        further, *others = own[torch.randperm(60, generator=draws)[:9]].tolist()
        spoiled = float((hurt, flat)[draw % 2][draw // 2 % 20])
        quiet += min(others) <= further <= max(others)
        rung += not min(others) <= spoiled <= max(others)
    assert quiet / 50 >= 7 / 9 - 0.13  # it leaves the range of eight others twice in nine times; two deviations
    assert rung / 50 >= 0.95


def test_what_cannot_be_judged_is_refused():
    target, oracles = log_p(outputs(1, 1)), log_p(outputs(8, 0))
    asked = {"erased": ERASED, "subject": "a"}
    with pytest.raises(PopulationTooSmall, match="2 reference models"):
        nearest_neighbour(target, log_p(outputs(2, 0)), LABELS, **asked)
    with pytest.raises(PopulationTooSmall, match="0 and 1 give the same"):
        nearest_neighbour(target, log_p(outputs(1, 0).expand(4, -1, -1)), LABELS, **asked)
    with pytest.raises(Misaligned, match="labels"):
        nearest_neighbour(target, oracles, LABELS[:5], **asked)
    with pytest.raises(SettingsError, match="class 5"):
        nearest_neighbour(target, oracles, LABELS, erased=5, subject="a")
    with pytest.raises(SettingsError, match="'C'"):
        nearest_neighbour(target, oracles, LABELS, variant="C", **asked)
    with pytest.raises(EvidenceError, match="no test sample of class 2"):
        nearest_neighbour(target, oracles, torch.where(LABELS == ERASED, 0, LABELS), **asked)
    few = torch.where((LABELS == ERASED) & (torch.arange(len(LABELS)) > 30), 0, LABELS)
    with pytest.raises(EvidenceError, match="6 test samples of class 2"):
        nearest_neighbour(target, oracles, few, **asked)
