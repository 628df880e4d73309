"""`erasable tune`, and its result and `auto` wherever --unlearner is named."""

import json
import shlex
import shutil

import numpy as np
import pytest

from erasable import choice, cli
from erasable.report import Report
from erasable.tuned import Tuned
from tests.test_cli import arrays, call, done, refused

SMALL = ["--network", "mlp width=8", "--epochs", "2"]


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "faces.npz"
    np.savez(path, **arrays(120))
    return path


def data(file):
    return ["--data", f"npz:{file}", "--column", "image=x", "--column", "label=y", "--id", "name", "--owner", "who"]


def given(file, out, *more, unlearner="finetune epochs=1"):
    return ["tune", unlearner, *data(file), *SMALL, "--budget", "3", "--targets", "2", "--oracles", "3", "--out", out,
            *more]  # fmt: skip


def rehearsal(file, out, *more):
    return ["rehearse", "network", *data(file), *SMALL, "--oracles", "3", "--suite", "quick", "--scenario", "owner",
            "--out", out, *more]  # fmt: skip


@pytest.fixture(scope="module")
def tuned(file, tmp_path_factory):
    """Tuned on one owner; what 'erasable rehearse' draws for the same scenario and seed was left out."""
    path = tmp_path_factory.mktemp("tuned") / "it.json"
    told = done(*given(file, path, "--request", "owner", "--reported", "owner"))
    assert "Chosen for finetune epochs=1" in told
    assert f"--unlearner {path}" in told
    return path


