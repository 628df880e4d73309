"""RMIA: by hand, against the obvious loops, quiet under the null, ringing with a shift."""

import pytest
import torch

from erasable.attacks._rates import auc, rates
from erasable.attacks.rmia import rmia
from erasable.errors import EvidenceError, Misaligned, PopulationTooSmall, SettingsError
from erasable.evidence import Evidence


def evidence(values, member, name="x"):
    values = torch.as_tensor(values, dtype=torch.float64)
    names = tuple(f"{name}{i}" for i in range(values.shape[1]))
    return Evidence("confidence", names, values, torch.as_tensor(member).bool())


def drawn(models, samples, seed, name="x", shift=0.0, seen=True):
    g = torch.Generator().manual_seed(seed)
    member = (torch.rand(models, samples, generator=g) > 0.5) & seen
    hard = 2 * torch.randn(1, samples, generator=g, dtype=torch.float64)
    logits = torch.randn(models, samples, generator=g, dtype=torch.float64) + hard + shift * member
    return evidence(logits.sigmoid().mul(20).ceil().div(20), member, name)  # coarse, so that there are ties


def average(values, member, models, *, online, a, estimate):
    """The denominator in one pair's words; None where a model is missing."""
    out = [float(values[i]) for i in models if not member[i]]
    inside = [float(values[i]) for i in models if member[i]]
    if not out or (online and not inside and not estimate):
        return None
    mean = sum(out) / len(out)
    other = sum(inside) / len(inside) if online and inside else a * mean + 1 - a
    return (mean + other) / 2


def loop(targets, population, references, *, online, a, gamma):
    on_x, on_z = references or (targets, population)
    scores = {}
    for m in range(targets.models):
        models = [i for i in range(on_x.models) if references is not None or i != m]
        ratios = []
        for t in range(len(population.ids)):
            there = average(on_z.values[:, t], on_z.member[:, t], models, online=online, a=a, estimate=True)
            if there is not None and not population.member[m, t]:
                ratios.append(float(population.values[m, t]) / there)
        for t in range(len(targets.ids)):
            here = average(on_x.values[:, t], on_x.member[:, t], models, online=online, a=a, estimate=False)
            if here is not None and ratios:
                ratio = float(targets.values[m, t]) / here
                scores[m, t] = sum(ratio >= gamma * each * (1 - 1e-12) for each in ratios) / len(ratios)
    return scores


@pytest.mark.parametrize("online", [False, True])
@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize(("a", "gamma"), [(0.3, 1.0), (1.0, 2.0), (0.0, 0.7)])
@pytest.mark.parametrize("seed", [0, 1])
def test_sorting_equals_the_double_loop(online, alone, a, gamma, seed):
    targets, population = drawn(5, 30, seed), drawn(5, 40, seed + 10, "z")
    references = None if alone else (drawn(3, 30, seed + 20), drawn(3, 40, seed + 30, "z"))
    scores = rmia(targets, population, references=references, online=online, a=a, gamma=gamma)
    expected = loop(targets, population, references, online=online, a=a, gamma=gamma)
    assert {tuple(at) for at in torch.nonzero(scores.counted).tolist()} == set(expected)
    for at, value in expected.items():
        assert float(scores.values[at]) == pytest.approx(value, abs=1e-12)
    assert len(expected) > 60


@pytest.mark.parametrize("online", [False, True])
def test_a_target_is_no_reference_for_itself_nor_a_sample_its_own_population(online):
    """In an unlearning game: row i of the targets is row i of the references, later; all on the same samples."""
    targets, before = drawn(6, 30, 0), drawn(6, 30, 0, shift=1.0)
    found = rmia(targets, targets, references=(before, before), paired=True, online=online)
    checked = 0
    for m in range(6):
        others = [each for each in range(6) if each != m]
        own, rest = targets.model(m), Evidence("confidence", before.ids, before.values[others], before.member[others])
        for t in torch.nonzero(found.counted[m]).flatten().tolist():
            at = [each for each in range(30) if each != t]
            z, of_z = (Evidence("confidence", tuple(f"z{i}" for i in at), each.values[:, at], each.member[:, at])
                       for each in (own, rest))  # fmt: skip
            x, of_x = (Evidence("confidence", each.ids[t : t + 1], each.values[:, [t]], each.member[:, [t]])
                       for each in (own, rest))  # fmt: skip
            alone = rmia(x, z, references=(of_x, of_z), online=online)
            assert float(found.values[m, t]) == pytest.approx(float(alone.values), abs=1e-12)
            checked += 1
    assert checked > 100
    with pytest.raises(Misaligned):
        rmia(targets, targets, references=(rest, rest), paired=True)


