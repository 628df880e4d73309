"""A report: JSON is the truth, and the page and the Markdown are views that agree with it."""

import base64
import re
import zlib
from html.parser import HTMLParser
from importlib.resources import files

import numpy as np
import pytest
import torch

from erasable._plumbing.numbers import duration, nice_ticks, span, told
from erasable._plumbing.png import png
from erasable.errors import InvalidData, NewerVersion
from erasable.evidence import Finding
from erasable.report import STATUSES, Guess, Histogram, Report, Row, Sample, Section

HOSTILE = "</td><script>alert('1')</script>|`[x](javascript:1)\" onload=\"y"
PICTURE = base64.b64encode(png(torch.rand(1, 8, 8, generator=torch.Generator().manual_seed(0)))).decode()


def finding(metric, value, null=(), unit="%", direction="match"):
    return Finding(
        metric=metric, subject="SPM", value=value, unit=unit, n=50, models=1, direction=direction,
        interval=(value * 0.9, value),
    ).beside(null)  # fmt: skip


def row(name="SPM", *, role="method", status="remembered", seconds=0.004, preparation=None, forget=99.0):
    shown = [finding("test accuracy", 95.0, [94, 96], direction="higher"), finding("average gap", 1.5, [0.2], "points")]
    shown += [] if seconds is None else [Finding(metric="time", subject=name, value=seconds, unit="s", n=1, models=1)]
    if preparation is not None:
        shown.append(Finding(metric="preparation", subject=name, value=preparation, unit="s", n=1, models=1))
    return Row(
        name=name, role=role, level="revoked", why="the encoder saw 50 of 50", status=status, verdict="Leaks: much.",
        oracles=4, oracle_seeds=(1, 2, 3, 4),
        judged=(
            finding("forget accuracy", forget, [90, 92, 94, 91]),
            finding("disagreement", 8.0, [1, 2, 3, 2], direction="lower"),
            finding("KL", 0.2, [0.01, 0.02], "nats", "lower"),
            finding("confidence attack", 3.0, [8, 12]),
            finding("relearning", 0.0, [20, 30], "steps"),
        ),
        shown=tuple(shown), before=(finding("forget accuracy", 100.0, [90, 92, 94, 91]),),
        histogram=Histogram(edges=(-14.0, 0.0, 14.0), after=(0.1, 0.9), oracles=(0.3, 0.7), fresh=(0.5, 0.5)),
        note="", receipt=None,
    )  # fmt: skip


def section(title="One owner", rows=None, samples=True, **more):
    rows = rows or (row("do nothing", role="untouched", seconds=0.0), row("retrain", role="retrain", seconds=2.0),
                    row(preparation=3.0))  # fmt: skip
    guesses = tuple(
        Guess(subject=r.name, before="3", after="8", confidence=0.01, oracle="3", agree=3, oracles=4) for r in rows
    )
    shown = (Sample(id="digits/1", label="3", picture=PICTURE, guesses=guesses),) if samples else ()
    return Section(
        title=title, case="case 7", verdict="Still remembered after SPM.", cautions=("Read with care.",), erased=50,
        retained=1200, classes_gone=(), rows=tuple(rows), samples=shown, samples_order="hardest first",
        data="digits", digests={"training data": "ab" * 32}, seed=0, seconds=1.5, **more,
    )  # fmt: skip


def report(*sections, **more):
    settings = {"title": "A report", "command": "erasable demo --seed 0", "show_samples": True, **more}
    return Report(
        created="2026-01-02T03:04:05+00:00", sections=sections or (section(),), limits=("It cannot prove.",),
        versions={"torch": "2"}, platform="Linux", erasable_version="0.1.0", **settings,
    )  # fmt: skip


class Page(HTMLParser):
    """Collects the elements; fails where tags do not nest."""

    VOID = frozenset({"meta", "link", "img", "br", "hr", "input"})

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.attributes, self.text = [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag):
        assert self.open
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


# --- JSON -------------------------------------------------------------------------------------------------------------


def test_json_round_trips():
    first = report(section(), section("One class"))
    again = Report.from_json(first.to_json())
    assert again == first
    assert again.to_json() == first.to_json()
    assert again.to_html() == first.to_html()


