"""`erasable rehearse`: a report that the command it names repeats, and one line for every bad input."""

import json
import shlex

import numpy as np
import pytest

from erasable import cli, rehearsal
from erasable.report import Report
from tests.test_cli import arrays, call, done, refused

SMALL = ["--network", "mlp width=8", "--epochs", "2", "--oracles", "3"]


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """Three kinds of pictures, each in two sorts, of thirty people; a sixth has the wrong mark."""
    data = arrays(120)
    data["fine"] = 2 * data["y"] + np.arange(120) // 3 % 2
    data["mark"] = np.where(np.arange(120) % 6 == 5, (data["y"] + 1) % 3, data["y"])
    path = tmp_path_factory.mktemp("data") / "faces.npz"
    np.savez(path, **data)
    return path


def given(file, scenario, out, *more, method="spm"):
    columns = [part for each in ("image=x", "label=y", "fine=fine", "mark=mark") for part in ("--column", each)]
    return ["rehearse", method, "--data", f"npz:{file}", *columns, "--id", "name", "--owner", "who", "--scenario",
            scenario, "--out", out, *SMALL, *more]  # fmt: skip


def read(folder):
    return Report.from_json((folder / "report.json").read_bytes())


def timeless(report):
    """The rows without the times that were measured."""
    return [[row.model_dump(exclude={"shown", "receipt"}) for row in each.rows] for each in report.sections]


SCENARIOS = ["random", "owner", "class label=2", "subclass column=fine", "mislabelled share=0.1",
             "interclass-confusion pair=0,2", "duplicates forget=all", "bias-conflicting column=mark",
             "memorisation stratum=low", "sequential rounds=2 share=0.05", "adaptive rounds=2 share=0.05"]  # fmt: skip


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_scenario_ends_in_a_report(file, tmp_path, scenario):
    told = json.loads(done(*given(file, scenario, tmp_path / "out", "--suite", "quick", "--json")))
    report = read(tmp_path / "out")
    (section,) = report.sections
    assert {each.name for each in (tmp_path / "out").iterdir()} == {"report.html", "report.json", "report.md"}
    assert told["json"] == str(tmp_path / "out" / "report.json")
    assert told["verdict"] == section.verdict
    assert [told[each] for each in ("status", "control", "retrained")] == [row.status for row in section.rows]
    assert report.title == f"Rehearsal: {scenario} with spm"
    assert section.samples == ()  # they are personal data
    assert told["announced_seconds"] > 0


