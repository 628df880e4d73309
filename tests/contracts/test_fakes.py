"""Each promise broken on purpose: a contract that no fake can break tests nothing."""

import dataclasses
import itertools
from typing import Any, ClassVar

import pytest
import torch
from torch import nn

from erasable.contracts import ContractBroken, check_forgettable, check_method, check_task, check_unlearner
from erasable.dataset import Dataset
from erasable.errors import InvalidData, NotForgettable, UnknownSample
from erasable.forgettable.nearest_mean import NearestMean
from erasable.memory import Memory
from erasable.network import Network
from erasable.receipt import Exposure
from erasable.tasks.classification import Classification
from erasable.train import Recipe
from erasable.unlearners.nothing import Nothing
from tests.toys import blob_task, blobs

RECIPE = Recipe(epochs=1, batch=16, lr=0.05, optimizer="sgd")
TASK = blob_task()
IDS = blobs(24).ids[2:5]
COUNTER = itertools.count(1)  # what a seed does not decide


def data():
    return blobs(24)  # fresh: fakes change it


def caught(check, *args, **settings):
    with pytest.raises(ContractBroken) as found:
        check(*args, **settings)
    assert "\n" not in str(found.value)
    return str(found.value)


def nudge(model, by=0.1):
    next(iter(model.parameters())).data.add_(by)


# --- methods ---------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, kw_only=True)
class FakeMethod(NearestMean):
    network: str = "mlp width=4"
    recipe: Recipe = RECIPE

    def train(self, data, task, *, seeds, progress=None):
        models = super().train(data, task, seeds=seeds, progress=progress)
        return self.spoil(models, data)

    def spoil(self, models, data):
        return models


class Fickle(FakeMethod):
    def spoil(self, models, data):
        nudge(models[0], 0.01 * next(COUNTER))
        return models


class Gambling(FakeMethod):
    def spoil(self, models, data):
        torch.rand(1)
        return models


class Sociable(FakeMethod):
    def spoil(self, models, data):
        if len(models) > 1:
            nudge(models[1])
        return models


class Sparing(FakeMethod):
    def spoil(self, models, data):
        return models[:1]


class Scribbling(FakeMethod):
    def spoil(self, models, data):
        data.table.columns["x"][0] += 1
        return models


class Busy(FakeMethod):
    def spoil(self, models, data):
        return [model.train() for model in models]


class Bare(FakeMethod):
    def spoil(self, models, data):
        return [model.encoder for model in models]


class Boasting(FakeMethod):
    def spoil(self, models, data):
        for model in models:
            model.exposure = Exposure({"encoder": frozenset(["nobody"])})
        return models


class Secretive(FakeMethod):
    def spoil(self, models, data):
        for model in models:
            model.exposure = Exposure({})
            model.memory.remove(data.ids[:1])
        return models


class Amnesic(FakeMethod):
    def restore(self, task, weights, memory, exposure):
        model = super().restore(task, weights, memory, exposure)
        nudge(model)
        return model


class Careless(FakeMethod):
    def restore(self, task, weights, memory, exposure):
        torch.rand(1)
        return super().restore(task, weights, memory, exposure)


class Hoarding(FakeMethod):
    """Keeps something beside weights and rows."""

    def spoil(self, models, data):
        for model in models:
            model.bias.add_(torch.tensor([0.5, 0.0, 0.0]))
        return models


@dataclasses.dataclass(kw_only=True)
class Changeable:
    needs_data: ClassVar[bool] = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Unwritable(FakeMethod):
    extra: Any = dataclasses.field(default_factory=lambda: torch.zeros(2))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shifting(FakeMethod):
    width: int = 1

    def __post_init__(self):
        object.__setattr__(self, "width", self.width + 1)


