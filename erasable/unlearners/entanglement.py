"""Suppress what is erased while the remote samples hold still, then repair the adjacent ones where neither feels it.

    1  drift = L_remote(w) - L_remote(trained weights)
       minimise over w:  -min(L_forget(w), L_forget(trained weights) + rise) + mu * drift + penalty / 2 * drift^2
       mu <- mu + penalty * drift each epoch
    2  L~ = (1 - mix) L_forget + mix * W2^2(forget losses now, forget losses after 1)
       w <- w - repair_lr * (g_adjacent - its projection on the span of the gradients of L~ and L_remote)

A step is no longer than its learning rate times `clip`. Once the forget loss has risen by `rise` nats it pulls no more,
and the remaining epochs bring the remote loss back: ending there would leave the remote samples as the last steps broke
them, before mu weighs anything. A class that is to be gone asks for a rise of several nats; a subclass for what a model
that never saw it pays, which may be little.

W2 compares the sorted losses of a batch. To first order a step of 2 lowers the adjacent loss alone. Adjacent are, by
`adjacent`: "similarity", the `share` of the retained samples whose loss rises most after one step of length `radius` up
the forget loss, which any task can tell; or "labels", those with an erased label (a subclass of coarse classes).
Classes, subclasses and samples alike.

Cost: per step of 1, two passes forward and back and one forward; of 2, three and one; before, two passes over the
retained data. Fails when: forget and adjacent gradients are nearly parallel, as those of two subclasses of one class
are: then a repair brings part of both back. Mean accuracy on what stays hides the adjacent samples: look at both.
Reference: Cheng et al. (2026), "Machine Unlearning under Retain-Forget Entanglement", ICLR, arXiv:2603.26569. mix is
theirs, all other numbers are ours. Differs: drift is measured against the trained network on the same batch; `rise`;
steps are plain gradient steps of bounded length. Batch normalisation keeps its statistics, so that losses before and
after compare.
"""

import copy
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from erasable._plumbing.batching import in_order, labels_of, mean_loss, refuse_unlabelled, shuffled
from erasable._plumbing.gradients import flat, gradient, mean_gradient, shaped
from erasable._plumbing.seeds import child
from erasable._plumbing.steps import batches_in, pairs
from erasable._plumbing.weights import unfrozen
from erasable.dataset import Dataset
from erasable.errors import RequestError, SettingsError
from erasable.receipt import Level
from erasable.request import Split
from erasable.task import LogitTask, Task
from erasable.unlearner import Needs


