"""Margins among retained classes: by hand, stable at both ends, and blind to what happens to the erased class."""

import math

import pytest
import torch
from torch import nn

from erasable.dataset import Dataset
from erasable.errors import Misaligned, SettingsError
from erasable.evidence import Evidence
from erasable.signals.neighbour_margin import neighbour_margin, neighbour_margin_of, retained, toward
from erasable.tasks import Classification

TASK = Classification(shape=(3,), classes=3, low=(-1.0,), high=(1.0,), inputs="x")
FITTED = torch.zeros(1, 2, dtype=torch.bool)


def evidence(logits):
    values = torch.log_softmax(torch.tensor(logits, dtype=torch.float64), -1)
    return Evidence("log_probabilities", ("a", "b")[: values.shape[1]], values, torch.zeros(values.shape[:2]).bool())


def data(rows):
    return Dataset.of({"x": torch.tensor(rows), "label": torch.zeros(len(rows), dtype=torch.int64)}, ["a", "b"])


def test_values_by_hand():
    """Among classes 0, 2 and 3 with the weights 1 : 2 : 5 the odds are 1/7, 2/6 and 5/3, whatever class 1 has."""
    for suppressed in (-30.0, 0.0, 4.0):
        found = neighbour_margin_of(evidence([[[0.0, suppressed, math.log(2), math.log(5)]]]), [1])
        assert found.values[0, 0].exp().tolist() == pytest.approx([1 / 7, 2 / 6, 5 / 3])
    column = toward(found, 3, erased=[1])
    assert (column.signal, column.values.tolist()) == ("margin of class 3", [[pytest.approx(math.log(5 / 3))]])


def test_logits_far_apart_are_exact_and_end_at_the_clip():
    found = neighbour_margin([nn.Identity()], TASK, data([[0.0, 30.0, 99.0], [0.0, -200.0, 99.0]]), fitted=FITTED,
                             erased=[2])  # fmt: skip
    assert found.values[0].tolist() == [[-30.0, 30.0], [50.0, -50.0]]
    assert found.ids == ("a", "b")


class Masked(nn.Module):
    """Inputs are logits; those of -9 are a class that the model does not know."""

    def __init__(self, unknown):
        super().__init__()
        self.unknown = unknown

    def forward(self, x):
        return x.masked_fill(x == -9, self.unknown)


def test_a_class_that_a_model_no_longer_knows_ends_at_the_clip():
    rows = data([[0.0, -9.0, 1.0], [1.0, 1.0, -9.0]])
    found = neighbour_margin([Masked(-math.inf)], TASK, rows, fitted=FITTED, erased=[2])
    assert found.values[0].tolist() == [[50.0, -50.0], [0.0, 0.0]]
    with pytest.raises(Misaligned, match="NaN"):
        neighbour_margin([Masked(math.nan)], TASK, rows, fitted=FITTED, erased=[2])


def test_the_same_as_the_obvious_loop():
    logits = 8 * torch.randn(4, 7, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    given = Evidence("log_probabilities", tuple("abcdefg"), logits.log_softmax(-1), torch.zeros(4, 7).bool())
    found = neighbour_margin_of(given, [1, 4]).values
    for at, own in enumerate((0, 2, 3, 5)):
        others = [each for each in (0, 2, 3, 5) if each != own]
        expected = (logits[..., own] - logits[..., others].logsumexp(-1)).clamp(-50, 50)
        torch.testing.assert_close(found[..., at], expected)


@pytest.mark.parametrize("erased", [[], [3], [-1], [0, 1]])
def test_nonsense_classes_are_refused(erased):
    with pytest.raises(SettingsError):
        retained(3, erased)
    with pytest.raises(SettingsError, match="class 1"):
        toward(neighbour_margin_of(evidence([[[0.0, 1.0, 2.0]]]), [1]), 1, erased=[1])
