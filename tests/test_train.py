"""The one training loop against an obvious one, its order and augmentation, and what it refuses."""

import dataclasses
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from erasable._plumbing.seeds import generator, seeded
from erasable.dataset import Dataset
from erasable.errors import BatchStatistics, DataError, InvalidData, SettingsError
from erasable.tasks.classification import Classification
from erasable.train import Recipe, Supervised, fit, member_batch, refuse_batch_statistics
from tests.toys import NETWORK, blob_task, blobs

DATA, TASK = blobs(30), blob_task()
RECIPE = Recipe(epochs=3, batch=8, lr=0.02)
G = torch.Generator().manual_seed(3)
PICTURES = Dataset.of({"image": torch.randint(256, (20, 1, 5, 5), dtype=torch.uint8, generator=G),
                       "label": torch.arange(20) % 2}, [f"p{i}" for i in range(20)])  # fmt: skip
SHIFTED = Classification(shape=(1, 5, 5), classes=2, shift=1, flip=True)


def mlp(inside=2, outside=3, middle=nn.ReLU):
    return nn.Sequential(nn.Flatten(), nn.Linear(inside, 6), middle(), nn.Linear(6, outside))


PLAIN = Supervised(mlp, TASK)


def weights(network):
    return torch.cat([p.flatten() for p in network.parameters()])


# --- the recipe -------------------------------------------------------------------------------------------------------


def test_the_learning_rate_warms_up_and_follows_a_cosine_to_zero():
    recipe = Recipe(warmup=0.2)
    factors = [recipe.factor(step, 10) for step in range(10)]
    assert factors[:2] == [0.5, 1.0]
    assert factors[2:] == pytest.approx([0.5 + 0.5 * math.cos(math.pi * i / 8) for i in range(8)])


@given(st.floats(0, 1), st.integers(1, 500))
def test_the_learning_rate_stays_between_nothing_and_its_peak(warmup, steps):
    factors = [Recipe(warmup=warmup).factor(step, steps) for step in range(steps)]
    assert all(0 < each <= 1 for each in factors)
    peak = factors.index(max(factors))
    assert factors[: peak + 1] == sorted(factors[: peak + 1])
    assert factors[peak:] == sorted(factors[peak:], reverse=True)
    assert max(factors) == 1.0


@pytest.mark.parametrize("wrong", [
    {"epochs": 0}, {"batch": 0}, {"lr": 0.0}, {"lr": -1.0}, {"momentum": 1.0}, {"momentum": -0.1}, {"warmup": 1.5},
    {"weight_decay": -0.1}, {"optimizer": "adam"}, {"lr": float("nan")},
])  # fmt: skip
def test_recipes_are_checked(wrong):
    with pytest.raises(SettingsError) as caught:
        Recipe(**wrong)
    assert "\n" not in str(caught.value)


# --- against an obvious loop ------------------------------------------------------------------------------------------


