"""Train on the erased samples again and count the steps until the model knows them as before.

Knowledge that was hidden rather than removed comes back sooner than it comes to a model that never had it.

    steps = the first t with  accuracy_t(erased) >= (1 - tolerance) * accuracy of the untouched model

Adam with batches of 256 and a tolerance of 5 % follow V. S. Chundawat et al., *Zero-shot machine unlearning* (IEEE TIFS
2023, arXiv 2201.05629). Differs: steps are on the erased samples alone, three times as long (3e-3), counted singly, and
censored at `cap`. A model with a memory is judged by its network (`as_network()`): only weights are trained, and no row
is added.
"""

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from erasable._plumbing.seeds import generator
from erasable.dataset import Dataset
from erasable.errors import SettingsError, TaskMismatch
from erasable.task import LogitTask


@dataclass(frozen=True)
class Relearned:
    """`steps` until the goal, or the cap when it was not `reached`.

    `curve` is the accuracy in % before each step, on the step's own batch: one pass serves both.
    """

    steps: int
    reached: bool
    curve: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Relearn:
    """(model, task, erased data, goal) -> Relearned. The model is copied and never changed."""

    cap: int = 100
    lr: float = 3e-3
    batch: int = 256
    tolerance: float = 0.05

    def __post_init__(self) -> None:
        if self.cap < 1 or self.batch < 1 or self.lr <= 0 or not 0 <= self.tolerance < 1:
            raise SettingsError(f"cap={self.cap}, batch={self.batch}, lr={self.lr}, tolerance={self.tolerance}",
                                expected="positive values and a tolerance in [0, 1)", do="correct them")  # fmt: skip

    def __call__(self, model: Any, task: LogitTask, erased: Dataset, *, untouched: float, seed: int) -> Relearned:
        """`untouched` is the accuracy on the erased samples, in per cent, that the model had before the erasure.

        Raises TaskMismatch for a model whose loss no weight can change.
        """
        network = trainable(model)
        goal = (1 - self.tolerance) * untouched - 1e-9
        optimizer = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], lr=self.lr)
        everything = task.batch(erased, torch.arange(len(erased)))
        labels, order, curve = task.labels(everything), generator(seed, "relearn"), []
        for step in range(self.cap + 1):
            at = torch.randperm(len(erased), generator=order)[: self.batch]
            logits = task.logits(network, {name: each[at] for name, each in everything.items()})
            curve.append(100 * float((logits.argmax(dim=1) == labels[at]).double().mean()))
            if curve[-1] >= goal:
                return Relearned(step, True, tuple(curve))
            loss = functional.cross_entropy(logits, labels[at])
            if not loss.requires_grad:
                raise TaskMismatch(f"the loss of a {type(model).__name__} depends on no weight",
                                   expected="a differentiable network",
                                   do="give the model an as_network()")  # fmt: skip
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        return Relearned(self.cap, False, tuple(curve))


def trainable(model: Any) -> nn.Module:
    """A copy of the model's network, in eval mode, with every floating-point weight open to training."""
    network: nn.Module = copy.deepcopy(model.as_network() if hasattr(model, "as_network") else model)
    network.eval()
    for parameter in network.parameters():
        parameter.requires_grad_(parameter.is_floating_point())
    return network
