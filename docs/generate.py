"""Writes the parts of README.md and docs/ that follow from the code and from stored results.

    python docs/generate.py            write them
    python docs/generate.py --check    name the files that are not current; exit code 1 if there are any

A part stands between `<!-- NAME:begin -->` and `<!-- NAME:end -->`:

    methods    the catalog's methods and unlearners. The guarantee is not looked up but found out: each is trained on a
               toy, one sample at a time is erased, and the levels of the receipts are listed
    numbers    tables from experiments/results/*.json and benchmarks/results/*.json; what is not there is "not measured"
"""

import copy
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
CODE = Path("erasable")

# Variants of a method whose guarantee differs from that of its defaults: what is shown, settings, what it is.
VARIANTS: Mapping[str, list[tuple[str, dict[str, Any], str]]] = {
    "spm": [
        ("encoder=public", {"encoder": "public"}, "the same, its encoder trained only on samples declared public"),
        ("encoder=frozen", {"encoder": "frozen", "similarity": "covariance"}, "the same on an encoder that is not "
         "trained here, with similarity=covariance"),
    ],
    "munkey": [
        ("phases=2", {"phases": 2, "keys": "pixels"}, "the same, its network trained on the public part or else on "
         "half of the samples, and then frozen"),
    ],
}  # fmt: skip


REQUIRED: Mapping[str, Callable[[], dict[str, Any]]] = {  # settings of unlearners that have no default
    "forsaken": lambda: {"reference": (1 / 3, 1 / 3, 1 / 3)},
    "geometric-disentanglement": lambda: {"inner": _ascent()},
    "low-influence": lambda: {"inner": _ascent()},
}  # fmt: skip


def _ascent() -> Any:
    from erasable.unlearners import GradientAscent

    return GradientAscent(epochs=1)


# --- the table of methods ------------------------------------------------------------------------------------------


def methods() -> str:
    """Names, what they are, and what a receipt says after an erasure."""
    from erasable import catalog

    told = catalog.families()
    lines = ["| name | what it is | an erasure is |", "|---|---|---|"]
    for name, place in catalog.METHODS.places.items():
        lines.append(f"| {_link(name, place)} | {told['methods'][name]} | {_level_of_method(name, {})} |")
        for shown, settings, what in VARIANTS.get(name, []):
            lines.append(f"| `{name}` {shown} | {what} | {_level_of_method(name, settings)} |")
    lines += ["", "| unlearner of a plain network | what it does | an erasure is |", "|---|---|---|"]
    for name, place in catalog.UNLEARNERS.places.items():
        lines.append(f"| {_link(name, place)} | {told['unlearners'][name]} | {_level_of_unlearner(name)} |")
    return "\n".join(lines)


def _link(name: str, place: str) -> str:
    return f"[`{name}`]({place.partition(':')[0].replace('.', '/')}.py)"


def _toy() -> tuple[Any, Any]:
    """24 points in the plane in three classes, all erasable, and their task."""
    import torch

    from erasable.dataset import Dataset
    from erasable.tasks import Classification

    labels = torch.arange(24) % 3
    x = torch.stack([labels - 1.0, (torch.arange(24) - 12) / 12], 1)
    data = Dataset.of({"x": x, "label": labels}, [f"toy/{i:02d}" for i in range(24)])
    return data, Classification(shape=(2,), classes=3, low=(-1.0,), high=(1.0,), inputs="x")


def _settings(name: str) -> dict[str, Any]:
    """The smallest network that trains."""
    from erasable.train import Recipe

    recipe = Recipe(epochs=1, batch=8)
    if name != "munkey":
        return {"network": "mlp width=4", "recipe": recipe} | ({"shards": 2} if name == "sisa" else {})
    return {"network": "vit patch=1 width=8 depth=1 heads=2", "key_network": "mlp width=4", "key_recipe": recipe,
            "value_width": 4, "value_steps": 2, "recipe": recipe}  # fmt: skip