def obvious(task, data, recipe, seed, architecture):
    """One network, one sample at a time."""
    with seeded(seed, "init"):
        network = architecture()
    if recipe.optimizer == "sgd":
        optimizer = torch.optim.SGD(network.parameters(), recipe.lr, recipe.momentum, weight_decay=recipe.weight_decay)
    else:
        optimizer = torch.optim.AdamW(
            network.parameters(), recipe.lr, (recipe.momentum, 0.999), weight_decay=recipe.weight_decay
        )
    order, noise = generator(seed, "order"), generator(seed, "augment")
    size = min(recipe.batch, len(data))
    steps, step = recipe.epochs * (len(data) // size), 0
    for _ in range(recipe.epochs):
        rows = torch.randperm(len(data), generator=order)
        uniform = torch.rand(len(data), task.draws, generator=noise)
        for start in range(0, len(data) - size + 1, size):
            for group in optimizer.param_groups:
                group["lr"] = recipe.lr * recipe.factor(step, steps)
            losses = []
            for i in range(start, start + size):
                sample = task.batch(data, rows[i : i + 1])
                if task.draws:
                    sample = task.augment(sample, uniform[i : i + 1])
                losses.append(task.losses(network, sample)[0])
            optimizer.zero_grad()
            torch.stack(losses).mean().backward()
            optimizer.step()
            step += 1
    return network


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("seeds", [[5], [4, 5]])
def test_training_equals_the_obvious_loop(optimizer, seeds):
    recipe = dataclasses.replace(RECIPE, optimizer=optimizer, batch=7)
    for data, task, net in ((DATA, TASK, mlp), (PICTURES, SHIFTED, lambda: mlp(25, 2))):
        networks, state = fit(Supervised(net, task), data, recipe, seeds=seeds)
        assert state is None
        assert torch.allclose(weights(networks[-1]), weights(obvious(task, data, recipe, 5, net)), atol=1e-5)


@dataclasses.dataclass(frozen=True)
class Watched(Supervised):
    """Keeps what every step saw."""

    seen: list = dataclasses.field(default_factory=list)

    def batch(self, data, rows, uniform, state):
        self.seen.append((rows.clone(), uniform.clone()))
        return super().batch(data, rows, uniform, state)


def test_an_epoch_shows_nothing_twice_and_members_have_their_own_order():
    watched = Watched(mlp, TASK)
    fit(watched, DATA, dataclasses.replace(RECIPE, batch=7), seeds=[1, 2])
    assert len(watched.seen) == 3 * (30 // 7)
    for start in range(0, 12, 4):
        epoch = torch.cat([rows for rows, _ in watched.seen[start : start + 4]], dim=1)
        for member in epoch:
            assert len(member.unique()) == 28  # two are left out
        assert not torch.equal(*epoch)
    first, second = (torch.cat([rows for rows, _ in watched.seen[i : i + 4]], 1) for i in (0, 4))
    assert not torch.equal(first, second)


def test_order_and_augmentation_of_a_member_are_those_of_the_model_alone():
    together, alone = Watched(lambda: mlp(25, 2), SHIFTED), Watched(lambda: mlp(25, 2), SHIFTED)
    fit(together, PICTURES, RECIPE, seeds=[1, 2])
    fit(alone, PICTURES, RECIPE, seeds=[2])
    for (rows, uniform), (own, draws) in zip(together.seen, alone.seen, strict=True):
        assert torch.equal(rows[1], own[0])
        assert torch.equal(uniform[1], draws[0])


def test_members_learn_from_their_own_subsets():
    subsets = torch.stack([torch.arange(0, 20), torch.arange(10, 30)])
    watched = Watched(mlp, TASK)
    networks, _ = fit(watched, DATA, RECIPE, seeds=[1, 2], subsets=subsets)
    for member, subset in enumerate(subsets):
        assert set(torch.cat([rows[member] for rows, _ in watched.seen]).tolist()) <= set(subset.tolist())
        alone, _ = fit(PLAIN, DATA.take(subset), RECIPE, seeds=[member + 1])
        assert torch.allclose(weights(networks[member]), weights(alone[0]), atol=1e-5)


def test_fewer_samples_than_a_batch_are_one_batch():
    watched = Watched(mlp, TASK)
    fit(watched, DATA.take(torch.arange(5)), RECIPE, seeds=[1])
    assert [rows.shape for rows, _ in watched.seen] == [(1, 5)] * 3


def test_member_batches_are_read_flat():
    rows = torch.tensor([[0, 5, 2], [7, 0, 1]])
    uniform = torch.rand(2, 3, 3, generator=torch.Generator().manual_seed(0))
    batch = member_batch(SHIFTED, PICTURES, rows, uniform)
    for member in range(2):
        expected = SHIFTED.augment(SHIFTED.batch(PICTURES, rows[member]), uniform[member])
        assert torch.equal(batch["inputs"][member], expected["inputs"])
        assert torch.equal(batch["labels"][member], expected["labels"])


# --- state, reproducibility -------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Counted(Supervised):
    """State beside the weights: how often each member has seen each sample, and the losses it had."""

    def start(self, data, networks, seeds):
        return {"times": torch.zeros(len(seeds), len(data)), "losses": [], "factors": [], "seeds": list(seeds)}

    def loss(self, forward, batch):
        losses = self.task.losses(forward, batch)
        return losses.mean(), {"losses": losses.detach()}

    def after(self, rows, batch, seen, state, factor):
        state["times"].scatter_add_(1, rows, torch.ones(rows.shape))
        state["losses"].append(seen["losses"])
        state["factors"].append(factor)

    def member(self, state, i):
        return state["times"][i]


@pytest.mark.parametrize("seeds", [[3], [3, 4]])
def test_the_state_of_an_objective_is_kept_up_with(seeds):
    objective = Counted(mlp, TASK)
    _, state = fit(objective, DATA, dataclasses.replace(RECIPE, batch=10), seeds=seeds)
    assert torch.equal(state["times"], torch.full((len(seeds), 30), 3.0))
    assert all(each.shape == (len(seeds), 10) for each in state["losses"])
    assert state["factors"] == [RECIPE.factor(step, 9) for step in range(9)]
    assert float(torch.stack(state["losses"])[-1].mean()) < float(torch.stack(state["losses"])[0].mean())


@dataclasses.dataclass(frozen=True)
class Followed(Supervised):
    """Looks at the weights after every step."""

    steps: list = dataclasses.field(default_factory=list)

    def start(self, data, networks, seeds):
        self.steps.append([weights(each).clone() for each in networks])
        return networks

    def after(self, rows, batch, seen, state, factor):
        self.steps.append([weights(each).clone() for each in state])


def test_an_objective_can_follow_the_weights_alone_and_together():
    short = dataclasses.replace(RECIPE, epochs=1)
    followed = {seeds: Followed(mlp, TASK) for seeds in ((3,), (4,), (3, 4))}
    networks = {seeds: fit(each, DATA, short, seeds=seeds)[0] for seeds, each in followed.items()}
    together = followed[3, 4].steps
    assert len(together) == 1 + 30 // 8
    for i, seed in enumerate((3, 4)):
        for step, alone in zip(together, followed[seed,].steps, strict=True):
            assert torch.allclose(step[i], alone[0], atol=1e-6)
        assert torch.equal(weights(networks[3, 4][i]), together[-1][i])
        assert not torch.equal(together[-1][i], together[-2][i])
        sizes = {p.untyped_storage().nbytes() // p.element_size() - p.numel() for p in networks[3, 4][i].parameters()}
        assert sizes == {0}  # no model holds the weights of the others


def test_training_repeats_itself_and_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    dropout = Supervised(lambda: mlp(middle=lambda: nn.Dropout(0.5)), TASK)
    for objective, seeds in ((PLAIN, [1]), (PLAIN, [1, 2]), (dropout, [1])):
        first, second = (fit(objective, DATA, RECIPE, seeds=seeds)[0] for _ in range(2))
        for a, b in zip(first, second, strict=True):
            assert torch.equal(weights(a), weights(b))
            assert not a.training
            assert not any(p.requires_grad for p in a.parameters())
    assert torch.equal(torch.get_rng_state(), before)


def test_progress_counts_every_step():
    told = []
    fit(PLAIN, DATA, RECIPE, seeds=[1], progress=lambda done, steps: told.append((done, steps)))
    assert told == [(i + 1, 9) for i in range(9)]


# --- what may not be vectorised ---------------------------------------------------------------------------------------


def test_frozen_parameters_stay_as_they_were_alone_and_together():
    def half_frozen():
        network = mlp()
        network[1].requires_grad_(False)
        return network

    with seeded(7, "init"):
        start = half_frozen()
    alone, together = (fit(Supervised(half_frozen, TASK), DATA, RECIPE, seeds=each)[0][-1] for each in ([7], [6, 7]))
    for network in (alone, together):
        assert torch.equal(network[1].weight, start[1].weight)
        assert not torch.allclose(network[3].weight, start[3].weight, atol=1e-3)
    assert torch.allclose(weights(alone), weights(together), atol=1e-5)


@pytest.mark.parametrize(("layer", "told"), [
    (lambda: nn.BatchNorm1d(6), ["GroupNorm", "sequential=True", "BatchNorm1d", "layer '2'"]),
    (lambda: nn.Dropout(0.1), ["Dropout", "sequential=True", "p=0"]),
    (lambda: nn.AlphaDropout(0.1), ["AlphaDropout", "sequential=True"]),
])  # fmt: skip
def test_layers_that_vectorising_would_change_are_refused_together_and_allowed_alone(layer, told):
    objective = Supervised(lambda: mlp(middle=layer), TASK)
    with pytest.raises(BatchStatistics) as caught:
        fit(objective, DATA, RECIPE, seeds=[1, 2])
    assert all(each in str(caught.value) for each in told)
    assert "\n" not in str(caught.value)
    fit(objective, DATA, RECIPE, seeds=[1])


def test_harmless_layers_are_not_refused():
    refuse_batch_statistics(nn.Sequential(nn.GroupNorm(2, 4), nn.LayerNorm(4), nn.Dropout(0.0), nn.InstanceNorm1d(4)))


def test_data_that_do_not_fit_are_refused_before_training():
    with pytest.raises(InvalidData):
        fit(PLAIN, PICTURES, RECIPE, seeds=[1])
    with pytest.raises(DataError, match="no samples"):
        fit(PLAIN, DATA.where("label", 9), RECIPE, seeds=[1])


def test_a_trained_network_does_not_carry_its_last_gradient_about():
    model = NETWORK.train(blobs(), blob_task(), seeds=[0])[0]
    assert all(p.grad is None for p in model.parameters())
