"""A report as one HTML file: what the template draws, worked out from the report's numbers.

Nothing is loaded and no script runs.
"""

from dataclasses import dataclass

from erasable._plumbing import report_curves as curves
from erasable._plumbing import report_words as words
from erasable._plumbing.numbers import NOTHING, duration, span, told
from erasable._plumbing.report_figures import TRACKS, odds_ticks, panel, times_track, track
from erasable.evidence import Finding
from erasable.receipt import LEVELS
from erasable.report import STATUSES, Report, Row, Section

EXPLAINED = {
    "forget accuracy": "answers right on erased samples",
    "confidence attack": "erased samples taken for never seen",
    "membership AUROC": "erased against fresh samples, 50 = alike",
    "calibrated confidence": "surer of erased than of fresh samples, beyond the oracles, in points",
    "RMIA AUC": "relative to the oracles, 50 = guessing",
    "delta AUC": "told from the change alone, by whoever holds both versions",
    "logistic attack": "erased samples that a classifier takes for members",
    "ZRF": "how like a network that learned nothing",
    "per-sample attack AUC": "each sample by itself, 50 = guessing",
    "most exposed 5 %": "score that one sample in twenty exceeds, in standard deviations",
    "disagreement": "answers unlike the oracles'",
    "KL": "divergence of probabilities, nats",
    "relearning": "steps until known again",
    "test accuracy": "answers right on test samples",
    "retain accuracy": "answers right on kept samples",
    "average gap": "papers rank by it; see the limits",
    "JS": "divergence of probabilities, symmetric, nats",
    "activation distance": "how far all probabilities lie apart",
    "energy distance": "from all oracles at once",
    "energy distance p": "how often oracles alone lie so far apart",
    "ToW": "kept what it should and forgot what it should; 1 is retraining",
    "test accuracy of the worst class": "answers right on the class that suffers most",
    "time": "the erasure itself",
    "preparation": "before the request came",
    "tuning": "choosing the settings",
    "storage": "kept for later erasures, beside the weights",
    "access": "samples that the erasure read",
}
COLOURS = 9


def page(report: Report) -> str:
    """The whole file."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(loader=PackageLoader("erasable", "_templates"), autoescape=True,
                              undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)  # fmt: skip
    environment.filters.update(duration=duration, percent=lambda share: f"{100 * share:.0f} %", cell=_cell)
    environment.filters["kept"] = words.kept
    environment.globals.update(words=words)
    names = list(dict.fromkeys(row.name for section in report.sections for row in section.rows))
    colours = {name: i % COLOURS for i, name in enumerate(names)}
    return environment.get_template("report.html.j2").render(
        report=report,
        colours=colours,
        names=names,
        rows={name: [next((r for r in s.rows if r.name == name), None) for s in report.sections] for name in names},
        statuses=STATUSES,
        levels={level: text for level, text in LEVELS.items()
                if any(row.level == level for section in report.sections for row in section.rows)},
        views=[_View(section, colours) for section in report.sections],
    )  # fmt: skip


class _View:
    """What the template shows of one section."""

    def __init__(self, section: Section, colours: dict[str, int]) -> None:
        self.section = section
        measured = [metric for metric in TRACKS if any(row.finding(metric) is not None for row in section.rows)]
        self.tracks = [track(section, metric, colours) for metric in measured]
        self.odds = odds_ticks(section)
        self.panels = [panel(row, colours) for row in section.rows]
        self.times = times_track(section, colours)
        self.metrics = list(dict.fromkeys(each.metric for row in section.rows for each in (*row.judged, *row.shown)))
        self.cells: dict[str, list[Cell]] = {}
        self.explained: dict[str, str] = {}
        for metric in self.metrics:
            found = [row.finding(metric) for row in section.rows]
            notes = {each.note for each in found if each is not None}
            note = notes.pop() if len(notes) == 1 else ""  # said once where it is the same for all
            self.cells[metric] = [_cell(each, known=note) for each in found]
            self.explained[metric] = "; ".join(each for each in (EXPLAINED.get(metric, ""), note) if each)
        self.head = {row.name: _head(row) for row in section.rows}
        reach = curves.bands_reach(section.rows)
        self.parts = [_Parts(row, reach, colours[row.name]) for row in section.rows]
        self.open = _first(section)  # the one that is open when the page is


class _Parts:
    """What the template shows of one row by itself. `contents` names it."""

    def __init__(self, row: Row, reach: float, colour: int) -> None:
        self.row, self.colour = row, colour
        self.bands = curves.bands(row, reach, colour)
        self.roc, self.attacks = curves.roc(row), curves.attacks(row)
        self.leakage = None if row.leakage is None else curves.leakage(row, row.leakage)
        self.relearning = [curves.relearned(row, each) for each in row.relearning]
        self.metrics = list(dict.fromkeys(each.metric for part in row.strata for each in part.findings))
        self.strata = [(part, [_cell(_named(part.findings, metric)) for metric in self.metrics]) for part in row.strata]
        self.cost = words.cost_in_words(row)
        given = (("noise bands", self.bands), ("ROC", self.roc), ("leakage per sample", self.leakage),
                 ("relearning", self.relearning), ("strata", self.strata), ("power", row.power),
                 ("cost", self.cost))  # fmt: skip
        self.contents = ", ".join(name for name, part in given if part)


def _first(section: Section) -> str:
    """The first method that left a trace, or else the first method, or else the first row."""
    methods = [row for row in section.rows if row.role == "method"]
    leaky = [row for row in methods if row.status in ("remembered", "stands out")]
    return next(iter([*leaky, *methods, *section.rows])).name


def _named(findings: tuple[Finding, ...], metric: str) -> Finding | None:
    return next((each for each in findings if each.metric == metric), None)


def _head(row: Row) -> dict[str, str]:
    """The numbers of the leading table."""
    test, seconds, preparation = (row.finding(each) for each in ("test accuracy", "time", "preparation"))
    return {
        "test": NOTHING if test is None else told(test.value, "%"),
        "oracles": "" if test is None or test.null_mean is None else f"oracles {told(test.null_mean, '%')}",
        "time": NOTHING if seconds is None else duration(seconds.value),
        "preparation": "" if preparation is None else f"after {duration(preparation.value)} of preparation",
    }


@dataclass(frozen=True)
class Cell:
    """One number of the full table."""

    value: str
    interval: str = ""
    band: str = ""
    outside: bool = False
    note: str = ""


def _cell(finding: Finding | None, known: str = "") -> Cell:
    """Per cent is said once, of the value. A note that is `known` is not said again."""
    if finding is None:
        return Cell(NOTHING)
    return Cell(
        value=words.number(finding),
        interval="" if finding.interval is None else span(*finding.interval, finding.unit).removesuffix(" %"),
        band="" if finding.null_band is None else span(*finding.null_band, finding.unit).removesuffix(" %"),
        outside=finding.inside_noise is False,
        note="" if finding.note == known else finding.note,
    )
