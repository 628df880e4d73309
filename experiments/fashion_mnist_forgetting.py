"""What is left after deletion? Fashion-MNIST, 20,000 erasable images, random 10 % and one class, against 5 oracles.

    python experiments/fashion_mnist_forgetting.py --data-dir DATA [--only spm munkey] [--requests random class]

Rows: the network untouched; SPM as published (encoder trained on everybody), SPM with a public encoder (10,000 images
that nobody can ask to erase), MUNKEY in one phase and in two. Three target models each, five oracles of the same
method trained without the erased images. Everything is judged as in `erasable audit`; disagreement and KL are also
taken on the official test images. Asked for: class erasure with forget accuracy 0, retain unchanged, disagreement at
most 1.2 times the oracles' own; random 10 % with MUNKEY: average gap at most 1.0 point, membership AUROC within 2
points of the oracles'; with SPM the honest number and the number with a public encoder.
"""

import argparse
import time
from typing import Any

import numpy as np
import torch
from store import Store

from erasable.audit import Subject, judge
from erasable.dataset import Dataset
from erasable.datasets import fashion_mnist
from erasable.forgettable.munkey import MUNKEY
from erasable.forgettable.spm import SPM
from erasable.metrics import disagreement, kl
from erasable.network import Network
from erasable.population import oracles
from erasable.probe import Probe
from erasable.request import Request
from erasable.signals import log_probabilities, prediction_of
from erasable.tasks import Classification
from erasable.train import Recipe
from erasable.unlearner import Forgettable

NETWORK = "convnet widths=16,32,64,128"
RECIPE = Recipe(epochs=8, batch=128)
MUNKEYS: dict[str, Any] = dict(network="vit patch=7 width=64 depth=3 heads=4 mlp=2 stem=16", key_network=NETWORK,
               key_recipe=Recipe(epochs=8, batch=128), recipe=Recipe(epochs=8, batch=128, lr=2e-3))  # fmt: skip
METHODS: dict[str, Any] = {
    "network": Network(network=NETWORK, recipe=RECIPE),
    "spm": SPM(network=NETWORK, recipe=RECIPE),
    "spm public": SPM(network=NETWORK, recipe=RECIPE, encoder="public"),
    "munkey": MUNKEY(**MUNKEYS),
    "munkey two-phase": MUNKEY(**MUNKEYS, phases=2),
}
TARGETS, ORACLES = (0, 1, 2), (100, 101, 102, 103, 104)
CLASS = 6  # shirts: the class that is easiest to mistake


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir")
    parser.add_argument("--only", nargs="+", default=list(METHODS))
    parser.add_argument("--requests", nargs="+", default=["random", "class"])
    parser.add_argument("--threads", type=int, default=0)
    asked = parser.parse_args()
    if asked.threads:
        torch.set_num_threads(asked.threads)
    store = Store("fashion_mnist_forgetting", __doc__.splitlines()[0],
                  "python experiments/fashion_mnist_forgetting.py --data-dir DATA")  # fmt: skip
    train, test = (fashion_mnist(part, data_dir=asked.data_dir) for part in ("train", "test"))
    plain, shifted = Classification.of(train), Classification.of(train, shift=1)  # MUNKEY needs it: else it memorises
    order = np.random.default_rng(0).permutation(len(train))
    public, private = train.take(order[:10_000]), train.take(order[10_000:30_000])
    both = train.take(order[:30_000]).declare_public(public.ids)
    forget = {
        "random": private.take(np.random.default_rng(1).permutation(len(private))[:2_000]).ids,
        "class": private.where("label", CLASS).ids,
    }
    for name in asked.only:
        for kind in asked.requests:
            data = both if "public" in name or "munkey" in name else private
            if name == "munkey" and kind == "class":
                continue  # deletion of instances is what it is for: its picture path knows the class (docs/threats.md)
            store.run(
                f"{name}/{kind}",
                lambda n=name, k=kind, d=data: unit(
                    METHODS[n], d, test, shifted if "munkey" in n else plain, forget[k], k
                ),
            )
    store.save()


def unit(method: Any, data: Dataset, test: Dataset, task: Any, ids: tuple[str, ...], kind: str) -> dict[str, Any]:
    start = time.perf_counter()
    request = Request(kind, ids)
    never = oracles(method, data.without(ids), task, seeds=ORACLES)
    probe = Probe.of(request, data.private if len(data.public) else data, test, task)
    oracle_tests = log_probabilities(never.models, task, test, fitted=torch.zeros(len(never), len(test)) > 0)
    targets = []
    for seed in TARGETS:
        model = method.train(data, task, seeds=[seed])[0]
        before = probe.look([model])
        if isinstance(model, Forgettable):
            model.forget(ids)
        level = model.exposure.level(ids)[0]
        section = judge([Subject(name="target", model=model, oracles=never, level=level)], probe, title=kind)
        row = section.rows[0]
        now = log_probabilities([model], task, test, fitted=torch.zeros(1, len(test)) > 0)
        on_test = [disagreement(prediction_of(now), prediction_of(oracle_tests), subject="test"),
                   kl(now, oracle_tests, subject="test")]  # fmt: skip
        found = {f"{f.metric}": {"value": f.value, "oracles": f.null_mean, "band": f.null_band}
                 for f in (*row.judged, *row.shown)}  # fmt: skip
        found |= {
            f"{f.metric} on test": {"value": f.value, "oracles": f.null_mean, "band": f.null_band} for f in on_test
        }
        found["forget accuracy before"] = {"value": 100 * float(before.correct["forget"].values.mean())}
        found["retain accuracy before"] = {"value": 100 * float(before.correct["retain"].values.mean())}
        targets.append({"seed": seed, "status": row.status, "level": level, "findings": found})
    names = targets[0]["findings"]
    means = {
        name: {key: float(np.mean([each["findings"][name][key] for each in targets]))
               for key in ("value", "oracles") if targets[0]["findings"][name].get(key) is not None}
        for name in names
    }  # fmt: skip
    return {
        "mean over targets": means,
        "targets": targets,
        "images": len(data),
        "erased": len(ids),
        "oracle_seeds": ORACLES,
        "epochs": method.recipe.epochs,
        "seconds": time.perf_counter() - start,
    }


if __name__ == "__main__":
    main()
