"""Every unlearner of the catalog on Fashion-MNIST, beside models that forget by design.

    python experiments/posthoc.py --data-dir DATA [--stages defaults tuned] [--requests "one class"] [--threads 1]

2,000 pictures and a ConvNet that keeps its 4 x 4 positions, which learns 95 % of what it saw and 81 % of what it did
not. Three models, trained from three seeds, forget in each way; every row is judged by the suite "standard" against 19
oracles of its own method. "defaults" are the settings of each method's file, mostly the papers', which were chosen for
other networks; "tuned" are chosen by `erasable.tuning` on a development request of the same kind, which shares no
sample with the reported one and has oracles of its own; the owner's request takes the settings of the random one.
Methods that refuse a request are told with the reason, and so are models that diverged.
"""

import argparse
import copy
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from audit_panel import parts, requests, row_of, with_public
from store import Store

from erasable import catalog
from erasable.audit import Subject, judge
from erasable.choice import write_measured
from erasable.dataset import Dataset
from erasable.errors import ErasableError
from erasable.forgettable.munkey import MUNKEY
from erasable.forgettable.spm import SPM
from erasable.network import Network
from erasable.population import Population
from erasable.probe import Probe
from erasable.report import Row
from erasable.request import Request
from erasable.tasks import Classification
from erasable.train import Recipe
from erasable.tuned import Tuned
from erasable.tuning import tune
from erasable.unlearner import forget
from erasable.unlearners import GradientAscent
from erasable.unlearners.forsaken import reference_of
from erasable.unlearners.neggrad_plus import NegGradPlus

NETWORK = "convnet widths=8,16,32 groups=4 pool=4"
ORACLES, TARGETS, BUDGET = 19, 3, 6
KINDS = {"random 10 %": "random", "one class": "class"}  # what is tuned; the owner takes the random one's
ROLES: dict[str, Any] = {"nothing": "untouched", "retrain": "retrain"}
MODELS: dict[Any, list[Any]] = {}


@dataclass(frozen=True, kw_only=True)
class Once(Network):
    """A Network that trains the same models only once in a process: many rows share them."""

    needs_data: ClassVar[bool] = False

    def train(self, data: Dataset, task: Any, *, seeds: Any, progress: Any = None) -> list[Any]:
        key = (data.digest(), tuple(seeds))
        if key not in MODELS:
            MODELS[key] = super().train(data, task, seeds=seeds, progress=progress)
        return list(MODELS[key])


def designed() -> dict[str, Any]:
    """Models that forget by design, in the same table."""
    recipe = Recipe(epochs=20)
    return {
        "SPM": SPM(network=NETWORK, recipe=recipe),
        "SPM with public encoder": SPM(network=NETWORK, encoder="public", similarity="covariance", recipe=recipe),
        "MUNKEY": MUNKEY(network="vit patch=14 width=32 depth=1 heads=2 stem=16", value_width=32, keys="pixels",
                         recipe=Recipe(epochs=10, lr=3e-3)),
    }  # fmt: skip


def built(name: str, model: Any, task: Any, fresh: Dataset) -> Any:
    """The unlearner with its defaults, and with what has none: a method to wrap, answers about unseen samples."""
    kind = catalog.UNLEARNERS[name]
    if name == "forsaken":
        return kind(reference=tuple(reference_of(model, task, fresh)))
    if name == "low-influence":
        return kind(inner=NegGradPlus())
    if name == "geometric-disentanglement":
        return kind(inner=GradientAscent())
    return kind()


def section(
    data: Dataset, test: Dataset, task: Any, method: Any, request: Request, unlearners: dict[str, Any]
) -> dict[str, Any]:
    """All ways of carrying out one request from plain networks. `unlearners`: by name, None for the defaults."""
    start = time.perf_counter()
    probe, kept = Probe.of(request, data, test, task), data.without(request.ids)
    seeds = range(1000, 1000 + ORACLES)
    reference = Population(tuple(method.train(kept, task, seeds=seeds)), tuple(seeds), "oracle")
    targets = method.train(data, task, seeds=range(TARGETS))
    again = method.train(kept, task, seeds=range(2000, 2000 + TARGETS))
    subjects, refused, seconds = [], {}, {}
    for seed, before in enumerate(targets):
        seen = probe.look([before])
        for name, given in unlearners.items():
            unlearner = built(name, before, task, test) if given is None else given
            try:
                model, receipt = forget(copy.deepcopy(before), request, data=data, unlearner=unlearner, seed=seed)
                probe.look([model])
            except (ErasableError, RuntimeError) as reason:  # refused, or what came out answers with NaN
                refused[name] = str(reason).splitlines()[0]
                continue
            seconds.setdefault(name, []).append(receipt.seconds)
            subjects.append(Subject(name=f"{name}/{seed}", model=model, oracles=reference, before=seen, receipt=receipt,
                                    role=ROLES.get(name, "method")))  # fmt: skip
        subjects.append(Subject(name=f"second oracle/{seed}", model=again[seed], oracles=reference, before=seen,
                                role="retrain"))  # fmt: skip
    return {**judged(subjects, probe, request), "refused": refused, "erased": len(request.ids),
            "times": {name: round(min(each), 4) for name, each in seconds.items()},
            "settings": {name: repr(each) for name, each in unlearners.items() if each is not None},
            "seconds": time.perf_counter() - start}  # fmt: skip


