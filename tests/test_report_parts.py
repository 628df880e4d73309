"""The parts of a report that suites add: each is drawn where it was measured, told in words, and absent otherwise."""

import json
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from erasable._plumbing import report_curves as curves
from erasable._plumbing import report_words as words
from erasable._plumbing.report_figures import Axis, ticks_of
from erasable.errors import InvalidData
from erasable.evidence import Finding
from erasable.report import Exposed, Leakage, Relearning, Report, Roc
from tests import toy_report as toy
from tests.test_report import HOSTILE, Page

FULL = toy.report()
BARE = toy.report(toy.section(rows=(toy.row(parts=False), toy.row("retrain", 0.0, role="retrain", parts=False)),
                              controls=()))  # fmt: skip
PARTS = ("ROC: found against false alarms", "Leakage per sample", "Relearning from", "Strata: parts", "<b>Power</b>",
         "Does the test itself work?", "never trained", "that per-sample attack is surest of")  # fmt: skip


class Outline(HTMLParser):
    """What assistive technology finds: headings, labelled drawings, tables."""

    def __init__(self, text):
        super().__init__()
        self.headings, self.ids, self.drawings, self.tables, self.open, self.cells = [], [], [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        if tag not in ("meta", "img"):
            self.open.append((tag, found.get("aria-hidden") == "true"))
        self.ids += [found["id"]] if "id" in found else []
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag == "svg" and not any(hidden for _, hidden in self.open) and [t for t, _ in self.open].count("svg") == 1:
            self.drawings.append(found)
        if tag == "table":
            self.tables.append(False)
        if tag == "caption":
            self.tables[-1] = True
        if tag == "th":
            self.cells.append(found.get("scope"))

    def handle_endtag(self, tag):
        self.open.pop()


def slots(report):
    """Every text of a report that comes from outside, replaced by a hostile one."""
    section, row = report.sections[0], toy.row()
    worst = Exposed(id=HOSTILE, owner=HOSTILE, score=1.0, picture=toy.picture(0))
    leakage = row.leakage.model_copy(update={"attack": HOSTILE, "worst": (worst,)})
    bad = row.model_copy(update={
        "name": HOSTILE, "power": HOSTILE, "leakage": leakage,
        "roc": tuple(each.model_copy(update={"attack": HOSTILE}) for each in row.roc[:1]),
        "relearning": tuple(each.model_copy(update={"learns_from": HOSTILE}) for each in row.relearning),
        "strata": tuple(each.model_copy(update={"name": HOSTILE}) for each in row.strata),
        "judged": tuple(each.model_copy(update={"metric": HOSTILE}) for each in row.judged[:1]),
    })  # fmt: skip
    controls = tuple(each.model_copy(update={"name": HOSTILE, "attack": HOSTILE, "note": HOSTILE})
                     for each in section.controls)  # fmt: skip
    section = section.model_copy(update={"rows": (bad,), "controls": controls})
    return report.model_copy(update={"sections": (section,), "command": HOSTILE})


# --- what is there and what is not ------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", PARTS)
def test_a_part_is_on_the_page_where_it_was_measured_and_only_there(part):
    assert part in FULL.to_html()
    assert part not in BARE.to_html()


def test_each_part_can_be_the_only_one():
    for name in ("roc", "leakage", "relearning", "strata"):
        alone = toy.row(parts=False).model_copy(update={name: getattr(toy.row(), name)})
        Page(toy.report(toy.section(rows=(alone,))).to_html())
        toy.report(toy.section(rows=(alone,))).to_markdown()


def test_the_page_nests_loads_nothing_and_runs_nothing():
    for report in (FULL, BARE):
        html = report.to_html()
        page = Page(html)
        assert not {"script", "link", "iframe", "object", "embed", "use"} & set(page.tags)
        assert not [each for each in ("http", "url(", "@import") if each in html]
        assert all(value.startswith("data:image/png;base64,") for _, name, value in page.attributes if name == "src")
        assert not [each for each in page.attributes if each[1].startswith("on") or each[1] == "href"]


def test_exposed_samples_are_shown_only_where_the_report_says_so():
    worst = toy.row().leakage.worst[0]
    assert worst.id in FULL.to_html()
    assert worst.owner in FULL.to_html()
    assert worst.id in FULL.to_markdown()
    hidden = toy.report(show_samples=False)
    for text in (hidden.to_html(), hidden.to_markdown()):
        assert worst.id not in text
        assert worst.owner not in text
        assert "data:image" not in text
    stripped = toy.row(leakage=toy.leakage(0.6, worst=0))
    html = toy.report(toy.section(rows=(stripped,))).to_html()
    assert "surest of" not in html
    assert "Leakage per sample" in html


def test_samples_without_pictures_and_owners_have_no_columns_for_them():
    bare = toy.leakage(0.6, pictures=False)
    bare = bare.model_copy(update={"worst": tuple(e.model_copy(update={"owner": None}) for e in bare.worst)})
    html = toy.report(toy.section(rows=(toy.row(leakage=bare),))).to_html()
    assert bare.worst[0].id in html
    assert not [each for each in ("<img", "Owner</th>", "Picture</th>") if each in html]


def test_an_older_report_still_opens():
    old = json.loads(BARE.to_json())
    old["schema_version"] = 1
    del old["suite"]
    for section in old["sections"]:
        del section["controls"]
        for row in section["rows"]:
            for name in ("roc", "leakage", "relearning", "strata", "power"):
                del row[name]
    report = Report.from_json(json.dumps(old))
    Page(report.to_html())
    assert not [each for each in ("suite “", "- suite:") if each in report.to_html() + report.to_markdown()]
    assert "suite “standard”" in FULL.to_html()
    assert "- suite: standard" in FULL.to_markdown()
    assert not [part for part in PARTS if part in report.to_html()]


def test_the_stored_report_on_digits_opens():
    path = Path(__file__).parents[1] / "experiments/results/digits.json"
    if not path.exists():
        pytest.skip("the experiments are not in this copy")
    report = Report.from_json(path.read_text())
    Page(report.to_html())
    assert report.sections[0].title in report.to_markdown()


# --- hostile names ----------------------------------------------------------------------------------------------------


def test_hostile_names_stay_text_in_every_part():
    html = slots(FULL).to_html()
    page = Page(html)
    assert "script" not in page.tags
    assert not [each for each in page.attributes if each[1].startswith("on") or each[1] == "href"]
    assert "".join(page.text).count("alert('1')") > 15


def test_hostile_names_stay_in_their_cells_of_the_markdown():
    text, _, command = slots(FULL).to_markdown().partition("Repeat it with:")
    assert "<script>" not in text.replace("\\<script\\>", "")
    width = None
    for line in text.splitlines():
        cells = len(re.split(r"(?<!\\)\|", line)) if line.startswith("|") else None
        assert width is None or cells is None or cells == width
        width = cells
    assert re.fullmatch(r"\n\n(`{3,})\n(?:.*\n)+\1\n", command)


# --- for readers who do not see it ------------------------------------------------------------------------------------


def test_every_drawing_is_told_in_words_and_every_table_has_a_caption():
    for report in (FULL, BARE, toy.report(toy.section(), toy.section("One class"))):
        outline = Outline(report.to_html())
        assert len(outline.ids) == len(set(outline.ids))
        assert outline.drawings
        for each in outline.drawings:
            assert each["role"] == "img"
            assert each.get("aria-label") or all(name in outline.ids for name in each["aria-labelledby"].split())
        assert outline.tables
        assert all(outline.tables)
        assert set(outline.cells) == {"row", "col"}


def test_headings_go_down_one_step_at_a_time():
    for report in (FULL, BARE):
        levels = Outline(report.to_html()).headings
        assert levels[0] == 1
        assert all(later <= earlier + 1 for earlier, later in pairwise(levels))


def test_the_words_of_the_drawings_hold_the_numbers():
    told = re.findall(r"<desc[^>]*>(.*?)</desc>", FULL.to_html())
    row = FULL.sections[0].rows[2]
    area = words.number(row.finding("per-sample attack AUC"))
    assert any(f"per-sample attack: AUC {area}, " in each for each in told)
    assert any(words.leakage_in_words(row.leakage).replace("'", "&#39;") in each for each in told)
    assert any(f"after the erasure {row.relearning[0].after[0]:.1f} %" in each for each in told)
    assert any(f"forget accuracy: {row.judged[0].value:.1f} %, outside, at +" in each for each in told)


def test_details_are_native_and_one_method_is_open():
    page = Page(FULL.to_html())
    assert page.tags.count("details") == page.tags.count("summary") == len(FULL.sections[0].rows)
    opened = [value for tag, name, value in page.attributes if (tag, name) == ("details", "open")]
    assert len(opened) == 1
    assert re.search(r'<details class="method" id="r1-3" open>', FULL.to_html())  # SPM, the first that leaks


def test_a_failed_control_is_said_in_words_on_top_and_in_its_row():
    for text in (FULL.to_html(), FULL.to_markdown()):
        assert text.count("1 of 3 controls FAILED") == 2
        assert "12 of 50" in text
    passing = toy.report(toy.section(controls=toy.CONTROLS[:2]))
    assert "All 2 controls passed." in passing.to_html()
    assert "FAILED" not in passing.to_html() + passing.to_markdown()


# --- positions --------------------------------------------------------------------------------------------------------


def test_everything_lies_in_its_figure():
    html = FULL.to_html()
    shares = [float(each) for each in re.findall(r'(?:cx|x1|x2|x)="(-?[\d.]+)%"', html)]
    assert len(shares) > 500
    assert all(0 <= each <= 100 for each in shares)
    paths = re.findall(r'<path class="(?:line|area)[^"]*" d="([^"]+)"', html)
    corners = [float(each) for path in paths for each in re.findall(r"-?[\d.]+", path)]
    assert len(corners) > 500
    assert all(0 <= each <= 100 for each in corners)


def test_a_curve_by_hand():
    curve = Roc(attack="a", fpr=(0.0, 0.0, 0.01, 0.1, 1.0), tpr=(0.0, 0.01, 0.1, 0.1, 1.0), low=(0.0,) * 5,
                high=(1.0,) * 5)  # fmt: skip
    assert curves._staircase(curve, curve.tpr) == [
        (0.0, 66.75), (33.25, 66.75), (33.25, 33.25), (66.75, 33.25), (100.0, 33.25), (100.0, 0.0)]  # fmt: skip
    assert [words.found_at(curve, each) for each in (0.001, 0.01, 0.05, 1.0)] == [0.01, 0.1, 0.1, 1.0]
    assert words.finest([curve]) == 0.01
    assert "is 1 %" in words.resolution_in_words([curve])
    plot = curves.roc(toy.row(roc=(curve,)))
    assert plot.blind == pytest.approx(100 / 3, abs=0.01)  # nothing can be read left of 1 %


def test_where_a_number_lies_by_its_band():
    finding = Finding(metric="m", subject="s", value=6.0, n=10, models=1, direction="match", null_band=(2.0, 4.0),
                      null_values=(2.0, 4.0))  # fmt: skip
    assert [words.apart(finding, each) for each in (3.0, 4.0, 2.0, 6.0)] == [0.0, 1.0, -1.0, 3.0]
    assert words.apart_in_words(finding) == "outside, at +3.0"
    one = finding.model_copy(update={"null_band": (3.0, 3.0), "resolution": 0.5})
    assert words.apart(one, 4.0) == 2.0
    one = finding.model_copy(update={"null_band": (3.0, 3.0)})
    assert (words.apart(one, 3.0), words.apart(one, 2.0)) == (0.0, float("-inf"))
    track = curves.bands(toy.row(judged=(one,)), 10.0, 0)
    assert track.marks[0].dot == 100.0
    assert "one value" in track.marks[0].told


@given(st.floats(-1e9, 1e9), st.floats(-1e9, 1e9))
def test_the_axis_of_the_bands_keeps_order(a, b):
    low, high = sorted((a, b))
    assert curves._stretched(low) <= curves._stretched(high)
    assert curves._stretched(-a) == -curves._stretched(a)


def test_labels_of_an_axis_go_where_they_would_collide():
    axis, places = Axis(0.0, 100.0), [(float(at), f"{at} %") for at in (0, 20, 40, 60, 80, 100)]
    roomy, tight = (ticks_of(axis, places, narrow=narrow, wide=500) for narrow in (500, 150))
    assert [each.label for each in roomy] == [label for _, label in places]
    assert not any(each.minor for each in roomy)
    # Letters are 7.2 wide, so of 150 pixels "100 %" takes 24 % and begins at 76, where "80 %" ends at 89.6. Every other
    # one fits: "20 %" ends at 29.6, "60 %" is between 50.4 and 69.6.
    assert [each.label for each in tight if not each.minor] == ["20 %", "60 %", "100 %"]
    assert [each.label for each in ticks_of(axis, places, narrow=150, wide=150)] == [
        "",
        "20 %",
        "",
        "60 %",
        "",
        "100 %",
    ]
    assert [each.label for each in ticks_of(axis, places, narrow=20, wide=20)] == [""] * 5 + ["100 %"]


def test_what_exceeds_the_oracles_by_hand():
    held = Leakage(attack="a", edges=(0.0, 1.0, 2.0, 3.0), after=(0.2, 0.5, 0.3), oracles=(0.6, 0.36, 0.04))
    assert words.exceeding(held) == (2.0, 0.3, 0.04)
    assert words.leakage_in_words(held).startswith("30.0 % of the erased samples score 2 or more")
    piled = held.model_copy(update={"oracles": (0.0, 0.0, 1.0)})
    assert words.exceeding(piled) == (3.0, 0.0, 0.0)


@pytest.mark.parametrize(("part", "change", "told"), [
    ("roc", {"tpr": [0.5]}, "tpr has 1 values where fpr asks for 3"),
    ("roc", {"low": []}, "low has 0 values"),
    ("roc", {"high": [0.0, 0.5, 1.0, 1.0]}, "high has 4 values"),
    ("roc", {"fpr": [], "tpr": [], "low": [], "high": []}, "0 fpr, which is too few"),
    ("roc", {"fpr": [0.0, 1.0, 0.5]}, "fpr falls"),
    ("relearning", {"after": [50.0]}, "after has 1 values where steps asks for 3"),
    ("relearning", {"oracle_mean": []}, "oracle_mean has 0 values"),
    ("relearning", {"oracle_low": [1.0] * 4}, "oracle_low has 4 values"),
    ("relearning", {"oracle_high": [1.0] * 2}, "oracle_high has 2 values"),
    ("relearning", {"untouched": [1.0]}, "untouched has 1 values"),
    ("relearning", {"random": [1.0]}, "random has 1 values"),
    ("relearning", {"steps": [0, 9, 3]}, "steps falls"),
    ("leakage", {"after": [1.0]}, "after has 1 values where edges asks for 3"),
    ("leakage", {"oracles": [1.0] * 4}, "oracles has 4 values"),
    ("leakage", {"edges": [0.0]}, "1 edges, which is too few"),
    ("histogram", {"fresh": [1.0]}, "fresh has 1 values where edges asks for 3"),
])  # fmt: skip
def test_parts_whose_values_do_not_belong_together_are_refused(part, change, told):
    data = json.loads(BARE.to_json())
    row = data["sections"][0]["rows"][0]
    steps, edges, three = [0, 3, 9], [0.0, 1.0, 2.0, 3.0], [0.0, 0.5, 1.0]
    row["roc"] = [{"attack": "a", **dict.fromkeys(("fpr", "tpr", "low", "high"), three)}]
    row["relearning"] = [{"learns_from": "x", "steps": steps, **dict.fromkeys(
        ("after", "oracle_mean", "oracle_low", "oracle_high", "untouched", "random"), three)}]  # fmt: skip
    row["leakage"] = {"attack": "a", "edges": edges, "after": three, "oracles": three}
    row["histogram"] = {"edges": edges, "after": three, "oracles": three, "fresh": three}
    Report.from_json(json.dumps(data))
    held = row[part]
    (held[0] if isinstance(held, list) else held).update(change)
    with pytest.raises(InvalidData, match=f"no report: .*{told}.* at sections.0.rows.0.{part}") as caught:
        Report.from_json(json.dumps(data))
    assert "\n" not in str(caught.value)


def test_relearning_with_one_step_or_without_the_optional_curves():
    short = Relearning(learns_from="x", steps=(0,), after=(50.0,), oracle_mean=(40.0,), oracle_low=(40.0,),
                       oracle_high=(40.0,))  # fmt: skip
    made = curves.relearned(toy.row(), short)
    assert made.head == ("step", "after the erasure", "oracles, mean")
    assert made.rows == (("0", "50.0 %", "40.0 % (40 to 40)"),)
    even = toy.relearning(0.5).model_copy(update={"steps": tuple(range(0, 120, 10))})
    assert "logarithmic" not in curves.relearned(toy.row(), even).plot.note
    assert "logarithmic" in curves.relearned(toy.row(), toy.relearning(0.5)).plot.note


def test_costs_as_a_reader_wants_them():
    cost = words.cost_in_words(toy.row())
    assert cost == "time 4.0 ms; preparation 31 s; storage 1.53 MB; access 400 samples (forget 400)"
    few = Finding(metric="storage", subject="s", value=12, unit="bytes", n=1, models=1)
    assert words.number(few) == "12 bytes"
    assert words.number(few.model_copy(update={"value": 1.0, "unit": "samples"})) == "1 sample"


# --- Markdown ---------------------------------------------------------------------------------------------------------


def test_markdown_says_what_the_page_draws():
    text = FULL.to_markdown()
    row = FULL.sections[0].rows[2]
    assert f"Power. {row.power}" in text
    for each in row.roc:
        line = next(
            line for line in text.partition("### SPM\n")[2].splitlines() if line.startswith(f"| {each.attack} |")
        )
        assert words.number(row.finding(f"{each.attack} AUC")) in line
    assert "| step | after the erasure | oracles, mean | untouched | never trained |" in text
    assert "| high memorisation | 30 |" in text
    assert f"```\n{FULL.command}\n```" in text
    assert not [part for part in ("Relearning from", "Leakage", "stratum", "control") if part in BARE.to_markdown()]
