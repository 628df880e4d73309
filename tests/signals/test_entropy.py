"""Both entropies by hand, at their ends, and against the obvious formulas."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from erasable.dataset import Dataset
from erasable.evidence import Evidence
from erasable.signals import entropy, entropy_of, log_probabilities, modified_entropy, modified_entropy_of
from erasable.tasks import Classification

TASK = Classification(shape=(3,), classes=3, low=(-1.0,), high=(1.0,), inputs="x")


def evidence(probabilities):
    values = torch.as_tensor(probabilities, dtype=torch.float64).log()
    names = tuple(f"s{i}" for i in range(values.shape[1]))
    return Evidence("log_probabilities", names, values, torch.zeros(values.shape[:2], dtype=torch.bool))


def test_entropy_by_hand():
    found = entropy_of(evidence([[[0.5, 0.25, 0.25], [1 / 3, 1 / 3, 1 / 3]]]))
    assert found.signal == "entropy"
    assert found.values[0].tolist() == pytest.approx([1.5 * math.log(2), math.log(3)])


def test_modified_entropy_by_hand():
    found = modified_entropy_of(evidence([[[0.5, 0.25, 0.25], [0.5, 0.25, 0.25]]]), torch.tensor([0, 1]))
    assert found.signal == "modified_entropy"
    right = -0.5 * math.log(0.5) - 2 * 0.25 * math.log(0.75)
    wrong = -0.75 * math.log(0.25) - 0.5 * math.log(0.5) - 0.25 * math.log(0.75)
    assert found.values[0].tolist() == pytest.approx([right, wrong])


def test_the_pass_over_a_model_gives_the_same():
    probe = Dataset.of({"x": torch.randn(9, 3), "label": torch.tensor([0, 1, 2] * 3)}, [f"s{i}" for i in range(9)])
    fitted = torch.zeros(1, 9, dtype=torch.bool)
    log_p = log_probabilities([nn.Identity()], TASK, probe, fitted=fitted)
    assert entropy([nn.Identity()], TASK, probe, fitted=fitted).values.equal(entropy_of(log_p).values)
    labels = torch.tensor([0, 1, 2] * 3)
    found = modified_entropy([nn.Identity()], TASK, probe, fitted=fitted)
    assert found.values.equal(modified_entropy_of(log_p, labels).values)


def test_sure_models_are_finite_and_on_the_right_side():
    log_p = torch.tensor([[[0.0, math.log(1e-8), math.log(1e-8)]] * 2], dtype=torch.float64)  # p = 1 with the floor
    seen = Evidence("log_probabilities", ("a", "b"), log_p, torch.zeros(1, 2, dtype=torch.bool))
    right, wrong = modified_entropy_of(seen, torch.tensor([0, 1])).values[0].tolist()
    assert right == pytest.approx(0, abs=1e-7)
    assert wrong == pytest.approx(-math.log(1e-8) - math.log(2e-8), rel=1e-6)
    assert entropy_of(seen).values[0].tolist() == pytest.approx([4e-7] * 2, abs=1e-7)  # as sure of right as of wrong


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 12), st.integers(0, 2**31), st.floats(0.1, 5))
def test_slow_twins(classes, seed, scale):
    draws = torch.Generator().manual_seed(seed)
    p = torch.softmax(scale * torch.randn(2, 3, classes, generator=draws, dtype=torch.float64), dim=2)
    labels = torch.randint(classes, (3,), generator=draws)
    modified, plain = modified_entropy_of(evidence(p), labels).values, entropy_of(evidence(p)).values
    assert bool((plain <= math.log(classes) + 1e-9).all())
    for m in range(2):
        for s in range(3):
            y, row = int(labels[s]), p[m, s].tolist()
            slow = -(1 - row[y]) * math.log(row[y])
            slow -= sum(q * math.log(1 - q) for c, q in enumerate(row) if c != y)
            assert modified[m, s].item() == pytest.approx(slow, rel=1e-6, abs=1e-9)
            assert plain[m, s].item() == pytest.approx(-sum(q * math.log(q) for q in row))
