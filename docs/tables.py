"""Tables for docs/, from experiments/results/ and benchmarks/results/; what is not there is "not measured"."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def stored(path: str) -> dict[str, Any] | None:
    file = ROOT / path
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None


def not_measured(command: str) -> str:
    return f"Not measured yet. Command: `{command}`."


def source(path: str, content: Mapping[str, Any]) -> str:
    machine = content["machine"]
    return (f"From [{Path(path).name}](../{path}); `{content['command']}`; {machine['processor']}, {machine['cores']} "
            f"cores, {machine['threads']} threads, torch {machine['torch']}.")  # fmt: skip


def accuracy() -> str:
    """Test accuracy and training time, once the experiment has summarised itself."""
    path = "experiments/results/fashion_mnist_accuracy.json"
    content = stored(path)
    if content is None or "table" not in content:
        return not_measured("python experiments/fashion_mnist_accuracy.py --data-dir DATA")
    lines = ["| model | test accuracy, % (sd over seeds) | seeds |", "|---|---|---|"]
    for name, row in content["table"].items():
        lines.append(f"| {name} | {row['test_mean']:.2f} ({row['test_sd']:.2f}) | {row['seeds']} |")
    gaps = "; ".join(f"{name} by {value:.2f} points" for name, value in content["gaps"].items())
    return "\n".join([*lines, "", f"Gaps: {gaps}.", "", source(path, content)])


UNITS = ("network/random", "network/class", "spm/random", "spm/class", "spm public/random", "spm public/class",
         "munkey/random", "munkey two-phase/random", "munkey two-phase/class")  # fmt: skip
COLUMNS = ("forget accuracy", "membership AUROC", "disagreement", "average gap", "test accuracy")


def forgetting() -> str:
    """What is left after an erasure; rows that are not measured yet are named."""
    from erasable.report import STATUSES

    path = "experiments/results/fashion_mnist_forgetting.json"
    command = "python experiments/fashion_mnist_forgetting.py --data-dir DATA"
    content = stored(path)
    if content is None:
        return not_measured(command)
    missing = [each for each in UNITS if each not in content["units"]]
    lines = ["| model / request | guarantee | forget accuracy before, % | " + " | ".join(COLUMNS) + " | status |",
             "|---" * (len(COLUMNS) + 4) + "|"]  # fmt: skip
    for key in UNITS:
        if key in missing:
            continue
        unit = content["units"][key]
        means, targets = unit["mean over targets"], unit["targets"]
        level = "nothing was erased" if key.startswith("network/") else targets[0]["level"]
        cells = [key, level, f"{means['forget accuracy before']['value']:.1f}"]
        cells += [_beside(means.get(each)) for each in COLUMNS]
        cells.append("; ".join(sorted({STATUSES[each["status"]] for each in targets})))
        lines.append(f"| {' | '.join(cells)} |")
    note = (
        "Means over target models; in brackets the mean of the oracles, which is the goal, or for distances the floor."
    )
    if missing:
        note += f" Not measured yet: {', '.join(missing)}."
    return "\n".join([*lines, "", note, "", source(path, content)])


def public_encoder() -> str:
    """What an encoder that has seen nobody's erasable samples costs, by head."""
    path = "experiments/results/fashion_mnist_public_encoder.json"
    content = stored(path)
    if content is None or "table" not in content:
        return not_measured("python experiments/fashion_mnist_public_encoder.py --data-dir DATA")
    lines = ["| head | seeds | test, encoder saw everybody (`revoked`), % | test, public encoder (`exact`), % | price, "
             "points |", "|---|---|---|---|---|"]  # fmt: skip
    for head, price in content["price_in_points"].items():
        both = [content["table"][f"{head} / {who}"]["test"] for who in ("everybody", "public")]
        lines.append(f"| {head} | {content['seeds']} | {both[0]:.2f} | {both[1]:.2f} | {price:.2f} |")
    behind = content["best_exact_behind_best_of_all"]
    return "\n".join([*lines, "", f"The best exact row is {behind:.2f} points behind the best of all.", "",
                      source(path, content)])  # fmt: skip


def _beside(finding: Mapping[str, float] | None) -> str:
    if finding is None:
        return "not measured"
    return f"{finding['value']:.2f}" + (f" ({finding['oracles']:.2f})" if "oracles" in finding else "")


