"""Tuning: what it may see, what it tries, how it judges, and what its record refuses."""

import dataclasses
import itertools
import json
import math
import sys
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import pytest
import torch

from erasable import catalog
from erasable._plumbing.settings import to_json
from erasable.audit import Subject, judge
from erasable.dataset import Dataset
from erasable.development import beyond, develop
from erasable.errors import (
    EvidenceError,
    InvalidData,
    MismatchError,
    MissingFile,
    NewerVersion,
    PopulationTooSmall,
    SettingsError,
    TaskMismatch,
    UnknownName,
    UnknownSample,
)
from erasable.evidence import Finding, joint
from erasable.fleet import train_fleet, unlearn_fleet
from erasable.game import halves, requests
from erasable.population import oracles
from erasable.probe import Probe
from erasable.receipt import Receipt, digest_of_ids
from erasable.rehearsal import rehearse
from erasable.request import Request
from erasable.run import Run
from erasable.scenario import Scenario
from erasable.scenarios import Adaptive, Mislabelled, RandomShare, Sequential
from erasable.trials import SEARCH, space_of, trials_of
from erasable.tuned import Tuned, TunedUnlearner
from erasable.tuning import _halving, _Tried, tune, tune_on
from erasable.unlearner import forget
from erasable.unlearners import FineTune, GradientAscent, Nothing
from erasable.unlearners.forsaken import Forsaken
from tests.scenarios.toy import renamed
from tests.test_rehearsal import BY_HEART, WIDE, WIDE_TASK, WIDE_TEST
from tests.toys import NETWORK, blob_task, blobs

TASK = blob_task()
DATA, TEST = blobs(90, owners=9), renamed(blobs(60, seed=1))
REPORTED = DATA.owned_by("person 3").ids


@dataclass(frozen=True, kw_only=True)
class Fade:
    """Weights fade; `broken` makes them useless."""

    share: float = 0.5
    times: int = 2
    broken: bool = False
    batch: int = 8
    kind: Literal["a", "b"] = "a"
    guarantee: ClassVar = "empirical"
    needs: ClassVar = frozenset({"forget", "retain"})

    def __post_init__(self):
        if not 0 < self.share <= 1:
            raise SettingsError(f"share={self.share}", expected="a share", do="correct it")

    def __call__(self, model, split, task, *, seed):
        if self.kind == "b":
            raise TaskMismatch("never", expected="nothing", do="nothing")
        with torch.no_grad():
            for weight in model.parameters():
                weight.mul_(math.nan if self.broken else (1 - self.share / 4) ** self.times)
        return model


def tuned_with(unlearner=GradientAscent, *, data=DATA, **more):
    more = {"budget": 4, "targets": 2, "oracles": 4, "reported": REPORTED} | more
    return tune(unlearner, NETWORK, data, TEST, TASK, **more)


@pytest.fixture(scope="module")
def tuned():
    return tuned_with()


# --- what tuning may see ---------------------------------------------------------------------------------------------


class Guarded(np.ndarray):
    """A column in which some rows must not be read."""

    def __getitem__(self, rows):
        if isinstance(rows, np.ndarray) and len(forbidden := np.intersect1d(rows, self.forbidden)):
            raise AssertionError(f"row {forbidden[0]} was read")
        return np.asarray(self)[rows]

    def __array_finalize__(self, of):
        self.forbidden = getattr(of, "forbidden", np.empty(0, np.int64))


def guarded(data, ids):
    columns = {name: data.read(name).numpy().view(Guarded) for name in data.table.columns}
    made = Dataset.of(columns, data.ids, owners=data.owners, name=data.name, facts=data.facts)
    for each in columns.values():
        each.forbidden = made.positions(ids)
    return made


