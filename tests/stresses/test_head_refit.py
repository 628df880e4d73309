"""Head refit: a head that was cut is caught, by hand and against oracles, and nothing given is changed."""

import copy

import pytest
import torch
from torch import nn

from erasable.dataset import Dataset
from erasable.errors import SettingsError, TaskMismatch
from erasable.evidence import joint
from erasable.forgettable.logit_mask import LogitMask
from erasable.forgettable.sisa import SISA
from erasable.forgettable.spm import SPM
from erasable.metrics import recovery
from erasable.stresses import HeadRefit
from erasable.tasks import Classification
from erasable.unlearner import weights_digest
from tests.toys import BETWEEN, NETWORK, TINY, between, blob_task, blobs

TASK = blob_task()


def suppressed(model, label):
    """The model with a head that never names the label."""
    model = copy.deepcopy(model)
    with torch.no_grad():
        model.network.head.weight[label] = 0
        model.network.head.bias[label] = -20
    return model


def test_a_suppressed_head_is_caught():
    data = between()
    forget = data.where("label", 2)
    retain = data.without(forget.ids)
    untouched = BETWEEN.train(data, TASK, seeds=[0])[0]
    hidden = suppressed(untouched, 2)
    never = BETWEEN.train(retain, TASK, seeds=list(range(8)))
    x = TASK.batch(forget, torch.arange(len(forget)))["inputs"]
    assert not any(bool((each(x).argmax(1) == 2).any()) for each in (hidden, *never))  # they look alike
    refit = HeadRefit(steps=60, lr=0.05)
    of = [[refit(each, TASK, forget, retain, seed=1) for each in side] for side in ([hidden], never, [untouched])]
    curves = [torch.tensor([each.curve for each in side]) for side in of]
    ours, theirs, _ = curves
    assert bool((ours[0, 20:] > theirs[:, 20:]).all())  # higher
    assert int((ours[0] > 90).int().argmax()) < 20  # faster: none of the others is there after three times as long
    assert float(theirs.max()) < 90
    assert min(each.retained[-1] for side in of for each in side) > 60  # all heads have learned to tell the others
    found = joint([recovery(*curves, n=len(forget), subject="hidden", by="head refit")])[0]
    assert found.value == pytest.approx(1.0)
    assert found.inside_noise is False


SQUARE = Classification(shape=(2,), classes=2, low=(-1.0,), high=(1.0,), inputs="x")


def points(x, labels, name):
    return Dataset.of({"x": torch.tensor(x), "label": torch.tensor(labels)}, [f"{name}{i}" for i in range(len(x))])


class Plain(nn.Module):
    """The inputs are the features."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(2, 2)
        self.last = nn.Linear(2, 2)

    def forward(self, x):
        return self.last(x)


def test_steps_by_hand():
    """Adam's first step is lr times the sign of the gradient, and after it both points are right."""
    forget, retain = points([[1.0, 0.0]], [0], "f"), points([[-1.0, 0.0]], [1], "r")
    found = HeadRefit(steps=1, lr=0.1)(Plain(), SQUARE, forget, retain, seed=0)
    assert found.curve == (0.0, 100.0)  # a head of zeros prefers nobody: no right answer
    assert found.retained == (0.0, 100.0)
    spread = 0.5**0.5  # mean variance of the two features, 1 and 0
    head = found.model.head
    assert head.weight.detach().flatten().tolist() == pytest.approx(
        [0.1 / spread, 0.0, -0.1 / spread, 0.0], rel=1e-4, abs=1e-6
    )
    assert head.bias.detach().tolist() == pytest.approx([0.0, 0.0], abs=1e-6)


def test_other_samples_can_be_asked_about():
    forget, retain = points([[1.0, 0.0]], [0], "f"), points([[-1.0, 0.0]], [1], "r")
    on = points([[-1.0, 0.0], [1.0, 0.0]], [0, 0], "t")
    assert HeadRefit(steps=1, lr=0.1)(Plain(), SQUARE, forget, retain, seed=0, on=on).curve == (0.0, 50.0)


def test_neither_the_old_head_nor_the_scale_of_the_features_matters():
    class Scaled(Plain):
        def forward(self, x):
            return self.last(1000 * x)

    data = blobs(classes=2)
    forget, retain = data.only(data.ids[:10]), data.without(data.ids[:10])
    task = blob_task(2)
    curves = {HeadRefit(steps=20)(kind(), task, forget, retain, seed=3).curve for kind in (Plain, Plain, Scaled)}
    assert len(curves) == 1


def test_the_given_model_is_unchanged_and_the_seed_decides():
    data = blobs()
    forget, retain = data.only(data.ids[:12]), data.without(data.ids[:12])
    refit = HeadRefit(steps=15, batch=8)
    for model in (NETWORK.train(data, TASK, seeds=[0])[0],
                  SPM(network="mlp width=8", recipe=TINY).train(data, TASK, seeds=[0])[0]):  # fmt: skip
        before = weights_digest(model), [each.requires_grad for each in model.parameters()]
        first, again, other = (refit(model, TASK, forget, retain, seed=seed) for seed in (0, 0, 1))
        assert (weights_digest(model), [each.requires_grad for each in model.parameters()]) == before
        assert first.curve == again.curve
        assert weights_digest(first.model) == weights_digest(again.model)
        assert weights_digest(first.model) != weights_digest(other.model)
        assert len(first.curve) == 16
        x = TASK.batch(forget, torch.arange(12))
        share = 100 * float((TASK.logits(first.model, x).argmax(1) == x["labels"]).double().mean())
        assert share == pytest.approx(first.curve[-1])  # the returned model is the one at the end of the curve


def test_what_comes_after_the_head_is_gone_and_exposure_grows():
    data = blobs()
    forget = data.where("label", 2)
    retain = data.without(forget.ids)
    model = LogitMask(network="mlp width=8", recipe=TINY).train(retain, TASK, seeds=[0])[0]
    x = TASK.batch(forget, torch.arange(len(forget)))["inputs"]
    assert bool(torch.isinf(model(x)[:, 2]).all())
    found = HeadRefit(steps=80, lr=0.05)(model, TASK, forget, retain, seed=0)
    assert bool(torch.isfinite(found.model(x)).all())
    assert found.curve[-1] > 0
    assert found.model.exposure.of(forget.ids) == {"head refit": len(forget)}
    assert model.exposure.of(forget.ids) == {}


def test_an_ensemble_is_not_judged_by_its_last_member():
    data = blobs()
    model = SISA(network="mlp width=8", recipe=TINY, shards=2).train(data, TASK, seeds=[0])[0]
    with pytest.raises(TaskMismatch, match="one by one"):
        HeadRefit()(model, TASK, data, data, seed=0)


def test_what_has_no_linear_head_is_refused():
    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.inside = nn.Linear(2, 5)

        def forward(self, x):
            return self.inside(x)[:, :3]

    data = blobs()
    with pytest.raises(TaskMismatch, match="linear layer with 3 outputs"):
        HeadRefit()(Sum(), TASK, data, data, seed=0)
    for wrong in ({"steps": 0}, {"lr": 0.0}, {"batch": 0}):
        with pytest.raises(SettingsError):
            HeadRefit(**wrong)
