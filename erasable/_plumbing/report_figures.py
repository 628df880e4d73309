"""The figures of a report that put all methods side by side: dot plots, times, histograms of confidence.

Inline SVG whose horizontal positions are percentages and whose text has the size of the page's, so that it stays
legible at any width, prints, and follows a dark theme.
"""

import math
from dataclasses import dataclass
from itertools import pairwise

from erasable._plumbing.numbers import NOTHING, duration, nice_ticks, span, times, told
from erasable.evidence import Finding
from erasable.report import Histogram, Row, Section

TRACKS = {
    "forget accuracy": ("Accuracy on the erased samples", "The goal is the oracles' accuracy, not zero."),
    "disagreement": (
        "Disagreement with oracles",
        "How often the answer is not that of an oracle.",
    ),
    "KL": ("KL divergence from oracles", "How far all probabilities are from theirs, in nats per sample; logarithmic."),
    "confidence attack": ("Confidence attack", "Share of erased samples that the attack takes for never seen."),
    "per-sample attack AUC": (
        "Per-sample attack",
        "How well erased samples, each by itself, are told from never seen ones; 50 % is guessing.",
    ),
}
LETTER = 7.2  # pixels
SPARE = 0.04  # room on both sides of a linear axis, as a share of its length


@dataclass(frozen=True)
class Axis:
    """Values to percentages of a figure's width."""

    low: float
    high: float
    log: bool = False

    def at(self, value: float) -> float:
        """Values beyond an end are drawn at it."""
        inside = min(self.high, max(self.low, value))
        if self.log:
            return round(100 * math.log(inside / self.low) / math.log(self.high / self.low), 3)
        return round(100 * (inside - self.low) / (self.high - self.low), 3)


@dataclass(frozen=True)
class Tick:
    """A place on an axis; without a label where there is never room. `minor` labels go where the page is narrow."""

    at: float
    label: str
    minor: bool = False


@dataclass(frozen=True)
class Mark:
    """One row of a dot plot."""

    name: str
    colour: int
    dot: float | None
    value: str
    small: str
    told: str  # for readers who do not see it
    outside: bool = False
    band: tuple[float, float] | None = None
    interval: tuple[float, float] | None = None
    before: float | None = None
    oracles: tuple[float, ...] = ()
    square: float | None = None


@dataclass(frozen=True)
class Track:
    """A dot plot: one row per method over a common axis."""

    title: str
    note: str
    ticks: tuple[Tick, ...]
    marks: tuple[Mark, ...]


@dataclass(frozen=True)
class Panel:
    """One small histogram: outlines as SVG paths in a box of 100 x 100."""

    name: str
    colour: int
    after: str
    oracles: str
    fresh: str
    told: str


# --- dot plots --------------------------------------------------------------------------------------------------------


def track(section: Section, metric: str, colours: dict[str, int]) -> Track:
    found = [(row, row.finding(metric), row.earlier(metric)) for row in section.rows]
    shown = [each for _, finding, before in found for each in (finding, before) if each is not None]
    numbers = [n for f in shown for n in (f.value, *(f.interval or ()), *f.null_values)]
    lows, highs = zip(*(f.null_band or (f.value, f.value) for f in shown), strict=True)
    numbers += highs if metric == "KL" else [*lows, *highs]  # the low end may be 0, which a log axis does not have
    axis, ticks = _log_axis(numbers) if metric == "KL" else linear_axis(numbers)
    marks = tuple(_mark(row, finding, before, axis, colours[row.name]) for row, finding, before in found)
    return Track(*TRACKS[metric], ticks, marks)


def _mark(row: Row, finding: Finding | None, before: Finding | None, axis: Axis, colour: int) -> Mark:
    if finding is None:
        return Mark(row.name, colour, None, NOTHING, "", f"{row.name}: not measured")
    band, value = finding.null_band, told(finding.value, finding.unit)
    oracles = "" if band is None else span(*band, finding.unit)
    earlier = "" if before is None else f", before {told(before.value, before.unit)}"
    return Mark(
        name=row.name,
        colour=colour,
        dot=axis.at(finding.value),
        value=value,
        small=oracles.removesuffix(" %"),
        told=f"{row.name}: {value}{earlier}; oracles {oracles}",
        outside=finding.inside_noise is False,
        band=None if band is None else (axis.at(band[0]), axis.at(band[1])),
        interval=None if finding.interval is None else (axis.at(finding.interval[0]), axis.at(finding.interval[1])),
        before=None if before is None or row.role != "method" else axis.at(before.value),
        oracles=tuple(axis.at(each) for each in finding.null_values),
    )


def linear_axis(numbers: list[float]) -> tuple[Axis, tuple[Tick, ...]]:
    """Per cent, as much of it as is needed."""
    low, high = min(numbers), max(numbers)
    spare = SPARE * max(high - low, 1.0)
    low, high = max(0.0, low - spare), min(100.0, high + spare)
    axis = Axis(low, high)
    return axis, ticks_of(axis, [(each, f"{each:g} %") for each in nice_ticks(low, high)])


