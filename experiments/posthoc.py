"""Every unlearner of the catalog on Fashion-MNIST, beside models that forget by design.

    python experiments/posthoc.py --data-dir DATA [--stages defaults tuned] [--requests "one class"] [--threads 1]
    python experiments/posthoc.py --data-dir DATA --setting resnet18        # CIFAR-10, for an accelerator; or resnet10

2,000 pictures and a ConvNet that keeps its 4 x 4 positions, which learns 95 % of what it saw and 81 % of what it did
not. Three models, trained from three seeds, forget in each way; every row is judged by the suite "standard" against 19
oracles of its own method. "defaults" are the settings of each method's file, mostly the papers', which were chosen for
other networks; "tuned" are the best of 16 by `erasable.tuning`, on two other models, 16 other oracles and a development
request of the same kind (another class, other samples), which shares no sample with the reported ones. The owner takes
the settings of the random tenth: on a development owner nobody could tell doing nothing from the oracles. What wraps
another method goes around the tuned one. Methods that refuse a request are told with the reason, and so are models that
diverged.
"""

import argparse
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from typing import Any, ClassVar

import torch
from audit_panel import parts, requests, row_of, with_public
from store import Store

from erasable import catalog
from erasable._plumbing.settings import from_json
from erasable.audit import Subject, judge
from erasable.choice import write_measured
from erasable.dataset import Dataset
from erasable.datasets import cifar10
from erasable.development import Development, beyond, develop
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
from erasable.tuning import tune_on
from erasable.unlearner import forget
from erasable.unlearners.forsaken import reference_of

ORACLES, TARGETS = 19, 3
BUDGET, TUNED_ON, TUNED_ORACLES = 16, 2, 16
KINDS = {"one class": "class", "random 10 %": "random", "one owner": "owner"}  # as `tune` calls them
AS = {"one owner": "random 10 %"}  # whose settings are taken
ROLES: dict[str, Any] = {"nothing": "untouched", "retrain": "retrain"}
WRAPPERS = {"geometric-disentanglement": "gradient-ascent", "low-influence": "neggrad-plus"}
RESNET = Recipe(epochs=30, batch=128, lr=0.1, weight_decay=5e-4, optimizer="sgd")
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


METHODS = {
    "fashion-mnist": Once(network="convnet widths=8,16,32 groups=4 pool=4", recipe=Recipe(epochs=20)),
    "resnet18": Once(network="resnet", recipe=RESNET),
    "resnet10": Once(network="resnet blocks=1", recipe=RESNET),
}


def designed(setting: str) -> dict[str, Any]:
    """Models that forget by design, in the same table."""
    network, recipe = METHODS[setting].network, METHODS[setting].recipe
    vit = "vit patch=14 width=32 depth=1 heads=2 stem=16" if setting == "fashion-mnist" else "vit patch=4 depth=6"
    return {
        "SPM": SPM(network=network, recipe=recipe),
        "SPM with public encoder": SPM(network=network, encoder="public", similarity="covariance", recipe=recipe),
        "MUNKEY": MUNKEY(network=vit, value_width=32, keys="pixels", recipe=Recipe(epochs=10, lr=3e-3)),
    }


