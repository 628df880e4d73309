"""Freeze the features, throw the head away and train a new one on erased and retained samples: was only the head cut?

The curve is the accuracy on the erased samples against steps. Whoever suppresses the outputs of a class leaves features
that know it, and a new head brings it back at once. Features of models that never saw the class transfer as well, so
the goal is the oracles' curve, its speed and its ceiling, not zero: a suppressed model is faster and higher.

The new head starts at zero, on features that are centred and divided by one common spread, so that neither the old head
nor the scale of the features helps or hinders. A tie for the first place is no right answer.
Check recommended for class-wise forgetting; see arXiv 2604.15166.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from erasable._plumbing.heads import last_linear
from erasable._plumbing.seeds import generator
from erasable.dataset import Dataset
from erasable.errors import SettingsError
from erasable.stresses._network import (
    Headed,
    common_scale,
    features,
    on_record,
    trainable,
    unscaled,
)
from erasable.task import LogitTask


@dataclass(frozen=True)
class Refitted:
    """`curve` is the accuracy in % on the erased samples, or on those asked about, before each step and after the last.

    `retained` is the same on the retained samples: a head that has not learned these is not done yet. `model` has the
    new head in the old one's place.
    """

    model: nn.Module
    curve: tuple[float, ...]
    retained: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class HeadRefit:
    """(model, task, erased data, retained data) -> Refitted. The model is copied and never changed.

    `steps` of Adam, on batches from both data sets together.
    """

    steps: int = 100
    lr: float = 1e-2
    batch: int = 256

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch < 1 or self.lr <= 0:
            raise SettingsError(f"steps={self.steps}, batch={self.batch}, lr={self.lr}", expected="positive values",
                                do="correct them")  # fmt: skip

    def __call__(
        self, model: Any, task: LogitTask, forget: Dataset, retain: Dataset, *, seed: int, on: Dataset | None = None
    ) -> Refitted:
        """`on`: other samples for the curve, such as test samples of an erased class.

        Raises TaskMismatch for a model without a linear head.
        """
        network = trainable(model).requires_grad_(False)
        layer = last_linear(network, task, forget)
        parts = [features(network, layer, task, each) for each in (forget, retain)]
        read, labels = (torch.cat([each[i] for each in parts]) for i in (0, 1))
        mean, spread = common_scale(read)
        asked = parts[0] if on is None else features(network, layer, task, on)
        shown = [((x - mean) / spread, y) for x, y in (asked, parts[1])]
        x = (read - mean) / spread
        weight, bias = (
            x.new_zeros(task.classes, x.shape[1]).requires_grad_(),
            x.new_zeros(task.classes).requires_grad_(),
        )
        optimizer, order = torch.optim.Adam([weight, bias], lr=self.lr), generator(seed, "head refit")
        curves: tuple[list[float], list[float]] = [], []
        for step in range(self.steps + 1):
            for curve, (seen, answers) in zip(curves, shown, strict=True):
                curve.append(_accuracy(functional.linear(seen, weight, bias), answers))
            if step == self.steps:
                break
            at = torch.randperm(len(x), generator=order)[: self.batch].to(x.device)
            optimizer.zero_grad()
            loss = functional.cross_entropy(functional.linear(x[at], weight, bias), labels[at])
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        headed = Headed(network, layer, unscaled(weight.detach(), bias.detach(), mean, spread)).eval()
        for each in (forget, retain):
            on_record(headed, "head refit", each)
        return Refitted(headed, tuple(curves[0]), tuple(curves[1]))


@torch.no_grad()
def _accuracy(logits: Tensor, labels: Tensor) -> float:
    """In per cent. The label's logit has to be above all others."""
    others = logits.scatter(1, labels[:, None], -torch.inf).max(dim=1).values
    return 100 * float((logits.gather(1, labels[:, None]).squeeze(1) > others).double().mean())
