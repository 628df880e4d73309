"""Fleets: balanced plans, every model on exactly its own samples, trained once, however and whenever."""

import dataclasses
import functools
import sys
import types
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from typing import Any, ClassVar

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from erasable._plumbing import executors, members
from erasable.dataset import Dataset
from erasable.errors import (
    CorruptRun,
    EmptyRequest,
    ErasableError,
    InvalidData,
    Misaligned,
    MissingExtra,
    SettingsError,
    UnknownSample,
)
from erasable.evidence import exposed
from erasable.fleet import Plan, TrainsSubsets, train_fleet, unlearn_fleet
from erasable.forgettable.sisa import SISA
from erasable.forgettable.spm import SPM, _BankObjective
from erasable.network import Classifier, Network
from erasable.train import Recipe
from erasable.unlearner import weights_digest
from erasable.unlearners import GradientAscent, Nothing, Retrain
from tests.toys import blob_task, blobs

CLOSE = 1e-4  # as in test_population.py: rounding, not another seed or order
RECIPE = Recipe(epochs=2, batch=8, lr=5e-3)
DATA, TASK = blobs(40, owners=5), blob_task()
NETWORK = Network(network="mlp width=8", recipe=RECIPE)
SPMS = {
    "bank": SPM(network="mlp width=8", recipe=RECIPE),
    "episodes": SPM(network="mlp width=8", recipe=RECIPE, training="episodes", support=12),
    "permuted": SPM(network="mlp width=8", recipe=RECIPE, permute_labels=True),
    "nearest": SPM(network="mlp width=8", recipe=RECIPE, retrieval="nearest", neighbours=5),
    "covariance": SPM(network="mlp width=8", recipe=RECIPE, similarity="covariance"),
    "public": SPM(network="mlp width=8", recipe=RECIPE, encoder="public"),
    "frozen": SPM(network="mlp width=8", recipe=RECIPE, encoder="frozen", similarity="covariance"),
}
PLAN = Plan.halves(DATA.ids, models=4, seed=1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Counting:
    """A network that writes down what it was trained on, and may be interrupted."""

    recipe: Recipe = RECIPE
    needs_data: ClassVar[bool] = False
    trained: ClassVar[list[tuple[str, ...]]] = []
    until: ClassVar[int] = 10**9

    def train(self, data, task, *, seeds, progress=None):
        if len(self.trained) >= type(self).until:
            raise KeyboardInterrupt
        self.trained.append(data.ids)
        return Network(network="mlp width=4", recipe=self.recipe).train(data, task, seeds=seeds, progress=progress)

    def restore(self, task, weights, memory, exposure):
        return Network(network="mlp width=4", recipe=self.recipe).restore(task, weights, memory, exposure)


@pytest.fixture
def counting():
    Counting.trained.clear()
    Counting.until = 10**9
    return Counting()


def weights(model):
    return torch.cat([each.flatten().float() for each in model.state_dict().values()])


def same(a, b):
    return weights_digest(a) == weights_digest(b) and a.exposure == b.exposure and rows(a) == rows(b)


def rows(model):
    return None if model.memory is None else (model.memory.ids, model.memory.digest(), model.memory.forgotten)


def one_line(caught):
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- plans ------------------------------------------------------------------------------------------------------------


@given(st.integers(2, 30), st.integers(1, 20), st.integers(0, 3), st.data())
@settings(max_examples=60, deadline=None)
def test_targets_are_in_half_of_the_models_and_models_are_of_one_size(n, pairs, seed, data):
    ids = [f"s{i}" for i in range(n)]
    targets = data.draw(st.none() | st.sets(st.sampled_from(ids), max_size=n - n % 2))
    plan = Plan.halves(ids, models=2 * pairs, seed=seed, targets=targets)
    assert plan.members.shape == (2 * pairs, n)
    assert plan.members.sum(1).tolist() == [n // 2] * (2 * pairs)
    assert plan.members[:, plan.targets].sum(0).unique().tolist() in ([], [pairs])
    per_model = plan.members[:, plan.targets].sum(1)
    assert int(per_model.max()) - int(per_model.min()) <= 1
    if targets is None:
        assert int((~plan.targets).sum()) == n % 2
        assert not plan.members[:, ~plan.targets].any()
    else:
        assert {ids[i] for i in plan.targets.nonzero().flatten()} == targets
    for own, member in zip(plan.positions, plan.members, strict=True):
        assert own.tolist() == [i for i in range(n) if member[i]]


def test_without_targets_and_of_an_even_number_everything_is_balanced_for_targets_too():
    plan = Plan.halves(DATA.ids, models=6, seed=0, targets=DATA.ids[:7])
    assert plan.members.sum(0).tolist() == [3] * 40


def test_halves_are_random_and_repeat_themselves():
    ids = [str(i) for i in range(400)]
    plan = Plan.halves(ids, models=16, seed=3)
    f = plan.members.float()
    overlaps = (f @ f.T)[~torch.eye(16, dtype=torch.bool)]
    share = (8 * 7) / (16 * 15)  # of two models drawn without order from eight in and eight out
    assert float((overlaps / 400 - share).abs().max()) < 5 * (share * (1 - share) / 400) ** 0.5
    between = (f.T @ f / 16)[~torch.eye(400, dtype=torch.bool)]
    assert abs(float(between.mean()) - 199 / 399 / 2) < 1e-3
    again, other = (Plan.halves(ids, models=16, seed=seed) for seed in (3, 4))
    assert torch.equal(again.members, plan.members)
    assert not torch.equal(other.members, plan.members)
    assert set(other.seeds).isdisjoint(plan.seeds)
    assert len({tuple(row.tolist()) for row in plan.members}) == 16


def test_a_plan_grows_in_blocks():
    ids = [str(i) for i in range(21)]
    few, many = (Plan.halves(ids, models=models, seed=0) for models in (16, 40))
    assert torch.equal(many.members[:16], few.members)
    assert many.seeds[:16] == few.seeds


def test_oracles_are_trained_on_all_but_the_request():
    plan = Plan.without(DATA.ids, DATA.ids[3:5], models=3)
    assert plan.members.sum(0).tolist() == [3] * 3 + [0, 0] + [3] * 35
    assert len(set(plan.seeds)) == 3
    assert plan.seeds[:2] == Plan.without(DATA.ids, DATA.ids[:1], models=2).seeds


def test_digests_of_plans_tell_everything_apart():
    m = PLAN.members
    plans = [PLAN, Plan(PLAN.ids, m.flip(0), PLAN.seeds), Plan(PLAN.ids, m, PLAN.seeds[::-1]),
             Plan(PLAN.ids[::-1], m, PLAN.seeds), Plan(PLAN.ids, m[:2], PLAN.seeds[:2])]  # fmt: skip
    assert len({each.digest() for each in plans}) == 5
    assert Plan.halves(DATA.ids, models=4, seed=1).digest() == PLAN.digest()


@pytest.mark.parametrize(("wrong", "error"), [
    (lambda: Plan.halves(DATA.ids, models=3, seed=0), SettingsError),
    (lambda: Plan.halves(DATA.ids, models=0, seed=0), SettingsError),
    (lambda: Plan.halves(DATA.ids[:1], models=2, seed=0), SettingsError),
    (lambda: Plan.halves(DATA.ids[:3], models=2, seed=0, targets=DATA.ids[:3]), SettingsError),
    (lambda: Plan.halves(DATA.ids, models=2, seed=0, targets=["blob/0001"]), UnknownSample),
    (lambda: Plan.halves(["a", "a"], models=2, seed=0), InvalidData),
    (lambda: Plan.without(DATA.ids, [], models=2), EmptyRequest),
    (lambda: Plan.without(DATA.ids, DATA.ids, models=2), EmptyRequest),
    (lambda: Plan.without(DATA.ids, ["x"], models=2), UnknownSample),
    (lambda: Plan(("a", "b"), torch.tensor([[True, True], [True, False]]), (0, 1)), InvalidData),
    (lambda: Plan(("a", "b"), torch.zeros(2, 2, dtype=torch.bool), (0, 1)), InvalidData),
    (lambda: Plan(("a", "b"), torch.ones(2, 2), (0, 1)), Misaligned),
    (lambda: Plan(("a", "b"), torch.ones(2, 2, dtype=torch.bool), (0,)), Misaligned),
    (lambda: PLAN.requests(0), SettingsError),
    (lambda: PLAN.requests(20), SettingsError),
    (lambda: PLAN.requests(5, among=DATA.ids[:4]), SettingsError),
])  # fmt: skip
def test_wrong_plans_are_refused_in_one_line(wrong, error):
    with pytest.raises(error) as caught:
        wrong()
    one_line(caught)


def test_requests_are_of_one_size_among_the_members_and_targets_come_first():
    plan = Plan.halves(DATA.ids, models=8, seed=0, targets=DATA.ids[:10])
    asked = plan.requests(7, seed=2)
    assert asked.sum(1).tolist() == [7] * 8
    assert not (asked & ~plan.members).any()
    assert torch.equal(asked[:, :10], plan.members[:, :10])  # five targets each, and all of them
    few = plan.requests(3, seed=2)
    assert not few[:, 10:].any()
    assert len({tuple(row.tolist()) for row in few}) > 4
    assert torch.equal(plan.requests(7, seed=2), asked)
    assert not torch.equal(plan.requests(7, seed=3), asked)
    owned = plan.requests(3, first=[], among=DATA.ids[20:])
    assert not owned[:, :20].any()
    assert plan.requests(2, first=DATA.ids[30:])[:, 30:].sum(1).tolist() == [2] * 8


# --- members ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [NETWORK, *SPMS.values()], ids=["network", *SPMS])
def test_a_member_is_the_model_trained_alone_on_its_samples(method):
    data = DATA.declare_public([*DATA.ids[:9], DATA.ids[30]])  # in unequal numbers for the members
    fleet = train_fleet(method, data, TASK, PLAN, executor="vectorised", chunk=3)
    assert isinstance(method, TrainsSubsets)
    for i, model in enumerate(fleet):
        own = data.take(PLAN.positions[i])
        alone = method.train(own, TASK, seeds=[PLAN.seeds[i]])[0]
        assert torch.allclose(weights(model), weights(alone), atol=CLOSE)
        assert model.exposure == alone.exposure
        if alone.memory is not None:
            assert sorted(model.memory.ids) == sorted(alone.memory.ids)
            stored = [each.memory.keys[each.memory.rows(alone.memory.ids)] for each in (model, alone)]
            assert torch.allclose(*stored, atol=10 * CLOSE)
            assert set(model.memory.ids) | set().union(*model.exposure.parts.values()) == set(own.ids)
    if fleet[0].exposure.parts:
        assert float((weights(fleet[0]) - weights(fleet[1])).abs().max()) > 100 * CLOSE


def test_exposure_is_the_plan():
    for method in (NETWORK, SPMS["bank"]):
        fleet = train_fleet(method, DATA, TASK, PLAN)
        assert torch.equal(exposed(fleet.models, DATA.ids), PLAN.members)


def test_nothing_of_others_reaches_a_bank():
    objective = _BankObjective(SPMS["bank"], TASK)
    networks = [objective.build() for _ in range(2)]
    subsets = PLAN.positions[:2]
    state = objective.start(DATA, networks, [0, 1], subsets)
    for i, own in enumerate(subsets):
        alone = objective.start(DATA.take(own), [networks[i]], [i])
        others = ~PLAN.members[i]
        assert not state.bank[i, others].any()
        assert not state.share[i, others].any()
        assert torch.equal(state.bank[i, own], alone.bank[0])
        assert torch.equal(state.counts[i], alone.counts[0])
        assert torch.allclose(state.sums[i], alone.sums[0], atol=1e-12)
        assert torch.equal(state.absent[i], alone.absent[0])


def test_a_plan_may_be_of_a_part_of_the_data_in_another_order():
    plan = Plan.halves(DATA.ids[25:5:-1], models=2, seed=0)
    fleet = train_fleet(NETWORK, DATA, TASK, plan, executor="one-by-one")
    for i, model in enumerate(fleet):
        own = [plan.ids[at] for at in plan.positions[i]]
        assert fleet.own(i).ids == tuple(own)
        assert model.exposure.parts["network"] == set(own)
    with pytest.raises(UnknownSample):
        train_fleet(NETWORK, DATA.take(torch.arange(10)), TASK, plan)


# --- the folder -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [NETWORK, SPMS["bank"]], ids=["network", "spm"])
def test_stored_members_are_those_in_ram(method, tmp_path):
    ram = train_fleet(method, DATA, TASK, PLAN, executor="vectorised")
    stored = train_fleet(method, DATA, TASK, PLAN, folder=tmp_path, executor="vectorised")
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted(f"{name}.safetensors" for name in ram.names)
    assert all(same(a, b) for a, b in zip(ram, stored, strict=True))
    x = TASK.batch(DATA, torch.arange(5))["inputs"]
    assert all(torch.equal(a(x), b(x)) for a, b in zip(ram.models, stored.models, strict=True))
    assert not stored[0].training
    assert (len(ram), ram.seeds, ram.role) == (4, PLAN.seeds, "shadow")
    assert ram.population().models == ram.models


def test_what_was_interrupted_goes_on_where_it_stopped(counting, tmp_path):
    Counting.until = 2
    with pytest.raises(KeyboardInterrupt):
        train_fleet(counting, DATA, TASK, PLAN, folder=tmp_path, executor="one-by-one")
    assert len([*tmp_path.iterdir()]) == 2
    (tmp_path / ".x.1234.tmp").write_bytes(b"half")  # what a kill leaves
    Counting.until = 10**9
    fleet = train_fleet(counting, DATA, TASK, PLAN, folder=tmp_path, executor="one-by-one")
    assert Counting.trained == [fleet.own(i).ids for i in range(4)]
    assert "2 of 4 models were there already" in fleet.notes
    assert sorted(each.stem for each in tmp_path.iterdir()) == sorted(fleet.names)
    whole = train_fleet(counting, DATA, TASK, PLAN, executor="one-by-one")
    assert all(same(a, b) for a, b in zip(fleet, whole, strict=True))


def test_nothing_is_trained_twice(counting, tmp_path):
    small = Plan(PLAN.ids, PLAN.members[1:3], PLAN.seeds[1:3])
    train_fleet(counting, DATA, TASK, small, folder=tmp_path, executor="one-by-one")
    whole = train_fleet(counting, DATA, TASK, PLAN, folder=tmp_path, executor="one-by-one")
    train_fleet(counting, DATA, TASK, PLAN, folder=tmp_path, executor="one-by-one")
    assert sorted(Counting.trained) == sorted(whole.own(i).ids for i in range(4))
    again = Plan(PLAN.ids, PLAN.members[[0, 0]], (5, 5))  # the same training, asked for twice in one plan
    Counting.trained.clear()
    twins = train_fleet(counting, DATA, TASK, again, executor="one-by-one")
    assert len(Counting.trained) == 1
    assert twins[0] is twins[1]


def test_oracles_of_one_request_are_found_whatever_else_is_in_the_data(counting, tmp_path):
    ids = DATA.ids[:4]
    train_fleet(counting, DATA, TASK, Plan.without(DATA.ids, ids, models=2), folder=tmp_path, executor="one-by-one")
    columns = {name: column.clone() for name, column in DATA.table.columns.items()}
    columns["x"][:4] += 1.0
    other = Dataset.of(columns, DATA.ids, owners=DATA.owners)
    train_fleet(counting, other, TASK, Plan.without(DATA.ids, ids, models=3), folder=tmp_path, executor="one-by-one")
    assert len(Counting.trained) == 3
    columns["x"][9] += 1.0
    changed = Dataset.of(columns, DATA.ids, owners=DATA.owners)
    train_fleet(counting, changed, TASK, Plan.without(DATA.ids, ids, models=2), folder=tmp_path, executor="one-by-one")
    assert len(Counting.trained) == 5


def test_names_depend_on_all_that_decides_a_training():
    def names(method=NETWORK, task=TASK, data=DATA, plan=PLAN):
        return train_fleet(dataclasses.replace(method, recipe=Recipe(epochs=1, batch=20, lr=method.recipe.lr)),
                           data, task, plan, executor="one-by-one").names  # fmt: skip

    one = Plan(PLAN.ids, PLAN.members[:1], PLAN.seeds[:1])
    columns = dict(DATA.table.columns)
    flipped = {**columns, "label": (columns["label"] + 1) % 3}
    found = [
        names(plan=one),
        names(plan=Plan(one.ids, ~one.members, one.seeds)),
        names(plan=Plan(one.ids, one.members, (7,))),
        names(plan=one, method=dataclasses.replace(NETWORK, network="mlp width=9")),
        names(plan=one, method=dataclasses.replace(NETWORK, recipe=Recipe(lr=0.1))),
        names(plan=one, task=dataclasses.replace(TASK, low=(-5.0,))),
        names(plan=one, data=Dataset.of(flipped, DATA.ids, owners=DATA.owners)),
        names(plan=one, data=Dataset.of(columns, DATA.ids)),
        names(plan=one, data=DATA.declare_public(DATA.ids[:20])),
    ]
    assert len(set(found)) == len(found)
    assert names(plan=one) == found[0]


@pytest.mark.parametrize("how", ["cut", "bit", "empty", "other"])
def test_a_damaged_file_is_named_in_one_line_and_replaced(how, counting, tmp_path):
    fleet = train_fleet(counting, DATA, TASK, PLAN, folder=tmp_path, executor="one-by-one")
    path = tmp_path / f"{fleet.names[2]}.safetensors"
    good = path.read_bytes()
    bad = {"cut": good[:-9], "bit": good[:-9] + bytes([good[-9] ^ 1]) + good[-8:], "empty": b"",
           "other": b"{" * 100}[how]  # fmt: skip
    path.write_bytes(bad)
    with pytest.raises(CorruptRun) as caught:
        fleet[2]
    assert str(path) in one_line(caught)
    Counting.trained.clear()
    lines = []
    again = train_fleet(counting, DATA, TASK, PLAN, folder=tmp_path, executor="one-by-one", log=lines.append)
    assert Counting.trained == [fleet.own(2).ids]
    assert [line for line in lines if str(path) in line and "\n" not in line] == [lines[0]]
    assert tuple(lines) == again.notes
    assert path.read_bytes() == good
    path.unlink()
    with pytest.raises(CorruptRun) as caught:
        again[2]
    assert str(path) in one_line(caught)


def test_a_model_that_knows_others_is_not_written():
    model = NETWORK.train(DATA, TASK, seeds=[0])[0]
    with pytest.raises(InvalidData) as caught:
        members.pack(model, DATA.ids[1:])
    assert DATA.ids[0] in one_line(caught)


def test_a_packed_model_says_which_parts_an_erasure_mends():
    model = NETWORK.train(DATA, TASK, seeds=[0])[0]
    for mended in (frozenset(), frozenset(["network"])):
        model.exposure = dataclasses.replace(model.exposure, mended=mended)
        content = members.read(members.pack(model, DATA.ids), "here")
        assert members.unpack(content, DATA.ids, NETWORK, TASK, "cpu").exposure == model.exposure


def test_settings_that_cannot_be_written_down_are_refused():
    method = types.SimpleNamespace(train=None)
    with pytest.raises(SettingsError) as caught:
        train_fleet(method, DATA, TASK, PLAN)
    one_line(caught)


# --- executors --------------------------------------------------------------------------------------------------------


def test_processes_give_equal_members(tmp_path):
    told: list[tuple[int, int]] = []
    plan = Plan(PLAN.ids, PLAN.members[:2], PLAN.seeds[:2])
    method = SPMS["bank"]
    alone = train_fleet(method, DATA, TASK, plan, executor="one-by-one")
    fleet = train_fleet(method, DATA, TASK, plan, executor="processes", workers=1,
                        progress=lambda *each: told.append(each))  # fmt: skip
    assert told == [(1, 2), (2, 2)]
    for a, b in zip(fleet, alone, strict=True):
        assert torch.allclose(weights(a), weights(b), atol=CLOSE)
        assert a.exposure == b.exposure
        assert a.memory.ids == b.memory.ids


def test_a_process_that_dies_is_told_in_one_line(monkeypatch):
    class Pool:
        def __init__(self, count, context, begin, given):
            assert context.get_start_method() == "spawn"

        def submit(self, work, *given):
            future = Future()
            future.set_exception(BrokenProcessPool("gone"))
            return future

        def shutdown(self, *, wait, cancel_futures):
            ended.append((wait, cancel_futures))

    ended = []
    monkeypatch.setattr(executors, "ProcessPoolExecutor", Pool)
    with pytest.raises(SettingsError) as caught:
        train_fleet(NETWORK, DATA, TASK, PLAN, executor="processes")
    assert "__main__" in one_line(caught)
    assert ended == [(True, True)]


def fake_ray(calls: list[Any]) -> types.ModuleType:
    """Ray as it is used here, in this process."""
    ray = types.ModuleType("ray")
    ray.is_initialized = lambda: bool(calls)
    ray.init = lambda **settings: calls.append(settings)
    ray.put = lambda value: value
    ray.get = lambda reference: reference[0]
    ray.wait = lambda references: (references[-1:], references[:-1])
    ray.remote = lambda **asked: lambda work: types.SimpleNamespace(remote=lambda *given: (work(*given), object()))
    return ray


def test_ray_is_asked_for_when_it_is_needed(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra) as caught:
        train_fleet(NETWORK, DATA, TASK, PLAN, executor="ray")
    assert "erasable[ray]" in one_line(caught)
    calls: list[Any] = []
    monkeypatch.setitem(sys.modules, "ray", fake_ray(calls))
    monkeypatch.setattr(torch, "set_num_threads", lambda n: calls.append(n))
    fleet = train_fleet(NETWORK, DATA, TASK, PLAN, executor="ray")
    assert len(calls) == 1 + 4
    for model, i in zip(fleet, range(4), strict=True):
        alone = NETWORK.train(fleet.own(i), TASK, seeds=[PLAN.seeds[i]])[0]
        assert torch.allclose(weights(model), weights(alone), atol=CLOSE)


def test_the_faster_way_is_chosen_and_said(monkeypatch):
    together = "vectorised, 4 together (8.0\u00d7 faster)"
    for stacked, told, kind in ((0.5, together, "vectorised"), (5.0, "one by one", "one_by_one")):
        used = []
        monkeypatch.setattr(executors._Clock, "seconds", clocked(stacked))
        monkeypatch.setattr(executors, kind, spy(used, getattr(executors, kind)))
        lines: list[str] = []
        fleet = train_fleet(NETWORK, DATA, TASK, PLAN, log=lines.append)
        assert told in lines[0]
        assert f"alone 1.0 s; 4 together {'125 ms' if stacked < 1 else '1.2 s'}" in lines[0]
        assert used == [kind]
        assert len(fleet.models) == 4


def clocked(stacked):
    """Instead of timing: one second a step alone, `stacked` for all of a chunk."""

    def seconds(clock, train):
        clock.steps = 5
        return stacked if isinstance(train, functools.partial) else 1.0

    return seconds


def spy(used, work):
    def run(*given):
        used.append(work.__name__)
        return work(*given)

    return run


def test_a_trial_ends_after_a_few_steps(counting):
    method = Counting(recipe=Recipe(epochs=500, batch=2))
    clock = executors._Clock(torch.device("cpu"))
    seconds = clock.seconds(lambda progress: method.train(DATA, TASK, seeds=[0], progress=progress))
    assert 0 < seconds < 5
    assert len(clock.at) <= executors.MOST + 1
    assert clock.steps == 500 * 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class Normalised(Network):
    """Batch normalisation: cannot be vectorised."""

    def build(self, task):
        middle = nn.Sequential(nn.Flatten(), nn.Linear(2, 4), nn.BatchNorm1d(4))
        middle.width = 4
        return Classifier(middle, task.classes)


def test_auto_trains_one_by_one_what_cannot_be_vectorised(counting):
    for method, why in ((Normalised(recipe=RECIPE), "BatchNorm1d"), (counting, "Counting"),
                        (dataclasses.replace(NETWORK, sequential=True), "sequential=True")):  # fmt: skip
        fleet = train_fleet(method, DATA, TASK, PLAN)
        assert "one by one" in fleet.notes[0]
        assert why in fleet.notes[0]
        assert torch.equal(exposed(fleet.models, DATA.ids), PLAN.members)


@pytest.mark.parametrize("asked", [
    {"executor": "thread"}, {"executor": "vectorised", "chunk": 0}, {"executor": "processes", "workers": 0},
])  # fmt: skip
def test_wrong_executors_are_refused(asked):
    with pytest.raises(SettingsError) as caught:
        train_fleet(NETWORK, DATA, TASK, PLAN, **asked)
    one_line(caught)


def test_a_method_that_cannot_train_subsets_is_not_vectorised(counting):
    with pytest.raises(SettingsError) as caught:
        train_fleet(counting, DATA, TASK, PLAN, executor="vectorised")
    assert "Counting" in one_line(caught)
    assert Counting.trained == []


@pytest.mark.parametrize("executor", ["one-by-one", "vectorised"])
def test_progress_runs_through_all_members(executor):
    told = []
    train_fleet(NETWORK, DATA, TASK, PLAN, executor=executor, chunk=3, progress=lambda *each: told.append(each))
    assert [done for done, _ in told] == [*range(1, len(told) + 1)]
    assert told[-1] == (len(told),) * 2


# --- unlearning -------------------------------------------------------------------------------------------------------


def test_models_designed_to_forget_delete_their_rows(tmp_path):
    asked = PLAN.requests(5)
    for folder in (None, tmp_path):
        fleet = train_fleet(SPMS["bank"], DATA, TASK, PLAN, folder=folder)
        before = [rows(model) for model in fleet]
        gone = unlearn_fleet(fleet, "forget", asked)
        assert torch.equal(gone.forgotten, asked)
        assert torch.equal(gone.plan.members, PLAN.members)
        assert [rows(model) for model in fleet] == before
        for i, model in enumerate(gone):
            assert set(model.memory.ids) == {DATA.ids[at] for at in (PLAN.members[i] & ~asked[i]).nonzero()}
            twin = SPMS["bank"].train(fleet.own(i), TASK, seeds=[PLAN.seeds[i]])[0]
            twin.forget([DATA.ids[at] for at in asked[i].nonzero()])
            assert torch.allclose(twin.head, model.head, atol=100 * CLOSE)


@pytest.mark.parametrize("unlearner", [GradientAscent(), Nothing(), Retrain()], ids=["ascent", "nothing", "retrain"])
def test_unlearners_go_through_model_by_model_once(unlearner, tmp_path, monkeypatch):
    fleet = train_fleet(NETWORK, DATA, TASK, PLAN)
    asked = PLAN.requests(4)
    before = [weights_digest(model) for model in fleet]
    told = []
    ram = unlearn_fleet(fleet, unlearner, asked, seed=3, progress=lambda *each: told.append(each))
    stored = unlearn_fleet(fleet, unlearner, asked, seed=3, folder=tmp_path)
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert all(same(a, b) for a, b in zip(ram, stored, strict=True))
    assert [weights_digest(model) for model in fleet] == before
    assert (weights_digest(ram[0]) == before[0]) == isinstance(unlearner, Nothing)
    if isinstance(unlearner, Retrain):
        assert torch.equal(exposed(ram.models, DATA.ids), PLAN.members & ~asked)
    monkeypatch.setattr(type(unlearner), "__call__", None)  # calling it would fail
    again = unlearn_fleet(fleet, unlearner, asked, seed=3, folder=tmp_path)
    assert "0 of 4 models" in again.notes[0]
    assert all(same(a, b) for a, b in zip(again, stored, strict=True))
    for change in ({"requests": PLAN.requests(4, seed=1)}, {"seed": 4}):
        with pytest.raises(TypeError):
            unlearn_fleet(fleet, unlearner, **{"requests": asked, "seed": 3, "folder": tmp_path, **change})


def test_requests_one_after_another(tmp_path):
    fleet = train_fleet(SPMS["bank"], DATA, TASK, PLAN, folder=tmp_path)
    first, second = PLAN.requests(3, among=DATA.ids[:20]), PLAN.requests(3, among=DATA.ids[20:])
    once = unlearn_fleet(fleet, "forget", first, folder=tmp_path)
    twice = unlearn_fleet(once, "forget", second, folder=tmp_path)
    assert torch.equal(twice.forgotten, first | second)
    for i, model in enumerate(twice):
        assert model.memory.forgotten == {DATA.ids[at] for at in (first | second)[i].nonzero()}
    with pytest.raises(Misaligned) as caught:
        unlearn_fleet(twice, "forget", first)
    one_line(caught)


def test_methods_that_refit_a_part_get_their_own_data():
    method = SISA(network="mlp width=4", shards=2, recipe=RECIPE)
    plan = Plan(PLAN.ids, PLAN.members[:2], PLAN.seeds[:2])
    fleet = train_fleet(method, DATA, TASK, plan)
    asked = plan.requests(3)
    gone = unlearn_fleet(fleet, "forget", asked)
    assert torch.equal(exposed(gone.models, DATA.ids), plan.members & ~asked)
    assert torch.equal(exposed(fleet.models, DATA.ids), plan.members)


@pytest.mark.parametrize(("asked", "error"), [
    (torch.zeros(4, 40, dtype=torch.bool), EmptyRequest),
    (PLAN.members, EmptyRequest),
    (~PLAN.members, Misaligned),
    (PLAN.members[:2], Misaligned),
    (PLAN.members.float(), Misaligned),
])  # fmt: skip
def test_wrong_requests_are_refused(asked, error):
    fleet = train_fleet(NETWORK, DATA, TASK, PLAN)
    with pytest.raises(error) as caught:
        unlearn_fleet(fleet, Nothing(), asked)
    one_line(caught)


def test_a_network_has_nothing_to_forget_with():
    fleet = train_fleet(NETWORK, DATA, TASK, PLAN)
    with pytest.raises(ErasableError, match="unlearner"):
        unlearn_fleet(fleet, "forget", PLAN.requests(2))
