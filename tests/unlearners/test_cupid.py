"""CUPID: sharpness against the loop, mask and step by hand, text, and that a class is forgotten."""

import copy

import pytest
import torch

from erasable._plumbing.batching import numbered
from erasable._plumbing.gradients import flat, shaped
from erasable.dataset import Dataset
from erasable.errors import SettingsError
from erasable.network import Network
from erasable.request import Request
from erasable.tasks.language import NextToken
from erasable.train import Recipe
from erasable.unlearners.cupid import CUPID
from tests.toys import blob_task, blobs, sentences

DATA, TASK = blobs(160, classes=4), blob_task(4)
NETWORK = Network(network="mlp width=16", recipe=Recipe(epochs=15, batch=32, lr=0.05, optimizer="sgd"))
MODEL = NETWORK.train(DATA, TASK, seeds=[0])[0]
SPLIT = Request("r", DATA.where("label", 1).ids).split(DATA)
LINES = sentences()


def own(model, task, data, at):
    twin = copy.deepcopy(model).requires_grad_(True)
    loss = task.losses(twin, task.batch(data, torch.as_tensor(at))).mean()
    return float(loss.detach()), flat(torch.autograd.grad(loss, list(twin.parameters())))


def moved(model, by):
    twin = copy.deepcopy(model).requires_grad_(False)
    for weight, part in zip(twin.parameters(), shaped(by, model.parameters()), strict=True):
        weight += part
    return twin


@pytest.mark.parametrize("modality", ["classification", "next-token"])
def test_sharpness_is_that_of_the_loop(modality):
    model, task, data = MODEL, TASK, SPLIT.forget.take(torch.arange(7))
    if modality == "next-token":
        task, data = NextToken.of(LINES), LINES.take(torch.arange(5))
        gpt = Network(network="gpt width=8 depth=1 heads=2", recipe=Recipe(epochs=1, batch=8, lr=0.01))
        model = gpt.train(LINES, task, seeds=[0])[0]
    found = CUPID(radius=0.3).sharpness(model, task, data)
    for i in range(len(data)):
        before, g = own(model, task, data, [i])
        after, _ = own(moved(model, 0.3 * g / g.norm()), task, data, [i])
        assert abs(float(found[i]) - (after - before)) < 1e-4
    assert bool((found > 0).all())


def test_mask_is_the_saliency_of_the_causal_samples():
    causal = SPLIT.forget.take(torch.arange(3))
    fisher = sum(own(MODEL, TASK, causal, [i])[1].square() for i in range(3)) / 3
    saliency = flat(MODEL.parameters()).square() / 2 * fisher
    mask = CUPID(pathway=0.25).mask(MODEL, TASK, causal)
    assert int(mask.sum()) == round(0.25 * len(saliency))
    assert float(saliency[mask].min()) >= float(saliency[~mask].max())


def test_steps_by_hand():
    settings = CUPID(epochs=2, lr=0.2, batch=1000, causal=0.1, pathway=0.3, radius=0.1)
    omega = settings.sharpness(MODEL, TASK, SPLIT.forget)
    causal = omega.argsort(descending=True)[:4].sort().values
    mask = settings.mask(MODEL, TASK, SPLIT.forget.take(causal)).float()
    twin = copy.deepcopy(MODEL)
    for _ in range(2):  # one batch per epoch: the weight of the whole is 1
        _, g = own(twin, TASK, SPLIT.forget, range(40))
        _, along = own(twin, TASK, SPLIT.forget, causal)
        c = (g @ along) / (along @ along) * along
        assert abs(float((g - c) @ along)) < 1e-4 * float(g.norm() * along.norm())
        twin = moved(twin, 0.2 * (c * mask + (g - c) * (1 - mask)))
    model = settings(copy.deepcopy(MODEL), SPLIT, TASK, seed=0)
    assert torch.allclose(flat(model.parameters()), flat(twin.parameters()), atol=1e-5)


def test_clipping_shortens_a_step_that_is_too_long():
    def step(**settings):
        model = CUPID(lr=0.2, batch=1000, **settings)(copy.deepcopy(MODEL), SPLIT, TASK, seed=0)
        return flat(model.parameters()) - flat(MODEL.parameters())

    free = step()
    length = float(free.norm()) / 0.2
    assert torch.allclose(step(clip=2 * length), free)
    assert torch.allclose(step(clip=length / 4), free / 4, atol=1e-6)


def test_sharp_batches_move_causal_weights_further():
    split = Request("r", DATA.ids[:40]).split(DATA)  # of all classes, some of them between two
    settings = CUPID(lr=0.02, batch=2, causal=0.1, pathway=0.5, radius=0.3)
    omega = settings.sharpness(MODEL, TASK, split.forget)
    causal = omega.argsort(descending=True)[:4].sort().values
    mask = settings.mask(MODEL, TASK, split.forget.take(causal)).float()
    _, along = own(MODEL, TASK, split.forget, causal)
    twin, shares = copy.deepcopy(MODEL), []
    for at, _ in numbered(TASK, split.forget, 2, epochs=1, seed=0):
        _, g = own(twin, TASK, split.forget, at)
        c = (g @ along) / (along @ along) * along
        shares.append(float(omega[at].mean() / omega.mean()))
        twin = moved(twin, 0.02 * (shares[-1] * c * mask + (g - c) * (1 - mask)))
    assert max(shares) > 1.3 * min(shares)
    model = settings(copy.deepcopy(MODEL), split, TASK, seed=0)
    assert torch.allclose(flat(model.parameters()), flat(twin.parameters()), atol=1e-5)


def test_identical_samples_are_plain_ascent_where_the_mask_says():
    """One sample, many times: its gradient is the causal direction, so the rest is none and only m = 1 moves."""
    x = DATA.read("x")[1:2].repeat(10, 1)
    labels = torch.cat([torch.ones(10, dtype=torch.long), DATA.read("label")])
    names = [*(f"copy/{i}" for i in range(10)), *DATA.ids]
    data = Dataset.of({"x": torch.cat([x, DATA.read("x")]), "label": labels}, names)
    split = Request("r", data.ids[:10]).split(data)
    settings = CUPID(lr=0.1, batch=1000)
    mask = settings.mask(MODEL, TASK, split.forget.take(torch.arange(1)))
    model = settings(copy.deepcopy(MODEL), split, TASK, seed=0)
    _, g = own(MODEL, TASK, split.forget, [0])
    step = flat(model.parameters()) - flat(MODEL.parameters())
    assert torch.allclose(step, 0.1 * g * mask, atol=1e-6)


def test_a_class_is_forgotten():
    def accuracy(model, data):
        batch = TASK.batch(data, torch.arange(len(data)))
        with torch.no_grad():
            return float((TASK.logits(model, batch).argmax(1) == TASK.labels(batch)).float().mean())

    before = accuracy(MODEL, SPLIT.retain)
    assert accuracy(MODEL, SPLIT.forget) > 0.9
    model = CUPID(lr=0.01, batch=8, epochs=10)(copy.deepcopy(MODEL), SPLIT, TASK, seed=0)
    assert accuracy(model, SPLIT.forget) < 0.1
    assert accuracy(model, SPLIT.retain) > before - 0.1


def test_settings_are_checked():
    for wrong in (
        {"causal": 0},
        {"causal": 1.5},
        {"pathway": -0.1},
        {"pathway": 2},
        {"radius": 0},
        {"lr": 0},
        {"clip": 0},
    ):
        with pytest.raises(SettingsError):
            CUPID(**wrong)
