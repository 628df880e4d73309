"""Shrink the weights that matter to the erased samples and to hardly anything else: selective synaptic dampening.

    importance of weight i for a set:  I_i = mean over batches of (d mean loss of the batch / d w_i)^2
    for each weight with  I_forget > alpha * I_all:   w <- min(strength * I_all / I_forget, 1) * w

Cost: one pass over all data and one over the forget data, no steps. Importances are kept per model version, so another
request (`order="stored"`) or another alpha takes the forget pass alone, or none. Fails when: the forget samples are
drawn at random, for then both importances are alike and nothing is selected; or when the erased share weights with
others, which are damaged with them: look at retained accuracy class by class.

`alpha` means something only together with `batch` and `order`. The square of a mean over b samples is their mean
gradient squared plus 1/b of its variance, and who is alone in a batch is not averaged away. With the erased samples in
batches of their own, I_all holds about n_forget / n of I_forget, so the ratio hardly passes n / n_forget, and alpha=10
selects little or nothing of one class among ten. Mixed with others, it grows with the batches to far larger values.

order="forget last"   retained samples as they are stored, then the erased ones: as in the released code, whose retained
                      samples of class requests stand class by class besides. The published alphas belong to this
order="stored"        all samples as they are stored: the same for every request, so that one pass per model version is
                      enough. Needs a larger alpha
importance="outputs"  LFSSD: |d mean ||f(x)||^2 / d w| instead, which needs no labels. Absolute values in place of
                      squares halve the ratio's logarithm: try the square root of alpha
alpha=None            ASSD: the alpha that selects the ln(1 + 100 n_forget / n) percent of weights of largest ratio

Reference: Foster, Schoepf, Brintrup (2024), "Fast Machine Unlearning Without Retraining Through Selective Synaptic
Dampening", AAAI, arXiv:2308.07707; the same (2024), "Loss-Free Machine Unlearning", arXiv:2402.19308; Schoepf, Foster,
Brintrup (2024), "Parameter-Tuning-Free Data Entry Error Unlearning with Adaptive Selective Synaptic Dampening",
arXiv:2402.10098. Defaults are the first one's for classes of CIFAR-100 and ResNet-18.
Differs: the released ASSD measures against the retained data alone; by what is said above that ranks the weights alike.
What is kept was computed from erased samples too. It is in RAM and goes with this object, or with `clear()`.
"""

import functools
import math
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from erasable._plumbing.answers import answers
from erasable._plumbing.gradients import Vector, batch_importance, flat
from erasable._plumbing.weights import unfrozen
from erasable.dataset import Dataset
from erasable.errors import SettingsError, TaskMismatch
from erasable.receipt import Level
from erasable.request import Split
from erasable.task import Batch, Forward, Task
from erasable.unlearner import Needs, weights_digest

KEPT = 4  # importances, each as large as the model


@dataclass(frozen=True, kw_only=True)
class SSD:
    """Dampening where the importance for the forget data exceeds `alpha` times that for all data."""

    alpha: float | None = 10.0
    strength: float = 1.0
    batch: int = 64
    importance: Literal["loss", "outputs"] = "loss"
    order: Literal["forget last", "stored"] = "forget last"
    _kept: OrderedDict[str, Vector] = field(default_factory=OrderedDict, init=False, repr=False, compare=False)
    guarantee: ClassVar[Level] = "empirical"
    needs: ClassVar[Needs] = frozenset({"forget", "retain"})

    def __post_init__(self) -> None:
        if self.batch < 1 or not self.strength > 0 or not (self.alpha is None or self.alpha > 0):
            raise SettingsError(f"{self}", expected="positive values", do="correct the settings")
        if self.importance not in ("loss", "outputs") or self.order not in ("forget last", "stored"):
            raise SettingsError(f"importance='{self.importance}', order='{self.order}'",
                                expected="'loss' or 'outputs', 'forget last' or 'stored'",
                                do="choose among these")  # fmt: skip

    def __call__(self, model: nn.Module, split: Split, task: Task, *, seed: int) -> nn.Module:
        everything = self.everything(split)
        version = weights_digest(model)
        forget, whole = (self.importances(model, task, data, version) for data in (split.forget, everything))
        alpha = self.alpha
        if alpha is None:
            alpha = adaptive_alpha(flat(forget), flat(whole), len(split.forget) / len(everything))
        with unfrozen(model, train=False), torch.no_grad():
            for weight, goes, stays in zip(model.parameters(), forget, whole, strict=True):
                shrunk = (self.strength * stays / goes).clamp(max=1.0)
                weight.mul_(torch.where(goes > alpha * stays, shrunk, 1.0))  # where nobody is selected it may be 0 / 0
        return model

    def everything(self, split: Split) -> Dataset:
        """All samples in the order in which batches are cut. Raises TaskMismatch for halves of different data sets."""
        if split.retain.table is not split.forget.table:
            raise TaskMismatch(f"'{split.retain.name}' to keep and '{split.forget.name}' to forget",
                               expected="views of one data set", do="make the split with Request.split")  # fmt: skip
        rows = np.concatenate([split.retain.rows, split.forget.rows])
        return Dataset(split.retain.table, rows if self.order == "forget last" else np.sort(rows))

    def importances(self, model: nn.Module, task: Task, data: Dataset, version: str) -> Vector:
        """Per weight; computed once for a model `version` (`weights_digest`), a task, data and a size of batches."""
        name = f"{version} {data.digest()} {self.batch} {self.importance} {task!r} {next(model.parameters()).device}"
        if name not in self._kept:
            if self.importance == "loss":
                found = batch_importance(model, task, data, batch=self.batch)
            else:
                outputs = functools.partial(squared_outputs, task)
                found = batch_importance(model, task, data, batch=self.batch, losses=outputs, power=torch.abs)
            self._kept[name] = found
        self._kept.move_to_end(name)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return self._kept[name]

    def clear(self) -> None:
        """Drop the importances that are kept."""
        self._kept.clear()


def squared_outputs(task: Task, forward: Forward, batch: Batch) -> Tensor:
    """The squared length of each sample's unnormalised answer, (batch,); the mean over positions where it has some."""
    found, _ = answers(forward, task, batch)  # (batch, ..., answers)
    return found.square().sum(-1).flatten(1).mean(1) if found.ndim > 2 else found.square().sum(-1)


def adaptive_alpha(forget: Tensor, whole: Tensor, share: float) -> float:
    """The ratio of importances that ln(1 + 100 share) percent of the weights exceed; all weights flat, share in (0, 1).

    Weights without importance for anything have no ratio and are not counted. Infinite where no weight has one.
    """
    ratios = (forget / whole)[torch.isfinite(forget / whole)]
    if not len(ratios):
        return math.inf
    above = math.log1p(100 * share) / 100 * len(ratios)
    return float(ratios.kthvalue(max(1, len(ratios) - round(above))).values)
