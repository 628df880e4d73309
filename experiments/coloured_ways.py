"""What `coloured_digits.py` tries: each method with its settings, by these in words."""

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

from erasable import catalog

CLASSES = 10


def grid(kind: str, fixed: dict[str, Any] | None = None, **choices: tuple[Any, ...]) -> dict[str, Callable[[int], Any]]:
    """What is tried, by its settings in words: each makes an unlearner for a class."""
    found = {}
    for each in itertools.product(*choices.values()):
        settings = dict(zip(choices, each, strict=True))
        text = " ".join(f"{key}={value:g}" for key, value in settings.items())
        found[text] = partial(built, kind, {**(fixed or {}), **settings})
    return found


def built(name: str, settings: dict[str, Any], kind: int) -> Any:
    if name == "forsaken":  # the mean answer to pictures of other classes
        settings = settings | {"reference": tuple(0.0 if each == kind else 1 / 9 for each in range(CLASSES))}
    return catalog.UNLEARNERS[name](**settings)


FORGET_ONLY = {
    "gradient-ascent": grid("gradient-ascent", {"epochs": 3}, lr=(0.003, 0.01, 0.03, 0.1), rise=(0.1, 1.0, 10.0),
                            clip=(0.1, 1.0)),
    "boundary-shrink": grid("boundary-shrink", lr=(3e-6, 1e-5, 3e-5, 1e-4, 3e-4, 1e-3), epochs=(3, 10),
                            reach=(0.05, 0.1)),
    "boundary-expand": grid("boundary-expand", lr=(1e-6, 3e-6, 1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3), epochs=(1, 3, 10)),
    "forsaken": grid("forsaken", lr=(1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3), epochs=(3, 10), sparsity=(1e-3, 0.1)),
    "cupid": grid("cupid", lr=(3e-4, 1e-3, 2e-3, 3e-3, 5e-3, 1e-2), epochs=(1, 3), causal=(0.01, 0.05)),
    "cupid, clipped": grid("cupid", {"radius": 0.005, "clip": 0.1}, lr=(0.02, 0.03, 0.04, 0.06, 0.1, 0.3),
                           causal=(0.01, 0.05), pathway=(0.5, 0.9)),
}  # fmt: skip
SCALE = {
    "finetune": grid("finetune", {"epochs": 2}, lr=(0.01, 0.03, 0.1)),
    "neggrad-plus": grid("neggrad-plus", {"epochs": 2}, lr=(0.003, 0.01, 0.03)),
    "ssd": grid("ssd", alpha=(3.0, 10.0, 50.0)),
    "salun": grid("salun", {"epochs": 2}, lr=(0.003, 0.013, 0.05)),
    "trw": grid("trw", {"epochs": 2}, lr=(0.001, 0.003, 0.01)),
    "unsir": grid("unsir", impair_lr=(1e-3, 5e-3, 0.02)),
    "ct": grid("ct", {"epochs": 3}, lr=(1e-3, 0.01, 0.05)),
}
CONTROLS = {"nothing": grid("nothing"), "retrain": grid("retrain")}
METHODS = FORGET_ONLY | SCALE | CONTROLS
