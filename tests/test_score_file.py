"""Scores without a model: what is read is what the rows say, what is wrong is named, and who remembers is found."""

import csv
import json
import math
import random
import statistics
import sys

import pytest
import torch

pytest.importorskip("pyarrow")

import pyarrow as pa
import pyarrow.parquet

from erasable._plumbing.id_file import read_ids
from erasable.attacks._rates import auc
from erasable.audit import compile_report
from erasable.errors import (
    EmptyRequest,
    EvidenceError,
    InvalidData,
    Misaligned,
    MissingExtra,
    MissingFile,
    PopulationTooSmall,
    SettingsError,
    UnknownSample,
)
from erasable.evidence import Evidence
from erasable.report import Report
from erasable.request import Request
from erasable.score_audit import against_oracles, judge_scores, surer
from erasable.score_file import ScoreFile

FORGET = [f"s{i}" for i in range(10)]


def rows_of(*, oracles=3, samples=30, leak=0.0, seed=0, forget=10, signal=None, grouped=False):
    """Log-odds: s0... are forgotten, the last third was never trained on. The target is surer of s0... by `leak`."""
    draw = torch.Generator().manual_seed(seed)
    noise = torch.randn(oracles + 1, samples, generator=draw) + torch.randn(samples, generator=draw)
    odds = torch.where(torch.arange(samples) < 2 * samples // 3, noise + 2, noise).double()
    odds[1:, :forget] -= 2  # oracles know them as little as new samples
    odds[0, :forget] += leak - 2
    for model in range(oracles + 1):
        for i in range(samples):
            row = {"model": f"oracle {model}" if model else "theirs", "sample": f"s{i}", "value": float(odds[model, i]),
                   "member": (i >= forget or not model) and i < 2 * samples // 3,
                   "signal": signal or "margin"}  # fmt: skip
            if signal == "confidence":
                row["value"] = float(odds[model, i].sigmoid())
            if signal == "loss":
                row["value"] = float(-torch.nn.functional.logsigmoid(odds[model, i]))
            yield row | ({"group": "even" if i % 2 == 0 else "odd"} if grouped else {})


def written(folder, rows, name="scores.parquet"):
    rows, file = list(rows), folder / name
    if name.endswith(".parquet"):
        pyarrow.parquet.write_table(pa.Table.from_pylist(rows), file)
    else:
        with open(file, "w", newline="") as opened:
            table = csv.DictWriter(opened, rows[0])
            table.writeheader()
            table.writerows(rows)
    return file


def read(folder, rows, name="scores.parquet"):
    return ScoreFile.read(written(folder, rows, name))


# --- reading ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["scores.parquet", "scores.csv"])
def test_every_row_is_found_again_whatever_their_order(tmp_path, name):
    rows = list(rows_of(grouped=True))
    random.Random(0).shuffle(rows)
    scores = read(tmp_path, rows, name)
    evidence = scores.of()
    for row in rows:
        at = scores.models.index(row["model"]), evidence.ids.index(row["sample"])
        assert evidence.values[at] == pytest.approx(row["value"], abs=1e-12)
        assert bool(evidence.member[at]) is row["member"]
        assert scores.groups[at[1]] == row["group"]
    assert evidence.values.shape == (4, 30)


def test_names_are_kept_letter_for_letter_and_members_may_be_numbers(tmp_path):
    rows = [{"model": m, "sample": s, "value": 0, "member": int(m == "1")} for m in ("01", "1") for s in ("007", "7")]
    for name in ("a.csv", "a.parquet"):
        scores = read(tmp_path, rows, name)
        assert (scores.models, scores.of().ids, scores.groups) == (("01", "1"), ("007", "7"), None)
        assert scores.of().member.tolist() == [[False, False], [True, True]]
        assert scores.of().signal == "confidence"


def test_several_signals(tmp_path):
    rows = [*rows_of(signal="loss"), *rows_of(signal="margin")]
    scores = read(tmp_path, rows)
    assert set(scores.evidence) == {"loss", "margin"}
    with pytest.raises(SettingsError, match="has the signals loss, margin"):
        scores.of()
    with pytest.raises(SettingsError, match=r"no signal 'los'.*did you mean 'loss'"):
        scores.of("los")
    torch.testing.assert_close(surer(scores.of("loss")).values, surer(scores.of("margin")).values)


def changed(**column):
    """The rows, each with `column` computed from (number, row)."""
    return [row | {name: of(i, row) for name, of in column.items()} for i, row in enumerate(rows_of())]


def without(*names):
    return [{key: value for key, value in row.items() if key not in names} for row in rows_of()]


@pytest.mark.parametrize(("rows", "error", "told"), [
    (without("value"), InvalidData, "has no columns called 'value' among its columns model, sample, member, signal"),
    ([row for i, row in enumerate(rows_of()) if i not in (33, 34)], Misaligned,
     "model 'oracle 1' lacks 2 of 30 samples that others in"),
    ([row for i, row in enumerate(rows_of()) if i not in (33, 34)], Misaligned, "first 's3'"),
    ([*rows_of(), *list(rows_of())[41:43]], Misaligned,
     "2 pairs more than once, first model 'oracle 1' and sample 's11'"),
    (changed(value=lambda i, row: float("nan") if i in (65, 99) else 0.0), InvalidData,
     "2 values that are no numbers, first NaN for model 'oracle 2' and sample 's5'"),
    (changed(value=lambda i, row: float("inf") if i == 7 else 0.0), InvalidData,
     "first infinite for model 'theirs' and sample 's7'"),
    (changed(value=lambda i, row: None if i == 7 else 0.0), InvalidData,
     "column 'value' of .* is empty 1 times, first in row 8"),
    (changed(value=lambda i, row: "high"), InvalidData, "column 'value' of .* holds string"),
    (changed(member=lambda i, row: 2), InvalidData, "column 'member' of .* holds int64 other than true and false"),
    (changed(model=lambda i, row: 0.5), InvalidData, "column 'model' of .* holds double; expected text"),
    (changed(signal=lambda i, row: "entropy"), InvalidData, "the signal 'entropy'; expected one of confidence, margin"),
    ([row for row in without("signal") if row["value"] != 0], InvalidData,
     r"the confidence -?[0-9.]+ for model '.*; expected from 0 to 1; say in a column 'signal'"),
    (changed(signal=lambda i, row: "loss", value=lambda i, row: -1.0), InvalidData, "the loss -1 for model"),
    (changed(group=lambda i, row: row["model"]), InvalidData, "sample 's0' in two groups"),
    ([*rows_of(signal="loss"), *(row | {"member": False} for row in rows_of(signal="margin"))], InvalidData,
     "in one signal that model 'theirs' was trained on 's0' and in another that it was not"),
])  # fmt: skip
def test_tables_that_cannot_be_used(tmp_path, rows, error, told):
    with pytest.raises(error, match=told) as wrong:
        read(tmp_path, rows)
    assert "\n" not in str(wrong.value)


def test_files_that_cannot_be_used(tmp_path, monkeypatch):
    with pytest.raises(MissingFile, match="is no file"):
        ScoreFile.read(tmp_path / "none.csv")
    (tmp_path / "a.json").write_text("[]")
    with pytest.raises(InvalidData, match=r"ends in '\.json'; expected \.parquet or \.csv"):
        ScoreFile.read(tmp_path / "a.json")
    (tmp_path / "a.parquet").write_text("text")
    with pytest.raises(InvalidData, match="cannot be read"):
        ScoreFile.read(tmp_path / "a.parquet")
    (tmp_path / "a.csv").write_text("model,sample,value,member\n")
    with pytest.raises(InvalidData, match="has no rows"):
        ScoreFile.read(tmp_path / "a.csv")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match=r"pip install 'erasable\[data\]'"):
        ScoreFile.read(tmp_path / "a.csv")


