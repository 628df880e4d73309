"""Amnesiac unlearning: what is stored, what is taken back, what is dropped, and what leaks all the same."""

import copy
import dataclasses
import re

import pytest
import torch
from torch import nn

from erasable._plumbing.residue import needles_in, probe
from erasable.dataset import Dataset
from erasable.errors import (
    AlreadyForgotten,
    BatchStatistics,
    CorruptRun,
    EmptyRequest,
    NotErasable,
    NotForgettable,
    SettingsError,
    UnknownSample,
    WrongDigest,
)
from erasable.forgettable.amnesiac import Amnesiac, AmnesiacModel, Recorded, flat
from erasable.memory import Memory
from erasable.receipt import Exposure
from erasable.request import Request
from erasable.run import Run
from erasable.tasks import Classification
from erasable.train import Recipe, Supervised, fit, fresh
from erasable.unlearner import forget, weights_digest
from tests.toys import blob_task, blobs
from tests.unlearners import by_heart

DATA, TASK = blobs(40), blob_task()
RECIPE = Recipe(epochs=3, batch=8, lr=0.05, weight_decay=5e-4, optimizer="sgd")
METHOD = Amnesiac(network="mlp width=6", recipe=RECIPE)
INPUTS = TASK.batch(DATA, torch.arange(40))["inputs"]


def trained(method=METHOD, data=DATA, seed=7):
    return method.train(data, TASK, seeds=[seed])[0]


def rows(model, ids):
    """The updates that these samples were in."""
    found = model.memory.keys[model.memory.rows(ids)].long().flatten()
    return sorted(set(found[found >= 0].tolist()))


def initial(method=METHOD, data=DATA, seed=7):
    return flat(fresh(Supervised(lambda: method.plain().build(TASK), TASK), data, seed))


# --- by hand ----------------------------------------------------------------------------------------------------------


def by_hand():
    """One weight, which three steps moved from 1 to 3.25; a was in the first and third, b in the second, c in two."""
    memory = Memory(2)
    memory.add(["a", "b", "c", "d"], torch.tensor([[0.0, 2], [1, -1], [0, 1], [-1, -1]]))
    network = nn.Linear(1, 1, bias=False).requires_grad_(False)
    network.weight.fill_(3.25)
    exposure = Exposure({"network": frozenset("abcdp")}, frozenset(["network"]))
    start, updates = torch.tensor([1.0]), torch.tensor([[0.5], [-0.25], [2.0]])
    return AmnesiacModel(METHOD, TASK, exposure, memory, network, start, updates, 0)


def test_one_weight_by_hand():
    model, x = by_hand(), torch.ones(1, 1)
    assert float(model(x)) == 3.25
    model.forget(["b"])
    assert float(model(x)) == 3.5
    assert model.updates.flatten().tolist() == [0.5, 0, 2]
    model.forget(["c"])  # of its two steps one is left
    assert float(model(x)) == 3.0
    model.forget(["d"])  # was in no step
    assert float(model(x)) == 3.0
    model.forget("a")
    assert float(model(x)) == 1.0
    assert not model.updates.any()
    assert len(model.memory) == 0


# --- what is stored ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seeds", [[7], [6, 7]])
def test_writing_it_down_does_not_change_the_training(seeds):
    plain = METHOD.plain().train(DATA, TASK, seeds=seeds)
    for each, model in zip(plain, METHOD.train(DATA, TASK, seeds=seeds), strict=True):
        assert torch.equal(flat(each.network), flat(model.network))
        assert not model.training
        assert not any(p.requires_grad for p in model.parameters())


@dataclasses.dataclass(frozen=True)
class Followed(Supervised):
    """The slow twin: all weights after every step, and who was in it."""

    weights: list = dataclasses.field(default_factory=list)
    batches: list = dataclasses.field(default_factory=list)

    def start(self, data, networks, seeds):
        self.weights.append(flat(networks[0]).clone())
        return networks

    def after(self, rows, batch, seen, state, factor):
        self.weights.append(flat(state[0]).clone())
        self.batches.append(rows[0].tolist())


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("public", [0, 36])
def test_updates_are_the_steps_that_held_somebody_who_may_be_erased(optimizer, public):
    data = DATA.declare_public(DATA.ids[:public]) if public else DATA
    method = dataclasses.replace(METHOD, recipe=dataclasses.replace(RECIPE, optimizer=optimizer))
    model = trained(method, data)
    followed = Followed(lambda: method.plain().build(TASK), TASK)
    fit(followed, data, method.recipe, seeds=[7])
    steps = [now - old for old, now in zip(followed.weights, followed.weights[1:], strict=False)]
    held = [t for t, batch in enumerate(followed.batches) if any(at >= public for at in batch)]
    assert (len(held) < len(steps)) == bool(public)
    assert torch.allclose(model.updates, torch.stack([steps[t] for t in held]), atol=1e-7)
    others = sum((each for t, each in enumerate(steps) if t not in held), start=followed.weights[0])
    assert torch.allclose(model.start, others, atol=1e-6)
    assert set(model.memory.ids) == set(data.private.ids)
    for each in model.memory.ids:
        at = data.ids.index(each)
        assert rows(model, [each]) == [row for row, t in enumerate(held) if at in followed.batches[t]]


