"""Tables about unlearners of plain networks, for docs/choose.md and docs/results.md."""

import statistics
from collections.abc import Callable, Mapping
from typing import Any

import pareto
from tables import counted, not_measured, shown_time, source, stored, with_band

from erasable._plumbing.numbers import duration

POSTHOC, ASKED = "experiments/results/posthoc.json", "python experiments/posthoc.py --data-dir DATA"
REQUESTS = ("one class", "random 10 %", "one owner")
SETTING = "fashion-mnist"
DESIGNED = "designed"
Units = Mapping[str, Mapping[str, Any]]


def _units(content: Mapping[str, Any], request: str, stage: str) -> dict[str, Mapping[str, Any]]:
    """Of one request and stage, by the name of the method."""
    begin = f"{SETTING}/{request}/{stage}/"
    return {key.removeprefix(begin): unit for key, unit in content["units"].items() if key.startswith(begin)}


def posthoc_figure() -> str:
    """docs/images/posthoc.svg; empty where nothing was measured."""
    content, panels = stored(POSTHOC), dict[str, dict[str, tuple[str, Mapping[str, Any]]]]()
    for request in REQUESTS if content is not None else ():
        again = _units(content, request, "tuned")
        own = {name: ("control" if name in pareto.CONTROLS else "post-hoc", again.get(name, unit))
               for name, unit in _units(content, request, "defaults").items()}  # fmt: skip
        designs = {name: ("designed", unit) for name, unit in _units(content, request, DESIGNED).items()}
        panels[request[:1].upper() + request[1:]] = own | designs
    return pareto.figure(panels)


def posthoc_short() -> str:
    """One row per unlearner, as tuned where it could be tuned, and three requests side by side."""
    content = stored(POSTHOC)
    if content is None:
        return not_measured(ASKED)
    rows: dict[str, dict[str, tuple[Any, bool]]] = {}
    for request in REQUESTS:
        own, again = (_units(content, request, stage) for stage in ("defaults", "tuned"))
        second = content["units"].get(f"{SETTING}/{request}/second oracle")
        others = {"second oracle": second} if second else {}
        for name, unit in {**own, **_units(content, request, DESIGNED), **others}.items():
            tuned = again.get(name, {"row": None})["row"] is not None
            untunable = name not in own or name in ("nothing", "retrain")
            rows.setdefault(name, {})[request] = (again[name] if tuned else unit, tuned or untunable)
    head = " | ".join(f"{each}: audit | beyond | points lost" for each in REQUESTS)
    lines = [f"| | {head} | seconds |", "|---" * (3 * len(REQUESTS) + 2) + "|"]
    for name, cells in sorted(rows.items(), key=lambda each: _order(each[1])):
        told = [each for request in REQUESTS for each in _three(*cells.get(request, (None, False)))]
        times = [min(unit["times"]) for unit, _ in cells.values() if unit.get("times")]
        lines.append(f"| {name} | {' | '.join(told)} | {duration(max(times)) if times else '-'} |")
    note = ("\\* with the settings of its file: not tuned yet. Beyond: how far the worst judged number lies outside "
            "the oracles' band, in widths of the band, median over three models; 0 is inside all bands.")  # fmt: skip
    return "\n".join([*lines, "", note, "", source(POSTHOC, content)])


def _three(unit: Mapping[str, Any] | None, tuned: bool) -> tuple[str, str, str]:
    """What the audit says, how far outside the widest band, and the points of test accuracy that it cost."""
    if unit is None:
        return "-", "-", "-"
    row = unit["row"]
    if row is None:
        return "refuses", "-", "-"
    kept = row["findings"]["test accuracy"]
    beyond = f"{statistics.median(row['beyond']):.1f}" if "beyond" in row else "-"
    return counted(row["statuses"]) + ("" if tuned else "*"), beyond, f"{kept['oracles'] - kept['value']:.1f}"


def _order(cells: Mapping[str, tuple[Any, bool]]) -> tuple[float, float]:
    """Those first that fewer audits tell from their oracles, then those that are nearer to their bands."""
    found = [each for unit, _ in cells.values() if unit["row"] for each in unit["row"]["statuses"]]
    beyond = [each for unit, _ in cells.values() if unit["row"] for each in unit["row"].get("beyond", ())]
    told = sum(each in ("remembered", "stands out") for each in found) / max(1, len(found))
    return told, statistics.mean(beyond) if beyond else 0.0


