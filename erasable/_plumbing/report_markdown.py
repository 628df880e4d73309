"""A report as Markdown: the same verdicts and numbers as the page, for a terminal, an issue or a diff."""

from collections.abc import Iterable

from erasable._plumbing.numbers import NOTHING, span, told
from erasable.evidence import Finding
from erasable.receipt import LEVELS
from erasable.report import STATUSES, Report, Section

_SPECIAL = str.maketrans({each: f"\\{each}" for each in "\\`*_[]<>|#~$!"} | {"\n": " ", "\r": " "})


def markdown(report: Report) -> str:
    lines = [f"# {_plain(report.title)}", ""]
    for section in report.sections:
        lines += [f"**{_plain(section.title)}.** {_plain(section.verdict)}", ""]
    for section in report.sections:
        lines += _section(section)
    lines += ["## What this cannot show", "", *(f"- {_plain(each)}" for each in report.limits), ""]
    lines += ["## Provenance", "", f"- made {report.created} by Erasable {report.erasable_version}",
              f"- {_plain(report.platform)}; {', '.join(f'{k} {v}' for k, v in report.versions.items())}"]  # fmt: skip
    if report.command:
        lines.append(f"- repeat it with: {_plain(report.command)}")
    if not report.show_samples:
        lines.append("- erased samples are not shown: they are personal data")
    return "\n".join(lines) + "\n"


def _section(section: Section) -> list[str]:
    lines = [f"## {_plain(section.title)}", ""]
    lines += [_plain(section.facts()), ""]
    lines += [f"> {_plain(each)}\n" for each in section.cautions]
    lines += _table(("method", "guarantee", "status", "test accuracy", "time", "what the audit says"), (
        (row.name, row.level or "none", STATUSES[row.status], _value(row.finding("test accuracy")),
         _value(row.finding("time")), row.verdict)
        for row in section.rows
    ))  # fmt: skip
    names = list(dict.fromkeys(each.metric for row in section.rows for each in (*row.judged, *row.shown)))
    lines += ["Value, and in brackets the range between oracles; ! marks a number outside it.", ""]
    lines += _table(("number", *(row.name for row in section.rows)), (
        (name, *(_cell(row.finding(name)) for row in section.rows)) for name in names
    ))  # fmt: skip
    used = dict.fromkeys(row.level for row in section.rows if row.level is not None)
    lines += [*(f"- {level}: {LEVELS[level]}" for level in used), ""]
    lines += [f"- seed: {section.seed}", *(f"- {name}: {digest}" for name, digest in section.digests.items())]
    return [*lines, ""]


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    titles = [_plain(each) for each in head]
    body = ["| " + " | ".join(_plain(each) for each in row) + " |" for row in rows]
    return ["| " + " | ".join(titles) + " |", "|" + " --- |" * len(titles), *body, ""]


def _value(finding: Finding | None) -> str:
    return NOTHING if finding is None else told(finding.value, finding.unit)


def _cell(finding: Finding | None) -> str:
    if finding is None or finding.null_band is None:
        return _value(finding)
    mark = "" if finding.inside_noise else " !"
    return f"{_value(finding)} ({span(*finding.null_band, finding.unit)}){mark}"


def _plain(text: str) -> str:
    """Text that Markdown shows as it is, whatever a name contains."""
    return text.translate(_SPECIAL)
