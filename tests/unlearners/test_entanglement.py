"""Entanglement: its parts by hand, the order of what a repair changes, and that adjacent samples are spared."""

import copy
import dataclasses

import pytest
import torch

from erasable._plumbing.gradients import flat, shaped
from erasable.dataset import Dataset
from erasable.errors import RequestError, SettingsError, TaskMismatch
from erasable.network import Network
from erasable.request import Request, Split
from erasable.tasks.language import NextToken
from erasable.train import Recipe
from erasable.unlearners.entanglement import Entanglement, without
from tests.toys import blob_task, blobs, sentences

DATA, TASK = blobs(160, classes=4), blob_task(4)
NETWORK = Network(network="mlp width=16", recipe=Recipe(epochs=15, batch=32, lr=0.05, optimizer="sgd"))
MODEL = NETWORK.train(DATA, TASK, seeds=[0])[0]
SPLIT = Request("r", DATA.where("label", 1).ids).split(DATA)
WHOLE = {"batch": 1000, "epochs": 1, "repair_epochs": 1}


def loss(model, data, task=TASK):
    return task.losses(model, task.batch(data, torch.arange(len(data)))).mean()


def level(model, data, task=TASK):
    return float(loss(model, data, task).detach())


def slope(model, *parts):
    """The gradient of the sum of factor * loss, flat."""
    twin = copy.deepcopy(model).requires_grad_(True)
    total = sum(factor * loss(twin, data) for factor, data in parts)
    return flat(torch.autograd.grad(total, list(twin.parameters())))


def moved(model, by):
    twin = copy.deepcopy(model).requires_grad_(False)
    for weight, part in zip(twin.parameters(), shaped(by, model.parameters()), strict=True):
        weight += part
    return twin


def opened(model):
    return copy.deepcopy(model).requires_grad_(True).eval()


def test_without_takes_the_span_away():
    g = torch.Generator().manual_seed(0)
    vector, a, b = torch.randn(3, 50, generator=g, dtype=torch.float64)
    rest = without(vector, [a, b])
    assert abs(float(rest @ a)) < 1e-10
    assert abs(float(rest @ b)) < 1e-10
    basis, _ = torch.linalg.qr(torch.stack([a, b], 1))
    assert torch.allclose(rest, vector - basis @ (basis.T @ vector))
    assert torch.allclose(without(vector, [a, 2 * a]), without(vector, [a]))
    assert torch.equal(without(vector, [torch.zeros(50), torch.zeros(50)]), vector)


def test_adjacent_by_similarity_are_those_that_a_step_hurts_most():
    settings = Entanglement(share=0.25, radius=0.2)
    way = slope(MODEL, (1.0, SPLIT.forget))
    after = moved(MODEL, 0.2 * way / way.norm())
    batch = TASK.batch(SPLIT.retain, torch.arange(120))
    rises = (TASK.losses(after, batch) - TASK.losses(MODEL, batch)).detach()
    assert torch.allclose(settings.rises(MODEL, SPLIT, TASK), rises, atol=1e-5)
    near, far = settings.parted(MODEL, SPLIT, TASK)
    assert len(near) == 30
    assert set(near.ids) | set(far.ids) == set(SPLIT.retain.ids)
    positions = SPLIT.retain.positions(near.ids)
    assert float(rises[positions].min()) >= float(rises[SPLIT.retain.positions(far.ids)].max())


def test_adjacent_by_labels_and_refusals():
    settings = Entanglement(adjacent="labels")
    part = Request("r", DATA.where("label", 1).ids[:10]).split(DATA)
    near, far = settings.parted(MODEL, part, TASK)
    assert set(near.ids) == set(DATA.where("label", 1).ids[10:])
    assert 1 not in far.read("label")
    with pytest.raises(RequestError, match="0 of 120"):
        settings.parted(MODEL, SPLIT, TASK)
    with pytest.raises(RequestError, match="152 of 152"):
        settings.parted(MODEL, Request("r", DATA.ids[:8]).split(DATA), TASK)
    lines = sentences()
    with pytest.raises(TaskMismatch):
        settings(copy.deepcopy(MODEL), Request("r", lines.ids[:2]).split(lines), NextToken.of(lines), seed=0)


