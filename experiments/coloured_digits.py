"""Digits whose colour nearly tells the class: is a class forgotten, or only its colour?

    OMP_NUM_THREADS=1 python experiments/coloured_digits.py --data-dir DATA [--only cupid ...]

10,000 digits of MNIST: 995 of each class's 1,000 wear its colour, 5 that of another class, in pale colours (saturation
0.125), so that the network, a small ConvNet, is right about four in five of these 5 and about half of such test
pictures. Test pictures wear their class's colour one time in two. One class is erased: three classes, three seeds.
Asked for: CUPID answers bias-conflicting pictures of it right less often than every other unlearner that reads forget
data alone, where what stays is as accurate.

Settings are chosen on development units (`UNITS`): two other classes, two other seeds, and pictures of which none is
reported, train or test. Each forget-only row has 24 trials, each of the others, which are here for scale, three on half
of the units. Chosen is the setting that answers the fewest conflicting test pictures of the erased class right, among
those whose retained test accuracy is, by the mean over units, at most 2 (5) points below that of the original:

    mean   the accuracy of the retained classes on the balanced test pictures
    both   the larger of the falls of the aligned and of the conflicting ones, as one may fall while the other rises

"both" was added when development showed this trade. "cupid, clipped" came out of some 60 further development trials
(radius, share, pathway, omega, clipping, a bounded loss); its 24 are around the best of these. Forsaken's reference
answers, which nobody's data tell here, are the other classes with equal probabilities.

Tried on the development units when the reported rows were known, to see why CUPID misses: going downhill towards each
picture's second choice instead of uphill (steps clipped at 0.3, lr 0.1, 3 epochs) leaves 0.4 % of the aligned and 0.4 %
of the conflicting pictures, the balanced accuracy 6.0 points above the original's; with CUPID's parts and mask 2.8 %
and 5.8 %, 0.4 points below. What it lacks is an answer to go to.
"""

import argparse
import copy
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from coloured_bench import PLACE, UNITS, data_of, measured, originals
from coloured_ways import CONTROLS, FORGET_ONLY, METHODS, SCALE
from store import Store

from erasable import catalog
from erasable.request import Request

RULES = [("mean", 2), ("mean", 5), ("both", 2), ("both", 5)]
KEPT = ("train aligned", "train conflicting", "test aligned", "test conflicting", "retain", "retain aligned",
        "retain conflicting", "worst group", "retain in its colour", "seconds")  # fmt: skip


def unit(stage: str, make: Callable[[int], Any], kind: int, seed: int) -> dict[str, Any]:
    """One class erased from one network."""
    train, _ = data_of(stage)
    model = originals(stage)[seed]
    split = Request(f"class {kind}", train.where("label", kind).ids).split(train)
    start = time.perf_counter()
    after = make(kind)(copy.deepcopy(model), split, model.task, seed=seed)
    seconds = round(time.perf_counter() - start, 2)
    return measured(after, stage, kind) | {"seconds": seconds}


def places(stage: str, method: str) -> list[tuple[int, int]]:
    """(class, seed) of each unit. What is here for scale takes as many classes and seeds, each once."""
    every = UNITS[stage]
    return every[:: 3 if stage == "development" else 4] if method in SCALE else every


def summary(store: Store, stage: str, method: str, trial: str) -> dict[str, float]:
    """The mean over units, and how far the retained accuracies fell below the original's on the same units."""
    rows = [store.content["units"][f"{stage}/{method}/{trial}/{kind}/{seed}"] for kind, seed in places(stage, method)]
    before = [store.content["units"][f"{stage}/nothing//{kind}/{seed}"] for kind, seed in places(stage, method)]
    found = {key: statistics.fmean(each[key] for each in rows) for key in KEPT}
    falls = {key: statistics.fmean(each[key] for each in before) - found[key]
             for key in ("retain", "retain aligned", "retain conflicting")}  # fmt: skip
    spread = statistics.stdev(each["test conflicting"] for each in rows)
    return {**found, "sd": spread, "mean": falls["retain"], "both": max(falls["retain aligned"],
            falls["retain conflicting"])}  # fmt: skip


def chosen(store: Store, method: str, rule: str, allowed: float) -> str | None:
    tried = {trial: summary(store, "development", method, trial) for trial in METHODS[method]}
    kept = [trial for trial, found in tried.items() if found[rule] <= allowed]
    return min(kept, key=lambda each: (tried[each]["test conflicting"], tried[each][rule])) if kept else None


