"""The figure of docs/choose.md: every unlearner by what is left, what it cost in accuracy, and how long it took.

A point is the median of the models of one row of experiments/results/posthoc.json, as tuned where it was tuned. Named
are models that forget by design, controls, and what no other unlearner beats in all three and halves at least what is
left; where there is room.
"""

import math
import statistics
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any, NamedTuple

WIDTH, HEIGHT, LEFT, TOP, GAP = 300, 330, 44, 34, 22  # of a panel, in pixels
LEAST, MOST, LOST = 0.05, 30.0, 12.0  # what the axes show: widths of a band, and points
TIMES = ((0.5, "fast"), (2.0, "middle"), (math.inf, "slow"))  # seconds
FAR = 30  # pixels between a point and its name
CONTROLS = ("nothing", "retrain", "second oracle")
STYLE = """text{font:11px system-ui,sans-serif;fill:#1b1f24}.t{font-weight:600;font-size:13px}.g{stroke:#d0d7de}
.m{fill:#57606a}.fast{fill:#0a7f5a}.middle{fill:#b35900}.slow{fill:#8250df}.own{stroke:#1b1f24;stroke-width:1.5}
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.g{stroke:#3d444d}.m{fill:#9198a1}.fast{fill:#3fb68b}
.middle{fill:#e09b4a}.slow{fill:#b083f0}.own{stroke:#e6edf3}}"""


class Point(NamedTuple):
    """Widths of the band outside it, points of accuracy behind the oracles, seconds."""

    name: str
    beyond: float
    lost: float
    seconds: float
    kind: str  # "post-hoc", "designed" or "control"


def points(rows: Mapping[str, tuple[str, Mapping[str, Any]]]) -> list[Point]:
    """Of (kind, unit) by name; rows without a distance are left out."""
    found = []
    for name, (kind, unit) in rows.items():
        row = unit["row"]
        if row is None or "beyond" not in row:
            continue
        kept = row["findings"]["test accuracy"]
        seconds = min(unit["times"]) if unit.get("times") else 0.0
        found.append(Point(name, statistics.median(row["beyond"]), kept["oracles"] - kept["value"], seconds, kind))
    return found


def front(found: Iterable[Point]) -> set[str]:
    """The post-hoc methods that no other post-hoc method equals or beats in all three."""
    among = [each for each in found if each.kind == "post-hoc"]

    def beaten(one: Point) -> bool:
        mine = (one.beyond, one.lost, one.seconds)
        theirs = [(each.beyond, each.lost, each.seconds) for each in among if each.name != one.name]
        return any(all(a <= b for a, b in zip(each, mine, strict=True)) and each != mine for each in theirs)

    return {each.name for each in among if not beaten(each)}


def figure(panels: Mapping[str, Mapping[str, tuple[str, Mapping[str, Any]]]]) -> str:
    """The picture as SVG, a panel per request, in the colours of the reader's system."""
    width = len(panels) * (WIDTH + GAP) + LEFT
    body = "".join(f'<g transform="translate({LEFT + i * (WIDTH + GAP)} {TOP})">{_panel(title, points(rows))}</g>'
                   for i, (title, rows) in enumerate(panels.items()))  # fmt: skip
    words = ("under 0.5 s", "under 2 s", "longer")
    legend = "".join(f'<circle class="{name}" cx="{LEFT + 6 + 110 * i}" cy="{TOP + HEIGHT + 46}" r="4"/>'
                     f'<text x="{LEFT + 15 + 110 * i}" y="{TOP + HEIGHT + 50}">{word}</text>'
                     for i, ((_, name), word) in enumerate(zip(TIMES, words, strict=True)))  # fmt: skip
    ringed = f'<text class="m" x="{LEFT + 340}" y="{TOP + HEIGHT + 50}">ringed: designed to forget, and controls</text>'
    side = (f'<text class="m" transform="translate(12 {TOP + HEIGHT / 2}) rotate(-90)" text-anchor="middle">'
            "points of test accuracy lost</text>")  # fmt: skip
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {TOP + HEIGHT + 62}" role="img" '
            f'aria-label="Unlearners by distance from the oracles, accuracy lost and time"><style>{STYLE}</style>'
            f"{side}{body}{legend}{ringed}</svg>\n")  # fmt: skip


def _x(beyond: float) -> float:
    inside = min(MOST, max(LEAST, beyond))
    return WIDTH * math.log(inside / LEAST) / math.log(MOST / LEAST)


def _y(lost: float) -> float:
    return HEIGHT * (min(LOST, max(-2.0, lost)) + 2.0) / (LOST + 2.0)


def _panel(title: str, found: list[Point]) -> str:
    parts = [f'<text class="t" y="-14">{escape(title)}</text>']
    for tick in (0.1, 1, 10):
        at = f"{_x(tick):.1f}"
        parts.append(f'<line class="g" x1="{at}" x2="{at}" y1="0" y2="{HEIGHT}"/>'
                     f'<text class="m" x="{at}" y="{HEIGHT + 14}" text-anchor="middle">{tick:g}</text>')  # fmt: skip
    parts.append(f'<text class="m" x="0" y="{HEIGHT + 14}" text-anchor="middle">0</text>'
                 f'<text class="m" x="{WIDTH / 2}" y="{HEIGHT + 28}" text-anchor="middle">distance from the oracles, '
                 "in widths of their band</text>")  # fmt: skip
    for tick in (0, 5, 10):
        parts.append(f'<line class="g" x1="0" x2="{WIDTH}" y1="{_y(tick):.1f}" y2="{_y(tick):.1f}"/>'
                     f'<text class="m" x="-6" y="{_y(tick) + 4:.1f}" text-anchor="end">{tick}</text>')  # fmt: skip
    best, taken = front(found), list[tuple[float, float]]()
    untouched = next((each.beyond for each in found if each.name == "nothing"), MOST)
    for each in sorted(found, key=lambda one: (one.kind == "post-hoc", one.lost)):
        speed = next(name for most, name in TIMES if each.seconds < most)
        own = " own" if each.kind != "post-hoc" else ""
        told = f"{each.name}: {each.beyond:.1f} widths, {each.lost:.1f} points, {each.seconds:.2f} s"
        x, y = _x(each.beyond), _y(each.lost)
        parts.append(
            f'<circle class="{speed}{own}" cx="{x:.1f}" cy="{y:.1f}" r="4"><title>{escape(told)}</title></circle>'
        )
        if own or (each.name in best and each.lost < LOST and each.beyond < untouched / 2):
            parts.append(_label(each.name, x, y, taken))
    return "".join(parts)


def _label(name: str, x: float, y: float, taken: list[tuple[float, float]]) -> str:
    """Beside its point, where no other label is; `taken` are their places. Nothing where that is too far from it."""
    left = x < WIDTH * 0.6
    at = x + 7 if left else x - 7
    level = y + 4
    while any(abs(level - other) < 12 and abs(at - there) < 120 for there, other in taken):
        level += 12
    if level > y + 4 + FAR:
        return ""
    taken.append((at, level))
    return f'<text x="{at:.1f}" y="{level:.1f}" text-anchor="{"start" if left else "end"}">{escape(name)}</text>'