def shortened(way, clip):
    return way * min(1.0, clip / float(way.norm()))


@pytest.mark.parametrize("clip", [0.5, 1e9])
def test_suppressing_by_hand(clip):
    remote = SPLIT.retain.where("label", 3)
    settings = Entanglement(lr=0.05, penalty=4.0, batch=1000, epochs=3, rise=1e6, clip=clip)
    model, twin, mu = opened(MODEL), copy.deepcopy(MODEL), 0.0
    settings.suppress(model, Split(SPLIT.forget, remote), TASK, seed=0)
    for _ in range(3):
        drift = level(twin, remote) - level(MODEL, remote)
        way = slope(twin, (-1.0, SPLIT.forget), (mu + 4.0 * drift, remote))
        assert (float(way.norm()) > clip) == (clip < 1)
        twin, mu = moved(twin, -0.05 * shortened(way, clip)), mu + 4.0 * drift
    assert mu != 0
    assert torch.allclose(flat(model.parameters()), flat(twin.parameters()), atol=1e-5)


def test_the_constraint_holds_the_remote_loss():
    drifts = []
    for penalty in (1e-6, 10.0):
        model = opened(MODEL)
        settings = Entanglement(lr=0.02, penalty=penalty, batch=1000, epochs=100, rise=1e6, clip=1e9)
        settings.suppress(model, Split(SPLIT.forget, SPLIT.retain), TASK, seed=0)
        assert level(model, SPLIT.forget) > 10
        drifts.append(abs(level(model, SPLIT.retain) - level(MODEL, SPLIT.retain)))
    assert drifts[1] < 0.3 < 3 < drifts[0]


def test_suppressing_holds_the_stated_rise():
    model = opened(MODEL)
    settings = Entanglement(lr=0.02, batch=1000, epochs=1000, rise=1.0)
    settings.suppress(model, Split(SPLIT.forget, SPLIT.retain), TASK, seed=0)
    assert level(model, SPLIT.forget) == pytest.approx(level(MODEL, SPLIT.forget) + 1.0, abs=0.1)


def suppressed(**settings):
    model = opened(MODEL)
    Entanglement(batch=1000, rise=3.0, **settings).suppress(model, Split(SPLIT.forget, SPLIT.retain), TASK, seed=0)
    return level(model, SPLIT.forget) - level(MODEL, SPLIT.forget), level(model, SPLIT.retain) - level(
        MODEL, SPLIT.retain
    )


def test_what_the_last_step_up_broke_is_brought_back():
    """Where the forget loss has risen far enough, the multiplier has the remaining epochs for the remote samples."""
    risen, broken = suppressed(epochs=4, lr=0.3, clip=1e9)
    held, mended = suppressed(epochs=6, lr=0.3, clip=1e9)
    assert risen > 3.0
    assert held > 3.0
    assert broken > 0.15
    assert abs(mended) < 0.08


def test_steps_of_bounded_length_do_not_run_away():
    assert suppressed(epochs=20, lr=1.0, clip=1e9)[1] > 1e3
    risen, drift = suppressed(epochs=20, lr=1.0, clip=1.0)
    assert risen > 3.0
    assert abs(drift) < 0.2