@dataclass(frozen=True, kw_only=True)
class Entanglement:
    """Augmented Lagrangian, then projected repair. `epochs` run over the forget data, `repair_epochs` over adjacent.

    `clip` is a gradient norm, `rise` a loss in nats.
    """

    adjacent: Literal["similarity", "labels"] = "similarity"
    share: float = 0.1
    radius: float = 0.05
    epochs: int = 20
    lr: float = 0.02
    penalty: float = 10.0
    rise: float = 5.0
    repair_epochs: int = 10
    repair_lr: float = 0.003
    clip: float = 1.0
    mix: float = 0.5
    batch: int = 64
    guarantee: ClassVar[Level] = "empirical"
    needs: ClassVar[Needs] = frozenset({"forget", "retain"})

    def __post_init__(self) -> None:
        positive = (self.radius, self.epochs, self.lr, self.penalty, self.rise, self.repair_epochs, self.repair_lr,
                    self.clip)  # fmt: skip
        if min(*positive, self.batch) <= 0 or not 0 < self.share < 1 or not 0 <= self.mix <= 1:
            raise SettingsError(f"{self}", expected="positive values, a share below 1, a mix of at most 1",
                                do="correct the settings")  # fmt: skip
        if self.adjacent not in ("similarity", "labels"):
            raise SettingsError(
                f"adjacent='{self.adjacent}'", expected="similarity or labels", do="choose one of these"
            )

    def __call__(self, model: nn.Module, split: Split, task: Task, *, seed: int) -> nn.Module:
        """Raises RequestError where no retained sample is adjacent or none is remote, TaskMismatch for "labels" without
        classes."""
        adjacent, remote = self.parted(model.eval(), split, task)
        with unfrozen(model, train=False):
            self.suppress(model, Split(split.forget, remote), task, seed=child(seed, "suppress"))
            self.repair(model, Split(split.forget, adjacent), remote, task, seed=child(seed, "repair"))
        return model

    def parted(self, model: nn.Module, split: Split, task: Task) -> tuple[Dataset, Dataset]:
        """What stays, as adjacent and remote."""
        if self.adjacent == "labels":
            refuse_unlabelled(task, self)
            assert isinstance(task, LogitTask)
            near = torch.isin(labels_of(task, split.retain), torch.unique(labels_of(task, split.forget))).cpu()  # type: ignore[no-untyped-call]
        else:
            near = torch.zeros(len(split.retain), dtype=torch.bool)
            near[self.rises(model, split, task).topk(max(1, round(self.share * len(near)))).indices.cpu()] = True
        if bool(near.all()) or not bool(near.any()):
            raise RequestError(f"{int(near.sum())} of {len(near)} retained samples are adjacent by {self.adjacent}",
                               expected="adjacent and remote ones", do="part them by the other rule")  # fmt: skip
        return split.retain.take(near.nonzero().flatten()), split.retain.take((~near).nonzero().flatten())

    @torch.no_grad()
    def rises(self, model: nn.Module, split: Split, task: Task) -> Tensor:
        """How much one step up the forget loss raises each retained sample's, (retain,) nats."""

        def losses(network: nn.Module) -> Tensor:
            return torch.cat([task.losses(network, each) for each in in_order(task, split.retain, self.batch)])

        with torch.enable_grad():
            way = flat(mean_gradient(model, task, split.forget, batch=self.batch))
        moved = copy.deepcopy(model)
        _move(list(moved.parameters()), way / way.norm().clamp_min(1e-30), self.radius)
        return losses(moved) - losses(model)

    def suppress(self, model: nn.Module, split: Split, task: Task, *, seed: int) -> None:
        """Part 1, on what is erased and what is remote."""
        trained, weights, mu = copy.deepcopy(model).requires_grad_(False), list(model.parameters()), 0.0
        stop = mean_loss(model, task, split.forget, self.batch) + self.rise
        for epoch in range(self.epochs):
            drifts = []
            for gone, far in pairs(task, split, self.batch, epochs=1, seed=child(seed, epoch), over="forget"):
                erased = task.losses(model, gone).mean().clamp(max=stop)
                drift = task.losses(model, far).mean() - task.losses(trained, far).mean()
                drifts.append(float(drift.detach()))
                loss = -erased + mu * drift + self.penalty / 2 * drift.square()
                self.step(weights, flat(gradient(loss, weights)), self.lr)
            mu += self.penalty * sum(drifts) / len(drifts)

    def repair(self, model: nn.Module, split: Split, remote: Dataset, task: Task, *, seed: int) -> None:
        """Part 2; what stays of `split` is adjacent."""
        before, weights = copy.deepcopy(model).requires_grad_(False), list(model.parameters())
        steps = batches_in(split.retain, self.batch, epochs=self.repair_epochs)
        again = shuffled(task, remote, self.batch, epochs=steps, seed=child(seed, "remote"))
        both = pairs(task, split, self.batch, epochs=self.repair_epochs, seed=seed)
        for (gone, near), far in zip(both, again, strict=False):
            losses = task.losses(model, gone)
            apart = (losses.sort().values - task.losses(before, gone).sort().values).square().mean()
            held = (1 - self.mix) * losses.mean() + self.mix * apart
            fixed = [flat(gradient(each, weights)) for each in (held, task.losses(model, far).mean())]
            wanted = flat(gradient(task.losses(model, near).mean(), weights))
            self.step(weights, without(wanted, fixed), self.repair_lr)

    def step(self, weights: list[nn.Parameter], downhill: Tensor, lr: float) -> None:
        """Move against `downhill` (n,), a gradient."""
        _move(weights, downhill, -lr * min(1.0, self.clip / max(float(downhill.norm()), 1e-30)))


def without(vector: Tensor, span: list[Tensor]) -> Tensor:
    """The part of a vector (n,) that is orthogonal to all of `span`."""
    basis: list[Tensor] = []
    for each in span:
        rest = each
        for unit in basis:
            rest = rest - (rest @ unit) * unit
        if float(rest.norm()) > 1e-6 * float(each.norm()):  # else it lies in the span of those before
            basis.append(rest / rest.norm())
    for unit in basis:
        vector = vector - (vector @ unit) * unit
    return vector


@torch.no_grad()
def _move(weights: list[nn.Parameter], way: Tensor, by: float) -> None:
    for weight, part in zip(weights, shaped(way, weights), strict=True):
        weight.add_(part, alpha=by)