# --- who is judged ---------------------------------------------------------------------------------------------------


def test_sides_follow_from_members(tmp_path):
    sides = read(tmp_path, rows_of()).sides(["s2", "s0", "s2"], manifest=[f"s{i}" for i in range(20)])
    assert sides.targets.tolist() == [0]
    assert sides.oracles.tolist() == [1, 2, 3]
    assert sides.forget.tolist() == [2, 0]
    assert sides.shadows.tolist() == []
    assert sides.fresh.tolist() == list(range(20, 30))


@pytest.mark.parametrize(("forget", "manifest", "rows", "error", "told"), [
    (["s0", "x9"], None, {}, UnknownSample, "1 of 2 ids to forget are not in 'scores.parquet', first 'x9'"),
    (["s25"], None, {}, UnknownSample, "no model in 'scores.parquet' was trained on the 1 ids to forget"),
    (["s0", "s25"], None, {}, InvalidData,
     "'theirs' was trained on some ids to forget, but not on 1 of 2, first 's25'"),
    (["s0"], None, {"oracles": 1}, PopulationTooSmall, "has 1 oracles"),
    (["s0"], None, {"oracles": 0}, PopulationTooSmall, "has 0 oracles"),
    (["s0", "s1"], ["s0"], {}, UnknownSample, "1 of 2 ids to forget are not in the training manifest, first 's1'"),
    (["s0"], ["s0", "s1"], {}, InvalidData, "the file says that model 'theirs' was trained on 's2', the manifest"),
    (["s0"], [f"s{i}" for i in range(30)], {}, InvalidData, "the manifest says .* on 's20', the file"),
])  # fmt: skip
def test_requests_that_the_file_cannot_answer(tmp_path, forget, manifest, rows, error, told):
    with pytest.raises(error, match=told) as wrong:
        read(tmp_path, rows_of(**rows)).sides(forget, manifest=manifest)
    assert "\n" not in str(wrong.value)