def test_members_trained_together_store_what_they_store_alone():
    together = METHOD.train(DATA, TASK, seeds=[6, 7, 8])
    for seed, member in zip((6, 7, 8), together, strict=True):
        alone = trained(seed=seed)
        assert torch.equal(member.memory.keys, alone.memory.keys)
        assert torch.equal(member.start, alone.start)
        assert torch.allclose(member.updates, alone.updates, atol=1e-6)
        member.forget([DATA.ids[3]])
        alone.forget([DATA.ids[3]])
        assert torch.allclose(flat(member.network), flat(alone.network), atol=1e-6)


def test_without_anybody_who_may_be_erased_nothing_is_stored():
    model = trained(data=DATA.declare_public(DATA.ids))
    assert model.updates.shape[0] == len(model.memory) == 0
    assert torch.allclose(model.start, flat(model.network), atol=1e-6)


# --- what is taken back -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("half", [False, True])
def test_taking_everything_back_gives_the_initial_weights(half):
    method = dataclasses.replace(METHOD, half=half)
    model = trained(method)
    assert (flat(model.network) - initial()).abs().max() > 0.05
    for part in (DATA.ids[:3], DATA.ids[3:20], DATA.ids[20:]):
        model.forget(part)
    assert torch.equal(flat(model.network), initial())


def test_some_steps_back_is_the_trained_weights_less_these_steps():
    model = trained()
    before, updates = flat(model.network), model.updates.clone()
    taken = rows(model, DATA.ids[:1])
    assert 0 < len(taken) <= RECIPE.epochs
    model, receipt = forget(model, Request("one", DATA.ids[:1]))
    assert torch.allclose(flat(model.network), before - updates[taken].sum(0), atol=1e-6)
    assert receipt.level == "empirical"
    assert receipt.exposure == {"network": 1}
    assert "changed after the fact, not fitted again" in receipt.why
    assert "unchanged" not in receipt.sentence()
    left = [row for row in range(len(updates)) if row not in taken]
    assert torch.equal(model.updates[left], updates[left])
    assert not model.updates[taken].any()  # traces of what was erased


def test_half_precision_takes_half_the_room_and_rounds_only_what_is_taken_back():
    full, half = trained(), trained(dataclasses.replace(METHOD, half=True))
    assert half.updates.element_size() * 2 == full.updates.element_size()
    assert torch.equal(flat(half.network), flat(full.network))
    rebuilt = half.start + half.updates.float().sum(0)
    assert torch.allclose(rebuilt, flat(full.network), atol=2e-6)  # of all steps, only the last one's rounding is left
    for model in (full, half):
        model.forget(DATA.ids[:2])
    assert torch.allclose(flat(half.network), flat(full.network), atol=1e-3)


def test_a_sample_that_no_step_saw_takes_nothing_back():
    method = dataclasses.replace(METHOD, recipe=dataclasses.replace(RECIPE, epochs=1, batch=32))
    model = trained(method)
    unseen = [each for each in model.memory.ids if not rows(model, [each])]
    assert len(unseen) == 40 - 32
    before = weights_digest(model)
    model.forget(unseen[:2])
    assert weights_digest(model) == before
    assert not set(unseen[:2]) & set(model.memory.ids)
    with pytest.raises(AlreadyForgotten):
        model.forget(unseen[:1])


def test_requests_that_cannot_be_met_change_nothing():
    model = trained(data=DATA.declare_public(DATA.ids[:10]))
    model.forget(DATA.ids[20:21])
    before = weights_digest(model), model.memory.digest()
    for error, ids in ((UnknownSample, [DATA.ids[30], "nobody"]), (AlreadyForgotten, DATA.ids[20:22]),
                       (NotErasable, [DATA.ids[30], DATA.ids[0]]), (EmptyRequest, [])):  # fmt: skip
        with pytest.raises(error) as caught:
            model.forget(ids)
        assert "\n" not in str(caught.value)
        assert (weights_digest(model), model.memory.digest()) == before


