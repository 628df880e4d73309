"""SPM: attention against its folded head, both recipes against obvious loops, and what leaves with a sample."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from erasable._plumbing.seeds import seeded
from erasable._plumbing.sums import LIMIT, ClassSums
from erasable.dataset import Dataset
from erasable.errors import (
    AlreadyForgotten,
    CorruptRun,
    DataError,
    EmptyRequest,
    InvalidData,
    SettingsError,
    TaskMismatch,
    UnknownSample,
)
from erasable.forgettable.spm import (
    SPM,
    SPMModel,
    SPMNetwork,
    _BankObjective,
    _EpisodeObjective,
    embed,
)
from erasable.memory import Memory
from erasable.network import Network
from erasable.receipt import Exposure
from erasable.request import Request
from erasable.tasks.classification import Classification
from erasable.train import Recipe, fit
from erasable.unlearner import forget, weights_digest
from tests.toys import blob_task, blobs


def task_of(classes):
    """A narrow range: large inputs, and so large scores, are learned in a few steps."""
    return dataclasses.replace(blob_task(classes), low=(-1.0,), high=(1.0,))


DATA, TASK = blobs(60), task_of(3)
TINY = Recipe(epochs=4, batch=16, lr=0.02)
METHOD = SPM(network="mlp width=10", recipe=TINY)
VARIANTS = {
    "SPM-C": METHOD,
    "episodes": dataclasses.replace(METHOD, training="episodes", support=12),
    "SPM-R": dataclasses.replace(METHOD, retrieval="nearest", neighbours=7),
    "covariance": dataclasses.replace(METHOD, similarity="covariance"),
}
MODELS = {name: method.train(DATA, TASK, seeds=[0])[0] for name, method in VARIANTS.items()}
HALF = DATA.declare_public(DATA.ids[:30])
PICTURES = Dataset.of(
    {"image": torch.randint(256, (40, 1, 6, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)),
     "label": torch.arange(40) % 3}, [f"p{i}" for i in range(40)], public=np.arange(40) < 16,
)  # fmt: skip
PICTURE_TASK = Classification(shape=(1, 6, 6), classes=3)


def inputs(data=DATA, task=TASK):
    return task.batch(data, torch.arange(len(data)))["inputs"]


def copy_of(model, ids=None):
    """A model built anew from the same network and the rows `ids`."""
    memory = model.memory.select(model.memory.ids if ids is None else ids)
    return SPMModel(model.method, model.task, model.exposure, model.network, memory).eval()


def state(model):
    """Everything that deletion may touch, and what follows from it."""
    sums = [
        each for each in (model.sums.sums, model.sums.counts, model.sums.coarse, model.sums.second) if each is not None
    ]
    return [model.memory.digest(), *(each.tolist() for each in (*sums, model.head, model.absent))]


def same(a, b):
    return state(a) == state(b) and weights_digest(a) == weights_digest(b)


# --- prediction -------------------------------------------------------------------------------------------------------


@torch.no_grad()
def attention(network, e, stored, labels, classes):
    """Sec. 3 of the paper, one query and one class at a time: softmax over class means, values are one-hot labels."""
    chance = torch.zeros(len(e), classes, dtype=torch.float64)
    w_q, w_k = network.query.weight.double(), network.key.weight.double()
    for row, each in enumerate(e.double()):
        scores = {}
        for c in labels.unique().tolist():
            mean = torch.stack([s.double() for s, y in zip(stored, labels, strict=True) if y == c]).mean(0)
            scores[c] = float((w_q @ each) @ (w_k @ mean) / math.sqrt(len(each)))
        total = sum(math.exp(s - max(scores.values())) for s in scores.values())
        for c, s in scores.items():
            chance[row, c] = math.exp(s - max(scores.values())) / total
    return chance


@pytest.mark.parametrize("name", ["SPM-C", "episodes"])
def test_the_folded_head_is_the_attention(name):
    model = copy_of(MODELS[name])
    with seeded(0, "maps"):  # as trained they are nearly the identity: a transposed one would pass
        maps = [nn.Parameter(torch.randn(10, 10), requires_grad=False) for _ in range(2)]
    model.network = SPMNetwork(model.network.encoder)
    model.network.query.weight, model.network.key.weight = maps
    model.fold()
    expected = attention(model.network, model.network(inputs()), model.memory.keys, model.memory.labels, 3)
    assert (model(inputs()).softmax(1) - expected).abs().max() < 1e-5
    model.forget(DATA.where("label", 1).ids)
    expected = attention(model.network, model.network(inputs()), model.memory.keys, model.memory.labels, 3)
    assert (model(inputs()).softmax(1) - expected).abs().max() < 1e-5


@pytest.mark.parametrize("name", VARIANTS)
def test_a_class_without_samples_has_no_chance_and_comes_back(name):
    model, before = copy_of(MODELS[name]), MODELS[name](inputs()).softmax(1)
    ids = DATA.where("label", 1).ids
    model.forget(ids)
    chance = model(inputs()).softmax(1)
    assert torch.equal(chance[:, 1], torch.zeros(60))
    if name == "SPM-C":  # the others keep their shares among themselves
        others = before[:, [0, 2]] / before[:, [0, 2]].sum(1, keepdim=True)
        assert torch.allclose(chance[:, [0, 2]], others, atol=1e-6)
    again = Dataset.of(dict(DATA.table.columns), [f"new/{i}" for i in range(60)]).where("label", 1)
    model.add(again)
    assert torch.allclose(model(inputs()).softmax(1), before, atol=1e-6)


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_learns(name):
    assert float((MODELS[name](inputs()).argmax(1) == DATA.read("label")).float().mean()) > 0.9


def neighbours(model, e, k, skip=-1):
    """One query's prediction: attention over its own k nearest stored samples, in a plain loop."""
    rows = [row for row in range(len(model.memory)) if row != skip]
    rows.sort(key=lambda row: float((model.memory.keys[row].double() - e.double()).norm()))
    scores = [
        float(model.network.query(e) @ model.network.key(model.memory.keys[row])) / math.sqrt(len(e))
        for row in rows[:k]
    ]
    shares = torch.tensor(scores, dtype=torch.float64).softmax(0)
    chance = torch.zeros(3, dtype=torch.float64)
    for share, row in zip(shares, rows[:k], strict=True):
        chance[int(model.memory.labels[row])] += share
    return chance


