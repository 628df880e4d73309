"""Inference with the folded SPM head against the parametric network of the same encoder, in the same run.

    python benchmarks/inference.py [--rounds 40]

Asked for: at most 1.05 times the network's time.
"""

import argparse

import torch
from timing import paired, store

from erasable._plumbing.seeds import seeded
from erasable.forgettable.spm import SPM, SPMModel
from erasable.memory import Memory
from erasable.network import Network
from erasable.receipt import Exposure
from erasable.tasks import Classification

ENCODER = "convnet widths=16,32,64,128"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40)
    asked = parser.parse_args()
    task = Classification(shape=(1, 28, 28), classes=10)
    with seeded(0, "weights"):  # time does not depend on what the weights are
        network = Network(network=ENCODER).build(task).eval().requires_grad_(False)
        method = SPM(network=ENCODER)
        parts = method.network_for(task).eval().requires_grad_(False)
        keys = torch.rand(60_000, parts.width)
        pictures = torch.rand(4096, 1, 28, 28)
    memory = Memory(parts.width)
    memory.add([f"s/{i:05d}" for i in range(60_000)], keys, labels=torch.arange(60_000) % 10)
    spm = SPMModel(method, task, Exposure({}), parts, memory).eval()
    result = {}
    for size in (1, 64, 1024):
        batches = pictures.split(size)[: max(1, min(4096 // size, 200))]

        def sweep(model: torch.nn.Module, batches: tuple[torch.Tensor, ...] = batches) -> None:
            with torch.inference_mode():
                for batch in batches:
                    model(batch)

        result[f"batch {size}"] = paired({"network": lambda sweep=sweep: sweep(network),
                                          "spm": lambda sweep=sweep: sweep(spm)}, rounds=asked.rounds)  # fmt: skip
    store("inference", __doc__.splitlines()[0], "python benchmarks/inference.py", result)


if __name__ == "__main__":
    main()
