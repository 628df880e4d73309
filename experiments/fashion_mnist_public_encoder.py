"""The price of exactness, bought down: an encoder fitted on 10,000 public images, a memory of 20,000 others.

    python experiments/fashion_mnist_public_encoder.py --data-dir DATA

For each head: the encoder fitted on the public part only (deletion is exact) beside the same with an encoder that saw
all 30,000 (deletion only revokes). The price is the difference in test accuracy. Heads: SPM-C as published (learned
similarity), and the covariance of the stored samples as similarity, on pooled features and on features that keep
their positions: what the encoder may not learn from the erasable images, sums over them still can. 2,000 of the
20,000 are deleted; after that the state of the public-encoder model equals, bit for bit, one that was built without
them.
"""

import argparse
import time
from typing import Any

import numpy as np
import torch
from fashion_mnist_accuracy import accuracy
from store import Store

from erasable.datasets import fashion_mnist
from erasable.forgettable.spm import SPM, SPMModel, embed
from erasable.memory import Memory
from erasable.receipt import Exposure
from erasable.tasks import Classification
from erasable.train import Recipe

NETWORK = "convnet widths=16,32,64,128"
EPOCHS = {"public": 24, "everybody": 8}  # the same number of steps
HEADS: dict[str, dict[str, Any]] = {
    "learned": {"network": NETWORK},
    "covariance": {"network": NETWORK, "similarity": "covariance"},
    "covariance, 4 x 4 positions": {"network": f"{NETWORK} pool=4", "similarity": "covariance", "shrinkage": 0.003},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=0)
    asked = parser.parse_args()
    if asked.threads:
        torch.set_num_threads(asked.threads)
    store = Store("fashion_mnist_public_encoder", __doc__.splitlines()[0],
                  "python experiments/fashion_mnist_public_encoder.py --data-dir DATA")  # fmt: skip
    train, test = (fashion_mnist(part, data_dir=asked.data_dir) for part in ("train", "test"))
    task = Classification.of(train, flip=True)
    order = np.random.default_rng(0).permutation(len(train))
    public, private = train.take(order[:10_000]), train.take(order[10_000:30_000])
    both = train.take(order[:30_000]).declare_public(public.ids)
    forget = private.take(np.random.default_rng(1).permutation(len(private))[:2_000])

    def unit(head: dict[str, Any], who: str, seed: int) -> dict[str, Any]:
        recipe = Recipe(epochs=EPOCHS[who], batch=128)
        method = SPM(**head, recipe=recipe, encoder="public" if who == "public" else "own")
        start = time.perf_counter()
        model = method.train(both, task, seeds=[seed])[0]
        seconds = time.perf_counter() - start
        if who == "everybody":  # the memory is the same 20,000 in both
            memory = Memory(model.network.width)
            memory.add(private.ids, embed(model.network, task, private), labels=private.read("label"))
            model = SPMModel(method, task, model.exposure, model.network, memory).eval()
        found = {"test": accuracy(model, test), "train_seconds": seconds, "forget before": accuracy(model, forget)}
        start = time.perf_counter()
        model.forget(forget.ids)
        found |= {"forget_seconds": time.perf_counter() - start, "forget after": accuracy(model, forget),
                  "test after": accuracy(model, test), "level": model.exposure.level(forget.ids)[0]}  # fmt: skip
        if who == "public":
            left = private.without(forget.ids)
            memory = Memory(model.network.width)
            memory.add(left.ids, embed(model.network, task, left), labels=left.read("label"))
            rebuilt = SPMModel(method, task, Exposure({}), model.network, memory)
            found["state equals one built without them"] = bool(
                torch.equal(rebuilt.head, model.head) and rebuilt.memory.digest() == model.memory.digest()
            )
        return found

    for seed in asked.seeds:
        for name, head in HEADS.items():
            for who in EPOCHS:
                store.run(f"{name} / {who}/{seed}", lambda h=head, w=who, s=seed: unit(h, w, s))
    units = store.content["units"]
    table = {
        f"{name} / {who}": {
            field: float(np.mean([units[f"{name} / {who}/{s}"][field] for s in asked.seeds]))
            for field in ("test", "test after", "forget before", "forget after", "forget_seconds")
        }
        for name in HEADS
        for who in EPOCHS
    }
    price = {name: table[f"{name} / everybody"]["test"] - table[f"{name} / public"]["test"] for name in HEADS}
    best = max(table[f"{name} / everybody"]["test"] for name in HEADS)
    store.save(
        table=table,
        price_in_points=price,
        seeds=len(asked.seeds),
        best_exact_behind_best_of_all=best - max(table[f"{name} / public"]["test"] for name in HEADS),
    )
    print(price, table)


if __name__ == "__main__":
    main()