@dataclass(frozen=True)
class Bench:
    """One request: what is asked of whom, and the models that all rows share."""

    request: Request
    data: Dataset
    test: Dataset
    task: Any
    method: Any

    @cached_property
    def probe(self) -> Probe:
        return Probe.of(self.request, self.data, self.test, self.task)

    @cached_property
    def oracles(self) -> Population:
        seeds = tuple(range(1000, 1000 + ORACLES))
        at_once = 4 if isinstance(self.method, MUNKEY) else ORACLES  # transformers: few at a time take less memory
        kept = self.data.without(self.request.ids)
        found = [each for first in range(0, ORACLES, at_once)
                 for each in self.method.train(kept, self.task, seeds=seeds[first : first + at_once])]  # fmt: skip
        return Population(tuple(found), seeds, "oracle")

    @cached_property
    def targets(self) -> list[Any]:
        return list(self.method.train(self.data, self.task, seeds=range(TARGETS)))

    def rows(self, ways: dict[str, Callable[[Any], Any] | None]) -> dict[str, dict[str, Any]]:
        """Ways of carrying out the request, by name, judged at once. Each makes an unlearner for a model; None: the
        model's own way."""
        subjects, found = [], {name: {"times": [], "refused": "", "settings": ""} for name in ways}
        for seed, before in enumerate(self.targets):
            for name, make in ways.items():
                told = found[name]
                try:
                    way = None if make is None else make(before)
                    model, receipt = forget(
                        copy.deepcopy(before), self.request, data=self.data, unlearner=way, seed=seed
                    )
                    self.probe.look([model])
                except (ErasableError, RuntimeError) as reason:  # refused, or what came out answers with NaN
                    told["refused"] = str(reason).splitlines()[0]
                    continue
                told["settings"] = "" if way is None else repr(getattr(way, "plain", way)).partition("reference=")[0]
                told["times"].append(round(receipt.seconds, 4))
                role = ROLES.get(name, "method")
                subjects.append(self.subject(f"{name}/{seed}", model, seed, receipt=receipt, role=role))
        judged = self.judged(subjects)
        return {
            name: {"row": judged.get(name), **told, "erased": len(self.request.ids)} for name, told in found.items()
        }

    def second_oracle(self) -> dict[str, Any]:
        kept = self.data.without(self.request.ids)
        again = self.method.train(kept, self.task, seeds=range(2000, 2000 + TARGETS))
        subjects = [self.subject(f"second oracle/{i}", each, i, role="retrain") for i, each in enumerate(again)]
        return {"row": self.judged(subjects)["second oracle"]}

    def subject(self, name: str, model: Any, seed: int, **more: Any) -> Subject:
        before = self.probe.look([self.targets[seed]])
        return Subject(name=name, model=model, oracles=self.oracles, before=before, **more)

    def judged(self, subjects: list[Subject]) -> dict[str, Any]:
        """By way: what its models came to, and how far outside the widest band each of them was."""
        if not subjects:
            return {}
        rows: dict[str, list[Row]] = {}
        for row in judge(subjects, self.probe, title=self.request.case, suite="standard", samples=0).rows:
            rows.setdefault(row.name.rpartition("/")[0], []).append(row)
        return {name: {**row_of(name, each), "beyond": [round(max(map(beyond, row.judged)), 4) for row in each]}
                for name, each in rows.items()}  # fmt: skip


def built(name: str, bench: Bench, inner: Any, model: Any) -> Any:
    """The unlearner with its defaults, and with what has none: a method to wrap, answers about unseen samples."""
    kind = catalog.UNLEARNERS[name]
    if name == "forsaken":
        return kind(reference=tuple(reference_of(model, bench.task, bench.test)))
    return kind() if inner is None else kind(inner=getattr(inner, "plain", inner))