# --- the repair -------------------------------------------------------------------------------------------------------


REPAIRED = dataclasses.replace(METHOD, repair_epochs=2)


def test_a_repair_trains_on_what_stays_and_an_earlier_one_is_thrown_away():
    assert REPAIRED.needs_data
    assert not METHOD.needs_data
    once, twice, bare = trained(REPAIRED), trained(REPAIRED), trained()
    for ids in (DATA.ids[:15], DATA.ids[15:20]):
        twice.forget(ids, data=DATA)
    bare.forget(DATA.ids[:20])
    once.forget(DATA.ids[:20], data=DATA.without(DATA.ids[:20]))  # what goes need not come along
    assert weights_digest(once) == weights_digest(twice)

    def loss(model):
        return float(TASK.losses(model, TASK.batch(DATA, torch.arange(20, 40))).mean())

    assert loss(once) < loss(bare)
    assert not once.network.training


def test_a_repair_does_not_see_who_is_gone():
    other = blobs(40, seed=1)  # the same names, other contents
    mixed = {name: torch.cat([other.read(name)[:20], DATA.read(name)[20:]]) for name in ("x", "label")}
    models = [trained(REPAIRED), trained(REPAIRED)]
    for model, data in zip(models, (DATA, Dataset.of(mixed, DATA.ids)), strict=True):
        model.forget(DATA.ids[:10], data=DATA.without(DATA.ids[:10]))
        model.forget(DATA.ids[10:20], data=data)
    assert weights_digest(models[0]) == weights_digest(models[1])


def test_a_repair_is_refused_before_anything_has_changed():
    model = trained(REPAIRED)
    before = weights_digest(model), model.memory.digest()
    for error, ids, data in ((NotForgettable, DATA.ids[:2], None), (EmptyRequest, DATA.ids, DATA),
                             (WrongDigest, DATA.ids[:2], DATA.without(DATA.ids[30:32]))):  # fmt: skip
        with pytest.raises(error) as caught:
            model.forget(ids, data=data)
        assert "\n" not in str(caught.value)
        assert (weights_digest(model), model.memory.digest()) == before


# --- run folders ------------------------------------------------------------------------------------------------------


def test_what_was_taken_back_leaves_the_run_folder(tmp_path):
    model = trained(dataclasses.replace(METHOD, recipe=dataclasses.replace(RECIPE, optimizer="adamw")))
    gone, kept = ([each for row in at for each in needles_in(model.updates[row].numpy().tobytes(), most=8)]
                  for at in (rows(model, DATA.ids[:1]), [row for row in range(15) if row not in
                                                        rows(model, DATA.ids[:2])]))  # fmt: skip
    run = Run.create(tmp_path / "run", model, data=DATA, spec={"name": "blobs"})
    assert sum(probe(run.path, gone).values()) == len(gone) > 10  # the search finds what is there
    for i in range(2):
        run = Run.open(run.path)
        receipt = run.forget(run.request("case", ids=[DATA.ids[i]]))
        assert (receipt.erasure, receipt.level) == ("L2", "empirical")
        assert not any(probe(run.path, gone).values())
        assert sum(probe(run.path, kept).values()) == len(kept)
    again = Run.open(run.path)
    assert weights_digest(again.model) == weights_digest(run.model)
    assert torch.equal(again.model(INPUTS), run.model(INPUTS))
    assert again.exposure.mended == {"network"}
    twin = trained(dataclasses.replace(METHOD, recipe=dataclasses.replace(RECIPE, optimizer="adamw")))
    twin.forget(DATA.ids[:2])
    assert weights_digest(twin) == weights_digest(again.model)


def test_an_incomplete_model_is_not_restored():
    model = trained()
    weights = model.state_dict()
    with pytest.raises(CorruptRun):
        METHOD.restore(TASK, weights, None, model.exposure)
    with pytest.raises(CorruptRun):
        METHOD.restore(TASK, {name: each for name, each in weights.items() if name != "updates"}, model.memory,
                       model.exposure)  # fmt: skip


# --- an alarm and a null ----------------------------------------------------------------------------------------------