@pytest.mark.parametrize("request_", ["random", "owner", "class", Mislabelled(share=0.1)])
def test_no_reported_sample_is_read(request_):
    reported = DATA.where("label", 1).ids if request_ == "class" else REPORTED
    data = guarded(DATA, reported)
    with pytest.raises(AssertionError, match="was read"):
        data.read("x")
    with pytest.raises(AssertionError, match="was read"):
        tuned_with(data=data, reported=(), request=request_)  # the guard rings
    found = tuned_with(data=data, reported=reported, request=request_)
    assert not set(found.development) & set(reported)
    assert found.samples == len(DATA) - len(reported)
    assert (found.reported, found.reported_digest) == (len(reported), digest_of_ids(reported))
    left = DATA.without(reported)
    if request_ == "class":  # another one than was reported
        assert set(found.development) in [set(left.where("label", each).ids) for each in (0, 2)]
    if request_ == "owner":
        owner = DATA.only(found.development).owners[0]
        assert set(found.development) == set(DATA.owned_by(owner).ids)
    if isinstance(request_, str):
        assert found.data_digest == left.digest()


def test_test_samples_of_a_reported_class_are_not_asked_about():
    found = tuned_with(reported=DATA.where("label", 1).ids)
    assert found.test_digest == TEST.without(TEST.where("label", 1).ids).digest()


def test_reported_samples_anywhere_else_are_refused():
    with pytest.raises(UnknownSample):
        tuned_with(reported=["nobody"])
    with pytest.raises(SettingsError, match="reported samples are in the test data"):
        tune(FineTune, NETWORK, DATA, DATA, TASK, budget=2, reported=REPORTED)
    whole = RandomShare(share=0.1)(DATA, TASK, seed=0)
    with pytest.raises(SettingsError, match="holds 10 reported samples"):
        tuned_with(request=whole)
    own = RandomShare(share=0.1)(DATA.without(REPORTED), TASK, seed=0)
    assert tuned_with(request=own, budget=2).development == own.request.ids


# --- what its record refuses -----------------------------------------------------------------------------------------


def test_every_path_refuses_the_development_samples(tuned, tmp_path):
    way, model = tuned.unlearner(), NETWORK.train(DATA, TASK, seeds=[0])[0]
    inside = Request("inside", [*REPORTED[:2], tuned.development[0]])
    outside = Request("outside", REPORTED)
    refused = pytest.raises(MismatchError, match=r"1 of 3 requested samples, first .* the settings of gradient-ascent")
    with refused:
        tuned.refuse(inside)
    with refused:
        tuned.refuse(inside.ids)
    with refused:
        forget(model, inside, data=DATA, unlearner=way)
    with refused:
        way(model, inside.split(DATA), TASK, seed=0)
    with refused:
        rehearse(Scenario("x", DATA, (inside,), "Tests nothing."), NETWORK, TEST, TASK, unlearner=way, oracles=2)
    run = Run.create(tmp_path / "run", model, data=DATA, spec={})
    with refused:
        run.forget(inside, data=DATA, unlearner=way)
    assert not run.receipts
    known = oracles(NETWORK, DATA.without(inside.ids), TASK, seeds=[1, 2])
    with refused:
        judge([Subject(name="x", model=model, oracles=known, unlearner=way)], Probe.of(inside, DATA, TEST, TASK),
              title="x")  # fmt: skip
    plan = halves(DATA, models=16, seed=0)
    fleet = train_fleet(NETWORK, DATA, TASK, plan, executor="vectorised")
    with pytest.raises(MismatchError):
        unlearn_fleet(fleet, way, requests(plan, share=0.5))
    tuned.refuse(outside)
    receipt = run.forget(outside, data=DATA, unlearner=way)
    assert receipt.method == "GradientAscent"
    assert receipt.tuning == tuned.tuning
    assert "by 4 trials on 8 other samples" in receipt.sentence()
    assert Receipt.model_validate_json(receipt.model_dump_json()) == receipt


def test_a_tuned_unlearner_does_what_the_plain_one_does(tuned):
    way, plain = tuned.unlearner(), tuned.plain()
    assert isinstance(way, TunedUnlearner)
    assert (way.needs, way.guarantee) == (plain.needs, plain.guarantee) == (frozenset({"forget"}), "empirical")
    model, request = NETWORK.train(DATA, TASK, seeds=[0])[0], Request("x", REPORTED)
    first, second = (forget(model, request, data=DATA, unlearner=each)[1] for each in (way, plain))
    assert first.weights_after == second.weights_after != first.weights_before
    assert second.tuning is None
    json.dumps(to_json(way))  # a fleet finds what it made by this


