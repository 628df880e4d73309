"""Rehearsals: one model through all requests, judged beside its own oracles, and numbers of their own for groups."""

import copy
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
from torch import nn

from erasable import catalog
from erasable.dataset import Dataset
from erasable.errors import ErasableError, NotForgettable, PopulationTooSmall, SettingsError
from erasable.evidence import exposed
from erasable.forgettable.spm import SPM
from erasable.groups import beside
from erasable.network import Network
from erasable.population import Population, oracles
from erasable.receipt import Exposure, digest_of_ids
from erasable.rehearsal import memorised, prepared, rehearse, starting_data
from erasable.request import Request
from erasable.scenario import Scenario
from erasable.scenarios import Adaptive, InterclassConfusion, Memorisation, Mislabelled, OneClass, Sequential
from erasable.signals import log_probabilities
from erasable.tasks.classification import Classification
from erasable.train import Recipe
from erasable.unlearner import forget
from erasable.unlearners import FineTune, Nothing, Retrain
from erasable.unlearners.low_influence import LowInfluence
from tests.scenarios.test_every_scenario import CASES
from tests.scenarios.toy import TASK, TEST, toy
from tests.toys import NETWORK, TINY, blobs

DATA = toy()
BY_HEART = Network(network="mlp width=64", recipe=Recipe(epochs=60, batch=16, lr=0.02))  # of WIDE data
WIDE_TASK = Classification(shape=(16,), classes=3, low=(-4.0,), high=(4.0,), inputs="x")
MEMORY = SPM(network="mlp width=8", recipe=TINY)


def wide(n=60, *, name="wide", seed=0):
    """Samples of 16 numbers, of which three say the class and the others let it be learnt by heart."""
    draws = torch.Generator().manual_seed(seed)
    label = torch.arange(n) % 3
    x = torch.cat([2.0 * torch.eye(3)[label], torch.zeros(n, 13)], 1) + torch.randn(n, 16, generator=draws)
    ids = [f"{name}/{i:03d}" for i in range(n)]
    return Dataset.of({"x": x.clamp(-4, 4), "label": label}, ids, name=name, facts={"classes": ["c0", "c1", "c2"]})


WIDE, WIDE_TEST = wide(), wide(90, name="test", seed=1)


def settings_of(name):
    return catalog.SCENARIOS[name](**CASES[name][0])


def rehearsed(settings, method=NETWORK, data=DATA, **more):
    more = {"oracles": 3, "unlearner": Nothing() if method in (NETWORK, BY_HEART) else None} | more
    scenario = prepared(settings, data, TEST, TASK, method)
    return rehearse(scenario, method, TEST, TASK, data=data if isinstance(settings, Adaptive) else None, **more)


def number(row, metric):
    found = row.finding(metric)
    assert found is not None, [each.metric for each in row.shown]
    return found


def judged(section):
    """What decides, without the times."""
    return [(row.name, row.status, row.judged, row.before) for row in section.rows]


# --- every scenario --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
def test_every_scenario_can_be_rehearsed(name):
    data = DATA if name not in ("class", "subclass") else DATA.without(DATA.public.ids)
    settings = settings_of(name) if name != "adaptive" else Adaptive(share=0.1, rounds=2)
    (section,) = rehearsed(settings, data=data)
    assert [row.role for row in section.rows] == ["method", "untouched", "retrain"]
    assert [row.name for row in section.rows] == ["nothing", "do nothing", "train again"]
    assert "Tests " in section.facts()
    assert not section.facts().endswith("..")
    if name != "adaptive":
        scenario = prepared(settings, data, TEST, TASK, NETWORK)
        ids = [each for request in scenario.requests for each in request.ids]
        assert section.digests["erased ids"] == digest_of_ids(ids)
        assert section.digests["training data"] == scenario.data.digest()
        assert section.erased + section.retained == len(scenario.data)
        assert all(number(row, f"accuracy, {each}").null_values for each in scenario.groups for row in section.rows)
    nothing, untouched, again = section.rows
    assert nothing.judged[0].value == untouched.judged[0].value  # the same weights
    assert set(again.oracle_seeds) == {1001, 1002, 1003}


