"""`erasable audit` for models of other people: end to end, and every line that bad input gets."""

import json
import re
import shlex
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

pytest.importorskip("pyarrow")

import pyarrow as pa
import pyarrow.parquet

from erasable._plumbing import storage
from erasable.cli import _trainings
from erasable.datasets import digits
from erasable.foreign import Architecture
from erasable.report import Report
from erasable.tasks import Classification
from erasable.train import Recipe
from tests.test_cli import arrays, call, content, done, refused
from tests.test_score_file import rows_of, written

NETS = """
from torch import nn

def build(shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(shape[0] * shape[1] * shape[2], 16), nn.ReLU(), nn.Linear(16, classes))

def wider(shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(shape[0] * shape[1] * shape[2], 32), nn.ReLU(), nn.Linear(32, classes))

def sure(shape, classes):
    return nn.Sequential(build(shape, classes), nn.Softmax(1))
"""
MODEL = ["--architecture", "some_nets:build", "--data", "digits"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder as somebody would send it: code, weights before and after, two oracles, the erased ids, a manifest."""
    folder = tmp_path_factory.mktemp("sent")
    (folder / "some_nets.py").write_text(NETS)
    data = digits("train")
    gone = data.ids[:40]
    sys.path.insert(0, str(folder))
    try:
        design = Architecture(build="some_nets:build", recipe=Recipe(epochs=3))
        task = Classification.of(data)
        models = [*design.train(data, task, seeds=[0]), *design.train(data.without(gone), task, seeds=[1, 2, 3, 4])]
    finally:
        sys.path.remove(str(folder))
        del sys.modules["some_nets"]
    (folder / "oracles").mkdir()
    for name, model in zip(("before", "after", "oracles/1", "oracles/2", "third"), models, strict=True):
        safetensors.torch.save_file(model.network.state_dict(), folder / f"{name}.safetensors")
    torch.save(models[0].network.state_dict(), folder / "before.pt")
    (folder / "ids.txt").write_text("\n".join(gone))
    (folder / "manifest.txt").write_text("\n".join(data.ids))
    return folder


@pytest.fixture
def here(place, monkeypatch):
    """The current folder is that one, where --architecture finds its module."""
    monkeypatch.chdir(place)
    yield place
    sys.modules.pop("some_nets", None)


def test_weights_are_audited_with_the_oracles_of_a_folder(here, tmp_path):
    path = list(sys.path)
    told = json.loads(done("audit", "--model", "after.safetensors", *MODEL, "--forget-ids", "ids.txt", "--oracles",
                           "oracles", "--manifest", "manifest.txt", "--before", "before.safetensors", "--out",
                           tmp_path / "out", "--json"))  # fmt: skip
    assert sys.path == path
    assert {each.name for each in (tmp_path / "out").iterdir()} == {"report.html", "report.json", "report.md"}
    report = Report.from_json((tmp_path / "out" / "report.json").read_bytes())
    (section,) = report.sections
    assert [(row.name, row.role, row.level) for row in section.rows] == [
        ("this model", "method", None), ("do nothing", "untouched", None)]  # fmt: skip
    assert (told["oracles"], told["status"], section.erased) == (2, section.rows[0].status, 40)
    assert section.rows[0].finding("relearning") is not None
    assert any("word of whoever gave them" in each for each in section.cautions)
    assert "--oracles oracles" in report.command
    assert "--before before.safetensors" in report.command
    assert "report.html" in done("report", tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text()
    assert "digits/0" not in page  # whose samples they are is told with --show-samples only


def test_weights_are_audited_with_oracles_that_are_trained_here(here, tmp_path):
    told = done("audit", "--model", "before.safetensors", *MODEL, "--forget-ids", "digits/00002, digits/00003",
                "--oracles", 2, "--epochs", 2, "--out", tmp_path / "out", "--show-samples")  # fmt: skip
    assert "this model: " in told
    report = Report.from_json((tmp_path / "out" / "report.json").read_bytes())
    assert [row.name for row in report.sections[0].rows] == ["this model", "do nothing"]
    assert "trained here" in report.sections[0].rows[0].note
    assert report.sections[0].rows[0].oracle_seeds == (2001, 2002)
    assert {each.id for each in report.sections[0].samples} == {"digits/00002", "digits/00003"}


def test_a_suite_decides_what_is_tried(here, tmp_path):
    """With oracles as many as are there: three are enough to attack each sample by itself, two are not."""
    shutil.copytree(here / "oracles", tmp_path / "three")
    shutil.copy(here / "third.safetensors", tmp_path / "three" / "3.safetensors")
    asked = ["audit", "--model", "after.safetensors", *MODEL, "--forget-ids", "ids.txt", "--json"]

    def audited(name, *more):
        told = json.loads(done(*asked, *more, "--out", tmp_path / name))
        report = Report.from_json((tmp_path / name / "report.json").read_bytes())
        left_out = any("per-sample attack was left out: 2 oracles" in each for each in told["cautions"])
        return report, report.sections[0].rows[0], left_out

    three = ["--oracles", tmp_path / "three"]
    report, row, left_out = audited("standard", *three, "--show-samples")
    assert (report.suite, left_out, len(row.roc)) == ("standard", False, 1)
    assert row.finding("per-sample attack AUC") is not None
    assert {each.id for each in row.leakage.worst} <= set((here / "ids.txt").read_text().split())
    report, row, left_out = audited("two", "--oracles", here / "oracles")
    assert (report.suite, left_out, row.roc, row.leakage) == ("standard", True, (), None)
    report, row, left_out = audited("quick", "--suite", "quick", "--oracles", here / "oracles")
    assert (report.suite, left_out, row.roc) == ("quick", False, ())
    assert "one threshold" in " ".join(report.limits)
    assert "--suite quick" in report.command


def test_the_full_suite_without_the_game_says_so(here, tmp_path):
    told = json.loads(done("audit", "--model", "after.safetensors", *MODEL, "--forget-ids", "digits/00002,digits/00003",
                           "--oracles", "oracles", "--before", "before.safetensors", "--suite", "full", "--out",
                           tmp_path / "out", "--json"))  # fmt: skip
    (section,) = Report.from_json((tmp_path / "out" / "report.json").read_bytes()).sections
    assert {each.learns_from for each in section.rows[0].relearning} >= {"the erased samples", "a new head"}
    assert all(each.untouched is not None for each in section.rows[0].relearning)
    assert section.rows[0].finding("forget accuracy after rounding to int8") is not None
    assert section.rows[0].finding("U-LiRA privacy AUC") is None
    assert section.controls == ()
    assert any(
        each.startswith("The unlearning game was not played, for nobody here knows") for each in told["cautions"]
    )


@pytest.mark.parametrize(("unlearner", "leaks"), [("nothing", True), ("retrain", False)])
def test_the_game_of_an_unlearner(here, tmp_path, monkeypatch, unlearner, leaks):
    """On labels by lot, which only those know who were trained on them: doing nothing leaks, retraining does not."""
    data = arrays(120)
    data["y"] = np.random.default_rng(1).integers(0, 3, 120)
    np.savez(tmp_path / "lot.npz", **data)
    monkeypatch.chdir(tmp_path)
    shutil.copy(here / "some_nets.py", tmp_path)
    _untrained(tmp_path)
    asked = ["audit", "--model", "w.safetensors", "--architecture", "some_nets:wider", *LOT, "--forget-ids",
             "pic003,pic004", "--manifest", "m.txt", "--epochs", 15, "--batch", 32, "--lr", "0.01"]  # fmt: skip
    told = json.loads(done(*asked, "--suite", "full", "--oracles", 3, "--models", 16, "--unlearner", unlearner, "--out",
                           "out", "--json"))  # fmt: skip
    report = Report.from_json((tmp_path / "out" / "report.json").read_bytes())
    (section,) = report.sections
    row = section.rows[0]
    assert (row.finding("U-LiRA privacy AUC").interval[0] > 50) is leaks
    assert row.status == told["status"] != "remembered"  # models trained here are not the one that is audited
    assert ("Leaks in the unlearning game" in row.verdict) is leaks
    assert [each.attack for each in row.roc] == ["per-sample attack", "U-LiRA privacy", "U-LiRA efficacy"]
    assert len(section.controls) == 2
    assert any(f"and unlearned by {unlearner}." in each for each in told["cautions"])
    assert told["announced_seconds"] > 0
    assert f"--models 16 --unlearner {unlearner}" in report.command
    assert [each.name for each in tmp_path.iterdir() if "audit" in each.name] == []


LOT = ["--data", "npz:lot.npz", "--column", "image=x", "--column", "label=y", "--id", "name", "--low", 0, "--high", 255]


def _untrained(folder):
    """Weights of some_nets:wider that know nothing, and a manifest of 90 samples."""
    sys.path.insert(0, str(folder))
    try:
        network = Architecture(build="some_nets:wider").network(Classification(shape=(1, 4, 4), classes=3))
    finally:
        sys.path.remove(str(folder))
    safetensors.torch.save_file(network.state_dict(), folder / "w.safetensors")
    (folder / "m.txt").write_text("\n".join(f"pic{i:03d}" for i in range(90)))


def test_an_interrupted_audit_of_weights_goes_on_unless_the_code_changed(here, tmp_path, monkeypatch):
    monkeypatch.chdir(shutil.copytree(here, tmp_path / "sent"))
    asked = ["audit", "--model", "after.safetensors", *MODEL, "--forget-ids", "digits/00002", "--oracles", 3,
             "--epochs", 1, "--out", "deep/out"]  # fmt: skip

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as during:
        during.setattr("erasable.cli._foreign.judge", interrupted)
        assert call(*asked)[0] == 130
    kept = tmp_path / "sent" / "deep" / ".out.audit"
    assert len(list(kept.rglob("*.safetensors"))) == 4
    trained = []
    train = Architecture.train_subsets
    monkeypatch.setattr(_trainings.Trainings, "seconds", lambda self, plan: 1.0)
    monkeypatch.setattr(
        Architecture,
        "train_subsets",
        lambda self, *of, **more: trained.append(len(more["seeds"])) or train(self, *of, **more),
    )
    with monkeypatch.context() as during:
        during.setattr("erasable.cli._foreign.judge", interrupted)
        code, _, err = call(*asked)
        assert (code, trained) == (130, [])
        assert err[0] == "4 models of an interrupted audit are there: what fits is not trained again"
        Path("some_nets.py").write_text(NETS.replace("nn.ReLU()", "nn.Tanh()"))
        sys.modules.pop("some_nets")
        assert call(*asked)[0] == 130
    assert sum(trained) == 4
    with storage.alone(kept, "busy"):
        assert "'deep/out' is being audited by another process" in refused(*asked)
    done(*asked)
    assert [each.name for each in kept.parent.iterdir()] == ["out"]


def test_an_audit_that_another_one_has_finished_meanwhile_is_not_begun(here, tmp_path, monkeypatch):
    def finished(*_):
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "report.html").write_text("theirs")

    def fails(*_, **__):
        raise AssertionError("a training was begun")

    monkeypatch.setattr("erasable.cli._foreign.choose", finished)
    monkeypatch.setattr(Architecture, "train_subsets", fails)
    assert "is in use; expected a new path" in refused("audit", "--model", "after.safetensors", *MODEL, "--forget-ids",
                                                       "ids.txt", "--out", tmp_path / "out")  # fmt: skip
    assert content(tmp_path) == {"out/report.html": b"theirs"}


def test_a_model_that_was_made_for_other_inputs_is_doubted(here, tmp_path):
    weights = safetensors.torch.load_file(here / "after.safetensors")
    weights["3.weight"] = -weights["3.weight"]
    safetensors.torch.save_file(weights, tmp_path / "odd.safetensors")
    told = done("audit", "--model", tmp_path / "odd.safetensors", *MODEL, "--forget-ids", "ids.txt", "--oracles",
                "oracles", "--out", tmp_path / "out")  # fmt: skip
    assert "check that it was made for these data" in told


def test_data_of_ones_own_need_a_manifest(here, tmp_path):
    """Which samples the model was trained on is not guessed: one in five is nobody's test part here."""
    np.savez(tmp_path / "d.npz", **arrays(60))
    design = Architecture(build="some_nets:build", recipe=Recipe(epochs=1))
    sys.path.insert(0, str(here))
    network = design.network(Classification(shape=(1, 4, 4), classes=3))
    sys.path.remove(str(here))
    safetensors.torch.save_file(network.state_dict(), tmp_path / "w.safetensors")
    data = ["--data", f"npz:{tmp_path / 'd.npz'}", "--column", "image=x", "--column", "label=y", "--id", "name",
            "--low", 0, "--high", 255]  # fmt: skip
    asked = ["audit", "--model", tmp_path / "w.safetensors", "--architecture", "some_nets:build", *data, "--forget-ids",
             "pic003,pic004", "--oracles", 2, "--epochs", 1, "--out", tmp_path / "out"]  # fmt: skip
    assert "no --manifest for data without a test part" in refused(*asked)

    def manifest(names):
        (tmp_path / "m.json").write_text(json.dumps(names))
        return ["--manifest", tmp_path / "m.json"]

    names = [f"pic{i:03d}" for i in range(60)]
    assert "names all of the samples" in refused(*asked, *manifest(names))
    given = [*asked[:-6], "--oracles", here / "oracles", "--out", tmp_path / "out", "--forget-ids", "x"]
    assert "names none of the samples" in refused(*given, *manifest(["x"]))
    assert "2 of 42 ids of the manifest are not in 'd', first 'x'" in refused(
        *asked, *manifest([*names[:40], "x", "y"])
    )
    assert "1 of 2 ids to forget are not in the training manifest, first 'pic004'" in refused(
        *asked, *manifest(names[:4])
    )
    done(*asked, *manifest(names[:40]))
    report = Report.from_json((tmp_path / "out" / "report.json").read_bytes())
    assert (report.sections[0].erased, report.sections[0].retained) == (2, 38)
    assert "--low 0.0" in report.command


# --- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("changed", "told"), [
    ({"--model": "before.pt"}, "is a file for torch.load, a pickle, which can run any code"),
    ({"--model": "none.safetensors"}, "'none.safetensors' is no file"),
    ({"--model": "ids.txt"}, "is no safetensors file"),
    ({"--before": "before.pt"}, "is a file for torch.load"),
    ({"--architecture": "some_nets:wider"}, "3 of another shape (first '1.weight', (16, 64) instead of (32, 64))"),
    ({"--architecture": "some_nets:sure"}, "4 missing (first '0.1."),
    ({"--architecture": "some_nets:bild"}, "cannot be imported"),
    ({"--architecture": "no_such_nets:build"}, "module 'no_such_nets' cannot be imported"),
    ({"--architecture": "mlp"}, "architecture 'mlp'; expected package.module:build"),
    ({"--architecture": None}, "--model without --architecture; expected --model with --architecture, --data"),
    ({"--data": None}, "--model without --data"),
    ({"--forget-ids": None}, "--model without --forget-ids"),
    ({"--out": None}, "--model without --out"),
    ({"--out": "oracles"}, "'oracles' is in use"),
    ({"--data": "digit"}, "did you mean 'digits'"),
    ({"--data": "breast-cancer"}, "'some_nets:build' failed (IndexError"),
    ({"--forget-ids": "digits/99999"}, "1 of 1 ids are not in 'digits/train', first 'digits/99999'"),
    ({"--forget-ids": ","}, "',' is a list without ids"),
    ({"--manifest": "none.txt"}, "'none.txt' cannot be read"),
    ({"--forget-ids": "digits/99999", "--manifest": "manifest.txt"},
     "1 of 1 ids to forget are not in the training manifest, first 'digits/99999'"),
    ({"--oracles": "1"}, "1 oracles; expected at least 2"),
    ({"--oracles": "no folder"}, "'no folder' is no folder"),
    ({"--oracles": "."}, "the oracle 'after' has the weights of the model that is judged"),
    ({"--oracles": "empty"}, "0 .safetensors files in 'empty'; expected at least 2 oracles"),
    ({"--epochs": "3"}, "--epochs with oracles from 'oracles'"),
    ({"--oracles": "train", "--epochs": "0"}, "epochs=0"),
    ({"--suite": "deep"}, "--suite deep; expected quick, standard or full"),
    ({"--suite": "full", "--models": "16"}, "--models 16 with --suite full and no --unlearner; expected it with"),
    ({"--unlearner": "retrain"}, "--unlearner retrain with --suite standard; expected it with --suite full"),
    ({"--suite": "full", "--unlearner": "retran"}, "did you mean 'retrain'"),
    ({"--suite": "full", "--unlearner": "retrain", "--models": "7"}, "--models 7 with --suite full"),
    ({"--data-at": "x"}, "--data-at with --model; expected it with RUN only"),
    ({"--signal": "loss"}, "--signal with --model; expected it with --scores only"),
    ({"--scores": "x.csv"}, "an audit of --model and --scores"),
])  # fmt: skip
def test_models_that_cannot_be_audited(here, changed, told):
    (here / "empty").mkdir(exist_ok=True)
    options = {"--model": "after.safetensors", "--architecture": "some_nets:build", "--data": "digits", "--forget-ids":
               "ids.txt", "--oracles": "oracles", "--out": "new"} | changed  # fmt: skip
    asked = [part for pair in options.items() if pair[1] is not None for part in pair]
    assert told in refused("audit", *asked)
    assert not (here / "new").exists()