def _level_of_method(name: str, settings: dict[str, Any]) -> str:
    """The levels of all erasures of one sample."""
    from erasable import catalog
    from erasable.request import Request
    from erasable.unlearner import Forgettable, forget

    data, task = _toy()
    public = "public" in settings.values() or (name == "munkey" and "keys" not in settings)
    if public:
        data = data.declare_public(data.ids[:12])
    model = catalog.METHODS[name](**{**_settings(name), **settings}).train(data, task, seeds=[0])[0]
    if not isinstance(model, Forgettable):
        return "only by an unlearner, see below"
    levels = [forget(copy.deepcopy(model), Request("toy", [each]), data=data)[1].level for each in data.private.ids]
    if set(levels) == {"exact", "revoked"}:
        return "exact outside that part, revoked inside"
    return " or ".join(sorted(set(levels)))


def _level_of_unlearner(name: str) -> str:
    """Of the erasure of a whole class from a small convolutional network, for some can do nothing else."""
    import torch

    from erasable import catalog
    from erasable.dataset import Dataset
    from erasable.network import Network
    from erasable.request import Request
    from erasable.tasks import Classification
    from erasable.unlearner import forget

    labels = torch.arange(24) % 3
    pictures = (labels - 1.0).view(-1, 1, 1, 1) * torch.linspace(-1, 1, 36).view(1, 1, 6, 6)
    data = Dataset.of({"image": pictures, "label": labels}, [f"toy/{i:02d}" for i in range(24)])
    task = Classification(shape=(1, 6, 6), classes=3, low=(-1.0,), high=(1.0,))
    settings = {**_settings("network"), "network": "convnet widths=8 groups=2"}
    model = Network(**settings).train(data, task, seeds=[0])[0]
    unlearner = catalog.UNLEARNERS[name](**REQUIRED.get(name, dict)())
    return forget(model, Request("toy", data.where("label", 1).ids), data=data, unlearner=unlearner)[1].level


# --- numbers -------------------------------------------------------------------------------------------------------


def _stored(path: str) -> dict[str, Any] | None:
    file = ROOT / path
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None


def _not_measured(command: str) -> str:
    return f"Not measured yet. Command: `{command}`."


def _source(path: str, content: Mapping[str, Any]) -> str:
    machine = content["machine"]
    return (f"From [{Path(path).name}](../{path}); `{content['command']}`; {machine['processor']}, {machine['cores']} "
            f"cores, {machine['threads']} threads, torch {machine['torch']}.")  # fmt: skip


def accuracy() -> str:
    """Test accuracy and training time, once the experiment has summarised itself."""
    path = "experiments/results/fashion_mnist_accuracy.json"
    content = _stored(path)
    if content is None or "table" not in content:
        return _not_measured("python experiments/fashion_mnist_accuracy.py --data-dir DATA")
    lines = ["| model | test accuracy, % (sd over seeds) | seeds |", "|---|---|---|"]
    for name, row in content["table"].items():
        lines.append(f"| {name} | {row['test_mean']:.2f} ({row['test_sd']:.2f}) | {row['seeds']} |")
    gaps = "; ".join(f"{name} by {value:.2f} points" for name, value in content["gaps"].items())
    return "\n".join([*lines, "", f"Gaps: {gaps}.", "", _source(path, content)])


UNITS = ("network/random", "network/class", "spm/random", "spm/class", "spm public/random", "spm public/class",
         "munkey/random", "munkey two-phase/random", "munkey two-phase/class")  # fmt: skip
COLUMNS = ("forget accuracy", "membership AUROC", "disagreement", "average gap", "test accuracy")


def forgetting() -> str:
    """What is left after an erasure; rows that are not measured yet are named."""
    from erasable.report import STATUSES

    path = "experiments/results/fashion_mnist_forgetting.json"
    command = "python experiments/fashion_mnist_forgetting.py --data-dir DATA"
    content = _stored(path)
    if content is None:
        return _not_measured(command)
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
    return "\n".join([*lines, "", note, "", _source(path, content)])


