"""Judging whole models: those that memorised the samples are caught, those that never saw them are not."""

import pytest
import torch
from torch import nn

from erasable.audit import Subject, compile_report, judge
from erasable.dataset import Dataset
from erasable.errors import EvidenceError, Misaligned, PopulationTooSmall, TaskMismatch, UnknownSample
from erasable.evidence import Evidence
from erasable.network import Network
from erasable.population import Population, oracles
from erasable.probe import Probe
from erasable.receipt import Exposure
from erasable.request import Request
from erasable.stresses import Relearn
from erasable.tasks import Classification
from erasable.train import Recipe

ORACLES = 10
TASK = Classification(shape=(24,), classes=3, low=(-3.0,), high=(3.0,), inputs="x")
METHOD = Network(network="mlp width=64", recipe=Recipe(epochs=25, batch=32, lr=0.3, weight_decay=0.0))


def noisy(n, seed, name):
    """Three classes that can be told about two times in three: a network that fits them has learned by heart."""
    g = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 3
    x = torch.randn(n, 24, generator=g).clamp(-3, 3)
    x[torch.arange(n), labels] += 1.2
    return Dataset.of({"x": x, "label": labels}, [f"{name}{i}" for i in range(n)], name=name,
                      facts={"classes": ["a", "b", "c"]})  # fmt: skip


DATA, FRESH = noisy(240, 0, "train"), noisy(120, 1, "test")
REQUEST = Request("case", DATA.ids[:48])


@pytest.fixture(scope="module")
def models():
    """Ten oracles, one more that was kept apart, and the original."""
    split = REQUEST.split(DATA)
    known = oracles(METHOD, split.retain, TASK, seeds=list(range(ORACLES + 1)))
    original = METHOD.train(DATA, TASK, seeds=[99])[0]
    return Population(known.models[:-1], known.seeds[:-1], "oracle"), known.models[-1], original


@pytest.fixture(scope="module")
def probe():
    return Probe.of(REQUEST, DATA, FRESH, TASK, seed=0)


@pytest.fixture(scope="module")
def section(models, probe):
    references, fresh, original = models
    before = probe.look([original])
    return judge(
        [
            Subject(name="do nothing", model=original, oracles=references, before=before, role="untouched",
                    seconds=0.0),
            Subject(name="retrain", model=fresh, oracles=references, before=before, role="retrain", level="exact",
                    seconds=2.0),
            Subject(name="hidden", model=original, oracles=references, before=before, level="revoked", seconds=0.001,
                    preparation_seconds=3.0),
            Subject(name="again", model=fresh, oracles=references, level="exact"),
        ],
        probe, title="one owner", relearn=Relearn(cap=20),
    )  # fmt: skip


def test_the_untouched_model_is_caught_and_the_retrained_one_is_not(section):
    status = {row.name: row.status for row in section.rows}
    assert status == {"do nothing": "remembered", "retrain": "no trace", "hidden": "remembered", "again": "no trace"}
    assert section.rows[0].finding("forget accuracy").value == 100
    assert section.rows[0].finding("membership AUROC").inside_noise is False


def test_a_part_of_a_probe_is_asked_alone(models, probe):
    """By looking again: the erased samples and their peers are fewer, all else is the same."""
    ids = DATA.ids[1:48:3]  # all of one class
    part, seen = probe.part(ids, "part"), probe.look(models[0].models)
    assert part.forget.ids == ids
    assert (part.peers.ids, part.gone_class) == (probe.peers.where("label", 1).ids, None)
    assert len(part.peers) == 16
    now, again = seen.on(part), part.look(models[0].models)
    for name, found in again.log_p.items():
        assert now.log_p[name].ids == found.ids
        assert torch.allclose(now.log_p[name].values, found.values, atol=1e-5)
    assert now.log_p["retain"].ids == seen.log_p["retain"].ids
    assert torch.equal(now.correct["forget"].values, again.correct["forget"].values)
    with pytest.raises(UnknownSample):
        probe.part(DATA.ids[60:61], "never erased")


def test_without_a_filter_nothing_is_judged_apart(section, models, probe):
    references, fresh, original = models
    before = probe.look([original])
    subjects = [Subject(name="do nothing", model=original, oracles=references, before=before, role="untouched",
                        seconds=0.0),
                Subject(name="again", model=fresh, oracles=references, level="exact")]  # fmt: skip
    alike = judge(subjects, probe, title="one owner", relearn=Relearn(cap=20), apart=True)
    assert alike.rows == (section.rows[0], section.rows[3])
    assert not any("left" in each for each in alike.cautions)