def test_reports_tell_the_tuning_and_its_cost(tuned):
    scenario = Scenario("x", DATA, (Request("x", REPORTED),), "Tests nothing.")
    (section,) = rehearse(scenario, NETWORK, TEST, TASK, unlearner=tuned.unlearner(), oracles=2, suite="quick")
    first, *others = section.rows
    cost = first.finding("tuning")
    assert first.name == "gradient-ascent, tuned"
    assert (cost.value, cost.note) == (tuned.cost.seconds, "4 trials")
    assert "chosen by 4 trials on 8 other samples" in first.note
    assert all(each.finding("tuning") is None for each in others)
    (plain,) = rehearse(scenario, NETWORK, TEST, TASK, unlearner=tuned.plain(), oracles=2, suite="quick")
    assert (plain.rows[0].name, plain.rows[0].note) == ("gradient-ascent", "")


# --- the record ------------------------------------------------------------------------------------------------------


def test_the_record_survives_json(tuned, tmp_path):
    assert Tuned.from_json(tuned.to_json()) == tuned
    tuned.write(tmp_path / "it.json")
    read = Tuned.read(tmp_path / "it.json")
    assert read == tuned
    assert read.plain() == GradientAscent(**tuned.settings)
    assert tuned.defaults.settings == to_json(GradientAscent())
    assert tuned.chosen.settings == tuned.settings
    assert tuned.cost.trainings == 2 + 4
    assert tuned.cost.erasures == sum(each.targets for each in tuned.trials)
    assert set(tuned.versions) >= {"erasable", "torch", "python"}


@pytest.mark.parametrize(
    ("change", "error", "told"),
    [
        ({"name": "gradient-assent"}, UnknownName, "did you mean 'gradient-ascent'"),
        ({"name": "nobody.nothing:Unlearner"}, UnknownName, "erasable --import nobody.nothing"),
        ({"schema_version": 99}, NewerVersion, "99"),
        ({"development": ["somebody else"]}, InvalidData, "digest"),
        ({"settings": {"lr": 1.0}}, InvalidData, "not among the trials"),
        ({"seed": "zero"}, InvalidData, "seed"),
        ({"more": 1}, InvalidData, "more"),
    ],
)
def test_a_damaged_record_is_refused(tuned, change, error, told):
    changed = json.loads(tuned.to_json()) | change
    with pytest.raises(error, match=told):
        Tuned.from_json(json.dumps(changed)).unlearner()


def test_settings_that_a_later_version_no_longer_has(tuned):
    text = tuned.to_json().replace('"rise"', '"raise"')
    with pytest.raises(InvalidData, match="tune again"):
        Tuned.from_json(text).unlearner()


def test_a_file_that_is_none(tmp_path):
    with pytest.raises(MissingFile):
        Tuned.read(tmp_path / "nowhere.json")
    with pytest.raises(InvalidData, match="no record of tuned settings"):
        Tuned.from_json("not JSON")


def test_a_class_of_ones_own_must_be_imported_already(monkeypatch):
    found = tuned_with(Fade, budget=2, targets=1)
    assert found.name == "tests.test_tuning:Fade"
    assert isinstance(found.plain(), Fade)
    monkeypatch.delitem(sys.modules, "tests.test_tuning")
    with pytest.raises(UnknownName, match="import tests"):
        found.unlearner()


# --- what is tried ---------------------------------------------------------------------------------------------------


def test_the_table_names_settings_that_exist_and_its_bounds_hold_the_defaults():
    for name, kind in catalog.UNLEARNERS.items():
        if name in SEARCH:
            fields = {each.name: each for each in dataclasses.fields(kind)}
            for setting, span in SEARCH[name].items():
                value = getattr(kind(), setting)
                assert setting in fields
                if isinstance(span, list):
                    assert value in span, (name, setting)
                elif value is not None:
                    assert span[0] <= value <= span[1], (name, setting)
    assert set(SEARCH) <= set(catalog.UNLEARNERS)