@pytest.mark.parametrize(
    ("fake", "said"),
    [
        (Fickle, "twice with seed 0"),
        (Gambling, "global generator while training"),
        (Sociable, "away from the model trained alone"),
        (Sparing, "1 models for 2 seeds"),
        (Scribbling, "changed the data while training"),
        (Busy, "still in training mode"),
        (Bare, "lacks one of"),
        (Boasting, "not in the data"),
        (Secretive, "neither"),
        (Amnesic, "other weights"),
        (Careless, "global generator while restoring"),
        (Hoarding, "answers differently"),
        (Changeable, "no frozen dataclass"),
        (Unwritable, "JSON does not hold"),
        (Shifting, "comes back from JSON"),
    ],
)
def test_methods_that_break_a_promise(fake, said):
    assert said in caught(check_method, fake(), data(), TASK)


def test_the_honest_method_passes():
    check_method(FakeMethod(), data(), TASK)
    check_forgettable(FakeMethod(), data(), TASK, ids=IDS)


# --- models designed to forget ---------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, kw_only=True)
class FakeForgettable(FakeMethod):
    """Trains models whose `forget` is replaced by `how(model, honest, ids, data)`."""

    how: ClassVar[Any] = None

    def spoil(self, models, data):
        for model in models:
            model.__class__ = self.kind(type(model))
        return models

    def kind(self, base):
        def forget(model, ids, *, data=None):
            type(self).how(model, lambda asked: base.forget(model, asked), ids, data)

        return type("Spoiled", (base,), {"forget": forget})


def ignores_the_unknown(model, honest, ids, data):
    known = [each for each in ids if each in model.memory or each in model.memory.forgotten]
    if known or not list(ids):
        honest(known)


def erases_before_it_looks(model, honest, ids, data):
    for each in ids or [()]:
        honest([each] if each else [])


def accepts_nothing(model, honest, ids, data):
    if list(ids):
        honest(ids)


def accepts_what_is_gone(model, honest, ids, data):
    rest = [each for each in ids if each not in model.memory.forgotten]
    if rest or not ids:
        honest(rest)


def meets_strangers_with_another_error(model, honest, ids, data):
    try:
        honest(ids)
    except UnknownSample:
        raise KeyError(ids[0]) from None


def complains_at_length(model, honest, ids, data):
    try:
        honest(ids)
    except UnknownSample as error:
        error.args = (f"{error}\nand more",)
        raise


def does_nothing(model, honest, ids, data):
    model.memory.rows(ids)
    if not ids:
        honest(ids)


def erases_one(model, honest, ids, data):
    model.memory.rows(ids)
    honest(ids[:1])


def moves_the_others(model, honest, ids, data):
    honest(ids)
    model.memory.keys[0] += 1


def leaves_the_means(model, honest, ids, data):
    means, bias = model.means.clone(), model.bias.clone()
    honest(ids)
    model.means.copy_(means)
    model.bias.copy_(bias)


def depends_on_the_order(model, honest, ids, data):
    honest(ids)
    nudge(model, 0.1 * len(ids) ** 2)


def writes_on_the_data(model, honest, ids, data):
    honest(ids)
    data.table.columns["x"][0] += 1


def gambles(model, honest, ids, data):
    honest(ids)
    torch.rand(1)


def disowns_the_others(model, honest, ids, data):
    honest(ids)
    model.exposure = Exposure({"encoder": frozenset(model.memory.ids[:2])})


def claims_to_be_exact(model, honest, ids, data):
    honest(ids)
    model.exposure = model.exposure.without(ids, ["encoder"])


@pytest.mark.parametrize(
    ("how", "said"),
    [
        (ignores_the_unknown, "accepts a request with an unknown id"),
        (erases_before_it_looks, "refuses an unknown id beside a known one after it has changed"),
        (accepts_nothing, "accepts a request with no ids"),
        (accepts_what_is_gone, "accepts a request with an id that is gone"),
        (meets_strangers_with_another_error, "with KeyError, not UnknownSample"),
        (complains_at_length, "more than one line"),
        (does_nothing, "without any change"),
        (erases_one, "still holds 2 erased rows"),
        (moves_the_others, "changed the rows of samples that stay"),
        (leaves_the_means, "answers differently"),
        (depends_on_the_order, "one by one"),
        (writes_on_the_data, "changed the data while forgetting"),
        (gambles, "global generator while forgetting"),
        (disowns_the_others, "in the exposure of encoder"),
        (claims_to_be_exact, "claims to be exact"),
    ],
)
def test_models_that_break_a_promise(how, said):
    fake = type("Fake", (FakeForgettable,), {"how": staticmethod(how)})
    assert said in caught(check_forgettable, fake(), data(), TASK, ids=IDS)