def settings(ground: Development, bench: Bench, name: str) -> dict[str, Any]:
    """Settings chosen without the reported samples, all that was tried for them, or why there are none."""
    try:
        found = tune_on(built(name, bench, None, ground.models[0]), ground, budget=BUDGET)
    except (ErasableError, RuntimeError) as reason:
        return {"refused": str(reason).splitlines()[0]}
    return {"settings": found.settings, "score": found.chosen.score, "defaults": found.defaults.score,
            "nothing": found.nothing, "seconds": found.cost.seconds, "development": found.development_digest,
            "trials": [each.model_dump() for each in found.trials]}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir")
    parser.add_argument("--setting", default="fashion-mnist", choices=METHODS)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--stages", nargs="+", default=["defaults", "designed", "tuned"])
    parser.add_argument("--requests", nargs="+", default=list(KINDS))
    parser.add_argument("--unlearners", nargs="+", default=list(catalog.UNLEARNERS))
    asked = parser.parse_args()
    if asked.threads:
        torch.set_num_threads(asked.threads)
    store = Store("posthoc", __doc__.splitlines()[0], "python experiments/posthoc.py --data-dir DATA")
    if asked.setting == "fashion-mnist":
        train, test = parts("fashion-mnist", asked.data_dir)
    else:
        train, test = (cifar10(part, data_dir=asked.data_dir) for part in ("train", "test"))
    task, method = Classification.of(train), METHODS[asked.setting]
    data, of_class = (with_public(train, without_class=each) for each in (False, True))
    places = requests(data, of_class)
    both = (*places["random 10 %"][1].ids, *places["one owner"][1].ids)
    hidden = dict.fromkeys(KINDS, tuple(dict.fromkeys(both))) | {"one class": places["one class"][1].ids}
    for kind in asked.requests:
        where, request = places[kind]
        bench, room = Bench(request, where, test, task, method), f"{asked.setting}/{kind}"
        if "defaults" in asked.stages:
            store.run(f"{room}/second oracle", bench.second_oracle)
            inside = {name: catalog.UNLEARNERS[inner]() for name, inner in WRAPPERS.items()}
            ways = {name: partial(built, name, bench, inside.get(name)) for name in asked.unlearners}
            all_of(store, f"{room}/defaults", bench, ways)
        if "designed" in asked.stages:
            for name, each in designed(asked.setting).items():
                all_of(store, f"{room}/designed", replace(bench, method=each), {name: None})
        if "tuned" in asked.stages:
            # nobody is public here, for a plain network does not ask, and a class with public samples cannot be erased
            of = KINDS[AS.get(kind, kind)]
            ground = cache(partial(develop, method, train, test, task, reported=hidden[kind], request=of,
                                   targets=TUNED_ON, oracles=TUNED_ORACLES))  # fmt: skip
            ways = {}
            for name in (each for each in asked.unlearners if each not in ROLES):
                inner = WRAPPERS.get(name, name)
                key = f"{asked.setting}/{AS.get(kind, kind)}/settings/{inner}"
                found = store.run(key, lambda n=inner, g=ground, b=bench: settings(g(), b, n))
                if "settings" in found:
                    best = from_json(catalog.UNLEARNERS[inner], found["settings"], inner)
                    ways[name] = partial(built, name, bench, best) if inner != name else (lambda _, way=best: way)
            all_of(store, f"{room}/tuned", bench, ways)
    store.save()
    if rows := list(measured(store.content["units"])):
        write_measured(rows, about=f"{__doc__.splitlines()[0]} leaks: outside its noise bands, on either side.")


def all_of(store: Store, room: str, bench: Bench, ways: dict[str, Any]) -> None:
    """A unit for each way that has none, judged together: what the oracles say is worked out once."""
    new = {name: way for name, way in ways.items() if f"{room}/{name}" not in store.content["units"]}
    found = bench.rows(new) if new else {}
    for name in new:
        store.run(f"{room}/{name}", partial(found.get, name))


def measured(units: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What `--unlearner auto` chooses by: a row per unlearner, request and setting, with its defaults and tuned.

    Any model that can be told from its oracles counts as leaking, since that it is different can be noticed too.
    """
    told = {"fashion-mnist": "Fashion-MNIST, 2,000 pictures, ConvNet"}
    for key, unit in units.items():
        setting, kind, stage, *_ = *key.split("/"), ""
        row = unit.get("row")
        if row is None or stage not in ("defaults", "tuned") or row["name"] in ROLES:
            continue
        kept, outside = row["findings"]["test accuracy"], ("remembered", "stands out")
        found = [each in outside for each in row["statuses"]]
        yield {"unlearner": row["name"], "request": {"random": "samples"}.get(KINDS[kind], KINDS[kind]),
               "leaks": sum(found) / len(found), "accuracy_lost": round(kept["oracles"] - kept["value"], 2),
               "audits": len(found), "seconds": min(unit["times"]), "tuned": stage == "tuned",
               "setting": told.get(setting, f"CIFAR-10, {setting}")}  # fmt: skip


if __name__ == "__main__":
    main()
