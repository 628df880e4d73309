"""Fine-tuning on retained data: a step by hand, only a copy is trained, and only on what was given."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from erasable.dataset import Dataset
from erasable.errors import SettingsError, TaskMismatch
from erasable.forgettable.spm import SPM
from erasable.stresses import FineTune
from erasable.tasks import Classification
from erasable.unlearner import weights_digest
from tests.toys import NETWORK, TINY, blob_task, blobs

TASK, DATA = blob_task(), blobs()
RETAIN = DATA.without(DATA.ids[:10])


def loss(model, data):
    return float(TASK.losses(model, TASK.batch(data, torch.arange(len(data)))).detach().mean())


class Bias(nn.Module):
    """Logits (0, bias) whatever comes; Adam's first steps are lr long."""

    def __init__(self):
        super().__init__()
        self.bias = nn.Parameter(torch.tensor(0.5), requires_grad=False)

    def forward(self, x):
        return torch.stack([torch.zeros(len(x)), self.bias.expand(len(x))], dim=1)


def test_steps_by_hand():
    task = Classification(shape=(1,), classes=2, low=(-1.0,), high=(1.0,), inputs="x")
    zeros = Dataset.of({"x": torch.ones(4, 1), "label": torch.zeros(4, dtype=torch.int64)}, list("abcd"))
    model = Bias()
    found = FineTune(epochs=1, lr=0.1, batch=4)(model, task, zeros, seed=0)
    assert float(found.bias) == pytest.approx(0.4)
    assert float(FineTune(epochs=2, lr=0.1, batch=2)(model, task, zeros, seed=0).bias) == pytest.approx(0.1, abs=0.01)
    assert float(model.bias) == 0.5
    assert found.bias.grad is None
    assert not found.bias.requires_grad


def test_it_learns_and_the_given_model_is_unchanged():
    for model in (NETWORK.train(DATA, TASK, seeds=[0])[0],
                  SPM(network="mlp width=8", recipe=TINY).train(DATA, TASK, seeds=[0])[0]):  # fmt: skip
        before = weights_digest(model), loss(model, RETAIN)
        tune = FineTune(epochs=3, lr=1e-2, batch=16)
        first, again, other = (tune(model, TASK, RETAIN, seed=seed) for seed in (0, 0, 1))
        assert (weights_digest(model), loss(model, RETAIN)) == before
        assert loss(first, RETAIN) < before[1]
        assert weights_digest(first) == weights_digest(again) != weights_digest(other)


def test_what_it_was_trained_on_is_on_record():
    model = NETWORK.train(RETAIN, TASK, seeds=[0])[0]
    fresh = DATA.only(DATA.ids[:4])
    found = FineTune()(model, TASK, fresh, seed=0)
    assert found.exposure.of(DATA.ids[:10]) == {"fine-tuning": 4}
    assert model.exposure.of(DATA.ids[:10]) == {}
    model.exposure = replace(model.exposure, mended=frozenset(["network"]))
    assert FineTune()(model, TASK, fresh, seed=0).exposure.mended == {"network"}


def test_what_cannot_be_trained_is_refused():
    class Fixed(nn.Module):
        def forward(self, x):
            return x.new_zeros(len(x), 3)

    with pytest.raises((TaskMismatch, ValueError)):
        FineTune()(Fixed(), TASK, RETAIN, seed=0)
    for wrong in ({"epochs": 0}, {"lr": 0.0}, {"batch": 0}):
        with pytest.raises(SettingsError):
            FineTune(**wrong)