@pytest.mark.parametrize(("copy", "of"), [("oracle 2", "theirs"), ("oracle 3", "oracle 1")])
def test_a_model_compared_with_itself_is_no_evidence(tmp_path, copy, of):
    values = {row["sample"]: row["value"] for row in rows_of() if row["model"] == of}
    rows = [row | ({"value": values[row["sample"]]} if row["model"] == copy else {}) for row in rows_of()]
    with pytest.raises(EvidenceError, match=f"the oracle '{copy}' has the same values as model '{of}'"):
        judge_scores(read(tmp_path, rows), Request("case", FORGET))


# --- judging ---------------------------------------------------------------------------------------------------------


def test_signals_are_brought_to_one_scale_by_hand():
    odds = torch.tensor([[-3.0, 0.0, 4.0]], dtype=torch.float64)
    member = torch.zeros(1, 3, dtype=torch.bool)
    for signal, values in (("margin", odds), ("confidence", odds.sigmoid()), ("loss", torch.log1p(torch.exp(-odds)))):
        torch.testing.assert_close(surer(Evidence(signal, ("a", "b", "c"), values, member)).values, odds)
    assert torch.isfinite(surer(Evidence("loss", ("a",), torch.zeros(1, 1), member[:, :1])).values).all()


def test_the_attack_by_hand():
    scores = against_oracles(torch.tensor([3.0, 0.0]), torch.tensor([[1.0, 2.0], [0.0, 4.0]]), ("a", "b"))
    # 3 is above three of (1, 2, 0, 4), 0 is above none and equals one: (3 + 0.5) / 8
    assert auc(scores, subject="x").value == pytest.approx(43.75)
    assert scores.truth.tolist() == [[True, True], [False, False], [False, False]]


def test_a_model_that_remembers_is_found_and_one_like_its_oracles_is_not(tmp_path):
    """Rates over draws: another oracle leaves the joint bands about once in (oracles + 1) times."""
    rang = {leak: 0 for leak in (0.0, 4.0)}
    for leak in rang:
        for seed in range(20):
            scores = read(tmp_path, rows_of(oracles=9, samples=60, leak=leak, seed=seed, forget=20, signal="loss"))
            row = judge_scores(scores, Request("case", [f"s{i}" for i in range(20)])).rows[0]
            rang[leak] += row.status == "remembered"
    assert rang[4.0] == 20
    assert rang[0.0] <= 6  # one in ten, and not on both sides: more than 6 of 20 has a chance below 0.3 %


def test_a_section_and_its_report(tmp_path):
    scores = read(tmp_path, rows_of(leak=6.0, grouped=True, signal="confidence"))
    section = judge_scores(scores, Request("case 7", FORGET))
    (row,) = section.rows
    assert (row.name, row.status, row.level, row.oracles) == ("theirs", "remembered", None, 3)
    assert (section.erased, section.retained) == (10, 10)
    metrics = {each.metric for each in row.judged}
    assert metrics == {"oracle threshold AUC", "oracle threshold accuracy", "oracle threshold TPR at 1 % FPR",
                       "membership AUROC", "calibrated confidence"}  # fmt: skip
    assert all(len(each.null_values) == 3 for each in row.judged)
    assert [(each.name, each.samples) for each in row.strata] == [("even", 5), ("odd", 5)]
    for shares in (row.histogram.after, row.histogram.oracles, row.histogram.fresh):
        assert sum(shares) == pytest.approx(1)
    made = compile_report([section], title="scores")
    assert Report.from_json(made.to_json()) == made
    assert "theirs" in made.to_html()
    assert "theirs" in made.to_markdown()


