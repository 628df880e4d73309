"""The ordinary network."""

import dataclasses

import pytest
import torch
from torch import nn

from erasable._plumbing.seeds import seeded
from erasable._plumbing.settings import from_json, to_json
from erasable.errors import InvalidData, SettingsError, TaskMismatch, UnknownName
from erasable.network import Classifier, Network
from erasable.tasks.classification import Classification
from erasable.tasks.language import NextToken
from erasable.train import Recipe
from erasable.unlearner import weights_digest
from tests.toys import blob_task, blobs, sentences

DATA, TASK = blobs(60), dataclasses.replace(blob_task(), low=(-2.0,), high=(2.0,))
METHOD = Network(network="mlp width=8", recipe=Recipe(epochs=10, batch=16, lr=0.05))
MODEL = METHOD.train(DATA, TASK, seeds=[0])[0]


def inputs(data=DATA):
    return TASK.batch(data, torch.arange(len(data)))["inputs"]


def test_it_learns():
    assert float((MODEL(inputs()).argmax(1) == DATA.read("label")).float().mean()) > 0.9


def test_a_classifier_is_an_encoder_with_a_linear_head():
    network = METHOD.build(TASK)
    assert isinstance(network, Classifier)
    x = inputs()[:4]
    assert torch.allclose(network(x), network.encoder(x) @ network.head.weight.T + network.head.bias, atol=1e-6)
    assert network(x).shape == (4, 3)


def test_other_tasks_bring_a_complete_network():
    lines = sentences()
    built = Network(network="gpt width=8 depth=1 heads=2").build(NextToken.of(lines))
    assert not isinstance(built, Classifier)
    with pytest.raises(TaskMismatch):
        Network(network="gpt").build(TASK)


def test_the_model_knows_what_it_is_and_who_it_saw():
    assert (MODEL.method, MODEL.task, MODEL.memory) == (METHOD, TASK, None)
    assert MODEL.exposure.parts == {"network": frozenset(DATA.ids)}
    assert not MODEL.training
    assert not any(p.requires_grad for p in MODEL.parameters())
    few = METHOD.train(DATA.take(torch.arange(7)), TASK, seeds=[0])[0]
    assert few.exposure.parts == {"network": frozenset(DATA.ids[:7])}
    fitted = METHOD.train(DATA, dataclasses.replace(TASK, fitted=True), seeds=[0])[0]
    assert fitted.exposure.of(DATA.ids[:2]) == {"network": 2, "input scaling": 2}


def test_a_seed_decides_everything():
    before = torch.get_rng_state()
    digest = weights_digest(METHOD.train(DATA, TASK, seeds=[0])[0])
    assert digest == weights_digest(MODEL) != weights_digest(METHOD.train(DATA, TASK, seeds=[1])[0])
    torch.manual_seed(99)
    assert weights_digest(METHOD.train(DATA, TASK, seeds=[0])[0]) == digest
    torch.set_rng_state(before)


def test_a_stored_model_comes_back():
    before = torch.get_rng_state()
    weights = {name: tensor.clone() for name, tensor in MODEL.state_dict().items()}
    twin = METHOD.restore(TASK, weights, None, MODEL.exposure)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(twin(inputs()), MODEL(inputs()))
    assert weights_digest(twin) == weights_digest(MODEL)
    assert twin.exposure == MODEL.exposure
    assert not twin.training
    assert not any(p.requires_grad for p in twin.parameters())
    with pytest.raises(RuntimeError, match="Missing key"):
        METHOD.restore(TASK, dict(list(weights.items())[1:]), None, MODEL.exposure)


class Itself(nn.Module):
    """Nothing before the head."""

    def __init__(self, shape):
        super().__init__()
        self.width = shape[0]

    def forward(self, x):
        return x


class Noisy(nn.Module):
    """Batch normalisation and dropout: neither can be vectorised."""

    def __init__(self, shape, *, p: float = 0.2):
        super().__init__()
        self.width = 6
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(2, 6), nn.BatchNorm1d(6), nn.Dropout(p))

    def forward(self, x):
        return self.layers(x)


def test_sequential_training_is_training_alone():
    method = dataclasses.replace(METHOD, network=f"{__name__}:Noisy p=0.3", sequential=True)
    a, b = method.train(DATA, TASK, seeds=[0, 1])
    assert weights_digest(b) == weights_digest(method.train(DATA, TASK, seeds=[1])[0]) != weights_digest(a)
    assert int(a.network.encoder.layers[2].num_batches_tracked) == 10 * (60 // 16)
    assert torch.equal(a(inputs()), a(inputs()))  # eval mode: no dropout
    assert torch.allclose(a(inputs()[:1]), a(inputs())[:1], atol=1e-6)


def test_a_gradient_penalty_by_hand():
    task, data = TASK, DATA.take(torch.arange(12))
    recipe = Recipe(epochs=1, batch=12, lr=0.1, momentum=0.0, weight_decay=0.0, warmup=0.0, optimizer="sgd")
    linear = Network(network=f"{__name__}:Itself", recipe=recipe, gradient_penalty=0.7)
    model = linear.train(data, task, seeds=[4])[0]
    with seeded(4, "init"):
        head = linear.build(task).head
    x, y = inputs(data).double(), torch.eye(3).double()[data.read("label")]

    def penalised(weight, bias):
        logits = x @ weight.T + bias
        p = torch.softmax(logits, 1)
        steep = (p - y).T @ x / 12, (p - y).mean(0)  # of the cross-entropy
        return -(y * torch.log_softmax(logits, 1)).sum(1).mean() + 0.7 * sum(each.norm() for each in steep)

    for name, at in (("weight", 0), ("bias", 1)):
        before = [head.weight.detach().double(), head.bias.detach().double()]
        for i in range(before[at].numel()):  # differences instead of a second pass backward
            ends = []
            for sign in (1, -1):
                moved = [each.clone() for each in before]
                moved[at].view(-1)[i] += sign * 1e-5
                ends.append(float(penalised(*moved)))
            slope = (ends[0] - ends[1]) / 2e-5
            expected = float(before[at].view(-1)[i]) - 0.1 * slope
            assert float(getattr(model.network.head, name).view(-1)[i]) == pytest.approx(expected, abs=1e-5)


def test_a_population_with_a_penalty_is_trained_one_by_one():
    method = dataclasses.replace(METHOD, gradient_penalty=0.1)
    _, b = method.train(DATA, TASK, seeds=[0, 1])
    assert weights_digest(b) == weights_digest(method.train(DATA, TASK, seeds=[1])[0])


def test_a_penalty_is_written_down_where_there_is_one():
    assert "gradient_penalty" not in to_json(METHOD)  # models from before it keep their names
    method = dataclasses.replace(METHOD, gradient_penalty=0.1)
    assert from_json(Network, to_json(method), "here") == method
    assert from_json(Network, to_json(METHOD), "here") == METHOD


@pytest.mark.parametrize("penalty", [-0.1, float("nan"), float("inf")])
def test_refused_penalties(penalty):
    with pytest.raises(SettingsError, match="gradient_penalty"):
        dataclasses.replace(METHOD, gradient_penalty=penalty)


def test_refusals():
    with pytest.raises(UnknownName):
        dataclasses.replace(METHOD, network="mpl").train(DATA, TASK, seeds=[0])
    with pytest.raises(SettingsError):
        METHOD.train(DATA, TASK, seeds=[])
    with pytest.raises(InvalidData):
        METHOD.train(DATA, Classification(shape=(3,), classes=3, inputs="x"), seeds=[0])
