"""MUNKEY: whose gradient reaches whose value, what deletion leaves, and whether the memory is used at all."""

import dataclasses
import json
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from erasable._plumbing.keys import Keys, neighbours
from erasable._plumbing.row_adam import adam_step
from erasable._plumbing.slots import SLOTS, by_slots, slots
from erasable.dataset import Dataset
from erasable.errors import (
    AlreadyForgotten,
    CorruptRun,
    EmptyRequest,
    InvalidData,
    NotErasable,
    SettingsError,
    TaskMismatch,
    UnknownSample,
)
from erasable.forgettable.munkey import MUNKEY, Mixture, MUNKEYModel, fit_values
from erasable.memory import Memory
from erasable.network import Network
from erasable.receipt import Exposure
from erasable.request import Request
from erasable.tasks.classification import Classification
from erasable.train import Recipe
from erasable.unlearner import Forgettable, forget, weights_digest
from tests.toys import blob_task, blobs

TASK = blob_task()
DATA = blobs(40).declare_public([f"blob/{i:03d}" for i in range(12)])
SHORT = Recipe(epochs=2, batch=8, lr=5e-3, weight_decay=0.05, optimizer="adamw")
METHOD = MUNKEY(network="vit patch=1 width=8 depth=2 heads=2", value_width=6, recipe=SHORT, key_network="mlp width=8",
                key_recipe=SHORT, value_steps=4)  # fmt: skip
SOME = ("blob/013", "blob/020", "blob/039")


def changed(**settings):
    return dataclasses.replace(METHOD, **settings)


def trained(data=DATA, seed=3, **settings):
    return changed(**settings).train(data, TASK, seeds=[seed])[0]


def inputs(data=DATA):
    return TASK.batch(data, torch.arange(len(data)))["inputs"]


# --- the four modes, and whose values move ---------------------------------------------------------------------------

OWN, NEIGHBOUR, ALONE, MASKED = 0.1, 0.5, 0.8, 0.95  # draws that fall into each mode under the default shares
FOUR = blobs(4)
LISTS = torch.tensor([[1], [0], [1], [0]])


def one_step(modes, whose=0.0, **settings):
    """One training step of a member on four samples; (objective, batch, values before, state after)."""
    objective = Mixture(changed(value_lr=0.5, **settings), TASK, {7: LISTS})
    torch.manual_seed(0)
    network = objective.build()
    state = objective.start(FOUR, [network], [7])
    before = state.values.clone()
    uniform = torch.tensor([[mode, 0.0, whose] for mode in modes])[None]
    rows = torch.arange(len(modes))[None]
    batch = objective.batch(FOUR, rows, uniform, state)
    loss, seen = objective.loss(network, {name: each[0] for name, each in batch.items()})
    loss.backward()
    objective.after(rows, batch, seen, state, 1.0)
    return network, batch, before[0], state.values[0]


def test_each_mode_reads_what_it_should():
    _, batch, before, _ = one_step([OWN, NEIGHBOUR, ALONE, MASKED])
    assert batch["source"][0, [0, 1, 3]].tolist() == [0, 0, 3]
    assert batch["present"][0].tolist() == [True, True, False, True]
    assert batch["visible"][0].tolist() == [True, True, True, False]
    assert torch.equal(batch["values"][0, 1], before[0])
    assert one_step([OWN, NEIGHBOUR, ALONE, MASKED], whose=0.9)[1]["source"][0, 3] == 0  # a neighbour's, this time


def test_private_values_feel_nobody_else():
    _, _, before, after = one_step([NEIGHBOUR] * 4)
    assert torch.equal(before, after)
    _, _, before, after = one_step([MASKED] * 4, whose=0.9)
    assert torch.equal(before, after)


@pytest.mark.parametrize("values", ["private", "shared"])
def test_only_values_that_were_read_move(values):
    _, _, before, after = one_step([OWN, ALONE, MASKED, NEIGHBOUR], values=values)
    assert ((before != after).any(dim=1)).tolist() == [True, False, True, False]
    _, _, before, after = one_step([ALONE, OWN, ALONE, NEIGHBOUR], values=values)
    assert ((before != after).any(dim=1)).tolist() == [values == "shared", True, False, False]


