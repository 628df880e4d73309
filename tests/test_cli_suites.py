"""`erasable audit RUN --suite ...`: what each suite reports, interruptions, and what is refused before a long wait."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from erasable.cli import _trainings
from erasable.forgettable.spm import SPM
from erasable.network import Network
from erasable.report import Report
from erasable.run import Run
from erasable.source import Source
from tests.test_cli import arrays, call, content, done, refused, trained

SMALL = ["--oracles", 3, "--models", 16]


def learned_by_heart(folder, method, *more, erase=("--owner", "person 4"), epochs=20):
    """A run whose labels are drawn by lot, so that whoever was not trained on a sample cannot know it."""
    data = arrays(120)
    data["y"] = np.random.default_rng(1).integers(0, 3, 120)
    np.savez(folder / "lot.npz", **data)
    done("train", method, "--data", f"npz:{folder / 'lot.npz'}", "--column", "image=x", "--column", "label=y", "--id",
         "name", "--owner", "who", "--network", "mlp width=32", "--epochs", epochs, "--batch", 32, "--lr", "0.01",
         *more, "--out", folder / "run")  # fmt: skip
    if erase:
        done("forget", folder / "run", *erase)
    return folder / "run"


@pytest.fixture(scope="module")
def finetuned(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finetuned")
    return learned_by_heart(folder, "network", erase=("--owner", "person 4", "--unlearner", "finetune"))


@pytest.fixture(scope="module")
def remembering(tmp_path_factory):
    return learned_by_heart(tmp_path_factory.mktemp("spm"), "spm")


@pytest.fixture(scope="module")
def hasty(tmp_path_factory):
    """A run for which the numbers are of no interest."""
    run = trained(tmp_path_factory.mktemp("hasty"), "spm")
    done("forget", run, "--owner", "person 4")
    return run


@pytest.fixture
def run(hasty, tmp_path):
    return shutil.copytree(hasty, tmp_path / "run")


def audited(run, *arguments):
    """What was told, and the report."""
    told = json.loads(done("audit", run, *arguments, "--json"))
    with open(told["json"], "rb") as file:
        return told, Report.from_json(file.read())


def metrics(findings):
    return [each.metric for each in findings]


def timeless(report):
    """The sections without the times that were measured."""
    (section,) = json.loads(report.to_json())["sections"]
    return {key: each for key, each in section.items() if key != "seconds"}


def beside(run):
    """What is in the folder of the run, the run itself and its data apart."""
    return sorted(each.name for each in run.parent.iterdir() if each.name != run.name and each.suffix != ".npz")


# --- what each suite reports -----------------------------------------------------------------------------------------


def test_quick_has_one_threshold_for_all(run):
    told, report = audited(run, "--suite", "quick", "--oracles", 3, "--no-relearn")
    (section,) = report.sections
    row = section.rows[0]
    assert report.suite == "quick"
    assert (row.roc, row.leakage, row.strata, section.controls) == ((), None, (), ())
    assert not any("per-sample" in each for each in metrics(row.judged))
    assert "one threshold" in " ".join(report.limits)
    assert told["announced_seconds"] > 0


def test_a_run_says_that_a_filter_left_samples_alone(tmp_path):
    run = learned_by_heart(tmp_path, "network", erase=("--owner", "person 4", "--unlearner", "low-influence"), epochs=2)
    told, _ = audited(run, "--suite", "quick", "--oracles", 3, "--no-relearn")
    assert "this run left 2 of 4 erased samples alone" in " ".join(told["cautions"])


def test_standard_attacks_each_sample_and_keeps_it_private(run):
    _, report = audited(run, "--oracles", 3)
    (section,) = report.sections
    assert report.suite == "standard"
    for row in section.rows:
        assert "per-sample attack AUC" in metrics(row.judged)
        assert len(row.roc) == 1
        assert row.leakage.worst == ()
    assert (section.samples, section.controls, section.rows[0].strata) == ((), (), ())
    gone = [each for each, number in Run.open(run).erased.items() if number]
    page = (run / "reports" / "0001" / "report.html").read_text()
    assert not any(each in page or each in report.to_json() for each in gone)
    _, shown = audited(run, "--oracles", 3, "--show-samples")
    assert {each.id for each in shown.sections[0].samples} == set(gone)
    assert {each.id for each in shown.sections[0].rows[0].leakage.worst} <= set(gone)
    assert shown.sections[0].rows[0].leakage.worst


@pytest.mark.parametrize("kind", ["finetuned", "remembering"])
def test_full_plays_the_game_and_tells_how_to_repeat_it(kind, request, monkeypatch):
    run = request.getfixturevalue(kind)
    told, report = audited(run, "--suite", "full", "--oracles", 4, "--seed", 3)
    (section,) = report.sections
    row, untouched = section.rows
    assert report.suite == "full"
    found = {each.metric: each for each in row.shown}
    for game in ("privacy", "efficacy"):
        assert found[f"U-LiRA {game} AUC"].models == (32 if game == "privacy" else 64)
        assert found[f"U-LiRA {game} TPR at 1 % FPR"].interval is not None
        assert f"U-LiRA {game}, AUC that 5 % of samples exceed" in found
    assert [each.attack for each in row.roc] == ["per-sample attack", "U-LiRA privacy", "U-LiRA efficacy"]
    assert row.strata
    assert not untouched.strata  # the game is this run's
    assert [(each.should_ring, each.passed) for each in section.controls] == [(True, True), (False, True)]
    defaults = any("finetune with its default settings" in each for each in told["cautions"])
    assert defaults is (kind == "finetuned")
    if kind == "remembering":  # the rows of the memory are gone, and the encoder knows them still
        assert row.status == "remembered"
        assert "Leaks in the unlearning game" in row.verdict
    assert report.command == "erasable audit run --suite full --oracles 4 --models 32 --seed 3"
    monkeypatch.chdir(run.parent)
    done(*shlex.split(report.command)[1:])
    again = Report.from_json((run / "reports" / "0002" / "report.json").read_bytes())
    assert timeless(again) == timeless(report)
    assert beside(run) == []


def test_a_public_encoder_leaves_nothing_to_find(tmp_path):
    """What it forgets it never had: forgotten pairs and never-seen ones are alike, but for chance."""
    run = learned_by_heart(tmp_path, "spm", "--public", 40, "--set", "encoder=public", erase=())
    private = Source.from_spec(Run.open(run).manifest["data"]["spec"]["source"]).train().private
    done("forget", run, "--owner", private.owners[0])
    told, report = audited(run, "--suite", "full", "--oracles", 3, "--models", 32)
    row = report.sections[0].rows[0]
    assert (row.level, told["level"]) == ("exact", "exact")
    leak = next(each for each in row.shown if each.metric == "U-LiRA privacy AUC")
    assert leak.n <= len(private)  # nobody asks to erase what is public
    assert leak.interval[0] <= 50


@pytest.mark.parametrize(("method", "more"), [("sisa", []), ("knn", ["--no-relearn"])])
def test_methods_that_do_not_train_on_parts_play_the_game_too(tmp_path, method, more):
    run = trained(tmp_path, method)
    done("forget", run, "--owner", "person 4")
    _, report = audited(run, "--suite", "full", *SMALL, *more)
    assert "U-LiRA privacy AUC" in metrics(report.sections[0].rows[0].shown)
    assert beside(run) == []


def test_the_command_repeats_where_the_data_were(run, tmp_path):
    source = Run.open(run).manifest["data"]["spec"]["source"]
    moved = shutil.copy(source["options"]["path"], tmp_path / "moved data.npz")
    _, report = audited(run, "--oracles", 3, "--no-relearn", "--data-at", moved, "--show-samples")
    assert shlex.split(report.command) == ["erasable", "audit", "run", "--suite", "standard", "--oracles", "3",
                                           "--seed", "1", "--no-relearn", "--data-at", str(moved),
                                           "--show-samples"]  # fmt: skip


# --- interruptions ---------------------------------------------------------------------------------------------------


@pytest.fixture
def trainings(monkeypatch):
    """How many models each call has trained to the end; trials of the time are none."""
    counts, train = [], SPM.train_subsets

    def counted(self, data, task, *, seeds, **more):
        made = train(self, data, task, seeds=seeds, **more)
        counts.append(len(seeds))
        return made

    monkeypatch.setattr(SPM, "train_subsets", counted)
    monkeypatch.setattr(_trainings.Trainings, "seconds", lambda self, plan: 1.0)
    return counts


def test_an_interrupted_audit_goes_on_where_it_stopped(run, trainings, monkeypatch):
    before = content(run)
    monkeypatch.setattr(_trainings, "CHUNK", 8)
    train = SPM.train_subsets

    def interrupted(self, *arguments, **named):
        if sum(trainings) >= 3 + 1 + 8:
            raise KeyboardInterrupt
        return train(self, *arguments, **named)

    with monkeypatch.context() as during:
        during.setattr(SPM, "train_subsets", interrupted)
        code, out, err = call("audit", run, "--suite", "full", *SMALL)
    assert (code, out, err[-1]) == (130, "", "interrupted")
    assert "12 finished models stay in" in err[-2]
    assert "goes on where it stopped" in err[-2]
    assert trainings == [3, 1, 8]
    assert beside(run) == [".run.audit"]
    assert len(list((run.parent / ".run.audit").glob("*.safetensors"))) == 12
    assert content(run) == before
    code, _, err = call("audit", run, "--suite", "full", *SMALL)
    assert (code, err[0]) == (0, "12 models of an interrupted audit are there: what fits is not trained again")
    assert trainings == [3, 1, 8, 8]
    assert beside(run) == []


def test_nothing_of_erased_samples_stays_beside_the_report(run):
    """Searched for: pixels and ids of the erased samples, in whatever the audit leaves."""
    data = arrays()
    gone = [each for each, number in Run.open(run).erased.items() if number]
    before = content(run.parent)
    audited(run, "--suite", "full", *SMALL)
    new = {name: each for name, each in content(run.parent).items() if name not in before}
    assert {name.rpartition("/")[2] for name in new} == {"report.html", "report.json", "report.md"}
    for at, name in enumerate(data["name"]):
        if name in gone:
            for pattern in (str(name).encode(), data["x"][at].tobytes(), (data["x"][at] / 255).astype("f4").tobytes()):
                assert not any(pattern in each for each in new.values())


def test_other_settings_do_not_trip_over_what_was_left(run, trainings, monkeypatch):
    with monkeypatch.context() as during:
        during.setattr("erasable.game.play", _interrupted)
        assert call("audit", run, "--suite", "full", *SMALL)[0] == 130
    assert sum(trainings) == 3 + 1 + 16
    done("audit", run, "--oracles", 3, "--seed", 2)
    assert sum(trainings) == 2 * (3 + 1) + 16
    assert beside(run) == []  # of the other audit too
    with monkeypatch.context() as during:
        during.setattr("erasable.game.play", _interrupted)
        assert call("audit", run, "--suite", "full", *SMALL)[0] == 130
    trainings.clear()
    done("audit", run, "--suite", "full", "--oracles", 3, "--models", 32)
    assert trainings == [16]  # halves of more models begin with those of fewer
    assert beside(run) == []


def _interrupted(*_, **__):
    raise KeyboardInterrupt


def test_a_damaged_leftover_is_trained_again(run, trainings, monkeypatch):
    with monkeypatch.context() as during:
        during.setattr("erasable.game.play", _interrupted)
        assert call("audit", run, "--suite", "full", *SMALL)[0] == 130
    damaged = next((run.parent / ".run.audit").glob("*.safetensors"))
    damaged.write_bytes(damaged.read_bytes()[:-9])
    trainings.clear()
    done("audit", run, "--suite", "full", *SMALL)
    assert trainings == [1]


def test_what_would_only_fail_again_leaves_nothing(run, monkeypatch):
    from erasable.errors import EvidenceError

    def fails(*_, **__):
        raise EvidenceError("a model that diverged", expected="finite outputs", do="train it anew")

    monkeypatch.setattr("erasable.audit.judge", fails)
    code, _, err = call("audit", run, "--oracles", 3)
    assert (code, err[-1][:6]) == (2, "error:")
    assert beside(run) == []


def test_two_audits_of_one_run_at_once(run, monkeypatch):
    """The second gets one line and leaves alone what the first has made."""
    from erasable.audit import judge

    lines = []

    def meanwhile(*given, **named):
        monkeypatch.setattr("erasable.audit.judge", judge)
        before = content(run.parent)
        lines.extend(call("audit", run, "--oracles", 3))
        assert content(run.parent) == before
        return judge(*given, **named)

    monkeypatch.setattr("erasable.audit.judge", meanwhile)
    done("audit", run, "--oracles", 3)
    code, out, err = lines
    assert (code, out) == (2, "")
    assert err == [f"error: '{run}' is being audited by another process; expected one process at a time; wait for it "
                   "to end, then try again"]  # fmt: skip
    assert [each.name for each in (run / "reports").iterdir()] == ["0001"]
    assert beside(run) == []


def test_a_real_interruption(run):
    """The signal comes as soon as some models are stored."""
    # Each model takes a while to be stored, so that the signal cannot come too late; and the jobs that a shell runs in
    # the background inherit that it is ignored.
    slow = "; ".join([
        "import signal, sys, time", "signal.signal(signal.SIGINT, signal.default_int_handler)",
        "from erasable import fleet", "from erasable.cli import main, _trainings",
        "keep, _trainings.CHUNK = fleet._keep, 4",
        "fleet._keep = lambda *of: (keep(*of), time.sleep(0.05))[0]", "sys.exit(main(sys.argv[1:]))",
    ])  # fmt: skip
    asked = ["audit", str(run), "--suite", "full", "--oracles", "3", "--models", "128"]
    folder = run.parent / ".run.audit"
    with subprocess.Popen([sys.executable, "-c", slow, *asked], stderr=subprocess.PIPE, text=True,
                          env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}) as audit:  # fmt: skip
        until = time.monotonic() + 60
        while _trainings.finished(folder) < 8 and time.monotonic() < until and audit.poll() is None:
            time.sleep(0.01)
        audit.send_signal(signal.SIGINT)
        err = audit.communicate(timeout=60)[1].splitlines()
    assert (audit.returncode, err[-1]) == (130, "interrupted"), err
    assert "goes on where it stopped" in err[-2]
    assert 8 <= _trainings.finished(folder) < 128 + 4
    assert not list(folder.glob(".*.tmp"))
    done("audit", run, "--oracles", 3)
    assert beside(run) == []


# --- how long it will take -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk", [4, 16])
def test_a_trial_counts_the_steps_that_are_left(monkeypatch, tmp_path, chunk):
    """With a clock that moves on by one second a step, and ten for what is set up before the first."""
    now = [0.0]

    class Steady:
        def train(self, data, task, *, seeds, progress):
            return self.train_subsets(data, task, seeds=seeds, subsets=None, progress=progress)

        def train_subsets(self, data, task, *, seeds, subsets, progress):
            now[0] += 10
            for step in range(100):
                now[0] += 1
                progress(step + 1, 100)
            return [None] * len(seeds)

    monkeypatch.setattr(_trainings.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(_trainings, "CHUNK", chunk)
    from erasable.fleet import Plan
    from tests.test_audit import DATA, TASK

    made = _trainings.Trainings(Steady(), DATA, TASK, tmp_path, print)
    assert made.seconds(Plan.halves(DATA.ids, models=16, seed=0)) == pytest.approx(110 * 16 / chunk)
    assert made.control_seconds(0) == pytest.approx(110)
    assert now[0] < 4 * 20  # a few steps of each, not all


# --- what is refused, before a long wait -----------------------------------------------------------------------------


@pytest.mark.parametrize(("arguments", "told"), [
    (["--suite", "deep"], "--suite deep; expected quick, standard or full"),
    (["--models", 16], "--models 16 with --suite standard; expected an even number of at least 16, with --suite full"),
    (["--suite", "quick", "--models", 16], "--models 16 with --suite quick"),
    (["--suite", "full", "--models", 17], "--models 17 with --suite full"),
    (["--suite", "full", "--models", 8], "--models 8 with --suite full"),
    (["--suite", "full", "--models", 0], "--models 0 with --suite full"),
    (["--oracles", 0], "0 oracles"),
    (["--oracles", 1], "1 oracles"),
])  # fmt: skip
def test_audits_that_are_not_begun(run, arguments, told):
    before = content(run.parent)
    assert told in refused("audit", run, *arguments)
    assert content(run.parent) == before


def test_two_oracles_are_too_few_for_the_attack_on_each_sample(run):
    told, report = audited(run, "--oracles", 2)
    assert any("per-sample attack was left out: 2 oracles" in each for each in told["cautions"])
    assert tuple(told["cautions"]) == report.sections[0].cautions
    assert report.sections[0].rows[0].roc == ()
    assert not any("left out" in each for each in audited(run, "--oracles", 3)[0]["cautions"])
    assert not any("left out" in each for each in audited(run, "--oracles", 2, "--suite", "quick")[0]["cautions"])


def test_a_game_without_enough_pairs_is_refused_before_anything_is_trained(run, monkeypatch):
    def fails(*_, **__):
        raise AssertionError("a training was begun")

    monkeypatch.setattr("erasable.game.LEAST", 9)  # of 16 models 8 never see a sample
    for kind in (SPM, Network):
        monkeypatch.setattr(kind, "train_subsets", fails)
    assert "unlearning game of 16 models" in refused("audit", run, "--suite", "full", *SMALL)
    assert beside(run) == []


def test_one_erased_sample(tmp_path):
    run = trained(tmp_path, "spm")
    done("forget", run, "--ids", Run.open(run).ids[0])
    told, report = audited(run, "--suite", "full", *SMALL)
    assert report.sections[0].erased == 1
    assert any("judges" in each and "samples only" in each for each in told["cautions"]) or report.sections[0].controls
