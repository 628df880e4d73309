"""Signals by hand, on networks whose outputs are written down."""

import math

import pytest
import torch
from torch import nn

from erasable.dataset import Dataset
from erasable.errors import EmptyRequest, Misaligned, PopulationTooSmall
from erasable.signals import _pass, confidence, correct, log_probabilities, loss, prediction
from erasable.tasks import Classification

TASK = Classification(shape=(2,), classes=2, low=(-1.0,), high=(1.0,), inputs="x")


class Scaled(nn.Module):
    """Logits = scale * inputs."""

    def __init__(self, scale):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(float(scale)))

    def forward(self, x):
        return self.scale * x


def data(rows, labels):
    x = torch.tensor(rows)
    return Dataset.of({"x": x, "label": torch.tensor(labels)}, [f"s{i}" for i in range(len(x))])


DATA = data([[math.log(3.0), 0.0], [0.0, math.log(9.0)]], [0, 0])
FITTED = torch.tensor([[True, False], [False, False]])


def test_values_by_hand():
    models = [Scaled(1), Scaled(-1)]  # probabilities of class 0: 3/4 and 1/10, then 1/4 and 9/10
    seen = log_probabilities(models, TASK, DATA, fitted=FITTED)
    torch.testing.assert_close(seen.values[..., 0].exp().float(), torch.tensor([[0.75, 0.1], [0.25, 0.9]]))
    assert seen.ids == ("s0", "s1")
    assert seen.member.equal(FITTED)
    torch.testing.assert_close(
        confidence(models, TASK, DATA, fitted=FITTED).values.float(), torch.tensor([[0.75, 0.1], [0.25, 0.9]])
    )
    assert prediction(models, TASK, DATA, fitted=FITTED).values.tolist() == [[0, 1], [1, 0]]
    assert correct(models, TASK, DATA, fitted=FITTED).values.tolist() == [[1, 0], [0, 1]]
    torch.testing.assert_close(
        loss(models, TASK, DATA, fitted=FITTED).values.float(), -torch.tensor([[0.75, 0.1], [0.25, 0.9]]).log()
    )


def test_a_class_that_a_model_no_longer_knows_has_the_floor():
    class Absent(nn.Module):
        def forward(self, x):
            return torch.stack([torch.full((len(x),), -math.inf), torch.zeros(len(x))], dim=1)

    seen = log_probabilities([Absent()], TASK, DATA, fitted=FITTED[:1])
    torch.testing.assert_close(seen.values[0, 0].exp(), torch.tensor([1e-8, 1.0], dtype=torch.float64))


def test_a_diverged_model_is_refused():
    with pytest.raises(Misaligned, match="diverged"):
        log_probabilities([Scaled(math.nan)], TASK, DATA, fitted=FITTED[:1])


def test_batches_change_nothing_and_modes_are_put_back(monkeypatch):
    torch.manual_seed(0)
    many = data(torch.randn(23, 2).tolist(), [0, 1] * 11 + [0])
    models = [nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5)) for _ in range(3)]
    models[1].eval()
    fitted = torch.zeros(3, 23, dtype=torch.bool)
    whole = log_probabilities(models, TASK, many, fitted=fitted)
    monkeypatch.setattr(_pass, "ROWS", 5)
    pieces = log_probabilities(models, TASK, many, fitted=fitted)
    torch.testing.assert_close(whole.values, pieces.values)
    assert [model.training for model in models] == [True, False, True]


def test_no_models_and_no_samples_are_refused():
    with pytest.raises(PopulationTooSmall):
        loss([], TASK, DATA, fitted=FITTED[:0])
    with pytest.raises(EmptyRequest):
        loss([Scaled(1)], TASK, DATA.where("label", 1), fitted=FITTED[:1, :0])
