"""The filter of low influence: scores by hand, who is left alone, what the inner method sees, and settings in JSON."""

import copy
import json
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch

from erasable._plumbing.settings import from_json, to_json
from erasable.cli import _fields
from erasable.contracts import check_unlearner
from erasable.errors import SettingsError, UndeclaredAccess
from erasable.request import Request
from erasable.unlearner import forget
from erasable.unlearners.finetune import FineTune
from erasable.unlearners.gradient_ascent import GradientAscent
from erasable.unlearners.low_influence import LowInfluence, Sketch, parts
from tests.toys import NETWORK, blob_task, blobs

DATA, TASK = blobs(), blob_task()
MODEL = NETWORK.train(DATA, TASK, seeds=[0])[0]
SPLIT = Request("r", DATA.ids[:8]).split(DATA)


@dataclass(frozen=True, kw_only=True)
class Seen:
    """Changes nothing, and says what it was shown."""

    guarantee: ClassVar[str] = "empirical"
    needs: ClassVar[frozenset[str]] = frozenset({"forget", "retain"})

    def __call__(self, model, split, task, *, seed):
        model.shown = (split.forget.ids, split.retain.ids)
        return model


def gradients(data):
    twin = copy.deepcopy(MODEL).requires_grad_(True)
    found = []
    for i in range(len(data)):
        loss = TASK.losses(twin, TASK.batch(data, torch.tensor([i]))).sum()
        found.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(twin.parameters()))]))
    return torch.stack(found)


def scores(score, **settings):
    return LowInfluence(score=score, **settings).scores(copy.deepcopy(MODEL), SPLIT.forget, SPLIT, TASK, seed=0)


def test_scores_by_hand():
    mine, others = gradients(SPLIT.forget), gradients(SPLIT.retain)
    mean = others.mean(0)
    assert torch.allclose(scores("gradient-norm"), mine.norm(dim=1), atol=1e-6)
    assert torch.allclose(scores("similarity"), (mine @ mean).abs(), atol=1e-6)  # fewer weights than dimension: exact
    curvature = others.T.double() @ others.double() / len(others) + 0.01 * torch.eye(mine.shape[1]).double()
    solved = torch.linalg.solve(curvature, mean.double())
    assert torch.allclose(scores("influence").double(), (mine.double() @ solved).abs(), rtol=1e-3, atol=1e-5)
    with torch.no_grad():
        loss = TASK.losses(MODEL, TASK.batch(SPLIT.forget, torch.arange(8)))
    assert torch.allclose(scores("loss"), loss, atol=1e-6)
    assert not torch.equal(scores("random").argsort(), scores("loss").argsort())


def test_a_sketch_keeps_inner_products_on_average():
    g = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 500, generator=g) + 0.5
    found = torch.stack([Sketch(500, 64, seed, a.device)(torch.stack([a, b])) for seed in range(400)])
    products = (found[:, 0] * found[:, 1]).sum(1)
    assert abs(float(products.mean()) - float(a @ b)) < 4 * float(products.std()) / 20
    assert float(products.std()) > 0
    assert found.shape == (400, 2, 64)


def test_the_lowest_are_left_alone():
    above, below = parts(torch.tensor([5.0, 1.0, 3.0, 1.0, 4.0]), 0.5)
    assert (above.tolist(), below.tolist()) == ([0, 2, 4], [1, 3])
    assert parts(torch.zeros(10), 0.7)[1].tolist() == list(range(7))
    assert len(parts(torch.zeros(3), 0.99)[0]) == 1  # somebody is always erased
    assert parts(torch.zeros(3), 0.0)[1].tolist() == []


def test_the_inner_method_sees_the_rest_and_the_names_are_kept():
    low = SPLIT.forget.take(scores("gradient-norm").argsort()[:4]).ids
    model = LowInfluence(inner=Seen(), quantile=0.5)(copy.deepcopy(MODEL), SPLIT, TASK, seed=0)
    assert set(model.left_alone) == set(low)
    assert set(model.shown[0]) == set(SPLIT.forget.ids) - set(low)
    assert model.shown[1] == SPLIT.retain.ids
    split, again = LowInfluence(inner=Seen(), quantile=0.5).divide(copy.deepcopy(MODEL), SPLIT, TASK, seed=0)
    assert (again, split.forget.ids) == (model.left_alone, model.shown[0])
    thin = LowInfluence(inner=Seen(), retain_quantile=0.25)(copy.deepcopy(MODEL), SPLIT, TASK, seed=0)
    assert len(thin.shown[1]) == 39
    assert len(thin.left_alone) == 4  # of those to erase alone


