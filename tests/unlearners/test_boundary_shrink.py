"""Boundary shrink: where the samples are pushed and the step by hand, and that a class is forgotten."""

import copy

import pytest
import torch
import torch.nn.functional as F

from erasable.dataset import Dataset
from erasable.errors import SettingsError, TaskMismatch
from erasable.network import Network
from erasable.request import Request
from erasable.tasks.classification import Classification
from erasable.tasks.language import NextToken
from erasable.train import Recipe
from erasable.unlearners.boundary_shrink import BoundaryShrink
from tests.toys import blob_task, blobs, sentences

DATA, TASK = blobs(160, classes=4), blob_task(4)
NETWORK = Network(network="mlp width=16", recipe=Recipe(epochs=15, batch=32, lr=0.05, optimizer="sgd"))
MODEL = NETWORK.train(DATA, TASK, seeds=[0])[0]
SPLIT = Request("r", DATA.where("label", 1).ids).split(DATA)


def accuracy(model, data, task=TASK):
    batch = task.batch(data, torch.arange(len(data)))
    with torch.no_grad():
        return float((task.logits(model, batch).argmax(1) == task.labels(batch)).float().mean())


class Bands(torch.nn.Module):
    """Of one number: class 0 below 0.3, class 1 up to 0.9, class 2 beyond. The logits are lines."""

    def __init__(self, last=0.9):
        super().__init__()
        self.slope = torch.nn.Parameter(torch.tensor([0.0, 1.0, 2.0]))
        self.at = torch.nn.Parameter(torch.tensor([0.0, -0.3, -0.3 - last]))

    def forward(self, x):
        return x * self.slope + self.at


BAND = Classification(shape=(1,), classes=3, low=(-1.0,), high=(1.0,), inputs="x")


def band(x, labels):
    names = [f"{i}" for i in range(len(x))]
    return Dataset.of({"x": torch.tensor(x)[:, None], "label": torch.tensor(labels)}, names)


def test_across_is_the_class_on_the_other_side():
    data = band([0.2, 0.1, -0.9, 0.35], [0, 0, 0, 1])
    at = {"reach": 0.06}  # steps of 0.12; the range of the inputs is 2 wide
    one = BoundaryShrink(rounds=1, **at).across(Bands(), data, BAND)
    assert one.tolist() == [1, 1, 1, 0]  # only the first and the last left their class in one step
    assert BoundaryShrink(rounds=20, **at).across(Bands(), data, BAND).tolist() == [1, 1, 1, 0]


def test_steps_stay_in_the_nominal_range():
    far = BoundaryShrink(reach=0.5, rounds=1)
    assert far.across(Bands(), band([0.2], [0]), BAND).tolist() == [2]
    assert far.across(Bands(last=1.1), band([0.2], [0]), BAND).tolist() == [1]  # 1.2 is out of it, and class 2 with it
    outside = band([1.2], [0])  # already outside: it is not pulled in
    assert far.across(Bands(last=1.1), outside, BAND).tolist() == [2]


def test_samples_walk_until_they_leave_and_no_further():
    data = band([-0.85, 0.2], [0, 0])
    found = BoundaryShrink(reach=0.3, rounds=5).across(Bands(), data, BAND)  # by way of -0.25 to 0.35; and to 0.8
    assert found.tolist() == [1, 1]  # walking on, both would end at 1, where class 2 answers


def test_no_sample_keeps_its_own_class():
    settings = BoundaryShrink(reach=1e-6, rounds=1)  # far too short
    assert not bool((settings.across(MODEL, DATA, TASK) == DATA.read("label")).any())


def test_step_by_hand():
    across = BoundaryShrink().across(MODEL, SPLIT.forget, TASK)
    twin = copy.deepcopy(MODEL).requires_grad_(True)
    logits = TASK.logits(twin, TASK.batch(SPLIT.forget, torch.arange(len(SPLIT.forget))))
    gradients = torch.autograd.grad(F.cross_entropy(logits, across), list(twin.parameters()))
    model = BoundaryShrink(epochs=1, lr=0.1, batch=1000)(copy.deepcopy(MODEL), SPLIT, TASK, seed=0)
    expected = [w - 0.1 * g for w, g in zip(MODEL.parameters(), gradients, strict=True)]
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(model.parameters(), expected, strict=True))


def test_a_class_is_pushed_into_its_neighbours():
    before = accuracy(MODEL, SPLIT.retain)
    assert accuracy(MODEL, SPLIT.forget) > 0.9
    model = BoundaryShrink(epochs=10, lr=0.02)(copy.deepcopy(MODEL), SPLIT, TASK, seed=0)
    assert accuracy(model, SPLIT.forget) < 0.1
    assert accuracy(model, SPLIT.retain) > before - 0.1
    with torch.no_grad():
        answers = TASK.logits(model, TASK.batch(SPLIT.forget, torch.arange(len(SPLIT.forget)))).argmax(1)
    assert (answers == 3).float().mean() < 0.1  # the class opposite is not the nearest


def test_refusals():
    lines = sentences()
    with pytest.raises(TaskMismatch):
        BoundaryShrink()(copy.deepcopy(MODEL), Request("r", lines.ids[:2]).split(lines), NextToken.of(lines), seed=0)
    for wrong in ({"reach": 0}, {"rounds": 0}, {"lr": 0}, {"epochs": 0}):
        with pytest.raises(SettingsError):
            BoundaryShrink(**wrong)