def latency() -> str:
    """Seconds from request to the next prediction."""
    path = "benchmarks/results/forget_latency.json"
    content = stored(path)
    if content is None:
        return not_measured("python benchmarks/forget_latency.py")
    lines = ["| what is timed | samples or rows | median | fastest to slowest |", "|---|---|---|---|"]
    alone = []
    for what, found in content["result"].items():
        if not isinstance(found, Mapping):
            alone.append(f"{what}: {found:,.1f}")
            continue
        for size, one in ({"": found} if "median_s" in found else found).items():
            lines.append(f"| {what} | {size} | {shown_time(one['median_s'])} | {shown_time(one['min_s'])} to "
                         f"{shown_time(one['max_s'])} |")  # fmt: skip
    return "\n".join([*lines, "", f"{'; '.join(alone)}.", "", source(path, content)])


def shown_time(seconds: float) -> str:
    return f"{1000 * seconds:.2f} ms" if seconds < 1 else f"{seconds:.1f} s"


def inference() -> str:
    return _pairs("inference", "network", "spm")


def training() -> str:
    return _pairs("training", "bank", "episodes")


def population() -> str:
    return _pairs("population", "population", "one after another")


def fleet() -> str:
    """What U-LiRA finds after each way of unlearning, and what its shadow models took."""
    path = "benchmarks/results/fleet.json"
    content = stored(path)
    if content is None:
        return not_measured("OMP_NUM_THREADS=1 python benchmarks/fleet.py")
    shadows, played = content["result"]["128 shadow models"], content["result"]["U-LiRA"]
    rates = ("U-LiRA privacy AUC", "U-LiRA privacy TPR at 1 % FPR")
    lines = ["| method and unlearning | AUC, % (95 % interval) | found at 1 % false alarms, % | time to unlearn |",
             "|---|---|---|---|"]  # fmt: skip
    for name, found in played["methods"].items():
        cells = [f"{found[each]['value']:.1f} ({found[each]['interval'][0]:.1f} to {found[each]['interval'][1]:.1f})"
                 for each in rates]  # fmt: skip
        lines.append(f"| {name} | {' | '.join(cells)} | {shown_time(found['seconds_to_unlearn'])} |")
    note = (f"{played['models']} models of digits per method, {played['targets']} samples attacked. "
            f"{shadows['models']} shadow models on {shadows['samples_each']} samples each: "
            f"{shown_time(shadows['seconds'])}.")  # fmt: skip
    return "\n".join([*lines, "", note, "", source(path, content)])


SETS = {"digits": "Digits", "fashion-mnist": "Fashion-MNIST, 2,000 pictures"}
REQUESTS = ("random 10 %", "one owner", "one class")
KINDS = ("network", "SPM", "SPM with public encoder", "MUNKEY", "MUNKEY in two phases", "SISA")
SHORT = {"remembered": "leaks", "stands out": "differs", "cannot tell": "cannot tell", "no trace": "no trace"}
TELLING = ("calibrated confidence", "KL", "per-sample attack AUC", "RMIA AUC", "delta AUC", "test accuracy")


def panel() -> str:
    """Every way of forgetting: what its models came to for each request, and what the unlearning game finds."""
    path = "experiments/results/audit_panel.json"
    content = stored(path)
    if content is None:
        return not_measured("python experiments/audit_panel.py --data-dir DATA")
    units, lines = content["units"], []
    for name, title in SETS.items():
        judged = {each: [row for kind in KINDS for row in units.get(f"{name}/{each}/{kind}", {"rows": ()})["rows"]]
                  for each in REQUESTS}  # fmt: skip
        rows: dict[str, dict[str, str]] = {}
        for request, found in judged.items():
            for row in found:
                rows.setdefault(row["name"], {})[request] = counted(row["statuses"])
        for key, unit in units.items():
            if key.startswith(f"{name}/game/"):
                for way, played in unit["ways"].items():
                    found = played["findings"]["U-LiRA privacy AUC"]
                    high = played["strata"].get("high memorisation")
                    rows.setdefault(way, {})["game"] = (
                        f"{found['value']:.1f} ({found['interval'][0]:.1f} to {found['interval'][1]:.1f})"
                    )
                    rows[way]["high"] = f"{high['AUC']['value']:.0f} ({high['samples']} samples)" if high else "-"
        lines += [f"**{title}**", "", f"| | {' | '.join(REQUESTS)} | game: AUC, % | the most memorised |",
                  "|---" * (len(REQUESTS) + 3) + "|"]  # fmt: skip
        for way, cells in rows.items():
            told = [cells.get(each, "-") for each in (*REQUESTS, "game", "high")]
            lines.append(f"| {way} | {' | '.join(told)} |")
        lines.append("")
        lines += _telling(f"{title}, {REQUESTS[0]}", judged[REQUESTS[0]])
    return "\n".join([*lines, source(path, content)])