def test_a_newer_report_is_refused():
    text = report().to_json().replace('"schema_version": 2', '"schema_version": 3')
    with pytest.raises(NewerVersion, match="update"):
        Report.from_json(text)


@pytest.mark.parametrize("text", ["", "{}", "[]", "not json", '{"schema_version": 1}', '{"schema_version": "x"}'])
def test_anything_else_is_refused_in_one_line(text):
    with pytest.raises(InvalidData) as caught:
        Report.from_json(text)
    assert "\n" not in str(caught.value)


def test_a_report_takes_no_extra_fields_and_no_picture_that_is_none():
    with pytest.raises(InvalidData):
        Report.from_json(report().to_json().replace('"title"', '"extra": 1, "title"', 1))
    with pytest.raises(InvalidData, match="picture"):
        Report.from_json(report().to_json().replace(PICTURE, "x' onerror='y"))


# --- the page ---------------------------------------------------------------------------------------------------------


def test_the_page_nests_and_loads_nothing():
    html = report(section(), section("One class")).to_html()
    page = Page(html)
    assert "http" not in html
    assert "url(" not in html
    assert "@import" not in html
    assert not {"script", "link", "iframe", "object", "embed"} & set(page.tags)
    assert all(value.startswith("data:image/png;base64,") for _, name, value in page.attributes if name == "src")
    assert not [each for each in page.attributes if each[1].startswith("on")]


def test_hostile_names_stay_text():
    rows = (row(HOSTILE), row("retrain", role="retrain", seconds=2.0))
    bad = section(HOSTILE, rows).model_copy(update={
        "case": HOSTILE, "verdict": HOSTILE, "data": HOSTILE, "cautions": (HOSTILE,),
        "classes_gone": (HOSTILE,)})  # fmt: skip
    sample = bad.samples[0].model_copy(update={"id": HOSTILE, "label": HOSTILE})
    bad = bad.model_copy(update={"samples": (sample,)})
    html = report(bad, title=HOSTILE, command=HOSTILE).to_html()
    page, plain = Page(html), Page(report(section(rows=(row(), rows[1]))).to_html())
    assert page.tags.count("td") == plain.tags.count("td")
    assert "script" not in page.tags
    assert not [each for each in page.attributes if each[1].startswith("on")]
    assert "alert('1')" in "".join(page.text)


def test_the_page_leads_with_the_verdict_then_shows_the_figures():
    html = report().to_html()
    order = ["Still remembered after SPM.", f"{STATUSES['remembered']}</span>", "The erased samples",
             "How sure the models are", "The gap to models", "Time to erase</h3>", "Method by method", "All numbers",
             "What this cannot show", "Repeat it", "Provenance"]  # fmt: skip
    places = [html.index(each) for each in order]
    assert places == sorted(places)


def test_the_page_is_readable_without_eyes():
    page = Page(report().to_html())
    assert ("html", "lang", "en") in page.attributes
    assert all(value for tag, name, value in page.attributes if tag == "img" and name == "alt")
    images, alts = page.tags.count("img"), [each for each in page.attributes if each[:2] == ("img", "alt")]
    assert len(alts) == images > 0
    labelled = [value for tag, name, value in page.attributes if (tag, name) == ("svg", "aria-label")]
    assert any(each.startswith("SPM: 99.0 %") and "oracles 90.0 to 94.0 %" in each for each in labelled)
    assert {value for tag, name, value in page.attributes if (tag, name) == ("th", "scope")} == {"row", "col"}


def test_pictures_of_erased_people_are_announced_or_absent():
    assert "personal data" in report().to_html()
    without = report(section(samples=False), show_samples=False).to_html()
    assert "data:image" not in without
    assert "Not shown: they are personal data" in without


def test_one_colour_per_method_in_all_figures():
    other = section("One class", (row("SPM"), row("retrain", role="retrain", seconds=2.0)))
    html = report(section(), other).to_html()
    assert set(re.findall(r'<i class="(c\d)" aria-hidden="true"></i>SPM', html)) == {"c2"}
    assert set(re.findall(r'<svg class="(c\d)" [^>]*aria-label="SPM', html)) == {"c2"}


