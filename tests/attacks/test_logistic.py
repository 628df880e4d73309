"""The logistic attack: no sample is scored by a fit that saw it, the two papers' settings, null and alarm."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from erasable.attacks._rates import auc, rates
from erasable.attacks.logistic import accuracies, called_members, logistic, shares, sign_blind
from erasable.errors import EvidenceError, Misaligned, SettingsError
from erasable.evidence import Evidence, Scores


def evidence(values, member, signal="loss"):
    values = torch.as_tensor(values, dtype=torch.float64)
    names = tuple(f"s{i}" for i in range(values.shape[1]))
    return Evidence(signal, names, values, torch.as_tensor(member).bool().expand(values.shape))


def drawn(models, each, seed, *, retained=-1.5, erased=0.0):
    """`each` retained, never seen and erased samples, by turns; and which are the erased ones."""
    g = torch.Generator().manual_seed(seed)
    kind = torch.arange(3 * each) % 3
    shift = torch.tensor([retained, 0.0, erased], dtype=torch.float64)[kind]
    values = torch.randn(models, 3 * each, generator=g, dtype=torch.float64) + shift
    return evidence(values, kind != 1), kind == 2


def asked(given, forgotten, **settings):
    """Erased against never seen, by fits on retained and never seen samples."""
    return logistic([given], known=~forgotten, counted=forgotten | ~given.member, **settings)


def test_a_part_does_not_hear_of_its_own_samples():
    """Moving one known sample leaves the scores of its part alone and changes the fits of all other parts."""
    given, forgotten = drawn(1, 25, 0)
    before, moved = asked(given, forgotten, folds=5), given.values.clone()
    moved[0, 1] += 3  # s1 was never seen, and is known
    after = asked(evidence(moved, given.member), forgotten, folds=5)
    same = (before.values == after.values)[0] & before.counted[0]
    of_each = [int((same & which).sum()) for which in (forgotten, ~given.member[0])]
    assert of_each == [5, 4]  # a fifth of both groups, but for the moved one itself
    unknown = moved.clone()
    unknown[0, 2] += 3  # s2 was erased: no fit knows of it
    final = asked(evidence(unknown, given.member), forgotten, folds=5)
    assert torch.nonzero(final.values != after.values).tolist() == [[0, 2]]


def test_scores_are_those_of_the_library():
    """With as many folds as known pairs of a kind, one of each is left out."""
    values = [[-2.0, 0.3, -1.0, 1.4, 0.0, -0.9, 7.0]]
    member = [[1, 0, 1, 0, 1, 0, 1]]
    known = torch.tensor([True] * 6 + [False])
    found = logistic([evidence(values, member)], known=known, folds=3).values[0].numpy()
    x, y = np.array(values[0]), np.array(member[0])
    for at in range(6):
        fits = []
        for partner in range(6):
            if y[partner] != y[at]:
                keep = [i for i in range(6) if i not in (at, partner)]
                centre, spread = x[keep].mean(), x[keep].std()
                fit = LogisticRegression(class_weight="balanced").fit(((x[keep] - centre) / spread)[:, None], y[keep])
                fits.append(float(fit.decision_function([[(x[at] - centre) / spread]])[0]))
        assert min(abs(each - found[at]) for each in fits) < 1e-6


def test_two_signals_see_what_neither_sees_alone():
    """What differs is their sum, and both are drowned in a difference that says nothing."""
    g = torch.Generator().manual_seed(0)
    member = torch.arange(400)[None] % 2 == 0
    drown, noise = (5 * torch.randn(1, 400, generator=g), 0.3 * torch.randn(1, 400, generator=g))
    one, other = evidence(member + noise + drown, member), evidence(-drown, member, "entropy")
    assert auc(logistic([one]), subject="x").value < 65
    assert auc(logistic([one, other]), subject="x").value > 95


def test_units_do_not_matter_and_clipping_does():
    given, forgotten = drawn(1, 30, 1)
    scaled = evidence(1e4 * given.values, given.member)
    assert torch.allclose(asked(given, forgotten).values, asked(scaled, forgotten).values, atol=1e-6)
    spoilt = given.values.clone()
    spoilt[0, 1] = -1e9
    cut = asked(evidence(spoilt, given.member), forgotten, clip=3)
    limited = asked(evidence(spoilt.clamp(-3, 3), given.member), forgotten)
    assert torch.equal(cut.values, limited.values)


def test_seeds_decide_the_folds():
    given, forgotten = drawn(2, 30, 2)
    assert torch.equal(asked(given, forgotten, seed=4).values, asked(given, forgotten, seed=4).values)
    assert not torch.equal(asked(given, forgotten, seed=4).values, asked(given, forgotten, seed=5).values)


HAND = Scores("logistic", ("a", "b", "c", "d"), torch.tensor([[1.0, -1.0, 2.0, 3.0], [1.0, 0.0, -2.0, -3.0]]),
              torch.tensor([[1, 1, 0, 0], [1, 1, 0, 0]]).bool(), torch.ones(2, 4).bool())  # fmt: skip


def test_the_papers_numbers_by_hand():
    """First model: one of two called in, none rightly out: 25 %, so 75. Second: 1.5 of two in, both out: 87.5 %."""
    assert shares(HAND) == [50, 75]
    assert accuracies(HAND) == [75, 87.5]
    finding = called_members(HAND, subject="x", oracles=[40.0, 70.0])
    assert (finding.value, finding.n, finding.models, finding.null_band) == (62.5, 2, 2, (40, 70))
    assert sign_blind(HAND, subject="x").value == 81.25


def test_settings_of_the_papers_ring_and_stay_quiet():
    """Erased samples like retained ones are called members; like fresh ones they are not; nor can SCRUB tell those."""
    found = {}
    for name, erased in (("kept", -1.5), ("clean", 0.0), ("overdone", 3.0)):
        given, forgotten = drawn(8, 60, 3, erased=erased)
        both = forgotten | ~given.member
        ssd = shares(logistic([given], known=~forgotten, counted=forgotten))
        scrub = accuracies(logistic([given], truth=forgotten, known=both, counted=both, clip=100))
        found[name] = sum(ssd) / 8, sum(scrub) / 8
    assert found["kept"][0] > 70 > 35 > found["clean"][0] > found["overdone"][0]
    assert found["kept"][1] > 70 > 60 > found["clean"][1] >= 50
    assert found["overdone"][1] > 85  # the other direction shows as well


def test_null_and_alarm_as_rates():
    quiet = rang = 0
    for seed in range(60):
        low, high = rates(asked(*drawn(1, 60, seed)), subject="x")[0].interval
        quiet += low <= 50 <= high
        rang += rates(asked(*drawn(1, 60, seed, erased=-1.5)), subject="x")[0].interval[0] > 50
    assert quiet / 60 >= 0.88  # nominal 95 %
    assert rang / 60 >= 0.95


def test_what_cannot_be_fitted_is_refused():
    given, forgotten = drawn(1, 4, 0)
    with pytest.raises(EvidenceError, match="model 0 has 4 known pairs"):
        asked(given, forgotten)
    with pytest.raises(SettingsError):
        asked(given, forgotten, folds=1)
    with pytest.raises(Misaligned):
        logistic([given, drawn(2, 4, 0)[0]])
    with pytest.raises(Misaligned):
        logistic([])
    with pytest.raises(EvidenceError, match="0 that are out"):
        accuracies(logistic([given], known=~forgotten, counted=forgotten, folds=2))
