"""Add a sparse mask to the weights, until the network answers erased samples as it answers samples it never saw.

    minimise over M, from zero:  mean_forget KL(r_y || p_(w + M)(x)) + sparsity * sum |M|
    by  M <- shrink(M - lr * gradient, lr * sparsity),   shrink(m, t) = sign(m) max(|m| - t, 0)

r_y is the mean answer of the trained network to unseen samples of class y. It is a setting, since neither erased nor
retained samples are unseen: `reference_of(model, task, unseen)`, or one row for all classes. It ends after `epochs`, or
earlier when the mean answers to the erased samples are within `tolerance` nats of it. Single samples and classes alike.

Cost: two passes over the forget data per epoch. Fails when: `sparsity` is so high that nothing moves; and by its aim:
"looks unseen to this network" is not "as if trained without", for the network still knows the class of an erased class,
and a single sample's answer is pushed to an average one. Nothing holds the retained data but the sparsity.
Reference: Ma, Liu, Liu, Liu, Ma, Ren (2022), "Learn to Forget: Machine Unlearning via Neuron Masking", IEEE TDSC,
arXiv:2003.10933. Differs: there a small network generates the mask's gradients; here they are the gradients of the
same loss, and the L1 penalty is solved by shrinking, so that a weight that is not needed stays exactly as it was. All
numbers are ours. Batch normalisation keeps its statistics.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from erasable._plumbing.batching import in_order, labels_of, refuse_unlabelled, shuffled
from erasable._plumbing.weights import unfrozen
from erasable.dataset import Dataset
from erasable.errors import InvalidData, SettingsError
from erasable.receipt import Level
from erasable.request import Split
from erasable.task import LogitTask
from erasable.unlearner import Needs


@torch.no_grad()
def reference_of(model: nn.Module, task: LogitTask, unseen: Dataset, size: int = 256) -> tuple[float, ...]:
    """The mean answer to each class's unseen samples, row after row. Raises InvalidData for a class without samples."""
    model.eval()
    p = torch.cat([task.logits(model, batch).softmax(1) for batch in in_order(task, unseen, size)])
    sums, counts = _by_class(p, labels_of(task, unseen), task.classes)
    if bool((counts == 0).any()):
        raise InvalidData(f"'{unseen.name}' has no sample of class {int((counts == 0).nonzero()[0])}",
                          expected="unseen samples of every class", do="give more, or one mean answer")  # fmt: skip
    return tuple((sums / counts[:, None]).flatten().tolist())


@dataclass(frozen=True, kw_only=True)
class Forsaken:
    """`reference`: classes^2 probabilities, row by row, or one row of `classes` for all."""

    reference: tuple[float, ...] = ()
    epochs: int = 50
    lr: float = 0.01
    batch: int = 64
    sparsity: float = 1e-3
    tolerance: float = 0.01
    guarantee: ClassVar[Level] = "empirical"
    needs: ClassVar[Needs] = frozenset({"forget"})

    def __post_init__(self) -> None:
        if min(self.epochs, self.lr, self.batch) <= 0 or min(self.sparsity, self.tolerance) < 0:
            raise SettingsError(f"epochs={self.epochs}, lr={self.lr}, batch={self.batch}, sparsity={self.sparsity}, "
                                f"tolerance={self.tolerance}", expected="positive values, sparsity and tolerance of at "
                                "least 0", do="correct the settings")  # fmt: skip
        if not all(0 <= each <= 1 for each in self.reference):
            raise SettingsError("a reference with numbers outside [0, 1]", expected="probabilities",
                                do="take reference_of(model, task, unseen)")  # fmt: skip

    def __call__(self, model: nn.Module, split: Split, task: LogitTask, *, seed: int) -> nn.Module:
        """Raises TaskMismatch for a task without classes, SettingsError for a reference that does not fit them."""
        refuse_unlabelled(task, self)
        rows = self.rows(task.classes)
        with unfrozen(model, train=False):
            weights = list(model.parameters())
            rows = rows.to(weights[0])
            trained = [w.detach().clone() for w in weights]
            batches = shuffled(task, split.forget, self.batch, epochs=self.epochs, seed=seed)
            per_epoch = -(-len(split.forget) // self.batch)
            for step, batch in enumerate(batches):
                if step % per_epoch == 0 and self.apart(model, task, split.forget, rows) <= self.tolerance:
                    break
                log_p = task.logits(model, batch).log_softmax(1)
                loss = F.kl_div(log_p, rows[task.labels(batch)], reduction="batchmean")
                gradients = torch.autograd.grad(loss, weights, allow_unused=True)
                with torch.no_grad():
                    for w, old, g in zip(weights, trained, gradients, strict=True):
                        if g is not None:
                            w.copy_(old + F.softshrink(w - old - self.lr * g, self.lr * self.sparsity))
        return model

    def rows(self, classes: int) -> Tensor:
        """r, (classes, classes)."""
        given = torch.tensor(self.reference, dtype=torch.float64)
        if len(given) not in (classes, classes**2):
            raise SettingsError(f"Forsaken with a reference of {len(given)} numbers",
                                expected=f"{classes}, or {classes**2}: a row for each class",
                                do="give reference=reference_of(model, task, unseen)")  # fmt: skip
        rows = given.view(-1, classes).expand(classes, classes)
        if bool(((rows.sum(1) - 1).abs() > 1e-3).any()):
            raise SettingsError(f"a reference whose rows add up to {rows.sum(1).min():.3f} to {rows.sum(1).max():.3f}",
                                expected="1", do="give probabilities")  # fmt: skip
        return rows

    @torch.no_grad()
    def apart(self, model: nn.Module, task: LogitTask, data: Dataset, rows: Tensor) -> float:
        """KL(r || the mean answer) per class, averaged over the samples, in nats."""
        log_p = torch.cat([task.logits(model, each).log_softmax(1) for each in in_order(task, data, self.batch)])
        sums, counts = _by_class(log_p.exp(), labels_of(task, data), task.classes)
        here = counts > 0
        mean = (sums[here] / counts[here, None]).clamp_min(1e-12)
        each = (torch.special.xlogy(rows[here], rows[here]) - rows[here] * mean.log()).sum(1)  # (classes that occur,)
        return float((each * counts[here]).sum() / len(data))


def _by_class(p: Tensor, labels: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Sums (classes, classes) of the rows of p, and how many each class has."""
    return p.new_zeros(classes, p.shape[1]).index_add(0, labels, p), torch.bincount(labels, minlength=classes)