def test_positions_lie_in_the_figures():
    html = report().to_html()
    positions = [float(each) for each in re.findall(r'(?:cx|x1|x2|x)="(-?[\d.]+)%"', html)]
    assert len(positions) > 100
    assert all(0 <= each <= 100 for each in positions)


def test_rows_without_times_or_intervals_are_drawn():
    bare = row(seconds=None).model_copy(update={"before": (), "judged": row().judged[:1]})
    Page(report(section(rows=(bare,))).to_html())


def test_colours_have_enough_contrast_in_light_and_dark():
    css = files("erasable").joinpath("_templates/report.css").read_text()
    light, dark = (dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))
                   for block in re.findall(r":root \{(.*?)\n\s*\}", css, re.S)[:2])  # fmt: skip

    def luminance(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    def contrast(one, other):
        high, low = sorted((luminance(one), luminance(other)), reverse=True)
        return (high + 0.05) / (low + 0.05)

    for theme in (light, dark):
        for ground in ("page", "paper"):
            assert contrast(theme["ink"], theme[ground]) >= 7
            assert contrast(theme["quiet"], theme[ground]) >= 4.5
            assert contrast(theme["bad"], theme[ground]) >= 4.5
            assert contrast(theme["link"], theme[ground]) >= 4.5  # and the ring of the focus
            assert all(contrast(theme[f"c{i}"], theme[ground]) >= 3 for i in range(9))  # marks of figures
        for chip in ("good", "bad", "odd", "open"):
            assert contrast(theme[chip], theme[f"{chip}-bg"]) >= 4.5


# --- Markdown ---------------------------------------------------------------------------------------------------------


def test_markdown_and_json_agree():
    first = report()
    lines = first.to_markdown().splitlines()
    for each in first.sections[0].rows[0].judged + first.sections[0].rows[0].shown:
        cells = next(line for line in lines if line.startswith(f"| {each.metric} |")).split("|")[2:-1]
        found = [r.finding(each.metric) for r in first.sections[0].rows]
        for cell, finding in zip(cells, found, strict=True):
            assert told(finding.value, finding.unit) in cell
            assert ("!" in cell) == (finding.inside_noise is False)
    assert "Still remembered after SPM." in lines[2]


def test_markdown_keeps_hostile_names_in_their_cells():
    text = report(section(HOSTILE, (row(HOSTILE),))).to_markdown()
    assert "<script>" not in text.replace("\\<script\\>", "")
    table = [line for line in text.splitlines() if line.startswith("| method")]
    assert all(len(re.split(r"(?<!\\)\|", line)) == 8 for line in table)


# --- numbers and pictures ---------------------------------------------------------------------------------------------


def test_numbers_as_a_reader_wants_them():
    assert (told(98.123, "%"), told(0.0512, "nats"), told(41.0, "steps")) == ("98.1 %", "0.051", "41")
    assert span(92.0, 98.1, "%") == "92.0 to 98.1 %"
    assert span(0.0, 0.0, "steps") == "0"
    assert [duration(each) for each in (0, 7.04e-4, 0.004, 0.35, 1.5, 300, 9000)] == [
        "none", "704 µs", "4.0 ms", "350 ms", "1.5 s", "5.0 min", "2.5 h"]  # fmt: skip
    assert nice_ticks(0, 100) == [0, 25, 50, 75, 100]
    assert nice_ticks(88, 100) == [90, 92.5, 95, 97.5, 100]


@pytest.mark.parametrize("channels", [1, 3])
def test_a_png_holds_the_pixels(channels):
    from io import BytesIO

    image = pytest.importorskip("PIL.Image", reason="pillow is not installed")
    pixels = torch.randint(0, 256, (channels, 5, 7), generator=torch.Generator().manual_seed(1))
    read = image.open(BytesIO(png(pixels / 255)))
    assert (read.size, read.mode) == ((7, 5), "L" if channels == 1 else "RGB")
    assert torch.tensor(np.asarray(read)).reshape(5, 7, channels).permute(2, 0, 1).equal(pixels)


def test_a_png_by_hand():
    data = png(torch.tensor([[[0.0, 1.0]]]))
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    start = data.index(b"IDAT") + 4
    assert zlib.decompress(data[start : data.index(b"IEND") - 8]) == b"\x00\x00\xff"
    with pytest.raises(InvalidData):
        png(torch.zeros(2, 4, 4))
