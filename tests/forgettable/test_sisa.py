"""SISA: places, stages, prediction, and deletion that equals training without."""

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from erasable.errors import (
    AlreadyForgotten,
    EmptyRequest,
    NotErasable,
    NotForgettable,
    SettingsError,
    UnknownSample,
    WrongDigest,
)
from erasable.forgettable.sisa import SISA, SISAModel
from erasable.memory import Memory
from erasable.receipt import Exposure
from erasable.request import Request
from erasable.train import Recipe
from erasable.unlearner import forget, weights_digest
from tests.toys import blob_task, blobs

DATA, TASK = blobs(30), blob_task()
METHOD = SISA(network="mlp width=6", shards=3, slices=3, recipe=Recipe(epochs=2, batch=8, lr=0.1, optimizer="sgd"))


def same(a, b):
    return weights_digest(a) == weights_digest(b) and a.memory.digest() == b.memory.digest()


def scratch(ids, method=METHOD, data=DATA, seed=7):
    return method.train(data.without(ids), TASK, seeds=[seed])[0]


def test_a_person_sits_in_one_place_whoever_else_is_there():
    data = blobs(60, owners=9)
    method = SISA(shards=4, slices=3)
    places = method.places(data)
    by_owner: dict[str, set[tuple[int, ...]]] = {}
    for owner, place in zip(data.owners, places.tolist(), strict=True):
        by_owner.setdefault(owner, set()).add(tuple(place))
    assert all(len(each) == 1 for each in by_owner.values())
    assert len({next(iter(each)) for each in by_owner.values()}) > 1
    few = data.take(torch.tensor([50, 3, 17]))
    assert torch.equal(method.places(few), places[[50, 3, 17]])
    assert not torch.equal(dataclasses.replace(method, key="another").places(data), places)


@given(st.integers(1, 60), st.integers(1, 12))
def test_stages_make_as_many_passes_as_the_recipe_says(epochs, slices):
    if 2 * epochs < slices + 1:
        with pytest.raises(SettingsError):
            SISA(slices=slices, recipe=Recipe(epochs=epochs))
        return
    method = SISA(slices=slices, recipe=Recipe(epochs=epochs))
    stages = [method.epochs(r) for r in range(slices)]
    assert min(stages) >= 1
    passes = sum(each * (r + 1) / slices for r, each in enumerate(stages))
    assert abs(passes - epochs) <= 1  # rounding


@pytest.mark.parametrize("aggregate", ["mean", "vote"])
def test_deletion_equals_training_without_bit_for_bit(aggregate):
    method = dataclasses.replace(METHOD, aggregate=aggregate)
    ids = [DATA.ids[i] for i in (4, 20)]
    model = method.train(DATA, TASK, seeds=[7])[0]
    before = weights_digest(model)
    model.forget(ids, data=DATA)
    assert weights_digest(model) != before
    twin = scratch(ids, method)
    assert same(model, twin)
    x = TASK.batch(DATA, torch.arange(10))["inputs"]
    assert torch.equal(model(x), twin(x))


def test_one_by_one_equals_at_once_and_forgotten_data_need_not_come_along():
    ids = [DATA.ids[i] for i in (1, 2, 29)]
    model = METHOD.train(DATA, TASK, seeds=[7])[0]
    for i, each in enumerate(ids):
        model.forget([each], data=DATA.without(ids[: i + 1]))
    assert same(model, scratch(ids))


def test_the_order_of_the_data_does_not_matter():
    turned = DATA.take(torch.arange(len(DATA)).flip(0))
    assert same(METHOD.train(DATA, TASK, seeds=[7])[0], METHOD.train(turned, TASK, seeds=[7])[0])


def test_only_later_stages_of_one_shard_are_trained_again():
    place = METHOD.places(DATA)
    at = int(torch.nonzero(place[:, 1] == 1)[0])
    shard = int(place[at, 0])
    model = METHOD.train(DATA, TASK, seeds=[7])[0]
    old = [list(each) for each in model.checkpoints]
    model.forget([DATA.ids[at]], data=DATA)
    for s, stages in enumerate(model.checkpoints):
        for r, network in enumerate(stages):
            assert (network is old[s][r]) == (s != shard or r < 1)
    assert model.exposure.of([DATA.ids[at]]) == {}


