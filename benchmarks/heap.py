"""What it brings to keep freed memory while training, in processes that take turns.

    python benchmarks/heap.py [--rounds 3]

One epoch of 6,000 random pictures: the ConvNet and the transformer of the experiments, and 32 digit ConvNets as one.
"""

import argparse
import statistics
import subprocess
import sys

from timing import spread, store

from erasable._plumbing import heap

NETWORKS = {
    "convnet widths=16,32,64,128": 1,
    "vit patch=7 width=64 depth=3 heads=4 mlp=2 stem=16": 1,
    "convnet widths=8,16,32 groups=4": 32,
}


def work(network: str, members: int, keep: bool) -> float:
    """Seconds of one epoch, after one to warm up."""
    import time

    import torch

    from erasable import train
    from erasable.dataset import Dataset
    from erasable.datasets import digits
    from erasable.network import Network
    from erasable.population import train_members
    from erasable.tasks import Classification

    train.keep_freed_memory = heap.keep_freed_memory if keep else lambda: False
    if members > 1:
        data, task, batch = digits("train"), None, 64
        task = Classification.of(data)
    else:
        pictures = {"image": torch.randint(0, 256, (6_000, 1, 28, 28), dtype=torch.uint8)}
        data = Dataset.of(pictures | {"label": torch.arange(6_000) % 10}, [f"s{i}" for i in range(6_000)])
        task, batch = Classification(shape=(1, 28, 28), classes=10), 128
    objective = train.Supervised(lambda: Network(network=network).build(task), task)
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        train_members(objective, data, train.Recipe(epochs=1, batch=batch), seeds=range(members),
                      chunk=min(members, 16))  # fmt: skip
        seconds.append(time.perf_counter() - start)
    return seconds[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", nargs=3, metavar=("NETWORK", "MEMBERS", "KEEP"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        network, members, keep = asked.one
        print(work(network, int(members), keep == "kept"))
        return
    result = {}
    for network, members in NETWORKS.items():
        seconds: dict[str, list[float]] = {"returned": [], "kept": []}
        for _ in range(asked.rounds):
            for how, values in seconds.items():
                command = [sys.executable, __file__, "--one", network, str(members), how]
                run = subprocess.run(command, capture_output=True, text=True, check=True)
                values.append(float(run.stdout))
        ratio = statistics.median(a / b for a, b in zip(seconds["returned"], seconds["kept"], strict=True))
        result[network] = {how: spread(values) for how, values in seconds.items()} | {"returned / kept": ratio}
    store("heap", __doc__.splitlines()[0], "python benchmarks/heap.py", result)


if __name__ == "__main__":
    main()