def test_shared_values_by_hand():
    """Rows 0 and 1 are read by two strangers each: their gradients add up, and Adam's first step is g / (|g| + eps)."""
    network, _, before, after = one_step([NEIGHBOUR] * 4, values="shared")
    table = before.clone().requires_grad_()
    labels = TASK.batch(FOUR, torch.arange(4))["labels"]
    F.cross_entropy(network(inputs(FOUR), table[LISTS[:, 0]]), labels).backward()
    want = before - 0.5 * table.grad / (table.grad.abs() + 1e-8)
    assert torch.allclose(after[:2], want[:2], atol=2e-3)  # eps over a gradient of 1e-5 or so
    assert torch.equal(after[2:], before[2:])


def test_consistency_adds_the_divergence_of_strangers():
    modes = [OWN, NEIGHBOUR, ALONE, NEIGHBOUR]
    plain, weighted = (Mixture(changed(consistency=each), TASK, {7: LISTS}) for each in (0.0, 2.0))
    torch.manual_seed(0)
    network = plain.build()
    with torch.no_grad():
        network.encoder.null.normal_()
    state = plain.start(FOUR, [network], [7])
    batch = plain.batch(FOUR, torch.arange(4)[None], torch.tensor([[each, 0.0, 0.0] for each in modes])[None], state)
    one = {name: each[0] for name, each in batch.items()}
    p, q = network(inputs(FOUR), one["values"]).softmax(1), network(inputs(FOUR)).softmax(1)
    want = 2.0 * sum((p[i] * (p[i] / q[i]).log()).sum() for i in (1, 3)) / 4
    assert want > 1e-5
    assert torch.allclose(weighted.loss(network, one)[0] - plain.loss(network, one)[0], want, rtol=1e-3)


def test_a_row_is_trained_as_if_it_had_an_adam_of_its_own():
    g = torch.Generator().manual_seed(0)
    table = torch.randn(5, 3, generator=g)
    twins = [nn.Parameter(row.clone()) for row in table]
    adam = torch.optim.Adam(twins, lr=0.1)
    first, second, steps = torch.zeros(5, 3), torch.zeros(5, 3), torch.zeros(5, dtype=torch.long)
    for _ in range(30):
        at = torch.randperm(5, generator=g)[:2]
        gradient = torch.randn(2, 3, generator=g)
        adam_step(table, first, second, steps, at, gradient, lr=0.1)
        for twin in twins:
            twin.grad = None
        for row, each in zip(at.tolist(), gradient, strict=True):
            twins[row].grad = each.clone()
        adam.step()
    assert torch.allclose(table, torch.stack([twin.detach() for twin in twins]), atol=1e-5)


def test_neighbours_leave_the_sample_out():
    keys = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]])
    assert neighbours(keys, 1).flatten().tolist() == [1, 0, 3, 2]
    assert neighbours(keys, 9).shape == (4, 3)


# --- populations -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{}, {"values": "shared", "consistency": 0.1}, {"phases": 2, "keys": "pixels"}])
def test_a_member_equals_the_model_trained_alone(settings):
    """Up to rounding: one and three members are multiplied by different kernels."""
    method = changed(recipe=dataclasses.replace(SHORT, epochs=5), **settings)
    together = method.train(DATA, TASK, seeds=[5, 3, 4])[1]
    alone = method.train(DATA, TASK, seeds=[3])[0]
    for name, tensor in alone.state_dict().items():
        assert torch.allclose(tensor, together.state_dict()[name], atol=1e-5), name
    assert alone.memory.ids == together.memory.ids
    assert torch.equal(alone.memory.keys, together.memory.keys)
    assert torch.allclose(alone.memory.values, together.memory.values, atol=1e-4)
    assert torch.allclose(alone(inputs()), together(inputs()), atol=1e-3)


def test_members_differ_and_the_same_seed_gives_the_same_bits():
    one, other, again = (trained(seed=seed) for seed in (3, 4, 3))
    assert weights_digest(one) == weights_digest(again)
    assert one.memory.digest() == again.memory.digest()
    assert weights_digest(one) != weights_digest(other)


