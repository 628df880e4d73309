"""Tables about tasks that separate unlearners, for docs/results.md."""

from collections.abc import Callable, Mapping
from typing import Any

from tables import counted, not_measured, source, stored


def _told(name: str, command: str, lines: Callable[[Mapping[str, Any]], list[str]]) -> str:
    """The lines of an experiment that has summarised itself, and where they are from."""
    path = f"experiments/results/{name}.json"
    content = stored(path)
    if content is None or "table" not in content:
        return not_measured(command)
    return "\n".join([*lines(content), "", source(path, content)])


def _head(*names: str) -> list[str]:
    return [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]


def ten_classes() -> str:
    """Each class forgotten in turn: MIA-NN, and what the worst class lost."""

    def lines(content: Mapping[str, Any]) -> list[str]:
        found = _head("", "MIA-NN gap A", "gap B", "retained, %", "worst class", "erased class, %", "worst class",
                      "share of training again")  # fmt: skip
        for name, row in content["table"].items():
            cells = [f"{row[f'gap {each}']:.1f} \u00b1 {row[f'error {each}']:.1f}" for each in ("A", "B")]
            for each in (row["retained"], row["erased"]):
                cells += [f"{each['mean']:.1f} \u00b1 {each['sd']:.1f}", f"{each['worst']:.1f}"]
            time = row.get("time of training again")
            found.append(f"| {name} | {' | '.join(cells)} | {'-' if time is None else f'{time:.2f}'} |")
        found += [
            "",
            *_head("against the best of five rivals", "best rival", "gap below it, % (95 % interval)", "null gap"),
        ]
        for name, each in content["below"].items():
            low, high = each["interval"]
            found.append(f"| {name} | {each['best rival']} | {each['below']:.0f} ({low:.0f} to {high:.0f}) | "
                         f"{each['null']:.1f} |")  # fmt: skip
        return found

    return _told("ten_classes", "OMP_NUM_THREADS=1 python experiments/ten_classes.py --data-dir DATA", lines)


def coloured_digits() -> str:
    """A class whose colour nearly tells it: what is forgotten, the class or the colour."""

    def lines(content: Mapping[str, Any]) -> list[str]:
        columns = ("train aligned", "train conflicting", "test aligned", "test conflicting", "retain", "retain aligned",
                   "retain conflicting")  # fmt: skip
        found = _head("", "chosen by", *columns)
        for row in content["table"]:
            cells = [f"{row[each]:.1f}" if each in row else "-" for each in columns]
            found.append(f"| {row['method']} | {', '.join(row['chosen by']) or '-'} | {' | '.join(cells)} |")
        return found

    return _told("coloured_digits", "OMP_NUM_THREADS=1 python experiments/coloured_digits.py --data-dir DATA", lines)


def near_and_far() -> str:
    """What is left of the classes beside the one that was forgotten, as distances from the oracles."""

    def lines(content: Mapping[str, Any]) -> list[str]:
        found: list[str] = []
        for question in dict.fromkeys(each["question"] for each in content["table"]):
            rows = [each for each in content["table"] if each["question"] == question]
            keys = list(rows[0]["apart"])
            found += [f"**{question.capitalize()}**: points, or nats, from the oracles' mean", "",
                      *_head("", *keys, "audit", "mean kept, adjacent lost")]  # fmt: skip
            for row in rows:
                signs = {"forgotten": ".1f", "KL": "+.2f", "KL, erased": "+.2f"}  # the first is a distance
                cells = [format(row["apart"][key], signs.get(key, "+.1f")) for key in keys]
                status = counted([each for kind in row["classes"].values() for each in kind["status"]])
                found.append(f"| {row['name']} | {' | '.join(cells)} | {status} | {', '.join(row['hidden']) or '-'} |")
            found.append("")
        return found[:-1]

    return _told("near_and_far", "OMP_NUM_THREADS=1 python experiments/near_and_far.py --data-dir DATA", lines)