@pytest.mark.parametrize("apart", [False, True])
def test_a_leak_among_those_left_alone_is_told(models, probe, apart):
    """A model that never saw four in five of the erased samples hides the others among them."""
    references, _, original = models
    left = DATA.ids[:9]
    model = METHOD.train(DATA.without(DATA.ids[9:48]), TASK, seeds=[5])[0]
    model.left_alone = (*left, "test0")  # of another request, too
    subject = Subject(name="x", model=model, oracles=references, before=probe.look([original]), level="empirical",
                      seconds=1.0)  # fmt: skip
    found = judge([subject], probe, title="half", suite="standard", relearn=Relearn(cap=20), apart=apart)
    told = [each for each in found.cautions if each.startswith("x left 9 of 48 erased samples alone")]
    assert len(told) == 1
    assert ("can hide" in told[0]) is not apart
    assert [row.name for row in found.rows[1:]] == [
        "9 of 48 samples left alone by x", "39 of 48 samples unlearned by x"][: 2 * apart]  # fmt: skip
    if apart:
        _, alone, rest = found.rows
        assert (alone.status, rest.status) == ("remembered", "no trace")
        assert alone.level == rest.level == "empirical"
        assert found.rows[0].finding("time") is not None
        assert alone.finding("time") is None
        compile_report([found], title="t", show_samples=True).to_html()


def test_every_distance_has_the_oracles_beside_it(section):
    for row in section.rows:
        for finding in row.judged:
            assert len(finding.null_values) == ORACLES
            assert finding.null_band is not None


def test_words_keep_memory_and_network_apart(section):
    assert "erased from memory but still remembered by the network with hidden" in section.verdict.lower()
    assert section.rows[2].verdict.startswith("Erased from memory, still remembered by the network.")


def test_what_is_not_known_is_not_made_up(section):
    again = section.rows[3]
    assert again.finding("relearning") is None
    assert again.finding("time") is None
    assert again.before == ()
    assert any("from before the erasure" in each for each in section.cautions)
    assert section.rows[2].finding("time").value == 0.001
    assert section.rows[2].finding("preparation").value == 3.0


def test_relearning_acts_on_the_network_that_saw_the_samples(section):
    hidden, fresh = section.rows[2].finding("relearning"), section.rows[1].finding("relearning")
    assert hidden.value == 0
    assert fresh.value > 0


def test_histograms_are_shares(section):
    for row in section.rows:
        for shares in (row.histogram.after, row.histogram.oracles, row.histogram.fresh):
            assert sum(shares) == pytest.approx(1)
            assert len(shares) == len(row.histogram.edges) - 1


def test_shown_samples_are_those_that_the_oracles_know_least(section, models, probe):
    seen = probe.look(models[0].models).confidence["forget"].values.mean(dim=0)
    assert section.samples[0].id == probe.forget.ids[int(seen.argmin())]
    assert len(section.samples) == 8
    assert section.samples[0].picture is None  # rows of numbers are no pictures
    guess = section.samples[0].guesses[0]
    assert (guess.before, guess.after, guess.oracles) == (section.samples[0].label,) * 2 + (ORACLES,)


def test_judging_twice_gives_the_same(models, probe, section):
    references, fresh, original = models
    before = probe.look([original])
    again = judge([Subject(name="retrain", model=fresh, oracles=references, before=before, role="retrain",
                           level="exact", seconds=2.0)], probe, title="x", relearn=Relearn(cap=20))  # fmt: skip
    assert again.rows[0] == section.rows[1]


def test_each_subject_is_judged_by_its_own_oracles(models, probe, section):
    references, fresh, _ = models
    others = Population(references.models[:4], references.seeds[:4], "oracle")
    found = judge([Subject(name="a", model=fresh, oracles=references), Subject(name="b", model=fresh, oracles=others)],
                  probe, title="x")  # fmt: skip
    assert [row.oracles for row in found.rows] == [ORACLES, 4]
    assert [len(row.judged[0].null_values) for row in found.rows] == [ORACLES, 4]


def test_a_model_in_which_nothing_showed_before_cannot_be_told(models, probe):
    references, fresh, _ = models
    found = judge([Subject(name="a", model=fresh, oracles=references, before=probe.look([fresh]), role="untouched")],
                  probe, title="x")  # fmt: skip
    assert found.rows[0].status == "cannot tell"
    assert any("Doing nothing is inside the noise" in each for each in found.cautions)


def test_one_oracle_is_refused(models, probe):
    references, fresh, _ = models
    alone = Population(references.models[:1], (0,), "oracle")
    with pytest.raises(PopulationTooSmall, match="at least 2"):
        judge([Subject(name="a", model=fresh, oracles=alone)], probe, title="x")


def test_subjects_need_names_of_their_own(models, probe):
    references, fresh, _ = models
    subject = Subject(name="a", model=fresh, oracles=references)
    for wrong in ([], [subject, subject]):
        with pytest.raises(EvidenceError):
            judge(wrong, probe, title="x")