def test_keys_know_the_public_part_only():
    model, oracle = trained(), trained(DATA.without(SOME))
    assert weights_digest(model.keys) == weights_digest(oracle.keys)
    rest = [each for each in DATA.ids if each not in SOME]
    assert torch.equal(model.memory.keys[model.memory.rows(rest)], oracle.memory.keys[oracle.memory.rows(rest)])
    assert model.exposure.parts["keys"] == set(DATA.public.ids)


# --- forgetting ------------------------------------------------------------------------------------------------------


def test_deletion_leaves_the_other_rows_and_all_weights():
    model = trained()
    weights, rest = weights_digest(model), [each for each in DATA.ids if each not in SOME]
    want = model.memory.select(rest).digest()
    model.forget(SOME)
    assert model.memory.digest() == want
    assert weights_digest(model) == weights
    other = trained()
    for each in reversed(SOME):
        other.forget([each])
    assert other.memory.digest() == want


@pytest.mark.parametrize(("keys", "public"), [("public", True), ("pixels", True), ("pixels", False)])
def test_two_phases_forget_exactly_outside_the_shard(keys, public):
    """The state after deletion is, bit for bit, that of training without the samples."""
    data = DATA if public else blobs(40)
    shard = set(changed(phases=2).shard(data).ids)
    gone = [each for each in data.ids if each not in shard][2:9:2]
    model, oracle = (trained(each, phases=2, keys=keys) for each in (data, data.without(gone)))
    assert model.exposure.level(gone)[0] == "exact"
    assert set(model.memory.ids) == set(data.private.ids)
    model.forget(gone)
    assert weights_digest(model) == weights_digest(oracle)
    assert model.memory.digest() == oracle.memory.digest()
    if not public:
        inside = sorted(shard)[:1]
        assert model.exposure.level(inside)[0] == "revoked"
        model.forget(inside)


def test_one_phase_is_not_exact():
    """The control of the test before: there, a network that saw the samples would have been noticed."""
    model, oracle = trained(), trained(DATA.without(SOME))
    model.forget(SOME)
    assert model.memory.digest() != oracle.memory.digest()
    assert model.exposure.level(SOME)[0] == "revoked"


def test_the_receipt_follows_the_exposure():
    for phases, level in ((1, "revoked"), (2, "exact")):
        model, receipt = forget(trained(phases=phases), Request("r", SOME))
        assert receipt.level == level
        assert receipt.weights_before == receipt.weights_after
        assert receipt.memory_before != receipt.memory_after
        assert isinstance(model, Forgettable)
    assert "neighbouring values" in trained(values="shared").exposure.parts
    assert "neighbouring values" not in trained(values="shared", phases=2).exposure.parts
    fitted = dataclasses.replace(TASK, fitted=True)
    assert METHOD.train(DATA, fitted, seeds=[0])[0].exposure.parts["input scaling"] == set(DATA.ids)


@pytest.mark.parametrize(("ids", "data", "error"), [
    (["blob/013", "nobody"], None, UnknownSample),
    (["blob/013", "blob/002"], None, NotErasable),
    ([], None, EmptyRequest),
])  # fmt: skip
def test_a_refused_request_changes_nothing(ids, data, error):
    model = trained()
    before = model.memory.digest()
    with pytest.raises(error):
        model.forget(ids, data=data)
    assert model.memory.digest() == before


def test_public_samples_are_kept_whatever_the_keys_are():
    model = trained(keys="pixels")
    with pytest.raises(NotErasable):
        model.forget(["blob/002"], data=DATA)
    model.forget(["blob/013"], data=DATA)
    with pytest.raises(AlreadyForgotten):
        model.forget(["blob/013"])


# --- per-sample values -----------------------------------------------------------------------------------------------


@given(st.sets(st.integers(0, 500), min_size=1), st.randoms())
def test_a_slot_depends_on_the_id_alone(numbers, random):
    order = list(numbers)
    random.shuffle(order)
    layout = slots([str(each) for each in order])
    assert sorted(layout[layout >= 0].tolist()) == list(range(len(order)))
    for at, each in enumerate(order):
        assert torch.equal(torch.nonzero(layout == at)[0, 1], torch.nonzero(slots([str(each)]) == 0)[0, 1])
    assert layout.shape[1] == SLOTS


