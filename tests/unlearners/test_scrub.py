"""SCRUB beside the obvious loop, where it rewinds to, what it does, and what it refuses."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from erasable.contracts import check_unlearner
from erasable.errors import RequestError, SettingsError, TaskMismatch
from erasable.request import Request
from erasable.tasks.language import NextToken
from erasable.unlearners.scrub import SCRUB, Rewinding, set_aside, wrong
from tests.unlearners.by_heart import DATA, MODEL, NETWORK, SPLIT, TASK, WIDTH, accuracy, rise

STRONG = {"lr": 0.1, "batch": 16, "forget_batch": 2, "epochs": 6, "ascents": 4}


def batch_of(data):
    return TASK.batch(data, torch.arange(len(data)))


def test_beside_the_obvious_loop():
    noisy = copy.deepcopy(MODEL)  # of the student: as trained, it is its teacher, and the first ascent has no gradient
    twin, optimizer = copy.deepcopy(MODEL).requires_grad_(True), None
    optimizer = torch.optim.SGD(twin.parameters(), lr=0.05, momentum=0.9, weight_decay=0.01)

    def apart(data):
        with torch.no_grad():
            p = F.softmax(MODEL(batch_of(data)["inputs"]) / 2.0, 1)
        q = F.log_softmax(twin(batch_of(data)["inputs"]) / 2.0, 1)
        return F.kl_div(q, p, reduction="batchmean") * 4.0

    for epoch in (1, 2, 3):
        optimizer.param_groups[0]["lr"] = 0.05 if epoch <= 2 else 0.005
        for erase in (True, False) if epoch <= 2 else (False,):
            mean = F.cross_entropy(twin(batch_of(SPLIT.retain)["inputs"]), batch_of(SPLIT.retain)["labels"])
            loss = -apart(SPLIT.forget) if erase else 0.3 * apart(SPLIT.retain) + 0.7 * mean
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    method = SCRUB(alpha=0.3, gamma=0.7, temperature=2.0, ascents=2, epochs=3, lr=0.05, decay_at=(2,), batch=1000,
                   forget_batch=1000, weight_decay=0.01)  # fmt: skip
    model = method(noisy, SPLIT, TASK, seed=0)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(model.parameters(), twin.parameters(), strict=True))
    assert not any(torch.allclose(a, b, atol=1e-4) for a, b in zip(model.parameters(), MODEL.parameters(), strict=True))


def test_the_first_ascent_alone_does_nothing_to_a_network_without_batch_statistics():
    method = SCRUB(alpha=0.0, gamma=0.0, ascents=1, epochs=1, lr=0.1, weight_decay=0.0)
    model = method(copy.deepcopy(MODEL), SPLIT, TASK, seed=0)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(model.parameters(), MODEL.parameters(), strict=True))


def test_it_forgets_and_the_rest_stays():
    settings = {**STRONG, "alpha": 0.5, "decay_at": ()}
    model = SCRUB(**settings)(copy.deepcopy(MODEL), SPLIT, TASK, seed=1)
    assert rise(model) > 0.1
    assert accuracy(model, SPLIT.forget) < 0.7
    assert accuracy(model, SPLIT.retain) > 0.95
    tame = SCRUB(**{**settings, "ascents": 0})(copy.deepcopy(MODEL), SPLIT, TASK, seed=1)
    assert rise(tame) < 0.02


def test_statistics_of_batches_come_from_what_stays():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(WIDTH, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    kept = network[0](batch_of(SPLIT.retain)["inputs"]).detach()
    SCRUB(epochs=1, ascents=1, lr=1e-9, batch=1000)(network, SPLIT, TASK, seed=0)
    assert torch.allclose(network[1].running_mean, 0.1 * kept.mean(0), atol=1e-5)


# --- rewinding -------------------------------------------------------------------------------------------------------


def test_it_goes_back_to_the_nearest_error_and_the_later_of_two():
    states = [(error, {"epoch": torch.tensor(i)}) for i, error in enumerate([0.0, 0.5, 0.5, 1.0])]
    for reference, epoch in ((0.6, 2), (0.1, 0), (0.8, 3), (0.75, 3), (0.25, 2)):
        assert int(Rewinding(TASK, SPLIT.forget, None, reference, states).nearest(MODEL)["epoch"]) == epoch


def test_rewinding_is_one_of_the_epochs():
    ends = [SCRUB(**{**STRONG, "epochs": each, "ascents": min(4, each)})(copy.deepcopy(MODEL), SPLIT, TASK, seed=1)
            for each in range(1, 7)]  # fmt: skip
    errors = [float(wrong(each, TASK, SPLIT.forget).mean()) for each in ends]
    assert max(errors) > 0.5
    for reference in (0.0, 1.0):
        model = SCRUB(**STRONG, rewind=True, reference=reference)(copy.deepcopy(MODEL), SPLIT, TASK, seed=1)
        error = float(wrong(model, TASK, SPLIT.forget).mean())
        assert abs(error - reference) == min(abs(each - reference) for each in errors)
        assert any(all(torch.allclose(a, b, atol=1e-6) for a, b in zip(model.parameters(), each.parameters(),
                                                                      strict=True)) for each in ends)  # fmt: skip


def test_what_stands_for_unseen_samples_takes_no_part():
    labels = batch_of(SPLIT.forget)["labels"].tolist()
    unseen, rest = set_aside(TASK, SPLIT, 0.2, seed=3)
    assert sorted((*unseen.ids, *rest.ids)) == sorted(SPLIT.retain.ids)
    assert [batch_of(unseen)["labels"].tolist().count(c) for c in range(3)] == [4, 4, 4]  # a fifth of 22
    one = Request("r", [DATA.ids[0], DATA.ids[3]]).split(DATA)
    assert set(batch_of(set_aside(TASK, one, 0.2, seed=3)[0])["labels"].tolist()) == {labels[0]}
    method = SCRUB(epochs=1, ascents=0, rewind=True, aside=0.2, batch=1000, lr=0.1)
    twin = SCRUB(epochs=1, ascents=0, batch=1000, lr=0.1)
    kept = set_aside(TASK, SPLIT, 0.2, seed=7)[1]
    expected = twin(copy.deepcopy(MODEL), type(SPLIT)(SPLIT.forget, kept), TASK, seed=7)
    model = method(copy.deepcopy(MODEL), SPLIT, TASK, seed=7)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), expected.parameters(), strict=True))


def test_the_reference_weighs_classes_as_they_are_forgotten():
    class Says(nn.Module):  # class 0, whatever it sees
        def forward(self, x):
            return torch.tensor([1.0, 0.0, 0.0]).expand(len(x), 3)

    label = batch_of(DATA)["labels"]
    zeros, ones = (torch.nonzero(label == c).flatten() for c in (0, 1))
    forget = DATA.take(torch.cat([zeros[:1], ones[:3]]))
    unseen = DATA.take(torch.cat([zeros[5:15], ones[5:7]]))
    assert Rewinding(TASK, forget, unseen, None).error(Says(), unseen) == pytest.approx(0.75)


def test_rewinding_keeps_the_contracts():
    check_unlearner(SCRUB(rewind=True, batch=32), NETWORK, DATA, TASK, ids=SPLIT.forget.ids)


def test_refusals():
    whole = Request("r", DATA.where("label", 1).ids).split(DATA)
    with pytest.raises(RequestError, match="0 samples of class 1 stay"):
        SCRUB(rewind=True)(copy.deepcopy(MODEL), whole, TASK, seed=0)
    SCRUB(rewind=True, reference=0.9)(copy.deepcopy(MODEL), whole, TASK, seed=0)
    with pytest.raises(TaskMismatch, match="SCRUB compares answers"):
        SCRUB()(MODEL, SPLIT, object(), seed=0)
    with pytest.raises(TaskMismatch, match="SCRUB needs labels"):
        SCRUB(rewind=True)(MODEL, SPLIT, NextToken(vocabulary=3, length=4), seed=0)
    for settings in ({"ascents": 4}, {"alpha": -1}, {"temperature": 0}, {"aside": 0}, {"reference": 1.5}, {"lr": 0}):
        with pytest.raises(SettingsError):
            SCRUB(**settings)