def test_a_diverged_model_is_refused(models, probe):
    references = models[0]

    class Diverged(nn.Module):
        exposure, memory = Exposure({}), None

        def forward(self, x):
            return torch.full((len(x), 3), torch.nan)

    with pytest.raises(Misaligned, match="diverged"):
        judge([Subject(name="a", model=Diverged(), oracles=references)], probe, title="x")


def test_a_probe_of_a_whole_class():
    request = Request("class b", DATA.where("label", 1).ids)
    probe = Probe.of(request, DATA, FRESH, TASK)
    assert probe.gone == ("b",)
    assert set(probe.labels["test"].tolist()) == {0, 2}  # accuracy is over what is still trained on
    assert set(probe.labels["peers"].tolist()) == {1}  # membership compares with the same class
    assert (len(probe.forget), len(probe.retain), len(probe.peers)) == (80, 160, 40)


def test_a_probe_is_capped_seeded_and_balanced():
    probe = Probe.of(REQUEST, DATA, FRESH, TASK, seed=3, most=50)
    assert (len(probe.retain), len(probe.test), probe.retained) == (50, 50, 192)
    assert probe.labels["peers"].bincount().tolist() == probe.labels["forget"].bincount().tolist()
    assert Probe.of(REQUEST, DATA, FRESH, TASK, seed=3, most=50).retain.ids == probe.retain.ids
    assert Probe.of(REQUEST, DATA, FRESH, TASK, seed=4, most=50).retain.ids != probe.retain.ids


def test_without_test_samples_of_the_class_membership_is_left_out_and_told(models):
    request = Request("some", DATA.only(REQUEST.ids).where("label", 1).ids)
    others = FRESH.without(FRESH.where("label", 1).ids)
    probe = Probe.of(request, DATA, others, TASK)
    references, fresh, _ = models
    found = judge([Subject(name="a", model=fresh, oracles=references)], probe, title="x")
    assert found.rows[0].finding("membership AUROC") is None
    assert any("membership AUROC was not measured" in each for each in found.cautions)


def test_a_task_without_answers_is_refused():
    class Losses:
        draws = 0

    with pytest.raises(TaskMismatch, match="answers"):
        Probe.of(REQUEST, DATA, FRESH, Losses())


def test_samples_stay_out_of_a_report_unless_asked_for(section):
    hidden, shown = compile_report([section], title="t"), compile_report([section], title="t", show_samples=True)
    assert hidden.sections[0].samples == ()
    assert len(shown.sections[0].samples) == 8
    assert not any(each in hidden.to_json() for each in REQUEST.ids)


def test_evidence_knows_who_was_fitted_on_what(models, probe):
    references, _, original = models
    seen: Evidence = probe.look([original]).log_p["forget"]
    assert bool(seen.member.all())
    assert not bool(probe.look(references.models).log_p["forget"].member.any())


def test_oracles_that_are_none_are_refused(models, probe):
    references, fresh, original = models
    copies = Population((fresh, fresh, references.models[0]), (0, 1, 2), "oracle")
    with pytest.raises(PopulationTooSmall, match="3 oracles of 'a', of which 2 differ"):
        judge([Subject(name="a", model=original, oracles=copies)], probe, title="t")
    saw = Population((original, *references.models[:2]), (0, 1, 2), "oracle")
    with pytest.raises(EvidenceError, match="oracle 0 of 'a' was fitted on the erased sample 'train0'"):
        judge([Subject(name="a", model=fresh, oracles=saw)], probe, title="t")


def test_an_untrained_network_stands_out_and_is_not_said_to_remember(models, probe):
    references, fresh, _ = models
    with torch.random.fork_rng():
        torch.manual_seed(0)
        empty = METHOD.restore(TASK, {k: torch.randn_like(v) * 0.1 for k, v in fresh.state_dict().items()}, None,
                               Exposure({}))  # fmt: skip
    row = judge([Subject(name="a", model=empty, oracles=references)], probe, title="t", suite="standard").rows[0]
    assert row.status == "stands out"


