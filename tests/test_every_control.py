"""Every attack and every metric of the catalog has both controls: quiet where nothing leaks, loud where something does.

Rates over draws of simulated models; nothing is trained. A 95 % interval has to hold its goal in 90 to 99 of 100 draws
without a leak. A band of 19 oracles has to hold a further one in 90 or more: it promises 19 of 20, or more. With a leak
48 of 50 draws have to ring (95 %). The files of the attacks and metrics have further ones, such as for few models;
`test_controls.py` has them for whole audits of trained networks.
"""

from functools import cache

import pytest
import torch

from erasable import attacks, catalog, metrics
from erasable.attacks._rates import auc
from erasable.attacks.nearest_neighbour import recognised
from erasable.attacks.oracle_lira import findings, oracle_lira
from erasable.attacks.svc_confidence import shares
from erasable.evidence import Evidence, Finding, joint
from erasable.game import Game
from erasable.signals import confidence_of, correct_of, prediction_of
from erasable.signals.margin import margin_of

ORACLES, CLASSES, GONE, NEXT = 19, 4, 2, 3
NULLS, ALARMS = 100, 50
NOTHING_TO_CONTROL = {"cost", "costs"}  # times, bytes and accesses are measured: they judge nobody


# --- simulated models -------------------------------------------------------------------------------------------------


def normal(g, *shape):
    return torch.randn(*shape, generator=g, dtype=torch.float64)


def evidence(signal, values, member=None):
    ids = tuple(f"s{i}" for i in range(values.shape[1]))
    return Evidence(signal, ids, values, torch.zeros(values.shape[:2]).bool() if member is None else member)


class World:
    """Class probabilities by one model or several, which come first, and their oracles, with a seed's noise each.

    All know what was kept. Models that leak know the erased samples as well, the better the larger `by`.
    """

    def __init__(self, g, leaks, *, n=60, models=1, oracles=ORACLES, by=2):
        self.models, self.labels, self.log_p = models, torch.arange(n) % CLASSES, {}
        right = torch.nn.functional.one_hot(self.labels, CLASSES).double()
        for part in ("forget", "retain", "test"):
            logits = normal(g, 1, n, CLASSES) + 0.7 * normal(g, models + oracles, n, CLASSES) + right
            if part == "retain":
                logits += 2 * right
            elif part == "forget" and leaks:
                logits[:models] += by * right
            self.log_p[part] = evidence("log_probabilities", logits.log_softmax(2))

    def sides(self, part, of=lambda log_p, labels: log_p):
        """A signal of the models and of the oracles."""
        whole = of(self.log_p[part], self.labels)
        return tuple(evidence(whole.signal, each) for each in whole.values.tensor_split([self.models]))

    def every(self, of):
        return [dict(zip(self.log_p, side, strict=True))
                for side in zip(*(self.sides(part, of) for part in self.log_p), strict=True)]  # fmt: skip


def answers(log_p, labels):
    return prediction_of(log_p)


def one_model(g, leak):
    """Margins after an erasure: a third of the samples was never seen, a third kept, and a third erased but for `leak`.

    Those who attack it with one threshold for all know samples of the first two kinds.
    """
    kind = torch.arange(180)[None] % 3
    values = normal(g, 1, 180) + 1.5 * (kind == 1) + 1.5 * leak * (kind == 2)
    return evidence("margin", values, kind > 0), kind == 2


def game(g, leak, *, models=32, n=80, lift=2.0, hard=3.0):
    """Random halves; each model unlearned a fifth of what it had, but keeps `leak` of what membership brought."""
    member = torch.rand(models, n, generator=g).argsort(0) < models // 2
    forgotten = member & (torch.rand(models, n, generator=g) < 0.2)
    hard, level, first = hard * normal(g, 1, n), 0.3 * normal(g, models, 1), normal(g, models, n)
    again = torch.where(forgotten, normal(g, models, n), 0.9 * first + 0.19**0.5 * normal(g, models, n))
    before = evidence("margin", hard + level + first + lift * member, member)
    after = evidence("margin", hard + level + again + lift * torch.where(forgotten, leak, member.double()), member)
    return Game(before, after, forgotten, before)


