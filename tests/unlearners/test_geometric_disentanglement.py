"""GU: steps and gradients by hand in both metrics, steps that nothing objects to, and what it does to the losses."""

import copy
import json
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch.optim import optimizer as torch_optimizer

from erasable._plumbing.gradients import flat
from erasable._plumbing.settings import from_json, to_json
from erasable.contracts import check_unlearner
from erasable.errors import SettingsError
from erasable.request import Request
from erasable.unlearners.finetune import FineTune
from erasable.unlearners.geometric_disentanglement import GeometricDisentanglement as GU
from erasable.unlearners.gradient_ascent import GradientAscent
from erasable.unlearners.neggrad_plus import NegGradPlus
from erasable.unlearners.nothing import Nothing
from erasable.unlearners.retrain import Retrain
from tests.toys import NETWORK, blob_task, blobs

DATA, TASK = blobs(), blob_task()
MODEL = NETWORK.train(DATA, TASK, seeds=[0])[0]
SPLIT = Request("r", DATA.ids[:8]).split(DATA)
ALL = 1000  # a batch that holds everybody


@dataclass(frozen=True, kw_only=True)
class Ascent:
    """Steps of torch's own optimisers, uphill on the forget data."""

    steps: int = 1
    lr: float = 0.05
    adam: bool = False
    guarantee: ClassVar[str] = "empirical"
    needs: ClassVar[frozenset[str]] = frozenset({"forget"})

    def __call__(self, model, split, task, *, seed):
        model.requires_grad_(True)
        kind = torch.optim.AdamW if self.adam else torch.optim.SGD
        optimizer = kind(model.parameters(), lr=self.lr, weight_decay=0.0)
        for _ in range(self.steps):
            optimizer.zero_grad()
            (-task.losses(model, task.batch(split.forget, torch.arange(len(split.forget)))).mean()).backward()
            optimizer.step()
        return model.requires_grad_(False).eval()


def loss(model, data):
    return TASK.losses(model, TASK.batch(data, torch.arange(len(data)))).mean()


def gradient(data, model=MODEL):
    twin = copy.deepcopy(model).requires_grad_(True)
    return flat(torch.autograd.grad(loss(twin, data), list(twin.parameters()))).double()


def moved(unlearner, seed=0):
    result = unlearner(copy.deepcopy(MODEL), SPLIT, TASK, seed=seed)
    return (flat(result.parameters()) - flat(MODEL.parameters())).detach().double(), result


R, F = gradient(SPLIT.retain), gradient(SPLIT.forget)


def test_the_toy_has_something_to_correct():
    assert float(F @ R) > 0  # uphill for those who go is uphill for those who stay


def test_one_step_of_sgd_by_hand():
    step, result = moved(GU(inner=Ascent(), history=0, batch=ALL))
    expected = 0.05 * (F - (F @ R) / (R @ R) * R)
    assert torch.allclose(step, expected, atol=1e-6)
    (told,) = result.corrections
    assert told.active == 1
    assert told.violation_before == pytest.approx(float(F @ R / F.norm() / R.norm()), abs=1e-4)
    assert told.violation_after < 1e-4
    assert told.removed == pytest.approx(float(F @ R / F.norm() / R.norm()), abs=1e-4)


def test_one_step_of_adam_by_hand():
    step, result = moved(GU(inner=Ascent(adam=True), history=0, batch=ALL))
    proposed, inverse = moved(Ascent(adam=True))[0], 1 / (F.abs() + 1e-8)
    expected = proposed - inverse * R * (R @ proposed) / (R @ (inverse * R))
    assert float(R @ proposed) > 0
    assert torch.allclose(step, expected, atol=1e-5)
    assert result.corrections[0].violation_after < 1e-3


def test_history_holds_earlier_gradients_too():
    _, result = moved(GU(inner=Ascent(steps=12), history=3, batch=16))
    assert len(result.corrections) == 12
    assert max(each.active for each in result.corrections) > 1
    assert all(each.violation_after < 1e-3 for each in result.corrections)
    assert any(each.violation_before > 0.05 for each in result.corrections)


def test_steps_that_nothing_objects_to_stay_as_they_are():
    inner = FineTune(epochs=4, batch=ALL, lr=0.05, momentum=0.0, weight_decay=0.0)
    alone = inner(copy.deepcopy(MODEL), SPLIT, TASK, seed=1)
    wrapped = GU(inner=inner, history=0, batch=ALL)(copy.deepcopy(MODEL), SPLIT, TASK, seed=1)
    assert len(wrapped.corrections) == 4
    assert all(each.active == 0 and each.violation_before < 0 for each in wrapped.corrections)
    assert all(torch.equal(a, b) for a, b in zip(alone.parameters(), wrapped.parameters(), strict=True))


@pytest.mark.parametrize("variant", ["step", "gradient"])
def test_the_retained_loss_rises_less_at_the_same_forgetting(variant):
    before = float(loss(MODEL, SPLIT.retain).detach())
    inner = NegGradPlus(weight=0.1, epochs=40, lr=0.02, momentum=0.0, weight_decay=0.0, batch=64)
    alone = inner(copy.deepcopy(MODEL), SPLIT, TASK, seed=0)
    wrapped = GU(inner=inner, variant=variant, batch=64)(copy.deepcopy(MODEL), SPLIT, TASK, seed=0)
    reached = float(loss(wrapped, SPLIT.forget))
    fewer = [
        inner.__class__(**{**vars(inner), "epochs": n})(copy.deepcopy(MODEL), SPLIT, TASK, seed=0) for n in range(1, 41)
    ]
    equal = next((each for each in fewer if float(loss(each, SPLIT.forget)) >= reached), alone)
    assert reached > float(loss(MODEL, SPLIT.forget).detach())
    assert float(loss(wrapped, SPLIT.retain)) < min(before + 0.02, float(loss(equal, SPLIT.retain)))
    assert not any(p.requires_grad or p.grad is not None for p in wrapped.parameters())
    assert not wrapped.training