def test_offline_by_hand():
    """a = 1: Pr is the OUT mean. x: .8 / .4 = 2. z: .5 / .5 = 1, .9 / .3 = 3, .8 / .4 = 2: it beats or equals two."""
    x, z = evidence([[0.8]], [[1]]), evidence([[0.5, 0.9, 0.8]], [[0, 0, 0]], "z")
    seen_by_none = evidence([[0.5, 0.3, 0.4]] * 3, torch.zeros(3, 3), "z")
    references = evidence([[0.3], [0.5], [0.99]], [[0], [0], [1]]), seen_by_none
    assert float(rmia(x, z, references=references, a=1).values) == pytest.approx(2 / 3)
    assert float(rmia(x, z, references=references, a=1, gamma=2).values) == pytest.approx(1 / 3)
    assert float(rmia(x, z, references=references, a=1, gamma=2.01).values) == 0


def test_a_and_online_by_hand():
    """OUT .4 and IN .8. a = .5: Pr = (.4 + .7) / 2 = .55. Online: .6. The population always has the ratio 1 / .9."""
    x, z = evidence([[0.63]], [[1]]), evidence([[1.0]], [[0]], "z")
    outside = evidence([[0.9], [0.9]], [[0], [1]], "z")
    references = evidence([[0.4], [0.8]], [[0], [1]]), outside
    just, over = 0.63 / 0.55 * 0.925, 0.63 / 0.6 * 0.9  # z offline: (.9 + .95) / 2 = .925, online .9
    for online, edge in ((False, just), (True, over)):
        for gamma, expected in ((edge - 1e-6, 1), (edge + 1e-6, 0)):
            found = rmia(x, z, references=references, a=0.5, gamma=gamma, online=online)
            assert float(found.values) == expected


def test_offline_never_looks_at_models_that_saw_the_sample():
    targets, population = drawn(4, 20, 0), drawn(4, 30, 1, "z", seen=False)
    on_x, on_z = drawn(6, 20, 2), drawn(6, 30, 3, "z", seen=False)
    other = Evidence("confidence", on_x.ids, torch.where(on_x.member, 1.0, on_x.values), on_x.member)
    found = [rmia(targets, population, references=(each, on_z)).values for each in (on_x, other)]
    assert torch.equal(*found)


def test_a_model_that_says_the_same_of_everyone_gets_one_score_for_all():
    x, z = evidence(torch.full((3, 8), 0.5), torch.eye(3, 8)), evidence(torch.full((3, 9), 0.5), torch.zeros(3, 9), "z")
    scores = rmia(x, z)
    assert scores.values[scores.counted].unique().tolist() == [1]  # ties count as reached
    assert auc(scores, subject="x").value == 50


def test_null_and_alarm_as_rates():
    quiet = rang = 0
    for seed in range(60):
        population = drawn(8, 100, seed + 500, "z", seen=False)
        low, high = rates(rmia(drawn(8, 100, seed), population), subject="x")[0].interval
        quiet += low <= 50 <= high
        rang += rates(rmia(drawn(8, 100, seed, shift=2.0), population), subject="x")[0].interval[0] > 50
    assert quiet / 60 >= 0.88  # nominal 95 %
    assert rang / 60 >= 0.95


def test_what_cannot_be_scored_is_refused():
    x, z = drawn(4, 10, 0), drawn(4, 10, 1, "z")
    with pytest.raises(EvidenceError, match=r"outside \(0, 1\]"):
        rmia(evidence(x.values * 30, x.member), z)
    with pytest.raises(SettingsError):
        rmia(x, z, a=1.5)
    with pytest.raises(Misaligned):
        rmia(x, drawn(3, 10, 1, "z"))
    with pytest.raises(PopulationTooSmall):
        rmia(x.model(0), z.model(0))
    with pytest.raises(PopulationTooSmall, match="0 samples of the population"):
        rmia(x, evidence(z.values, torch.ones(4, 10), "z"))