def sure(margins):
    return evidence("confidence", margins.values.sigmoid(), margins.member)


# --- attacks: (draws, does it leak?) -> findings ----------------------------------------------------------------------


def threshold(g, leaks):
    after, forgotten = one_model(g, leaks)
    return [auc(attacks.threshold(after, truth=forgotten, counted=forgotten | ~after.member), subject="x")]


def logistic(g, leaks):
    after, forgotten = one_model(g, leaks)
    scores = attacks.logistic([after], known=~forgotten, counted=forgotten | ~after.member, folds=2)
    return [auc(scores, subject="x")]


def delta(attack, **more):
    def draw(g, leaks):
        before, forgotten = one_model(g, 1.0)
        after = evidence("margin", before.values + normal(g, 1, 180) - 1.5 * leaks * forgotten, before.member)
        scores = attack(before, after, forgotten=forgotten, against=before.member & ~forgotten, **more)
        return [auc(scores, subject="x")]

    return draw


def lira(g, leaks):
    return [auc(attacks.lira(game(g, 0.0, lift=float(leaks)).before), subject="x")]


def rmia(g, leaks):
    """On samples of equal difficulty: easy ones get nearly one score from every model, and intervals are then safe."""
    before = sure(game(g, 0.0, models=8, n=100, lift=2.0 * leaks, hard=0.0).before)
    return [auc(attacks.rmia(before, before), subject="x")]


def ulira(g, leaks):
    played = game(g, 0.5 * leaks)
    return [auc(attacks.ulira(played.after, played.forgotten), subject="x")]


def ulira_retained(g, leaks):
    played = game(g, 0.0, lift=float(leaks))
    return [auc(attacks.ulira_retained(played.after, played.forgotten), subject="x")]


@cache
def called_new(leaks):
    """The share of erased samples that an attacker takes for new ones, by many models and by many oracles."""
    world = World(torch.Generator().manual_seed(2), leaks, models=40, oracles=60)
    mine, theirs = (shares(*(side[part] for part in ("retain", "test", "forget")))
                    for side in world.every(confidence_of))  # fmt: skip
    return torch.tensor(mine), torch.tensor(theirs)


@cache
def told_from_the_next_class(leaks):
    """Samples of a class that is gone look like those of the next; a model that knows the class tells them apart."""
    g, labels = torch.Generator().manual_seed(3), torch.arange(80) % CLASSES
    found = []
    for models, knows in ((40, leaks), (60, False)):
        logits = normal(g, models, 80, CLASSES) + 3 * torch.nn.functional.one_hot(labels, CLASSES)
        logits[:, labels == GONE, NEXT] += -1.5 if knows else 2.5
        logits[..., GONE] = -30
        told = evidence("log_probabilities", logits.log_softmax(2).clamp(min=-18))
        found.append(torch.tensor(recognised(told, labels, erased=GONE, neighbour=NEXT)))
    return tuple(found)


def drawn_from(pool, metric):
    """Support vector machines take their time: values are taken once, and models and their oracles drawn from them."""

    def draw(g, leaks):
        models, others = pool(leaks)
        order = torch.randperm(len(others), generator=g)[: ORACLES + 1]
        further, *oracles = others[order].tolist()
        own = float(models[torch.randint(len(models), (1,), generator=g)]) if leaks else further
        return [Finding(metric=metric, subject="x", value=own, n=20, models=1, unit="%", direction="match",
                        resolution=2.5).beside(oracles)]  # fmt: skip

    return draw


def per_sample(g, leaks):
    return findings(oracle_lira(*World(g, leaks).sides("forget", margin_of)), subject="x")[::2]


def difficulty_calibration(g, leaks):
    world = World(g, leaks)
    (erased, theirs), (fresh, also) = (world.sides(part, confidence_of) for part in ("forget", "test"))
    return [attacks.difficulty_calibration(erased, fresh, oracles=(theirs, also), subject="x")]


# --- metrics ----------------------------------------------------------------------------------------------------------


def of(metric, signal=lambda log_p, labels: log_p, *, n=60, by=2, **more):
    """A metric of the erased samples by one model and its oracles."""
    return lambda g, leaks: [metric(*World(g, leaks, n=n, by=by).sides("forget", signal), subject="x", **more)]