@pytest.mark.parametrize("name", SEARCH)
def test_the_table_gives_trials_that_the_class_takes(name):
    kind = catalog.UNLEARNERS[name]
    found = trials_of(kind(), 9)
    assert found[0] == kind()
    assert len({str(each) for each in found}) == len(found) >= 4
    assert trials_of(kind(), 4) == found[:4]
    assert found[1:] != trials_of(kind(), 9, seed=1)[1:]
    for each, setting in itertools.product(found[1:], SEARCH[name]):
        span, value = SEARCH[name][setting], getattr(each, setting)
        assert value in span if isinstance(span, list) else span[0] <= value <= span[1]
        assert isinstance(getattr(kind(), setting), int) == isinstance(value, int) or getattr(kind(), setting) is None


def test_a_method_that_is_not_in_the_table_is_searched_around_its_defaults():
    assert space_of(Fade()) == {"share": (0.05, 5.0), "times": (1, 4)}
    found = trials_of(Fade(), 20)
    assert len(found) == 20
    assert all(0 < each.share <= 1 and each.times in (1, 2, 3, 4) for each in found)  # what is refused is no trial
    assert {each.times for each in found} == {1, 2, 3, 4}


def test_settings_that_were_given_are_held():
    assert space_of(FineTune(epochs=3)) == {"lr": SEARCH["finetune"]["lr"]}
    assert {each.epochs for each in trials_of(FineTune(epochs=3), 8)} == {3}


def test_a_space_of_ones_own():
    found = trials_of(Fade(), 50, space={"times": (1, 3), "broken": [False, True]})
    assert {(each.times, each.broken) for each in found} == set(itertools.product((1, 2, 3), (False, True)))
    for wrong in ({"times": (0, 3)}, {"times": (3, 1)}, {"times": []}, {"time": (1, 3)}):
        with pytest.raises(SettingsError):
            trials_of(Fade(), 4, space=wrong)


@pytest.mark.parametrize("wrong", [{"budget": 1}, {"request": "everybody"}, {"request": Adaptive()},
                                   {"request": Sequential(rounds=2, share=0.1)}])  # fmt: skip
def test_what_cannot_be_tuned(wrong):
    with pytest.raises(SettingsError):
        tuned_with(**wrong)
    with pytest.raises(SettingsError, match="no setting to search"):
        tuned_with(Nothing)
    with pytest.raises(PopulationTooSmall):
        tuned_with(oracles=1)
    with pytest.raises(PopulationTooSmall):
        tuned_with(targets=0)


# --- how it judges ---------------------------------------------------------------------------------------------------


def finding(value, **more):
    given = {"metric": "m", "subject": "s", "n": 10, "models": 1, "direction": "match", "null_band": (10.0, 20.0)}
    return Finding(value=value, **given | more)


def test_how_far_outside_by_hand():
    assert [beyond(finding(each)) for each in (10.0, 15.0, 20.0)] == [0, 0, 0]
    assert [beyond(finding(each)) for each in (5.0, 30.0)] == [0.5, 1.0]
    assert beyond(finding(5.0, direction="lower")) == beyond(finding(30.0, direction="higher")) == 0
    assert beyond(finding(30.0, resolution=20.0)) == 0.5  # ten are half a sample
    assert beyond(finding(30.0, null_band=(20.0, 20.0), resolution=5.0)) == 2.0
    nats = finding(0.8, unit="nats", direction="lower", null_band=(0.1, 0.2))
    assert beyond(nats) == pytest.approx(2)  # twice as far as from 0.1 to 0.2, in logarithms
    assert beyond(finding(99.0, null_band=None)) == 0


def test_the_score_is_that_of_the_formula(tuned):
    """Again by the public pieces, for the settings to begin with on both target models."""
    from erasable._plumbing.seeds import child

    left = DATA.without(REPORTED)
    request = Request("again", tuned.development)
    models = NETWORK.train(left, TASK, seeds=[child(0, "target", i) for i in range(2)])
    known = oracles(NETWORK, left.without(request.ids), TASK, seeds=[child(0, "oracle", i) for i in range(4)])
    probe = Probe.of(request, left, TEST, TASK, seed=0)
    scores = []
    for i, model in enumerate(models):
        after, _ = forget(model, request, data=left, unlearner=GradientAscent(), seed=child(0, "unlearn", i))
        subject = Subject(name="trial", model=after, oracles=known, before=probe.look([model]))
        (row,) = judge([subject], probe, title="again", suite="standard").rows
        kept = [row.finding(each) for each in ("test accuracy", "retain accuracy")]
        scores.append(sum(max(beyond(joint([each])[0]) for each in some) for some in (row.judged, kept)))
    assert tuned.defaults.score == pytest.approx(sum(scores) / 2)


