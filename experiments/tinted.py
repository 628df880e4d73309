"""What the two tasks of min-norm with tinted pictures share: pictures, a network, methods, and what is tried for them.

See `min_norm_collapse.py` and `min_norm_labels.py`. Pictures are those of Fashion-MNIST, at half their size. An epoch
is as many steps of 50 pictures as the erased ones give, for all methods: a small share of the retained is gone through
again and again.
"""

import copy
import itertools
import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from erasable import Recipe
from erasable._plumbing.seeds import child, generator
from erasable.dataset import Dataset
from erasable.datasets import fashion_mnist
from erasable.network import Classifier
from erasable.request import Split
from erasable.tasks import Classification
from erasable.train import Supervised, fit
from erasable.unlearners.ct import CT
from erasable.unlearners.finetune import FineTune
from erasable.unlearners.gradient_ascent import GradientAscent
from erasable.unlearners.l1_sparse import L1Sparse
from erasable.unlearners.min_norm import MinNorm
from erasable.unlearners.neggrad_plus import NegGradPlus
from erasable.unlearners.noisy_descent import NoisyDescent
from erasable.unlearners.nothing import Nothing
from erasable.unlearners.salun import SalUn
from erasable.unlearners.scrub import SCRUB

DRAWS, DEVELOPMENT, MOST = tuple(range(5)), (100, 101), 16
PICTURES, TESTS, BATCH = 5000, 500, 50
GREY, WHOLE = (Recipe(epochs=epochs, batch=100, lr=3e-3, weight_decay=0.0) for epochs in (20, 60))
METHODS = ("min-norm", "AdamW descent", "finetune", "neggrad-plus", "gradient-ascent", "salun", "scrub", "l1-sparse",
           "ct", "noisy-descent", "retrain", "nothing")  # fmt: skip
Grid = dict[str, tuple[float, ...]]


class Plain(nn.Module):
    """Three convolutions without normalisation: (batch, 3, 14, 14) -> (batch, 256)."""

    width = 256

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inside, outside in itertools.pairwise((3, 16, 32, 64)):
            layers += [nn.Conv2d(inside, outside, 3, stride=2, padding=1), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten())

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return out


@dataclass(frozen=True)
class Scene:
    """One draw: the trained network, what it was trained on, how it is judged, how many outputs it has, and what is
    tried for min-norm."""

    original: nn.Module
    split: Split
    task: Classification
    judge: Callable[[nn.Module], dict[str, float]]
    outputs: int
    own: Grid

    def trained(self, data: Dataset, recipe: Recipe, seed: int) -> nn.Module:
        """A fresh network."""
        return trained(self.task, self.outputs, data, recipe, seed)


def trained(
    task: Classification, outputs: int, data: Dataset, recipe: Recipe, seed: int, start: nn.Module | None = None
) -> nn.Module:
    """A network trained from fresh weights, or from those of `start`."""
    initial = None if start is None else [start.state_dict()]
    objective = Supervised(lambda: Classifier(Plain(), outputs), task)
    return fit(objective, data, recipe, seeds=[seed], initial=initial)[0][0]


def pictures(where: str, draw: int) -> tuple[Dataset, Dataset]:
    """(to train on, to test on), grey. Development draws come from one half of the training part, and so do their
    tests; the others from the other half, tested on the test part."""
    train, test = (fashion_mnist(part, data_dir=where) for part in ("train", "test"))
    apart = torch.randperm(len(train), generator=generator(0, "apart")).chunk(2)
    mine = apart[draw not in DEVELOPMENT]
    mine = mine[torch.randperm(len(mine), generator=generator(draw, "pictures"))]
    if draw in DEVELOPMENT:
        tests = train.take(mine[-TESTS:])
    else:
        tests = test.take(torch.randperm(len(test), generator=generator(draw, "tests"))[:TESTS])
    return halved(train.take(mine[:PICTURES])), halved(tests)


def halved(data: Dataset) -> Dataset:
    small = F.avg_pool2d(data.read("image").float(), 2).round().to(torch.uint8)
    return Dataset.of({"image": small, "label": data.read("label")}, data.ids, name=data.name, facts=data.facts)


def painted(data: Dataset, shade: Tensor) -> Tensor:
    """Grey pictures in one colour, (n, 3, height, width) bytes."""
    return (data.read("image") * shade[:, None, None]).round().to(torch.uint8)


def percent(right: Tensor) -> float:
    return round(100 * float(right.float().mean()), 2)


@torch.no_grad()
def share_right(model: nn.Module, task: Classification, data: Dataset) -> float:
    batch = task.batch(data, torch.arange(len(data)))
    return percent(task.logits(model, batch).argmax(1) == task.labels(batch))


# --- methods and what is tried for them ------------------------------------------------------------------------------


def grid(kind: Callable[..., Any], fixed: dict[str, Any], **choices: tuple[Any, ...]) -> dict[str, Any]:
    """What is tried, by its settings in words: every combination, or `MOST` of them at random."""
    every = [dict(zip(choices, each, strict=True)) for each in itertools.product(*choices.values())]
    some = every if len(every) <= MOST else random.Random(0).sample(every, MOST)
    return {" ".join(f"{key}={value}" for key, value in each.items()): kind(**fixed, **each) for each in some}