def test_retrieval_is_per_query_and_equals_the_obvious_loop():
    model = MODELS["SPM-R"]
    x = inputs()[:9] + 0.1
    chance = model(x).exp()
    expected = torch.stack([neighbours(model, e, 7) for e in model.network(x)])
    assert (chance - expected).abs().max() < 1e-5
    for mates in (x[:1], x[[0, 8]], torch.cat([x[:1], 100 * x[1:]])):
        assert torch.allclose(model(mates)[0].exp(), chance[0].float(), atol=1e-6)


def test_a_query_may_leave_out_its_own_row():
    memory = MODELS["SPM-R"].memory.select(DATA.ids)
    keys, noisy = memory.keys.clone(), torch.randint(3, (60,), generator=torch.Generator().manual_seed(2))
    memory.remove(DATA.ids)
    memory.add(DATA.ids, keys, labels=noisy, again=True)  # neighbours that disagree
    model = SPMModel(VARIANTS["SPM-R"], TASK, Exposure({}), MODELS["SPM-R"].network, memory)
    own = model.memory.rows(DATA.ids[:6])
    own[5] = -1
    chance = model.predict(inputs()[:6], exclude=own).exp()
    expected = torch.stack(
        [neighbours(model, e, 7, int(skip)) for e, skip in zip(model.network(inputs()[:6]), own, strict=True)]
    )
    assert (chance - expected).abs().max() < 1e-5
    assert not torch.allclose(chance, model(inputs()[:6]).exp(), atol=1e-4)
    model.forget(DATA.ids[5:])
    left = model.predict(inputs()[:5], exclude=own[:5]).exp()  # five rows, seven neighbours asked, one left out
    assert torch.allclose(left.sum(1), torch.ones(5), atol=1e-6)


