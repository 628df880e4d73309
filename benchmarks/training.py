"""One epoch of each training recipe of SPM, against the parametric network of the same encoder, in the same run.

    python benchmarks/training.py [--rounds 5]

The published recipe encodes a support set of four batches beside every batch; the bank encodes the batch alone.
"""

import argparse

import torch
from timing import paired, store

from erasable.dataset import Dataset
from erasable.forgettable.spm import SPM
from erasable.network import Network
from erasable.tasks import Classification
from erasable.train import Recipe

ENCODER, N, BATCH = "convnet widths=16,32,64,128", 2_560, 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    pictures = torch.randint(0, 256, (N, 1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    data = Dataset.of({"image": pictures, "label": torch.arange(N) % 10}, [f"s/{i:05d}" for i in range(N)])
    task, recipe = Classification(shape=(1, 28, 28), classes=10), Recipe(epochs=1, batch=BATCH)
    methods = {
        "network": Network(network=ENCODER, recipe=recipe),
        "bank": SPM(network=ENCODER, recipe=recipe),
        "episodes": SPM(network=ENCODER, recipe=recipe, training="episodes", support=4 * BATCH),
    }
    candidates = {
        name: lambda method=method: method.train(data, task, seeds=[0], progress=None)
        for name, method in methods.items()
    }
    result = {f"{N:,} pictures, batch {BATCH}": paired(candidates, rounds=asked.rounds)}
    store("training", __doc__.splitlines()[0], "python benchmarks/training.py", result)


if __name__ == "__main__":
    main()