def test_rows_come_back_in_the_order_of_the_data():
    assert torch.equal(by_slots(TASK, DATA, lambda batch: batch["inputs"]), inputs())
    with pytest.raises(InvalidData):
        by_slots(TASK, DATA.take(torch.arange(0)), lambda batch: batch["inputs"])


def test_a_fitted_value_depends_on_its_sample_alone():
    backbone = trained().backbone
    fit = lambda data: fit_values(backbone, TASK, data, steps=7, lr=0.05)  # noqa: E731
    everybody = fit(DATA)
    few = torch.tensor([30, 4, 17])
    assert torch.equal(fit(DATA.take(few)), everybody[few])
    assert torch.equal(fit(DATA.take(few[1:2])), everybody[4:5])


def test_fitted_values_against_the_obvious_loop():
    backbone = trained().backbone
    want = []
    for at in range(5):
        batch = TASK.batch(DATA, torch.tensor([at]))
        value = backbone.encoder.null.detach().clone()[None].requires_grad_()
        adam = torch.optim.Adam([value], lr=0.05)
        for step in range(7):
            adam.zero_grad()
            logits = backbone(batch["inputs"], value, visible=torch.tensor([step % 4 != 3]))
            F.cross_entropy(logits, batch["labels"]).backward()
            adam.step()
        want.append(value.detach()[0])
    got = fit_values(backbone, TASK, DATA.take(torch.arange(5)), steps=7, lr=0.05)
    assert torch.allclose(got, torch.stack(want), atol=1e-3)


def test_streaming_in_and_out():
    model = trained(DATA.without(SOME))
    weights, before = weights_digest(model), model.memory.digest()
    new = DATA.only(SOME)
    with torch.no_grad():
        model.add(new)
    assert weights_digest(model) == weights
    assert torch.equal(model.memory.labels[model.memory.rows(SOME)], TASK.batch(new, torch.arange(3))["labels"])
    assert model.exposure.level(SOME)[0] == "exact"
    with pytest.raises(InvalidData, match="two rows"):
        model.add(DATA.only(SOME[:1]))
    model.forget(SOME)
    assert model.memory.digest() == before
    with pytest.raises(AlreadyForgotten):
        model.add(new)


# --- reading the memory ----------------------------------------------------------------------------------------------

NULL = torch.tensor([0.5, -0.5])


class Echo(nn.Module):
    """A backbone whose logits are the value that it reads."""

    def __init__(self):
        super().__init__()
        self.encoder = SimpleNamespace(null=NULL)

    def forward(self, x, values=None, *, present=None, visible=None):
        return NULL.expand(len(x), -1) if values is None else values


def echo(rows=4, **settings):
    """Unit keys at 0, 60, 90 and 180 degrees; a query at 0 degrees has the cosines 1, 0.5, 0 and -1 with them."""
    method = MUNKEY(**{"keys": "pixels", "neighbours": 2, "value_width": 2, **settings})
    memory = Memory(2, 2)
    keys = torch.tensor([[1.0, 0.0], [0.5, 0.75**0.5], [0.0, 1.0], [-1.0, 0.0]])
    if rows:
        memory.add("abcd"[:rows], keys[:rows], VALUES[:rows])
    return MUNKEYModel(method, blob_task(2), Exposure({"keys": frozenset()}), Echo(), Keys(nn.Flatten()), memory)


VALUES = torch.tensor([[2.0, 0.0], [0.0, 1.0], [3.0, 3.5], [9.0, 0.0]])
QUERY = torch.tensor([[4.0, 0.0]])  # twice, to see that queries do not mix


def test_ensemble_by_hand():
    a, b = VALUES[0].softmax(0), VALUES[1].softmax(0)
    assert torch.allclose(echo()(QUERY).exp(), ((a + b) / 2)[None], atol=1e-6)
    assert torch.allclose(echo(neighbours=1)(QUERY).exp(), a[None], atol=1e-6)


def test_softmax_by_hand():
    weight = 1 / (1 + torch.exp(torch.tensor((0.5 - 1) / 0.25)))
    value = weight * VALUES[0] + (1 - weight) * VALUES[1]
    assert torch.allclose(echo(aggregation="softmax", temperature=0.25)(QUERY), value.log_softmax(0)[None], atol=1e-6)


