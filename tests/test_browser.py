"""The page of a report in a real browser: nothing is loaded or cut, keys and screen readers reach all, it prints."""

import re
import shutil
from itertools import pairwise

import pytest

pytest.importorskip("playwright", reason="the package playwright is not installed (extra dev)")
pytest.importorskip("axe_playwright_python", reason="the package axe-playwright-python is not installed (extra dev)")

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

from erasable.audit import compile_report
from erasable.report import Guess, Sample
from erasable.request import Request
from erasable.score_audit import judge_scores
from tests import toy_report as toy
from tests.test_score_file import FORGET, read, rows_of

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
PROGRAM = next((found for found in map(shutil.which, PROGRAMS) if found), None)
pytestmark = pytest.mark.skipif(PROGRAM is None, reason=f"no browser here: looked for {', '.join(PROGRAMS)}")

WIDTHS = {"wide": 1280, "narrow": 390}
A4 = 688  # CSS pixels between the margins of 14 mm that the page asks for
KINDS = ("rich", "scores", "few parts")
LONG = "people/2021-03-04/export-of-everything/0123456789abcdef0123456789abcdef.png"


def rich():
    """Every part that there is, the one open beside closed ones, and names that are longer than any column."""
    rows = (toy.row("do nothing", 1.0, role="untouched", seconds=0.0, parts=False),
            toy.row("retrain", 0.0, role="retrain", parts=False), toy.row(),
            *(toy.row(f"another method, setting {i}", 0.02, parts=False) for i in range(3)))  # fmt: skip
    exposed = rows[2].leakage.worst
    worst = (exposed[0].model_copy(update={"id": LONG, "owner": LONG}), *exposed[1:])
    leaky = rows[2].model_copy(update={"leakage": rows[2].leakage.model_copy(update={"worst": worst})})
    guesses = tuple(Guess(subject=each.name, before="3", after="8" if each.role == "retrain" else "3", confidence=0.4,
                          oracle="8", agree=12, oracles=16) for each in rows)  # fmt: skip
    ids = (LONG, *(f"digits/{i}" for i in range(5)))
    samples = tuple(Sample(id=name, label="3", picture=toy.picture(i), guesses=guesses) for i, name in enumerate(ids))
    section = toy.section(rows=(*rows[:2], leaky, *rows[3:]))
    return section.model_copy(update={"samples": samples, "samples_order": "hardest first", "cautions": ("Careful.",)})


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Reports as files, by kind: all parts; an audit of scores; rows that have no curves."""
    folder = tmp_path_factory.mktemp("reports")
    scores = judge_scores(read(folder, rows_of(leak=6.0, grouped=True, signal="confidence")), Request("case 7", FORGET))
    bare = toy.section(rows=(toy.row(parts=False),), controls=())
    reports = (toy.report(rich()), compile_report([scores], title="scores", command=f"erasable audit --scores {LONG}"),
               toy.report(bare, bare.model_copy(update={"title": "One class"})))  # fmt: skip
    found = {}
    for kind, report in zip(KINDS, reports, strict=True):
        found[kind] = folder / f"{kind}.html"
        found[kind].write_text(report.to_html(), encoding="utf-8")
    return found


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=PROGRAM)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser, files):
    """Opens a report as a reader finds it; what it says on the console and asks for is in `said` and `asked`."""
    pages = []

    def visit(kind="rich", width=1280, scheme="light"):
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        pages.append(page)
        page.said, page.asked = [], []
        page.on("console", lambda message: page.said.append(message.text))
        page.on("pageerror", lambda error: page.said.append(str(error)))
        page.on("request", lambda request: page.asked.append(request.url))
        page.goto(files[kind].as_uri())
        return page

    yield visit
    for page in pages:
        page.close()


@pytest.fixture(scope="module")
def unfolded(browser, files):
    """Pages with all methods open, for tests that only look; what assistive technology is told is in `told`."""
    pages = {}

    def unfolded(kind, width=1280):
        if (kind, width) not in pages:
            page = pages[kind, width] = browser.new_page(viewport={"width": width, "height": 900})
            page.goto(files[kind].as_uri())
            page.evaluate(UNFOLD)
            nodes = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
            page.told = [(each["role"]["value"], each.get("name", {}).get("value", ""))
                         for each in nodes if not each["ignored"]]  # fmt: skip
        return pages[kind, width]

    yield unfolded
    for page in pages.values():
        page.close()


UNFOLD = "document.querySelectorAll('details').forEach(each => each.open = true)"

# What a script finds out about the laid out page. Every entry that they return is a defect, told as a text.

STICKING_OUT = """() => {
  const page = document.scrollingElement, found = [];
  if (page.scrollWidth > innerWidth) found.push(`the page: ${page.scrollWidth} of ${innerWidth}`);
  for (const each of document.querySelectorAll('body *')) {
    const style = getComputedStyle(each), box = each.getBoundingClientRect();
    if (/auto|scroll/.test(style.overflowX) && (box.right > innerWidth + 0.5 || box.left < -0.5))
      found.push(`a container: ${each.className}`);
    if (/auto|scroll/.test(style.overflowX) && each.scrollWidth > each.clientWidth + 1
        && !(each.tabIndex === 0 && each.getAttribute('aria-label') && each.getAttribute('role')))
      found.push(`scrolls without focus or name: ${each.className}`);
  }
  return found;
}"""

# Each line of text against the cell or block that it stands in, and against what cuts off around it.
CUT = """() => {
  const found = [], blocks = 'td, th, li, p, dt, dd, pre, figcaption, caption, summary, h1, h2, h3, h4, .value, div';
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const from = node.parentElement;
    if (!node.data.trim() || from.closest('svg, style') || !from.checkVisibility()) continue;
    let block = from.closest(blocks), unseen = false;
    while (getComputedStyle(block).display === 'contents') block = block.parentElement;
    for (let around = from; around; around = around.parentElement)
      unseen ||= getComputedStyle(around).clipPath !== 'none';
    if (unseen) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    for (const line of range.getClientRects()) {
      if (line.width < 1) continue;
      const box = block.getBoundingClientRect(), scrolls = /auto|scroll/.test(getComputedStyle(block).overflowX);
      if (!scrolls && (line.left < box.left - 1 || line.right > box.right + 1))
        found.push(`${node.data.trim()} beyond its ${block.tagName} by ${line.right - box.right}`);
      for (let around = from; around !== document.body; around = around.parentElement) {
        const style = getComputedStyle(around), edge = around.getBoundingClientRect();
        if (/hidden|clip/.test(style.overflowX + style.overflowY)
            && (line.right > edge.right + 1 || line.bottom > edge.bottom + 1 || line.top < edge.top - 1))
          found.push(`${node.data.trim()} cut by ${around.className}`);
        if (/auto|scroll/.test(style.overflowX)) break;
        if (around.parentElement === document.body && (line.right > innerWidth + 1 || line.left < -1))
          found.push(`${node.data.trim()} beyond the page`);
      }
    }
  }
  return found;
}"""

# Labels of one drawing that lie on each other, or outside the page.
COLLIDING = """() => {
  const found = [];
  for (const drawing of document.querySelectorAll('svg')) {
    if (drawing.parentElement.closest('svg')) continue;
    const labels = [...drawing.querySelectorAll('text')].filter(each => each.checkVisibility());
    const boxes = labels.map(each => each.getBoundingClientRect());
    boxes.forEach((one, i) => {
      if (one.left < -0.5 || one.right > innerWidth + 0.5) found.push(`${labels[i].textContent} is off the page`);
      for (let j = 0; j < i; j++)
        if (one.left < boxes[j].right && boxes[j].left < one.right && one.top + 2 < boxes[j].bottom
            && boxes[j].top + 2 < one.bottom)
          found.push(`${labels[j].textContent} and ${labels[i].textContent} in ${drawing.parentElement.className}`);
    });
  }
  return found;
}"""

UNTOLD = """() => {
  const found = [];
  for (const drawing of document.querySelectorAll('svg')) {
    if (drawing.parentElement.closest('svg') || drawing.closest('[aria-hidden=true]')) continue;
    const named = (drawing.getAttribute('aria-labelledby') || '').split(' ').filter(Boolean);
    const texts = named.map(id => document.getElementById(id)?.textContent || '');
    const told = [drawing.getAttribute('aria-label') || '', ...texts].join(' ');
    if (drawing.getAttribute('role') !== 'img') found.push(`no drawing: ${told}`);
    if (!/\\d/.test(told) && !drawing.closest('table') && !drawing.closest('figure')?.querySelector('table'))
      found.push(`neither numbers nor a table: ${told}`);
  }
  return found;
}"""


def violations(page, **options):
    """What axe-core finds, as "rule: the first element". Passes are not asked for, as they take most of its time."""
    results = Axe().run(page, options={"resultTypes": ["violations"], **options}).response
    assert results["testEngine"]["name"] == "axe-core"
    return [f"{each['id']}: {each['nodes'][0]['html'][:200]}" for each in results["violations"]]


# --- what it loads and how it fits ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_it_loads_nothing_and_the_console_is_silent(visit, files, kind):
    page = visit(kind)
    assert page.said == []
    assert [each for each in page.asked if not each.startswith("data:image/png")] == [files[kind].as_uri()]
    assert page.evaluate("performance.getEntriesByType('resource').filter(e => !/^data:/.test(e.name)).length") == 0


@pytest.mark.parametrize("kind", KINDS)
def test_it_fits_every_width_and_what_is_wider_scrolls_by_itself(visit, kind):
    page = visit(kind)
    page.evaluate(UNFOLD)
    for width in (320, 390, 700, 701, 860, 1024, 1280, 1920):
        page.set_viewport_size({"width": width, "height": 900})
        assert (width, page.evaluate(STICKING_OUT)) == (width, [])
        assert (width, page.evaluate(CUT)) == (width, [])
        assert (width, page.evaluate(COLLIDING)) == (width, [])


def test_a_wide_table_scrolls_with_the_arrow_keys(visit):
    page = visit(width=390)
    for box in (page.locator(".scroll:has(.numbers)"), page.locator(".samples")):
        assert box.evaluate("each => each.scrollWidth > each.clientWidth")
        box.focus()
        page.keyboard.press("ArrowRight")
        page.wait_for_function("each => each.scrollLeft > 0", arg=box.element_handle(), timeout=10_000)


def test_the_checks_of_the_layout_can_fail(visit):
    page = visit("few parts", width=390)
    page.add_style_tag(content=".numbers { width: 1200px } .scroll { overflow: visible; } td { max-width: 20px; }"
                               ".table.cards td { overflow: hidden; white-space: nowrap; }"
                               "svg text { font-size: 24px; }")  # fmt: skip
    for script in (STICKING_OUT, CUT, COLLIDING):
        assert page.evaluate(script)
    page.evaluate("document.querySelectorAll('svg').forEach(each => each.setAttribute('aria-label', 'a figure'))")
    page.evaluate("document.querySelectorAll('svg').forEach(each => each.removeAttribute('aria-labelledby'))")
    assert page.evaluate(UNTOLD)


# --- keys -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "width"), [("rich", 1280), ("rich", 390), ("scores", 390), ("few parts", 1280)])
def test_tab_goes_through_everything_in_the_order_of_the_page_and_shows_where_it_is(visit, kind, width):
    page = visit(kind, width)
    wanted = page.evaluate("""() => {
      window.stops = [...document.querySelectorAll('a[href], button, summary, input, [tabindex]')]
        .filter(each => each.checkVisibility({contentVisibilityAuto: true}));
      return stops.length;
    }""")
    assert wanted > 3
    for at in range(wanted):
        page.keyboard.press("Tab")
        place, outline, seen = page.evaluate("""() => {
          const now = document.activeElement, style = getComputedStyle(now), box = now.getBoundingClientRect();
          const seen = box.bottom > 0 && box.top < innerHeight && box.width > 0;
          return [stops.indexOf(now), style.outlineStyle === 'none' ? 0 : parseFloat(style.outlineWidth), seen];
        }""")
        assert (at, place) == (at, at)
        assert outline >= 2
        assert seen
    page.keyboard.press("Tab")  # no trap: it leaves the page or starts anew
    assert page.evaluate("stops.indexOf(document.activeElement)") in (-1, 0)


@pytest.mark.parametrize("key", ["Enter", "Space"])
def test_a_method_opens_and_closes_with_a_key(visit, key):
    page = visit()
    closed = page.locator("details:not([open])")
    before, method = closed.count(), page.locator("details").nth(3)
    body = method.locator(".parts")
    assert not body.is_visible()
    method.locator("summary").focus()
    page.keyboard.press(key)
    assert body.is_visible()
    assert closed.count() == before - 1
    page.keyboard.press(key)
    assert not body.is_visible()


# --- screen readers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
def test_axe_finds_nothing(unfolded, kind, width):
    assert violations(unfolded(kind, width)) == []


@pytest.mark.parametrize("kind", KINDS)
def test_contrast_is_enough_in_the_dark(visit, kind):
    page = visit(kind, scheme="dark")
    page.evaluate(UNFOLD)
    assert sum(map(int, re.findall(r"\d+", page.evaluate("getComputedStyle(document.body).backgroundColor")))) < 150
    assert violations(page, runOnly=["color-contrast"]) == []


def test_axe_can_fail(visit):
    page = visit("few parts")
    page.add_style_tag(content=".quiet { color: #ccc }")
    page.evaluate("document.documentElement.removeAttribute('lang')")
    found = violations(page)
    assert any(each.startswith("color-contrast") for each in found)
    assert any(each.startswith("html-has-lang") for each in found)


@pytest.mark.parametrize("kind", KINDS)
def test_landmarks_and_headings(unfolded, kind):
    page = unfolded(kind)
    roles = [role for role, _ in page.told]
    assert [roles.count(each) for each in ("main", "banner", "contentinfo")] == [1, 1, 1]
    regions = [name for role, name in page.told if role == "region"]
    assert all(regions)
    assert len(regions) == len(set(regions))
    levels = page.evaluate("[...document.querySelectorAll('h1, h2, h3, h4, h5, h6')].map(each => +each.tagName[1])")
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(later <= earlier + 1 for earlier, later in pairwise(levels))
    assert page.title() == page.locator("h1").inner_text()


@pytest.mark.parametrize("kind", KINDS)
def test_figures_are_told_and_pictures_have_names(unfolded, kind):
    page = unfolded(kind)
    assert page.evaluate(UNTOLD) == []
    names = [name for role, name in page.told if role in ("image", "img")]
    assert len(names) > 4
    assert all(each.strip() for each in names)
    pictures = page.evaluate("[...document.images].map(each => [each.alt, each.naturalWidth])")
    assert all(alt and width for alt, width in pictures)
    assert len(pictures) == (6 + 5 if kind == "rich" else 0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_table_stays_a_table_where_it_is_laid_out_as_cards(unfolded, kind):
    def cells(width):
        roles = [role for role, _ in unfolded(kind, width).told]
        return {each: roles.count(each) for each in ("table", "row", "cell", "gridcell", "columnheader", "rowheader")}

    # Chromium remembers what cards are; the roles are for browsers that do not.
    silent = (
        "[...document.querySelectorAll('.cards :is(thead, tbody, tr, th, td), .cards')].filter(e => !e.role).length"
    )
    assert unfolded(kind, 390).evaluate(silent) == 0
    wide = cells(1280)
    assert wide["table"] > 2
    assert wide["rowheader"] > 5
    assert cells(390) == wide


# --- paper ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_cut_or_folded_on_paper(visit, kind):
    page = visit(kind, A4, scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    for script in (STICKING_OUT, CUT, COLLIDING):
        assert page.evaluate(script) == []
    assert page.evaluate("[...document.querySelectorAll('.scroll')].every(e => e.scrollWidth <= e.clientWidth + 1)")
    assert page.evaluate("""[...document.querySelectorAll('details > :not(summary)')].every(
        each => each.checkVisibility({contentVisibilityAuto: true}) && each.getBoundingClientRect().height > 20)""")
    assert page.evaluate("[...document.querySelectorAll('thead')].every(e => e.getBoundingClientRect().height > 10)")
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"  # ink on paper, whatever the screen


@pytest.mark.parametrize(("kind", "least"), [("rich", 6), ("scores", 2)])
def test_it_prints_to_a_pdf_that_is_the_same_folded_and_unfolded(visit, kind, least):
    def pages(unfold):
        page = visit(kind)
        page.evaluate(UNFOLD if unfold else "0")
        data = page.pdf(prefer_css_page_size=True, print_background=True)
        assert data.startswith(b"%PDF")
        sizes = [[float(each) for each in found.split()] for found in re.findall(rb"/MediaBox \[([^]]+)", data)]
        assert sizes
        assert all(size == pytest.approx([0, 0, 595, 842], abs=1) for size in sizes)  # A4 in points
        return len(re.findall(rb"/Type\s*/Page\b", data))

    folded = pages(unfold=False)
    assert folded >= least
    assert pages(unfold=True) == folded