def test_the_rows_are_what_they_say():
    scenario = prepared(Mislabelled(share=0.2), WIDE, WIDE_TEST, WIDE_TASK, BY_HEART)
    (section,) = rehearse(scenario, BY_HEART, WIDE_TEST, WIDE_TASK, unlearner=Retrain(), oracles=3, suite="quick")
    retrained, untouched, again = (number(row, "canaries") for row in section.rows)
    assert untouched.value > 50  # learnt by heart
    assert untouched.inside_noise is False
    assert max(retrained.value, again.value, *untouched.null_values) < 50
    assert section.rows[0].level == "exact"
    kept = scenario.data.without(scenario.request.ids)
    model = BY_HEART.train(kept, WIDE_TASK, seeds=[1000])[0]  # the row "train again": the seed before the oracles'
    others = oracles(BY_HEART, kept, WIDE_TASK, seeds=range(1001, 1004))
    found = beside(scenario, WIDE_TEST, WIDE_TASK, {"x": model}, others)["x"]
    assert next(each for each in found if each.metric == "canaries").value == again.value


# --- several requests ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Shift:
    """Changes weights by what it is asked, so that the order and the number of calls show."""

    guarantee: ClassVar = "empirical"
    needs: ClassVar = frozenset({"forget"})

    def __call__(self, model, split, task, *, seed):
        with torch.no_grad():
            for weights in model.parameters():
                weights.mul_(1.5).add_(0.01 * float(split.forget.read("x").mean()))
        return model


@pytest.mark.parametrize(("method", "way"), [(NETWORK, Shift()), (MEMORY, None)])
@pytest.mark.parametrize("settings", [Sequential(rounds=3, share=0.05), Adaptive(rounds=3, share=0.05)])
def test_one_model_goes_through_all_requests(method, way, settings):
    """By hand, with the public pieces; judging in between changes nothing."""
    last = rehearsed(settings, method, unlearner=way)
    every = rehearsed(settings, method, unlearner=way, each=True)
    assert [each.erased for each in every] == [3, 6, 9]
    assert judged(every[-1]) == judged(last[0])
    model, left, gone = method.train(DATA, TASK, seeds=[0])[0], DATA, []
    untouched = copy.deepcopy(model)
    for i in range(3):
        if isinstance(settings, Adaptive):
            seen = log_probabilities([model], TASK, left, fitted=exposed([model], left.ids))
            request = settings(left, TASK, seen=seen, seed=0).request
        else:
            request = settings(DATA, TASK, seed=0).requests[i]
        model, _ = forget(model, request, data=left, unlearner=way, seed=i)
        left, gone = left.without(request.ids), [*gone, *request.ids]
        assert every[i].digests["erased ids"] == digest_of_ids(gone)
    erased = DATA.only(gone)
    for row, each in zip(last[0].rows, (model, untouched), strict=False):
        right = log_probabilities([each], TASK, erased, fitted=exposed([each], erased.ids)).values[0].argmax(1)
        share = 100 * float((right == erased.read("label")).double().mean())
        assert row.finding("forget accuracy").value == pytest.approx(share)


def test_adaptive_requests_follow_the_model():
    """A model that changes is asked for other samples than one that stays."""
    settings = Adaptive(rounds=3, share=0.1)
    changing, staying = (rehearsed(settings, unlearner=way, each=True) for way in (FineTune(lr=1.0), Nothing()))
    first, *_, last = zip((each.digests["erased ids"] for each in changing),
                          (each.digests["erased ids"] for each in staying), strict=True)  # fmt: skip
    assert first[0] == first[1]
    assert last[0] != last[1]
    assert any("chosen from what this very model said" in each for each in changing[-1].cautions)


