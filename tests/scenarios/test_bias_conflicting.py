"""Bias-conflicting samples: by hand."""

import pytest
import torch

from erasable.dataset import Dataset
from erasable.errors import EmptyRequest, InvalidData
from erasable.scenarios import BiasConflicting
from tests.scenarios.toy import TASK

LABEL = [0, 0, 0, 0, 0, 1, 1, 1, 2, 2]
BIAS = [7, 7, 7, 4, 5, 4, 4, 7, 9, 3]  # commonest: 7, 4, and of 3 and 9 the smaller
CONFLICTING = {"s3", "s4", "s7", "s8"}


def data(label=LABEL, bias=BIAS, name="s", public=None):
    n = len(label)
    return Dataset.of({"x": torch.zeros(n, 2), "label": torch.tensor(label), "bias": torch.tensor(bias)},
                      [f"{name}{i}" for i in range(n)], public=public)  # fmt: skip


def test_by_hand():
    every = BiasConflicting(column="bias", share=1.0)(data(), TASK, seed=0)
    assert set(every.request.ids) == CONFLICTING
    assert list(every.groups) == ["bias-aligned"]
    assert set(every.groups["bias-aligned"].ids) == set(data().ids) - CONFLICTING
    assert every.facts["usual"] == {"0": 7, "1": 4, "2": 3}
    half = BiasConflicting(column="bias")(data(), TASK, seed=0)
    assert len(half.request.ids) == 2
    assert set(half.request.ids) | set(half.groups["bias-conflicting that stay"].ids) == CONFLICTING


def test_test_samples_are_judged_by_the_training_data():
    test = data([0, 0, 1, 2, 2], [7, 4, 4, 9, 3], name="t")
    groups = BiasConflicting(column="bias")(data(), TASK, seed=0, test=test).groups
    assert groups["bias-aligned in the test data"].ids == ("t0", "t2", "t4")
    assert groups["bias-conflicting in the test data"].ids == ("t1", "t3")
    less = data([0, 0, 1, 1, 1], [7, 7, 4, 4, 5], name="u")  # nobody to learn class 2 from
    groups = BiasConflicting(column="bias")(less, TASK, seed=0, test=test).groups
    assert groups["bias-aligned in the test data"].ids == ("t0", "t2")
    assert groups["bias-conflicting in the test data"].ids == ("t1",)


def test_public_samples_are_never_asked_for():
    public = [f"s{i}" in ("s3", "s4", "s7") for i in range(10)]
    scenario = BiasConflicting(column="bias", share=1.0)(data(public=public), TASK, seed=0)
    assert scenario.request.ids == ("s8",)
    assert set(scenario.groups["bias-conflicting that stay"].ids) == {"s3", "s4", "s7"}
    public = [f"s{i}" in CONFLICTING for i in range(10)]
    with pytest.raises(EmptyRequest):
        BiasConflicting(column="bias")(data(public=public), TASK, seed=0)


def test_data_without_conflict_or_column_are_refused():
    with pytest.raises(EmptyRequest, match="commonest bias"):
        BiasConflicting(column="bias")(data(bias=LABEL), TASK, seed=0)
    with pytest.raises(InvalidData, match="no column 'colour'"):
        BiasConflicting(column="colour")(data(), TASK, seed=0)
