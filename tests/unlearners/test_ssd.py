"""SSD, LFSSD and ASSD: dampening by hand, what the order of the data does, and importances that are kept."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F

from erasable._plumbing.gradients import flat
from erasable.dataset import Dataset
from erasable.errors import SettingsError, TaskMismatch
from erasable.network import Network
from erasable.request import Request, Split
from erasable.tasks.language import NextToken
from erasable.train import Recipe
from erasable.unlearner import weights_digest
from erasable.unlearners import ssd
from erasable.unlearners.ssd import SSD, adaptive_alpha
from tests.toys import BETWEEN, NETWORK, between, blob_task, blobs, sentences

TASK = blob_task()
DATA = blobs(48)
MODEL = NETWORK.train(DATA, TASK, seeds=[0])[0]
SPLIT = Request("r", DATA.where("label", 2).ids).split(DATA)  # 16 go, 32 stay


def unlearned(model=MODEL, split=SPLIT, **settings):
    return SSD(**settings)(copy.deepcopy(model), split, TASK, seed=0)


def changed(model, before=MODEL):
    return sum(int((a != b).sum()) for a, b in zip(model.parameters(), before.parameters(), strict=True))


def importances(data_parts, *, outputs=False):
    """As the paper says it: batch by batch, parameter by parameter."""
    net = copy.deepcopy(MODEL).eval().requires_grad_(True)
    total = {name: torch.zeros_like(p) for name, p in net.named_parameters()}
    for x, y in data_parts:
        net.zero_grad()
        (net(x).square().sum(1).mean() if outputs else F.cross_entropy(net(x), y)).backward()
        for name, p in net.named_parameters():
            total[name] += (p.grad.abs() if outputs else p.grad.square()) / len(data_parts)
    return total


def parts(data, size):
    batch = TASK.batch(data, torch.arange(len(data)))
    return list(zip(batch["inputs"].split(size), batch["labels"].split(size), strict=True))


def in_turn(*datasets):
    return Dataset(DATA.table, torch.cat([torch.from_numpy(each.rows) for each in datasets]).numpy())


@pytest.mark.parametrize("strength", [1.0, 0.3])
@pytest.mark.parametrize("outputs", [False, True])
@pytest.mark.parametrize("order", ["forget last", "stored"])
def test_a_dampening_by_hand(order, outputs, strength):
    everything = in_turn(SPLIT.retain, SPLIT.forget) if order == "forget last" else DATA
    goes = importances(parts(SPLIT.forget, 10), outputs=outputs)
    whole = importances(parts(everything, 10), outputs=outputs)
    model = unlearned(alpha=1.3, strength=strength, batch=10, order=order,
                      importance="outputs" if outputs else "loss")  # fmt: skip
    assert 0 < changed(model) < sum(p.numel() for p in model.parameters())
    for (name, after), before in zip(model.named_parameters(), MODEL.parameters(), strict=True):
        for w, u, f, d in zip(*(t.flatten().tolist() for t in (after, before, goes[name], whole[name])), strict=True):
            expected = u * min(1.0, strength * d / f) if f > 1.3 * d else u
            assert w == pytest.approx(expected, rel=1e-4, abs=1e-6)
    assert not model.training
    assert not any(p.requires_grad for p in model.parameters())


def test_with_batches_of_their_own_the_ratio_is_bounded_and_mixed_it_is_not():
    bound = len(DATA) / len(SPLIT.forget)  # batches of 16: no batch holds samples of both kinds
    assert changed(unlearned(alpha=bound, batch=16)) == 0
    assert changed(unlearned(alpha=0.8 * bound, batch=16)) > 0
    assert changed(unlearned(alpha=bound, batch=16, order="stored")) > 0


def test_it_forgets_a_class_and_keeps_the_others():
    data = between()
    model = BETWEEN.train(data, TASK, seeds=[0])[0]
    split = Request("c", data.where("label", 2).ids).split(data)

    def right(net, part):
        batch = TASK.batch(part, torch.arange(len(part)))
        return float((net(batch["inputs"]).argmax(1) == batch["labels"]).float().mean())

    assert right(model, split.forget) > 0.95
    for settings in ({"alpha": 2.0}, {"alpha": 2.0, "importance": "outputs"}):
        after = unlearned(model, split, batch=16, **settings)
        assert right(after, split.forget) < 0.5
        assert right(after, split.retain) > 0.95


def test_the_adaptive_alpha_selects_the_stated_percentage():
    g = torch.Generator().manual_seed(0)
    ratios = torch.rand(10_000, generator=g)
    whole = torch.rand(10_000, generator=g) + 0.5
    for share in (0.01, 0.1, 0.5):
        alpha = adaptive_alpha(ratios * whole, whole, share)
        expected = math.log(1 + 100 * share)  # percent; 0.69 where 1 % goes
        assert abs(100 * float((ratios > alpha).float().mean()) - expected) < 0.05
    nothing = torch.zeros(100)
    assert adaptive_alpha(nothing, nothing, 0.1) == math.inf
    found = adaptive_alpha(torch.cat([ratios * whole, nothing]), torch.cat([whole, nothing]), 0.1)
    assert found == pytest.approx(adaptive_alpha(ratios * whole, whole, 0.1))  # 0 / 0 is not counted


def test_assd_is_ssd_with_that_alpha():
    loose = SSD(alpha=None, batch=16)
    goes, whole = (flat(loose.importances(MODEL, TASK, data, "v")) for data in (SPLIT.forget, loose.everything(SPLIT)))
    alpha = adaptive_alpha(goes, whole, 1 / 3)
    assert changed(unlearned(alpha=None, batch=16)) == int((goes > alpha * whole).sum()) > 0
    assert weights_digest(unlearned(alpha=None, batch=16)) == weights_digest(unlearned(alpha=alpha, batch=16))


@pytest.fixture
def passes(monkeypatch):
    """The size of each data set that a pass was made over."""
    told, real = [], ssd.batch_importance
    monkeypatch.setattr(ssd, "batch_importance", lambda model, task, data, **kw: (
        told.append(len(data)), real(model, task, data, **kw))[1])  # fmt: skip
    return told


def test_importances_are_kept_per_model_version(passes):
    method = SSD(alpha=1.5, batch=8, order="stored")
    first = method(copy.deepcopy(MODEL), SPLIT, TASK, seed=0)
    assert passes == [16, 48]
    again = method(copy.deepcopy(MODEL), SPLIT, TASK, seed=0)
    assert passes == [16, 48]
    assert (
        weights_digest(first) == weights_digest(again) == weights_digest(unlearned(alpha=1.5, batch=8, order="stored"))
    )
    passes.clear()
    method(copy.deepcopy(MODEL), Request("other", DATA.ids[:5]).split(DATA), TASK, seed=0)
    assert passes == [5]  # the same model and data, whoever asks
    passes.clear()
    method(copy.deepcopy(first), SPLIT, TASK, seed=0)
    assert passes == [16, 48]  # another version of the model
    assert len(method._kept) == ssd.KEPT
    method.clear()
    assert not method._kept
    passes.clear()
    for batch in (8, 16):  # each object keeps its own, and batches are part of the name
        SSD(batch=batch)(copy.deepcopy(MODEL), SPLIT, TASK, seed=0)
    assert passes == [16, 48] * 2


def test_what_is_kept_is_no_setting_and_is_not_changed_by_use():
    method = SSD(alpha=1.5, batch=16)
    method(copy.deepcopy(MODEL), SPLIT, TASK, seed=0)
    kept = [flat(each).clone() for each in method._kept.values()]
    method(copy.deepcopy(MODEL), SPLIT, TASK, seed=0)
    assert all(torch.equal(a, flat(b)) for a, b in zip(kept, method._kept.values(), strict=True))
    assert method == SSD(alpha=1.5, batch=16)
    assert "_kept" not in repr(method)


def test_text_with_either_importance():
    lines = sentences()
    task = NextToken.of(lines)
    gpt = Network(network="gpt width=8 depth=1 heads=2", recipe=Recipe(epochs=2, batch=8, lr=0.01))
    model, split = gpt.train(lines, task, seeds=[0])[0], Request("r", lines.ids[:4]).split(lines)
    for importance in ("loss", "outputs"):
        after = SSD(alpha=1.1, batch=4, importance=importance)(copy.deepcopy(model), split, task, seed=0)
        assert 0 < changed(after, model) < sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("settings", [{"alpha": 0.0}, {"alpha": -1.0}, {"strength": 0.0}, {"batch": 0},
                                      {"importance": "labels"}, {"order": "random"}])  # fmt: skip
def test_refused_settings(settings):
    with pytest.raises(SettingsError):
        SSD(**settings)


def test_halves_of_different_data_sets_are_refused():
    with pytest.raises(TaskMismatch, match=r"Request\.split"):
        unlearned(split=Split(forget=blobs(12), retain=DATA))