class Needy(FakeForgettable):
    """Says that it needs data, and does without."""

    needs_data = True

    @staticmethod
    def how(model, honest, ids, data):
        honest(ids)


class Rounding(FakeMethod):
    """Exact but for the last bits of its rows, which depend on who else is there."""

    def spoil(self, models, data):
        for model in models:
            for parameter in model.parameters():
                parameter.fill_(0.25)
            memory = Memory(model.memory.key_width)
            memory.add(data.ids, torch.full_like(model.memory.keys, 0.5 + 1e-7 * len(data)), labels=model.memory.labels)
            model.__init__(self, model.task, Exposure({}), model.encoder, memory)
        return [model.eval() for model in models]


def test_exact_rows_are_exact_to_the_last_bit():
    assert "its rows are not those" in caught(check_forgettable, Rounding(), data(), TASK, ids=IDS)


def test_needs_that_are_not_needed():
    assert "no data although it needs them" in caught(check_forgettable, Needy(), data(), TASK, ids=IDS)


def test_a_network_without_a_memory():
    method = Network(network="mlp width=4", recipe=RECIPE)
    assert "no `forget`" in caught(check_forgettable, method, data(), TASK, ids=IDS)


# --- unlearners ------------------------------------------------------------------------------------------------------

HELD = []


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tracked(Network):
    """Keeps the models that it gives away, so that a fake can reach them."""

    def train(self, data, task, *, seeds, progress=None):
        HELD[:] = super().train(data, task, seeds=seeds, progress=progress)
        return list(HELD)


METHOD = Tracked(network="mlp width=4", recipe=RECIPE)


class FakeUnlearner(Nothing):
    def __call__(self, model, split, task, *, seed):
        self.spoil(model, split)
        return model

    def spoil(self, model, split):
        pass


class Peeking(FakeUnlearner):
    def spoil(self, model, split):
        len(split.retain)


class FickleUnlearner(FakeUnlearner):
    def spoil(self, model, split):
        nudge(model, 0.01 * next(COUNTER))


class GamblingUnlearner(FakeUnlearner):
    def spoil(self, model, split):
        torch.rand(1)


class ScribblingUnlearner(FakeUnlearner):
    needs: ClassVar[Any] = frozenset({"forget"})

    def spoil(self, model, split):
        split.forget.table.columns["x"][0] += 1


class BusyUnlearner(FakeUnlearner):
    def spoil(self, model, split):
        model.train()


class Open(FakeUnlearner):
    def spoil(self, model, split):
        model.requires_grad_(True)


class Diverging(FakeUnlearner):
    def spoil(self, model, split):
        nudge(model, float("nan"))


class Reaching(FakeUnlearner):
    def spoil(self, model, split):
        nudge(HELD[0])


class Pretending(FakeUnlearner):
    guarantee: ClassVar[Any] = "exact"


class Inventing(FakeUnlearner):
    guarantee: ClassVar[Any] = "perfect"


class Greedy(FakeUnlearner):
    needs: ClassVar[Any] = frozenset({"everything"})


@pytest.mark.parametrize(
    ("fake", "said"),
    [
        (Peeking, "reads more than it declares"),
        (FickleUnlearner, "different models for seed 0"),
        (GamblingUnlearner, "global generator while unlearning"),
        (ScribblingUnlearner, "changed the data while unlearning"),
        (BusyUnlearner, "in training mode"),
        (Open, "not frozen"),
        (Diverging, "not finite"),
        (Reaching, "that the caller holds"),
        (Pretending, "claims to be exact"),
        (Inventing, "guarantees 'perfect'"),
        (Greedy, "needs {'everything'}"),
    ],
)
def test_unlearners_that_break_a_promise(fake, said):
    assert said in caught(check_unlearner, fake(), METHOD, data(), TASK, ids=IDS)


