"""The full panel: nine ways of forgetting, three requests each, and the unlearning game. Digits and Fashion-MNIST.

    python experiments/audit_panel.py [--only digits fashion-mnist] [--data-dir DATA] [--threads 1]

Five models of each kind, trained from five seeds, forget in each way; every row is judged by the suite "full" against
39 oracles of its own method (MUNKEY on Fashion-MNIST: 19), and five further models that never saw the samples stand in
for a perfect way. The game (U-LiRA) trains 64 models per method on random halves and lets each unlearn a tenth. Asked
for: the retrained rows pass, doing nothing fails, SPM with a public encoder cannot be told from its oracles; what plain
SPM and MUNKEY leak is printed, whatever it is. A clean model is outside its bands by chance about once in 20.

Fashion-MNIST is 2,000 pictures and an MLP, which learns 98 % of what it saw and 81 % of what it did not: where nothing
is learned by heart, nothing can be forgotten, and no audit has anything to find.
"""

import argparse
import copy
import time
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from store import Store

from erasable import demo
from erasable.audit import Subject, judge
from erasable.dataset import Dataset
from erasable.datasets import digits, fashion_mnist
from erasable.evidence import Finding
from erasable.fleet import train_fleet
from erasable.forgettable.munkey import MUNKEY
from erasable.forgettable.sisa import SISA
from erasable.forgettable.spm import SPM
from erasable.game import halves, play
from erasable.network import Network
from erasable.population import Population
from erasable.probe import Probe
from erasable.report import Row
from erasable.request import Request
from erasable.tasks import Classification
from erasable.train import Recipe
from erasable.unlearner import forget

ORACLES, SHADOWS, TARGETS = 39, 64, 5
FEWER = {("fashion_mnist/train", "MUNKEY"): 19, ("fashion_mnist/train", "MUNKEY in two phases"): 19}  # dear to train
CLASS = 6  # the shirts, easiest to mistake; among the digits the six
PUBLIC = 1 / 3
WAYS = demo.WAYS


def digit_kinds() -> dict[str, Any]:
    return {name: each.method for name, each in demo.kinds(demo.FULL).items()}


def fashion_kinds() -> dict[str, Any]:
    network, recipe = "mlp width=128 depth=2", Recipe(epochs=20)
    munkey = MUNKEY(network="vit patch=14 width=32 depth=1 heads=2 stem=16", value_width=32, keys="pixels",
                    recipe=Recipe(epochs=10, lr=3e-3))  # fmt: skip
    return {
        "network": Network(network=network, recipe=recipe),
        "SPM": SPM(network=network, recipe=recipe),
        "SPM with public encoder": SPM(network=network, encoder="public", similarity="covariance", recipe=recipe),
        "MUNKEY": munkey,
        "MUNKEY in two phases": replace(munkey, phases=2, value_steps=12, recipe=Recipe(epochs=20, lr=3e-3)),
        "SISA": SISA(network=network, shards=3, recipe=recipe),
    }


def parts(name: str, data_dir: str | None) -> tuple[Dataset, Dataset]:
    if name == "digits":
        return digits("train"), digits("test")
    train, test = (fashion_mnist(part, data_dir=data_dir) for part in ("train", "test"))
    pick = np.random.default_rng(0)
    return train.take(pick.permutation(len(train))[:2_000]), test.take(pick.permutation(len(test))[:1_500])


def with_public(data: Dataset, *, without_class: bool) -> Dataset:
    """A third is public; for the class request nothing of that class."""
    order = np.random.default_rng(1).permutation(len(data))[: round(PUBLIC * len(data))]
    labels = np.asarray(data.read("label"))
    chosen = [each for each in order.tolist() if not without_class or labels[each] != CLASS]
    return data.declare_public([data.ids[each] for each in chosen])


