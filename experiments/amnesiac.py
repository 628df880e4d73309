"""Amnesiac unlearning on the digits: what taking back costs, and what is left, from one sample to a class.

    OMP_NUM_THREADS=1 python experiments/amnesiac.py

Three ConvNets, trained from three seeds for 20 epochs of 22 steps, take back the steps that held an erased sample, with
and without two epochs of repair. Beside them the same networks with nothing done, fine-tuned, with CT, and networks
trained again; every row is judged by the suite "standard" against 19 oracles that never saw the sample. Writing steps
down does not change the training (a test says so, bit for bit), so the oracles are plain networks. Twice: with AdamW,
the recipe of all other tables, and with SGD without momentum, whose step holds gradients of its own batch alone. Its
learning rate was chosen by the accuracy of the untouched network. All other settings are defaults: nothing was tuned.

Asked for: one sample costs little accuracy; 10 % undoes the training, the known failure. What is left is printed,
whatever it is. "one wrong label" is a sample that was given another label, which a network learns by heart.
"""

import argparse
import copy
import time
from collections import Counter
from dataclasses import replace
from typing import Any

import torch
from audit_panel import requests, row_of
from store import Store

from erasable.audit import Subject, judge
from erasable.dataset import Dataset
from erasable.datasets import digits
from erasable.forgettable.amnesiac import Amnesiac
from erasable.network import Network
from erasable.population import Population
from erasable.probe import Probe
from erasable.report import Row
from erasable.request import Request
from erasable.tasks import Classification
from erasable.train import Recipe
from erasable.unlearner import forget
from erasable.unlearners import FineTune, Nothing
from erasable.unlearners.ct import CT

NETWORK = "convnet widths=8,16 groups=4 pool=4"
ORACLES, TARGETS, REPAIR = 19, 3, 2
RECIPES = {
    "AdamW": Recipe(epochs=20),
    "SGD without momentum": Recipe(epochs=20, optimizer="sgd", momentum=0.0, lr=0.1, weight_decay=5e-4),
}
UNLEARNERS: dict[str, Any] = {"nothing": Nothing(), "finetune": FineTune(), "ct": CT()}
ROLES: dict[str, Any] = {"nothing": "untouched", "retrain": "retrain"}
SHOWN = ("test accuracy", "forget accuracy", "per-sample attack AUC", "KL")


def asked_for(train: Dataset) -> dict[str, tuple[Dataset, Request]]:
    """By name the data that models are trained on and the request, all drawn once."""
    one = [train.ids[int(torch.randint(len(train), (), generator=torch.Generator().manual_seed(5)))]]
    sizes = Counter(train.owners)  # "one owner", as in the other tables, is the one with most samples
    smaller = min(sizes, key=lambda owner: (abs(sizes[owner] - len(train) / 100), owner))
    mislabelled = train.replace("label", one, (train.only(one).read("label") + 3) % 10)
    return {
        "one sample": (train, Request("one sample", one)),
        "one wrong label": (mislabelled, Request("one wrong label", one)),
        "an owner of 1 %": (train, Request("an owner of 1 %", train.owned_by(smaller).ids)),
        **requests(train, train),
    }


def section(data: Dataset, test: Dataset, task: Any, request: Request, recipe: Recipe) -> dict[str, Any]:
    """One request, carried out in all ways by networks of one recipe."""
    start = time.process_time()
    plain, amnesiac = (kind(network=NETWORK, recipe=recipe) for kind in (Network, Amnesiac))
    probe, kept = Probe.of(request, data, test, task), data.without(request.ids)
    seeds = range(1000, 1000 + ORACLES)
    reference = Population(tuple(plain.train(kept, task, seeds=seeds)), tuple(seeds), "oracle")
    again = plain.train(kept, task, seeds=range(2000, 2000 + TARGETS))
    subjects, seconds, taken = [], dict[str, list[float]](), 0
    for seed in range(TARGETS):
        (model,) = amnesiac.train(data, task, seeds=[seed])
        keys = model.memory.keys[model.memory.rows(request.ids)]
        taken += len(torch.unique(keys[keys >= 0]))
        (before,) = plain.train(data, task, seeds=[seed])
        repaired = copy.deepcopy(model)
        repaired.method = replace(amnesiac, repair_epochs=REPAIR)
        ways = {name: (before, each) for name, each in UNLEARNERS.items()}
        ways |= {"amnesiac": (model, None), f"amnesiac, {REPAIR} epochs of repair": (repaired, None)}
        seen = probe.look([before])
        for name, (given, unlearner) in ways.items():
            after, receipt = forget(given, request, data=data, unlearner=unlearner, seed=seed)
            seconds.setdefault(name, []).append(receipt.seconds)
            subjects.append(Subject(name=f"{name}/{seed}", model=after, oracles=reference, before=seen, receipt=receipt,
                                    role=ROLES.get(name, "method")))  # fmt: skip
        subjects.append(Subject(name=f"retrain/{seed}", model=again[seed], oracles=reference, before=seen,
                                level="exact", role="retrain"))  # fmt: skip
    rows: dict[str, list[Row]] = {}
    for row in judge(subjects, probe, title=request.case, suite="standard", samples=0).rows:
        rows.setdefault(row.name.rpartition("/")[0], []).append(row)
    return {"rows": [row_of(name, each) for name, each in rows.items()], "erased": len(request.ids),
            "steps": len(model.updates), "taken back": taken / TARGETS, "megabytes": model.updates.nbytes / 1e6,
            "times": {name: round(min(each), 4) for name, each in seconds.items()},
            "seconds": round(time.process_time() - start, 1)}  # fmt: skip


def table(units: dict[str, Any]) -> list[dict[str, Any]]:
    """A row per recipe, request and way: the statuses of its models, and numbers as means over them."""
    found = []
    for key, unit in units.items():
        recipe, _, request = key.partition("/")
        for row in unit["rows"]:
            numbers = {name: {each: round(row["findings"][name][each], 2) for each in ("value", "oracles")}
                       for name in SHOWN if name in row["findings"]}  # fmt: skip
            found.append({"recipe": recipe, "request": request, "erased": unit["erased"], "name": row["name"],
                          "taken back, %": round(100 * unit["taken back"] / unit["steps"], 1),
                          "statuses": row["statuses"], **numbers})  # fmt: skip
    return found


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    torch.set_num_threads(1)
    store = Store("amnesiac", __doc__.splitlines()[0], "OMP_NUM_THREADS=1 python experiments/amnesiac.py")
    train, test = digits("train"), digits("test")
    task = Classification.of(train)
    for recipe, settings in RECIPES.items():
        for kind, (data, request) in asked_for(train).items():
            store.run(f"{recipe}/{kind}", lambda d=data, r=request, s=settings: section(d, test, task, r, s))
    summed = table(store.content["units"])
    store.save(table=summed)
    for row in summed:
        numbers = "  ".join(f"{name} {row[name]['value']:.1f} ({row[name]['oracles']:.1f})" for name in SHOWN[:3]
                            if name in row)  # fmt: skip
        print(f"{row['recipe']:21} {row['request']:17} {row['taken back, %']:5.1f} % of steps  {row['name']:30} "
              f"{', '.join(row['statuses']):40} {numbers}")  # fmt: skip


if __name__ == "__main__":
    main()