def test_what_a_run_does_not_take(tmp_path):
    assert "an audit of nothing; expected RUN, --model or --scores" in refused("audit")
    assert "an audit of RUN and --model" in refused("audit", tmp_path, "--model", "x")
    assert "--forget-ids with RUN; expected it with --model only" in refused("audit", tmp_path, "--forget-ids", "x")
    assert "--low with RUN" in refused("audit", tmp_path, "--low", 0)
    assert "--oracles folder for a run" in refused("audit", tmp_path, "--oracles", "folder")
    assert "--no-relearn with --scores" in refused("audit", "--scores", "x", "--no-relearn")


# --- scores ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["scores.parquet", "scores.csv"])
def test_scores_are_audited(tmp_path, name):
    file = written(tmp_path, rows_of(leak=6.0, oracles=4), name)
    (tmp_path / "ids.txt").write_text("\n".join(f"s{i}" for i in range(10)))
    (tmp_path / "manifest.json").write_text(json.dumps([f"s{i}" for i in range(20)]))
    asked = ["audit", "--scores", file, "--forget-ids", tmp_path / "ids.txt", "--manifest", tmp_path / "manifest.json"]
    told = json.loads(done(*asked, "--out", tmp_path / "deep" / "out", "--json"))
    assert told["models"] == {"theirs": "remembered"}
    assert told["oracles"] == 4
    made = content(tmp_path / "deep" / "out")
    assert set(made) == {"report.html", "report.json", "report.md"}
    assert "oracle threshold AUC" in made["report.md"].decode()
    assert "per-sample attack AUC" in made["report.md"].decode()
    assert json.loads(made["report.json"])["sections"][0]["rows"][0]["leakage"]["worst"] == []
    assert "theirs: Leaks" in done(*asked, "--out", tmp_path / "other", "--signal", "margin")
    done(*asked, "--out", tmp_path / "quick", "--suite", "quick")
    assert "per-sample attack" not in content(tmp_path / "quick")["report.md"].decode()
    assert "is in use" in refused(*asked, "--out", tmp_path / "other")