def requests(data: Dataset, of_class: Dataset) -> dict[str, tuple[Dataset, Request]]:
    private = data.private
    some = np.random.default_rng(2).permutation(len(private))[: len(private) // 10]
    sizes: dict[str, int] = {}
    for owner in private.owners or ():
        sizes[owner] = sizes.get(owner, 0) + 1
    largest = max(sizes, key=lambda each: (sizes[each], each))
    return {
        "random 10 %": (data, Request("random", private.take(some).ids)),
        "one owner": (data, Request("owner", private.owned_by(largest).ids)),
        "one class": (of_class, Request("class", of_class.private.where("label", CLASS).ids)),
    }


def section(data: Dataset, test: Dataset, task: Any, name: str, method: Any, request: Request) -> Any:
    """One request and the ways that start from models of one kind, each with TARGETS models."""
    start = time.perf_counter()
    probe, kept = Probe.of(request, data, test, task), data.without(request.ids)
    count = FEWER.get((data.name, name), ORACLES)
    known = trained(method, kept, task, range(1000, 1000 + count))
    reference = Population(tuple(known), tuple(range(1000, 1000 + count)), "oracle")
    targets = trained(method, data, task, range(TARGETS))
    again = trained(method, kept, task, range(2000, 2000 + TARGETS))
    subjects = []
    for seed, before in enumerate(targets):
        seen = probe.look([before])
        shared: dict[str, Any] = {"oracles": reference, "before": seen, "untouched": copy.deepcopy(before)}
        for way in (each for each in WAYS if each.kind == name):
            begin = before if way.unlearner is not None else copy.deepcopy(before)
            model, receipt = forget(begin, request, data=data, unlearner=way.unlearner, seed=seed)
            subjects.append(Subject(name=f"{way.name}/{seed}", model=model, receipt=receipt, role=way.role,
                                    **shared))  # fmt: skip
        subjects.append(Subject(name=f"second oracle ({name})/{seed}", model=again[seed], role="retrain",
                                **shared))  # fmt: skip
    judged = judge(subjects, probe, title=request.case, suite="full", samples=0)
    rows: dict[str, list[Row]] = {}
    for row in judged.rows:
        rows.setdefault(row.name.rpartition("/")[0], []).append(row)
    return {"rows": [row_of(name, each) for name, each in rows.items()], "erased": len(request.ids), "oracles": count,
            "samples": len(data), "seconds": time.perf_counter() - start}  # fmt: skip


def trained(method: Any, data: Dataset, task: Any, seeds: range) -> list[Any]:
    """All at once, but for transformers, which few at a time train as fast in less memory."""
    at_once = 4 if isinstance(method, MUNKEY) else len(seeds)
    return [
        each
        for first in seeds[::at_once]
        for each in method.train(data, task, seeds=seeds[first - seeds[0] :][:at_once])
    ]


def row_of(name: str, rows: list[Row]) -> dict[str, Any]:
    """One way of forgetting: what each of its models came to, and each number's mean over them."""
    found: dict[str, list[Finding]] = {}
    for row in rows:
        for each in (*row.judged, *row.shown):
            found.setdefault(each.metric, []).append(each)
    return {"name": name, "level": rows[0].level, "statuses": [each.status for each in rows],
            "verdict": rows[0].verdict, "power": rows[0].power,
            "findings": {metric: summed(each) for metric, each in found.items()},
            "before": {each.metric: round(before_of(rows, each.metric), 4) for each in rows[0].before}}  # fmt: skip


def before_of(rows: list[Row], metric: str) -> float:
    return float(np.mean([each.value for row in rows for each in row.before if each.metric == metric]))


def summed(found: list[Finding]) -> dict[str, Any]:
    values = [each.value for each in found]
    spread = {"sd": round(float(np.std(values, ddof=1)), 4)} if len(values) > 1 else {}
    outside = {} if found[0].null_band is None else {"outside": sum(not each.inside_noise for each in found)}
    return {**told(found[0]), "value": round(float(np.mean(values)), 4), **spread, **outside, "models": len(values)}


def told(finding: Finding) -> dict[str, Any]:
    numbers = {"value": finding.value, "oracles": finding.null_mean, "low": finding.null_band and finding.null_band[0],
               "high": finding.null_band and finding.null_band[1], "interval": finding.interval}  # fmt: skip
    return {
        key: (round(each, 4) if isinstance(each, float) else [round(e, 2) for e in each])
        for key, each in numbers.items()
        if each is not None
    } | ({"note": finding.note} if finding.note else {})


def game(data: Dataset, task: Any, methods: dict[str, Any], kind: str, folder: str) -> dict[str, Any]:
    """U-LiRA for all ways that start from models of one kind."""
    start = time.perf_counter()
    fleet = train_fleet(methods[kind], data, task, halves(data, models=SHADOWS, seed=0), folder=folder)
    trained, found = time.perf_counter() - start, {}
    for way in WAYS:
        if way.kind != kind:
            continue
        start = time.perf_counter()
        played = play(fleet, "forget" if way.unlearner is None else way.unlearner, share=0.1)
        found[way.name] = {
            "findings": {each.metric: told(each) for each in played.findings(way.name)},
            "strata": {each.name: {"samples": each.samples, "AUC": told(each.findings[0])}
                       for each in played.strata(way.name)},
            "controls": [each.model_dump() for each in played.controls()],
            "seconds": time.perf_counter() - start,
        }  # fmt: skip
    return {"ways": found, "models": SHADOWS, "training_seconds": trained, "notes": fleet.notes}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", default=["digits", "fashion-mnist"])
    parser.add_argument("--data-dir")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--kinds", nargs="*", default=list(digit_kinds()), help="whose models")
    parser.add_argument("--games", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--requests", nargs="*", default=["random 10 %", "one owner", "one class"])
    parser.add_argument("--shadows", default="shadows", help="the folder in which shadow models are kept")
    asked = parser.parse_args()
    if asked.threads:
        torch.set_num_threads(asked.threads)
    store = Store("audit_panel", __doc__.splitlines()[0], "python experiments/audit_panel.py --data-dir DATA")
    for name in asked.only:
        train, test = parts(name, asked.data_dir)
        methods = digit_kinds() if name == "digits" else fashion_kinds()
        task = Classification.of(train)
        data, of_class = (with_public(train, without_class=each) for each in (False, True))
        for kind, (where, request) in requests(data, of_class).items():
            if kind not in asked.requests:
                continue
            for own in asked.kinds:
                if own == "MUNKEY in two phases" and kind == "one class":
                    continue  # its network would not know the class at all
                store.run(f"{name}/{kind}/{own}", lambda d=where, t=test, k=task, n=own, m=methods[own], r=request:
                          section(d, t, k, n, m, r))  # fmt: skip
        for kind in asked.kinds if asked.games else ():
            store.run(f"{name}/game/{kind}", lambda d=data, k=task, m=methods, n=kind: game(d, k, m, n, asked.shadows))
    store.save()


if __name__ == "__main__":
    main()
