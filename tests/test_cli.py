"""The command line: round trips, every kind of bad input, exit codes, and the demo."""

import contextlib
import io
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from erasable import catalog, cli
from erasable.cli import _fields
from erasable.errors import SettingsError
from erasable.forgettable.munkey import MUNKEY
from erasable.forgettable.sisa import SISA
from erasable.run import Run
from erasable.source import Source

FAST = ["--network", "mlp width=8", "--epochs", "1"]


def call(*arguments):
    """Exit code, standard output and the lines of standard error."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.main([str(each) for each in arguments])
    return code, out.getvalue(), err.getvalue().splitlines()


def done(*arguments):
    code, out, err = call(*arguments)
    assert code == 0, err
    return out


def refused(*arguments):
    """The one line that bad input gets."""
    code, out, err = call(*arguments)
    assert (code, out, len(err)) == (2, "", 1), err
    assert err[0].startswith("error: ")
    came, expected, do = err[0].split("; ", 2)
    assert came
    assert expected.startswith("expected ")
    assert do
    return err[0]


def content(folder):
    return {str(each.relative_to(folder)): each.read_bytes() for each in folder.rglob("*") if each.is_file()}


def arrays(n=90, seed=0):
    """Three kinds of pictures, 4 x 4, of thirty people."""
    draw = np.random.default_rng(seed)
    label = np.arange(n) % 3
    image = draw.integers(0, 100, (n, 4, 4)).astype(np.uint8)
    image[np.arange(n), label] = 255
    return {"x": image, "y": label, "name": np.array([f"pic{i:03d}" for i in range(n)]),
            "who": np.array([f"person {i % 30}" for i in range(n)])}  # fmt: skip


def trained(folder, method="spm", *more, **changed):
    """A run folder trained on arrays in a file."""
    file = folder / "faces.npz"
    np.savez(file, **(arrays() | changed))
    done("train", method, "--data", f"npz:{file}", "--column", "image=x", "--column", "label=y", "--id", "name",
         "--owner", "who", "--out", folder / "run", *FAST, *more)  # fmt: skip
    return folder / "run"


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("spm"))


@pytest.fixture
def run(original, tmp_path):
    return shutil.copytree(original, tmp_path / "run")


@pytest.fixture(scope="module")
def sharded(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("sisa"), "sisa")


# --- what there is ---------------------------------------------------------------------------------------------------


def test_ls_prints_every_name_of_the_catalog():
    found = json.loads(done("ls", "--json"))
    assert {family: list(names) for family, names in found.items()} == {
        family: list(names) for family, names in catalog.FAMILIES.items()
    }
    assert list(json.loads(done("ls", "unlearners", "--json"))) == ["unlearners"]
    words = done("ls")
    assert all(name in words for names in catalog.FAMILIES.values() for name in names)


def test_help_names_all_commands():
    for asked in ([], ["--help"]):
        told = done(*asked)
        for command in ("demo", "ls", "train", "forget", "audit", "rehearse", "tune", "report"):
            assert f"\n  {command} " in told
            assert "Usage" in done(command, "--help")
    assert done("--version").strip() == "0.1.0"


# --- round trips -----------------------------------------------------------------------------------------------------


def test_train_forget_audit_report(run):
    before = content(run)
    told = json.loads(done("forget", run, "--owner", "person 4", "--dry-run", "--json"))
    assert tuple(told["ids"]) == Run.open(run).request("x", owner="person 4").ids
    assert told["level"] == "revoked"
    assert content(run) == before
    receipt = json.loads(done("forget", run, "--owner", "person 4", "--case", "case 7", "--json"))
    assert (receipt["case"], receipt["erasure"], receipt["level"]) == ("case 7", "L2", "revoked")
    assert receipt["samples"] == told["samples"]
    assert json.loads((run / "receipts" / "0001.json").read_text())["case"] == "case 7"
    assert set(told["ids"]).isdisjoint(Run.open(run).ids)
    made = json.loads(done("audit", run, "--oracles", 2, "--json"))
    assert made["report"] == str(run / "reports" / "0001" / "report.html")
    assert {each.name for each in (run / "reports" / "0001").iterdir()} == {"report.html", "report.json", "report.md"}
    page = (run / "reports" / "0001" / "report.html").read_bytes()
    (run / "reports" / "0001" / "report.html").unlink()
    again = json.loads(done("report", run, "--json"))
    assert (run / "reports" / "0001" / "report.html").read_bytes() == page
    assert again["sections"][0]["rows"][0] == {"name": "this run", "level": "revoked", "status": made["status"]}
    assert done("report", run, "--format", "md", "--number", 1).splitlines()[-1].endswith("report.md")
    done("audit", run, "--oracles", 2, "--no-relearn")
    assert (run / "reports" / "0002" / "report.json").is_file()


def test_by_ids_by_file_and_by_label(run, tmp_path):
    ids = Run.open(run).ids
    assert "2 samples erased" in done("forget", run, "--ids", f"{ids[0]}, {ids[1]}")
    (tmp_path / "ids.txt").write_text(f"{ids[2]}\n\n{ids[3]}\r\n")
    assert "2 samples erased" in done("forget", run, "--ids-file", tmp_path / "ids.txt")
    (tmp_path / "ids.json").write_text(json.dumps({"ids": [ids[4], ids[6], ids[4]]}))
    assert "2 samples erased" in done("forget", run, "--ids-file", tmp_path / "ids.json")
    assert "samples erased" in done("forget", run, "--label", "1")
    assert [each.case for each in Run.open(run).receipts] == [f"request-{number:04d}" for number in range(1, 5)]
    assert refused("forget", run, "--ids", ids[0]) == (
        f"error: 1 of 1 ids were erased before, first '{ids[0]}'; expected samples that are still held; "
        "leave them out: receipt 0001 has it"
    )


def test_a_method_that_reads_data_finds_them_again(sharded, tmp_path):
    run = shutil.copytree(sharded, tmp_path / "run")
    moved = shutil.copy(sharded.parent / "faces.npz", tmp_path / "moved.npz")
    told = json.loads(done("forget", run, "--owner", "person 3", "--dry-run", "--json"))
    assert told["level"] == "exact"
    receipt = json.loads(done("forget", run, "--owner", "person 3", "--data-at", moved, "--json"))
    assert (receipt["level"], receipt["samples"]) == ("exact", told["samples"])


@pytest.mark.parametrize("more", [[], ["--set", "repair_epochs=1"]])
def test_a_network_that_takes_steps_back_says_empirical_before_and_after(tmp_path, more):
    run = trained(tmp_path, "amnesiac", *more)
    before = content(run)
    told = done("forget", run, "--owner", "person 3", "--dry-run")
    assert ("network would be changed and then repaired. " if more else "memory, and weights changed. ") in told
    assert content(run) == before
    receipts = [json.loads(done("forget", run, "--owner", f"person {i}", *option, "--json"))
                for i, option in ((3, ["--dry-run"]), (3, []), (4, []))]  # fmt: skip
    for each in receipts:
        assert each["level"] == "empirical"
        who = f"network was fitted on {each['samples']} of {each['samples']} erased samples"
        assert each["why"].startswith(f"{who}, and was changed after the fact, not fitted again")
    assert receipts[1]["erasure"] == "L2"


def test_plain_networks_need_an_unlearner(tmp_path):
    run = trained(tmp_path, "network")
    assert "add --unlearner retrain" in refused("forget", run, "--owner", "person 3")
    assert json.loads(done("forget", run, "--owner", "person 3", "--unlearner", "retrain", "--dry-run",
                           "--json"))["level"] == "exact"  # fmt: skip
    told = done("forget", run, "--owner", "person 3", "--unlearner", "finetune", "--set", "epochs=1")
    assert "EMPIRICAL" in told
    assert "one of epochs" in refused(
        "forget", run, "--owner", "person 4", "--unlearner", "finetune", "--set", "epoch=1"
    )


def test_tables_and_rows_of_numbers(tmp_path):
    rows = [f"p{i},{'yes' if i % 2 else 'no'},{i % 7},{i % 2},house {i % 9}" for i in range(60)]
    (tmp_path / "t.csv").write_text("\n".join(["who,label,a,b,home", *rows]))
    told = json.loads(done(
        "train", "nearest-mean", "--data", f"table:{tmp_path / 't.csv'}", "--id", "who", "--label-column", "label",
        "--owner", "home", "--low", 0, "--high", 7, "--epochs", 1, "--out", tmp_path / "run", "--json"))  # fmt: skip
    assert told["settings"]["network"] == "mlp"
    assert told["test_accuracy"] > 0
    held = len(Run.open(tmp_path / "run").ids)
    told = json.loads(done("forget", tmp_path / "run", "--label", "yes", "--json"))
    assert told["samples"] == held - len(Run.open(tmp_path / "run").ids) > 5
    assert "one of no, yes" in refused("forget", tmp_path / "run", "--label", "maybe")


# --- bad input: one line, exit code 2, nothing changed ---------------------------------------------------------------


@pytest.mark.parametrize(("arguments", "told"), [
    (["--ids", "pic999"], "ids are not in"),
    (["--owner", "nobody"], "'nobody' owns nothing"),
    (["--ids", " , "], "a list without ids"),
    (["--ids-file", "none.txt"], "cannot be read"),
    (["--label", "7"], "names no samples"),
    ([], "by none"),
    (["--ids", "pic000", "--owner", "person 1"], "by several"),
    (["--owner", "person 1", "--set", "epochs=1"], "--set without --unlearner"),
    (["--owner", "person 1", "--unlearner", "fintune"], "did you mean 'finetune'"),
    (["--owner", "person 1", "--unlearner", "no.such:Thing"], "cannot be imported"),
    (["--owner"], "requires an argument"),
    (["--onwer", "x"], "No such option"),
])  # fmt: skip
def test_requests_that_cannot_be_carried_out(run, arguments, told):
    before = content(run)
    assert told in refused("forget", run, *arguments)
    assert content(run) == before


def test_public_samples_are_refused(tmp_path):
    done("train", "spm", "--data", "breast-cancer", "--public", 100, *FAST, "--out", tmp_path / "run")
    public = Source.of("breast-cancer", public=100).train().public
    before = content(tmp_path / "run")
    assert "declared public" in refused("forget", tmp_path / "run", "--ids", public.ids[0])
    assert content(tmp_path / "run") == before


def _cut(file):
    file.write_bytes(file.read_bytes()[:-40])


def _older(file):
    file.write_text(json.dumps(json.loads(file.read_text()) | {"schema_version": 99}))


@pytest.mark.parametrize(("file", "damage", "told"), [
    ("manifest.json", _cut, "is damaged"),
    ("manifest.json", lambda file: file.unlink(), "has no manifest.json"),
    ("manifest.json", _older, "schema version 99"),
    ("memory.sqlite", lambda file: file.write_bytes(b"no database" * 400), "damaged"),
    ("memory.sqlite", lambda file: file.unlink(), "is missing"),
    ("model-0000.safetensors", _cut, "SHA-256"),
    ("model-0000.safetensors", lambda file: file.unlink(), "is missing"),
])  # fmt: skip
def test_folders_that_are_damaged_or_from_the_future(run, file, damage, told):
    damage(run / file)
    before = content(run)
    for command in (["forget", run, "--owner", "person 1"], ["audit", run]):
        assert told in refused(*command)
    assert content(run) == before


def test_no_folder_at_all(tmp_path):
    assert "is no folder" in refused("forget", tmp_path / "none", "--owner", "x")
    assert "is no folder" in refused("audit", tmp_path / "none")
    assert "no report" in refused("report", tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_audits_that_cannot_be_made(run):
    assert "nothing was erased" in refused("audit", run)
    done("forget", run, "--owner", "person 1")
    assert "1 oracle" in refused("audit", run, "--oracles", 1)
    assert "no report 0007" in refused("report", run, "--number", 7)
    assert not list((run / "reports").iterdir())


def test_a_model_that_cannot_be_relearned_is_refused_before_its_oracles_are_trained(tmp_path):
    run = trained(tmp_path, "knn")
    done("forget", run, "--owner", "person 1")
    assert "add --no-relearn" in refused("audit", run)
    done("audit", run, "--no-relearn", "--oracles", 2)


@pytest.mark.parametrize("command", [["forget", "--owner", "person 2"], ["audit"]])
def test_other_data_than_those_of_the_training(sharded, tmp_path, command):
    run = shutil.copytree(sharded, tmp_path / "run")
    if command[0] == "audit":
        done("forget", run, "--owner", "person 1")
    other = arrays()
    other["x"][40] += 1
    np.savez(tmp_path / "other.npz", **other)
    before = content(run)
    told = refused(command[0], run, *command[1:], "--data-at", tmp_path / "other.npz")
    assert "other contents" in told or "digest" in told
    assert "does not exist" in refused(command[0], run, *command[1:], "--data-at", tmp_path / "gone.npz")
    assert content(run) == before


@pytest.mark.parametrize(("changed", "told"), [
    ({"x": np.full((90, 4, 4), np.nan)}, "NaN"),
    ({"y": np.arange(90) - 1}, "label -1"),
    ({"name": np.array(["same"] * 90)}, "stands for 90 samples"),
    ({"who": np.array([f"p{i}" for i in range(80)])}, "80 owners"),
])  # fmt: skip
def test_data_that_cannot_be_trained_on(tmp_path, changed, told):
    np.savez(tmp_path / "d.npz", **(arrays() | changed))
    assert told in refused("train", "spm", "--data", f"npz:{tmp_path / 'd.npz'}", "--column", "image=x", "--column",
                           "label=y", "--id", "name", "--owner", "who", "--out", tmp_path / "run")  # fmt: skip
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("arguments", "told"), [
    (["smp", "--data", "digits"], "did you mean 'spm'"),
    (["spm", "--data", "digit"], "did you mean 'digits'"),
    (["spm", "--data", "npz:none.npz", "--column", "image=x", "--column", "label=y"], "does not exist"),
    (["spm", "--data", "npz:none.npz"], "a label"),
    (["spm", "--data", "table:none.csv"], "id and label"),
    (["spm", "--data", "digits", "--size", "9"], "the option 'size'"),
    (["spm", "--data", "digits", "--set", "epoch=3"], "one of network, encoder, retrieval"),
    (["spm", "--data", "digits", "--set", "epoch"], "NAME=VALUE"),
    (["spm", "--data", "digits", "--set", "decay=fast"], "expected a number"),
    (["spm", "--data", "digits", "--set", "encoder=yours"], "one of own, public, frozen"),
    (["spm", "--data", "digits", "--set", "encoder=frozen"], "similarity='covariance'"),
    (["spm", "--data", "digits", "--set", "encoder=public", "--set", "similarity=covariance"], "0 public"),
    (["spm", "--data", "digits", "--set", "recipe.lr=1", "--lr", "2"], "'recipe.lr' twice"),
    (["spm", "--data", "digits", "--epochs", "0"], "epochs=0"),
    (["munkey", "--data", "digits", "--epochs", "1"], "public"),
    (["spm", "--data", "digits", "--public", "-1"], "-1 public"),
    (["spm"], "--data"),
])  # fmt: skip
def test_trainings_that_cannot_begin(tmp_path, monkeypatch, arguments, told):
    monkeypatch.chdir(tmp_path)
    code, _, err = call("train", *arguments, "--out", "run")
    assert code == 2
    assert [each.startswith("error: ") for each in err[-1:]] == [True]
    assert told in err[-1]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("arguments", "told"), [
    (["spm", "--network", "mpl"], "did you mean 'mlp'"),
    (["spm", "--network", "mlp wdth=8"], "setting 'wdth' of encoder 'mlp'"),
    (["spm", "--network", "vit patch=3"], "(1, 8, 8)"),
    (["munkey", "--public", "100", "--set", "key_network=mpl"], "encoder 'mpl'"),
])  # fmt: skip
def test_networks_that_cannot_be_built_are_refused_before_a_training_is_announced(tmp_path, arguments, told):
    assert told in refused("train", *arguments, "--data", "digits", "--out", tmp_path / "run")
    assert not list(tmp_path.iterdir())


def test_a_path_in_use_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    assert "is in use" in refused("train", "spm", "--data", "digits", "--out", tmp_path)
    assert content(tmp_path) == {"mine.txt": b"mine"}


FULL = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
from erasable.cli import main
sys.exit(main(sys.argv[2:]))
"""


