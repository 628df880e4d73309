"""Amnesiac unlearning: store what every step of the training added to the weights, and take back an erased sample's.

    train     d_t = w_{t+1} - w_t, and who was in the batch, for every step t whose batch held an erasable sample
    forget S  w <- w - sum of d_t over the steps t whose batch held one of S, and these d_t become zero

A step that saw public samples alone is not stored. Weights are not subtracted from but summed anew, w = start + sum of
the d_t that are left, in 64 bits: nothing drifts, and the order of requests does not matter. What was taken back holds
traces of what was erased (Chourasia and Shah 2023), so it is zeroed at once, in the file of a run too. `repair_epochs`
then trains on what stays, always from the sum: an earlier repair, which may have seen samples that go now, is thrown
away.

The leak, and so the level `empirical`: every later update was computed at weights that had seen the sample, and with
momentum or AdamW also holds a share of its gradient. These stay. Measured on the digits (experiments/amnesiac.py): one
wrong label that is taken back is still found by an audit after AdamW, and no longer after SGD with momentum=0 and a
repair of two epochs.

Cost: an erasure reads all updates once. Storage: 4 * steps * weights bytes, 2 with `half`, in RAM and in the run
folder, for each member of a population: 1,000 steps of 100,000 weights are 400 MB. Zeroed rows keep their place. Fails
when: many samples go at once. One sample takes a step of each epoch away, and 10 % of all samples are in nearly every
batch of 64: the network is then what it was before the training.
Reference: Graves, Nagisetty, Ganesh (2021), "Amnesiac Machine Learning", arXiv:2010.10981. That stored updates tell of
erased samples: Chourasia, Shah (2023), "Forget Unlearning", arXiv:2210.08911. Differs: the exact sum, zeroed rows, and
the repair from the sum.
"""

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor, nn

from erasable._plumbing.seeds import child, seeded
from erasable._plumbing.weights import unfrozen
from erasable.dataset import Dataset
from erasable.errors import (
    BatchStatistics,
    CorruptRun,
    EmptyRequest,
    NotErasable,
    NotForgettable,
    SettingsError,
    WrongDigest,
)
from erasable.memory import Memory
from erasable.network import Network
from erasable.population import train_members
from erasable.receipt import Exposure
from erasable.task import Batch, Task
from erasable.train import Progress, Recipe, Supervised, fit

PART = "network"
BLOCK = 64  # updates summed at a time: their 64-bit copies take room


class AmnesiacModel(nn.Module):
    """A network that can take back steps of its training; calling it is calling the network.

    start    (weights,) initial weights, and what steps without an erasable sample added
    updates  (steps, weights) what each of the others added; zero once it was taken back
    memory   one row per erasable sample, its key (epochs,) the rows of `updates` that it was in, -1 for none
    """

    start: Tensor
    updates: Tensor
    seed: Tensor

    def __init__(
        self, method: "Amnesiac", task: Task, exposure: Exposure, memory: Memory, network: nn.Module, start: Tensor,
        updates: Tensor, seed: int,
    ) -> None:  # fmt: skip
        super().__init__()
        self.method, self.task, self.exposure, self.memory = method, task, exposure, memory
        self.network = network
        self.register_buffer("start", start)
        self.register_buffer("updates", updates)
        self.register_buffer("seed", torch.tensor(seed, dtype=torch.int64))  # of the repair

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.network(*inputs)  # type: ignore[no-any-return]

    def as_network(self) -> nn.Module:
        """A copy of the network without the updates, to train further."""
        copied: nn.Module = copy.deepcopy(self.network)
        return copied.requires_grad_()

    def forget(self, ids: Iterable[str], *, data: Dataset | None = None) -> None:
        """Take back every step that saw one of these samples. `data` is read when there is a repair.

        Raises UnknownSample, AlreadyForgotten, EmptyRequest (with a repair also when nobody would stay), NotErasable;
        with a repair NotForgettable without data and WrongDigest for data that lack a sample; then nothing has changed.
        """
        gone = frozenset([ids] if isinstance(ids, str) else ids)
        if public := gone & self.exposure.parts[PART] - set(self.memory.ids) - self.memory.forgotten:
            raise NotErasable(f"{len(public)} samples were declared public, first '{min(public)}'",
                              expected="samples that may be erased", do="train a new model without them")  # fmt: skip
        if not gone:
            raise EmptyRequest("no ids to take back", expected="at least one", do="name the samples you mean")
        keys = self.memory.keys[self.memory.rows(sorted(gone))].long()
        stay = self._staying(gone, data) if self.method.repair_epochs else None
        taken = keys[keys >= 0]
        if len(taken) or stay is not None:  # else no step has seen them, and nothing is rounded anew
            self.updates[taken] = 0
            write(self.network, total(self.start, self.updates))
        if stay is not None:
            recipe = replace(self.method.recipe, epochs=self.method.repair_epochs)
            with unfrozen(self.network, train=True):
                fit(Supervised(lambda: self.network, self.task), stay, recipe, seeds=[child(int(self.seed), "repair")])
        self.memory.remove(sorted(gone))

    def _staying(self, gone: frozenset[str], data: Dataset | None) -> Dataset:
        """Those who were trained on and are not erased."""
        if data is None:
            raise NotForgettable("a repair was asked for without data", expected="the samples that stay",
                                 do="pass data=..., or train with repair_epochs=0")  # fmt: skip
        self.task.check(data)
        names = self.exposure.parts[PART] & {*self.memory.ids, *data.public.ids} - gone
        if not names:
            raise EmptyRequest("a request for all samples that are left", expected="some that stay, for the repair",
                               do="delete the model instead, or train with repair_epochs=0")  # fmt: skip
        if missing := names.difference(data.ids):
            raise WrongDigest(f"'{data.name}' lacks {len(missing)} samples that stay, first '{min(missing)}'",
                              expected="the data that the model was trained on", do="pass those")  # fmt: skip
        return data.only(names)


