"""Regression: squared errors by hand, scaling, its network, and what is refused."""

import pytest
import torch
from torch import nn

from erasable import Network, Recipe
from erasable._plumbing.seeds import seeded
from erasable.dataset import Dataset
from erasable.errors import ErasableError, InvalidData, SettingsError
from erasable.forgettable.sisa import SISA
from erasable.task import LogitTask, OutputTask
from erasable.tasks import Regression
from tests.toys import curve


def rows(x, y):
    return Dataset.of({"x": x, "y": y}, [f"s{i}" for i in range(len(x))])


def test_losses_by_hand():
    data = rows(torch.tensor([[0.0, 4.0], [2.0, 6.0]]), torch.tensor([[1.0, -1.0], [0.0, 3.0]]))
    task = Regression(shape=(2,), width=2, low=0.0, high=4.0)
    batch = task.batch(data, torch.tensor([1, 0]))
    assert torch.equal(batch["inputs"], torch.tensor([[0.0, 2.0], [-1.0, 1.0]]))
    model = nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0, 1.0], [0.0, 2.0]]))
    # sample 1: outputs (2, 4), targets (0, 3): (4 + 1) / 2; sample 0: outputs (0, 2), targets (1, -1): (1 + 9) / 2
    assert torch.equal(task.outputs(model, batch).detach(), torch.tensor([[2.0, 4.0], [0.0, 2.0]]))
    assert torch.equal(task.losses(model, batch).detach(), torch.tensor([2.5, 5.0]))
    assert isinstance(task, OutputTask)
    assert not isinstance(task, LogitTask)


def test_a_column_of_single_numbers_is_a_column():
    flat, tall = (rows(torch.zeros(3, 1), y) for y in (torch.arange(3), torch.arange(3.0)[:, None]))
    task = Regression(shape=(1,))
    for data in (flat, tall):
        task.check(data)
        assert torch.equal(task.batch(data, torch.arange(3))["targets"], torch.tensor([[0.0], [1.0], [2.0]]))


def test_a_network_learns_it():
    data, task = curve(60), Regression(shape=(1,))
    method = Network(network="mlp width=24 depth=2 activation=silu", recipe=Recipe(epochs=80, batch=20, lr=0.02))
    model = method.train(data, task, seeds=[0])[0]
    batch = task.batch(data, torch.arange(len(data)))
    assert task.outputs(model, batch).shape == (60, 1)
    assert float(task.losses(model, batch).mean()) < 0.05 < float(batch["targets"].square().mean())
    with seeded(0, "build"):
        assert method.build(Regression(shape=(1,), width=3)).head.out_features == 3


@pytest.mark.parametrize(("data", "told"), [
    (rows(torch.zeros(2, 2), torch.zeros(2)), r"'x' of 'data' has the shape \(2,\)"),
    (rows(torch.zeros(2, 1), torch.zeros(2, 2)), r"'y' of 'data' has the shape \(2,\)"),
    (Dataset.of({"x": torch.zeros(2, 1)}, ["a", "b"]), "no column 'y'"),
])  # fmt: skip
def test_data_that_do_not_fit_are_refused(data, told):
    with pytest.raises(InvalidData, match=told) as caught:
        Regression(shape=(1,)).check(data)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("wrong", [{"shape": ()}, {"shape": (0,)}, {"width": 0}, {"low": 1.0}, {"high": float("inf")}])
def test_settings_are_checked(wrong):
    with pytest.raises(SettingsError):
        Regression(**{"shape": (1,), **wrong})


def test_a_method_that_averages_probabilities_refuses_it():
    with pytest.raises(ErasableError, match="no finite set of answers"):
        SISA(network="mlp").train(curve(), Regression(shape=(1,)), seeds=[0])