def test_without_fresh_samples_one_number_is_missing_and_that_is_said(tmp_path):
    rows = [row for row in rows_of(leak=6.0) if int(row["sample"][1:]) < 20]
    section = judge_scores(read(tmp_path, rows), Request("case", FORGET))
    assert section.rows[0].finding("membership AUROC") is None
    assert any("membership AUROC and calibrated confidence were not measured" in each for each in section.cautions)
    assert compile_report([section], title="scores").to_html()


# --- each sample by itself, and shadow models ------------------------------------------------------------------------


def test_the_suite_decides_what_is_tried(tmp_path):
    request = Request("case", FORGET)
    two, three = (read(tmp_path, rows_of(leak=6.0, oracles=count)) for count in (2, 3))
    row = judge_scores(three, request).rows[0]
    assert (row.roc, row.leakage, row.finding("per-sample attack AUC")) == ((), None, None)
    section = judge_scores(three, request, suite="standard")
    row = section.rows[0]
    assert {each.metric for each in row.judged} >= {"per-sample attack AUC", "most exposed 5 %",
                                                    "per-sample attack TPR at 1 % FPR"}  # fmt: skip
    assert all(len(each.null_values) == 3 for each in row.judged)
    assert ([each.attack for each in row.roc], row.status) == (["per-sample attack"], "remembered")
    assert {each.id for each in row.leakage.worst} <= set(FORGET)
    assert "per-sample attack AUC" in row.power
    assert compile_report([section], title="x", suite="standard").sections[0].rows[0].leakage.worst == ()
    shown = compile_report([section], title="x", suite="standard", show_samples=True)
    assert row.leakage.worst[0].id in shown.to_html()
    section = judge_scores(two, request, suite="standard")
    assert section.rows[0].finding("per-sample attack AUC") is None
    assert any("left out: 2 oracles are too few" in each for each in section.cautions)
    with pytest.raises(SettingsError, match="expected quick or standard: what is more takes the model"):
        judge_scores(three, request, suite="full")


def test_two_hard_samples_that_are_remembered_are_found_by_attacking_each_by_itself(tmp_path):
    """All models are wrong about them, the judged one less so: one threshold for all samples cannot show that."""
    found, forget = {"quick": 0, "standard": 0}, [f"s{i}" for i in range(20)]
    for seed in range(12):
        rows = [row | {"value": row["value"] - (row["sample"] in ("s0", "s1")) * (2 if row["model"] == "theirs" else 8)}
                for row in rows_of(oracles=9, samples=60, seed=seed, forget=20)]  # fmt: skip
        scores = read(tmp_path, rows)
        for suite in found:
            found[suite] += judge_scores(scores, Request("case", forget), suite=suite).rows[0].status == "remembered"
    assert found["standard"] >= 10
    assert found["quick"] <= 5


def shadowed(folder, *, leak, shadows=12, oracles=4, seed=0):
    """As `rows_of`, with shadow models on random halves of the first two thirds, surer by 2 of what they saw."""
    rows = list(rows_of(oracles=oracles, samples=90, leak=leak, seed=seed, forget=30))
    draw = torch.Generator().manual_seed(seed + 1000)
    hard = torch.tensor([row["value"] for row in rows[90:]]).view(oracles, 90).mean(0)
    for model in range(shadows):
        member = (torch.rand(90, generator=draw) < 0.5) & (torch.arange(90) < 60)
        values = hard - 2 * ((torch.arange(90) >= 30) & (torch.arange(90) < 60)) + torch.randn(90, generator=draw)
        rows += [{"model": f"shadow {model}", "sample": f"s{i}", "value": float(values[i] + 2 * member[i]),
                  "member": bool(member[i]), "signal": "margin"} for i in range(90)]  # fmt: skip
    return read(folder, rows)