def among(metric, *, at, **more):
    """The same by eight models; of what it finds, what stands `at` a place."""
    return lambda g, leaks: [metric(*World(g, leaks, models=8).sides("forget", margin_of), subject="x", **more)[at]]


def membership(g, leaks):
    world = World(g, leaks)
    (erased, theirs), (fresh, also) = (world.sides(part, confidence_of) for part in ("forget", "test"))
    return [metrics.membership(erased, fresh, subject="x", oracles=(theirs, also))]


def average_gap(g, leaks):
    mine, theirs = World(g, leaks).every(correct_of)
    parts = [metrics.accuracy(mine[part], theirs[part], subject="x", on=part) for part in mine]
    return [metrics.average_gap(parts, subject="x")]


def tug_of_war(g, leaks):
    return [metrics.tug_of_war(*World(g, leaks, n=200).every(correct_of), subject="x")]


def tug_of_war_mia(g, leaks):
    """The share that the attack calls members: a quarter by chance, most where the samples are known."""
    share = torch.bernoulli(torch.tensor([0.8 if leaks else 0.25] + [0.25] * ORACLES).expand(200, -1), generator=g)
    attacked = (100 * share.mean(0)).tolist()
    return [metrics.tug_of_war_mia(*World(g, False, n=200).every(correct_of), attack=attacked[:1],
                                   oracles_attack=attacked[1:], subject="x")]  # fmt: skip


def canaries(g, leaks):
    """The label that a canary was given is the one that a model which knows it answers."""
    world = World(g, leaks)
    mine, theirs = world.sides("forget", answers)
    return [metrics.canaries(mine, dict(zip(mine.ids, world.labels.tolist(), strict=True)), theirs, subject="x")]


def interclass_confusion(g, leaks):
    labels = torch.arange(100) % 2
    chance = torch.full((ORACLES + 1, 100), 0.1)
    chance[0] += 0.4 * leaks
    swapped = torch.bernoulli(chance, generator=g).long()
    mine, theirs = (evidence("prediction", each) for each in ((labels + swapped) % 2).tensor_split([1]))
    return metrics.interclass_confusion(mine, labels, (0, 1), theirs, subject="x")[1:]


def per_class(metric):
    """One class pays for the others."""

    def draw(g, leaks):
        labels = torch.arange(200) % CLASSES
        chance = torch.full((ORACLES + 1, 200), 0.8)
        chance[0, labels == GONE] -= 0.5 * leaks
        mine, theirs = (evidence("correct", each) for each in torch.bernoulli(chance, generator=g).tensor_split([1]))
        found = metric(mine, labels, theirs, subject="x", on="test")
        return [found[GONE]] if metric is metrics.per_class else [found]

    return draw


def steps(g, leaks):
    """Until the samples are learned: about forty, or five where they were only hidden."""
    found = (8 * normal(g, ORACLES + 1) + 40).round().clamp(1, 99).int().tolist()
    return [(each, True) for each in ([5] if leaks else found[:1]) + found[1:]]


def relearning(g, leaks):
    (own, reached), *oracles = steps(g, leaks)
    return [metrics.relearning(own, reached=reached, n=60, subject="x", oracles=oracles)]


def anamnesis(g, leaks):
    own, *oracles = steps(g, leaks)
    return [metrics.anamnesis([own], oracles, cap=100, n=60, subject="x")]


def recovery(g, leaks):
    pace = (0.15 + 0.03 * normal(g, ORACLES + 1, 1)).clamp_min(0.01)
    curves = 80 * (1 - torch.exp(-pace * torch.arange(21)))
    curves[0] += 0.8 * leaks * (95 - curves[0])
    return [metrics.recovery(curves[:1], curves[1:], torch.full((1, 21), 95.0), n=60, subject="x")]


def zrf(g, leaks):
    teachers = evidence("log_probabilities", (0.3 * normal(g, 3, 60, CLASSES)).log_softmax(2))
    mine, theirs = World(g, leaks).sides("forget")
    return [metrics.zrf(mine, teachers, theirs, subject="x")]


# --- the game's -------------------------------------------------------------------------------------------------------