def test_the_honest_unlearner_passes():
    check_unlearner(FakeUnlearner(), METHOD, data(), TASK, ids=IDS)


# --- tasks -----------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, kw_only=True)
class FakeTask(Classification):
    shape: tuple[int, ...] = (2,)
    classes: int = 3
    low: tuple[float, ...] = (-4.0,)
    high: tuple[float, ...] = (4.0,)
    inputs: str = "x"


class Tolerant(FakeTask):
    def check(self, data):
        pass


class Sorting(FakeTask):
    def batch(self, data, at):
        return super().batch(data, at.sort().values)


class Sharing(FakeTask):
    def batch(self, data, at):
        first = int(at.min())
        return {**super().batch(data, at), "inputs": data.table.columns["x"][first : first + len(at)]}


class Averaging(FakeTask):
    def losses(self, model, batch):
        return super().losses(model, batch).mean()


class Comparing(FakeTask):
    def losses(self, model, batch):
        losses = super().losses(model, batch)
        return losses - losses.mean()


class Infinite(FakeTask):
    def losses(self, model, batch):
        return super().losses(model, batch) / 0.0


class Flat(FakeTask):
    def losses(self, model, batch):
        return (self.logits(model, batch) * 0.0).sum(1)


class Stepping(FakeTask):
    def losses(self, model, batch):
        losses = super().losses(model, batch)
        return losses if float(losses.detach().sum()) > -1 else -losses


class Vectorless(FakeTask):
    def losses(self, model, batch):
        losses = super().losses(model, batch)
        return losses * 2 if torch._C._functorch.is_batchedtensor(losses) else losses


class DrawingTask(FakeTask):
    @property
    def draws(self):
        return 1


class DrawingItself(DrawingTask):
    def augment(self, batch, uniform):
        return {**batch, "inputs": batch["inputs"] + torch.rand(1)}


class Counting(DrawingTask):
    def augment(self, batch, uniform):
        return {**batch, "inputs": batch["inputs"] + next(COUNTER)}


class Swapping(DrawingTask):
    def augment(self, batch, uniform):
        return {**batch, "inputs": batch["inputs"] + uniform.flip(0)}


class Widening(DrawingTask):
    def augment(self, batch, uniform):
        return {**batch, "inputs": torch.cat([batch["inputs"], uniform], 1)}


class Narrow(FakeTask):
    def logits(self, model, batch):
        return super().logits(model, batch)[:, :2]

    def losses(self, model, batch):
        return Classification.logits(self, model, batch).square().sum(1)


class Mislabelled(FakeTask):
    def labels(self, batch):
        return batch["labels"] + 3


@pytest.mark.parametrize(
    ("fake", "said"),
    [
        (Tolerant, "accepts data without its columns"),
        (Sorting, "for a row among others"),
        (Sharing, "changed the data while reading"),
        (Averaging, "losses of the shape ()"),
        (Infinite, "not finite"),
        (Comparing, "in other company"),
        (Flat, "without a gradient"),
        (Stepping, "cannot be vectorised"),
        (Vectorless, "other losses when vectorised"),
        (DrawingItself, "global generator while augmenting"),
        (Counting, "differently for the same numbers"),
        (Swapping, "another sample's numbers"),
        (Widening, "into another shape"),
        (Narrow, "logits of the shape"),
        (Mislabelled, "gives labels"),
    ],
)
def test_tasks_that_break_a_promise(fake, said):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 3))
    assert said in caught(check_task, fake(), data(), network)


def test_the_honest_task_passes():
    check_task(FakeTask(), data(), nn.Linear(2, 3))


def test_errors_of_the_checked_code_itself_come_through():
    class Broken(FakeTask):
        def check(self, data: Dataset) -> None:
            raise InvalidData("bad", expected="good", do="mend")

    with pytest.raises(InvalidData):
        check_task(Broken(), data(), nn.Linear(2, 3))
    assert issubclass(ContractBroken, AssertionError)
    assert not issubclass(ContractBroken, NotForgettable)
