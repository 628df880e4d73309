"""The one training loop: k networks of one architecture, as one.

Every network in Erasable, alone or in a population, a classifier or a model designed to forget, is trained by `fit`.
What differs is an `Objective`. With several seeds the forward pass is vectorised over members with `torch.func.vmap`;
their losses are summed, and since no member's loss depends on another's weights, one backward pass gives every member
its own gradient. The optimiser works element by element, so it never learns that its tensors are stacked.

Member i sees the same initial weights, data order and augmentation as the model trained alone with seed i.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from erasable._plumbing.heap import keep_freed_memory
from erasable._plumbing.seeds import generator, seeded
from erasable.dataset import Dataset
from erasable.errors import BatchStatistics, DataError, SettingsError
from erasable.task import Batch, Forward, Task

Progress = Callable[[int, int], None]  # (steps done, steps in all)
Losses = Callable[[Batch], tuple[Tensor, Batch]]  # a step's losses (members,), and what `Objective.after` wants to know


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How long and how fast. The learning rate warms up linearly, then follows a cosine to zero."""

    epochs: int = 20
    batch: int = 64
    lr: float = 5e-3
    momentum: float = 0.9  # beta_1 for AdamW
    weight_decay: float = 0.05
    warmup: float = 0.1  # share of all steps
    optimizer: Literal["sgd", "adamw"] = "adamw"

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch < 1 or not 0 < self.lr < math.inf:
            raise SettingsError(f"epochs={self.epochs}, batch={self.batch}, lr={self.lr}",
                                expected="positive values", do="correct the recipe")  # fmt: skip
        if not (0 <= self.momentum < 1 and 0 <= self.warmup <= 1 and self.weight_decay >= 0):
            raise SettingsError(f"momentum={self.momentum}, warmup={self.warmup}, weight_decay={self.weight_decay}",
                                expected="shares between 0 and 1, a decay of at least 0",
                                do="correct the recipe")  # fmt: skip
        if self.optimizer not in ("sgd", "adamw"):
            raise SettingsError(f"optimizer='{self.optimizer}'", expected="sgd or adamw", do="choose one of these")

    def factor(self, step: int, steps: int) -> float:
        """The learning rate at `step` of `steps`, as a share of `lr`."""
        warm = max(1, round(self.warmup * steps))
        if step < warm:
            return (step + 1) / warm
        return 0.5 * (1 + math.cos(math.pi * (step - warm) / (steps - warm)))

    def optimiser(self, parameters: Sequence[Tensor]) -> torch.optim.Optimizer:
        if self.optimizer == "adamw":
            return torch.optim.AdamW(parameters, lr=self.lr, betas=(self.momentum, 0.999),
                                     weight_decay=self.weight_decay, fused=True)  # fmt: skip
        return torch.optim.SGD(parameters, lr=self.lr, momentum=self.momentum,
                               weight_decay=self.weight_decay, fused=True)  # fmt: skip


class Objective(Protocol):
    """What is minimised. Tensors of `batch` have the axes (members, batch, ...); `loss` sees one member's."""

    @property
    def task(self) -> Task: ...

    def build(self) -> nn.Module:
        """A fresh network; its initialisers draw from torch's global generator, which `fit` seeds."""
        ...

    def start(
        self, data: Dataset, networks: Sequence[nn.Module], seeds: Sequence[int], subsets: Tensor | None = None
    ) -> Any:
        """State that training carries beside the weights, stacked over members (None if there is none).

        `networks` go along: whoever keeps them finds in `after` what the step made of their weights, also where members
        are trained together. With `subsets` (see `fit`) a member's state may hold nothing of samples that are not its
        own.
        """
        ...

    def batch(self, data: Dataset, rows: Tensor, uniform: Tensor, state: Any) -> Batch:
        """The step's input: `rows` (members, batch) are positions in `data`, `uniform` (members, batch, draws)."""
        ...

    def loss(self, forward: Forward, batch: Batch) -> tuple[Tensor, Batch]:
        """One member's mean loss, and what `after` wants to know of the pass."""
        ...

    def after(self, rows: Tensor, batch: Batch, seen: Batch, state: Any, factor: float) -> None:
        """Update the state once gradients are there; `factor` is the learning rate's share of its peak."""
        ...

    def member(self, state: Any, i: int) -> Any:
        """Member i's part of the final state."""
        ...

    @property
    def draws(self) -> int:
        """Uniform numbers per sample and step."""
        ...


@dataclass(frozen=True)
class Supervised:
    """Plain training: the task's own losses."""

    architecture: Callable[[], nn.Module]
    task: Task

    def build(self) -> nn.Module:
        return self.architecture()

    def start(
        self, data: Dataset, networks: Sequence[nn.Module], seeds: Sequence[int], subsets: Tensor | None = None
    ) -> None:
        return None

    @property
    def draws(self) -> int:
        return self.task.draws

    def batch(self, data: Dataset, rows: Tensor, uniform: Tensor, state: None) -> Batch:
        return member_batch(self.task, data, rows, uniform)

    def loss(self, forward: Forward, batch: Batch) -> tuple[Tensor, Batch]:
        return self.task.losses(forward, batch).mean(), {}

    def after(self, rows: Tensor, batch: Batch, seen: Batch, state: None, factor: float) -> None:
        return None

    def member(self, state: None, i: int) -> None:
        return None


def member_batch(task: Task, data: Dataset, rows: Tensor, uniform: Tensor) -> Batch:
    """The task's batch for rows (members, batch): read and augmented flat, then given its members axis."""
    flat = task.batch(data, rows.flatten())
    if task.draws:
        flat = task.augment(flat, uniform[..., : task.draws].flatten(0, 1))
    return {name: torch.unflatten(tensor, 0, rows.shape) for name, tensor in flat.items()}


