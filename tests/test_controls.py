"""The audit's own test: silent at fresh oracles, loud at an untouched model, as rates over draws."""

import pytest

from erasable.controls import TOGETHER, controls
from erasable.errors import SettingsError
from erasable.network import Network
from erasable.train import Recipe
from tests.test_audit import DATA, FRESH, TASK

METHOD = Network(network="mlp width=64", recipe=Recipe(epochs=25, batch=32, lr=0.3, weight_decay=0.0, optimizer="sgd"))
DRAWS = 50


@pytest.fixture(scope="module")
def found():
    rates = controls(METHOD, DATA, FRESH, TASK, erased=48, draws=DRAWS, oracles=19, suite="standard", seed=1)
    return {(each.should_ring, each.attack): each for each in rates}


def test_fresh_oracles_raise_about_one_alarm_in_twenty(found):
    """Nominal 95 %: between 90 and 99 % of draws are inside; 50 draws say so to within three alarms."""
    null = found[False, TOGETHER]
    assert null.draws == DRAWS
    assert null.rang <= 7
    assert null.passed


def test_the_alarm_rings_for_an_untouched_model(found):
    alarm = found[True, TOGETHER]
    assert alarm.rang >= 0.95 * DRAWS
    assert alarm.passed


def test_every_judged_number_has_both_controls_and_is_quiet_under_the_null(found):
    metrics = {attack for _, attack in found}
    assert {"forget accuracy", "confidence attack", "disagreement", "KL", "membership AUROC", "per-sample attack AUC",
            "most exposed 5 %"} <= metrics  # fmt: skip
    for attack in metrics:
        assert found[False, attack].passed, found[False, attack]
        assert (True, attack) in found


def test_numbers_that_see_membership_ring_each_by_itself(found):
    for attack in ("forget accuracy", "membership AUROC", "per-sample attack AUC"):
        assert found[True, attack].rang >= 0.95 * DRAWS, found[True, attack]


def test_a_control_without_draws_is_refused():
    with pytest.raises(SettingsError, match="draws=0"):
        controls(METHOD, DATA, FRESH, TASK, erased=48, draws=0)
    with pytest.raises(SettingsError, match="240 samples to erase of 240"):
        controls(METHOD, DATA, FRESH, TASK, erased=240, draws=1)
