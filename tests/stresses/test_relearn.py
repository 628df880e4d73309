"""Relearning: steps by hand, the cap, and that nothing but a copy is trained."""

import pytest
import torch
from torch import nn

from erasable.dataset import Dataset
from erasable.errors import SettingsError, TaskMismatch
from erasable.stresses import Relearn
from erasable.tasks import Classification

TASK = Classification(shape=(1,), classes=2, low=(-1.0,), high=(1.0,), inputs="x")
ERASED = Dataset.of({"x": torch.ones(4, 1), "label": torch.ones(4, dtype=torch.int64)}, list("abcd"))


class Bias(nn.Module):
    """Logits (0, bias) whatever comes: the label 1 is known once bias > 0, and Adam moves it by lr per step."""

    def __init__(self, bias):
        super().__init__()
        self.bias = nn.Parameter(torch.tensor(float(bias)), requires_grad=False)

    def forward(self, x):
        return torch.stack([torch.zeros(len(x)), self.bias.expand(len(x))], dim=1)


def test_steps_by_hand():
    model = Bias(-0.0251)
    found = Relearn(lr=1e-2)(model, TASK, ERASED, untouched=100.0, seed=0)
    assert (found.steps, found.reached) == (3, True)
    assert found.curve == (0.0, 0.0, 0.0, 100.0)
    assert float(model.bias) == pytest.approx(-0.0251)
    assert not model.bias.requires_grad
    assert Relearn()(Bias(1), TASK, ERASED, untouched=100.0, seed=0).steps == 0


def test_the_cap_is_told():
    found = Relearn(cap=5)(Bias(-9), TASK, ERASED, untouched=100.0, seed=0)
    assert (found.steps, found.reached, len(found.curve)) == (5, False, 6)


def test_a_model_with_a_memory_is_judged_by_its_network():
    class Remembering(nn.Module):
        def as_network(self):
            return Bias(1)

        def forward(self, x):
            return torch.stack([torch.ones(len(x)), torch.zeros(len(x))], dim=1)

    assert Relearn()(Remembering(), TASK, ERASED, untouched=100.0, seed=0).steps == 0


def test_a_model_that_no_weight_can_change_is_refused():
    class Fixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.unused = nn.Parameter(torch.zeros(1))

        def forward(self, x):
            return torch.stack([torch.ones(len(x)), torch.zeros(len(x))], dim=1)

    with pytest.raises(TaskMismatch, match="as_network"):
        Relearn()(Fixed(), TASK, ERASED, untouched=100.0, seed=0)


def test_nonsense_settings_are_refused():
    with pytest.raises(SettingsError):
        Relearn(cap=0)