def trials(method: str, share: float, epochs: int, erased: int, own: Grid) -> dict[str, Any]:
    """An epoch is as many passes over a share of the retained pictures as have as many steps as the erased ones."""
    passes = {"epochs": epochs * round(erased / (share * PICTURES)), "batch": BATCH}
    rates, decays = (0.2, 0.1, 0.03, 0.01), (0.0, 0.02, 0.05, 0.1)
    match method:
        case "nothing":
            return {"": Nothing()}
        case "retrain":
            return grid(Recipe, {**passes, "warmup": 0.0}, lr=(0.03, 0.02, 0.01, 5e-3),
                        weight_decay=(0.0, 0.01, 0.1, 0.5))  # fmt: skip
        case "AdamW descent":
            return grid(MinNorm, {**passes, "settle": passes["epochs"]}, lr=(0.1, 0.05, *own["lr"]))
        case "finetune":
            return grid(FineTune, passes, lr=rates, weight_decay=decays)
        case "ct":
            return grid(CT, passes, lr=rates, weight_decay=decays)
        case "neggrad-plus":
            return grid(NegGradPlus, passes, lr=rates, weight=(0.99, 0.95, 0.9, 0.8))
        case "gradient-ascent":
            return grid(GradientAscent, {"epochs": epochs, "batch": BATCH}, lr=rates, rise=(0.3, 1.0, 3.0, 8.0))
        case "salun":  # goes through both halves in turn: they are made as long as each other
            return grid(SalUn, {"epochs": epochs, "batch": BATCH}, lr=(0.03, 0.01, 3e-3, 1e-3),
                        share=(0.1, 0.3, 0.5, 0.9))  # fmt: skip
        case "scrub":
            fixed = {**passes, "forget_batch": BATCH, "decay_at": ()}
            return grid(SCRUB, fixed, lr=(0.01, 3e-3, 1e-3, 3e-4), alpha=(0.001, 0.1),
                        ascents=(-(-epochs // 5), epochs))  # fmt: skip
        case "l1-sparse":
            return grid(L1Sparse, passes, lr=rates, penalty=(3e-4, 1e-3, 3e-3, 1e-2))
        case "noisy-descent":
            fixed = {"steps": epochs * erased // BATCH}
            return grid(NoisyDescent, fixed, lr=(1.0, 0.3, 0.1, 0.03), sigma=(0.003, 0.01), l2=(5e-4, 0.05))
    shape = {key: each for key, each in own.items() if key != "settle"}
    settle = tuple(round(each * passes["epochs"]) for each in own["settle"])
    return grid(MinNorm, {**passes, "points": BATCH}, **shape, settle=settle)


def tried(settings: Any, stage: Scene, share: float, seed: int) -> dict[str, Any]:
    """One method with these settings on one draw, with a share of the retained pictures."""
    everyone = torch.randperm(len(stage.split.retain), generator=generator(seed, "share"))  # as MinNorm(share=...)
    some = stage.split.retain.take(everyone[: math.ceil(share * len(everyone))])
    if isinstance(settings, SalUn):
        some = some.take(torch.arange(len(some)).repeat(-(-len(stage.split.forget) // len(some))))
    start = time.perf_counter()
    if isinstance(settings, Recipe):  # retrain, with what is available and as long as the others go on
        after = stage.trained(some, settings, child(seed, "again"))
    else:
        after = copy.deepcopy(stage.original)
        try:
            after = settings(after, Split(stage.split.forget, some), stage.task, seed=seed)
        except torch.linalg.LinAlgError:  # it has diverged, and min-norm found no direction
            return {"diverged": True}
    seconds = time.perf_counter() - start
    if not all(bool(each.isfinite().all()) for each in after.parameters()):
        return {"diverged": True}
    return {**stage.judge(after), "seconds": round(seconds, 3)}


def ends(scene: Callable[[], Scene], draw: int) -> dict[str, Any]:
    """The original of a draw and its oracle, which is trained on all that is retained for as long."""
    stage = scene()
    oracle = stage.trained(stage.split.retain, WHOLE, child(draw, "oracle"))
    fitted = {name: share_right(stage.original, stage.task, half)
              for name, half in (("retained", stage.split.retain), ("erased", stage.split.forget))}  # fmt: skip
    return {"original": {**stage.judge(stage.original), **fitted}, "oracle": stage.judge(oracle)}


def key_of(share: float, epochs: int, method: str) -> str:
    return f"{100 * share:g} %, {epochs} epochs, {method}"


def several(
    scene: Callable[[], Scene], share: float, epochs: int, method: str, draw: int, which: list[str] | None = None
) -> dict[str, Any]:
    """What became of a method's trials on a draw, by their names: of all, or of `which`."""
    given = trials(method, share, epochs, len(scene().split.forget), scene().own)
    return {trial: tried(given[trial], scene(), share, draw) for trial in which or given}