def fit(
    objective: Objective,
    data: Dataset,
    recipe: Recipe,
    *,
    seeds: Sequence[int],
    subsets: Tensor | None = None,
    initial: Sequence[Mapping[str, Tensor]] | None = None,
    progress: Progress | None = None,
) -> tuple[list[nn.Module], Any]:
    """Train one network per seed, all at once; returns them in eval mode, with the objective's state.

    subsets  (members, n) positions in `data` that each member is trained on; all of `data` when None
    initial  the state dicts that members continue from; fresh weights when None

    Raises DataError without samples, BatchStatistics for several seeds and a network that vectorising would change.
    """
    objective.task.check(data)
    keep_freed_memory()
    n = len(data) if subsets is None else subsets.shape[1]
    if not n:
        raise DataError(f"no samples of '{data.name}' to train on", expected="at least one", do="check the selection")
    networks = [fresh(objective, data, seed) for seed in seeds]
    if initial is not None:
        for network, weights in zip(networks, initial, strict=True):
            network.load_state_dict(weights)
    leaves, losses = _alone(objective, networks[0]) if len(seeds) == 1 else _together(objective, networks)
    optimizer = recipe.optimiser(list(leaves.values()))
    size = min(recipe.batch, n)
    per_epoch = n // size  # the last, smaller batch is left out; another epoch's order brings its samples back
    steps = recipe.epochs * per_epoch
    order, noise = [generator(s, "order") for s in seeds], [generator(s, "augment") for s in seeds]
    own = {} if subsets is None else {"subsets": subsets}  # an objective that cannot keep members apart fails here
    state = objective.start(data, networks, seeds, **own)
    with seeded(seeds[0], "layers"):  # for layers such as dropout, which a network that is trained alone may have
        for step in range(steps):
            at = step % per_epoch * size
            if at == 0:
                rows = torch.stack([torch.randperm(n, generator=g) for g in order])
                rows = rows if subsets is None else subsets.gather(1, rows)
                uniform = torch.stack([torch.rand(n, objective.draws, generator=g) for g in noise])
            factor = recipe.factor(step, steps)
            for group in optimizer.param_groups:
                group["lr"] = recipe.lr * factor
            now = rows[:, at : at + size]
            batch = objective.batch(data, now, uniform[:, at : at + size], state)
            optimizer.zero_grad(set_to_none=True)
            loss, seen = losses(batch)
            loss.sum().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            objective.after(now, batch, seen, state, factor)
            if progress is not None:
                progress(step + 1, steps)
    if len(networks) > 1:
        for network in networks:
            for parameter in network.parameters():
                parameter.data = parameter.data.clone()  # or every model would hold the weights of all members
    optimizer.zero_grad(set_to_none=True)  # or every model would carry its last gradient about
    return [network.eval().requires_grad_(False) for network in networks], state


def fresh(objective: Objective, data: Dataset, seed: int) -> nn.Module:
    """The objective's network with the initial weights of `seed`, in train mode, on the device of the data."""
    column = next(iter(data.table.columns.values()))
    with seeded(seed, "init"):
        network = objective.build().train()
    return network.to(column.device) if isinstance(column, Tensor) else network


def _alone(objective: Objective, network: nn.Module) -> tuple[dict[str, Tensor], Losses]:
    """What the optimiser moves, and (loss (1,), seen (1, ...)) as a function of a batch, for one network."""

    def losses(batch: Batch) -> tuple[Tensor, Batch]:
        loss, seen = objective.loss(network, {name: tensor[0] for name, tensor in batch.items()})
        return loss[None], {name: tensor[None] for name, tensor in seen.items()}

    return {name: each for name, each in network.named_parameters() if each.requires_grad}, losses


def _together(objective: Objective, networks: Sequence[nn.Module]) -> tuple[dict[str, Tensor], Losses]:
    """The same for several: parameters, frozen ones and buffers are stacked, (members, ...).

    The networks' own parameters become views of what the optimiser moves.
    """
    base = networks[0]
    refuse_batch_statistics(base)

    def stack(name: str, kind: str) -> Tensor:
        return torch.stack([getattr(network, f"get_{kind}")(name).detach() for network in networks])

    leaves = {name: stack(name, "parameter").requires_grad_() for name, p in base.named_parameters() if p.requires_grad}
    for name, stacked in leaves.items():
        for network, own in zip(networks, stacked.detach(), strict=True):
            network.get_parameter(name).data = own
    held = {name: stack(name, "parameter") for name, p in base.named_parameters() if not p.requires_grad}
    held |= {name: stack(name, "buffer") for name, _ in base.named_buffers()}

    def member(weights: Batch, fixed: Batch, batch: Batch) -> tuple[Tensor, Batch]:
        return objective.loss(lambda *args, **kw: functional_call(base, (weights, fixed), args, kw), batch)

    return leaves, lambda batch: vmap(member)(leaves, held, batch)


def refuse_batch_statistics(network: nn.Module) -> None:
    """Raise BatchStatistics for layers whose output for a sample depends on other samples or on a hidden draw."""
    for name, layer in network.named_modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            raise BatchStatistics(f"layer '{name}' is a {type(layer).__name__}: its output for one sample depends on "
                                  "the rest of the batch", expected="batch-independent normalisation",
                                  do="use nn.GroupNorm, or train one after another with sequential=True")  # fmt: skip
        if isinstance(layer, nn.modules.dropout._DropoutNd) and layer.p > 0:
            raise BatchStatistics(f"layer '{name}' is a {type(layer).__name__}: it draws from a hidden generator",
                                  expected="networks without dropout in a population",
                                  do="set p=0, or train one after another with sequential=True")  # fmt: skip
