"""l1-sparse: the step by hand, the fading penalty, what it does, and what it refuses."""

import copy

import pytest
import torch

from erasable.errors import SettingsError
from erasable.unlearners.l1_sparse import L1Sparse, norm
from tests.unlearners.by_heart import MODEL, SPLIT, TASK, accuracy, rise


def test_the_penalty_fades_in_a_line_and_ends_before_the_plain_epochs():
    assert [L1Sparse(penalty=4.0, epochs=6, plain=2).pull(t) for t in range(6)] == [4.0, 3.0, 2.0, 1.0, 0.0, 0.0]
    assert [L1Sparse(penalty=2.0, epochs=2).pull(t) for t in range(2)] == [2.0, 1.0]


def test_two_epochs_by_hand():
    weights = [w.clone() for w in MODEL.parameters()]
    batch = TASK.batch(SPLIT.retain, torch.arange(len(SPLIT.retain)))
    twin = copy.deepcopy(MODEL).requires_grad_(True)
    for pull in (0.02, 0.01):  # the learning rate is at its peak in the first two steps
        gradients = torch.autograd.grad(TASK.losses(twin, batch).mean(), list(twin.parameters()))
        weights = [w - 0.1 * (g + pull * w.sign()) for w, g in zip(weights, gradients, strict=True)]
        with torch.no_grad():
            for w, new in zip(twin.parameters(), weights, strict=True):
                w.copy_(new)
    method = L1Sparse(penalty=0.02, epochs=2, lr=0.1, batch=1000, momentum=0.0, weight_decay=0.0)
    model = method(copy.deepcopy(MODEL), SPLIT, TASK, seed=0)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(model.parameters(), weights, strict=True))


def test_it_forgets_by_the_penalty_and_the_rest_stays():
    sparse, plain = (L1Sparse(penalty=penalty, batch=16, lr=0.1, epochs=30)(copy.deepcopy(MODEL), SPLIT, TASK, seed=1)
                     for penalty in (2e-3, 0.0))  # fmt: skip
    assert float(norm(sparse.parameters())) < 0.8 * float(norm(plain.parameters()))
    assert rise(sparse) > 0.08 > rise(plain)
    assert accuracy(sparse, SPLIT.retain) > 0.95


@pytest.mark.parametrize("settings", [{"penalty": -1}, {"plain": 10}, {"plain": -1}, {"lr": 0}])
def test_settings_are_checked(settings):
    with pytest.raises(SettingsError):
        L1Sparse(**settings)