def public_encoder() -> str:
    """What an encoder that has seen nobody's erasable samples costs, by head."""
    path = "experiments/results/fashion_mnist_public_encoder.json"
    content = _stored(path)
    if content is None or "table" not in content:
        return _not_measured("python experiments/fashion_mnist_public_encoder.py --data-dir DATA")
    lines = ["| head | seeds | test, encoder saw everybody (`revoked`), % | test, public encoder (`exact`), % | price, "
             "points |", "|---|---|---|---|---|"]  # fmt: skip
    for head, price in content["price_in_points"].items():
        both = [content["table"][f"{head} / {who}"]["test"] for who in ("everybody", "public")]
        lines.append(f"| {head} | {content['seeds']} | {both[0]:.2f} | {both[1]:.2f} | {price:.2f} |")
    behind = content["best_exact_behind_best_of_all"]
    return "\n".join([*lines, "", f"The best exact row is {behind:.2f} points behind the best of all.", "",
                      _source(path, content)])  # fmt: skip


def _beside(finding: Mapping[str, float] | None) -> str:
    if finding is None:
        return "not measured"
    return f"{finding['value']:.2f}" + (f" ({finding['oracles']:.2f})" if "oracles" in finding else "")


def latency() -> str:
    """Seconds from request to the next prediction."""
    path = "benchmarks/results/forget_latency.json"
    content = _stored(path)
    if content is None:
        return _not_measured("python benchmarks/forget_latency.py")
    lines = ["| what is timed | samples or rows | median | fastest to slowest |", "|---|---|---|---|"]
    alone = []
    for what, found in content["result"].items():
        if not isinstance(found, Mapping):
            alone.append(f"{what}: {found:,.1f}")
            continue
        for size, one in ({"": found} if "median_s" in found else found).items():
            lines.append(f"| {what} | {size} | {_time(one['median_s'])} | {_time(one['min_s'])} to "
                         f"{_time(one['max_s'])} |")  # fmt: skip
    return "\n".join([*lines, "", f"{'; '.join(alone)}.", "", _source(path, content)])


def _time(seconds: float) -> str:
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
    content = _stored(path)
    if content is None:
        return _not_measured("OMP_NUM_THREADS=1 python benchmarks/fleet.py")
    shadows, played = content["result"]["128 shadow models"], content["result"]["U-LiRA"]
    rates = ("U-LiRA privacy AUC", "U-LiRA privacy TPR at 1 % FPR")
    lines = ["| method and unlearning | AUC, % (95 % interval) | found at 1 % false alarms, % | time to unlearn |",
             "|---|---|---|---|"]  # fmt: skip
    for name, found in played["methods"].items():
        cells = [f"{found[each]['value']:.1f} ({found[each]['interval'][0]:.1f} to {found[each]['interval'][1]:.1f})"
                 for each in rates]  # fmt: skip
        lines.append(f"| {name} | {' | '.join(cells)} | {_time(found['seconds_to_unlearn'])} |")
    note = (f"{played['models']} models of digits per method, {played['targets']} samples attacked. "
            f"{shadows['models']} shadow models on {shadows['samples_each']} samples each: "
            f"{_time(shadows['seconds'])}.")  # fmt: skip
    return "\n".join([*lines, "", note, "", _source(path, content)])


SETS = {"digits": "Digits", "fashion-mnist": "Fashion-MNIST, 2,000 pictures"}
REQUESTS = ("random 10 %", "one owner", "one class")
KINDS = ("network", "SPM", "SPM with public encoder", "MUNKEY", "MUNKEY in two phases", "SISA")
SHORT = {"remembered": "leaks", "stands out": "differs", "cannot tell": "cannot tell", "no trace": "no trace"}
TELLING = ("calibrated confidence", "KL", "per-sample attack AUC", "RMIA AUC", "delta AUC", "test accuracy")


def panel() -> str:
    """Every way of forgetting: what its models came to for each request, and what the unlearning game finds."""
    path = "experiments/results/audit_panel.json"
    content = _stored(path)
    if content is None:
        return _not_measured("python experiments/audit_panel.py --data-dir DATA")
    units, lines = content["units"], []
    for name, title in SETS.items():
        judged = {each: [row for kind in KINDS for row in units.get(f"{name}/{each}/{kind}", {"rows": ()})["rows"]]
                  for each in REQUESTS}  # fmt: skip
        rows: dict[str, dict[str, str]] = {}
        for request, found in judged.items():
            for row in found:
                rows.setdefault(row["name"], {})[request] = _counted(row["statuses"])
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
    return "\n".join([*lines, _source(path, content)])


