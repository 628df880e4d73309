"""Linear probe: the fit equals a library's, budgets are nested and balanced, a suppressed head is caught."""

import numpy as np
import pytest
import torch
from torch import nn

from erasable.errors import DataError, SettingsError
from erasable.forgettable.spm import SPM
from erasable.stresses import LinearProbe
from erasable.stresses._shots import in_turns
from erasable.unlearner import weights_digest
from tests.toys import BETWEEN, NETWORK, TINY, between, blob_task, blobs

TASK = blob_task()


def test_the_fit_equals_the_library():
    from sklearn.linear_model import LogisticRegression

    class Plain(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(2, 3)

        def forward(self, x):
            return self.head(x)

    data, on = blobs(seed=1), blobs(seed=2)
    found = LinearProbe(budgets=(60,), penalty=0.5)(Plain(), TASK, data, on, seed=0)
    shown, asked = (TASK.batch(each, torch.arange(60)) for each in (data, on))
    x, mean = shown["inputs"].double(), shown["inputs"].double().mean(0)
    spread = x.var(dim=0, correction=0).mean().sqrt()
    slow = LogisticRegression(C=2.0, tol=1e-10, max_iter=2000).fit(((x - mean) / spread).numpy(), shown["labels"])
    expected = slow.predict_log_proba(((asked["inputs"].double() - mean) / spread).numpy())
    with torch.no_grad():
        ours = found.model(asked["inputs"]).log_softmax(1).numpy()
    assert np.abs(ours - expected).max() < 1e-3
    assert found.curve == (pytest.approx(100 * slow.score((asked["inputs"] - mean) / spread, asked["labels"])),)


def test_a_suppressed_head_hides_nothing_from_a_probe():
    data, fresh = between(), between(seed=9)
    forget = data.where("label", 2)
    hidden = BETWEEN.train(data, TASK, seeds=[0])[0]
    with torch.no_grad():
        hidden.network.head.weight[2] = 0
        hidden.network.head.bias[2] = -20
    never = BETWEEN.train(data.without(forget.ids), TASK, seeds=list(range(5)))
    probe = LinearProbe(budgets=(12, 30, 90))  # by six, one side of class 2 was not shown yet
    ours, *theirs = (probe(each, TASK, data, fresh.where("label", 2), seed=1).curve for each in (hidden, *never))
    assert min(ours) > 80
    assert all(max(each) < min(ours) for each in theirs)


def test_samples_come_in_turns():
    labels = torch.tensor([0] * 10 + [1] * 3 + [2])
    order, turns = in_turns(labels, seed=0)
    assert sorted(order.tolist()) == list(range(14))
    assert sorted(labels[order[:3]].tolist()) == [0, 1, 2]
    assert sorted(labels[order[3:5]].tolist()) == [0, 1]
    assert labels[order[7:]].tolist() == [0] * 7
    assert turns.tolist() == [0, 0, 0, 1, 1, 2, 2, 3, 4, 5, 6, 7, 8, 9]
    assert not torch.equal(order, in_turns(labels, seed=1)[0])


def test_the_given_model_is_unchanged_and_the_seed_decides():
    data, on = blobs(), blobs(seed=4)
    probe = LinearProbe(budgets=(3, 9, 30, 1000))
    for model in (NETWORK.train(data, TASK, seeds=[0])[0],
                  SPM(network="mlp width=8", recipe=TINY).train(data, TASK, seeds=[0])[0]):  # fmt: skip
        before = weights_digest(model)
        first, again, other = (probe(model, TASK, data, on, seed=seed) for seed in (0, 0, 1))
        assert weights_digest(model) == before
        assert first.budgets == (3, 9, 30)  # 1000 are not there
        assert len(first.curve) == 3
        assert first.curve == again.curve
        assert weights_digest(first.model) == weights_digest(again.model) != weights_digest(other.model)


def test_what_does_not_fit_is_refused():
    for wrong in ({"budgets": ()}, {"budgets": (0,)}, {"budgets": (5, 3)}, {"budgets": (3, 3)}, {"penalty": 0.0}):
        with pytest.raises(SettingsError):
            LinearProbe(**wrong)
    with pytest.raises(DataError, match="at least 100"):
        LinearProbe(budgets=(100,))(nn.Linear(2, 3), TASK, blobs(), blobs(), seed=0)