def test_shadow_models_play_lira_and_rmia(tmp_path):
    """The judged model against its oracles: what still knows the samples is like those who saw them, the rest not."""
    request = Request("case", [f"s{i}" for i in range(30)])
    for leak in (2.0, 0.0):
        scores = shadowed(tmp_path, leak=leak)
        sides = scores.sides(request.ids)
        assert [len(each) for each in sides] == [1, 4, 12, 30, 30]
        section = judge_scores(scores, request, suite="standard")
        (row,) = section.rows
        for attack in ("LiRA", "RMIA online"):
            found = row.finding(f"{attack} AUC")
            assert found.models == 5
            assert found.null_band is None
            low, high = found.interval
            assert (low > 55) if leak else (low < 50 < high), (attack, found)
            assert row.finding(f"{attack} TPR at 1 % FPR").interval is not None
        assert [each.attack for each in row.roc] == ["per-sample attack", "LiRA", "RMIA online"]
        assert not {each.metric for each in row.judged} & {"LiRA AUC", "RMIA online AUC"}
        assert any("12 models were trained on a part of the erased samples, first 'shadow 0': they are shadow models"
                   in each for each in section.cautions)  # fmt: skip
    quick = judge_scores(scores, request)
    assert quick.rows[0].finding("LiRA AUC") is None
    assert any("they were left out; the suite 'standard'" in each for each in quick.cautions)
    few = judge_scores(shadowed(tmp_path, leak=0.0, shadows=1), request, suite="standard")
    assert few.rows[0].finding("LiRA AUC") is None
    assert few.rows[0].finding("RMIA online AUC") is not None
    assert any("LiRA takes 3 models on each side" in each for each in few.cautions)


def test_lira_of_a_file_by_hand(tmp_path):
    """Two samples that three models had, the judged one among them; with plain loops over the definition."""
    margins = {"theirs": (4.0, 1.0), "in 1": (5.0, 3.0), "in 2": (6.0, 2.0), "o1": (0.0, 1.0), "o2": (1.0, 0.5),
               "o3": (2.0, -1.0)}  # fmt: skip
    rows = [{"model": name, "sample": sample, "value": value, "member": not name.startswith("o"), "signal": "margin"}
            for name, values in margins.items() for sample, value in zip("ab", values, strict=True)]  # fmt: skip
    section = judge_scores(read(tmp_path, rows), Request("case", ["a", "b"]), suite="standard")
    row = next(each for each in section.rows if each.name == "theirs")

    def density(x, side, sample, leave):
        """The median of a side without the model, and a spread that both samples share."""
        kept = {s: [margins[name][s] for name in margins if name.startswith("o") == side and name != leave]
                for s in (0, 1)}  # fmt: skip
        apart = [v - sum(kept[s]) / len(kept[s]) for s in (0, 1) for v in kept[s]]
        spread = sum(each * each for each in apart) / sum(len(kept[s]) - 1 for s in (0, 1))
        return -0.5 * (x - statistics.median(kept[sample])) ** 2 / spread - 0.5 * math.log(spread)

    score = {(name, s): density(margins[name][s], False, s, name) - density(margins[name][s], True, s, name)
             for name in ("theirs", "o1", "o2", "o3") for s in (0, 1)}  # fmt: skip
    mine, others = (
        [value for (name, _), value in score.items() if (name == "theirs") is side] for side in (True, False)
    )
    share = sum((a > b) + 0.5 * (a == b) for a in mine for b in others) / (len(mine) * len(others))
    assert row.finding("LiRA AUC").value == pytest.approx(100 * share)
    assert 0 < share < 1


@pytest.mark.parametrize(("copy", "of"), [("shadow 2", "theirs"), ("shadow 3", "shadow 1")])
def test_a_copy_among_shadow_models_is_refused(tmp_path, copy, of):
    scores = shadowed(tmp_path, leak=0.0)
    values = scores.of().values
    values[scores.models.index(copy)] = values[scores.models.index(of)]
    with pytest.raises(EvidenceError, match=f"the shadow model '{copy}' has the same values as model '{of}'"):
        judge_scores(scores, Request("case", [f"s{i}" for i in range(30)]), suite="standard")


# --- lists of ids ----------------------------------------------------------------------------------------------------


def test_ids_in_files(tmp_path):
    (tmp_path / "a.txt").write_text("\ufeffb\r\n\n a \nb\n", encoding="utf-8")
    assert read_ids(tmp_path / "a.txt") == ("b", "a")
    for held in (["b", "a", 7], {"ids": ["b", "a", "7"]}):
        (tmp_path / "a.json").write_text(json.dumps(held))
        assert read_ids(tmp_path / "a.json") == ("b", "a", "7")
    for text, error in (("{", InvalidData), ('{"id": []}', InvalidData), ("[[1]]", InvalidData), ("[]", EmptyRequest)):
        (tmp_path / "a.json").write_text(text)
        with pytest.raises(error):
            read_ids(tmp_path / "a.json")
    with pytest.raises(MissingFile, match="cannot be read"):
        read_ids(tmp_path / "none.txt")
