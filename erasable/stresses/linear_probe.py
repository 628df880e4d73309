"""Fit a linear classifier on the frozen features: what do they still tell about the erased samples?

    minimise over W, b:  mean of -log softmax(W f + b)[y] + penalty / (2 n) * |W|^2,   f = what the last layer reads

once per budget of samples, nested and balanced over classes; the curve is the accuracy on the samples that are asked
about. A head that was suppressed does not help: it is thrown away. Features of models that never saw a class transfer
to it as well, so the goal is the oracles' own curve, not zero. Multinomial logistic regression by L-BFGS to
convergence: the seed decides which samples are shown, nothing else.

G. Alain, Y. Bengio, *Understanding intermediate layers using linear classifier probes* (2016, arXiv 1610.01644).
Differs: only the last layer is probed, with a penalty, on features that are centred and divided by one common spread.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from erasable._plumbing.heads import last_linear
from erasable.dataset import Dataset
from erasable.errors import DataError, SettingsError
from erasable.stresses._network import (
    Headed,
    common_scale,
    features,
    on_record,
    trainable,
    unscaled,
)
from erasable.stresses._shots import in_turns
from erasable.task import LogitTask


@dataclass(frozen=True)
class Probed:
    """`curve` is the accuracy in % for each of `budgets`; `model` has the head of the largest in place of its own."""

    model: nn.Module
    budgets: tuple[int, ...]
    curve: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class LinearProbe:
    """(model, task, data to fit on, samples to ask about) -> Probed. The model is copied and never changed.

    budgets  numbers of samples to fit on, ascending; those beyond the data are left out, as `Probed.budgets` tells
    penalty  the inverse of scikit-learn's C
    """

    budgets: tuple[int, ...] = (10, 30, 100, 300, 1000)
    penalty: float = 1.0

    def __post_init__(self) -> None:
        if not self.budgets or min(self.budgets) < 1 or list(self.budgets) != sorted(set(self.budgets)):
            raise SettingsError(f"budgets={self.budgets}", expected="ascending positive numbers", do="correct them")
        if self.penalty <= 0:
            raise SettingsError(f"penalty={self.penalty}", expected="a positive value",
                                do="correct it: without one, few samples have no best weights")  # fmt: skip

    def __call__(self, model: Any, task: LogitTask, data: Dataset, on: Dataset, *, seed: int) -> Probed:
        """Raises DataError for fewer samples than the first budget, TaskMismatch for a model without a linear head."""
        budgets = tuple(each for each in self.budgets if each <= len(data))
        if not budgets:
            raise DataError(f"{len(data)} samples to fit on", expected=f"at least {self.budgets[0]}",
                            do="give more, or smaller budgets")  # fmt: skip
        network = trainable(model).requires_grad_(False)
        layer = last_linear(network, task, data)
        read, labels = features(network, layer, task, data)
        asked, answers = features(network, layer, task, on)
        order = in_turns(labels, seed)[0].to(labels.device)
        curve = []
        for budget in budgets:
            shown = order[:budget]
            head = self._fit(read[shown], labels[shown], task.classes)
            curve.append(100 * float((head(asked).argmax(dim=1) == answers).double().mean()))
        headed = Headed(network, layer, head).eval()
        on_record(headed, "probe", data.take(order[: budgets[-1]].cpu()))
        return Probed(headed, budgets, tuple(curve))

    def _fit(self, read: Tensor, labels: Tensor, classes: int) -> nn.Linear:
        mean, spread = common_scale(read)
        x = ((read - mean) / spread).double()
        weight = x.new_zeros(classes, x.shape[1]).requires_grad_()
        bias = x.new_zeros(classes).requires_grad_()
        solver = torch.optim.LBFGS([weight, bias], max_iter=500, tolerance_grad=1e-8, tolerance_change=1e-14,
                                   line_search_fn="strong_wolfe")  # fmt: skip

        def closure() -> Tensor:
            solver.zero_grad()
            misfit = functional.cross_entropy(x @ weight.T + bias, labels)
            loss = misfit + self.penalty / (2 * len(x)) * weight.square().sum()
            loss.backward()  # type: ignore[no-untyped-call]
            return loss

        solver.step(closure)  # type: ignore[no-untyped-call]
        return unscaled(weight.detach(), bias.detach(), mean, spread)