def test_the_command_in_the_report_repeats_it(file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = done(*given(file, "sequential rounds=2 share=0.05", "first", "--unlearner", "finetune epochs=1", "--each",
                        "--seed", "3", "--set", "recipe.batch=64", "--show-samples", method="network"))  # fmt: skip
    first = read(tmp_path / "first")
    assert "had been announced" in words
    assert words.splitlines()[0].startswith("Sequential: 5 samples in 1 of 2 requests. ")
    assert [each.erased for each in first.sections] == [5, 10]
    assert first.sections[1].samples
    assert "--each" in first.command
    done(*shlex.split(first.command)[1:])
    again = read(tmp_path / "again")
    assert timeless(again) == timeless(first)
    assert again.command == first.command


def test_what_is_being_done_is_told_and_nothing_of_it_on_standard_output(file, tmp_path):
    code, out, err = call(*given(file, "memorisation", tmp_path / "out", "--suite", "quick", "--json"))
    assert code == 0
    assert json.loads(out)
    assert err[0].startswith("Rehearsal of spm with 3 oracles, suite quick: about ")
    assert [any(each in line for line in err) for each in ("who is memorised", "training the model", "judging")] == [
        True
    ] * 3


def test_what_a_filter_left_alone_is_told_by_itself(file, tmp_path):
    asked = given(
        file, "random", tmp_path / "out", "--suite", "quick", "--unlearner", "low-influence", method="network"
    )
    told = json.loads(done(*asked, "--json"))
    rows = read(tmp_path / "out").sections[0].rows
    names = ["4 of 9 samples left alone by low-influence", "5 of 9 samples unlearned by low-influence"]
    assert told["apart"] == [{"name": row.name, "status": row.status} for row in rows[3:]]
    assert [row.name for row in rows[3:]] == names
    words = done(*given(file, "random", tmp_path / "again", "--suite", "quick", "--unlearner", "low-influence",
                        method="network"))  # fmt: skip
    assert all(f"{name}: " in words for name in names)


def test_an_interruption_leaves_nothing(file, tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(rehearsal, "rehearse", interrupted)
    code, out, _ = call(*given(file, "random", tmp_path / "out"))
    assert (code, out) == (cli.INTERRUPTED, "")
    assert [*tmp_path.iterdir()] == []


def test_networks_that_cannot_be_trained_together_are_trained_one_by_one(file, tmp_path):
    small = ["--network", "resnet widths=4 blocks=1 norm=batch", "--epochs", "1", "--unlearner", "nothing"]
    code, _, err = call(*given(file, "random", tmp_path / "out", *small, method="network"))
    assert code == 0
    assert err[0].startswith("Models are trained one by one")
    assert len(read(tmp_path / "out").sections[0].rows) == 3


def test_two_oracles_are_too_few_for_the_attack_on_each_sample(file, tmp_path):
    told = json.loads(done(*given(file, "random", tmp_path / "out", "--oracles", "2", "--json")))
    assert any("2 oracles are too few" in each for each in told["cautions"])


@pytest.mark.parametrize(
    ("scenario", "more", "line"),
    [
        ("mislabeled", [], "did you mean 'mislabelled'"),
        ("", [], "expected a name, then settings"),
        ("random 'share=0.1", [], "No closing quotation"),
        ("random share", [], "write it like"),
        ("random shar=0.1", [], "did you mean 'share'"),
        ("random share=much", [], "expected a number"),
        ("random share=2", [], "share=2"),
        ("subclass", [], "subclass without 'column'"),
        ("subclass column=kind", [], "no column 'kind'"),
        ("subclass column=image", [], "one whole number per sample"),
        ("bias-conflicting column=y", [], "no column 'y'"),
        ("bias-conflicting column=label", [], "commonest label"),
        ("class label=7", [], "has the label 7"),
        ("owner owner=person", [], "'person' owns nothing"),
        ("memorisation stratum=huge", [], "low, middle, high"),
        ("interclass-confusion pair=1,1", [], "two different classes"),
        ("adaptive share=0.2", [], "10 adaptive requests"),
        ("sequential rounds=50 share=0.1", [], "50 requests"),
        ("random", ["--unlearner", "fintune"], "did you mean 'finetune'"),
        ("random", ["--unlearner", "finetune epoch=1"], "did you mean 'epochs'"),
        ("random", ["--suite", "full"], "quick or standard"),
        ("random", ["--oracles", "1"], "at least 2"),
        ("random", ["--set", "epochs=1"], "the setting 'epochs' for spm"),
        ("random", ["--set", "recipe.epochs=1"], "'recipe.epochs' twice"),
        ("class", ["--public", "40"], "declare fewer samples public"),
        ("random", ["--data", "npz:nowhere.npz"], "nowhere.npz"),
    ],
)
def test_bad_input_is_one_line_and_changes_nothing(file, tmp_path, scenario, more, line):
    assert line in refused(*given(file, scenario, tmp_path / "out", *more))
    assert [*tmp_path.iterdir()] == []


def test_a_plain_network_needs_an_unlearner(file, tmp_path):
    assert "add --unlearner retrain" in refused(*given(file, "random", tmp_path / "out", method="network"))
    assert "did you mean 'sisa'" in refused(*given(file, "random", tmp_path / "out", method="siza"))


def test_data_without_owners_have_no_owner_to_ask(file, tmp_path):
    words = given(file, "owner", tmp_path / "out")
    at = words.index("--owner")
    assert "data without owners" in refused(*words[:at], *words[at + 2 :])


def test_a_model_that_no_loss_can_teach(file, tmp_path):
    words = given(file, "random", tmp_path / "out", method="knn")
    assert "add --no-relearn" in refused(*words)
    done(*words, "--no-relearn")


def test_a_used_folder_is_left_alone(file, tmp_path):
    (tmp_path / "notes").write_text("mine")
    assert "is in use" in refused(*given(file, "random", tmp_path))
    assert (tmp_path / "notes").read_text() == "mine"
