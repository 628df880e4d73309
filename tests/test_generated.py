"""The generated parts of README.md and docs/ are what the code and the stored results say."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "docs" / "generate.py"


@pytest.fixture(scope="module")
def generate():
    spec = importlib.util.spec_from_file_location("generate", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def tables(generate):
    return generate.tables


@pytest.fixture(scope="module")
def unlearning(generate):
    return generate.unlearning


def test_all_parts_are_current(generate):
    assert list(generate.stale()) == [], "run python docs/generate.py"


def test_the_table_of_methods_names_the_whole_catalog_and_its_links_lead_somewhere(generate):
    from erasable import catalog

    table = generate.current((ROOT / "README.md").read_text(), {})
    for name, place in (catalog.METHODS.places | catalog.UNLEARNERS.places).items():
        file = place.partition(":")[0].replace(".", "/") + ".py"
        assert f"[`{name}`]({file})" in table
        assert (ROOT / file).is_file()


def test_levels_are_found_out_and_not_written_down(generate, monkeypatch):
    from erasable.forgettable.nearest_mean import NearestMean
    from erasable.receipt import Exposure

    assert generate._level_of_method("nearest-mean", {}) == "revoked"
    honest = NearestMean.train

    def without_exposure(self, *args, **kwargs):
        models = honest(self, *args, **kwargs)
        for model in models:
            model.exposure = Exposure({})
        return models

    monkeypatch.setattr(NearestMean, "train", without_exposure)
    assert generate._level_of_method("nearest-mean", {}) == "exact"


def test_a_part_is_replaced_between_its_markers_and_nowhere_else(generate):
    text = "a\n<!-- x:begin -->\nold\n<!-- x:end -->\nb\n"
    assert generate.current(text, {"x": lambda: "new"}) == "a\n<!-- x:begin -->\nnew\n<!-- x:end -->\nb\n"
    assert generate.current(text, {"x": lambda: "old"}) == text


@pytest.mark.parametrize("text", ["", "<!-- x:begin -->", "<!-- x:end --><!-- x:begin -->"])
def test_markers_that_are_missing_or_crossed(generate, text):
    with pytest.raises(ValueError, match="once each"):
        generate.current(text, {"x": str})


def _row(name, statuses, **values):
    names = {"KL": "KL", "NN": "MIA-NN A", "test": "test accuracy"}
    found = {names[k]: {"value": each, "oracles": 82.0} for k, each in values.items()}
    return {"name": name, "statuses": statuses, "findings": found, "beyond": [1.5, 0.5, 2.5]}


def _unit(row, **more):
    return {"row": row, "refused": "", "settings": "", "times": [0.5, 0.25], "erased": 9} | more


def test_numbers_come_from_the_stored_results(generate, tables, unlearning, tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "ROOT", tmp_path)
    for file in ("docs/choose.md", "docs/results.md"):
        assert all(each().startswith("Not measured yet") for each in generate.PARTS[file].values())
    machine = {"processor": "x", "cores": 2, "threads": 1, "torch": "2"}
    spread = {"median_s": 0.002, "min_s": 0.001, "max_s": 0.5}
    finding = {"value": 90.0, "oracles": 88.5}
    unit = {"mean over targets": {name: finding for name in (*tables.COLUMNS, "forget accuracy before")},
            "targets": [{"level": "revoked", "status": "remembered"}]}  # fmt: skip
    stored = {
        "experiments/results/fashion_mnist_accuracy.json": {
            "table": {"spm": {"test_mean": 91.8, "test_sd": 0.1, "seeds": 3, "seconds_mean": 415.7}},
            "gaps": {"spm behind network": -0.07}},
        "experiments/results/fashion_mnist_forgetting.json": {"units": {name: unit for name in tables.UNITS}},
        "experiments/results/fashion_mnist_public_encoder.json": {
            "table": {"learned / everybody": {"test": 90.2}, "learned / public": {"test": 88.1}},
            "price_in_points": {"learned": 2.1}, "seeds": 3, "best_exact_behind_best_of_all": 2.1},
        "experiments/results/audit_panel.json": {"units": {
            "digits/one owner/SPM": {"rows": [{"name": "SPM", "statuses": ["remembered"] * 3 + ["no trace"]}]},
            "digits/random 10 %/SPM": {"rows": [{"name": "SPM", "statuses": ["remembered"], "findings": {
                "KL": {"value": 0.25, "sd": 0.012, "low": 0.01, "high": 0.1}}}]},
            "digits/game/SPM": {"ways": {"SPM": {
                "findings": {"U-LiRA privacy AUC": {"value": 56.76, "interval": [54.7, 58.9]}},
                "strata": {"high memorisation": {"samples": 25, "AUC": {"value": 98.6}}}}}}}},
        "experiments/results/posthoc.json": {"units": {f"fashion-mnist/one class/{key}": unit for key, unit in {
            "defaults/cf-k": _unit(None, refused="no labels; expected some", times=[]),
            "defaults/scrub": _unit(_row("scrub", ["remembered"] * 3, KL=1.5, NN=77.0, test=80.0)),
            "defaults/ct": _unit(_row("ct", ["no trace"] * 3, KL=0.1, test=70.0)),
            "settings/scrub": {"defaults": 9.0, "score": 0.25},
            "tuned/scrub": _unit(_row("scrub", ["no trace", "stands out", "no trace"], KL=0.5, test=81.0)),
            "designed/SPM": _unit(_row("SPM", ["remembered"], test=79.0), times=[0.01])}.items()}},
        "experiments/results/min_norm_sine.json": {"table": {
            "retrain, 10": {"median": 1.4, "least": 1.0, "most": 2.0, "paper": 1.5}}},
        "benchmarks/results/ssd.json": {"result": {"mlp": {
            "loader": spread, "ssd": spread | {"loader / ssd": 2.66}, "ssd, again": spread | {
                "loader / ssd, again": 15.4}, "each class once, loader / ssd": 10.3,
            "largest difference of a weight": 6.5e-9}}},
        "experiments/results/scenarios.json": {"table": [{
            "name": "mislabelled", "own": "canaries", "erased": [72], "ways": [{"name": "SPM"} | {role: {
                "statuses": statuses, "own": own, "oracles": 2.0} for role, statuses, own in (
                ("method", ["remembered", "no trace", "remembered"], 70.4), ("untouched", ["remembered"] * 3, 99.0),
                ("retrain", ["cannot tell", "stands out", "cannot tell"], 3.0))}]}]},
        "benchmarks/results/forget_latency.json": {
            "result": {"in RAM": {"1": spread}, "again": spread, "times faster": 1234.5}},
        "benchmarks/results/inference.json": {
            "result": {"batch 1": {"network": spread | {"spm / network": 1.01}, "spm": spread}}},
        "benchmarks/results/population.json": {
            "result": {"mlp": {"population": spread | {"one after another / population": 5.5},
                               "one after another": spread}}},
    }  # fmt: skip
    for path, content in stored.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(json.dumps({"command": "python it.py", "machine": machine, **content}))
    assert "| spm | 91.80 (0.10) | 3 |" in tables.accuracy()
    assert "spm behind network by -0.07 points" in tables.accuracy()
    told = tables.forgetting()
    assert "| spm/random | revoked | 90.0 | 90.00 (88.50) |" in told
    assert "| network/random | nothing was erased |" in told
    assert "Not measured yet" not in told
    assert "| learned | 3 | 90.20 | 88.10 | 2.10 |" in tables.public_encoder()
    told = tables.panel()
    assert "| SPM | leaks | leaks 3, no trace 1 | - | 56.8 (54.7 to 58.9) | 99 (25 samples) |" in told
    assert "| SPM | - | 0.250 \u00b1 0.012 (0.010 to 0.100) | - |" in told
    told = unlearning.posthoc()
    assert "| scrub | leaks | 1.50 | 77.0 | 80.0 | 250 ms | 9.0 to 0.2 | differs 1, no trace 2 | 0.50 |" in told
    assert told.index("| ct |") < told.index("| scrub |"), "those first that cannot be told from their oracles"
    assert "| SPM | leaks | - | - | 79.0 | 10 ms | - | - |" in told
    assert "Refused, or came out broken: cf-k (no labels)." in told
    told = unlearning.posthoc_short()
    assert "| scrub | differs 1, no trace 2 | 1.5 | 1.0 |" in told
    assert "| ct | no trace* | 1.5 | 12.0 |" in told
    assert "| cf-k | refuses | - | - |" in told
    assert "| retrain | 1.4 (1.0 to 2.0; paper 1.5) | - | - |" in unlearning.sine()
    assert "| mlp | 2.00 ms | 2.00 ms, 2.66 x faster | 2.00 ms, 15.4 x | 10.3 x | 7e-09 |" in unlearning.ssd_speed()
    told = tables.scenarios()
    assert "| mislabelled | 72 | leaks 2, no trace 1 |" in told
    assert "| mislabelled | canaries | 70 (2; 99) |" in told
    assert "3 of 3 for doing nothing, which must ring; 1 of 3 for training again" in told
    assert "| in RAM | 1 | 2.00 ms | 1.00 ms to 500.00 ms |" in tables.latency()
    assert "times faster: 1,234.5." in tables.latency()
    assert "| batch 1 | 2.00 ms | 2.00 ms | 1.01 |" in tables.inference()
    assert "| mlp | 2.00 ms | 2.00 ms | 5.50 |" in tables.population()


def test_tables_of_separating_tasks_by_hand(generate, tables, tmp_path, monkeypatch):
    separating = generate.separating
    monkeypatch.setattr(tables, "ROOT", tmp_path)
    known = {"command": "it", "machine": {"processor": "x", "cores": 2, "threads": 1, "torch": "2"}}
    kept = {"mean": 80.0, "sd": 2.5, "worst": 75.0}
    both = {"value": 95.0, "oracles": 97.5}
    cell = {"colour": 70.0, "least": 60.0, "most": 80.0}
    stored = {
        "ten_classes": {"table": {"trw": {"gap A": 4.0, "error A": 0.5, "gap B": 6.0, "error B": 1.0, "retained": kept,
                                          "erased": kept, "time of training again": 0.25}},
                        "below": {"trw A": {"best rival": "salun", "below": 41.7, "interval": [20.0, 55.0],
                                            "null": 2.0}}},
        "coloured_digits": {"table": [{"method": "cupid", "chosen by": ["mean 2"], "retain": 74.5}]},
        "near_and_far": {"table": [{"question": "class", "name": "ssd", "apart": {"forgotten": 3.0, "KL": 0.5},
                                    "classes": {"Bag": {"status": ["remembered", "no trace"]}}, "hidden": ["Bag"]}]},
        "low_influence": {"table": [{"request": "random", "filter": "loss", "inner": "ct", "time ratio": 0.5,
                                     "test accuracy": 80.0, "all": ["remembered", 60.0]}]},
        "min_norm_collapse": {"table": {"oracle": cell, "1 %, 5 epochs, min-norm": cell,
                                        "1 %, 5 epochs, paper": {"min-norm": 49.1, "best other but retraining": 45.9}}},
        "min_norm_labels": {"table": {"1 %, 2 epochs, min-norm": {"chosen": {"grey": 40.0, "object": 82.0}},
                                      "1 %, 2 epochs, Pareto": [["min-norm", 82.0, 40.0]]}},
        "amnesiac": {"table": [{"recipe": "SGD", "request": "one sample", "name": "amnesiac", "erased": 1,
                                "taken back, %": 4.5, "test accuracy": both, "forget accuracy": both,
                                "statuses": ["cannot tell"]}]},
    }  # fmt: skip
    (tmp_path / "experiments" / "results").mkdir(parents=True)
    for name, content in stored.items():
        (tmp_path / "experiments" / "results" / f"{name}.json").write_text(json.dumps(content | known))
    told = separating.ten_classes()
    assert "| trw | 4.0 \u00b1 0.5 | 6.0 \u00b1 1.0 | 80.0 \u00b1 2.5 | 75.0 | 80.0 \u00b1 2.5 | 75.0 | 0.25 |" in told
    assert "| trw A | salun | 42 (20 to 55) | 2.0 |" in told
    assert "| cupid | mean 2 | - | - | - | - | 74.5 | - | - |" in separating.coloured_digits()
    assert "| ssd | 3.0 | +0.50 | leaks 1, no trace 1 | Bag |" in separating.near_and_far()
    assert "| random, loss, ct | 0.50 | 80.0 | leaks; 60 | - | - |" in separating.low_influence()
    told = separating.collapse()
    assert "| oracle | 70.0 (60 to 80) |" in told
    assert "| min-norm | 70.0 (60 to 80) |" in told
    assert "| the paper: min-norm against the best other | 49.1 against 45.9 |" in told
    told = separating.labels()
    assert "| min-norm | 40.0 at 82.0 |" in told
    assert "1 %, 2 epochs: min-norm 40 at 82." in told
    assert "| SGD, one sample | amnesiac | 1 | 4 | 95.0 (97.5) | 95.0 (97.5) | cannot tell |" in separating.amnesiac()


def test_half_an_experiment_says_what_is_missing(tables, tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "ROOT", tmp_path)
    (tmp_path / "experiments" / "results").mkdir(parents=True)
    for name, content in {"accuracy": {"units": {"spm/0": {}}}, "public_encoder": {"units": {}},
                          "forgetting": {"units": {}, "command": "python it.py", "machine": {
                              "processor": "x", "cores": 2, "threads": 1, "torch": "2"}}}.items():  # fmt: skip
        (tmp_path / "experiments" / "results" / f"fashion_mnist_{name}.json").write_text(json.dumps(content))
    assert tables.accuracy().startswith("Not measured yet")
    assert tables.public_encoder().startswith("Not measured yet")
    assert f"Not measured yet: {', '.join(tables.UNITS)}." in tables.forgetting()


def test_wrong_arguments():
    done = subprocess.run([sys.executable, SCRIPT, "--chek"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "usage" in done.stderr
