"""UNSIR: its noise, its mixture and its steps by hand, and that a class is forgotten."""

import copy

import pytest
import torch
import torch.nn.functional as F

from erasable._plumbing.seeds import generator
from erasable.errors import RequestError, SettingsError, TaskMismatch
from erasable.network import Network
from erasable.request import Request
from erasable.tasks.language import NextToken
from erasable.train import Recipe
from erasable.unlearners.unsir import UNSIR
from tests.toys import blob_task, blobs, sentences

DATA, TASK = blobs(160, classes=4), blob_task(4)
NETWORK = Network(network="mlp width=16", recipe=Recipe(epochs=15, batch=32, lr=0.05, optimizer="sgd"))
MODEL = NETWORK.train(DATA, TASK, seeds=[0])[0]
SPLIT = Request("r", DATA.where("label", 1).ids).split(DATA)


def accuracy(model, data):
    batch = TASK.batch(data, torch.arange(len(data)))
    with torch.no_grad():
        return float((TASK.logits(model, batch).argmax(1) == TASK.labels(batch)).float().mean())


def test_first_step_of_the_noise_by_hand():
    settings = UNSIR(noise_steps=1, noise_lr=0.5, decay=0.3, batch=5)
    x = torch.randn(5, 2, generator=generator(7, "noise", 1)).requires_grad_(True)
    names = torch.full((5,), 1)
    value = 0.3 * (x**2).sum() / 5 - F.cross_entropy(MODEL(x), names)
    (gradient,) = torch.autograd.grad(value, x)
    expected = x.detach() - 0.5 * gradient.sign()  # the first step of Adam
    assert torch.allclose(settings.noise(MODEL, TASK, SPLIT.forget, 1, 7), expected, atol=1e-4)


def test_noise_is_what_the_network_would_never_call_the_class():
    found = UNSIR(decay=0.0, batch=32).noise(MODEL, TASK, SPLIT.forget, 1, 0)
    drawn = UNSIR(decay=0.0, batch=32, noise_steps=1, noise_lr=1e-9).noise(MODEL, TASK, SPLIT.forget, 1, 0)
    assert float(MODEL(found).softmax(1)[:, 1].mean()) < 0.05 < float(MODEL(drawn).softmax(1)[:, 1].mean())
    held = UNSIR(decay=10.0, batch=32).noise(MODEL, TASK, SPLIT.forget, 1, 0)
    assert held.norm() < 0.2 * found.norm()


def test_the_mixture_has_every_copy_and_every_sample_once():
    split = Request("r", [*DATA.where("label", 0).ids, *DATA.where("label", 3).ids]).split(DATA)
    settings = UNSIR(copies=3, batch=8, samples=5)
    kept = settings.sampled(split.retain, TASK, 0)
    assert torch.bincount(kept.read("label")).tolist() == [0, 5, 5]
    noise = torch.arange(2 * 8 * 2.0).view(2, 8, 2) + 100
    batches = list(settings.mixed(TASK, kept, noise, torch.tensor([0, 3]), 0))
    assert [len(names) for _, names in batches] == [8] * 7 + [2]
    inputs, names = torch.cat([batch["inputs"] for batch, _ in batches]), torch.cat([names for _, names in batches])
    for label, mine in ((0, noise[0]), (3, noise[1])):
        found = sorted(inputs[names == label].tolist())
        assert found == sorted(mine.repeat(3, 1).tolist())
    real = TASK.batch(kept, torch.arange(10))
    told = {(*x, y) for x, y in zip(real["inputs"].tolist(), real["labels"].tolist(), strict=True)}
    assert told == {(*x, y) for x, y in zip(inputs.tolist(), names.tolist(), strict=True) if y in (1, 2)}
    assert any(0 < int((names == 3).sum()) < len(names) for _, names in batches)  # shuffled


def test_two_steps_by_hand():
    settings = UNSIR(noise_steps=1, copies=2, batch=1000, samples=1000, impair_lr=0.01, repair_lr=0.003)
    twin = copy.deepcopy(MODEL)
    noise = settings.noise(twin, TASK, SPLIT.forget, 1, 0)
    real = TASK.batch(SPLIT.retain, torch.arange(len(SPLIT.retain)))
    twin.requires_grad_(True)
    parts = list(settings.mixed(TASK, SPLIT.retain, noise[None], torch.tensor([1]), 0))
    for rates, passes in ((0.01, [(b["inputs"], y) for b, y in parts]), (0.003, [(real["inputs"], real["labels"])])):
        optimizer = torch.optim.Adam(twin.parameters(), lr=rates)
        for x, y in passes:
            optimizer.zero_grad()
            F.cross_entropy(twin(x), y).backward()
            optimizer.step()
    model = settings(copy.deepcopy(MODEL), SPLIT, TASK, seed=0)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(model.parameters(), twin.parameters(), strict=True))


def test_a_class_is_forgotten_and_the_rest_repaired():
    before = accuracy(MODEL, SPLIT.retain)
    assert accuracy(MODEL, SPLIT.forget) > 0.9
    model = UNSIR(batch=16, copies=4)(copy.deepcopy(MODEL), SPLIT, TASK, seed=0)
    assert accuracy(model, SPLIT.forget) < 0.3
    assert accuracy(model, SPLIT.retain) > before - 0.1


def test_refusals():
    with pytest.raises(RequestError, match="whole classes"):
        UNSIR()(copy.deepcopy(MODEL), Request("r", SPLIT.forget.ids[:3]).split(DATA), TASK, seed=0)
    lines = sentences()
    with pytest.raises(TaskMismatch):
        UNSIR()(copy.deepcopy(MODEL), Request("r", lines.ids[:2]).split(lines), NextToken.of(lines), seed=0)
    for wrong in ({"samples": 0}, {"copies": 0}, {"decay": -1}, {"impair_lr": 0}, {"repair_lr": 0}, {"batch": 0}):
        with pytest.raises(SettingsError):
            UNSIR(**wrong)