def test_covariance_is_the_linear_discriminant():
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    g = torch.Generator().manual_seed(0)
    labels = torch.arange(90) % 3
    keys = torch.randn(90, 4, generator=g) @ torch.randn(4, 4, generator=g) + torch.randn(3, 4, generator=g)[labels]
    encoder = nn.Flatten()
    encoder.width = 4
    task = Classification(shape=(4,), classes=3, low=(-1.0,), high=(1.0,), inputs="x")
    memory = Memory(4)
    memory.add([f"{i}" for i in range(90)], keys, labels=labels)
    x = torch.randn(20, 4, generator=g)
    for shrinkage in (0.0, 0.3):
        method = SPM(similarity="covariance", shrinkage=shrinkage)
        log_p = SPMModel(method, task, Exposure({}), SPMNetwork(encoder), memory)(x).log_softmax(1)
        means = np.stack([keys[labels == c].double().numpy().mean(0) for c in range(3)])
        centred = keys.double().numpy() - means[labels.numpy()]
        within = centred.T @ centred / 90
        within += shrinkage * np.diag(within).mean() * np.eye(4)
        apart = x.double().numpy()[:, None] - means
        scores = -0.5 * np.einsum("qcd,de,qce->qc", apart, np.linalg.inv(within), apart)
        expected = torch.from_numpy(scores).log_softmax(1)  # covariances are sums of numbers in steps of 1e-3
        assert np.allclose(log_p, expected, rtol=1e-3, atol=1e-3)
        if not shrinkage:
            lda = LinearDiscriminantAnalysis(solver="lsqr", priors=[1 / 3] * 3).fit(keys.numpy(), labels.numpy())
            assert np.allclose(log_p.exp(), lda.predict_proba(x.numpy()), atol=1e-3)


def test_as_network_has_the_same_logits():
    for name in ("SPM-C", "covariance"):
        model = copy_of(MODELS[name])
        network = model.as_network()
        assert torch.allclose(network(inputs()), model(inputs()), atol=1e-5)
        model.forget(DATA.where("label", 0).ids)
        network = model.as_network()
        assert torch.allclose(network(inputs())[:, 1:], model(inputs())[:, 1:], atol=1e-5)
        assert torch.equal(network(inputs())[:, 0], torch.zeros(60))
        assert all(p.requires_grad for p in network.parameters())
        before = weights_digest(model)
        for p in network.parameters():
            p.data.zero_()
        assert weights_digest(model) == before  # a copy


# --- forgetting -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["SPM-C", "covariance"])
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_forgetting_in_any_order_equals_building_from_what_remains(name, data):
    gone = data.draw(st.lists(st.sampled_from(DATA.ids), unique=True, min_size=1, max_size=59))
    cut = data.draw(st.integers(1, len(gone)))
    model = copy_of(MODELS[name])
    for part in (gone[:cut], gone[cut:]):
        if part:
            model.forget(part)
    assert same(model, copy_of(MODELS[name], [each for each in DATA.ids if each not in set(gone)]))


@pytest.mark.parametrize("name", VARIANTS)
def test_adding_undoes_nothing_but_rows_and_forgetting_undoes_adding(name):
    model, more = copy_of(MODELS[name]), Dataset.of(dict(DATA.table.columns), [f"new/{i}" for i in range(60)])
    before = state(model)
    model.add(more.take(torch.arange(7)))
    assert len(model.memory) == 67
    model.forget([f"new/{i}" for i in range(7)])
    assert state(model) == before


@pytest.mark.parametrize("name", VARIANTS)
def test_weights_are_untouched(name):
    model = copy_of(MODELS[name])
    before = weights_digest(model)
    model.forget(DATA.ids[:50])
    assert weights_digest(model) == before == weights_digest(MODELS[name])


@pytest.mark.parametrize("name", ["SPM-C", "covariance"])
def test_bad_requests_change_nothing(name):
    model = copy_of(MODELS[name])
    model.forget([DATA.ids[0]])
    before, out = state(model), model(inputs())
    cases = [(UnknownSample, ["blob/999", DATA.ids[3]]), (AlreadyForgotten, [DATA.ids[0]]), (EmptyRequest, [])]
    for error, ids in cases:
        with pytest.raises(error) as caught:
            model.forget(ids)
        assert "\n" not in str(caught.value)
        assert state(model) == before
        assert torch.equal(model(inputs()), out)


def test_an_id_named_twice_leaves_once():
    model = copy_of(MODELS["SPM-C"])
    model.forget([DATA.ids[3], DATA.ids[3]])
    assert same(model, copy_of(MODELS["SPM-C"], [each for each in DATA.ids if each != DATA.ids[3]]))


