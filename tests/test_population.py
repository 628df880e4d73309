"""Populations: a member is the model trained alone with its seed, however they are trained together."""

import dataclasses

import pytest
import torch
from torch import nn

from erasable import population
from erasable._plumbing.seeds import seeded
from erasable.dataset import Dataset
from erasable.errors import BatchStatistics, PopulationTooSmall, SettingsError
from erasable.forgettable.spm import SPM, _BankObjective
from erasable.network import Network
from erasable.population import Population, members_that_fit, oracles, train_members
from erasable.tasks.classification import Classification
from erasable.train import Recipe, Supervised
from tests.toys import blob_task, blobs

CLOSE = 1e-4  # see test_a_member_is_the_model_trained_alone
RECIPE = Recipe(epochs=3, batch=8, lr=5e-3)
BLOBS = (blobs(40), blob_task())
G = torch.Generator().manual_seed(1)
PICTURES = (
    Dataset.of({"image": torch.randint(256, (32, 1, 6, 6), dtype=torch.uint8, generator=G),
                "label": torch.arange(32) % 3}, [f"p{i}" for i in range(32)]),
    Classification(shape=(1, 6, 6), classes=3, shift=1, flip=True),
)  # fmt: skip
ENCODERS = {"mlp width=12": BLOBS, "convnet widths=4,8 groups=2": PICTURES}
METHODS = {
    "network": Network(recipe=RECIPE),
    "network, sgd": Network(recipe=dataclasses.replace(RECIPE, optimizer="sgd", lr=0.05)),
    "spm, bank": SPM(recipe=RECIPE),
    "spm, episodes": SPM(recipe=RECIPE, training="episodes", support=12),
    "spm, permuted": SPM(recipe=RECIPE, training="episodes", support=12, permute_labels=True),
}


def weights(model):
    return torch.cat([each.flatten() for each in model.state_dict().values()])


def mlp(middle=nn.ReLU):
    return nn.Sequential(nn.Flatten(), nn.Linear(2, 6), middle(), nn.Linear(6, 3))


PLAIN = Supervised(mlp, BLOBS[1])


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("encoder", ENCODERS)
def test_a_member_is_the_model_trained_alone(name, encoder):
    """Not to the bit: products of stacked matrices add up in another order than products of single ones, and every step
    starts from what the last one rounded. Differences of 1e-7 a step stay below 1e-4 in a short run; another seed,
    order or augmentation would be seen at 1e-2."""
    data, task = ENCODERS[encoder]
    method = dataclasses.replace(METHODS[name], network=encoder)
    together = method.train(data, task, seeds=[7, 3, 11])
    for model, seed in zip(together, (7, 3, 11), strict=True):
        alone = method.train(data, task, seeds=[seed])[0]
        assert torch.allclose(weights(model), weights(alone), atol=CLOSE)
        if model.memory is not None:
            rows = model.memory.rows(data.ids)
            assert torch.allclose(
                model.memory.keys[rows], alone.memory.keys[alone.memory.rows(data.ids)], atol=10 * CLOSE
            )
    assert float((weights(together[0]) - weights(together[1])).abs().max()) > 100 * CLOSE


@pytest.mark.parametrize("chunk", [1, 2, 3, 5, None])
def test_chunks_change_nothing_but_rounding(chunk):
    seeds = [4, 8, 15, 16, 23]
    expected = [weights(train_members(PLAIN, *BLOBS[:1], RECIPE, seeds=[each])[0][0]) for each in seeds]
    found = train_members(PLAIN, BLOBS[0], RECIPE, seeds=seeds, chunk=chunk)
    assert torch.allclose(torch.stack([weights(each) for each, _ in found]), torch.stack(expected), atol=CLOSE)


def test_subsets_go_with_their_members_through_chunks():
    data = BLOBS[0]
    g = torch.Generator().manual_seed(0)
    subsets = torch.stack([torch.randperm(40, generator=g)[:20] for _ in range(3)])
    found = train_members(PLAIN, data, RECIPE, seeds=[1, 2, 3], subsets=subsets, chunk=2)
    for (network, _), seed, subset in zip(found, (1, 2, 3), subsets, strict=True):
        alone = train_members(PLAIN, data.take(subset), RECIPE, seeds=[seed])[0][0]
        assert torch.allclose(weights(network), weights(alone), atol=CLOSE)


def test_progress_runs_through_all_chunks():
    told = []
    train_members(PLAIN, BLOBS[0], RECIPE, seeds=range(5), chunk=2, progress=lambda *each: told.append(each))
    steps = 3 * 3 * 5
    assert told == [(i + 1, steps) for i in range(steps)]


def test_without_seeds_nothing_is_trained():
    with pytest.raises(SettingsError, match="no seeds"):
        train_members(PLAIN, BLOBS[0], RECIPE, seeds=[])


# --- memory -----------------------------------------------------------------------------------------------------------


class Chunks:
    """Stands in for `fit`, and writes down which seeds came together."""

    def __init__(self):
        self.seeds = []

    def __call__(self, objective, data, recipe, *, seeds, **rest):
        self.seeds.append(list(seeds))
        return [nn.Identity() for _ in seeds], None


