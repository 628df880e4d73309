"""The figures of a report that belong to one way of forgetting: noise bands, ROC, leakage per sample, relearning.

A plot is a box of 100 x 100 that the page stretches to its width; lines keep their thickness, and text is beside it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from erasable._plumbing.numbers import nice_ticks, told
from erasable._plumbing.report_figures import Axis, Mark, Tick, Track, linear_axis, outline, ticks_of
from erasable._plumbing.report_words import (
    MINUS,
    RATES,
    apart,
    apart_in_words,
    curve_in_words,
    curves_of,
    finest,
    leakage_in_words,
    moments,
    number,
    oracles,
    relearning_in_words,
    resolution_in_words,
)
from erasable.evidence import Finding
from erasable.report import Leakage, Relearning, Roc, Row

FLOOR = 0.1  # per cent at which the axes of an ROC begin
FAR = 1000.0  # half-widths of a band at which the axis of the band plot ends at the latest
STYLES = 6  # dash patterns of attacks


@dataclass(frozen=True)
class Line:
    """One curve: an SVG path, the classes it is drawn in, and what the legend calls it."""

    name: str
    look: str
    path: str


@dataclass(frozen=True)
class Plot:
    """A figure with two axes. `told` is for readers who do not see it."""

    title: str
    told: str
    note: str
    names: tuple[str, str]  # of the axis across and the axis up
    lines: tuple[Line, ...]
    across: tuple[Tick, ...]
    up: tuple[Tick, ...]
    area: str = ""
    blind: float = 0.0  # percentage of the width in which there is nothing to read
    dots: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class Attack:
    """What stands beside a curve."""

    name: str
    look: str
    cells: tuple[Finding | None, ...]


# --- noise bands ------------------------------------------------------------------------------------------------------


def bands_reach(rows: tuple[Row, ...]) -> float:
    """Where the axis of all band plots of a request ends: a power of ten."""
    far = [abs(apart(f, value)) for row in rows for f, values in _banded(row) for value in values]
    within = [each for each in far if each <= FAR]
    return 10.0 ** max(1, math.ceil(math.log10(max([10.0, *within]) * 0.999)))


def bands(row: Row, reach: float, colour: int) -> Track | None:
    """Every judged number in half-widths of its band, which so becomes the same bar from -1 to 1; None without bands.

    Beyond the bar the axis is logarithmic, for what an untouched model knows is often far away.
    """
    axis = Axis(-_stretched(reach), _stretched(reach))
    marks = []
    for finding, _ in _banded(row):
        before = row.earlier(finding.metric)
        earlier = "" if before is None else f", before {number(before)}"
        marks.append(Mark(
            name=finding.metric,
            colour=colour,
            dot=axis.at(_stretched(apart(finding, finding.value))),
            value=number(finding),
            small=oracles(finding).removesuffix(" %"),
            told=f"{finding.metric}: {number(finding)}, {apart_in_words(finding)}{earlier}; oracles {oracles(finding)}",
            outside=finding.inside_noise is False,
            band=(axis.at(-1.0), axis.at(1.0)),
            before=None if before is None else axis.at(_stretched(apart(finding, before.value))),
            oracles=tuple(axis.at(_stretched(apart(finding, each))) for each in finding.null_values),
        ))  # fmt: skip
    if not marks:
        return None
    ends = [10.0**each for each in range(1, round(math.log10(reach)) + 1)]
    places = [*(-each for each in reversed(ends)), -1.0, 0.0, 1.0, *ends]
    ticks = tuple(
        Tick(axis.at(_stretched(each)), f"{MINUS if each < 0 else ''}{abs(each):,.0f}", 1 < abs(each) < reach)
        for each in places
    )
    note = ("The bar from \u22121 to 1 is the joint noise band of each number; beyond it the axis is logarithmic, in "
            "half-widths of the band.")  # fmt: skip
    return Track("Every judged number against its oracles", note, ticks, tuple(marks))


def _banded(row: Row) -> list[tuple[Finding, list[float]]]:
    """The judged findings that have a band, and all values that are drawn of each."""
    found = []
    for each in row.judged:
        if each.null_band is not None:
            before = row.earlier(each.metric)
            found.append((each, [each.value, *each.null_values, *([] if before is None else [before.value])]))
    return found


def _stretched(distance: float) -> float:
    size = abs(distance)
    return distance if size <= 1 else math.copysign(1 + math.log10(min(size, 1e6)), distance)


# --- ROC --------------------------------------------------------------------------------------------------------------


def roc(row: Row) -> Plot | None:
    """All attacks on one pair of logarithmic axes; None where none has a curve."""
    if not row.roc:
        return None
    first, axis = row.roc[0], Axis(FLOOR, 100.0, log=True)
    spoken = "; ".join(curve_in_words(each, row.finding(f"{each.attack} {RATES[0]}")) for each in row.roc)
    low, high = _staircase(first, first.low), _staircase(first, first.high)
    smallest = 100 * finest(row.roc)
    ticks = tuple(Tick(axis.at(each), f"{each:g} %") for each in (FLOOR, 1.0, 10.0, 100.0))
    return Plot(
        title=f"ROC curves of {row.name}",
        told=f"Share of erased samples found against false alarms, both axes logarithmic from 0.1 to 100 %. {spoken}. "
             "Guessing is the diagonal, with an AUC of 50 %.",
        note=f"The shade is the 95 % interval of {first.attack}, the dotted diagonal is guessing. "
             f"{resolution_in_words(row.roc)}",
        names=("false alarms (false-positive rate)", "found (true-positive rate)"),
        lines=tuple(Line(each.attack, f"a{i % STYLES}", _path(_staircase(each, each.tpr)))
                    for i, each in enumerate(row.roc)),
        across=ticks,
        up=ticks,
        area=f"{_path([*high, *reversed(low)])} Z",
        blind=axis.at(smallest) if smallest > FLOOR else 0.0,
    )  # fmt: skip


def attacks(row: Row) -> tuple[Attack, ...]:
    return tuple(
        Attack(each.attack, f"a{i % STYLES}", tuple(row.finding(f"{each.attack} {name}") for name in RATES))
        for i, each in enumerate(row.roc)
    )


def _staircase(curve: Roc, heights: tuple[float, ...]) -> list[tuple[float, float]]:
    """Corners in the box: between two points the rate of the left one holds, for no threshold reaches the next.

    What lies left of the axis is one point, the highest rate there; corners that no eye can tell apart are one.
    """
    axis = Axis(FLOOR, 100.0, log=True)
    corners: list[tuple[float, float]] = []
    for false, found in zip(curve.fpr, heights, strict=True):
        x, y = _quarter(axis.at(100 * false)), _quarter(100 - axis.at(100 * found))
        if not corners or x == 0:
            corners = [(x, y)] if x == 0 else [(0.0, 100.0), (x, 100.0), (x, y)]
            continue
        if x != corners[-1][0]:
            corners.append((x, corners[-1][1]))
        if y != corners[-1][1]:
            corners.append((x, y))
    return corners


def _quarter(at: float) -> float:
    return round(4 * at) / 4


def _path(corners: list[tuple[float, float]]) -> str:
    return "M" + " L".join(f"{x:g} {y:g}" for x, y in corners)


# --- leakage per sample -----------------------------------------------------------------------------------------------


def leakage(row: Row, held: Leakage) -> Plot:
    """Histogram of the erased samples' scores after the erasure, and the outline of the oracles'."""
    axis = Axis(held.edges[0], held.edges[-1])
    top = max(*held.after, *held.oracles, 1e-9)
    shares = Axis(0.0, 100 * top / 0.96)  # outlines leave some room above
    scores = [(each, f"{each:g}".replace("-", MINUS)) for each in nice_ticks(axis.low, axis.high)]
    return Plot(
        title=f"Scores of {held.attack} for the erased samples, {row.name}",
        told=f"Histogram of scores from {held.edges[0]:g} to {held.edges[-1]:g}. {leakage_in_words(held)}",
        note=f"{leakage_in_words(held)} The larger the score, the surer the attack is that a sample was trained on; "
             "the ends hold what lies beyond them.",
        names=("score", "share of samples"),
        lines=(Line("oracles, each judged by the others", "known", outline(held.edges, held.oracles, top)),),
        area=f"{outline(held.edges, held.after, top)} Z",
        across=ticks_of(axis, scores, narrow=200, wide=280),
        up=tuple(Tick(shares.at(each), f"{each:g} %") for each in nice_ticks(0.0, 100 * top, about=3)),
    )  # fmt: skip


# --- relearning -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Relearned:
    """A plot, and the table beside it: a row per step that is told."""

    learns_from: str
    plot: Plot
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def relearned(row: Row, held: Relearning) -> Relearned:
    """Curves of accuracy over steps; steps that are not evenly apart get a logarithmic axis."""
    gaps = {later - earlier for earlier, later in zip(held.steps, held.steps[1:], strict=False)}
    log = len(gaps) > 1
    place: Callable[[int], float] = math.log1p if log else float
    across = Axis(place(held.steps[0]), max(place(held.steps[-1]), place(held.steps[0]) + 1e-9))
    curves = curves_of(held)
    up, ticks = linear_axis(
        [n for _, values in (*curves, ("", held.oracle_low), ("", held.oracle_high)) for n in values]
    )

    def corners(values: tuple[float, ...]) -> list[tuple[float, float]]:
        points = zip(held.steps, values, strict=True)
        return [(across.at(place(step)), round(100 - up.at(value), 3)) for step, value in points]

    looks = dict(zip(("after the erasure", "oracles, mean", "untouched", "never trained"),
                     ("after", "known", "untouched", "random"), strict=True))  # fmt: skip
    area = _path([*corners(held.oracle_high), *reversed(corners(held.oracle_low))])
    scale = "Steps are on a logarithmic axis. " if log else ""
    plot = Plot(
        title=f"Relearning of {row.name} from {held.learns_from}",
        told=f"{relearning_in_words(held)}. The oracles' range is shaded.",
        note=f"Accuracy on the erased samples while a copy learns from {held.learns_from}. {scale}A curve that climbs "
             "sooner than the oracles' shade shows knowledge that was hidden, not removed.",
        names=("steps of learning", "accuracy on the erased samples"),
        lines=tuple(Line(name, looks[name], _path(corners(values))) for name, values in curves),
        area=f"{area} Z",
        across=_steps(held, across, place),
        up=ticks,
        dots=tuple(corners(held.after)),
    )  # fmt: skip
    return Relearned(held.learns_from, plot, *table_of(held))


def table_of(held: Relearning) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Head and rows: some steps, and at each the value of every curve with the oracles' range."""
    curves = curves_of(held)
    rows = []
    for at in moments(held):
        cells = [told(values[at], "%") for _, values in curves]
        cells[1] += f" ({held.oracle_low[at]:.0f} to {held.oracle_high[at]:.0f})"
        rows.append((str(held.steps[at]), *cells))
    return ("step", *(name for name, _ in curves)), tuple(rows)


def _steps(held: Relearning, axis: Axis, place: Callable[[int], float]) -> tuple[Tick, ...]:
    """Labels at steps that were looked at, where they do not collide."""
    ticks: list[Tick] = []
    for step in (held.steps[-1], *held.steps[:-1]):
        at = axis.at(place(step))
        if all(abs(at - each.at) >= 12 for each in ticks):
            ticks.append(Tick(at, f"{step:,}"))
    return tuple(sorted(ticks, key=lambda each: each.at))