def test_what_cannot_be_added_changes_nothing():
    model = copy_of(MODELS["SPM-C"])
    model.forget([DATA.ids[0]])
    before = state(model)
    huge = Dataset.of({"x": torch.tensor([[1e9, 0.0]]), "label": torch.tensor([0])}, ["huge"])
    with pytest.raises(InvalidData, match=f"below {LIMIT:.0f}"):
        model.add(huge)
    for error, data in ((InvalidData, DATA.take(torch.tensor([5]))), (AlreadyForgotten, DATA.take(torch.tensor([0])))):
        with pytest.raises(error):
            model.add(data)
    assert state(model) == before


# --- guarantees -------------------------------------------------------------------------------------------------------


def test_own_encoder_says_revoked_with_counts():
    model = copy_of(MODELS["SPM-C"])
    more = Dataset.of(dict(DATA.table.columns), [f"new/{i}" for i in range(60)]).take(torch.arange(2))
    model.add(more)
    _, receipt = forget(model, Request("r", DATA.ids[:4]))
    assert (receipt.level, receipt.exposure) == ("revoked", {"encoder": 4})
    assert "4 of 4" in receipt.why
    assert receipt.memory_before != receipt.memory_after
    assert receipt.weights_before == receipt.weights_after
    assert forget(model, Request("r", more.ids))[1].level == "exact"  # the encoder never saw what came later


EXACT = {
    "mlp": (dataclasses.replace(METHOD, encoder="public"), HALF, TASK),
    "mlp, SPM-R": (dataclasses.replace(METHOD, encoder="public", retrieval="nearest", neighbours=5), HALF, TASK),
    "mlp, covariance": (dataclasses.replace(METHOD, encoder="public", similarity="covariance"), HALF, TASK),
    "convnet": (SPM(network="convnet widths=4,8 groups=2", encoder="public", training="episodes", support=9,
                    recipe=TINY), PICTURES, PICTURE_TASK),
    "frozen": (SPM(network="mlp width=10", encoder="frozen", similarity="covariance"), DATA, TASK),
}  # fmt: skip


@pytest.mark.parametrize("case", EXACT)
def test_exact_is_meant_bit_for_bit(case):
    method, data, task = EXACT[case]
    model = method.train(data, task, seeds=[3])[0]
    assert set(model.memory.ids) == set(data.private.ids)
    ids = [*data.private.ids[1:4], *data.private.ids[-9:]]
    model, receipt = forget(model, Request("r", ids))
    assert (receipt.level, receipt.exposure) == ("exact", {})
    twin = method.train(data.without(ids), task, seeds=[3])[0]
    assert same(model, twin)
    turned = (
        data.without(ids).take(torch.arange(len(data) - len(ids)).flip(0)) if case == "frozen" else data.without(ids)
    )
    assert same(model, method.train(turned, task, seeds=[3])[0])
    fewest = data.without(data.private.ids[1:])  # one private sample
    assert weights_digest(method.train(fewest, task, seeds=[3])[0]) == weights_digest(model)


@pytest.mark.parametrize(("spec", "shape"), [("mlp width=10", (30,)), ("convnet widths=8,16 groups=4", (3, 8, 8))])
def test_an_embedding_has_the_same_bits_whoever_else_is_embedded(spec, shape):
    """In plain batches it need not: a matrix product may round a row by its place, and by how many there are."""
    n = 150
    x = torch.randn(n, *shape, generator=torch.Generator().manual_seed(0))
    data = Dataset.of({"image": x, "label": torch.zeros(n, dtype=torch.long)}, [f"{i}" for i in range(n)])
    task = Classification(shape=shape, classes=1, low=(-1.0,), high=(1.0,))
    network = SPM(network=spec).network_for(task).train()
    everyone = embed(network, task, data)
    assert network.training
    assert torch.allclose(everyone, network.eval()(x), atol=1e-5)
    for at in (torch.arange(n).flip(0), torch.arange(7, 40), torch.tensor([149, 3]), torch.tensor([77])):
        assert torch.equal(embed(network, task, data.take(at)), everyone[at])


def test_exposure_of_frozen_and_fitted_parts():
    fitted = dataclasses.replace(TASK, fitted=True)
    model = EXACT["frozen"][0].train(DATA, fitted, seeds=[0])[0]
    assert model.exposure.of(DATA.ids[:2]) == {"input scaling": 2}
    model = EXACT["mlp"][0].train(HALF, fitted, seeds=[0])[0]
    assert model.exposure.of([HALF.public.ids[0], *HALF.private.ids[:2]]) == {"encoder": 1, "input scaling": 3}
    assert MODELS["SPM-C"].exposure.of(DATA.ids) == {"encoder": 60}