def test_a_full_disk_leaves_everything_as_it_was(tmp_path):
    """Files that may not grow beyond a size fail as on a full disk: here the journal, then the weights."""
    run = trained(tmp_path, **arrays(900))
    before = content(run)
    ended = subprocess.run([sys.executable, "-c", FULL, "33000", "forget", str(run), "--label", "1"],
                           capture_output=True, text=True, stdin=subprocess.DEVNULL)  # fmt: skip
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "no space left" in ended.stderr or "disk I/O error" in ended.stderr  # as SQLite tells this limit
    assert len(ended.stderr.splitlines()) == 1
    assert content(run) == before
    ended = subprocess.run(
        [sys.executable, "-c", FULL, "2000", "train", "spm", "--data", "breast-cancer", "--epochs", "1",
         "--network", "mlp width=64", "--out",
         str(tmp_path / "new")],
        capture_output=True, text=True, stdin=subprocess.DEVNULL)  # fmt: skip
    assert ended.returncode == 2
    assert "no space left" in ended.stderr.splitlines()[-1]
    assert {each.name for each in tmp_path.iterdir()} == {"run", "faces.npz"}


# --- other ends ------------------------------------------------------------------------------------------------------


def test_unexpected_failures_and_interruptions(monkeypatch):
    def fails(*_, **__):
        raise RuntimeError("two\nlines")

    monkeypatch.setattr(catalog, "families", fails)
    code, _, err = call("ls")
    assert (code, len(err)) == (1, 1)
    assert "RuntimeError: two lines" in err[0]
    code, _, err = call("--debug", "ls")
    assert code == 1
    assert err[0].startswith("Traceback")

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(catalog, "families", interrupted)
    assert call("ls") == (130, "", ["interrupted"])