def causal_found(stage: str, kind: int, seed: int, radius: float) -> dict[str, Any]:
    """How many bias-conflicting samples are among CUPID's causal 5 %."""
    data = data_of(stage)[0].where("label", kind)
    model = originals(stage)[seed]
    omega = catalog.UNLEARNERS["cupid"](radius=radius).sharpness(model, model.task, data)
    against = data.read("label") != data.read("colour")
    top = torch.isin(torch.arange(len(data)), omega.topk(round(0.05 * len(data))).indices)
    return {"found": int((top & against).sum()), "of": int(against.sum())}


# --- the whole -------------------------------------------------------------------------------------------------------


def table(store: Store, methods: list[str]) -> list[dict[str, Any]]:
    found = []
    for method in methods:
        choices: dict[str, list[str]] = {}
        for rule, allowed in RULES if method not in CONTROLS else [("", 0)]:
            trial = "" if method in CONTROLS else chosen(store, method, rule, allowed)
            choices.setdefault("none" if trial is None else trial, []).append(f"{rule} {allowed}".strip(" 0"))
        for trial, rules in choices.items():
            row: dict[str, Any] = {"method": method, "settings": trial, "chosen by": [each for each in rules if each]}
            if trial != "none":
                row |= {key: round(value, 2) for key, value in summary(store, "reported", method, trial).items()}
                row |= {"units": len(places("reported", method)), "trials": len(METHODS[method])}
                if method not in CONTROLS:
                    tried = summary(store, "development", method, trial)
                    row["development"] = {key: round(tried[key], 2) for key in ("test conflicting", "mean", "both")}
            found.append(row)
    return found


def verdicts(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """By rule: conflicting forget accuracy and retained accuracy of the forget-only rows; whether CUPID's is least."""
    found = []
    for rule, allowed in RULES:
        here = {row["method"]: row for row in rows if f"{rule} {allowed}" in row["chosen by"] and "retain" in row}
        numbers = {name: (row["test conflicting"], row["retain"]) for name, row in here.items() if name in FORGET_ONLY}
        rest = [value for name, (value, _) in numbers.items() if not name.startswith("cupid")]
        holds = {name: value < min(rest) for name, (value, _) in numbers.items() if name.startswith("cupid")}
        found.append({"rule": f"{rule} {allowed}", "conflicting, retain": numbers, "holds": holds})
    return found


def told(rows: list[dict[str, Any]]) -> str:
    heads = ("train aligned", "train conflicting", "test aligned", "test conflicting", "sd", "retain", "retain aligned",
             "retain conflicting", "worst group")  # fmt: skip
    lines = [" | ".join(("method", "chosen by", "settings", *heads))]
    for row in rows:
        numbers = [f"{row[key]:.1f}" if key in row else "-" for key in heads]
        lines.append(" | ".join((row["method"], ", ".join(row["chosen by"]), row["settings"], *numbers)))
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir")
    parser.add_argument("--only", nargs="+", default=list(METHODS), choices=METHODS)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    PLACE["data_dir"] = asked.data_dir
    store = Store("coloured_digits", __doc__.splitlines()[0], "OMP_NUM_THREADS=1 python experiments/coloured_digits.py "
                  "--data-dir DATA")  # fmt: skip
    methods = [*CONTROLS, *(each for each in asked.only if each not in CONTROLS)]

    def work(stage: str, method: str, trial: str) -> None:
        for kind, seed in places(stage, method):
            store.run(f"{stage}/{method}/{trial}/{kind}/{seed}",
                      partial(unit, stage, METHODS[method][trial], kind, seed))  # fmt: skip

    for method in methods:
        for trial in METHODS[method]:
            if method != "retrain":
                work("development", method, trial)
    for radius in (0.5, 0.05, 0.005):
        for kind, seed in UNITS["development"]:
            store.run(f"causal/{radius}/{kind}/{seed}", partial(causal_found, "development", kind, seed, radius))
    for method in methods:
        trials = {""} if method in CONTROLS else {chosen(store, method, *rule) for rule in RULES}
        for trial in sorted(each for each in trials if each is not None):
            work("reported", method, trial)
    store.save()
    whole = [each for each in METHODS if f"reported/{each}" in {"/".join(key.split("/")[:2])
             for key in store.content["units"]}]  # fmt: skip
    rows = table(store, whole)
    causal = {str(radius): sum(each["found"] for key, each in store.content["units"].items()
                               if key.startswith(f"causal/{radius}/")) for radius in (0.5, 0.05, 0.005)}  # fmt: skip
    asked_for = verdicts(rows)
    store.save(table=rows, causal={**causal, "of": 20}, asked=asked_for)
    print(told(rows), *asked_for, sep="\n")


if __name__ == "__main__":
    main()