def by_design(data: Dataset, test: Dataset, task: Any, name: str, method: Any, request: Request) -> dict[str, Any]:
    start = time.perf_counter()
    probe, kept = Probe.of(request, data, test, task), data.without(request.ids)
    at_once = 4 if name == "MUNKEY" else ORACLES
    seeds = range(1000, 1000 + ORACLES)
    known = [each for first in range(0, ORACLES, at_once)
             for each in method.train(kept, task, seeds=seeds[first : first + at_once])]  # fmt: skip
    reference, subjects, times = Population(tuple(known), tuple(seeds), "oracle"), [], []
    for seed, model in enumerate(method.train(data, task, seeds=range(TARGETS))):
        seen = probe.look([model])
        model, receipt = forget(model, request, data=data)
        times.append(receipt.seconds)
        subjects.append(Subject(name=f"{name}/{seed}", model=model, oracles=reference, before=seen, receipt=receipt))
    return {**judged(subjects, probe, request), "times": {name: round(min(times), 4)}, "erased": len(request.ids),
            "seconds": time.perf_counter() - start}  # fmt: skip


def judged(subjects: list[Subject], probe: Probe, request: Request) -> dict[str, Any]:
    rows: dict[str, list[Row]] = {}
    for row in judge(subjects, probe, title=request.case, suite="standard", samples=0).rows:
        rows.setdefault(row.name.rpartition("/")[0], []).append(row)
    return {"rows": [row_of(name, each) for name, each in rows.items()]}


def tuned(data: Dataset, test: Dataset, task: Any, method: Any, hidden: tuple[str, ...], kind: str, name: str) -> Any:
    """Settings chosen without the reported samples, which are `hidden`; the record, or why there is none.

    Nothing is public here, for a plain network does not ask, and a class with public samples cannot be erased.
    """
    start = method.train(data.without(hidden), task, seeds=[1000])[0]
    try:
        found = tune(built(name, start, task, test), method, data, test, task, budget=BUDGET, reported=hidden,
                     request=KINDS[kind], targets=2)  # fmt: skip
    except (ErasableError, RuntimeError) as reason:
        return {"refused": str(reason).splitlines()[0]}
    return {"record": found.to_json(), "score": found.chosen.score, "defaults": found.defaults.score,
            "nothing": found.nothing, "seconds": found.cost.seconds}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--stages", nargs="+", default=["defaults", "designed", "tuned"])
    parser.add_argument("--requests", nargs="+", default=["one class", "random 10 %", "one owner"])
    parser.add_argument("--unlearners", nargs="+", default=list(catalog.UNLEARNERS), help="of the stage tuned")
    asked = parser.parse_args()
    if asked.threads:
        torch.set_num_threads(asked.threads)
    store = Store("posthoc", __doc__.splitlines()[0], "python experiments/posthoc.py --data-dir DATA")
    train, test = parts("fashion-mnist", asked.data_dir)
    task, method = Classification.of(train), Once(network=NETWORK, recipe=Recipe(epochs=20))
    data, of_class = (with_public(train, without_class=each) for each in (False, True))
    places = requests(data, of_class)
    wanted = {kind: each for kind, each in places.items() if kind in asked.requests}
    both = (*places["random 10 %"][1].ids, *places["one owner"][1].ids)
    hidden = {"one class": places["one class"][1].ids, "random 10 %": tuple(dict.fromkeys(both))}
    for kind, (where, request) in wanted.items():
        if "defaults" in asked.stages:
            names = dict.fromkeys(catalog.UNLEARNERS)
            store.run(f"{kind}/defaults", lambda d=where, r=request, n=names: section(d, test, task, method, r, n))
        if "designed" in asked.stages:
            for name, each in designed().items():
                store.run(f"{kind}/{name}", lambda d=where, r=request, n=name, m=each:
                          by_design(d, test, task, n, m, r))  # fmt: skip
    if "tuned" in asked.stages:
        for kind, (where, request) in wanted.items():
            chosen = {}
            for name in asked.unlearners:
                if name in ROLES:
                    continue
                of = kind if kind in KINDS else "random 10 %"
                found = store.run(f"{of}/settings/{name}", lambda k=of, n=name:
                                  tuned(train, test, task, method, hidden[k], k, n))  # fmt: skip
                if "record" in found:
                    chosen[name] = Tuned.from_json(found["record"]).unlearner()
            store.run(f"{kind}/tuned", lambda d=where, r=request, n=chosen: section(d, test, task, method, r, n))
    store.save()
    if rows := list(measured(store.content["units"])):
        write_measured(rows, about=f"{__doc__.splitlines()[0]} leaks: outside its noise bands, on either side.")


def measured(units: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What `--unlearner auto` chooses by: a row per unlearner and request, with its defaults.

    Any model that can be told from its oracles counts as leaking, since that it is different can be noticed too.
    """
    for request, kind in {"random 10 %": "samples", "one owner": "owner", "one class": "class"}.items():
        unit = units.get(f"{request}/defaults", {"rows": ()})
        for row in unit["rows"]:
            if row["name"] in catalog.UNLEARNERS and row["name"] not in ROLES:
                kept, outside = row["findings"]["test accuracy"], ("remembered", "stands out")
                found = [each in outside for each in row["statuses"]]
                yield {"unlearner": row["name"], "request": kind, "leaks": sum(found) / len(found),
                       "accuracy_lost": round(kept["oracles"] - kept["value"], 2), "audits": len(found),
                       "seconds": unit["times"][row["name"]],
                       "setting": "Fashion-MNIST, 2,000 pictures, ConvNet"}  # fmt: skip


if __name__ == "__main__":
    main()
