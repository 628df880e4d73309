"""Log odds by hand, far into saturation, and against the obvious formula."""

import math

import pytest
import torch
from torch import nn

from erasable.dataset import Dataset
from erasable.errors import Misaligned
from erasable.evidence import Evidence
from erasable.signals import log_probabilities, margin, margin_of
from erasable.tasks import Classification

TASK = Classification(shape=(3,), classes=3, low=(-1.0,), high=(1.0,), inputs="x")


class Scaled(nn.Module):
    """Logits = scale * inputs."""

    def __init__(self, scale):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(float(scale)))

    def forward(self, x):
        return self.scale * x


def data(rows, labels):
    return Dataset.of({"x": torch.tensor(rows), "label": torch.tensor(labels)}, [f"s{i}" for i in range(len(rows))])


def evidence(values):
    names = tuple(f"s{i}" for i in range(values.shape[1]))
    return Evidence("log_probabilities", names, values, torch.zeros(values.shape[:2], dtype=torch.bool))


def test_by_hand():
    # probabilities 1/2, 1/4, 1/4: odds 1 for class 0, 1/3 for class 1
    rows = [[math.log(2.0), 0.0, 0.0], [math.log(2.0), 0.0, 0.0]]
    found = margin([Scaled(1)], TASK, data(rows, [0, 1]), fitted=torch.tensor([[True, False]]))
    assert found.signal == "margin"
    assert found.ids == ("s0", "s1")
    assert found.values[0].tolist() == pytest.approx([0.0, -math.log(3)], abs=1e-6)
    assert found.member.tolist() == [[True, False]]


def test_both_forms_agree_where_the_floor_is_far():
    torch.manual_seed(0)
    rows = (2 * torch.randn(20, 3)).tolist()
    labels = [i % 3 for i in range(20)]
    probe, models, fitted = data(rows, labels), [Scaled(1), Scaled(-0.5)], torch.zeros(2, 20, dtype=torch.bool)
    log_p = log_probabilities(models, TASK, probe, fitted=fitted)
    direct = margin(models, TASK, probe, fitted=fitted).values
    torch.testing.assert_close(direct, margin_of(log_p, torch.tensor(labels)).values)
    right = log_p.values.exp()[:, range(20), labels]
    torch.testing.assert_close(direct, (right / (1 - right)).log())  # the obvious formula


def test_exact_where_one_minus_p_is_zero_in_float64():
    probe = data([[40.0, 0.0, 0.0]], [0])
    fitted = torch.zeros(1, 1, dtype=torch.bool)
    found = margin([Scaled(1)], TASK, probe, fitted=fitted)
    assert 1 - found.values.sigmoid().item() == pytest.approx(0, abs=1e-15)
    assert found.values.item() == pytest.approx(40 - math.log(2))
    floored = margin_of(log_probabilities([Scaled(1)], TASK, probe, fitted=fitted), torch.tensor([0]))
    assert floored.values.item() == pytest.approx(-math.log(2e-8))  # two classes at 1e-8 each


def test_clipped_also_for_classes_that_are_gone():
    class Gone(nn.Module):
        def forward(self, x):
            return torch.tensor([[-math.inf, 0.0, 0.0], [0.0, -math.inf, -math.inf], [900.0, 0.0, 0.0]])[: len(x)]

    found = margin([Gone()], TASK, data([[0.0] * 3] * 3, [0, 0, 0]), fitted=torch.zeros(1, 3, dtype=torch.bool))
    assert found.values.tolist() == [[-50.0, 50.0, 50.0]]


def test_nan_is_refused():
    with pytest.raises(Misaligned, match="margin"):
        margin([Scaled(math.nan)], TASK, data([[0.0] * 3], [0]), fitted=torch.zeros(1, 1, dtype=torch.bool))


def test_labels_go_with_samples_not_with_models():
    values = torch.log_softmax(torch.randn(4, 5, 3, generator=torch.Generator().manual_seed(0)).double(), dim=2)
    labels = torch.tensor([0, 1, 2, 1, 0])
    found = margin_of(evidence(values), labels).values
    for m in range(4):
        for s in range(5):
            p = values[m, s, labels[s]].exp()
            assert found[m, s].item() == pytest.approx(float((p / (1 - p)).log()))