def _counted(statuses: list[str]) -> str:
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
            cells.append("-" if found is None else _with_band(found, digits))
        lines.append(f"| {row['name']} | {' | '.join(cells)} |")
    return [*lines, ""]


def _with_band(found: dict[str, Any], digits: int) -> str:
    spread = f" \u00b1 {found['sd']:.{digits}f}" if "sd" in found else ""
    band = f" ({found['low']:.{digits}f} to {found['high']:.{digits}f})" if found.get("low") is not None else ""
    return f"{found['value']:.{digits}f}{spread}{band}"


def _pairs(name: str, first: str, last: str) -> str:
    """Two candidates that took turns, and the median ratio of the second to the first."""
    path = f"benchmarks/results/{name}.json"
    content = _stored(path)
    if content is None:
        return _not_measured(f"python benchmarks/{name}.py")
    lines = [f"| | {first} | {last} | {last} / {first} |", "|---|---|---|---|"]
    for what, found in content["result"].items():
        ratio = found[first][f"{last} / {first}"]
        lines.append(f"| {what} | {_time(found[first]['median_s'])} | {_time(found[last]['median_s'])} | {ratio:.2f} |")
    return "\n".join([*lines, "", _source(path, content)])


def scenarios() -> str:
    """Requests with a known truth: how often each way leaves something, and the number that is the request's own."""
    path = "experiments/results/scenarios.json"
    content = _stored(path)
    if content is None or "table" not in content:
        return _not_measured("OMP_NUM_THREADS=1 python experiments/scenarios.py")
    table = content["table"]
    ways = list(dict.fromkeys(way["name"] for row in table for way in row["ways"]))
    head = f"| | erased | {' | '.join(ways)} |"
    rule = "|---" * (len(ways) + 2) + "|"
    found, own = [head, rule], [head.replace("erased", "number"), rule]
    for row in table:
        measured = {way["name"]: way for way in row["ways"]}
        told = [measured.get(way) for way in ways]
        cells = ["-" if each is None else _counted(each["method"]["statuses"]) for each in told]
        sizes = f"{row['erased'][0]}" if len(row["erased"]) == 1 else f"{row['erased'][0]} to {row['erased'][-1]}"
        found.append(f"| {row['name']} | {sizes} | {' | '.join(cells)} |")
        own.append(f"| {row['name']} | {row['own']} | {' | '.join(_with_oracles(each) for each in told)} |")
    rows = {"untouched": "doing nothing, which must ring", "retrain": "training again, which must not"}
    controls = [f"{_rang(table, role)} of {_rang(table, role, *SHORT)} for {words}" for role, words in rows.items()]
    return "\n".join([*found, "", f"Controls, rehearsals in which something was found: {'; '.join(controls)}.", "",
                      "The number of its own: mean over seeds, and in brackets the oracles' and that of doing nothing.",
                      "", *own, "", _source(path, content)])  # fmt: skip


def _with_oracles(roles: Mapping[str, Any] | None) -> str:
    if roles is None or roles["method"]["own"] is None:
        return "-"
    return f"{roles['method']['own']:.0f} ({roles['method']['oracles']:.0f}; {roles['untouched']['own']:.0f})"


def _rang(table: list[dict[str, Any]], role: str, *statuses: str) -> int:
    """Rehearsals in which a row has one of these statuses; without any, one that says that something is left."""
    return sum(each in (statuses or ("remembered", "stands out")) for row in table
               for roles in row["ways"] for each in roles[role]["statuses"])  # fmt: skip


