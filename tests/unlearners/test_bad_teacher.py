"""Bad teacher: its step beside the obvious loop, whose answers the forgotten samples get, and what it refuses."""

import copy
import dataclasses

import pytest
import torch
import torch.nn.functional as F

from erasable._plumbing.seeds import child
from erasable._plumbing.untrained import untrained
from erasable.errors import SettingsError, TaskMismatch
from erasable.tasks.classification import Classification
from erasable.unlearners.bad_teacher import BadTeacher
from tests.unlearners.by_heart import DATA, MODEL, SPLIT, TASK, accuracy, rise

SEEN = set()


def log_answers(model, data, temperature=1.0):
    batch = TASK.batch(data, torch.arange(len(data)))
    return (TASK.logits(model, batch) / temperature).log_softmax(1)


def kl(model, teacher, data):
    with torch.no_grad():
        return float(F.kl_div(log_answers(model, data), log_answers(teacher, data), log_target=True,
                              reduction="batchmean"))  # fmt: skip


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_step_beside_the_obvious_loop(temperature):
    bad = untrained(MODEL, TASK, child(5, "bad teacher"))
    twin = copy.deepcopy(MODEL).requires_grad_(True)
    optimizer = torch.optim.Adam(twin.parameters(), lr=0.01)
    for _ in range(4):  # at a constant learning rate
        total = 0.0
        for data, teacher in ((SPLIT.forget, bad), (SPLIT.retain, MODEL)):
            with torch.no_grad():
                target = log_answers(teacher, data, temperature)
            given = log_answers(twin, data, temperature)
            for p, q in zip(target, given, strict=True):
                total = total + (p.exp() * (p - q)).sum()
        optimizer.zero_grad()
        (total / len(DATA)).backward()
        optimizer.step()
    method = BadTeacher(share=1.0, epochs=4, lr=0.01, batch=1000, temperature=temperature)
    model = method(copy.deepcopy(MODEL), SPLIT, TASK, seed=5)
    assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(model.parameters(), twin.parameters(), strict=True))


def test_the_forgotten_get_the_answers_of_an_untrained_network():
    bad = untrained(MODEL, TASK, child(1, "bad teacher"))
    method = BadTeacher(share=1.0, epochs=30, lr=0.01, batch=16)
    model = method(copy.deepcopy(MODEL), SPLIT, TASK, seed=1)
    assert kl(model, bad, SPLIT.forget) < 0.1 < kl(MODEL, bad, SPLIT.forget)
    assert kl(model, MODEL, SPLIT.retain) < 0.1 < kl(bad, MODEL, SPLIT.retain)
    assert rise(model) > 0.1
    assert accuracy(model, SPLIT.forget) < 0.7
    assert accuracy(model, SPLIT.retain) > 0.95


class Watched(Classification):
    """Notes which samples are read."""

    def batch(self, data, at):
        SEEN.update(data.take(at).ids)
        return super().batch(data, at)


def test_only_a_share_of_what_stays_is_read():
    SEEN.clear()
    task = Watched(**dataclasses.asdict(TASK))
    BadTeacher(epochs=2, batch=16)(copy.deepcopy(MODEL), SPLIT, task, seed=0)
    assert len(SEEN & set(SPLIT.retain.ids)) == round(0.3 * len(SPLIT.retain))
    assert set(SPLIT.forget.ids) <= SEEN


def test_refusals():
    with pytest.raises(TaskMismatch, match="BadTeacher compares answers"):
        BadTeacher()(MODEL, SPLIT, object(), seed=0)
    for settings in ({"share": 0.0}, {"share": 1.5}, {"temperature": 0}, {"lr": 0}):
        with pytest.raises(SettingsError):
            BadTeacher(**settings)