@cache
def games(leaks):
    """What the game shows and does not judge, metric -> its findings, one per draw."""
    g, found = torch.Generator().manual_seed(4 + leaks), {}
    for draw in range(ALARMS if leaks else NULLS):
        played = game(g, 1.0 * leaks, models=48)
        for each in (*played.unaware("x"), *played.distances("x", seed=draw)):
            found.setdefault(each.metric, []).append(each)
    return found


# --- the table --------------------------------------------------------------------------------------------------------

COVER_FIFTY = {
    "threshold": threshold, "logistic": logistic, "delta": delta(attacks.delta),
    "delta-fitted": delta(attacks.delta_fitted, folds=2), "lira": lira, "rmia": rmia, "ulira": ulira,
    "ulira-retained": ulira_retained, "game: LiRA": "LiRA AUC", "game: RMIA": "RMIA online AUC",
}  # fmt: skip
"""95 % intervals whose goal is 50 %."""

TOO_NARROW = {"delta-fitted": 0.20}
"""What is known to ring more often than it says: each half of the samples is judged by a fit on the other, so that both
agree or disagree by chance together, and the interval takes them for independent. It holds 50 % in about 85 of 100."""

BANDS = {
    "svc-confidence": drawn_from(called_new, "confidence attack"),
    "nearest-neighbour": drawn_from(told_from_the_next_class, "MIA-NN A"),
    "oracle-lira": per_sample, "difficulty-calibration": difficulty_calibration,
    "accuracy": of(metrics.accuracy, correct_of, on="forget"), "average-gap": average_gap,
    "disagreement": of(metrics.disagreement, answers, n=200, by=4), "kl": of(metrics.kl), "js": of(metrics.js),
    "activation-distance": of(metrics.activation_distance), "zrf": zrf, "membership": membership,
    "tug-of-war": tug_of_war, "tug-of-war-mia": tug_of_war_mia, "canaries": canaries,
    "interclass-confusion": interclass_confusion, "per-class": per_class(metrics.per_class),
    "worst-class": per_class(metrics.worst_class), "relearning": relearning, "anamnesis": anamnesis,
    "recovery": recovery, "klom": among(metrics.klom, at=0, splits=12),
    "energy-distance": among(metrics.energy_distance, at=0),
    "challenge-score": among(metrics.challenge_score, at=1),
    **{f"game: KLoM, {way}, {of}": f"KLoM, {way}, {of}"
       for way in ("unlearned to never seen", "never seen to unlearned") for of in ("mean", "P95")},
    "game: challenge score": "challenge score / null",
}  # fmt: skip
"""Noise bands of oracles, of which a further one is inside."""


def rang(name, found):
    if name in COVER_FIFTY:
        return [not each.interval[0] <= 50 <= each.interval[1] for each in found]
    return [not each.inside_noise for each in (found if name.startswith("game: ") else joint(found))]


def rate(name, leaks, draws):
    """The share of draws in which any of its findings rings."""
    g, row = torch.Generator().manual_seed(int(leaks)), {**COVER_FIFTY, **BANDS}[name]
    drawn = [[each] for each in games(leaks)[row]] if isinstance(row, str) else [row(g, leaks) for _ in range(draws)]
    assert len(drawn) == draws
    assert all(drawn)
    return sum(any(rang(name, each)) for each in drawn) / draws


def test_the_table_is_complete():
    known = {*catalog.ATTACKS.places, *catalog.METRICS.places}
    assert known - {*COVER_FIFTY, *BANDS} == NOTHING_TO_CONTROL
    assert {each for each in {*COVER_FIFTY, *BANDS} if not each.startswith("game: ")} <= known


@pytest.mark.parametrize("name", COVER_FIFTY)
def test_null_intervals_hold_fifty(name):
    assert 0.01 <= rate(name, False, NULLS) <= TOO_NARROW.get(name, 0.10)


@pytest.mark.parametrize("name", BANDS)
def test_null_a_further_oracle_is_inside(name):
    assert rate(name, False, NULLS) <= 0.10


@pytest.mark.parametrize("name", {**COVER_FIFTY, **BANDS})
def test_alarm(name):
    assert rate(name, True, ALARMS) >= 0.95
