"""Fake unlearners on small trained networks: what catches each of them, and what lets it through.

    fake                                        let through by                     caught by
    labels of forgotten samples permuted        accuracy, permuted just enough     U-LiRA, KL, JS, activation distance
    one margin for forgotten samples            accuracy on test samples           U-LiRA, KL, JS, activation distance
    one margin for targets, seen or not         U-LiRA                             KL, JS, activation distance
    an erased class suppressed in the head      accuracy                           head refit, KL, MIA-NN A (log-p)
    a random network                            U-LiRA                             accuracy on test samples, KL
    a model compared with copies of itself      distances to its copies            U-LiRA; MIA-NN refuses it

No one of them catches all: an audit needs the panel.
"""

import copy
import functools
import math

import pytest
import torch

from erasable._plumbing.seeds import seeded
from erasable.attacks._rates import auc
from erasable.attacks.nearest_neighbour import nearest_neighbour
from erasable.attacks.ulira import ulira
from erasable.dataset import Dataset
from erasable.errors import PopulationTooSmall
from erasable.evidence import Evidence, exposed, joint
from erasable.metrics import accuracy, activation_distance, disagreement, js, kl
from erasable.network import Network
from erasable.signals import correct_of, log_probabilities, margin_of, prediction_of
from erasable.stresses import HeadRefit
from erasable.tasks.classification import Classification
from erasable.train import Recipe
from tests.toys import blob_task, blobs

CLASSES, POOL, TARGETS, MODELS = 4, 96, 48, 32
TASK = blob_task(CLASSES)
METHOD = Network(network="mlp width=64", recipe=Recipe(epochs=100, batch=16, lr=0.02, weight_decay=0.0))


def noisy(n, *, seed, wrong=0.15):
    """Blobs that overlap, some with the label of their neighbour: what can be remembered rather than learned."""
    plain, g = blobs(n, classes=CLASSES, seed=seed), torch.Generator().manual_seed(seed + 1)
    x = plain.read("x") + 0.4 * torch.randn(n, 2, generator=g)
    label = (plain.read("label") + (torch.rand(n, generator=g) < wrong)) % CLASSES
    return Dataset.of({"x": x, "label": label}, plain.ids, name="noisy blobs")


def spoken(models, data, task=TASK):
    return log_probabilities(models, task, data, fitted=exposed(models, data.ids))


def random_network(seed):
    with seeded(seed, "random"):
        return METHOD.build(TASK).eval()


def permuted(log_p):
    """The best answer changes places with the second best: it is wrong, and as sure as before."""
    best = log_p.topk(2, dim=-1).indices
    return log_p.scatter(-1, best, log_p.gather(-1, best.flip(-1)))


def pinned(log_p, labels, margin=2.0):
    """The right answer's margin is the same everywhere; the other classes share the rest as before."""
    at = labels.view(1, -1, 1).expand(len(log_p), -1, 1)
    others = log_p.scatter(-1, at, -math.inf).log_softmax(-1) + math.log(1 / (1 + math.exp(margin)))
    return others.scatter(-1, at, math.log(1 / (1 + math.exp(-margin))))


# --- an attacker with many models: half of the targets in each, then unlearned ---------------------------------------


