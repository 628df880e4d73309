"""Train on the erased samples again and count the steps until the model knows them as before.

Knowledge that was hidden rather than removed comes back sooner than it comes to a model that never had it.

    steps = the first t with  accuracy_t(erased) >= (1 - tolerance) * accuracy of the untouched model

An adversary need not have the samples. What is trained on is one of

    Relearn()(model, task, erased, ...)                              the erased samples themselves
    Relearn()(..., using=few_shots(task, data, 5, seed=0))           a few of each class
    Relearn()(..., using=benign(task, data, erased, gone=[3]))       none of them, nor of a class that is gone

and what is asked about are the erased samples in each case. Ask about `erased.without(shots.ids)` to leave out those
that were shown. `Relearn(whole=True)` goes on to the cap, for curves whose areas can be compared.

Adam with batches of 256 and a tolerance of 5 % follow V. S. Chundawat et al., *Zero-shot machine unlearning* (IEEE TIFS
2023, arXiv 2201.05629). Differs: steps are on the erased samples alone, three times as long (3e-3), counted singly, and
censored at `cap`. A model with a memory is judged by its network (`as_network()`): only weights are trained, and no row
is added.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from erasable._plumbing.batching import in_order, labels_of
from erasable._plumbing.heads import placed
from erasable._plumbing.seeds import generator
from erasable.dataset import Dataset
from erasable.errors import DataError, SettingsError
from erasable.stresses._network import ROWS, refuse_constant, trainable
from erasable.stresses._shots import in_turns
from erasable.task import Batch, LogitTask


@dataclass(frozen=True)
class Relearned:
    """`steps` until the goal, or the cap when it was not `reached`.

    `curve` is the accuracy in % before each step: on the step's own batch where the erased samples are trained on, for
    one pass serves both; on all erased samples with `using` or `whole`.
    """

    steps: int
    reached: bool
    curve: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Relearn:
    """(model, task, erased data, goal) -> Relearned. The model is copied and never changed.

    whole  do not stop at the goal: every curve then has `cap` + 1 values
    """

    cap: int = 100
    lr: float = 3e-3
    batch: int = 256
    tolerance: float = 0.05
    whole: bool = False

    def __post_init__(self) -> None:
        if self.cap < 1 or self.batch < 1 or self.lr <= 0 or not 0 <= self.tolerance < 1:
            raise SettingsError(f"cap={self.cap}, batch={self.batch}, lr={self.lr}, tolerance={self.tolerance}",
                                expected="positive values and a tolerance in [0, 1)", do="correct them")  # fmt: skip

    def __call__(
        self,
        model: Any,
        task: LogitTask,
        erased: Dataset,
        *,
        untouched: float,
        seed: int,
        using: Dataset | None = None,
    ) -> Relearned:
        """`untouched` is the accuracy on the erased samples, in per cent, that the model had before the erasure.

        `using` are the samples to train on, the erased ones by default. Raises TaskMismatch for a model whose loss no
        weight can change.
        """
        network = trainable(model)
        goal = (1 - self.tolerance) * untouched - 1e-9
        optimizer = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], lr=self.lr)
        shown = erased if using is None else using
        apart = self.whole or using is not None
        asked = [placed(each, network) for each in in_order(task, erased, ROWS)] if apart else []
        order, curve, steps = generator(seed, "relearn"), list[float](), None
        for step in range(self.cap + 1):
            at = torch.randperm(len(shown), generator=order)[: self.batch]
            batch = placed(task.batch(shown, at), network)
            logits, labels = task.logits(network, batch), task.labels(batch)
            curve.append(_accuracy(network, task, asked) if apart else _share(logits, labels))
            if steps is None and curve[-1] >= goal:
                steps = step
            if step == self.cap or (steps is not None and not self.whole):
                break
            loss = functional.cross_entropy(logits, labels)
            refuse_constant(loss, model)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        return Relearned(self.cap if steps is None else steps, steps is not None, tuple(curve))


def few_shots(task: LogitTask, data: Dataset, shots: int, *, seed: int) -> Dataset:
    """`shots` samples of every class in the data, or all there are of a rarer one, in the data's order.

    Of a request that leaves every class some samples, give the erased ones. Of a whole class, give erased and retained
    samples together: a network that is shown one class only learns to name it whatever comes. Raises SettingsError.
    """
    if shots < 1:
        raise SettingsError(f"shots={shots}", expected="at least 1", do="correct it")
    order, turns = in_turns(labels_of(task, data), seed)
    return data.take(order[turns < shots].sort().values)


def benign(task: LogitTask, data: Dataset, erased: Dataset, *, gone: Collection[int] = ()) -> Dataset:
    """The data without the erased samples and without the classes `gone`. Raises DataError where nothing is left."""
    names = set(erased.ids)
    free = torch.tensor([each not in names for each in data.ids], dtype=torch.bool)
    labels = labels_of(task, data).cpu()
    free &= ~torch.isin(labels, torch.tensor(sorted(gone), dtype=labels.dtype))
    rest = data.take(torch.nonzero(free).flatten())
    if not len(rest):
        raise DataError(f"none of the {len(data)} samples is benign", expected="samples that were not erased",
                        do="give the retained data")  # fmt: skip
    return rest


@torch.no_grad()
def _accuracy(network: nn.Module, task: LogitTask, batches: Sequence[Batch]) -> float:
    right = [task.logits(network, each).argmax(dim=1) == task.labels(each) for each in batches]
    return 100 * float(torch.cat(right).double().mean())


def _share(logits: Tensor, labels: Tensor) -> float:
    return 100 * float((logits.argmax(dim=1) == labels).double().mean())
