"""SalUn: which weights are salient, that the others do not move, what it does, and what it refuses."""

import copy

import pytest
import torch

from erasable.errors import SettingsError, TaskMismatch
from erasable.tasks.language import NextToken
from erasable.unlearners.random_labels import RandomLabels
from erasable.unlearners.salun import SalUn
from tests.unlearners.by_heart import MODEL, SPLIT, TASK, accuracy, rise


def saliency():
    twin = copy.deepcopy(MODEL).requires_grad_(True)
    mean = TASK.losses(twin, TASK.batch(SPLIT.forget, torch.arange(6))).mean()
    return torch.cat([g.abs().flatten() for g in torch.autograd.grad(mean, list(twin.parameters()))])


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_the_most_salient_share_of_all_weights_together(share):
    chosen = torch.cat([each.flatten() for each in SalUn(share=share, batch=4).salient(MODEL, TASK, SPLIT.forget)])
    found = saliency()
    assert int(chosen.sum()) == round(share * len(found))
    if share < 1:
        assert found[chosen].min() >= found[~chosen].max()


def test_weights_that_are_not_salient_keep_their_bits():
    method = SalUn(share=0.3, batch=16, lr=0.3, weight_decay=0.01)
    moving = method.salient(MODEL, TASK, SPLIT.forget)
    model = method(copy.deepcopy(MODEL), SPLIT, TASK, seed=1)
    for weight, old, free in zip(model.parameters(), MODEL.parameters(), moving, strict=True):
        assert torch.equal(weight[~free], old[~free]), "decay and momentum moved it"
        assert not free.any() or not torch.equal(weight[free], old[free])


def test_with_all_weights_it_is_random_labels():
    shared = {"batch": 16, "lr": 0.1, "epochs": 2}
    one = SalUn(share=1.0, **shared)(copy.deepcopy(MODEL), SPLIT, TASK, seed=2)
    other = RandomLabels(**shared)(copy.deepcopy(MODEL), SPLIT, TASK, seed=2)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_it_forgets_and_the_rest_stays():
    model = SalUn(batch=16, lr=0.3)(copy.deepcopy(MODEL), SPLIT, TASK, seed=1)
    assert rise(model) > 0.1
    assert accuracy(model, SPLIT.forget) < 0.7
    assert accuracy(model, SPLIT.retain) > 0.95


def test_refusals():
    with pytest.raises(TaskMismatch, match="SalUn needs labels"):
        SalUn()(MODEL, SPLIT, NextToken(vocabulary=3, length=4), seed=0)
    for settings in ({"share": 0.0}, {"share": 1.5}, {"lr": 0}):
        with pytest.raises(SettingsError):
            SalUn(**settings)