def test_several_are_tuned_on_the_same_trainings(tuned):
    ground = develop(NETWORK, DATA, TEST, TASK, reported=REPORTED, targets=2, oracles=4)
    first, other = (tune_on(each, ground, budget=2) for each in (GradientAscent, FineTune(epochs=1)))
    assert first.defaults.score == tuned.defaults.score
    assert (
        (first.development, first.nothing) == (other.development, other.nothing) == (tuned.development, tuned.nothing)
    )
    assert first.cost.trainings == other.cost.trainings == 6
    with pytest.raises(SettingsError, match="suite"):
        develop(NETWORK, DATA, TEST, TASK, suite="full")


def test_the_same_seed_gives_the_same_scores(tuned):
    again = tuned_with()
    assert [each.settings for each in again.trials] == [each.settings for each in tuned.trials]
    assert again.development == tuned.development
    scores = [[each.score for each in one.trials if each.targets == 2] for one in (again, tuned)]
    assert scores[0][0] == scores[1][0]
    assert tuned_with(seed=1, budget=2, targets=1).development != tuned.development


def test_the_better_setting_is_found():
    """Of ascending not at all, to where the loss has risen by one, and to noise; the first to begin with."""
    found = tune(GradientAscent(lr=1e-6), BY_HEART, WIDE, WIDE_TEST, WIDE_TASK, budget=3, targets=2, oracles=4,
                 request=Mislabelled(share=0.2), space={"lr": [1e-6, 0.3, 10.0]})  # fmt: skip
    assert found.settings["lr"] == 0.3
    assert found.chosen.score < found.defaults.score == pytest.approx(found.nothing, rel=1e-3)
    assert found.caution == ""
    assert found.defaults.targets == 2  # the settings to begin with go to all models
    assert [each.targets for each in found.trials if each.settings["lr"] == 10.0] == [1]  # hopeless


def test_a_request_that_tells_nothing_changes_nothing():
    found = tuned_with(Fade(times=60), space={"times": [1, 30]}, budget=3)
    assert found.nothing == 0
    assert any(each.score < found.defaults.score for each in found.trials)
    assert found.chosen is found.defaults  # though others came nearer, by chance
    assert "nobody can tell" in found.caution


def tried(name, *scores, seconds=1.0, note=""):
    return _Tried(name, list(scores), [seconds] * len(scores), note)


def test_halving_by_hand():
    first, good, fast, bad, broken = (tried("first", 9.0), tried("good", 1.0, seconds=2.0), tried("fast", 1.0),
                                      tried("bad", 8.0), tried("broken", 0.0, note="it broke"))  # fmt: skip
    rounds = _halving([first, good, fast, bad, broken], 3)
    assert next(rounds) == [first, good, fast, bad, broken]
    assert next(rounds) == [fast, good, bad, first]  # equal scores: the faster before; half of five, and the first
    for each in (first, good, fast, bad):
        each.scores.append(2.0)
        each.seconds.append(1.0)
    assert next(rounds) == [fast, good, first]
    assert [*rounds] == []


def test_trials_that_cannot_be_judged_are_kept_in_the_record():
    found = tuned_with(Fade, space={"broken": [False, True], "kind": ["a", "b"]}, budget=4, targets=1)
    bad = [each for each in found.trials if each.score is None]
    assert len(bad) == 3
    assert {"never", "signal 'log_probabilities' holds NaN or infinity"} == {each.note for each in bad}
    assert found.settings["broken"] is False
    with pytest.raises(EvidenceError, match="none of 2 settings"):
        tuned_with(Fade(broken=True), space={"times": [1, 2]}, budget=2, targets=1)
    with pytest.raises(SettingsError, match="a reference of 0"):
        tuned_with(Forsaken, budget=2, targets=1)
    with pytest.raises(TaskMismatch, match="never"):  # what it begins with is refused: so would all be
        tuned_with(Fade(kind="b"), space={"times": [1, 2]}, budget=2, targets=1)
