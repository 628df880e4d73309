"""SSD against the same rule as one would write it down from the paper, with a DataLoader, in the same run.

    OMP_NUM_THREADS=1 python benchmarks/ssd.py [--rounds 9]

Asked for: at least twice as fast, end to end, and the same weights to 1e-5. One class of ten is erased, each time
another one.

ssd         `unlearners.SSD` with nothing kept: both passes, and the digests under which importances are kept
ssd, again  a model that was asked before: the importances for all data are there
loader      torch's DataLoader over samples, per batch `loss.backward()`, squares added up by the parameters' names

A first request and nine others against ten of the loader: forgetting each class once, as tables of SSD do.
"""

import argparse
import copy
import itertools
import os
from typing import Any

import torch
import torch.nn.functional as F
from timing import paired, store
from torch import Tensor, nn
from torch.utils.data import DataLoader

from erasable.dataset import Dataset
from erasable.network import Network
from erasable.request import Request
from erasable.tasks import Classification
from erasable.train import Recipe
from erasable.unlearners.ssd import SSD

NETWORKS = {  # and how many pictures
    "mlp width=64": 20_000,
    "convnet widths=16,32,64,128": 5_000,
    "vit patch=7 width=64 depth=3 heads=4 mlp=2 stem=16": 5_000,
}
ALPHA, BATCH = 10.0, 64


def made_up(n: int) -> Dataset:
    """Pictures of ten classes: a pattern each, and noise."""
    g = torch.Generator().manual_seed(0)
    labels = torch.arange(n) % 10
    patterns = torch.randint(0, 128, (10, 1, 28, 28), generator=g)
    pictures = (patterns[labels] + torch.randint(0, 128, (n, 1, 28, 28), generator=g)).to(torch.uint8)
    facts = {"inputs": "image", "classes": list("0123456789"), "low": 0.0, "high": 255.0}
    return Dataset.of({"image": pictures, "label": labels}, [f"s/{i:05d}" for i in range(n)], facts=facts)


class Pictures(torch.utils.data.Dataset[tuple[Tensor, Tensor]]):
    """Samples one by one, scaled as the task does."""

    def __init__(self, data: Dataset) -> None:
        self.images, self.labels = data.read("image"), data.read("label")

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, at: int) -> tuple[Tensor, Tensor]:
        return (self.images[at].float() - 127.5) / 127.5, self.labels[at]


def written_down(model: nn.Module, everything: Dataset, forget: Dataset) -> nn.Module:
    """SSD, straight from the paper."""

    def importances(data: Dataset) -> dict[str, Tensor]:
        loader = DataLoader(Pictures(data), batch_size=BATCH, shuffle=False)
        found = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
        for x, y in loader:
            model.zero_grad()
            F.cross_entropy(model(x), y).backward()  # type: ignore[no-untyped-call]
            for name, p in model.named_parameters():
                if p.grad is not None:
                    found[name] += p.grad.detach().clone().pow(2)
        return {name: each / len(loader) for name, each in found.items()}

    model.eval().requires_grad_(True)
    goes, whole = importances(forget), importances(everything)
    with torch.no_grad():
        for name, p in model.named_parameters():
            chosen = goes[name] > ALPHA * whole[name]
            p[chosen] = p[chosen] * (whole[name][chosen] / goes[name][chosen]).clamp(max=1)
    return model.requires_grad_(False)


def flat(model: nn.Module) -> Tensor:
    return torch.cat([p.flatten() for p in model.parameters()])


def measured(network: str, n: int, rounds: int) -> dict[str, Any]:
    data = made_up(n)
    task = Classification.of(data)
    recipe = Recipe(epochs=1, batch=BATCH, lr=1e-3)
    model = Network(network=network, recipe=recipe).train(data.take(torch.arange(2_000)), task, seeds=[0])[0]
    splits = [Request("class", data.where("label", each).ids).split(data) for each in range(10)]
    turns = {name: itertools.cycle(splits) for name in ("ssd", "ssd, again", "loader")}
    kept = SSD(alpha=ALPHA, batch=BATCH, order="stored")

    def first() -> nn.Module:
        return SSD(alpha=ALPHA, batch=BATCH, order="stored")(copy.deepcopy(model), next(turns["ssd"]), task, seed=0)

    def again() -> nn.Module:  # it keeps fewer importances than there are classes, so each is computed anew
        return kept(copy.deepcopy(model), next(turns["ssd, again"]), task, seed=0)

    def loader() -> nn.Module:
        return written_down(copy.deepcopy(model), data, next(turns["loader"]).forget)

    ours, theirs = flat(first()), flat(loader())
    seconds = paired({"ssd": first, "ssd, again": again, "loader": loader}, rounds=rounds)
    one, more, other = (seconds[name]["median_s"] for name in ("ssd", "ssd, again", "loader"))
    return seconds | {
        "each class once, loader / ssd": 10 * other / (one + 9 * more),
        "largest difference of a weight": float((ours - theirs).abs().max()),
        "share of weights dampened": float((ours != flat(model)).float().mean()),
        "load of the machine": os.getloadavg()[0],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    asked = parser.parse_args()
    result = {
        f"{network}, {n:,} pictures, batch {BATCH}": measured(network, n, asked.rounds)
        for network, n in NETWORKS.items()
    }
    store("ssd", __doc__.splitlines()[0], "OMP_NUM_THREADS=1 python benchmarks/ssd.py", result)


if __name__ == "__main__":
    main()