def test_what_was_learnt_by_heart_goes_and_much_else_with_it():
    method = Amnesiac(network=by_heart.NETWORK.network, recipe=by_heart.NETWORK.recipe)
    model = method.train(by_heart.DATA, by_heart.TASK, seeds=[0])[0]
    few, nobody = copy.deepcopy(model), copy.deepcopy(model)
    few.forget(by_heart.SPLIT.forget.ids)
    nobody.forget(by_heart.DATA.ids)
    known, unknown = (by_heart.loss(each, by_heart.SPLIT.forget) for each in (model, nobody))
    assert known < 0.2  # the alarm: as it is, it knows them
    assert unknown > 0.9  # the null: a network that saw nothing knows nothing of them
    assert by_heart.loss(few, by_heart.SPLIT.forget) > 0.9
    assert by_heart.accuracy(few, by_heart.SPLIT.retain) < 0.9 < by_heart.accuracy(model, by_heart.SPLIT.retain)


def test_the_network_alone_can_be_trained_further():
    model = trained()
    network = model.as_network()
    assert torch.equal(network(INPUTS), model(INPUTS))
    assert all(p.requires_grad for p in network.parameters())
    assert set(network.state_dict()) == set(model.network.state_dict())
    with torch.no_grad():
        next(network.parameters()).zero_()
    assert not torch.equal(network(INPUTS), model(INPUTS))


def left_behind(which, recipe):
    """How far apart two models are after they forgot a sample that was all that they were trained on differently.

    which  0 for a sample of the first step of one epoch, -1 for one of the last
    """
    method = dataclasses.replace(METHOD, recipe=dataclasses.replace(recipe, epochs=1))
    model = trained(method)
    keys = model.memory.keys.flatten()
    at = int(torch.nonzero(keys == (0 if which == 0 else keys.max()))[0])
    label = DATA.read("label").clone()
    label[at] = (label[at] + 1) % 3
    twin = trained(method, Dataset.of({"x": DATA.read("x"), "label": label}, DATA.ids))
    assert not torch.equal(flat(twin.network), flat(model.network))
    for each in (model, twin):
        each.forget([DATA.ids[at]])
    return float((flat(twin.network) - flat(model.network)).abs().max())


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_what_later_steps_made_of_a_sample_stays_and_of_the_last_step_nothing_does(momentum):
    recipe = dataclasses.replace(RECIPE, momentum=momentum)
    assert left_behind(0, recipe) > 1e-4  # the leak: this is why the level is empirical
    assert left_behind(-1, recipe) < 1e-6


def test_momentum_leaves_more_behind():
    without, with_it = (left_behind(0, dataclasses.replace(RECIPE, momentum=each)) for each in (0.0, 0.9))
    assert with_it > 3 * without


# --- what is refused --------------------------------------------------------------------------------------------------


def test_more_room_than_allowed_is_refused_before_training():
    weights, steps = len(initial()), 3 * 5
    megabytes = 4e-6 * weights * steps
    trained(dataclasses.replace(METHOD, limit_mb=megabytes))
    small = dataclasses.replace(METHOD, limit_mb=0.9 * megabytes)
    told = []
    with pytest.raises(SettingsError) as caught:
        small.train(DATA, TASK, seeds=[0], progress=lambda *each: told.append(each))
    assert re.search(rf"15 updates of {weights} weights.*half=True", str(caught.value))
    assert "\n" not in str(caught.value)
    assert told == []
    trained(dataclasses.replace(small, half=True))
    trained(small, DATA.declare_public(DATA.ids[4:]))  # 4 samples are in at most 12 steps


def test_settings_networks_and_subsets_that_do_not_fit_are_refused():
    for wrong in ({"repair_epochs": -1}, {"limit_mb": 0.0}):
        with pytest.raises(SettingsError):
            Amnesiac(**wrong)
    pictures = Dataset.of({"image": torch.rand(8, 1, 8, 8), "label": torch.arange(8) % 2},
                             [f"p{i}" for i in range(8)])  # fmt: skip
    task = Classification(shape=(1, 8, 8), classes=2)
    batchnorm = Amnesiac(network="resnet norm=batch widths=8,8", recipe=RECIPE, sequential=True)
    with pytest.raises(BatchStatistics) as caught:
        batchnorm.train(pictures, task, seeds=[0])
    assert "GroupNorm" in str(caught.value)
    with pytest.raises(SettingsError):
        fit(Recorded(lambda: METHOD.plain().build(TASK), TASK, METHOD), DATA, RECIPE, seeds=[0, 1],
            subsets=torch.arange(20).expand(2, 20))  # fmt: skip