@pytest.mark.parametrize(("rows", "more", "told"), [
    (lambda rows: rows[:-1], [], "model 'oracle 3' lacks 1 of 30 samples"),
    (lambda rows: [*rows, rows[4]], [], "1 pairs more than once, first model 'theirs' and sample 's4'"),
    (lambda rows: [row | {"value": float("nan")} for row in rows], [], "NaN for model 'theirs' and sample 's0'"),
    (lambda rows: rows[:60], [], "has 1 oracles"),
    (lambda rows: rows, ["--manifest", "some.txt"], "ids to forget are not in the training manifest, first 's1'"),
    (lambda rows: [{"model": "a", "sample": "s0", "value": 1.0}], [], "no columns called 'member'"),
    (lambda rows: rows, ["--signal", "loss"], "no signal 'loss'"),
    (lambda rows: rows, ["--epochs", "3"], "--epochs with --scores"),
    (lambda rows: rows, ["--suite", "full"], "--suite full with --scores; expected quick or standard: what is more "),
])  # fmt: skip
def test_scores_that_cannot_be_audited(tmp_path, monkeypatch, rows, more, told):
    monkeypatch.chdir(tmp_path)
    pyarrow.parquet.write_table(pa.Table.from_pylist(rows(list(rows_of()))), "scores.parquet")
    (tmp_path / "some.txt").write_text("s0\n")
    assert told in refused("audit", "--scores", "scores.parquet", "--forget-ids", "s0,s1", "--out", "new", *more)
    assert "--scores without --out" in refused("audit", "--scores", "scores.parquet", "--forget-ids", "s0")
    assert not (tmp_path / "new").exists()


def test_without_pyarrow(tmp_path, monkeypatch):
    (tmp_path / "s.csv").write_text("model,sample,value,member\n")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    code, _, err = call("audit", "--scores", tmp_path / "s.csv", "--forget-ids", "s0", "--out", tmp_path / "new")
    assert (code, len(err)) == (2, 1)
    assert "pip install 'erasable[data]'" in err[0]


# --- docs/foreign.md -------------------------------------------------------------------------------------------------


def test_the_commands_of_the_page_run(here, tmp_path, monkeypatch):
    """In a folder with files of the names that the page uses."""
    folder = shutil.copytree(here, tmp_path / "sent")
    written(folder, rows_of(samples=120, forget=40), "signals.parquet")
    monkeypatch.chdir(folder)
    page = (Path(__file__).parents[1] / "docs" / "foreign.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    commands = [shlex.split(line) for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    assert [each[:3] for each in commands] == [["erasable", "audit", "--model"], ["erasable", "audit", "--scores"]]
    done(*commands[0][1:])
    shutil.rmtree("report")
    Path("ids.txt").write_text("\n".join(f"s{i}" for i in range(40)))
    done(*commands[1][1:])