def low_influence() -> str:
    """The low-influence filter: time, and the audit of all samples, of those shown and of those left alone."""

    def lines(content: Mapping[str, Any]) -> list[str]:
        parts = ("all", "shown", "left alone")
        found = _head("request, filter, method", "time ratio", "test accuracy", *parts)
        for row in content["table"]:
            cells = [
                f"{row['time ratio']:.2f}" if row["time ratio"] is not None else "-",
                f"{row['test accuracy']:.1f}",
            ]
            cells += [f"{counted(row[part][:-1])}; {row[part][-1]:.0f}" if part in row else "-" for part in parts]
            found.append(f"| {row['request']}, {row['filter']}, {row['inner']} | {' | '.join(cells)} |")
        return found

    return _told("low_influence", "python experiments/low_influence.py --data-dir DATA", lines)


def _cells(table: Mapping[str, Any], told: Callable[[Any], str]) -> list[str]:
    """A line per method, a column per share and number of epochs; entries without one stand before."""
    cut = {key: key.rsplit(", ", 1) for key in table if key.count(", ") == 2}
    columns = list(dict.fromkeys(cell for cell, _ in cut.values()))
    found = _head("", *columns)
    for key, value in table.items():
        if key not in cut:
            found.append(f"| {key} | {' | '.join([told(value)] * len(columns))} |")
    for name in dict.fromkeys(name for _, name in cut.values() if name not in ("paper", "Pareto")):
        own = [table.get(f"{cell}, {name}") for cell in columns]
        found.append(f"| {name} | {' | '.join('-' if each is None else told(each) for each in own)} |")
    return found


def collapse() -> str:
    """How often the colour is answered, after the pictures in wrong colours were forgotten."""

    def lines(content: Mapping[str, Any]) -> list[str]:
        found = _cells(content["table"], lambda row: f"{row['colour']:.1f} ({row['least']:.0f} to {row['most']:.0f})")
        papers = {key: each for key, each in content["table"].items() if key.endswith(", paper")}
        told = [f"{each['min-norm']} against {each['best other but retraining']}" for each in papers.values()]
        return [*found, f"| the paper: min-norm against the best other | {' | '.join(told)} |"]

    return _told(
        "min_norm_collapse", "OMP_NUM_THREADS=1 python experiments/min_norm_collapse.py --data-dir DATA", lines
    )


def labels() -> str:
    """How often coloured pictures are called grey, after the coloured ones were forgotten, and at what accuracy."""

    def lines(content: Mapping[str, Any]) -> list[str]:
        def told(row: Mapping[str, Any]) -> str:
            best = row.get("chosen", row)
            return f"{best['grey']:.1f} at {best['object']:.1f}"

        found = _cells({key: each for key, each in content["table"].items() if not key.endswith("Pareto")}, told)
        fronts = {
            key.removesuffix(", Pareto"): each for key, each in content["table"].items() if key.endswith("Pareto")
        }
        told_fronts = [f"{cell}: " + ", ".join(f"{name} {grey:.0f} at {right:.1f}" for name, right, grey in each)
                       for cell, each in fronts.items()]  # fmt: skip
        return [*found, "", f"Not beaten in both: {'; '.join(told_fronts)}."]

    return _told("min_norm_labels", "OMP_NUM_THREADS=1 python experiments/min_norm_labels.py --data-dir DATA", lines)


def amnesiac() -> str:
    """Taking back stored steps of the training, for more and more samples."""

    def lines(content: Mapping[str, Any]) -> list[str]:
        found = _head(
            "recipe, request", "way", "samples", "steps taken back, %", "test accuracy", "forget accuracy", "audit"
        )
        for row in content["table"]:
            both = [
                f"{row[each]['value']:.1f} ({row[each]['oracles']:.1f})"
                for each in ("test accuracy", "forget accuracy")
            ]
            back = row.get("taken back, %")
            first = f"{row['recipe']}, {row['request']} | {row['name']} | {row['erased']}"
            shown = "-" if back is None else f"{back:.0f}"
            found.append(f"| {first} | {shown} | {' | '.join(both)} | {counted(row['statuses'])} |")
        return found

    return _told("amnesiac", "python experiments/amnesiac.py", lines)


ALL: tuple[Callable[[], str], ...] = (
    ten_classes, coloured_digits, near_and_far, low_influence, collapse, labels, amnesiac,
)  # fmt: skip
