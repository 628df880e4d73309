"""Interclass confusion: who is swapped, by hand; the truth, by training."""

import pytest
import torch

from erasable.errors import EmptyRequest, InvalidData, SettingsError
from erasable.metrics.interclass_confusion import interclass_confusion
from erasable.network import Network
from erasable.scenarios import InterclassConfusion
from erasable.signals import prediction
from erasable.train import Recipe
from tests.scenarios.toy import TASK, TEST, renamed, toy
from tests.toys import blobs


@pytest.mark.parametrize(("share", "each"), [(0.5, 10), (0.01, 1), (0.2, 4)])
def test_equally_many_of_both_are_swapped_and_nothing_else_changes(share, each):
    data = toy()  # 20 of each class
    scenario = InterclassConfusion(pair=(2, 0), share=share)(data, TASK, test=TEST, seed=0)
    swapped = data.only(scenario.request.ids)
    assert torch.bincount(swapped.read("label"), minlength=3).tolist() == [each, 0, each]
    given = scenario.data.only(swapped.ids).read("label")
    assert given.tolist() == [{0: 2, 2: 0}[label] for label in swapped.read("label").tolist()]
    assert scenario.facts["wrong"] == dict(zip(swapped.ids, given.tolist(), strict=True))
    assert torch.bincount(scenario.data.read("label")).tolist() == torch.bincount(data.read("label")).tolist()
    assert scenario.before(1).digest() == data.without(swapped.ids).digest()
    assert set(scenario.groups["confused test samples"].read("label").tolist()) == {0, 2}
    assert len(scenario.groups["confused test samples"]) == 20
    kept = scenario.groups["the two classes, rightly labelled"]
    assert torch.bincount(kept.read("label"), minlength=3).tolist() == [20 - each, 0, 20 - each]
    assert scenario.groups["swapped samples with their right labels"].digest() == swapped.digest()


def test_one_of_each_class_and_the_public_ones_keep_their_labels():
    whole = InterclassConfusion(share=1.0)(blobs(12), TASK, test=TEST, seed=0)
    assert len(whole.request.ids) == 6  # 4 of each class, 3 of which are swapped
    data = blobs(12).declare_public(["blob/000", "blob/003"])
    some = InterclassConfusion(share=1.0)(data, TASK, test=TEST, seed=0)
    assert len(some.request.ids) == 4  # two of class 0 may be
    assert set(some.request.ids) & {"blob/000", "blob/003"} == set()


def test_classes_that_are_not_there_are_refused():
    data = blobs(12)
    for wrong in ((1, 1), (0, 1, 2)):
        with pytest.raises(SettingsError):
            InterclassConfusion(pair=wrong)
    with pytest.raises(EmptyRequest, match="no sample to swap"):
        InterclassConfusion(pair=(0, 7))(data, TASK, test=TEST, seed=0)
    with pytest.raises(EmptyRequest, match="confused test samples"):
        InterclassConfusion(pair=(0, 1))(data, TASK, test=TEST.where("label", 2), seed=0)
    with pytest.raises(InvalidData):
        InterclassConfusion()(data, TASK, test=blobs(10, classes=4), seed=0)  # a label that the task does not have


def test_the_truth_holds():
    """With most labels of two classes swapped, a model takes one for the other; retrained models do not."""
    data, test = blobs(180), renamed(blobs(60, seed=1))
    scenario = InterclassConfusion(pair=(0, 1), share=0.75)(data, TASK, test=test, seed=0)
    method = Network(network="mlp width=8", recipe=Recipe(epochs=20, batch=16, lr=0.2, optimizer="sgd"))
    asked = scenario.groups["confused test samples"]

    def seen(models):
        return prediction(models, TASK, asked, fitted=torch.zeros(len(models), len(asked), dtype=torch.bool))

    untouched = seen(method.train(scenario.data, TASK, seeds=[0]))
    oracles = seen(method.train(scenario.before(1), TASK, seeds=[1, 2, 3]))
    for found in interclass_confusion(untouched, asked.read("label"), (0, 1), oracles, subject="do nothing"):
        assert found.value > 60
        assert max(found.null_values) < 40
        assert found.inside_noise is False
