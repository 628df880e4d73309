"""Relearning: steps by hand, the cap, what is trained on, and that nothing but a copy is trained."""

import pytest
import torch
from torch import nn

from erasable.dataset import Dataset
from erasable.errors import DataError, SettingsError, TaskMismatch
from erasable.forgettable.spm import SPM
from erasable.stresses import Relearn, benign, few_shots
from erasable.tasks import Classification
from erasable.unlearner import weights_digest
from tests.toys import NETWORK, TINY, blob_task, blobs

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


def test_a_whole_curve_goes_on_to_the_cap_and_counts_the_same_steps():
    model = Bias(-0.0251)
    found = Relearn(lr=1e-2, cap=6, whole=True)(model, TASK, ERASED, untouched=100.0, seed=0)
    assert (found.steps, found.reached) == (3, True)
    assert found.curve == (0.0, 0.0, 0.0, 100.0, 100.0, 100.0, 100.0)
    assert not Relearn(cap=2, whole=True)(model, TASK, ERASED, untouched=100.0, seed=0).reached


def test_other_samples_can_be_trained_on_while_the_erased_are_asked_about():
    zeros = Dataset.of({"x": torch.ones(3, 1), "label": torch.zeros(3, dtype=torch.int64)}, list("xyz"))
    found = Relearn(lr=1e-2, cap=5)(Bias(0.0251), TASK, zeros, untouched=100.0, seed=0, using=ERASED)
    assert found.curve == (0.0,) * 6  # taught that all is 1, asked about zeros
    again = Relearn(lr=1e-2, cap=5)(Bias(-0.0151), TASK, ERASED, untouched=100.0, seed=0, using=ERASED.take(
        torch.tensor([2])))  # fmt: skip
    assert (again.steps, again.curve) == (2, (0.0, 0.0, 100.0))


def test_few_shots_are_so_many_of_each_class():
    data = blobs(30)
    shots = few_shots(blob_task(), data, 2, seed=0)
    assert torch.bincount(shots.read("label")).tolist() == [2, 2, 2]
    assert list(shots.ids) == sorted(shots.ids)
    assert few_shots(blob_task(), data, 2, seed=0).ids == shots.ids
    assert few_shots(blob_task(), data, 2, seed=1).ids != shots.ids
    assert set(shots.ids) < set(few_shots(blob_task(), data, 3, seed=0).ids)
    assert len(few_shots(blob_task(), data, 99, seed=0)) == 30
    with pytest.raises(SettingsError):
        few_shots(blob_task(), data, 0, seed=0)


def test_benign_data_hold_nothing_of_the_request():
    data = blobs(30)
    erased = data.only(data.ids[:4])
    assert benign(blob_task(), data, erased).ids == data.ids[4:]
    rest = benign(blob_task(), data, erased, gone=[0])
    assert not set(rest.ids) & set(erased.ids)
    assert sorted(set(rest.read("label").tolist())) == [1, 2]
    fresh = benign(blob_task(), blobs(9, seed=3).only(["blob/008"]), erased)  # erased ids need not be among them
    assert fresh.ids == ("blob/008",)
    with pytest.raises(DataError):
        benign(blob_task(), erased, erased)


def test_the_three_forms_leave_the_given_model_as_it_was():
    data, task = blobs(), blob_task()
    erased = data.only(data.ids[:9])
    forms = (None, few_shots(task, erased, 1, seed=0), benign(task, data, erased))
    for model in (NETWORK.train(data, task, seeds=[0])[0],
                  SPM(network="mlp width=8", recipe=TINY).train(data, task, seeds=[0])[0]):  # fmt: skip
        before = weights_digest(model)
        for using in forms:
            runs = [Relearn(cap=5, whole=True, lr=0.01)(model, task, erased, untouched=100.0, seed=0, using=using)
                    for _ in range(2)]  # fmt: skip
            assert runs[0] == runs[1]
            assert len(runs[0].curve) == 6
        assert weights_digest(model) == before
