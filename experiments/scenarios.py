"""Requests with a known truth, on the digits: what five ways of forgetting leave behind, over three seeds.

    OMP_NUM_THREADS=1 python experiments/scenarios.py [--only mislabelled ...] [--ways SISA ...] [--seeds 0 1 2]

Every unit is one rehearsal (`erasable.rehearsal`): a model of 20 epochs, its request or requests, 16 oracles, the model
from before and one that was trained again. The seed decides the model, its oracles and whom the request is for. A
third of the digits is public, by whole owners, for the encoder that nobody's data may reach.

Two scenarios need what the digits do not bring along, and it is made here, for nothing else:

    subclass          the task is to tell odd from even; the kinds within are the digits
    bias-conflicting  a bright pixel is planted beside the digit. In training its place says the digit in 95 of 100
                      pictures and lies in 5; in the test pictures it lies in half. The request is for all of these that
                      may be erased

Strata of memorisation come from 32 plain networks on halves, the same for every way, so that all are asked alike.
"""

import argparse
import statistics
import time
from collections.abc import Iterator
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np
import torch
from store import Store

from erasable import demo
from erasable.dataset import Dataset
from erasable.datasets import digits
from erasable.rehearsal import memorised, prepared, rehearse
from erasable.scenarios import (
    Adaptive,
    BiasConflicting,
    Duplicates,
    InterclassConfusion,
    Memorisation,
    Mislabelled,
    OneClass,
    OneOwner,
    RandomShare,
    Sequential,
    Subclass,
)
from erasable.source import Source
from erasable.tasks import Classification
from erasable.unlearners import FineTune, Nothing

ORACLES, SEEDS, PUBLIC, KIND = 16, (0, 1, 2), 479, 8
WAYS: dict[str, tuple[str, Any]] = {  # name: kind of model, unlearner
    "network, nothing": ("network", Nothing()),
    "network, fine-tune": ("network", FineTune()),
    "SPM": ("SPM", None),
    "SPM, public encoder": ("SPM with public encoder", None),
    "SISA": ("SISA", None),
}
ROLES = ("method", "untouched", "retrain")
MARKS = [(row, 0) for row in range(8)] + [(3, 7), (4, 7)]  # places that are dark in nearly all digits


class Case(NamedTuple):
    """A scenario, the number that is its own, and data for which it makes sense."""

    settings: Any
    own: str
    data: str = "digits"


CASES = {
    "random": Case(RandomShare(), "per-sample attack AUC"),
    "owner": Case(OneOwner(least=10), "per-sample attack AUC"),
    "class": Case(OneClass(label=KIND), "accuracy, the class in the test data", "without public eights"),
    "subclass": Case(Subclass(column="digit", value=KIND), "accuracy, the kind in the test data", "odd or even"),
    "memorisation high": Case(Memorisation(stratum="high", share=0.05), "forget accuracy"),
    "memorisation middle": Case(Memorisation(stratum="middle", share=0.05), "forget accuracy"),
    "memorisation low": Case(Memorisation(stratum="low", share=0.05), "forget accuracy"),
    "mislabelled": Case(Mislabelled(share=0.05), "canaries"),
    "interclass-confusion": Case(InterclassConfusion(pair=(3, 8)), "Fgt-Err"),
    "duplicates one": Case(Duplicates(), "surer than oracles, duplicates that stay"),
    "duplicates all": Case(Duplicates(forget="all"), "per-sample attack AUC"),
    "bias-conflicting": Case(BiasConflicting(column="mark", share=1.0),
                             "accuracy, bias-conflicting in the test data", "marked"),
    "sequential": Case(Sequential(), "per-sample attack AUC"),
    "adaptive boundary": Case(Adaptive(), "per-sample attack AUC"),
    "adaptive confident": Case(Adaptive(choice="confident"), "per-sample attack AUC"),
}  # fmt: skip
ALWAYS = ("forget accuracy", "per-sample attack AUC", "test accuracy")
KEPT = (*ALWAYS, "membership AUROC", "per-sample attack TPR at 1 % FPR", "KL", "retain accuracy",
        "canaries", "IC-Err", "Fgt-Err", "time")  # fmt: skip


# --- data ------------------------------------------------------------------------------------------------------------


def odd_or_even(data: Dataset) -> Dataset:
    """The same pictures with another question; the old answer is kept as the column "digit"."""
    label = data.read("label")
    columns = {"image": data.read("image"), "label": label % 2, "digit": label}
    return Dataset.of(columns, data.ids, owners=data.owners, name=f"{data.name}, odd or even",
                      facts={**data.facts, "classes": ["even", "odd"]})  # fmt: skip


def marked(data: Dataset, lies: float) -> Dataset:
    """The same pictures with a bright pixel whose place says a digit: another one than it is in `lies` of them."""
    draws = np.random.default_rng(3)
    label, n = data.read("label").numpy(), len(data)
    mark = np.where(draws.random(n) < lies, (label + draws.integers(1, 10, n)) % 10, label)
    image = data.read("image").clone()
    for at, (row, across) in enumerate(MARKS):
        image[:, 0, row, across] = 0
        image[torch.from_numpy(mark == at), 0, row, across] = 16
    columns = {"image": image, "label": data.read("label"), "mark": torch.from_numpy(mark)}
    return Dataset.of(columns, data.ids, owners=data.owners, name=f"{data.name}, marked", facts=data.facts)


