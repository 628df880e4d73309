"""The controls: nearest class mean, k nearest neighbours, logit mask."""

import dataclasses

import pytest
import torch
from torch import nn

from erasable.errors import (
    AlreadyForgotten,
    CorruptRun,
    EmptyRequest,
    InvalidData,
    SettingsError,
    TaskMismatch,
    UnknownSample,
)
from erasable.forgettable.knn import KNN, KNNModel
from erasable.forgettable.logit_mask import LogitMask
from erasable.forgettable.nearest_mean import NearestMean, NearestMeanModel
from erasable.memory import Memory
from erasable.receipt import Exposure
from erasable.request import Request
from erasable.unlearner import forget, weights_digest
from tests.toys import NETWORK, TINY, blob_task, blobs

DATA, TASK = blobs(), blob_task()
SETTINGS = {"network": "mlp width=8", "recipe": dataclasses.replace(TINY, epochs=25, lr=0.1)}
METHODS = [NearestMean(**SETTINGS), KNN(neighbours=5, **SETTINGS), LogitMask(**SETTINGS)]
INPUTS = TASK.batch(DATA, torch.arange(len(DATA)))["inputs"]


def plane():
    """Five stored points of two classes; the third class has none."""
    memory = Memory(2)
    points = torch.tensor([[0.0, 0.0], [2.0, 0.0], [10.0, 0.0], [12.0, 1.0], [11.0, -1.0]])
    memory.add(list("abcde"), points, labels=torch.tensor([0, 0, 1, 1, 1]))
    return memory


def test_nearest_mean_by_hand():
    model = NearestMeanModel(METHODS[0], TASK, Exposure({}), nn.Identity(), plane())
    x = torch.tensor([[4.0, 0.0], [7.0, 3.0]])
    means = torch.tensor([[1.0, 0.0], [11.0, 0.0]])
    expected = (-0.5 * torch.cdist(x, means).square()).softmax(1)
    assert torch.allclose(model(x).softmax(1), torch.cat([expected, torch.zeros(2, 1)], 1), atol=1e-5)
    model.forget(["a"])
    assert torch.equal(model.means[0], torch.tensor([2.0, 0.0]))
    model.forget(["b"])
    assert torch.equal(model(x).argmax(1), torch.tensor([1, 1]))
    assert bool((model(x)[:, [0, 2]] == -torch.inf).all())


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_neighbours_by_hand(metric):
    model = KNNModel(KNN(neighbours=3, metric=metric), TASK, Exposure({}), nn.Identity(), plane())
    x = torch.tensor([[1.0, 0.001], [11.0, 0.0], [3.0, 0.2]])
    distance = torch.cdist(x, model.memory.keys) if metric == "l2" else 1 - torch.cosine_similarity(
        x[:, None], model.memory.keys[None], dim=2)  # fmt: skip
    voters = model.memory.labels[distance.argsort(1)[:, :3]]
    expected = nn.functional.one_hot(voters, 3).double().mean(1)
    assert torch.allclose(model(x).exp().double(), expected)
    model.forget(["c", "d", "e"])
    assert torch.equal(model(x).exp(), torch.tensor([[1.0, 0, 0]]).expand(3, 3))
    model.forget(["a", "b"])
    with pytest.raises(InvalidData):
        model(x)


def test_the_mask_touches_a_class_only_when_nobody_is_left():
    plain = dataclasses.replace(NETWORK, recipe=METHODS[2].recipe).train(DATA, TASK, seeds=[0])[0]
    model = METHODS[2].train(DATA, TASK, seeds=[0])[0]
    assert torch.equal(model(INPUTS), plain(INPUTS))
    ids = DATA.where("label", 1).ids
    model.forget(ids[:-1])
    assert torch.equal(model(INPUTS), plain(INPUTS))
    model.forget(ids[-1:])
    assert bool((model(INPUTS)[:, 1] == -torch.inf).all())
    assert torch.equal(model(INPUTS)[:, [0, 2]], plain(INPUTS)[:, [0, 2]])


@pytest.mark.parametrize("method", METHODS, ids=lambda method: type(method).__name__)
def test_they_learn_forget_and_say_revoked(method):
    model, other = method.train(DATA, TASK, seeds=[0, 1])
    assert (model(INPUTS).argmax(1) == DATA.read("label")).float().mean() > 0.8
    assert weights_digest(model) != weights_digest(other)
    ids = DATA.where("label", 1).ids
    model, receipt = forget(model, Request("r", ids), data=DATA)
    assert receipt.level == "revoked"
    assert receipt.exposure == {"encoder": len(ids)}
    assert not bool((model(INPUTS).argmax(1) == 1).any())
    twin = method.restore(TASK, model.state_dict(), model.memory.select(model.memory.ids), model.exposure)
    assert torch.equal(twin(INPUTS), model(INPUTS))
    with pytest.raises(CorruptRun):
        method.restore(TASK, model.state_dict(), None, model.exposure)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: type(method).__name__)
def test_bad_requests_change_nothing(method):
    model = method.train(DATA, TASK, seeds=[0])[0]
    model.forget([DATA.ids[0]])
    rows, out = model.memory.digest(), model(INPUTS)
    for error, ids in ((UnknownSample, ["blob/1", DATA.ids[3]]), (AlreadyForgotten, [DATA.ids[0]]), (EmptyRequest, [])):
        with pytest.raises(error):
            model.forget(ids)
        assert model.memory.digest() == rows
        assert torch.equal(model(INPUTS), out)


def test_settings_and_tasks_are_checked():
    with pytest.raises(SettingsError):
        KNN(neighbours=0)
    for method in METHODS:
        with pytest.raises(TaskMismatch):
            method.train(DATA, object(), seeds=[0])
    fitted = dataclasses.replace(TASK, fitted=True)
    assert METHODS[0].train(DATA, fitted, seeds=[0])[0].exposure.of(DATA.ids[:2]) == {"encoder": 2, "input scaling": 2}
