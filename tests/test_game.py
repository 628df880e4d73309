"""The unlearning game on a network that learns by heart: nothing is caught, retraining is not."""

import pytest
import torch

from erasable.errors import PopulationTooSmall, SettingsError
from erasable.evidence import Evidence
from erasable.fleet import Plan, train_fleet
from erasable.forgettable.spm import SPM
from erasable.game import Game, halves, judged, play, requests
from erasable.network import Network
from erasable.signals import log_probabilities
from erasable.signals.margin import margin_of
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


def test_an_attacker_who_does_not_know_of_unlearning(games):
    """Doing nothing leaks to it what an untouched model leaks; retraining nothing."""
    leak, clean = ({each.metric: each for each in games[name].unaware("x")} for name in ("nothing", "retrain"))
    assert list(leak) == ["LiRA AUC", "LiRA AUC before unlearning", "RMIA online AUC"]
    assert leak["LiRA AUC"].value == pytest.approx(leak["LiRA AUC before unlearning"].value)
    assert clean["LiRA AUC before unlearning"] == leak["LiRA AUC before unlearning"]
    for name in ("LiRA AUC", "RMIA online AUC"):
        assert leak[name].interval[0] > 60
        assert clean[name].interval[0] < 50


def test_distances_of_the_sides_of_each_sample(games):
    leak, clean = ({each.metric: each for each in games[name].distances("x")} for name in ("nothing", "retrain"))
    assert len(leak) == 5
    for name, each in leak.items():
        assert not each.inside_noise, name
        assert "models that unlearned each against" in each.note
    for way in ("unlearned to never seen", "never seen to unlearned"):
        name = f"KLoM, {way}, mean"
        assert leak[name].value > 2 * clean[name].value
    assert leak["challenge score / null"].value < 0.6 < clean["challenge score / null"].value
    found = [each.metric for each in games["nothing"].findings("x")]
    assert found[-8:] == [*(each.metric for each in games["nothing"].unaware("x")), *leak]


def test_distances_are_left_out_where_no_sample_has_models_enough(games):
    whole = games["nothing"]
    few = Game(*(Evidence(each.signal, each.ids, each.values[:14], each.member[:14])
                 for each in (whole.before, whole.after)), whole.forgotten[:14], whole.correct)  # fmt: skip
    assert few.distances("x") == ()


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


def test_who_is_unlearned_is_known_before_the_training(fleet, games):
    asked = requests(fleet.plan, share=0.2)
    assert torch.equal(asked, games["nothing"].forgotten)
    assert judged(fleet.plan, asked) == int(((asked.sum(0) >= 3) & ((~fleet.plan.members).sum(0) >= 3)).sum()) > 0


def test_too_few_models_are_refused_before_anything_is_unlearned():
    plan = Plan.halves(DATA.ids, models=4, seed=0)
    assert judged(plan, plan.requests(5)) == 0
    with pytest.raises(PopulationTooSmall, match="game of 4 models that unlearn 24 of 120 samples"):
        requests(plan, share=0.2)


def test_pairs_per_sample_are_those_of_judged_samples(games):
    """Three pairs that were unlearned and sixteen that never were are the fewest; samples with fewer are not judged."""
    exposed = finding(games["nothing"], "U-LiRA privacy, AUC that 5 % of samples exceed")
    scores = games["nothing"].scores("privacy")
    assert exposed.n == int(scores.counted.any(0).sum())
    assert int(exposed.note.split()[1]) >= 3 + 16


def test_a_public_encoder_ends_where_it_would_without_the_samples():
    """So that whatever the game then says is chance: model for model, what it forgot was never there."""
    data = DATA.declare_public(DATA.ids[:80])
    method = SPM(network="mlp width=16", encoder="public", recipe=Recipe(epochs=2))
    plan = halves(data, models=16, seed=0)
    game = play(train_fleet(method, data, TASK, plan, executor="vectorised"), "forget", share=0.4)
    targets = int(plan.targets.sum())
    assert game.forgotten.shape == (16, targets)
    assert set(game.after.ids) <= set(data.private.ids)
    left = plan.members.clone()
    left[:, plan.targets] &= ~game.forgotten
    without = train_fleet(method, data, TASK, Plan(plan.ids, left, plan.seeds, plan.targets), executor="vectorised")
    looked = without.data.take(torch.nonzero(plan.targets).flatten())
    said = log_probabilities(without.models, TASK, looked, fitted=left[:, plan.targets])
    margins = margin_of(said, TASK.labels(TASK.batch(looked, torch.arange(len(looked)))))
    torch.testing.assert_close(game.after.values, margins.values, atol=1e-3, rtol=1e-4)