def _log_axis(numbers: list[float]) -> tuple[Axis, tuple[Tick, ...]]:
    positive = [max(each, 1e-4) for each in numbers]
    low, high = math.floor(math.log10(min(positive))), math.ceil(math.log10(max(positive) * 1.001))
    axis = Axis(10.0**low, 10.0**high, log=True)
    return axis, ticks_of(axis, [(10.0**each, f"{10.0**each:g}") for each in range(low, high + 1)])


def ticks_of(axis: Axis, places: list[tuple[float, str]], *, narrow: int = 130, wide: int = 205) -> tuple[Tick, ...]:
    """`narrow` and `wide` are the fewest pixels that the plot gets on a narrow and on a wide page."""
    at = [(axis.at(value), label) for value, label in places]
    room = _without_collisions(at, wide)
    little = _without_collisions(room, narrow)
    return tuple(Tick(x, label if (x, label) in room else "", (x, label) not in little) for x, label in at)


def _without_collisions(labels: list[tuple[float, str]], pixels: int) -> list[tuple[float, str]]:
    """Every label, or every second, or every third..., counted from the last: the first that fit beside each other."""
    for step in range(1, len(labels)):
        kept = labels[::-1][::step][::-1]
        spans = [_extent(at, 100 * LETTER * len(label) / pixels) for at, label in kept]
        if all(right < left for (_, right), (left, _) in pairwise(spans)):
            return kept
    return labels[-1:]


def _extent(at: float, size: float) -> tuple[float, float]:
    """Labels at the ends lean inwards."""
    left = at if at < 6 else at - size if at > 94 else at - size / 2
    return left, left + size


def times_track(section: Section, colours: dict[str, int]) -> Track | None:
    """Time to erase, on a log axis; None where nothing was timed."""
    found = [(row, row.finding("time"), row.finding("preparation")) for row in section.rows]
    numbers = [each.value for _, *both in found for each in both if each is not None and each.value > 0]
    if not numbers:
        return None
    low, high = math.floor(math.log10(min(numbers))), math.ceil(math.log10(max(numbers) * 1.001))
    high = max(high, low + 1)
    axis = Axis(10.0**low, 10.0**high, log=True)
    anew = next((f.value for row, f, _ in found if row.role == "retrain" and f is not None and f.value > 0), None)
    marks = []
    for row, finding, preparation in found:
        seconds = None if finding is None else finding.value
        small = ""
        if anew is not None and seconds and row.role == "method":
            small = f"{times(anew / seconds)} faster" if seconds <= anew else f"{times(seconds / anew)} slower"
        value = NOTHING if seconds is None else duration(seconds)
        before = "" if preparation is None else f", preparation {duration(preparation.value)}"
        marks.append(Mark(
            name=row.name,
            colour=colours[row.name],
            dot=axis.at(seconds) if seconds else None,
            value=value,
            small=small,
            told=f"{row.name}: {value}{before}",
            square=axis.at(preparation.value) if preparation is not None and preparation.value > 0 else None,
            band=None if anew is None else (axis.at(anew), axis.at(anew)),
        ))  # fmt: skip
    ticks = ticks_of(axis, [(10.0**each, _decade(each)) for each in range(low, high + 1)], wide=400)
    return Track("Time to erase", "", ticks, tuple(marks))


def _decade(power: int) -> str:
    if power < -3:
        return f"{10.0 ** (power + 6):g} µs"
    return f"{10.0 ** (power + 3):g} ms" if power < 0 else f"{10.0**power:,.0f} s"


# --- histograms -------------------------------------------------------------------------------------------------------


def odds_ticks(section: Section) -> tuple[Tick, ...]:
    """Where the probabilities lie on an axis of log-odds."""
    edges = section.rows[0].histogram.edges
    axis = Axis(edges[0], edges[-1])
    shares = ((1e-6, "0.0001 %"), (1e-3, "0.1 %"), (0.5, "50 %"), (1 - 1e-3, "99.9 %"), (1 - 1e-6, "99.9999 %"))
    return ticks_of(axis, [(math.log(share / (1 - share)), label) for share, label in shares], narrow=164, wide=246)


def panel(row: Row, colours: dict[str, int]) -> Panel:
    held = row.histogram
    top = max(*held.after, *held.oracles, *held.fresh)
    sure, oracles = (100 * _above(held, shares) for shares in (held.after, held.oracles))
    after, known, fresh = (outline(held.edges, each, top) for each in (held.after, held.oracles, held.fresh))
    spoken = f"{row.name}: {sure:.0f} % of the erased samples above even odds, oracles {oracles:.0f} %"
    return Panel(row.name, colours[row.name], after, known, fresh, spoken)


def _above(held: Histogram, shares: tuple[float, ...]) -> float:
    return sum(share for share, left in zip(shares, held.edges, strict=False) if left > -1e-9)


def outline(edges: tuple[float, ...], shares: tuple[float, ...], top: float) -> str:
    """A histogram's outline as an SVG path."""
    low, high = edges[0], edges[-1]
    parts = ["M0 100"]
    for i, share in enumerate(shares):
        left, right = (round(100 * (each - low) / (high - low), 2) for each in edges[i : i + 2])
        y = round(100 - 96 * share / top, 2)
        parts.append(f"L{left} {y} L{right} {y}")
    return " ".join([*parts, "L100 100"])