def test_the_names_of_earlier_requests_and_inner_filters_are_kept():
    first, _ = forget(MODEL, Request("1", DATA.ids[:4]), data=DATA, unlearner=LowInfluence())
    left = DATA.without(DATA.ids[:4])
    second, receipt = forget(first, Request("2", DATA.ids[4:8]), data=left, unlearner=LowInfluence())
    assert (len(first.left_alone), len(second.left_alone), receipt.left_alone) == (2, 4, 2)
    assert second.left_alone[:2] == first.left_alone
    assert "left 2 of 4 samples alone; no audit" in receipt.why
    nested = LowInfluence(inner=LowInfluence(inner=Seen(), quantile=0.5), quantile=0.5)
    model = nested(copy.deepcopy(MODEL), SPLIT, TASK, seed=0)
    assert sorted((*model.left_alone, *model.shown[0])) == sorted(SPLIT.forget.ids)
    assert len(model.left_alone) == 6
    _, plain = forget(
        second, Request("3", DATA.ids[8:12]), data=left.without(DATA.ids[4:8]), unlearner=GradientAscent()
    )
    assert plain.left_alone == 0
    assert "alone" not in plain.why


def test_without_a_filter_it_is_the_inner_method():
    inner = GradientAscent(epochs=3)
    alone = inner(copy.deepcopy(MODEL), SPLIT, TASK, seed=3)
    wrapped = LowInfluence(inner=inner, quantile=0.0)(copy.deepcopy(MODEL), SPLIT, TASK, seed=3)
    assert all(torch.equal(a, b) for a, b in zip(alone.parameters(), wrapped.parameters(), strict=True))
    assert wrapped.left_alone == ()


def test_what_is_left_alone_is_not_forgotten_and_the_rest_is():
    unlearner = LowInfluence(inner=GradientAscent(epochs=300, rise=2.0), quantile=0.5)
    model, receipt = forget(MODEL, Request("r", SPLIT.forget.ids), data=DATA, unlearner=unlearner)
    ids = model.left_alone

    def rise(chosen):
        batch = TASK.batch(DATA.only(chosen), torch.arange(len(chosen)))
        return float((TASK.losses(model, batch) - TASK.losses(MODEL, batch)).mean())

    erased = [each for each in SPLIT.forget.ids if each not in ids]
    assert rise(erased) > rise(ids) + 0.5
    assert receipt.samples == 8


def test_needs_are_those_of_the_score_and_of_the_inner_method():
    assert LowInfluence().needs == {"forget"}
    assert LowInfluence(score="influence").needs == {"forget", "retain"}
    assert LowInfluence(retain_quantile=0.1).needs == {"forget", "retain"}

    @dataclass(frozen=True, kw_only=True)
    class Greedy:
        guarantee: ClassVar[str] = "empirical"
        needs: ClassVar[frozenset[str]] = frozenset({"forget"})

        def __call__(self, model, split, task, *, seed):
            len(split.retain)
            return model

    with pytest.raises(UndeclaredAccess):
        LowInfluence(inner=Greedy(), score="similarity")(copy.deepcopy(MODEL), SPLIT, TASK, seed=0)


@pytest.mark.parametrize("score", ["similarity", "influence", "loss", "random"])
def test_contract_of_every_score(score):
    check_unlearner(LowInfluence(score=score, dimension=8, probes=5), NETWORK, DATA, TASK, ids=DATA.ids[:5])


def test_settings_survive_json_and_the_command_line():
    nested = LowInfluence(inner=LowInfluence(inner=GradientAscent(rise=3.0), score="random"), quantile=0.25)
    assert from_json(LowInfluence, json.loads(json.dumps(to_json(nested))), "way") == nested
    assert to_json(nested)["inner"]["inner"]["class"] == "erasable.unlearners.gradient_ascent:GradientAscent"
    asked = _fields.named("unlearners", 'low-influence quantile=0.25 "inner=gradient-ascent rise=3"')
    assert asked == LowInfluence(inner=GradientAscent(rise=3.0), quantile=0.25)
    with pytest.raises(SettingsError, match="gradient-descent"):
        _fields.named("unlearners", "low-influence inner=gradient-descent")


@pytest.mark.parametrize("wrong", [{"inner": FineTune()}, {"quantile": 1.0}, {"retain_quantile": -0.1},
                                   {"damping": 0.0}, {"dimension": 0}, {"probes": 0}])  # fmt: skip
def test_settings_are_checked(wrong):
    with pytest.raises(SettingsError):
        LowInfluence(**wrong)