def posthoc() -> str:
    """Every unlearner on Fashion-MNIST: what the audit says of it, what it costs, and which refuse."""
    from erasable._plumbing.numbers import duration

    path = "experiments/results/posthoc.json"
    content = _stored(path)
    if content is None:
        return _not_measured("python experiments/posthoc.py --data-dir DATA")
    units, lines = content["units"], []
    for request in ("one class", "random 10 %", "one owner"):
        first = units.get(f"{request}/defaults")
        if first is None:
            continue
        own = {key.split("/")[1]: unit for key, unit in units.items() if key.split("/")[0] == request
               and key.count("/") == 1}  # fmt: skip
        tuned = {row["name"]: row for row in own.pop("tuned", {"rows": ()})["rows"]}
        times = {name: each for unit in own.values() for name, each in unit.get("times", {}).items()}
        shown = ("KL", *(("MIA-NN A",) if request == "one class" else ("calibrated confidence",)), "test accuracy")
        heads = ["", "defaults", *shown, "seconds", *(("tuned", *shown) if tuned else ())]
        title = f"{request[:1].upper()}{request[1:]}"
        lines += [f"**{title}**, {first['erased']} pictures; in brackets the oracles' band", "",
                  f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]  # fmt: skip
        others = [row for name, unit in own.items() if name != "defaults" for row in unit["rows"]]
        for row in (*sorted(first["rows"], key=_merit), *others):
            seconds = times.get(row["name"])
            cells = [_counted(row["statuses"]), *_cells(row, shown), "-" if seconds is None else duration(seconds)]
            if tuned:
                again = tuned.get(row["name"])
                cells += ["-" if again is None else _counted(again["statuses"]), *_cells(again, shown)]
            lines.append(f"| {row['name']} | {' | '.join(cells)} |")
        if first["refused"]:
            why = "; ".join(f"{name} ({reason.partition(';')[0]})" for name, reason in first["refused"].items())
            lines += ["", f"Refused, or came out broken: {why}."]
        lines.append("")
    return "\n".join([*lines, _source(path, content)])


def _merit(row: dict[str, Any]) -> tuple[float, float]:
    """Those first that fewer audits tell from their oracles, then those that keep more."""
    clean = sum(each in ("no trace", "cannot tell") for each in row["statuses"]) / len(row["statuses"])
    return -clean, -row["findings"]["test accuracy"]["value"]


def _cells(row: dict[str, Any] | None, shown: tuple[str, ...]) -> list[str]:
    if row is None:
        return ["-"] * len(shown)
    found = (row["findings"].get(each) for each in shown)
    return [
        "-" if each is None else _with_band(each, 2 if name == "KL" else 1)
        for name, each in zip(shown, found, strict=True)
    ]


# --- files ---------------------------------------------------------------------------------------------------------

PARTS: Mapping[str, Mapping[str, Callable[[], str]]] = {
    "README.md": {"methods": methods},
    "docs/choose.md": {"accuracy": accuracy, "forgetting": forgetting, "public-encoder": public_encoder,
                       "latency": latency, "inference": inference, "training": training,
                       "fleet": fleet, "panel": panel, "posthoc": posthoc, "scenarios": scenarios,
                       "population": population},
}  # fmt: skip


def current(text: str, parts: Mapping[str, Callable[[], str]]) -> str:
    """The text with its parts written anew. Raises ValueError for a part without its pair of markers."""
    for name, write in parts.items():
        begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
        if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
            raise ValueError(f"'{begin}' and '{end}' must stand in the text once each, in this order")
        head, tail = text.partition(begin)[0], text.partition(end)[2]
        text = f"{head}{begin}\n{write()}\n{end}{tail}"
    return text


def stale() -> list[str]:
    """The files that `main` would change."""
    return [path for path, parts in PARTS.items()
            if (text := (ROOT / path).read_text(encoding="utf-8")) != current(text, parts)]  # fmt: skip


def main(arguments: list[str]) -> int:
    if arguments not in ([], ["--check"]):
        print("usage: python docs/generate.py [--check]", file=sys.stderr)
        return 2
    for path in (found := stale()):
        if arguments:
            print(f"{path} is not current; expected what the code says; run python docs/generate.py", file=sys.stderr)
        else:
            file = ROOT / path
            file.write_text(current(file.read_text(encoding="utf-8"), PARTS[path]), encoding="utf-8")
            print(f"wrote {path}")
    return 1 if arguments and found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