def test_rank_by_hand():
    value = 2 / 3 * VALUES[0] + 1 / 3 * VALUES[1]  # 1 : 1/2
    assert torch.allclose(echo(aggregation="rank")(QUERY), value.log_softmax(0)[None], atol=1e-6)


@pytest.mark.parametrize("aggregation", ["ensemble", "softmax", "rank"])
def test_self_boost(aggregation):
    near = torch.tensor([[1.0, 0.1]])  # cosine 0.995: somebody else
    model, plain = echo(aggregation=aggregation, self_boost=True), echo(aggregation=aggregation)
    assert torch.allclose(model(QUERY), VALUES[0].log_softmax(0)[None], atol=1e-6)
    assert torch.equal(model(near), plain(near))
    assert not torch.allclose(plain(QUERY), model(QUERY), atol=1e-2)


@pytest.mark.parametrize("aggregation", ["ensemble", "softmax", "rank"])
@pytest.mark.parametrize("rows", [1, 2, 3, 4])
def test_excluding_a_row_is_reading_a_memory_without_it(aggregation, rows):
    model, other = echo(rows, aggregation=aggregation), echo(rows, aggregation=aggregation)
    other.memory.remove("a")
    both = torch.cat([QUERY, QUERY])
    found = model.predict(both, exclude=torch.tensor([0, -1]))
    assert torch.allclose(found[:1], other(QUERY), atol=1e-6)
    assert torch.allclose(found[1:], model(QUERY), atol=1e-6)


@pytest.mark.parametrize("aggregation", ["ensemble", "softmax", "rank"])
def test_an_empty_memory_reads_the_null_value(aggregation):
    assert torch.allclose(echo(0, aggregation=aggregation)(QUERY), NULL.log_softmax(0)[None], atol=1e-6)
    model = trained(aggregation=aggregation, keys="pixels")
    model.memory.remove(list(model.memory.ids))
    assert torch.allclose(model(inputs()), model.as_network()(inputs()).log_softmax(1), atol=1e-5)


@pytest.mark.parametrize("aggregation", ["ensemble", "softmax", "rank"])
def test_predictions_are_distributions_and_come_in_pieces(aggregation, monkeypatch):
    model = trained(aggregation=aggregation)
    whole = model(inputs())
    assert torch.allclose(whole.exp().sum(1), torch.ones(len(DATA)), atol=1e-5)
    monkeypatch.setattr("erasable.forgettable.munkey.QUERIES", 7)
    assert torch.allclose(model(inputs()), whole, atol=1e-5)
    assert torch.allclose(model.predict(inputs(), exclude=torch.full((len(DATA),), -1)), whole, atol=1e-5)
    assert model(inputs()[:0]).shape == (0, 3)


# --- settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [
    {"own": 0.5}, {"own": -0.1, "neighbour": 0.8}, {"neighbours": 0}, {"temperature": 0.0}, {"values": "secret"},
    {"aggregation": "mean"}, {"phases": 3}, {"shard_share": 1.0}, {"keys": "private"}, {"keys": "pretrained:"},
    {"keys": "pretrained:my folder"}, {"consistency": -1.0}, {"value_steps": 0},
])  # fmt: skip
def test_settings_that_make_no_sense(settings):
    with pytest.raises(SettingsError, match=next(iter(settings))):
        MUNKEY(**settings)


def test_settings_are_json():
    fields = json.loads(json.dumps(dataclasses.asdict(METHOD)))
    recipes = {name: Recipe(**fields.pop(name)) for name in ("recipe", "key_recipe")}
    assert MUNKEY(**fields, **recipes) == METHOD


def test_public_keys_need_a_public_part():
    with pytest.raises(SettingsError, match="declare a public part, or choose keys='pixels'"):
        METHOD.train(blobs(20), TASK, seeds=[0])


def test_tasks_and_data_that_do_not_fit():
    with pytest.raises(TaskMismatch):
        METHOD.train(DATA, SimpleNamespace(check=lambda data: None), seeds=[0])
    with pytest.raises(InvalidData, match="neighbour"):
        changed(keys="pixels").train(DATA.take(torch.arange(1)), TASK, seeds=[0])


