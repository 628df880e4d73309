"""Model -> model: what an adversary or an operator does next."""

from erasable.stresses.finetune import FineTune
from erasable.stresses.head_refit import HeadRefit, Refitted
from erasable.stresses.linear_probe import LinearProbe, Probed
from erasable.stresses.prune import Prune
from erasable.stresses.quantize import Quantize
from erasable.stresses.relearn import Relearn, Relearned, benign, few_shots

__all__ = [
    "FineTune",
    "HeadRefit",
    "LinearProbe",
    "Probed",
    "Prune",
    "Quantize",
    "Refitted",
    "Relearn",
    "Relearned",
    "benign",
    "few_shots",
]