# --- training ---------------------------------------------------------------------------------------------------------


def started(kind, method=METHOD, data=DATA, task=TASK, seeds=(4, 5)):
    objective = kind(method, task)
    networks = []
    for seed in seeds:
        with seeded(seed, "init"):
            networks.append(objective.build())
    return objective, networks, objective.start(data, networks, seeds)


class SlowBank:
    """Every sample's last embedding and weight, in Python."""

    def __init__(self, bank, labels, decay):
        self.held = [(1.0, e.double()) for e in bank]
        self.labels, self.decay = labels.tolist(), decay

    def step(self, rows, e):
        self.held = [(weight * self.decay, each) for weight, each in self.held]
        for row, each in zip(rows.tolist(), e, strict=True):
            self.held[row] = (1.0, each.double())

    def mean(self, label, without=None):
        rows = [i for i, y in enumerate(self.labels) if y == label and i != without]
        total = sum((self.held[i][0] * self.held[i][1] for i in rows), torch.zeros_like(self.held[0][1]))
        weight = sum(self.held[i][0] for i in rows)
        return total / weight if weight else total


@pytest.mark.parametrize("decay", [0.9, 1.0, 0.5])
@pytest.mark.parametrize("exclude", [True, False])
def test_bank_means_leave_the_query_out(decay, exclude):
    method = dataclasses.replace(METHOD, decay=decay, self_exclusion=exclude)
    task = task_of(5)  # nobody has labels 3 and 4, but for one sample with label 3
    labels = DATA.read("label").clone()
    labels[17] = 3
    data = Dataset.of({"x": DATA.read("x"), "label": labels}, DATA.ids)
    objective, _, state = started(_BankObjective, method, data, task)
    slow = [SlowBank(bank, labels, decay) for bank in state.bank]
    g = torch.Generator().manual_seed(0)
    for step in range(12):
        rows = torch.stack([torch.randperm(60, generator=g)[:8] for _ in range(2)])
        rows[:, 0] = 17 if step % 3 else rows[:, 0]
        rows = torch.stack([row.unique()[:6] for row in rows])
        batch = objective.batch(data, rows, torch.empty(2, 6, 0), state)
        assert torch.equal(batch["absent"], torch.tensor([[False] * 4 + [True]] * 2))
        for m in range(2):
            for c in range(4):
                assert torch.allclose(batch["means"][m, c].double(), slow[m].mean(c), atol=1e-5)
            for b, row in enumerate(rows[m].tolist()):
                expected = slow[m].mean(int(labels[row]), row if exclude else None)
                assert torch.allclose(batch["own"][m, b].double(), expected, atol=1e-5)
        e = torch.randn(2, 6, 10, generator=g)
        objective.after(rows, batch, {"e": e}, state, 1.0)
        for each, row, now in zip(slow, rows, e, strict=True):
            each.step(row, now)


def test_means_of_a_class_that_is_seen_rarely_do_not_fade_away():
    objective, _, state = started(_BankObjective, dataclasses.replace(METHOD, decay=0.5))
    rows = torch.arange(60)[DATA.read("label") != 2][:8].expand(2, 8)
    before = objective.batch(DATA, rows, torch.empty(2, 8, 0), state)["means"]
    for _ in range(1500):  # 0.5^1500 is 0 in float64 too
        objective.after(rows, {}, {"e": torch.ones(2, 8, 10)}, state, 1.0)
    late = torch.tensor([[2], [5]])
    batch = objective.batch(DATA, late, torch.empty(2, 1, 0), state)
    assert torch.allclose(batch["means"][:, 2], before[:, 2], rtol=1e-4)
    for m in range(2):
        others = [i for i in range(60) if i % 3 == 2 and i != int(late[m])]
        assert torch.allclose(batch["own"][m, 0], state.bank[m, others].mean(0), rtol=1e-4)


def losses(kind, method, rows, data=DATA, task=TASK):
    """The loss of each member on its first batch, and that batch."""
    objective, networks, state = started(kind, method, data, task)
    uniform = torch.rand(*rows.shape, objective.draws, generator=torch.Generator().manual_seed(0))
    batch = objective.batch(data, rows, uniform, state)
    each = [objective.loss(network, {name: t[m] for name, t in batch.items()})[0] for m, network in enumerate(networks)]
    return torch.stack(each).detach(), batch


