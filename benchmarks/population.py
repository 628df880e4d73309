"""32 digit models trained as one population, against one after another, in the same run.

    python benchmarks/population.py [--rounds 5]

Asked for on 2 cores: MLP at least 5 times faster, ConvNet at least 2.5 times.
"""

import argparse

from timing import paired, store

from erasable.datasets import digits
from erasable.network import Network
from erasable.population import train_members
from erasable.tasks import Classification
from erasable.train import Recipe, Supervised

MEMBERS = 32
CHUNKS = {  # members at a time: what a step touches should fit into the processor's cache
    "mlp width=64 depth=2": 32,
    "mlp width=128": 32,
    "convnet widths=8,16 groups=4": 16,
    "convnet widths=8,16,32 groups=4": 16,
    "convnet widths=16,32": 16,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=5)
    asked = parser.parse_args()
    data = digits("train")
    task = Classification.of(data)
    result = {}
    for name, chunk in CHUNKS.items():
        method = Network(network=name)
        objective = Supervised(lambda method=method: method.build(task), task)
        recipe = Recipe(epochs=asked.epochs, batch=64)

        def train(chunk: int, objective: Supervised = objective, recipe: Recipe = recipe) -> None:
            train_members(objective, data, recipe, seeds=range(MEMBERS), chunk=chunk)

        result[name] = paired({"population": lambda train=train, chunk=chunk: train(chunk),
                               "one after another": lambda train=train: train(1)}, rounds=asked.rounds)  # fmt: skip
    store("population", __doc__.splitlines()[0], "python benchmarks/population.py", result)


if __name__ == "__main__":
    main()