def test_what_was_asked_is_told():
    (section,) = rehearsed(Sequential(rounds=3, share=0.05))
    assert section.title == "Sequential: 9 samples in 3 requests"
    assert section.case.startswith("sequential, 3 of 3 requests, one after another, for 3 samples each. Tests ")
    assert {"accuracy, asked first", "accuracy, asked last"} <= {each.metric for each in section.rows[0].shown}
    assert rehearsed(Sequential(rounds=2, share=0.05), each=True)[0].title == "Sequential: 3 samples in 1 of 2 requests"
    assert section.rows[0].finding("time").value > 0
    assert section.rows[0].receipt is None
    assert rehearsed(Sequential(rounds=1, share=0.01))[0].title == "Sequential: 1 sample"


# --- what a filter left alone ----------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Perfect:
    """Trains again without what it has been shown by now."""

    data: Dataset
    guarantee: ClassVar = "empirical"
    needs: ClassVar = frozenset({"forget"})

    def __call__(self, model, split, task, *, seed):
        shown = (*getattr(model, "shown", ()), *split.forget.ids)
        again = BY_HEART.train(self.data.without(shown), task, seeds=[seed])[0]
        again.shown = shown
        return again


def filtered(settings):
    scenario = prepared(settings, WIDE, WIDE_TEST, WIDE_TASK, BY_HEART)
    way = LowInfluence(inner=Perfect(data=scenario.data))
    (section,) = rehearse(scenario, BY_HEART, WIDE_TEST, WIDE_TASK, unlearner=way, oracles=8, suite="quick")
    return section


def test_what_was_left_alone_is_judged_by_itself():
    """Wrong labels are learned by heart, and have small gradients then: the filter keeps half of them from a perfect
    method, and these ring."""
    section = filtered(Mislabelled(share=0.3))
    whole, untouched, again, left, shown = section.rows
    assert [row.role for row in section.rows] == ["method", "untouched", "retrain", "method", "method"]
    assert left.name == "9 of 18 samples left alone by low-influence"
    assert shown.name == "9 of 18 samples unlearned by low-influence"
    assert (left.status, again.status) == ("remembered", "no trace")
    accuracy = [number(row, "forget accuracy") for row in (left, shown, whole)]
    assert [each.n for each in accuracy] == [9, 9, 18]
    assert [each.inside_noise for each in accuracy] == [False, True, False]
    assert accuracy[0].value == 100
    assert (accuracy[0].value + accuracy[1].value) / 2 == pytest.approx(accuracy[2].value)
    halves = zip(accuracy[0].null_values, accuracy[1].null_values, strict=True)  # of the very same oracles
    assert [sum(each) / 2 for each in halves] == pytest.approx(list(accuracy[2].null_values))
    assert left.earlier("forget accuracy").value == untouched.finding("forget accuracy").value == 100
    assert [row.finding("time") is None for row in section.rows] == [False, True, True, True, True]
    assert "kept them from its method" in left.note
    assert any("left 9 of 18 erased samples alone" in each and "rows of their own" in each
               for each in section.cautions)  # fmt: skip
    assert left.name in section.verdict


def test_those_of_all_requests_together():
    rows = filtered(Sequential(rounds=2, share=0.2)).rows
    assert [row.name.partition(" samples")[0] for row in rows[3:]] == ["12 of 24", "12 of 24"]
    assert rows[3].finding("accuracy, asked first") is None  # a number of all samples
    assert rows[0].finding("accuracy, asked first") is not None


# --- numbers of their own --------------------------------------------------------------------------------------------


class Always(nn.Module):
    """Answers sample i with answers[i]: its first input is i, which the task brings from 0..10 to -1..1."""

    def __init__(self, answers):
        super().__init__()
        self.answers = torch.tensor(answers)
        self.exposure = Exposure({})

    def forward(self, x):
        return 4.0 * torch.eye(3)[self.answers[(5 * x[:, 0] + 5).round().long()]]


def numbered(labels):
    """Samples whose input is their own number."""
    data = blobs(len(labels))
    x = torch.stack([torch.arange(len(labels)).float(), torch.zeros(len(labels))], 1)
    return data.replace("x", data.ids, x).replace("label", data.ids, torch.tensor(labels))