@pytest.mark.parametrize("slices", [1, 3])
def test_empty_shards_and_slices_have_no_say(slices):
    data = blobs(12)
    method = dataclasses.replace(METHOD, shards=6, slices=slices)
    place = method.places(data)
    counts = torch.bincount(place[:, 0], minlength=6)
    shard = int(counts.argmin()) if counts.min() else 0
    full = int(torch.nonzero(counts).flatten()[0])
    ids = [data.ids[i] for i in torch.nonzero(place[:, 0] == full).flatten().tolist()]
    model = method.train(data, TASK, seeds=[7])[0]
    model.forget(ids, data=data)
    assert same(model, scratch(ids, method, data))
    assert full not in model.filled
    assert counts[shard] or shard not in model.filled
    stored = [tensor.data_ptr() for tensor in model.state_dict().values()]
    assert len(set(stored)) == len(stored)  # files of weights hold no tensor twice
    out = model(TASK.batch(data, torch.arange(12))["inputs"])
    assert torch.allclose(out.exp().sum(1), torch.ones(12), atol=1e-5)


def test_a_class_may_be_missing_everywhere():
    ids = DATA.where("label", 2).ids
    model = METHOD.train(DATA, TASK, seeds=[7])[0]
    model.forget(ids, data=DATA)
    assert same(model, scratch(ids))


def test_members_of_a_population_equal_models_alone():
    together = METHOD.train(DATA, TASK, seeds=[7, 8])
    for model, seed in zip(together, (7, 8), strict=True):
        alone = METHOD.train(DATA, TASK, seeds=[seed])[0]
        for a, b in zip(model.state_dict().values(), alone.state_dict().values(), strict=True):
            assert torch.allclose(a, b, atol=1e-5)
    assert not torch.allclose(*(model.checkpoints[0][2].head.weight for model in together), atol=1e-2)


class Fixed(nn.Module):
    def __init__(self, chances):
        super().__init__()
        self.logits = torch.tensor(chances).log()

    def forward(self, x):
        return self.logits.expand(len(x), -1)


def test_prediction_by_hand():
    method = SISA(network="mlp", shards=4, slices=1)
    memory = Memory(2)
    memory.add(["a", "b", "c"], torch.tensor([[0.0, 0], [1, 0], [3, 0]]))  # shard 3 (2 from 0) is empty
    shares = [[0.5, 0.3, 0.2], [0.2, 0.5, 0.3], [0.1, 0.1, 0.8], [0.6, 0.3, 0.1]]
    stages = [[Fixed(each)] for each in shares]
    x = torch.zeros(2, 2)
    mean = SISAModel(method, TASK, Exposure({}), memory, stages, 0)(x)
    assert torch.allclose(mean[1].exp(), torch.tensor([1.3, 1.1, 0.6]) / 3, atol=1e-6)
    vote = SISAModel(dataclasses.replace(method, aggregate="vote"), TASK, Exposure({}), memory, stages, 0)(x)
    expected = 0.999 * torch.tensor([2 / 3, 1 / 3, 0]) + 0.001 * torch.tensor([1.3, 1.1, 0.6]) / 3
    assert torch.allclose(vote[0].exp(), expected, atol=1e-6)


def test_bad_requests_change_nothing():
    public = DATA.declare_public([DATA.ids[0]])
    model = METHOD.train(public, TASK, seeds=[7])[0]
    model.forget([DATA.ids[5]], data=public)
    weights, rows, exposure = weights_digest(model), model.memory.digest(), model.exposure
    stays = DATA.without([DATA.ids[5]])
    cases = [
        (UnknownSample, ["blob/999", DATA.ids[1]], public),
        (AlreadyForgotten, [DATA.ids[5]], public),
        (EmptyRequest, [], public),
        (EmptyRequest, list(stays.ids), public),
        (NotErasable, [DATA.ids[0]], public),
        (NotForgettable, [DATA.ids[1]], None),
        (WrongDigest, [DATA.ids[1]], DATA.take(torch.arange(10))),
        (WrongDigest, [DATA.ids[1]], blobs(30, owners=4)),
    ]
    for error, ids, data in cases:
        with pytest.raises(error) as caught:
            model.forget(ids, data=data)
        assert "\n" not in str(caught.value)
        assert (weights_digest(model), model.memory.digest(), model.exposure) == (weights, rows, exposure)


def test_receipt_says_exact_and_restored_models_forget_alike():
    model = METHOD.train(DATA, TASK, seeds=[7])[0]
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    copy = METHOD.restore(TASK, weights, model.memory.select(model.memory.ids), model.exposure)
    assert same(model, copy)
    ids = DATA.ids[3:5]
    model, receipt = forget(model, Request("r", ids), data=DATA)
    assert receipt.level == "exact"
    assert receipt.memory_before != receipt.memory_after
    copy.forget(ids, data=DATA)
    assert same(model, copy)


def test_progress_rises_to_the_end():
    told = []
    METHOD.train(DATA, TASK, seeds=[7], progress=lambda done, steps: told.append((done, steps)))
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert told[-1][0] == told[-1][1]