def posthoc() -> str:
    """Every unlearner on Fashion-MNIST: what the audit says of it, what it costs, and which refuse."""
    content = stored(POSTHOC)
    if content is None:
        return not_measured(ASKED)
    lines: list[str] = []
    for request in REQUESTS:
        own = _units(content, request, "defaults")
        if not own:
            continue
        again, best = (_units(content, request, stage) for stage in ("tuned", "settings"))
        shown = ("KL", *(("MIA-NN A",) if request == "one class" else ("calibrated confidence",)), "test accuracy")
        heads = ["", "defaults", *shown, "time", *(("score", "tuned", *shown, "time") if again else ())]
        first = next(iter(own.values()))
        lines += [f"**{request[:1].upper()}{request[1:]}**, {first['erased']} pictures; in brackets the oracles' band",
                  "", f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]  # fmt: skip
        second = content["units"].get(f"{SETTING}/{request}/second oracle")
        rows = {**own, **_units(content, request, DESIGNED), **({"second oracle": second} if second else {})}
        for name, unit in sorted(rows.items(), key=lambda each: _merit(each[1])):
            if unit["row"] is None:
                continue
            cells = _cells(unit, shown)
            if again:
                found = best.get(name, {})
                score = f"{found['defaults']:.1f} to {found['score']:.1f}" if "score" in found else "-"
                cells += [score, *_cells(again.get(name), shown)]
            lines.append(f"| {name} | {' | '.join(cells)} |")
        if refused := {name: unit["refused"] for name, unit in own.items() if unit["refused"]}:
            why = "; ".join(f"{name} ({reason.partition(';')[0]})" for name, reason in refused.items())
            lines += ["", f"Refused, or came out broken: {why}."]
        lines.append("")
    return "\n".join([*lines, source(POSTHOC, content)])


def _merit(unit: Mapping[str, Any]) -> tuple[float, float]:
    """Those first that fewer audits tell from their oracles, then those that keep more."""
    row = unit["row"]
    if row is None:
        return 1.0, 0.0
    clean = sum(each in ("no trace", "cannot tell") for each in row["statuses"]) / len(row["statuses"])
    return -clean, -row["findings"]["test accuracy"]["value"]


def _cells(unit: Mapping[str, Any] | None, shown: tuple[str, ...]) -> list[str]:
    if unit is None or unit["row"] is None:
        return ["-"] * (len(shown) + 2)
    found = (unit["row"]["findings"].get(each) for each in shown)
    numbers = ["-" if each is None else with_band(each, 2 if name == "KL" else 1)
               for name, each in zip(shown, found, strict=True)]  # fmt: skip
    return [counted(unit["row"]["statuses"]), *numbers, duration(min(unit["times"])) if unit.get("times") else "-"]


def sine() -> str:
    """MinNorm-OG against the others on the sine, beside the paper's numbers."""
    path = "experiments/results/min_norm_sine.json"
    content = stored(path)
    if content is None or "table" not in content:
        return not_measured("OMP_NUM_THREADS=1 python experiments/min_norm_sine.py")
    table, epochs = content["table"], (10, 100, 1000)
    names = list(dict.fromkeys(key.rpartition(", ")[0] for key in table))
    lines = [f"| | {' | '.join(f'{each} epochs' for each in epochs)} |", "|---" * (len(epochs) + 1) + "|"]
    for name in names:
        cells = []
        for each in epochs:
            row = table.get(f"{name}, {each}")
            paper = "" if row is None or row["paper"] is None else f"; paper {row['paper']:g}"
            cells.append("-" if row is None else f"{row['median']} ({row['least']} to {row['most']}{paper})")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", source(path, content)])


def ssd_speed() -> str:
    """SSD beside a plain loop over a loader, in the same run."""
    path = "benchmarks/results/ssd.json"
    content = stored(path)
    if content is None:
        return not_measured("python benchmarks/ssd.py")
    lines = ["| | loop over a loader | first request | a model that was asked before | all classes, one after another "
             "| largest difference of a weight |", "|---|---|---|---|---|---|"]  # fmt: skip
    for name, found in content["result"].items():
        first, again = (found[each] for each in ("ssd", "ssd, again"))
        lines.append(f"| {name} | {shown_time(found['loader']['median_s'])} | {shown_time(first['median_s'])}, "
                     f"{first['loader / ssd']:.2f} x faster | {shown_time(again['median_s'])}, "
                     f"{again['loader / ssd, again']:.1f} x | {found['each class once, loader / ssd']:.1f} x | "
                     f"{found['largest difference of a weight']:.0e} |")  # fmt: skip
    return "\n".join([*lines, "", source(path, content)])


CHOOSE: tuple[Callable[[], str], ...] = (posthoc_short,)
RESULTS: tuple[Callable[[], str], ...] = (posthoc, sine, ssd_speed)