def test_settings_from_text():
    method = _fields.build(SISA, {"shards": "3", "aggregate": "vote", "recipe.lr": "1e-2", "sequential": "yes"}, "sisa")
    assert (method.shards, method.aggregate, method.recipe.lr, method.sequential) == (3, "vote", 0.01, True)
    assert method.recipe.epochs == SISA().recipe.epochs
    shares = {"own": "0.4", "neighbour": "0.3", "image_only": "0.2", "memory_only": "0.1"}
    assert _fields.build(MUNKEY, shares, "munkey").own == 0.4  # checked together, not one by one
    for given in ({"shards": "3.5"}, {"sequential": "perhaps"}, {"recipe": "x"}, {"recipe.epoch": "1"}):
        with pytest.raises(SettingsError):
            _fields.build(SISA, given, "sisa")
    assert _fields.pairs(["a=b=c"]) == {"a": "b=c"}
    with pytest.raises(SettingsError, match="twice"):
        _fields.pairs(["a=1", "a=2"])


def test_demo(tmp_path):
    out = tmp_path / "demo"
    told = json.loads(done("demo", "--quick", "--out", out, "--seed", 3, "--json"))
    assert told["report"] == str(out / "report.html")
    assert [len(each["rows"]) for each in told["sections"]] == [9, 8]
    names = {"demo.json", "report.html", "report.json", "report.md", "run-owner", "run-digit"}
    assert {each.name for each in out.iterdir()} == names
    assert [each.name for each in tmp_path.iterdir()] == ["demo"]
    levels = {row["name"]: row["level"] for row in told["sections"][0]["rows"]}
    assert (levels["SPM"], levels["SPM (public encoder)"], levels["SISA"]) == ("revoked", "exact", "exact")
    for name, erased in (("run-owner", told["sections"][0]["erased"]), ("run-digit", told["sections"][1]["erased"])):
        (receipt,) = Run.open(out / name).receipts
        assert (receipt.level, receipt.erasure, receipt.samples) == ("exact", "L2", erased)
    assert "would be erased" not in refused("forget", out / "run-owner", "--owner", told["owner"])
    assert "Would erase" in done("forget", out / "run-owner", "--label", 3, "--dry-run")
    assert done("report", out).splitlines()[-1] == str(out / "report.html")
    (out / "mine.txt").write_text("mine")
    before = content(out)
    assert "was not made by an earlier demo" in refused("demo", "--quick", "--out", out)
    assert content(out) == before


