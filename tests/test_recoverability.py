"""What comes back: a linear probe finds what a suppressed head hides, and nothing in models that never knew."""

import copy

import pytest
import torch
from torch import nn

from erasable.dataset import Dataset
from erasable.evidence import Evidence, joint
from erasable.forgettable.nearest_mean import NearestMean
from erasable.metrics import accuracy
from erasable.probe import Probe
from erasable.recoverability import LINEAR, SHOTS, Oracles, handled, lessons, shown_and_asked
from erasable.request import Request
from erasable.tasks import Classification
from tests.toys import BETWEEN, TINY, between, blob_task, blobs

TASK = blob_task()
DATA, FRESH = between(), between(seed=9)
LOST = Request("between", DATA.where("label", 2).ids)


@pytest.fixture(scope="module")
def probe():
    return Probe.of(LOST, DATA, FRESH, TASK)


@pytest.fixture(scope="module")
def models():
    """Oracles, a further one, the model that knew the class, and the same with its head suppressed."""
    never = BETWEEN.train(DATA.without(LOST.ids), TASK, seeds=list(range(9)))
    untouched = BETWEEN.train(DATA, TASK, seeds=[99])[0]
    hidden = copy.deepcopy(untouched)
    with torch.no_grad():
        hidden.network.head.weight[2] = 0
        hidden.network.head.bias[2] = -20
    return never[:8], never[8], untouched, hidden


def by_probe(model, oracles):
    return next(each for each in joint(handled(model, oracles, subject="x")) if each.metric.endswith(LINEAR))


def test_a_suppressed_head_is_found_by_a_linear_probe(probe, models):
    never, fresh, untouched, hidden = models
    oracles = Oracles(never, probe, 0)
    found = {name: by_probe(each, oracles) for name, each in
             {"fresh": fresh, "untouched": untouched, "hidden": hidden}.items()}  # fmt: skip
    assert found["hidden"].value == found["untouched"].value > 80  # the head does not matter
    assert found["hidden"].inside_noise is False
    assert found["fresh"].inside_noise is True
    each = found["hidden"]
    assert (each.metric, each.n, len(each.null_values)) == ("forget accuracy after a linear probe", 30, 8)
    assert by_probe(hidden, Oracles(never, probe, 0)) == each


def test_what_is_shown_is_not_asked(probe):
    """Half of a class of which nothing was kept; otherwise all that was kept is shown and all erased is asked about."""
    shown, at = shown_and_asked(probe, seed=0)
    asked = probe.forget.take(at).ids
    assert len(asked) == len(LOST.ids) // 2
    assert set(shown.ids) == {*probe.retain.ids, *(set(LOST.ids) - set(asked))}
    assert shown_and_asked(probe, seed=1)[0].ids != shown.ids
    some = Probe.of(Request("some", DATA.ids[:30]), DATA, FRESH, TASK)
    shown, at = shown_and_asked(some, seed=0)
    assert shown.ids == some.retain.ids
    assert at.tolist() == list(range(30))
    both = Probe.of(Request("more", (*LOST.ids, *DATA.where("label", 0).ids[:5])), DATA, FRESH, TASK)
    shown, at = shown_and_asked(both, seed=0)
    assert sum(label == 0 for label in both.labels["forget"][at].tolist()) == 5
    assert len(at) == len(LOST.ids) // 2 + 5


def test_the_classes_that_are_gone_are_known_by_number(probe):
    assert (probe.gone, probe.gone_classes, probe.gone_class) == (("between",), (2,), 2)
    some = Probe.of(Request("some", DATA.ids[:30]), DATA, FRESH, TASK)
    assert (some.gone_classes, some.gone_class) == ((), None)
    first, second = (DATA.where("label", each).ids for each in (0, 2))
    assert Probe.of(Request("two", (*first, *second)), DATA, FRESH, TASK).gone_classes == (0, 2)


def test_a_class_that_the_looked_at_samples_lack_is_not_gone():
    """What was kept is looked at in part: a class may be missing there that is still trained on."""
    data = blobs(60)
    rare = data.where("label", 2).ids
    request = Request("nearly all", rare[:-1])
    probe = next(each for each in (Probe.of(request, data, blobs(30, seed=1), TASK, seed=i, most=10) for i in range(20))
                 if rare[-1] not in each.retain.ids)  # fmt: skip
    assert (probe.gone, probe.gone_classes) == ((), ())
    assert len(lessons(probe, seed=0)["five of each class"]) == SHOTS  # of the erased alone: their class is still there


def test_what_has_no_features_is_left_out(probe):
    models = NearestMean(network="mlp width=8", recipe=TINY).train(DATA.without(LOST.ids), TASK, seeds=[0, 1, 2])
    assert all(LINEAR not in each.metric for each in handled(models[0], Oracles(models[1:], probe, 0), subject="x"))


LINE = Classification(shape=(40,), classes=3, low=(-9.0,), high=(9.0,), inputs="x")


def along(n, seed, name):
    """Three classes along the first of forty numbers; the others are noise."""
    g = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 3
    x = torch.randn(n, 40, generator=g)
    x[:, 0] += 3 * (labels - 1)
    return Dataset.of({"x": x, "label": labels}, [f"{name}{i}" for i in range(n)], name=name,
                      facts={"inputs": "x", "classes": ["a", "b", "c"]})  # fmt: skip


class Reads(nn.Module):
    """Two features at random; those of a model that `knows` also tell the classes. Nothing is trained."""

    def __init__(self, draws, knows=0.0):
        super().__init__()
        self.first, self.head = nn.Linear(40, 2), nn.Linear(2, 3)
        with torch.no_grad():
            self.first.weight.copy_(torch.randn(2, 40, generator=draws))
            self.first.weight[0, 0] += knows

    def forward(self, x):
        return self.head(self.first(x))


def test_null_and_alarm_as_rates():
    """Fifty draws of one further model, and of one that knows, beside sixteen others from a pool."""
    data, draws = along(120, 0, "s"), torch.Generator().manual_seed(0)
    probe = Probe.of(Request("some", data.ids[:60]), data, along(60, 1, "t"), LINE)
    pool = Oracles([Reads(draws) for _ in range(60)], probe, 0).correct(LINEAR)
    knows = Oracles([Reads(draws, knows=40.0) for _ in range(50)], probe, 0).correct(LINEAR)
    quiet = rang = 0
    for draw in range(50):
        order = torch.randperm(60, generator=draws)[:17]
        others, further = pool.values[order[1:]], pool.values[order[:1]]
        for values in (further, knows.values[draw : draw + 1]):
            target, oracles = (Evidence("correct", pool.ids, each, torch.zeros(each.shape).bool())
                               for each in (values, others))  # fmt: skip
            inside = joint([accuracy(target, oracles, subject="x", on="forget")])[0].inside_noise
            if values is further:
                quiet += inside
            else:
                rang += not inside
    assert quiet / 50 >= 0.88  # stated: outside once in 17
    assert rang / 50 >= 0.95