@cache
def data_of(name: str) -> tuple[Dataset, Dataset, Classification]:
    """(train, test, task). Public are whole owners; where a kind is asked for, they own nothing of it."""
    without = [KIND] if name in ("odd or even", "without public eights") else []
    train, test = digits("train"), digits("test")
    public = Source.of("digits", public=PUBLIC, public_without=without).train().public.ids
    if name == "odd or even":
        train, test = odd_or_even(train), odd_or_even(test)
    elif name == "marked":
        train, test = marked(train, 0.05), marked(test, 0.5)
    return train.declare_public(public), test, Classification.of(train)


# --- units -----------------------------------------------------------------------------------------------------------


@cache
def scores(seed: int) -> Any:
    data, _, task = data_of("digits")
    return memorised(demo.kinds(demo.FULL)["network"].method, data, task, seed=seed)


def unit(name: str, way: str, seed: int) -> dict[str, Any]:
    """One rehearsal."""
    start = time.perf_counter()
    case, (kind, unlearner) = CASES[name], WAYS[way]
    data, test, task = data_of(case.data)
    method = demo.kinds(demo.FULL)[kind].method
    settings = case.settings
    if isinstance(settings, Memorisation):
        scenario = settings(data, task, scores=scores(seed), seed=seed)
    else:
        scenario = prepared(settings, data, test, task, method, seed=seed)
    (section,) = rehearse(scenario, method, test, task, data=data if isinstance(settings, Adaptive) else None,
                          unlearner=unlearner, oracles=ORACLES, seed=seed)  # fmt: skip
    rows = {row.role: row_of(row, case.own) for row in section.rows}
    rows["method"]["verdict"] = section.rows[0].verdict
    return {"title": section.title, "erased": section.erased, "samples": section.erased + section.retained,
            "data": section.digests["training data"], "ids": section.digests["erased ids"], "rows": rows,
            "seconds": round(time.perf_counter() - start, 1)}  # fmt: skip


def row_of(row: Any, own: str) -> dict[str, Any]:
    """The controls with fewer numbers."""
    kept = KEPT if row.role == "method" else (*ALWAYS, own)
    groups = ("accuracy, ", "surer than oracles") if row.role == "method" else ()
    findings = {each.metric: told(each) for each in (*row.judged, *row.shown)
                if each.metric in kept or each.metric.startswith(groups)}  # fmt: skip
    return {"level": row.level, "status": row.status, "findings": findings}


def told(finding: Any) -> dict[str, float]:
    numbers = {"value": finding.value, "oracles": finding.null_mean}
    if finding.null_band is not None:
        numbers |= {"low": finding.null_band[0], "high": finding.null_band[1]}
    return {key: round(each, 3) for key, each in numbers.items() if each is not None}


# --- what came out ---------------------------------------------------------------------------------------------------


def table(units: dict[str, Any]) -> list[dict[str, Any]]:
    """By scenario and way: the status of each seed, and the scenario's own number, averaged over seeds."""
    found = []
    for name, case in CASES.items():
        ways = []
        for way in WAYS:
            runs = [units[key] for seed in SEEDS if (key := f"{name}/{way}/{seed}") in units]
            if runs:
                ways.append({"name": way} | {role: summary(runs, role, case.own) for role in ROLES})
        if ways:
            erased = sorted({each["erased"] for key, each in units.items() if key.startswith(f"{name}/")})
            found.append({"name": name, "own": case.own, "erased": erased, "ways": ways})
    return found


def summary(runs: list[Any], role: str, own: str) -> dict[str, Any]:
    rows = [each["rows"][role] for each in runs]
    statuses = [row["status"] for row in rows]
    numbers = [row["findings"][own] for row in rows if own in row["findings"]]

    def mean(key: str) -> float | None:
        return round(statistics.fmean(each[key] for each in numbers), 2) if numbers else None

    test = round(statistics.fmean(row["findings"]["test accuracy"]["value"] for row in rows), 2)
    return {"statuses": statuses, "own": mean("value"), "oracles": mean("oracles"), "test accuracy": test}


def lines(summed: list[dict[str, Any]]) -> Iterator[str]:
    for row in summed:
        for roles in row["ways"]:
            told, before = roles["method"], roles["untouched"]
            found, rang = (", ".join(each["statuses"]) for each in (told, before))
            yield (f"{row['name']:20} {roles['name']:20} {found:40} {row['own']} {told['own']} "
                   f"(oracles {told['oracles']}; nothing {before['own']}, {rang})")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    asked = parser.parse_args()
    torch.set_num_threads(1)  # networks this small mostly wait for each other
    store = Store("scenarios", __doc__.splitlines()[0], "OMP_NUM_THREADS=1 python experiments/scenarios.py")
    for seed in asked.seeds:
        for name in asked.only:
            for way in asked.ways:
                store.run(f"{name}/{way}/{seed}", partial(unit, name, way, seed))
    store.save()
    summed = table(store.content["units"])
    store.save(table=summed)
    print("\n".join(lines(summed)))


if __name__ == "__main__":
    main()