@functools.cache
def shadows():
    """Log-probabilities of models that saw half of the pool, of such retrained without targets, members, forgotten."""
    pool, g, rows = noisy(POOL, seed=0), torch.Generator().manual_seed(5), []
    for _ in range(MODELS // 2):
        half = torch.cat([torch.randperm(n, generator=g) < n // 2 for n in (TARGETS, POOL - TARGETS)])
        rows += [half, ~half]
    member = torch.stack(rows)
    forgotten = member & (torch.arange(POOL) < TARGETS)
    whole, kept = (torch.stack([row.nonzero().flatten() for row in each]) for each in (member, member & ~forgotten))
    trained = METHOD.train_subsets(pool, TASK, seeds=range(MODELS), subsets=whole)
    retrained = METHOD.train_subsets(pool, TASK, seeds=range(100, 100 + MODELS), subsets=kept)
    honest = log_probabilities(retrained, TASK, pool, fitted=member)  # on record: what was seen before unlearning
    return pool, spoken(trained, pool), honest, member, forgotten


def leak(values):
    """The AUC of U-LiRA, with its interval."""
    pool, _, _, member, forgotten = shadows()
    evidence = Evidence("log_probabilities", pool.ids, values, member)
    return auc(ulira(margin_of(evidence, pool.read("label")), forgotten), subject="fake")


def on_forgotten(values):
    """Outputs of the untouched models, but for those on what was forgotten."""
    _, untouched, _, _, forgotten = shadows()
    return torch.where(forgotten[..., None], values, untouched.values)


def test_ulira_is_quiet_for_retraining_and_rings_for_doing_nothing():
    _, untouched, honest, _, _ = shadows()
    low, high = leak(honest.values).interval
    assert low < 50 < high
    assert leak(untouched.values).interval[0] > 55


def test_ulira_catches_permuted_labels_and_one_margin():
    pool, untouched, _, _, _ = shadows()
    assert leak(on_forgotten(permuted(untouched.values))).interval[0] > 85
    for margin in (0.0, 2.0):
        assert leak(on_forgotten(pinned(untouched.values, pool.read("label"), margin))).interval[0] > 70


def test_ulira_lets_through_what_is_the_same_for_forgotten_and_never_seen():
    pool, untouched, _, member, _ = shadows()
    assert leak(pinned(untouched.values, pool.read("label"))).value == 50
    unrelated = log_probabilities([random_network(seed) for seed in range(MODELS)], TASK, pool, fitted=member)
    low, high = leak(unrelated.values).interval
    assert low < 50 < high


# --- an auditor with oracles: one request, one model -----------------------------------------------------------------


@functools.cache
def retrained():
    pool, test = noisy(POOL, seed=0), noisy(200, seed=9, wrong=0.0)
    erased = pool.only(pool.ids[:24])
    (untouched,) = METHOD.train(pool, TASK, seeds=[0])
    further, *oracles = METHOD.train(pool.without(erased.ids), TASK, seeds=range(1, 18))
    return erased, test, untouched, further, oracles


def judged(values=None, *, model=None, oracles=None):
    """Findings by name, for `model`, whose log-probabilities of the erased samples are replaced by `values`."""
    erased, test, untouched, _, others = retrained()
    model, references = model or untouched, oracles or others
    own, theirs = spoken([model], erased), spoken(references, erased)
    own = own if values is None else Evidence(own.signal, own.ids, values, own.member)
    right = [correct_of(each, erased.read("label")) for each in (own, theirs)]
    fresh = [correct_of(spoken(each, test), test.read("label")) for each in ([model], references)]
    found = joint([
        accuracy(*right, subject="fake", on="forget"), accuracy(*fresh, subject="fake", on="test"),
        disagreement(prediction_of(own), prediction_of(theirs), subject="fake"),
        *(metric(own, theirs, subject="fake") for metric in (kl, js, activation_distance)),
    ])  # fmt: skip
    return {each.metric: each for each in found}


def outside(findings):
    return {name for name, each in findings.items() if not each.inside_noise}


FAR = {"KL", "JS", "activation distance"}


def test_a_further_oracle_is_inside_and_doing_nothing_is_not():
    _, _, _, further, _ = retrained()
    assert outside(judged(model=further)) == set()
    assert outside(judged()) >= FAR


def test_permuted_labels_pass_by_accuracy_but_not_by_distances():
    erased, _, untouched, _, _ = retrained()
    log_p = spoken([untouched], erased).values
    assert outside(judged(permuted(log_p))) >= FAR | {"forget accuracy", "disagreement"}
    goal = judged()["forget accuracy"].null_mean
    assert goal is not None
    right = torch.nonzero(log_p[0].argmax(1) == erased.read("label")).flatten()
    spare = len(right) - round(goal / 100 * len(erased))  # as many wrong answers more as oracles give
    assert spare > 0
    cunning = log_p.clone()
    cunning[:, right[:spare]] = permuted(log_p[:, right[:spare]])
    found = judged(cunning)
    assert found["forget accuracy"].inside_noise
    assert outside(found) >= FAR


def test_one_margin_passes_on_test_samples_but_not_by_distances():
    erased, _, untouched, _, _ = retrained()
    found = judged(pinned(spoken([untouched], erased).values, erased.read("label")))
    assert found["test accuracy"].inside_noise
    assert outside(found) >= FAR


def test_a_random_network_is_far_from_every_oracle():
    model = copy.deepcopy(retrained()[2])
    model.network = random_network(0)
    assert outside(judged(model=model)) >= FAR | {"test accuracy", "disagreement"}


def test_a_model_compared_with_itself():
    """Copies of a model are no oracles: their distances to each other are zero, and their record says what they saw."""
    erased, _, untouched, _, oracles = retrained()
    with pytest.raises(PopulationTooSmall):
        judged(oracles=[untouched])
    copies = [copy.deepcopy(untouched) for _ in range(4)]
    assert set(kl(spoken([untouched], erased), spoken(copies, erased), subject="fake").null_values) == {0.0}
    with pytest.raises(PopulationTooSmall, match="same outputs"):
        nearest_neighbour(spoken([untouched], erased), spoken(copies, erased), erased.read("label"), erased=0,
                          subject="fake")  # fmt: skip
    assert bool(exposed(copies, erased.ids).all())
    assert not bool(exposed(oracles, erased.ids).any())


# --- a class that is cut off in the head -----------------------------------------------------------------------------

WIDE = Classification(shape=(6,), classes=5, low=(-4.0,), high=(4.0,), inputs="x")
ERASED, NEXT = 2, 3


def beside(n, *, seed):
    """Four classes in a plane, and one that differs from the next in a direction that nobody else needs."""
    g = torch.Generator().manual_seed(seed)
    label = torch.arange(n) % 5
    place = torch.where(label >= NEXT, label - 1, label)  # the erased class has the place of the next
    angle = torch.pi * place / 2
    x = 0.5 * torch.randn(n, 6, generator=g)
    x[:, :2] += 2 * torch.stack([angle.cos(), angle.sin()], dim=1)
    x[label == ERASED, 2] += 1.5
    return Dataset.of({"x": x, "label": label}, [f"s{i}" for i in range(n)], name="beside")


@functools.cache
def suppressed():
    """Three models with the class's logit 20 lower, six oracles, a further one."""
    data, test = beside(150, seed=0), beside(500, seed=9)
    method = Network(network="mlp width=16", recipe=Recipe(epochs=60, batch=16, lr=0.02, weight_decay=0.5))
    cut = method.train(data, WIDE, seeds=range(200, 203))
    with torch.no_grad():
        for model in cut:
            model.network.head.bias[ERASED] -= 20
    stay = data.without(data.where("label", ERASED).ids)
    further, *oracles = method.train(stay, WIDE, seeds=range(7))
    return data, stay, test, cut, further, oracles


def test_a_suppressed_class_passes_by_accuracy_but_not_by_what_is_left_of_it():
    _, _, test, cut, further, oracles = suppressed()
    gone = test.where("label", ERASED)
    theirs, everywhere = spoken(oracles, gone, WIDE), spoken(oracles, test, WIDE)
    for model in cut:
        own = spoken([model], gone, WIDE)
        assert accuracy(correct_of(own, gone.read("label")), correct_of(theirs, gone.read("label")), subject="fake",
                        on="forget").inside_noise  # fmt: skip
        assert not kl(own, theirs, subject="fake").inside_noise
        assert not nearest_neighbour(spoken([model], test, WIDE), everywhere, test.read("label"), erased=ERASED,
                                     subject="fake", features="log-probabilities").inside_noise  # fmt: skip
    assert kl(spoken([further], gone, WIDE), theirs, subject="a").inside_noise


def test_a_suppressed_class_comes_back_with_a_new_head():
    data, stay, test, cut, further, oracles = suppressed()
    gone, refit = test.where("label", ERASED), HeadRefit(steps=40)

    def area(model):
        curve = refit(model, WIDE, data.where("label", ERASED), stay, seed=0, on=gone).curve
        return sum(curve) / len(curve)

    null = [area(model) for model in oracles]
    assert all(area(model) > max(null) for model in cut)
    assert area(further) < min(area(model) for model in cut)