def counted(statuses: list[str]) -> str:
    """ "no trace", or "leaks 3, differs 2" where models came to different ends."""
    counts = {SHORT[each]: statuses.count(each) for each in SHORT if each in statuses}
    return next(iter(counts)) if len(counts) == 1 else ", ".join(f"{each} {n}" for each, n in counts.items())


def _telling(title: str, rows: list[dict[str, Any]]) -> list[str]:
    """The numbers that say most: mean and standard deviation over models, and the oracles' band."""
    if not rows:
        return []
    lines = [f"{title}: mean \u00b1 sd over models, in brackets the oracles' band", "",
             f"| | {' | '.join(TELLING)} |", "|---" * (len(TELLING) + 1) + "|"]  # fmt: skip
    for row in rows:
        cells = []
        for metric in TELLING:
            found = row["findings"].get(metric)
            digits = 3 if metric == "KL" else 1
            cells.append("-" if found is None else with_band(found, digits))
        lines.append(f"| {row['name']} | {' | '.join(cells)} |")
    return [*lines, ""]


def with_band(found: dict[str, Any], digits: int) -> str:
    spread = f" \u00b1 {found['sd']:.{digits}f}" if "sd" in found else ""
    band = f" ({found['low']:.{digits}f} to {found['high']:.{digits}f})" if found.get("low") is not None else ""
    return f"{found['value']:.{digits}f}{spread}{band}"


def _pairs(name: str, first: str, last: str) -> str:
    """Two candidates that took turns, and the median ratio of the second to the first."""
    path = f"benchmarks/results/{name}.json"
    content = stored(path)
    if content is None:
        return not_measured(f"python benchmarks/{name}.py")
    lines = [f"| | {first} | {last} | {last} / {first} |", "|---|---|---|---|"]
    for what, found in content["result"].items():
        ratio = found[first][f"{last} / {first}"]
        lines.append(
            f"| {what} | {shown_time(found[first]['median_s'])} | {shown_time(found[last]['median_s'])} | {ratio:.2f} |"
        )
    return "\n".join([*lines, "", source(path, content)])


def scenarios() -> str:
    """Requests with a known truth: how often each way leaves something, and the number that is the request's own."""
    path = "experiments/results/scenarios.json"
    content = stored(path)
    if content is None or "table" not in content:
        return not_measured("OMP_NUM_THREADS=1 python experiments/scenarios.py")
    table = content["table"]
    ways = list(dict.fromkeys(way["name"] for row in table for way in row["ways"]))
    head = f"| | erased | {' | '.join(ways)} |"
    rule = "|---" * (len(ways) + 2) + "|"
    found, own = [head, rule], [head.replace("erased", "number"), rule]
    for row in table:
        measured = {way["name"]: way for way in row["ways"]}
        told = [measured.get(way) for way in ways]
        cells = ["-" if each is None else counted(each["method"]["statuses"]) for each in told]
        sizes = f"{row['erased'][0]}" if len(row["erased"]) == 1 else f"{row['erased'][0]} to {row['erased'][-1]}"
        found.append(f"| {row['name']} | {sizes} | {' | '.join(cells)} |")
        own.append(f"| {row['name']} | {row['own']} | {' | '.join(_with_oracles(each) for each in told)} |")
    rows = {"untouched": "doing nothing, which must ring", "retrain": "training again, which must not"}
    controls = [f"{_rang(table, role)} of {_rang(table, role, *SHORT)} for {words}" for role, words in rows.items()]
    return "\n".join([*found, "", f"Controls, rehearsals in which something was found: {'; '.join(controls)}.", "",
                      "The number of its own: mean over seeds, and in brackets the oracles' and that of doing nothing.",
                      "", *own, "", source(path, content)])  # fmt: skip


def _with_oracles(roles: Mapping[str, Any] | None) -> str:
    if roles is None or roles["method"]["own"] is None:
        return "-"
    return f"{roles['method']['own']:.0f} ({roles['method']['oracles']:.0f}; {roles['untouched']['own']:.0f})"


def _rang(table: list[dict[str, Any]], role: str, *statuses: str) -> int:
    """Rehearsals in which a row has one of these statuses; without any, one that says that something is left."""
    return sum(each in (statuses or ("remembered", "stands out")) for row in table
               for roles in row["ways"] for each in roles[role]["statuses"])  # fmt: skip


ALL: tuple[Callable[[], str], ...] = (
    accuracy, forgetting, public_encoder, latency, panel, scenarios, inference, training, fleet, population,
)  # fmt: skip