@pytest.fixture(scope="module")
def original(file, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "run"
    done("train", "network", *data(file), *SMALL, "--out", folder)
    return folder


@pytest.fixture
def run(original, tmp_path):
    return shutil.copytree(original, tmp_path / "run")


@pytest.mark.parametrize("request_", ["random", "class", "mislabelled share=0.1"])
def test_what_is_tried_is_told_and_stored(file, tmp_path, request_):
    code, out, err = call(*given(file, tmp_path / "it.json", "--request", request_, "--reported", "pic000, pic001",
                                 "--json"))  # fmt: skip
    assert code == 0
    told, made = json.loads(out), Tuned.read(tmp_path / "it.json")
    assert told["settings"] == made.settings
    assert (told["score"], told["score_of_defaults"]) == (made.chosen.score, made.defaults.score)
    assert (told["trials"], made.targets, made.oracles, made.reported) == (3, 2, 3, 2)
    assert told["cost"]["trainings"] == 5
    assert {each.settings["epochs"] for each in made.trials} == {1}  # held
    assert not {"pic000", "pic001"} & set(made.development)
    assert any(each.startswith("Tuning of finetune epochs=1 by 3 settings on ") for each in err)
    assert sum("training 3 oracles" in each for each in err) == 1


def test_what_was_tuned_is_used_by_name(file, tuned, tmp_path):
    done(*rehearsal(file, tmp_path / "out", "--unlearner", tuned))
    report = Report.from_json((tmp_path / "out" / "report.json").read_bytes())
    row = report.sections[0].rows[0]
    assert row.name == "finetune, tuned"
    assert row.finding("tuning").note == "3 trials"
    assert shlex.split(report.command)[shlex.split(report.command).index("--unlearner") + 1] == str(tuned)
    assert "Its settings were chosen by 3 trials" in row.note
    assert "tuning" in (tmp_path / "out" / "report.md").read_text()


def test_it_is_refused_for_what_it_was_tuned_on(file, tuned, run, tmp_path):
    owner = f"person {int(Tuned.read(tuned).development[0].removeprefix('pic')) % 30}"
    line = refused(*rehearsal(file, tmp_path / "out", "--unlearner", tuned, "--scenario", f"owner 'owner={owner}'"))
    assert "are those by which the settings of finetune were chosen" in line
    assert "tune again with these as --reported" in line
    for more in ([], ["--dry-run"]):
        assert "were chosen" in refused("forget", run, "--owner", owner, "--unlearner", tuned, *more)
    assert not (tmp_path / "out").exists()


def test_receipts_tell_it(tuned, run):
    development = Tuned.read(tuned).development
    free = next(f"pic{i:03d}" for i in range(120) if f"pic{i:03d}" not in development)
    assert "FineTune would change the weights" in done("forget", run, "--ids", free, "--unlearner", tuned, "--dry-run")
    assert f"chosen by 3 trials on {len(development)} other samples" in done(
        "forget", run, "--ids", free, "--unlearner", tuned
    )
    receipt = json.loads((run / "receipts" / "0001.json").read_text())
    assert receipt["tuning"]["trials"] == 3
    assert receipt["method"] == "FineTune"


def test_auto_says_what_it_chose_and_why(file, run, tmp_path, monkeypatch):
    table = tmp_path / "table.json"
    monkeypatch.setattr(choice, "FILE", table)
    told = done("forget", run, "--ids", "pic000", "--unlearner", "auto", "--dry-run")
    assert told.startswith("auto chose retrain: for single samples, ")
    assert "no table of measurements is stored" in told
    row = {"unlearner": "finetune", "leaks": 0.0, "accuracy_lost": 0.5, "seconds": 1.0}
    choice.write_measured([row | {"request": "owner"}], about="a test", file=table)
    assert "nothing that fits was measured" in done("forget", run, "--ids", "pic000", "--unlearner", "auto")
    told = json.loads(done("forget", run, "--owner", "person 3", "--unlearner", "auto", "--json"))
    assert told["chosen"].startswith("auto chose finetune: for all of an owner, ")
    assert told["method"] == "FineTune"
    done(
        "forget", run, "--ids", "pic004", "--unlearner", "retrain"
    )  # of person 4; what is left of them is all there is
    left = ",".join(f"pic{i:03d}" for i in (34, 64, 94))
    assert "all of an owner" in done("forget", run, "--ids", left, "--unlearner", "auto", "--dry-run")
    told = json.loads(done(*rehearsal(file, tmp_path / "out", "--unlearner", "auto", "--json")))
    assert told["chosen"].startswith("auto chose finetune")
    assert "--unlearner finetune" in Report.from_json((tmp_path / "out" / "report.json").read_bytes()).command


def test_an_interruption_leaves_nothing(file, tmp_path, monkeypatch):
    from erasable import tuning

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(tuning, "tune", interrupted)
    code, out, _ = call(*given(file, tmp_path / "it.json"))
    assert (code, out) == (cli.INTERRUPTED, "")
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize(
    ("more", "line"),
    [
        (["--budget", "1"], "budget=1"),
        (["--oracles", "1"], "at least 1 and 2"),
        (["--targets", "0"], "at least 1 and 2"),
        (["--request", "everybody"], "scenario 'everybody'"),
        (["--request", "adaptive"], "adaptive requests to tune on"),
        (["--request", "sequential rounds=2 share=0.1"], "which has 2"),
        (["--request", "memorisation"], "takes no trainings"),
        (["--request", "subclass"], "subclass without 'column'"),
        (["--reported", "pic999"], "1 of 1 ids are not in"),
        (["--reported", "random share=2"], "share=2"),
        (["--reported", "memorisation"], "known before anything is trained"),
        (["--reported", "duplicates forget=all"], "that it makes itself"),
        (["--set", "epochs=1"], "the setting 'epochs' for network"),
        (["--data", "npz:nowhere.npz"], "nowhere.npz"),
        (["--network", "mpl"], "mpl"),
    ],
)
def test_bad_input_is_one_line_and_changes_nothing(file, tmp_path, more, line):
    assert line in refused(*given(file, tmp_path / "it.json", *more))
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize(("unlearner", "line"), [("fintune", "did you mean 'finetune'"), ("nothing", "no setting"),
                                                 ("finetune epoch=1", "did you mean 'epochs'"),
                                                 ("trw", "whole class")])  # fmt: skip
def test_an_unlearner_that_cannot_be_tuned(file, tmp_path, unlearner, line):
    assert line in refused(*given(file, tmp_path / "it.json", unlearner=unlearner))


def test_the_file_to_write_is_new_and_json(file, tmp_path):
    (tmp_path / "it.json").write_text("here")
    assert "is in use" in refused(*given(file, tmp_path / "it.json"))
    assert "no name for a tuning" in refused(*given(file, tmp_path / "it.txt"))


def test_a_file_that_is_no_tuning(file, run, tuned, tmp_path):
    (tmp_path / "other.json").write_text("{}")
    for unlearner, more, line in ((tmp_path / "other.json", [], "no record of tuned settings"),
                                  (tmp_path / "nowhere.json", [], "nowhere.json"),
                                  (tuned, ["--set", "epochs=3"], "no settings beside those it brings"),
                                  ("auto", ["--set", "epochs=3"], "no settings beside")):  # fmt: skip
        assert line in refused("forget", run, "--ids", "pic000", "--unlearner", unlearner, *more)


def test_data_without_owners(tmp_path):
    plain = arrays(60)
    np.savez(tmp_path / "plain.npz", x=plain["x"], y=plain["y"])
    told = refused("tune", "finetune", "--data", f"npz:{tmp_path / 'plain.npz'}", "--column", "image=x", "--column",
                   "label=y", *SMALL, "--request", "owner", "--out", tmp_path / "it.json")  # fmt: skip
    assert "for data without owners" in told


def test_the_game_leaves_out_what_was_tuned_on(file, tuned):
    """The unlearning game of an audit of weights, played with a tuned unlearner."""
    from erasable import Network, Recipe, Source
    from erasable.cli import _foreign
    from erasable.cli._suites import Game
    from erasable.fleet import train_fleet
    from erasable.game import play
    from erasable.tasks import Classification

    way = _foreign._way({"unlearner": str(tuned), "suite": "full", "models": None})
    samples = Source.of(f"npz:{file}", columns={"image": "x", "label": "y"}, ids="name", owners="who").train()
    known = set(way.unlearner.development) & set(samples.ids)
    game = Game.of(way.unlearner, way.name, samples, 10, 16, 0)
    assert not known & {each for each, asked in zip(game.plan.ids, game.plan.targets.tolist(), strict=True) if asked}
    assert any(f"The {len(known)} samples by which the unlearner was tuned" in each for each in game.cautions)
    task, method = Classification.of(samples), Network(network="mlp width=4", recipe=Recipe(epochs=1))
    fleet = train_fleet(method, samples, task, game.plan, executor="vectorised")
    assert game.seconds(fleet[0], samples) > 0
    assert not known & set(play(fleet, game.way, share=game.share).after.ids)
    plain = Game.of(way.plain, way.name, samples, 10, 16, 0)
    assert plain.plan.targets.sum() - game.plan.targets.sum() == len(known)
    assert "name that unlearner" in refused(
        "audit", "--model", "x.safetensors", "--architecture", "m:b", "--data", f"npz:{file}", "--forget-ids", "pic000",
        "--out", "somewhere", "--suite", "full", "--unlearner", "auto")  # fmt: skip
