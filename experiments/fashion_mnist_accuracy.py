"""What does it cost in accuracy to be able to forget? Fashion-MNIST, small ConvNet, 3 seeds.

    python experiments/fashion_mnist_accuracy.py --data-dir DATA [--seeds 0 1 2] [--only network spm]

Rows: the parametric network; SPM-C and SPM-R of the same encoder and budget (60,000 images, 10 epochs); the two
training recipes of SPM beside each other on 20,000 images (the published one encodes five times as much per step);
MUNKEY beside its own backbone trained plainly. Asked for: SPM-C within 0.5 points of the network, SPM-R within 1.0,
MUNKEY within 1.0.
"""

import argparse
import time
from typing import Any

import numpy as np
import torch
from store import Store

from erasable.dataset import Dataset
from erasable.datasets import fashion_mnist
from erasable.forgettable.munkey import MUNKEY
from erasable.forgettable.spm import SPM, SPMModel
from erasable.network import Network
from erasable.tasks import Classification
from erasable.train import Recipe

NETWORK = "convnet widths=16,32,64,128"
RECIPE = Recipe(epochs=10, batch=128)
SHORT = Recipe(epochs=6, batch=128)
VIT = "vit patch=7 width=64 depth=3 heads=4 mlp=2 stem=16"
VIT_RECIPE = Recipe(epochs=10, batch=128, lr=2e-3)
SMALL = 20_000
PAIRS = (
    ("spm", "network"),
    ("spm SPM-R", "network"),
    ("20k bank", "20k network"),
    ("20k episodes", "20k network"),
    ("20k munkey", "20k vit"),
)


@torch.inference_mode()
def accuracy(model: Any, data: Dataset) -> float:
    """Percent right, 1,000 at a time."""
    right = 0
    for at in torch.arange(len(data)).split(1000):
        batch = model.task.batch(data, at)
        right += int((model(batch["inputs"]).argmax(1) == batch["labels"]).sum())
    return 100 * right / len(data)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", default=["network", "spm", "recipes", "munkey"])
    parser.add_argument("--threads", type=int, default=0)
    asked = parser.parse_args()
    if asked.threads:
        torch.set_num_threads(asked.threads)
    store = Store("fashion_mnist_accuracy", __doc__.splitlines()[0],
                  "python experiments/fashion_mnist_accuracy.py --data-dir DATA")  # fmt: skip
    train, test = (fashion_mnist(part, data_dir=asked.data_dir) for part in ("train", "test"))
    task = Classification.of(train)
    shifted = Classification.of(train, shift=1)  # without augmentation the transformer memorises and ignores its memory
    small = train.take(np.random.default_rng(0).permutation(len(train))[:SMALL])

    def unit(method: Any, data: Dataset, seed: int, task: Classification = task) -> dict[str, Any]:
        start = time.perf_counter()
        model = method.train(data, task, seeds=[seed])[0]
        seconds = time.perf_counter() - start
        result = {"test": accuracy(model, test), "train_seconds": seconds, "images": len(data),
                  "epochs": method.recipe.epochs}  # fmt: skip
        if isinstance(method, SPM) and method.training == "bank" and len(data) > SMALL:
            nearest = SPM(network=method.network, retrieval="nearest", recipe=method.recipe)
            result["test_spm_r"] = accuracy(
                SPMModel(nearest, task, model.exposure, model.network, model.memory).eval(), test
            )
        return result

    for seed in asked.seeds:
        if "network" in asked.only:
            store.run(f"network/{seed}", lambda s=seed: unit(Network(network=NETWORK, recipe=RECIPE), train, s))
        if "spm" in asked.only:
            store.run(f"spm/{seed}", lambda s=seed: unit(SPM(network=NETWORK, recipe=RECIPE), train, s))
        if "recipes" in asked.only:
            for name, method in {
                "network": Network(network=NETWORK, recipe=SHORT),
                "bank": SPM(network=NETWORK, recipe=SHORT),
                "episodes": SPM(network=NETWORK, recipe=SHORT, training="episodes", support=4 * SHORT.batch),
            }.items():
                store.run(f"20k {name}/{seed}", lambda s=seed, m=method: unit(m, small, s))
        if "munkey" in asked.only:
            for name, method in munkeys().items():
                store.run(f"20k {name}/{seed}", lambda s=seed, m=method: unit(m, small, s, shifted))
    summarise(store)


def munkeys() -> dict[str, Any]:
    munkey = MUNKEY(network=VIT, keys="pixels", recipe=VIT_RECIPE)
    return {"munkey": munkey, "vit": munkey.plain()}


def summarise(store: Store) -> None:
    """Means and standard deviations over seeds, and the gaps that were asked for, over the seeds that both have."""
    rows: dict[str, dict[str, dict[str, Any]]] = {}
    for key, unit in store.content["units"].items():
        name, _, seed = key.rpartition("/")
        rows.setdefault(name, {})[seed] = {"test": unit["test"], "seconds": unit["train_seconds"]}
        if "test_spm_r" in unit:
            rows.setdefault(f"{name} SPM-R", {})[seed] = {"test": unit["test_spm_r"], "seconds": unit["train_seconds"]}
    table, gaps = {}, {}
    for name, seeds in rows.items():
        tests = [each["test"] for each in seeds.values()]
        table[name] = {
            "test_mean": float(np.mean(tests)),
            "test_sd": float(np.std(tests, ddof=1)) if len(tests) > 1 else 0.0,
            "seeds": len(tests),
            "seconds_mean": float(np.mean([each["seconds"] for each in seeds.values()])),
        }
    for name, reference in PAIRS:
        if both := sorted(rows.get(name, {}).keys() & rows.get(reference, {}).keys()):
            behind = [rows[reference][seed]["test"] - rows[name][seed]["test"] for seed in both]
            gaps[f"{name} behind {reference}"] = float(np.mean(behind))
    store.save(table=table, gaps=gaps)
    print(table, gaps)


if __name__ == "__main__":
    main()