def test_a_repair_changes_the_others_to_second_order_only():
    near, far = SPLIT.retain.where("label", 0), SPLIT.retain.where("label", 3)
    precise = copy.deepcopy(MODEL).double()
    parts = {"adjacent": near, "forget": SPLIT.forget, "remote": far}

    class Double:
        draws = 0

        def batch(self, data, at):
            return {k: v.double() if v.is_floating_point() else v for k, v in TASK.batch(data, at).items()}

        losses, logits = staticmethod(TASK.losses), staticmethod(TASK.logits)

    task, changes = Double(), []
    for lr in (2e-3, 1e-3):
        model = opened(precise)
        settings = Entanglement(repair_lr=lr, **WHOLE)
        settings.repair(model, Split(SPLIT.forget, near), far, task, seed=0)
        changes.append({k: level(model, each, task) - level(precise, each, task) for k, each in parts.items()})
    assert changes[1]["adjacent"] < 0
    assert 1.9 < changes[0]["adjacent"] / changes[1]["adjacent"] < 2.1
    for each in ("forget", "remote"):
        assert abs(changes[0][each]) < 0.1 * abs(changes[0]["adjacent"])
        assert 3.5 < changes[0][each] / changes[1][each] < 4.5


def test_repair_by_hand_beyond_the_first_step():
    """From the second step on the losses have moved, and the distance of their distributions pulls."""
    near, far = SPLIT.retain.where("label", 0), SPLIT.retain.where("label", 3)
    settings = Entanglement(repair_lr=0.5, repair_epochs=3, batch=1000, mix=0.7, clip=0.2)
    model, twin = opened(MODEL), copy.deepcopy(MODEL)
    settings.repair(model, Split(SPLIT.forget, near), far, TASK, seed=0)
    batch = TASK.batch(SPLIT.forget, torch.arange(40))
    start, cut = TASK.losses(MODEL, batch).detach().sort().values, 0
    for _ in range(3):
        free = opened(twin)
        losses = TASK.losses(free, batch)
        held = 0.3 * losses.mean() + 0.7 * (losses.sort().values - start).square().mean()
        fixed = [flat(torch.autograd.grad(held, list(free.parameters()))), slope(twin, (1.0, far))]
        way = without(slope(twin, (1.0, near)), fixed)
        cut += float(way.norm()) > 0.2
        twin = moved(twin, -0.5 * shortened(way, 0.2))
    assert cut > 0
    assert torch.allclose(flat(model.parameters()), flat(twin.parameters()), atol=1e-4)


def accuracy(model, data):
    batch = TASK.batch(data, torch.arange(len(data)))
    with torch.no_grad():
        return float((TASK.logits(model, batch).argmax(1) == TASK.labels(batch)).float().mean())


def test_a_class_is_forgotten_and_adjacent_samples_are_repaired():
    trained = dataclasses.replace(NETWORK, network="mlp width=64").train(DATA, TASK, seeds=[0])[0]
    settings = Entanglement(epochs=20, lr=0.1, penalty=1.0, rise=3.0, batch=16, repair_epochs=20, repair_lr=0.03)
    near, far = settings.parted(trained, SPLIT, TASK)
    broken = opened(trained)
    settings.suppress(broken, Split(SPLIT.forget, far), TASK, seed=0)
    model = settings(copy.deepcopy(trained), SPLIT, TASK, seed=0)
    assert accuracy(trained, SPLIT.forget) > 0.9
    assert accuracy(model, SPLIT.forget) < 0.1
    assert accuracy(model, far) > 0.9
    assert accuracy(broken, near) < 0.8
    assert accuracy(model, near) > 0.9


def test_settings_are_checked():
    for wrong in (
        {"share": 0},
        {"share": 1},
        {"mix": 1.1},
        {"penalty": 0},
        {"repair_lr": 0},
        {"clip": 0},
        {"adjacent": "near"},
    ):
        with pytest.raises(SettingsError):
            Entanglement(**wrong)
    alone = Dataset.of({"x": torch.zeros(2, 2), "label": torch.zeros(2)}, ["a", "b"])
    with pytest.raises(RequestError, match="1 of 1"):
        Entanglement()(copy.deepcopy(MODEL), Request("r", ["a"]).split(alone), TASK, seed=0)
