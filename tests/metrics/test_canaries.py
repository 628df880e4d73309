"""Canaries by hand, with a null that stays quiet and an alarm that rings."""

import pytest
import torch

from erasable.errors import Misaligned
from erasable.evidence import Evidence
from erasable.metrics.canaries import canaries


def predictions(rows, *, ids=None, signal="prediction"):
    values = torch.tensor(rows)
    names = ids or tuple(f"s{i}" for i in range(values.shape[1]))
    return Evidence(signal, names, values, torch.zeros(values.shape, dtype=torch.bool))


WRONG = {"s0": 1, "s1": 2, "s2": 0, "s3": 2, "elsewhere": 9}


def test_by_hand_with_the_exact_interval():
    # s0 and s3 are answered with their wrong label, s1 with another wrong one
    found = canaries(predictions([[1, 0, 1, 2]]), WRONG, subject="a")
    assert (found.metric, found.value, found.n, found.models, found.unit) == ("canaries", 50.0, 4, 1, "%")
    assert found.interval == pytest.approx((6.758599, 93.241401), abs=1e-4)  # Clopper-Pearson, 2 of 4
    assert (found.direction, found.resolution, found.inside_noise) == ("lower", 25.0, None)


def test_oracles_stand_beside_and_only_more_than_theirs_rings():
    oracles = predictions([[0, 1, 1, 0], [1, 1, 1, 0], [0, 0, 1, 0]])
    remembers = canaries(predictions([[1, 2, 0, 2]]), WRONG, oracles, subject="a")
    assert remembers.null_values == (0.0, 25.0, 0.0)
    assert remembers.value == 100.0
    assert remembers.interval == pytest.approx((100 * 0.025**0.25, 100.0))
    assert remembers.inside_noise is False
    for row in ([0, 1, 1, 0], [1, 1, 1, 0]):
        assert canaries(predictions([row]), WRONG, oracles, subject="a").inside_noise is True


def test_several_models_give_the_mean():
    found = canaries(predictions([[1, 2, 0, 2], [0, 0, 1, 0]]), WRONG, subject="a")
    assert (found.value, found.models) == (50.0, 2)


def test_labels_go_by_id_and_not_by_position():
    found = canaries(predictions([[2, 0, 2, 1]], ids=("s3", "s2", "s1", "s0")), WRONG, subject="a")
    assert found.value == 100.0


def test_null_and_alarm_as_rates():
    """A model that errs like the oracles leaves their band seldom; one that remembers every third canary always."""
    g = torch.Generator().manual_seed(0)
    n, draws, quiet, rung = 100, 200, 0, 0
    names = tuple(f"s{i}" for i in range(n))
    wrong = dict.fromkeys(names, 1)

    def models(k, rate):
        return predictions((torch.rand(k, n, generator=g) < rate).long().tolist(), ids=names)

    for _ in range(draws):
        oracles = models(16, 0.03)
        quiet += canaries(models(1, 0.03), wrong, oracles, subject="a").inside_noise is True
        rung += canaries(models(1, 0.36), wrong, oracles, subject="a").inside_noise is False
    assert quiet / draws > 1 - 1 / 17 - 3 * (1 / 17 / draws) ** 0.5  # exchangeable: the largest of 17 at most 1 in 17
    assert rung == draws


def test_other_samples_and_other_signals_are_refused():
    with pytest.raises(Misaligned, match=r"1 of 2 samples have no wrong label, first 'x'"):
        canaries(predictions([[1, 2]], ids=("s0", "x")), WRONG, subject="a")
    with pytest.raises(Misaligned, match="'correct'"):
        canaries(predictions([[1, 2]], ids=("s0", "s1"), signal="correct"), WRONG, subject="a")
    with pytest.raises(Misaligned):
        canaries(predictions([[1]], ids=("s0",)), WRONG, predictions([[1]], ids=("s1",)), subject="a")
