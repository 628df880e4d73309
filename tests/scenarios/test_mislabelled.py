"""Mislabelled canaries: each wrong, nothing else changed; a model that saw them tells, one that did not does not."""

import torch

from erasable.dataset import Dataset
from erasable.metrics.canaries import canaries
from erasable.network import Network
from erasable.scenarios import Mislabelled
from erasable.signals import prediction
from erasable.tasks.classification import Classification
from erasable.train import Recipe
from tests.scenarios.toy import TASK, toy


def test_each_canary_has_a_wrong_label_and_nothing_else_changed():
    data = toy()
    scenario = Mislabelled(share=0.2)(data, TASK, seed=1)
    ids = scenario.request.ids
    assert len(ids) == 12
    assert scenario.data.ids == data.ids
    assert scenario.data.owners == data.owners
    assert scenario.data.public.ids == data.public.ids
    assert scenario.before(1).digest() == data.without(ids).digest()
    right, given = data.only(ids).read("label"), scenario.data.only(ids).read("label")
    assert bool((right != given).all())
    assert set(given.tolist()) <= {0, 1, 2}
    assert scenario.facts["wrong"] == dict(zip(ids, given.tolist(), strict=True))
    (group,) = scenario.groups.values()
    assert (group.ids, group.read("label").tolist()) == (ids, right.tolist())


def test_each_wrong_label_is_as_likely():
    data = toy(90)
    counts = torch.zeros(3, 3)
    for seed in range(40):
        scenario = Mislabelled(share=0.5)(data, TASK, seed=seed)
        right = data.only(scenario.request.ids).read("label")
        for one, other in zip(right.tolist(), scenario.facts["wrong"].values(), strict=True):
            counts[one, other] += 1
    assert counts.sum() == 40 * 45
    assert counts.diagonal().sum() == 0
    for row, each in enumerate(counts):
        n = float(each.sum())
        assert abs(float(each[(row + 1) % 3]) - n / 2) < 4.5 * (n / 4) ** 0.5


def test_two_classes_leave_one_wrong_label():
    data = Dataset.of({"x": torch.zeros(8, 2), "label": torch.tensor([0, 1] * 4)}, [f"s{i}" for i in range(8)])
    task = Classification(shape=(2,), classes=2, low=(-4.0,), high=(4.0,), inputs="x")
    scenario = Mislabelled(share=0.5)(data, task, seed=0)
    right = data.only(scenario.request.ids).read("label")
    assert list(scenario.facts["wrong"].values()) == (1 - right).tolist()


def test_the_truth_holds():
    """Many features, few samples: the network learns its canaries by heart; its oracles cannot know them."""
    draws = torch.Generator().manual_seed(0)
    label = torch.arange(90) % 3
    x = torch.nn.functional.one_hot(label, 3).repeat(1, 20) * 0.4 + torch.randn(90, 60, generator=draws)
    data = Dataset.of({"x": x, "label": label}, [f"s{i}" for i in range(90)])
    task = Classification(shape=(60,), classes=3, low=(-4.0,), high=(4.0,), inputs="x")
    scenario = Mislabelled(share=0.1)(data, task, seed=0)
    method = Network(network="mlp width=64", recipe=Recipe(epochs=100, batch=16, lr=0.3, optimizer="sgd"))
    asked = scenario.groups["canaries with their right labels"]

    def seen(models, fitted):
        return prediction(models, task, asked, fitted=torch.full((len(models), len(asked)), fitted))

    untouched = seen(method.train(scenario.data, task, seeds=[0, 1]), True)
    oracles = seen(method.train(scenario.before(1), task, seeds=[2, 3, 4]), False)
    found = canaries(untouched, scenario.facts["wrong"], oracles, subject="do nothing")
    assert found.value > 55
    assert max(found.null_values) < 25
    assert found.inside_noise is False