def flat(network: nn.Module) -> Tensor:
    """All weights as one vector."""
    return torch.cat([each.detach().flatten() for each in network.parameters()])


def write(network: nn.Module, weights: Tensor) -> None:
    """The opposite of `flat`."""
    own = list(network.parameters())
    with torch.no_grad():
        for parameter, new in zip(own, torch.split(weights, [each.numel() for each in own]), strict=True):
            parameter.copy_(new.view_as(parameter))


def total(start: Tensor, updates: Tensor) -> Tensor:
    """start + the sum of all updates, (weights,)."""
    summed = start.double()
    for block in torch.split(updates, BLOCK):
        summed += block.double().sum(0)
    return summed.float()


@dataclass
class Record:
    """What is stored while k members train, n samples each. See `AmnesiacModel` for the rest.

    last   (k, weights) start + all updates so far. Where updates are rounded, the next one makes up for it
    rows   (k, n, epochs) in which update a sample was
    used   (k,) updates so far
    """

    networks: Sequence[nn.Module]
    erasable: Tensor  # (n,) bool
    per_epoch: int
    last: Tensor
    start: Tensor
    updates: Tensor
    rows: Tensor
    used: Tensor
    step: int = 0


@dataclass(frozen=True)
class Recorded(Supervised):
    """Plain training, written down."""

    method: "Amnesiac"

    def start(  # type: ignore[override]
        self, data: Dataset, networks: Sequence[nn.Module], seeds: Sequence[int], subsets: Tensor | None = None
    ) -> Record:
        if subsets is not None:
            raise SettingsError("subsets for amnesiac training", expected="members that are trained on all of the data",
                                do="train them one by one")  # fmt: skip
        for name, layer in networks[0].named_modules():
            if isinstance(layer, nn.modules.batchnorm._BatchNorm):
                raise BatchStatistics(f"layer '{name}' is a {type(layer).__name__}, which remembers samples outside of "
                                      "the weights", expected="batch-independent normalisation",
                                      do="use nn.GroupNorm")  # fmt: skip
        recipe, n, members = self.method.recipe, len(data), len(networks)
        per_epoch = n // min(recipe.batch, n)
        erasable = torch.from_numpy(~np.isin(data.ids, data.public.ids))
        most = recipe.epochs * min(per_epoch, int(erasable.sum()))  # an epoch shows nothing twice
        start = torch.stack([flat(each) for each in networks])
        self.method.refuse_size(most, start.shape[1])
        updates = start.new_empty((members, most, start.shape[1]), dtype=self.method.kind)
        rows = torch.full((members, n, recipe.epochs), -1.0)
        used = torch.zeros(members, dtype=torch.long)
        return Record(networks, erasable, per_epoch, start.clone(), start, updates, rows, used)

    def after(self, rows: Tensor, batch: Batch, seen: Batch, state: Record, factor: float) -> None:  # type: ignore[override]
        moved = torch.stack([flat(each) for each in state.networks]) - state.last  # (members, weights)
        stored = state.erasable[rows].any(1)
        at, where = torch.nonzero(stored).flatten(), state.used[stored]
        update = moved[at].to(state.updates.dtype)
        state.updates[at, where] = update
        moved[at] = update.to(moved.dtype)
        state.last += moved
        state.start[~stored] += moved[~stored]
        state.rows[at[:, None], rows[at], state.step // state.per_epoch] = where[:, None].float()
        state.used[at] += 1
        state.step += 1

    def member(self, state: Record, i: int) -> tuple[Tensor, Tensor, Tensor]:  # type: ignore[override]
        return state.start[i].clone(), state.updates[i, : state.used[i]].clone(), state.rows[i, state.erasable]


@dataclass(frozen=True, kw_only=True)
class Amnesiac:
    """Settings: those of the ordinary network, which is trained as ever, and

    repair_epochs  of the training on what stays after an erasure; forgetting then needs the data
    half           store updates in 16 bits; the next one makes up for what is rounded off, but a step that is taken
                   back leaves its own rounding behind
    limit_mb       refuse to store more than that, per model
    """

    network: str = "convnet"
    recipe: Recipe = field(default_factory=Recipe)
    repair_epochs: int = 0
    half: bool = False
    limit_mb: float = 1000.0
    sequential: bool = False

    def __post_init__(self) -> None:
        if self.repair_epochs < 0 or not self.limit_mb > 0:
            raise SettingsError(f"repair_epochs={self.repair_epochs}, limit_mb={self.limit_mb}",
                                expected="at least 0, and a positive limit", do="correct the settings")  # fmt: skip

    @property
    def needs_data(self) -> bool:
        return self.repair_epochs > 0

    @property
    def kind(self) -> torch.dtype:
        return torch.float16 if self.half else torch.float32

    def refuse_size(self, steps: int, weights: int) -> None:
        """Raise SettingsError for more updates than `limit_mb` allows."""
        if (size := steps * weights * self.kind.itemsize / 1e6) > self.limit_mb:
            raise SettingsError(f"{steps:,} updates of {weights:,} weights, {size:,.0f} MB", expected=f"at most "
                                f"limit_mb={self.limit_mb:g}", do="raise it, take half=True, a smaller network, larger "
                                "batches or fewer epochs, or declare samples public")  # fmt: skip

    def plain(self) -> Network:
        return Network(network=self.network, recipe=self.recipe, sequential=self.sequential)

    def train(
        self, data: Dataset, task: Task, *, seeds: Sequence[int], progress: Progress | None = None
    ) -> list[AmnesiacModel]:
        objective = Recorded(lambda: self.plain().build(task), task, self)
        trained = train_members(objective, data, self.recipe, seeds=seeds, sequential=self.sequential,
                                progress=progress)  # fmt: skip
        exposure = Exposure.trained({PART: data.ids}, data.ids, task, mended=[PART])
        models = []
        for seed, (network, (start, updates, rows)) in zip(seeds, trained, strict=True):
            memory = Memory(self.recipe.epochs, device=start.device)
            memory.add(data.private.ids, rows)
            models.append(AmnesiacModel(self, task, exposure, memory, network, start, updates, seed).eval())
        return models

    def restore(
        self, task: Task, weights: dict[str, Tensor], memory: Memory | None, exposure: Exposure
    ) -> AmnesiacModel:
        if memory is None or not {"start", "updates"} <= weights.keys():
            raise CorruptRun("an amnesiac model without its updates, or without who was in them",
                             expected="all that was stored", do="restore the run folder from a backup")  # fmt: skip
        with seeded(0, "restore"):  # initial weights, which are replaced: not from anyone else's random numbers
            network = self.plain().build(task)
        start, updates = (torch.empty_like(weights[name]) for name in ("start", "updates"))
        model = AmnesiacModel(self, task, exposure, memory, network, start, updates, 0)
        model.load_state_dict(weights)
        return model.eval().requires_grad_(False)