def test_restore():
    model = trained()
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    again = METHOD.restore(TASK, weights, model.memory, model.exposure)
    assert torch.equal(again(inputs()), model(inputs()))
    assert weights_digest(again) == weights_digest(model)
    with pytest.raises(CorruptRun):
        METHOD.restore(TASK, weights, None, model.exposure)


def test_the_network_alone_is_a_copy_that_can_be_trained():
    model = trained()
    network, before = model.as_network(), weights_digest(model)
    for parameter in network.parameters():
        assert parameter.requires_grad
        parameter.data.zero_()
    assert weights_digest(model) == before
    plain = METHOD.plain()
    assert isinstance(plain, Network)
    assert plain.recipe == METHOD.recipe
    shapes = {name: tensor.shape for name, tensor in plain.build(TASK).state_dict().items()}
    assert shapes == {name: tensor.shape for name, tensor in network.state_dict().items()}


def test_pretrained_keys_are_asked_for_by_path(monkeypatch):
    class Fake(nn.Module):
        def __init__(self, shape, *, path):
            super().__init__()
            assert path == "some/folder"
            self.register_buffer("turn", torch.tensor([[0.0, 1.0, 1.0], [1.0, 0.0, 1.0]]))

        def forward(self, x):
            return x @ self.turn

    monkeypatch.setattr("erasable.models.pretrained.Pretrained", Fake)
    model = trained(keys="pretrained:some/folder")
    assert model.memory.key_width == 3
    assert "keys.encoder.turn" in model.state_dict()
    assert model.exposure.parts["keys"] == frozenset()


# --- does it work ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits():
    """Real digits with 300 public ones, and a trained model: (train, test, task, model)."""
    datasets = pytest.importorskip("sklearn.datasets", reason="scikit-learn brings the digits")
    loaded = datasets.load_digits()
    order = torch.randperm(len(loaded.target), generator=torch.Generator().manual_seed(0))
    image = torch.from_numpy(loaded.images).to(torch.uint8)[order, None]
    label = torch.from_numpy(loaded.target)[order]
    data = Dataset.of({"image": image, "label": label}, [f"d{i}" for i in order.tolist()])
    train = data.take(torch.arange(1400)).declare_public(data.ids[:300])
    task = Classification(shape=(1, 8, 8), classes=10, high=(16.0,), shift=1)
    return train, data.take(torch.arange(1400, len(data))), task, MUNKEY().train(train, task, seeds=[0])[0]


def accuracy(model, task, data, **settings):
    batch = task.batch(data, torch.arange(len(data)))
    with torch.no_grad():
        return (model.predict(batch["inputs"], **settings).argmax(1) == batch["labels"]).float().mean().item()


def test_it_learns_and_remembers(digits):
    train, test, task, model = digits
    assert accuracy(model, task, test) > 0.93
    boosted = MUNKEYModel(MUNKEY(self_boost=True), task, model.exposure, model.backbone, model.keys, model.memory)
    assert accuracy(boosted, task, train) >= 0.99


def test_the_memory_is_used(digits):
    """With somebody else's values, what the model knows by heart is gone, and what it sees is not enough."""
    train, _, task, model = digits
    memory = Memory(model.memory.key_width, model.memory.value_width)
    wrong = model.memory.values[torch.randperm(len(train), generator=torch.Generator().manual_seed(0))]
    memory.add(model.memory.ids, model.memory.keys, wrong)
    for visible, known, lost in ((True, 0.99, 0.9), (False, 0.9, 0.2)):
        scores = []
        for each in (model.memory, memory):
            boosted = MUNKEYModel(MUNKEY(self_boost=True), task, model.exposure, model.backbone, model.keys, each)
            scores.append(accuracy(boosted, task, train, visible=visible))
        assert scores[0] > known
        assert scores[1] < lost


def test_both_pathways_matter(digits):
    train, test, task, model = digits
    found = model.sensitivity(test)
    assert found.full > 0.93
    assert 0.5 < found.image < found.full
    assert 0.5 < found.memory < found.full
    assert found.score == pytest.approx((found.full - found.image) / (2 * found.full - found.image - found.memory))
    own = model.sensitivity(train.private)  # rows of their own are left out
    assert own.full == pytest.approx(accuracy(model, task, train.private, exclude=model.memory.rows(train.private.ids)))