ROWS = torch.stack([torch.arange(0, 9), torch.arange(30, 39)])


def test_bank_loss_by_hand():
    found, _ = losses(_BankObjective, METHOD, ROWS)
    _, networks, _ = started(_BankObjective)
    for loss, network, rows in zip(found, networks, ROWS, strict=True):
        network = network.double()
        e, labels = network(inputs().double()), DATA.read("label")
        expected = []
        for row in rows.tolist():
            scores = []
            for c in range(3):
                mean = torch.stack([e[i] for i in range(60) if labels[i] == c and i != row]).mean(0)
                scores.append(network.query(e[row]) @ network.key(mean) / math.sqrt(10))
            expected.append(-torch.stack(scores).log_softmax(0)[labels[row]])
        assert abs(float(loss) - float(torch.stack(expected).mean().detach())) < 1e-5


def test_episode_loss_by_hand():
    method = VARIANTS["episodes"]
    found, batch = losses(_EpisodeObjective, method, ROWS)
    _, networks, _ = started(_EpisodeObjective, method)
    for m, (loss, network) in enumerate(zip(found, networks, strict=True)):
        labels = batch["member"][m].argmax(0)  # of the support
        chance = attention(network, network(batch["inputs"][m]), network(batch["support"][m]), labels, 3)
        expected = -chance[torch.arange(9), batch["labels"][m]].log().mean()
        assert abs(float(loss) - float(expected)) < 1e-5


def test_self_exclusion_changes_the_loss():
    with_query = dataclasses.replace(METHOD, self_exclusion=False)
    ours, theirs = (losses(_BankObjective, method, ROWS)[0] for method in (METHOD, with_query))
    assert bool(((ours - theirs).abs() > 1e-5).all())


@pytest.mark.parametrize("kind", [_BankObjective, _EpisodeObjective])
@pytest.mark.parametrize("classes", [3, 6])  # with 6, three classes have no samples
def test_permuting_labels_is_applied_and_changes_nothing(kind, classes):
    plain, permuted = (dataclasses.replace(METHOD, support=12, permute_labels=each) for each in (False, True))
    task = task_of(classes)
    a, before = losses(kind, plain, ROWS, task=task)
    b, after = losses(kind, permuted, ROWS, task=task)
    assert torch.equal(before["labels"], DATA.read("label")[ROWS])
    for m in range(2):
        names = {(int(x), int(y)) for x, y in zip(before["labels"][m], after["labels"][m], strict=True)}
        assert len(names) == 3  # one new name per old one
        assert len({y for _, y in names}) == 3
    assert not torch.equal(before["labels"], after["labels"])
    assert (before["absent"].sum(1) == classes - 3).all()
    assert (after["absent"].sum(1) == classes - 3).all()
    assert (a - b).abs().max() < 1e-6


def test_permuting_labels_throughout_training_gives_the_same_network():
    plain, permuted = (
        fit(_BankObjective(dataclasses.replace(METHOD, permute_labels=each), task_of(5)), DATA, TINY, seeds=[1])[0][0]
        for each in (False, True)
    )
    for p, q in zip(plain.parameters(), permuted.parameters(), strict=True):
        assert torch.allclose(p, q, atol=1e-3)


@given(st.lists(st.integers(0, 4), min_size=4, max_size=40), st.integers(1, 12), st.integers(5, 30), st.integers(0, 99))
def test_support_sets(labels, size, support, seed):
    n, size = len(labels), min(size, len(labels))
    g = torch.Generator().manual_seed(seed)
    batch = torch.randperm(n, generator=g)[:size]
    labels = torch.tensor(labels)
    data = Dataset.of({"x": torch.zeros(n, 2), "label": labels}, [f"{i}" for i in range(n)])
    objective, _, state = started(_EpisodeObjective, dataclasses.replace(METHOD, support=support), data, task_of(5))
    chosen = objective._support(batch, state, g)
    asked = labels[batch].unique()
    assert len(chosen) == support
    counts = torch.bincount(labels[chosen], minlength=5)[asked]
    assert int(counts.sum()) == support  # labels of the batch alone
    assert int(counts.max() - counts.min()) <= 1
    assert counts.tolist() == sorted(counts.tolist(), reverse=True)
    for label, quota in zip(asked.tolist(), counts.tolist(), strict=True):
        others = set(torch.nonzero(labels == label).flatten().tolist()) - set(batch.tolist())
        taken = chosen[labels[chosen] == label].tolist()
        if others:
            assert set(taken) <= others  # none of the batch
            assert len(set(taken)) == min(quota, len(others))  # repeated only when there are too few
        else:
            assert set(taken) <= set(batch.tolist())


