"""A report as Markdown: the same verdicts and numbers as the page, for a terminal, an issue or a diff."""

import re
from collections.abc import Iterable

from erasable._plumbing import report_words as words
from erasable._plumbing.numbers import NOTHING, span
from erasable._plumbing.report_curves import table_of
from erasable.evidence import Finding
from erasable.receipt import LEVELS
from erasable.report import STATUSES, Leakage, Report, Row, Section

_SPECIAL = str.maketrans({each: f"\\{each}" for each in "\\`*_[]<>|#~$!"} | {"\n": " ", "\r": " "})


def markdown(report: Report) -> str:
    lines = [f"# {_plain(report.title)}", ""]
    for section in report.sections:
        controls = f" {words.controls_in_words(section.controls)}" if section.controls else ""
        lines += [f"**{_plain(section.title)}.** {_plain(section.verdict + controls)}", ""]
    for section in report.sections:
        lines += _section(section, samples=report.show_samples)
    lines += ["## What this cannot show", "", *(f"- {_plain(each)}" for each in report.limits), ""]
    lines += ["## Provenance", "", f"- made {report.created} by Erasable {report.erasable_version}",
              f"- {_plain(report.platform)}; {', '.join(f'{k} {v}' for k, v in report.versions.items())}"]  # fmt: skip
    if report.schema_version > 1:
        lines.append(f"- suite: {report.suite}")
    if not report.show_samples:
        lines.append("- erased samples are not shown: they are personal data")
    if report.command:
        fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", report.command)), default=0))
        lines += ["", "Repeat it with:", "", fence, *report.command.splitlines(), fence]
    return "\n".join(lines) + "\n"


def _section(section: Section, *, samples: bool) -> list[str]:
    lines = [f"## {_plain(section.title)}", ""]
    lines += [_plain(section.facts()), ""]
    lines += [f"> {_plain(each)}\n" for each in section.cautions]
    lines += _table(("method", "guarantee", "status", "test accuracy", "time", "what the audit says"), (
        (row.name, row.level or "none", STATUSES[row.status], _value(row.finding("test accuracy")),
         _value(row.finding("time")), row.verdict)
        for row in section.rows
    ))  # fmt: skip
    if section.controls:
        lines += ["### Does the test itself work?", "", words.controls_in_words(section.controls), ""]
        lines += _table(("control", "attack", "rang", "expected", "result", "note"), (
            (each.name, each.attack, f"{each.rang} of {each.draws}", words.expected(each), words.passed(each),
             each.note)
            for each in section.controls
        ))  # fmt: skip
    names = list(dict.fromkeys(each.metric for row in section.rows for each in (*row.judged, *row.shown)))
    lines += ["Value, and in brackets the range between oracles; ! marks a number outside it.", ""]
    lines += _table(("number", *(row.name for row in section.rows)), (
        (name, *(_cell(row.finding(name)) for row in section.rows)) for name in names
    ))  # fmt: skip
    used = dict.fromkeys(row.level for row in section.rows if row.level is not None)
    lines += [*(f"- {level}: {LEVELS[level]}" for level in used), ""]
    lines += [f"- seed: {section.seed}", *(f"- {name}: {digest}" for name, digest in section.digests.items())]
    return [*lines, "", *(line for row in section.rows for line in _row(row, samples=samples))]


def _row(row: Row, *, samples: bool) -> list[str]:
    """What was measured of one way of forgetting by itself, and at least where its numbers lie."""
    lines = [f"### {_plain(row.name)}", ""]
    if row.power:
        lines += [f"Power. {_plain(row.power)}", ""]
    judged = [each for each in row.judged if each.null_band is not None]
    if judged:
        lines += ["In half-widths of the oracles' joint band, so that the band is from \u22121 to +1.", ""]
        lines += _table(("judged number", "before", "after", "oracles", "place"), (
            (each.metric, words.number(row.earlier(each.metric)), words.number(each), words.oracles(each),
             words.apart_in_words(each))
            for each in judged
        ))  # fmt: skip
    if row.roc:
        lines += _table(("attack", *words.RATES), (
            (each.attack, *(_rate(row.finding(f"{each.attack} {name}")) for name in words.RATES)) for each in row.roc
        ))  # fmt: skip
        notes = " ".join(f"{each}." for each in words.notes_of(row))
        lines += [_plain(" ".join(each for each in (words.resolution_in_words(row.roc), notes) if each)), ""]
    if row.leakage is not None:
        lines += _leakage(row.leakage, samples=samples)
    for curve in row.relearning:
        lines += [_plain(f"Relearning from {curve.learns_from}: accuracy on the erased samples."), ""]
        lines += _table(*table_of(curve))
    if row.strata:
        metrics = list(dict.fromkeys(each.metric for part in row.strata for each in part.findings))
        lines += _table(("stratum", "samples", *metrics), (
            (part.name, f"{part.samples:,}",
             *(_cell(next((each for each in part.findings if each.metric == name), None)) for name in metrics))
            for part in row.strata
        ))  # fmt: skip
    if cost := words.cost_in_words(row):
        lines += [_plain(f"Cost: {cost}."), ""]
    return lines


def _leakage(leakage: Leakage, *, samples: bool) -> list[str]:
    lines = [_plain(f"Leakage per sample, {leakage.attack}: {words.leakage_in_words(leakage)}"), ""]
    if leakage.worst and samples:
        lines += _table(("surest sample", "owner", "score"), (
            (each.id, each.owner if each.owner is not None else NOTHING, f"{each.score:.3g}")
            for each in leakage.worst
        ))  # fmt: skip
    return lines


def _rate(finding: Finding | None) -> str:
    """A cell with the interval that an attack's rate has, and the oracles' range."""
    if finding is None or finding.interval is None:
        return _cell(finding)
    return f"{_cell(finding)} [{span(*finding.interval, finding.unit)}]"


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    titles = [_plain(each) for each in head]
    body = ["| " + " | ".join(_plain(each) for each in row) + " |" for row in rows]
    return ["| " + " | ".join(titles) + " |", "|" + " --- |" * len(titles), *body, ""]


def _value(finding: Finding | None) -> str:
    return words.number(finding)


def _cell(finding: Finding | None) -> str:
    if finding is None or finding.null_band is None:
        return _value(finding)
    mark = "" if finding.inside_noise else " !"
    return f"{_value(finding)} ({span(*finding.null_band, finding.unit)}){mark}"


def _plain(text: str) -> str:
    """Text that Markdown shows as it is, whatever a name contains."""
    return text.translate(_SPECIAL)
