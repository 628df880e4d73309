"""The unlearning game on a network that learns by heart: nothing is caught, retraining is not."""

import pytest
import torch

from erasable.errors import SettingsError
from erasable.fleet import Plan, train_fleet
from erasable.game import play
from erasable.network import Network
from erasable.train import Recipe
from erasable.unlearners.nothing import Nothing
from erasable.unlearners.retrain import Retrain
from tests.test_audit import DATA, TASK

METHOD = Network(network="mlp width=64", recipe=Recipe(epochs=25, batch=32, lr=0.3, weight_decay=0.0, optimizer="sgd"))


@pytest.fixture(scope="module")
def fleet():
    return train_fleet(METHOD, DATA, TASK, Plan.halves(DATA.ids, models=32, seed=0), executor="vectorised")


@pytest.fixture(scope="module")
def games(fleet):
    return {name: play(fleet, each, share=0.2) for name, each in {"nothing": Nothing(), "retrain": Retrain()}.items()}


def finding(game, metric):
    return next(each for each in game.findings("x") if each.metric == metric)


def test_every_model_unlearns_as_much_and_only_what_it_had(games):
    game = games["nothing"]
    assert game.forgotten.sum(1).tolist() == [24] * 32
    assert not bool((game.forgotten & ~game.before.member).any())


@pytest.mark.parametrize("null", ["privacy", "efficacy"])
def test_doing_nothing_is_caught_and_retraining_is_not(games, null):
    leak, clean = (finding(games[name], f"U-LiRA {null} AUC") for name in ("nothing", "retrain"))
    assert leak.interval[0] > 60
    assert clean.interval[0] < 50 + 1e-9 < clean.interval[1] + 3


def test_the_controls_of_a_game(games):
    for game in games.values():
        alarm, null = game.controls()
        assert (alarm.should_ring, alarm.passed) == (True, True)
        assert (null.should_ring, null.passed) == (False, True), null


def test_strata_and_curves(games):
    game = games["nothing"]
    assert game.memorisation().shape == (len(DATA),)
    parts = game.strata("x")
    assert sum(each.samples for each in parts) <= len(DATA)
    by_name = {each.name: each.findings[0].value for each in parts}
    assert by_name["high memorisation"] > 80  # what is learned by heart is what leaks
    for roc in game.rocs():
        assert roc.fpr[0] == 0
        assert roc.tpr[-1] == 1
        assert len(roc.fpr) <= 122
        assert torch.tensor(roc.tpr).diff().min() >= 0


def test_a_share_is_a_share(fleet):
    with pytest.raises(SettingsError, match=r"share=1\.5"):
        play(fleet, Nothing(), share=1.5)