def test_an_earlier_demo_is_replaced_as_a_whole(tmp_path, monkeypatch):
    from erasable import demo

    monkeypatch.setattr(demo._Demo, "run", lambda self: (self.folder / "report.html").write_text("new"))
    monkeypatch.setattr(demo, "Demo", lambda *_: None)
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "demo.json").write_text("{}")
    (tmp_path / "demo" / "report.md").write_text("old")
    with pytest.raises(TypeError):  # a pass that writes this much is no report
        demo.run(tmp_path / "demo")
    assert content(tmp_path) == {"demo/report.html": b"new"}
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "x").write_text("mine")
    assert "not made by" in refused("demo", "--out", tmp_path / "other")


def test_networks_of_ones_own_are_imported_only_when_asked(tmp_path, monkeypatch):
    (tmp_path / "own_network_of_a_test.py").write_text(
        "from erasable.models.mlp import MLP\n\n\nclass Mine(MLP):\n    pass\n"
    )
    monkeypatch.chdir(tmp_path)
    asked = ["train", "network", "--data", "digits", "--network", "own_network_of_a_test:Mine width=8", "--epochs", "1"]
    code, _, err = call(*asked, "--out", "first")
    assert code == 2
    assert "--import own_network_of_a_test" in err[-1]
    assert "nowhere_to_be_found" in refused("--import", "nowhere_to_be_found", *asked, "--out", "second")
    done("--import", "own_network_of_a_test", *asked, "--out", "third")
    assert (tmp_path / "third" / "manifest.json").exists()
    assert not (tmp_path / "first").exists()


def test_a_rehearsal_promises_no_more_than_the_receipt(tmp_path):
    """The scaling of a table's inputs was fitted on everybody, and retraining does not fit it again."""
    rows = [f"r{i},{i % 2},{i % 7},{i % 5 - 2.5},h{i % 10}" for i in range(80)]
    (tmp_path / "t.csv").write_text("\n".join(["who,label,a,b,home", *rows]))
    done("train", "network", "--data", f"table:{tmp_path / 't.csv'}", "--id", "who", "--label-column", "label",
         "--owner", "home", "--out", tmp_path / "run", *FAST)  # fmt: skip
    ask = ("forget", tmp_path / "run", "--owner", "h3", "--unlearner", "retrain", "--json")
    told, receipt = json.loads(done(*ask, "--dry-run")), json.loads(done(*ask))
    assert told["level"] == receipt["level"] == "revoked"
    assert told["exposure"] == receipt["exposure"]