def test_the_standard_suite_attacks_each_sample_by_itself(models, probe):
    references, fresh, original = models
    before = probe.look([original])
    found = judge([Subject(name="do nothing", model=original, oracles=references, before=before, role="untouched"),
                   Subject(name="retrain", model=fresh, oracles=references, before=before, role="retrain")],
                  probe, title="t", suite="standard", relearn=Relearn(cap=20))  # fmt: skip
    untouched, retrained = found.rows
    assert untouched.finding("per-sample attack AUC").inside_noise is False
    assert retrained.finding("per-sample attack AUC").inside_noise
    assert retrained.status == "no trace"
    assert [each.attack for each in untouched.roc] == ["per-sample attack"]
    assert sum(untouched.leakage.after) == pytest.approx(1)
    assert [each.score for each in untouched.leakage.worst] == sorted(
        (each.score for each in untouched.leakage.worst), reverse=True
    )
    assert "would have been noticed: forget accuracy" in retrained.power
    hidden = compile_report([found], title="r", suite="standard")
    assert hidden.sections[0].rows[0].leakage.worst == ()
    assert compile_report([found], title="r", show_samples=True).sections[0].rows[0].leakage.worst


def test_the_full_suite_draws_relearning_beside_oracles_random_and_untouched(models, probe):
    references, fresh, original = models
    before, few = probe.look([original]), Population(references.models[:4], references.seeds[:4], "oracle")
    found = judge([Subject(name="do nothing", model=original, oracles=few, before=before, untouched=original),
                   Subject(name="retrain", model=fresh, oracles=few, before=before, untouched=original)],
                  probe, title="t", suite="full", relearn=Relearn(cap=20))  # fmt: skip
    untouched, retrained = (each.relearning for each in found.rows)
    assert [each.learns_from for each in untouched] == ["the erased samples", "five of each class", "what was kept",
                                                        "a new head"]  # fmt: skip
    for here, there in zip(untouched, retrained, strict=True):
        assert here.after == here.untouched
        if here.learns_from != "a new head":  # which begins at nothing
            assert here.after[0] == 100 > there.after[0]
            assert here.random[0] < here.oracle_mean[0]
        assert len(here.steps) == len(here.after) == len(here.oracle_low)
        assert there.oracle_low == here.oracle_low
    recovered = found.rows[0].finding("recovery by what was kept")
    assert recovered.value == pytest.approx(1)
    assert abs(found.rows[1].finding("recovery by what was kept").value) < 0.5
    for what in ("rounding to int8", "pruning half", "fine-tuning on the rest"):
        survived, never = (row.finding(f"forget accuracy after {what}") for row in found.rows)
        assert survived.value > survived.null_mean + 5
        assert never.inside_noise, what


def test_further_distances_are_shown_and_not_judged(models, probe):
    references, fresh, _ = models
    row = judge([Subject(name="a", model=fresh, oracles=references)], probe, title="t", suite="standard").rows[0]
    names = {each.metric for each in row.shown}
    assert {"JS", "activation distance", "energy distance p", "ToW"} <= names, names
    assert not names & {each.metric for each in row.judged}


def test_further_attacks_of_the_full_suite_see_the_untouched_model(models, probe):
    references, fresh, original = models
    before = probe.look([original])
    subjects = [Subject(name=name, model=model, oracles=references, before=before, untouched=original)
                for name, model in (("do nothing", original), ("retrain", fresh))]  # fmt: skip
    untouched, retrained = judge(subjects, probe, title="t", suite="full", relearn=Relearn(cap=5)).rows
    for metric in ("RMIA AUC", "logistic attack"):
        assert untouched.finding(metric).inside_noise is False, metric
        assert untouched.finding(metric).value > untouched.finding(metric).null_mean, metric
        assert retrained.finding(metric).inside_noise, metric
    changed = retrained.finding("delta AUC")
    assert untouched.finding("delta AUC").value == pytest.approx(50)  # nothing has changed
    assert changed.value > 60, "retraining gives the erased samples away to whoever holds both versions"
    assert changed.inside_noise
    assert retrained.finding("ZRF").inside_noise
    assert untouched.finding("ZRF").value < retrained.finding("ZRF").value


def test_no_pair_of_versions_is_made_up_where_another_model_stands_in(models, probe):
    references, fresh, original = models
    few = Population(references.models[:4], references.seeds[:4], "oracle")
    row = judge([Subject(name="a", model=fresh, oracles=few, before=probe.look([original]), untouched=original,
                         stand_in=True)], probe, title="t", suite="full", relearn=Relearn(cap=5)).rows[0]  # fmt: skip
    assert row.finding("delta AUC") is None
    assert row.finding("RMIA AUC") is not None


def test_confidence_beyond_the_oracles_decides_in_every_suite(models, probe):
    references, fresh, original = models
    before = probe.look([original])
    untouched, retrained = judge([Subject(name=name, model=model, oracles=references, before=before)
                                  for name, model in (("do nothing", original), ("retrain", fresh))],
                                 probe, title="t", relearn=Relearn(cap=5)).rows  # fmt: skip
    seen = untouched.finding("calibrated confidence")
    assert seen in untouched.judged
    assert seen.inside_noise is False
    assert seen.value > 0
    assert retrained.finding("calibrated confidence").inside_noise