def test_a_small_budget_makes_small_chunks(monkeypatch):
    spy = Chunks()
    monkeypatch.setattr(population, "fit", spy)
    monkeypatch.setattr(population, "MEMORY_BUDGET", 1 << 40)
    one = (1 << 40) // members_that_fit(PLAIN, BLOBS[0], RECIPE, 0)  # bytes of one member
    for budget, expected in ((100 * one, [[0, 1, 2, 3, 4]]), (3 * one + 3, [[0, 1, 2], [3, 4]]),
                             (2 * one + 2, [[0, 1], [2, 3], [4]]), (one // 2, [[0], [1], [2], [3], [4]])):  # fmt: skip
        monkeypatch.setattr(population, "MEMORY_BUDGET", budget)
        spy.seeds.clear()
        assert len(train_members(PLAIN, BLOBS[0], RECIPE, seeds=range(5))) == 5
        assert spy.seeds == expected


def bytes_of(objective, data, monkeypatch, recipe=RECIPE):
    monkeypatch.setattr(population, "MEMORY_BUDGET", 1 << 50)
    return (1 << 50) / members_that_fit(objective, data, recipe, 0)


def test_what_a_member_needs_is_counted(monkeypatch):
    """Five times the weights (gradients, two moments, a copy), and twice the activations that a step keeps."""
    found = bytes_of(PLAIN, BLOBS[0], monkeypatch)
    parameters = 4 * (2 * 6 + 6 + 6 * 3 + 3)
    assert found > 5 * parameters + 2 * 4 * 8 * (2 + 6 + 3)
    assert found < 5 * parameters + 2 * 4 * 8 * (2 + 6 + 3) * 6
    twice = bytes_of(PLAIN, BLOBS[0], monkeypatch, dataclasses.replace(RECIPE, batch=16))
    assert found + 2 * 4 * 8 * (2 + 6) < twice < 2 * found
    wide = bytes_of(Supervised(lambda: nn.Sequential(nn.Flatten(), nn.Linear(2, 600), nn.Linear(600, 3)), BLOBS[1]),
                    BLOBS[0], monkeypatch)  # fmt: skip
    assert wide > 50 * found
    method = SPM(network="mlp width=6", recipe=RECIPE)
    few, many = (bytes_of(_BankObjective(method, BLOBS[1]), blobs(n), monkeypatch) for n in (40, 4000))
    assert many - few > 2 * 4 * 6 * 3960  # the bank: an embedding per sample


def test_counting_draws_nothing_from_the_global_generator(monkeypatch):
    before = torch.get_rng_state()
    bytes_of(Supervised(lambda: mlp(lambda: nn.Dropout(0.5)), BLOBS[1]), BLOBS[0], monkeypatch)
    assert torch.equal(torch.get_rng_state(), before)


def test_one_member_is_not_counted(monkeypatch):
    monkeypatch.setattr(population, "members_that_fit", None)  # calling it would fail
    train_members(PLAIN, BLOBS[0], RECIPE, seeds=[1])
    train_members(PLAIN, BLOBS[0], RECIPE, seeds=[1, 2], sequential=True)


# --- one after another ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("middle", "told"), [
    (lambda: nn.BatchNorm1d(6), ("GroupNorm", "sequential=True")),
    (lambda: nn.Dropout(0.5), ("p=0", "sequential=True")),
])  # fmt: skip
def test_layers_that_vectorising_would_change_train_one_after_another(middle, told):
    objective = Supervised(lambda: mlp(middle), BLOBS[1])
    with pytest.raises(BatchStatistics) as caught:
        train_members(objective, BLOBS[0], RECIPE, seeds=[1, 2])
    assert all(each in str(caught.value) for each in told)
    found = train_members(objective, BLOBS[0], RECIPE, seeds=[1, 2], sequential=True)
    for (network, _), seed in zip(found, (1, 2), strict=True):
        alone = train_members(objective, BLOBS[0], RECIPE, seeds=[seed])[0][0]
        assert torch.equal(weights(network), weights(alone))  # to the bit, statistics and dropped units included
    with seeded(1, "init"):
        fresh = objective.build()
    assert not torch.allclose(weights(found[0][0]), weights(fresh), atol=1e-3)


# --- roles ------------------------------------------------------------------------------------------------------------


def test_oracles_are_several():
    method = Network(network="mlp width=6", recipe=RECIPE)
    for seeds in ([], [3], [3, 3]):
        with pytest.raises(PopulationTooSmall) as caught:
            oracles(method, *BLOBS, seeds=seeds)
        assert "\n" not in str(caught.value)
    told = []
    found = oracles(method, *BLOBS, seeds=[3, 4], progress=lambda *each: told.append(each))
    assert (len(found), found.seeds, found.role) == (2, (3, 4), "oracle")
    assert torch.allclose(weights(found.models[1]), weights(method.train(*BLOBS, seeds=[4])[0]), atol=CLOSE)
    assert list(found) == list(found.models)
    assert told[-1][0] == told[-1][1]


def test_oracles_never_saw_what_is_not_in_the_data():
    method, (data, task) = Network(network="mlp width=6", recipe=RECIPE), BLOBS
    ids = data.ids[:5]
    found = oracles(method, data.without(ids), task, seeds=[0, 1])
    assert all(model.exposure.of(ids) == {} for model in found)
    columns = {name: column.clone() for name, column in data.table.columns.items()}
    columns["x"][:5] = 9.0
    other = Dataset.of(columns, data.ids)
    again = oracles(method, other.without(ids), task, seeds=[0, 1])
    assert all(torch.equal(weights(a), weights(b)) for a, b in zip(found, again, strict=True))


def test_a_population_is_a_value():
    assert len(Population((1, 2, 3), (0, 1, 2), "shadow")) == 3
    with pytest.raises(dataclasses.FrozenInstanceError):
        Population((), (), "oracle").role = "x"