def test_gradients_by_hand():
    def step(**settings):
        return moved(GU(inner=Ascent(), variant="gradient", history=0, batch=ALL, **settings))[0]

    across = 0.05 * (F - (F @ R) / (R @ R) * R)
    assert torch.allclose(step(), across, atol=1e-6)
    assert torch.allclose(step(repair=1.0), across - 0.05 * R, atol=1e-6)
    assert torch.allclose(step(keep=9.0), across, atol=1e-6)  # what lies along R raises the retained loss: not kept
    inner = FineTune(epochs=1, batch=ALL, lr=0.05, momentum=0.0, weight_decay=0.0)
    kept, _ = moved(GU(inner=inner, variant="gradient", history=0, batch=ALL, keep=9.0))
    none, _ = moved(GU(inner=inner, variant="gradient", history=0, batch=ALL))
    assert float(none.norm()) < 1e-5  # the step was all along R
    assert float(kept.norm()) < 1e-4  # and there is no rest that `keep` could be a multiple of


def test_what_helps_is_kept_as_far_as_allowed():
    inner = FineTune(epochs=1, batch=16, lr=0.05, momentum=0.0, weight_decay=0.0)
    steps = {k: moved(GU(inner=inner, variant="gradient", history=0, batch=ALL, keep=k))[1] for k in (0.0, 0.1, 1e6)}
    first = {k: each.corrections[0].removed for k, each in steps.items()}
    assert first[0.0] > first[0.1] > first[1e6] == pytest.approx(0, abs=1e-3)


@dataclass(frozen=True, kw_only=True)
class Arithmetic:
    """The same way uphill by arithmetic of its own, which nobody can follow."""

    guarantee: ClassVar[str] = "empirical"
    needs: ClassVar[frozenset[str]] = frozenset({"forget"})

    def __call__(self, model, split, task, *, seed):
        parts = torch.split(0.3 * F.float(), [p.numel() for p in model.parameters()])
        for p, g in zip(model.parameters(), parts, strict=True):
            p.data.add_(g.view_as(p))
        return model.eval()


def test_gradient_ascent_is_followed_step_by_step():
    _, result = moved(GU(inner=GradientAscent(epochs=6, lr=0.1, batch=4)))
    assert len(result.corrections) == 12


def test_a_method_without_an_optimiser_is_one_step():
    inner = Arithmetic()
    proposed, _ = moved(inner)
    step, result = moved(GU(inner=inner, batch=ALL))
    assert len(result.corrections) == 1
    assert float(proposed @ R) > 0
    assert torch.allclose(step, proposed - (proposed @ R) / (R @ R) * R, atol=1e-5)
    still, told = moved(GU(inner=Nothing()))
    assert float(still.norm()) == 0
    assert told.corrections[0].removed == 0


def test_a_step_is_shortened_until_the_loss_rises_little_enough():
    before = float(loss(MODEL, SPLIT.retain).detach())
    _, free = moved(GU(inner=Ascent(lr=3.0), history=0, batch=ALL))
    assert float(loss(free, SPLIT.retain)) > before + 0.01
    _, held = moved(GU(inner=Ascent(lr=3.0), history=0, batch=ALL, rise=0.01))
    assert float(loss(held, SPLIT.retain)) <= before + 0.01 + 1e-6
    assert 0 < held.corrections[0].scale < 1
    zero, stopped = moved(GU(inner=Ascent(lr=1e5), history=0, batch=ALL, rise=1e-6))
    assert (stopped.corrections[0].scale, float(zero.norm())) == (0.0, 0.0)


def test_nobody_watches_afterwards():
    before = (len(torch_optimizer._global_optimizer_pre_hooks), len(torch_optimizer._global_optimizer_post_hooks))
    with pytest.raises(SettingsError, match="not finite"):
        moved(GU(inner=Ascent(lr=float("inf"))))
    moved(GU(inner=Ascent()))
    after = (len(torch_optimizer._global_optimizer_pre_hooks), len(torch_optimizer._global_optimizer_post_hooks))
    assert after == before


@pytest.mark.parametrize("settings", [{"variant": "gradient"}, {"inner": FineTune(epochs=1)}, {"rise": 1e-4}])
def test_contract_of_variants(settings):
    check_unlearner(GU(**{"inner": NegGradPlus(epochs=1), **settings}), NETWORK, DATA, TASK, ids=DATA.ids[:5])


def test_settings():
    nested = GU(inner=GU(inner=GradientAscent(rise=2.0), rise=0.5), variant="gradient")
    assert from_json(GU, json.loads(json.dumps(to_json(nested))), "way") == nested
    assert GU(inner=FineTune()).needs == {"retain"}
    assert GU(inner=GradientAscent()).needs == {"forget", "retain"}
    for wrong in ({"inner": Retrain()}, {"history": -1}, {"batch": 0}, {"rise": -1.0}, {"keep": -0.1}):
        with pytest.raises(SettingsError):
            GU(**wrong)