def test_groups_by_hand():
    data, task = numbered([0, 1, 2, 0, 1, 2]), replace(TASK, high=(10.0,), low=(0.0,))
    ids = data.ids
    wrong = {ids[0]: 1, ids[1]: 2}
    scenario = Scenario("x", data.replace("label", ids[:2], torch.tensor([1, 2])), (Request("toy", ids[:2]),),
                        "Tests nothing.", {"right": data.only(ids[:2]), "others": data.only(ids[2:4])},
                        {"wrong": wrong, "label": 2})  # fmt: skip
    model = Always([1, 1, 2, 1, 1, 0])  # the first canary has its wrong label
    never = Population((Always([0, 1, 2, 0, 1, 2]), Always([0, 1, 2, 1, 1, 2])), (0, 1), "oracle")
    found = {each.metric: each for each in beside(scenario, data, task, {"m": model}, never)["m"]}
    assert {name: (each.value, each.null_values) for name, each in found.items()} == {
        "accuracy, right": (50.0, (100.0, 100.0)),
        "accuracy, others": (50.0, (100.0, 50.0)),
        "canaries": (50.0, (0.0, 0.0)),
        "test accuracy of c0": (0.0, (100.0, 50.0)),
        "test accuracy of c1": (100.0, (100.0, 100.0)),
        "test accuracy of c2": (50.0, (100.0, 100.0)),
    }


def test_the_confusion_of_two_classes_is_measured_where_nobody_trained():
    scenario = prepared(InterclassConfusion(pair=(0, 1), share=0.5), WIDE, WIDE_TEST, WIDE_TASK, BY_HEART)
    (section,) = rehearse(scenario, BY_HEART, WIDE_TEST, WIDE_TASK, unlearner=Nothing(), oracles=3)
    errors = [number(section.rows[i], "Fgt-Err").value for i in (1, 2)]
    assert errors[0] > errors[1]
    assert number(section.rows[1], "IC-Err").value >= errors[0]
    assert {"test accuracy of c0", "test accuracy of c2"} <= {each.metric for each in section.rows[0].shown}


def test_memorised_samples_are_those_that_only_their_own_training_explains():
    data = WIDE.declare_public(WIDE.ids[54:])
    odd = data.private.ids[20]
    label = int(data.only([odd]).read("label"))
    data = data.replace("label", [odd], torch.tensor([(label + 1) % 3]))
    scores = memorised(BY_HEART, data, WIDE_TASK, models=8)
    assert set(scores) <= set(data.private.ids)
    assert len(scores) >= len(data.private) - 1
    assert scores[odd] == 1.0 == max(scores.values())
    assert sum(scores.values()) / len(scores) < 0.5
    scenario = prepared(Memorisation(share=0.1), data, WIDE_TEST, WIDE_TASK, BY_HEART)
    assert odd in scenario.request.ids
    assert "low memorisation" in scenario.groups


def test_a_class_is_asked_of_the_test_data_too():
    scenario = prepared(OneClass(label=2), DATA.without(DATA.public.ids), TEST, TASK, NETWORK)
    assert list(scenario.groups) == ["the class in the test data"]


# --- refused ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "more", "error", "told"),
    [
        (Sequential(), {"suite": "full"}, SettingsError, "quick or standard"),
        (Sequential(), {"oracles": 1}, PopulationTooSmall, "at least 2"),
        (Sequential(share=0.02), {"unlearner": None}, NotForgettable, "a plain network"),
        (Adaptive(share=0.2), {}, SettingsError, "10 adaptive requests"),
    ],
)
def test_refused_before_anything_is_judged(settings, more, error, told):
    with pytest.raises(error, match=told):
        rehearsed(settings, **more)


def test_adaptive_requests_need_data():
    with pytest.raises(SettingsError, match="without data"):
        starting_data(Adaptive(), None)
    with pytest.raises(ErasableError, match="rounds=0"):
        Adaptive(rounds=0)