def test_support_sets_differ_from_step_to_step_and_between_members():
    objective, _, state = started(_EpisodeObjective, VARIANTS["episodes"])
    drawn = [objective._support(torch.arange(6), state, g).tolist() for g in state.draw for _ in range(2)]
    assert len({tuple(each) for each in drawn}) == 4


def test_without_self_exclusion_the_batch_may_support_itself():
    method = dataclasses.replace(METHOD, support=60, self_exclusion=False)
    objective, _, state = started(_EpisodeObjective, method)
    chosen = objective._support(torch.arange(30), state, state.draw[0])
    assert sorted(chosen.tolist()) == list(range(60))


def test_covariance_trains_its_encoder_with_an_ordinary_head_and_throws_that_away():
    told = []
    method = dataclasses.replace(VARIANTS["covariance"], encoder="public")
    model = method.train(HALF, TASK, seeds=[2], progress=lambda *each: told.append(each))[0]
    plain = Network(network="mlp width=10", recipe=TINY).train(HALF.public, TASK, seeds=[2])[0].network.encoder
    assert weights_digest(model.network.encoder) == weights_digest(plain)
    assert all(name.startswith("network.encoder.") for name in model.state_dict())
    assert told[-1][0] == told[-1][1]
    assert not any(p.requires_grad for p in model.parameters())


def test_a_support_smaller_than_the_classes_is_refused():
    with pytest.raises(SettingsError, match="support=2 for 3 classes"):
        dataclasses.replace(METHOD, training="episodes", support=2).train(DATA, TASK, seeds=[0])


def test_batch_normalisation_trains_one_by_one():
    method = SPM(network="resnet widths=4 blocks=1 norm=batch", recipe=TINY, sequential=True)
    _, together = method.train(PICTURES, PICTURE_TASK, seeds=[0, 1])
    assert same(together, method.train(PICTURES, PICTURE_TASK, seeds=[1])[0])


# --- storing, settings ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", VARIANTS)
def test_restored_models_predict_and_forget_alike(name):
    model = copy_of(MODELS[name])
    model.forget(DATA.ids[:5])
    weights = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    before = torch.get_rng_state()
    twin = model.method.restore(TASK, weights, model.memory.select(model.memory.ids), model.exposure)
    model.as_network()
    assert torch.equal(torch.get_rng_state(), before)
    assert same(model, twin)
    assert torch.equal(model(inputs()), twin(inputs()))
    for each in (model, twin):
        each.forget(DATA.ids[5:9])
    assert same(model, twin)
    with pytest.raises(CorruptRun):
        model.method.restore(TASK, weights, None, model.exposure)


def test_the_memory_holds_the_embeddings_and_the_sums_are_theirs():
    model = MODELS["SPM-C"]
    rows = model.memory.rows(DATA.ids)
    assert torch.allclose(model.memory.keys[rows], model.network(inputs()), atol=1e-5)
    assert torch.equal(model.memory.labels[rows], DATA.read("label"))
    sums = ClassSums(3, 10)
    sums.add(model.memory.keys, model.memory.labels)
    assert torch.equal(sums.sums, model.sums.sums)


def test_public_needs_both_parts():
    for data in (DATA, DATA.declare_public(DATA.ids)):
        with pytest.raises(DataError) as caught:
            dataclasses.replace(METHOD, encoder="public").train(data, TASK, seeds=[0])
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("wrong", [
    {"encoder": "frozen"}, {"retrieval": "nearest", "similarity": "covariance"}, {"encoder": "pubic"},
    {"training": "episode"}, {"similarity": "cosine"}, {"retrieval": "near"}, {"neighbours": 0}, {"support": 0},
    {"decay": 0.0}, {"decay": 1.1}, {"shrinkage": -0.1},
])  # fmt: skip
def test_settings_are_checked(wrong):
    with pytest.raises(SettingsError) as caught:
        SPM(**wrong)
    assert "\n" not in str(caught.value)


def test_other_tasks_are_refused():
    with pytest.raises(TaskMismatch):
        METHOD.train(DATA, object(), seeds=[0])
