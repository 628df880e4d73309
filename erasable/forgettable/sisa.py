"""SISA: sharded, isolated, sliced and aggregated training. A deletion retrains a part of one shard.

    shard and slice of a sample = keyed hash of its owner      (of its id, where nobody owns it)
    network of shard s, stage r: from stage r - 1, trained on slices 1 .. r of shard s
    p(c | x) = mean over shards of softmax(network of shard s after its last stage)

A person sits in one shard and one slice, and sits there whoever else takes part, so a deletion moves nobody. To delete
from slice r, stages r and later are trained again from checkpoint r - 1 with the seeds that they had: the result is the
model that training without those samples gives, bit for bit (between single models; members that were trained together
differ from single ones in the last bits).

Cost: of one deletion, (2R + 1) / (3R) of a shard's training on average, so slices save a third at most and shards a
factor of S. A slice stage runs 2E / (R + 1) epochs, which makes E passes over the shard in all. Storage: S R networks.
Fails when: shards get small, for each network sees only its own; and for many deletions at once, which touch
S (1 - (1 - 1/S)^K) shards. Hashed shards are of uneven size, and a person with much data makes one larger.

Reference: Bourtoule, Chandrasekaran, Choquette-Choo, Jia, Travers, Zhang, Lie, Papernot (2021), "Machine Unlearning",
arXiv:1912.03817. Differs: places come from a hash of the owner, not from a shuffled list; the mean of probabilities is
the default beside their majority vote; every stage has its own warm-up and cosine of the learning rate.
"""

import copy
import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from erasable._plumbing.seeds import child, seeded
from erasable.dataset import Dataset
from erasable.errors import (
    CorruptRun,
    EmptyRequest,
    NotErasable,
    NotForgettable,
    SettingsError,
    TaskMismatch,
    WrongDigest,
)
from erasable.memory import Memory
from erasable.network import Network
from erasable.population import train_members
from erasable.receipt import Exposure
from erasable.task import LogitTask, Task
from erasable.train import Progress, Recipe, Supervised

TIE = 1e-3  # share of the mean probabilities in a majority vote: decides between equal numbers of votes


class SISAModel(nn.Module):
    """A trained SISA. Calling it gives log-probabilities over the last axis, such as (batch, classes).

    memory       one row per sample, its key the (shard, slice) that it sits in: who is in, and where
    checkpoints  checkpoints[s][r] is the network of shard s after stage r; the last one answers. A shard without
                 samples holds untrained networks and has no say.
    """

    seed: Tensor

    def __init__(
        self, method: "SISA", task: Task, exposure: Exposure, memory: Memory, stages: list[list[nn.Module]], seed: int
    ) -> None:
        super().__init__()
        self.method, self.task, self.exposure, self.memory = method, task, exposure, memory
        self.checkpoints = nn.ModuleList(nn.ModuleList(each) for each in stages)
        self.register_buffer("seed", torch.tensor(seed, dtype=torch.int64))
        self.filled: list[int] = torch.unique(memory.keys[:, 0].long()).tolist()  # shards that have samples

    def forward(self, *inputs: Tensor) -> Tensor:
        chances = torch.stack([self.checkpoints[s][-1](*inputs).log_softmax(-1) for s in self.filled])  # type: ignore[index]
        mean = chances.logsumexp(0) - math.log(len(self.filled))
        if self.method.aggregate == "mean":
            return mean
        votes = F.one_hot(chances.argmax(-1), chances.shape[-1]).float().mean(0)
        return torch.logaddexp(votes.log() + math.log1p(-TIE), mean + math.log(TIE))

    def forget(self, ids: Iterable[str], *, data: Dataset | None = None) -> None:
        """Train the stages again that saw these samples. `data` holds at least the samples that stay in their shards.

        Raises UnknownSample, AlreadyForgotten, EmptyRequest (also when nobody would stay), NotErasable, NotForgettable
        without data, WrongDigest for data that lack a sample or give it another place; then nothing has changed.
        """
        gone = frozenset([ids] if isinstance(ids, str) else ids)
        if not gone or gone.issuperset(self.memory.ids):
            raise EmptyRequest(f"{len(gone)} of {len(self.memory)} samples to forget", expected="some that go and some "
                               "that stay", do="name the samples, or delete the whole model")  # fmt: skip
        places = self.memory.keys[self.memory.rows(gone)].long().tolist()
        if data is None:
            raise NotForgettable("SISA was asked to forget without data", expected="the samples that stay, to train "
                                 "their shards again", do="pass data=...")  # fmt: skip
        if public := gone.intersection(data.public.ids):
            raise NotErasable(f"{len(public)} samples were declared public, first '{min(public)}'",
                              expected="samples that may be erased", do="train a new model without them")  # fmt: skip
        redone: dict[int, list[nn.Module]] = {}
        for shard in sorted({shard for shard, _ in places}):
            first = min(each for at, each in places if at == shard)
            before = [self.checkpoints[shard][first - 1]] if first else None  # type: ignore[index]
            stay = self._members(shard, gone, data)
            redone[shard] = self.method.stages(self.task, stay, shard, [int(self.seed)], first, before)[0]
        self.memory.remove(sorted(gone))
        for shard, stages in redone.items():
            for r, network in enumerate(stages, start=self.method.slices - len(stages)):
                self.checkpoints[shard][r] = network  # type: ignore[index,operator]
        self.filled = torch.unique(self.memory.keys[:, 0].long()).tolist()
        self.exposure = self.exposure.without(gone, [_part(shard) for shard in redone])

    def _members(self, shard: int, gone: frozenset[str], data: Dataset) -> Dataset | None:
        """The samples that stay in a shard, from `data`; None for none. Raises WrongDigest."""
        keys = self.memory.keys.long()
        held = self.memory.ids
        ids = [held[row] for row in torch.nonzero(keys[:, 0] == shard).flatten().tolist()]
        stay = [each for each in ids if each not in gone]
        if missing := set(stay).difference(data.ids):
            raise WrongDigest(f"'{data.name}' lacks {len(missing)} samples of {_part(shard)}, first '{min(missing)}'",
                              expected="the data that the model was trained on", do="pass those")  # fmt: skip
        if not stay:
            return None
        members = data.only(stay)
        if not torch.equal(self.method.places(members), keys[self.memory.rows(members.ids)]):
            raise WrongDigest(f"samples of {_part(shard)} have other owners in '{data.name}'",
                              expected="those of the training data", do="pass those")  # fmt: skip
        return members


def _part(shard: int) -> str:
    return f"shard {shard + 1}"


def _share(progress: Progress | None, i: int, n: int) -> Progress | None:
    """Progress of the i-th of n parts of equal length."""
    return None if progress is None else lambda done, steps: progress(1000 * i + 1000 * done // steps, 1000 * n)


@dataclass(frozen=True, kw_only=True)
class SISA:
    """Settings of a SISA ensemble.

    shards, slices  S and R. More of either make deletions cheaper; shards weaken the networks, slices take storage
    aggregate       "mean" of the shards' probabilities or majority "vote" (ties go to the larger mean)
    key             of the hash that places people. Keep it to yourself where people choose their own names
    recipe          `epochs` counts passes over a whole shard
    """

    network: str = "convnet"
    shards: int = 5
    slices: int = 1
    aggregate: Literal["mean", "vote"] = "mean"
    key: str = "sisa"
    recipe: Recipe = field(default_factory=Recipe)
    sequential: bool = False
    needs_data: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.shards < 1 or self.slices < 1 or self.aggregate not in ("mean", "vote") or len(self.key.encode()) > 64:
            raise SettingsError(f"shards={self.shards}, slices={self.slices}, aggregate='{self.aggregate}', a key of "
                                f"{len(self.key.encode())} bytes", expected="1 or more, 'mean' or 'vote', 64 or fewer",
                                do="correct the settings")  # fmt: skip
        if 2 * self.recipe.epochs < self.slices + 1:
            raise SettingsError(f"{self.recipe.epochs} epochs for {self.slices} slices",
                                expected=f"at least {math.ceil((self.slices + 1) / 2)}, one per slice stage",
                                do="take more epochs or fewer slices")  # fmt: skip

    def epochs(self, r: int) -> int:
        """Epochs of stage r (from 0): 2E / (R + 1), where it is the running sum that is rounded."""
        done = [(4 * self.recipe.epochs * i + self.slices + 1) // (2 * (self.slices + 1)) for i in (r, r + 1)]
        return done[1] - done[0]

    def places(self, data: Dataset) -> Tensor:
        """(samples, 2) the shard and the slice of each sample, from 0."""
        key = self.key.encode()

        def hashed(name: str, what: bytes) -> int:
            return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8, key=key, person=what).digest(), "big")

        names = [owner or each for owner, each in zip(data.owners or data.ids, data.ids, strict=True)]
        return torch.tensor(
            [[hashed(each, b"shard") % self.shards, hashed(each, b"slice") % self.slices] for each in names]
        )

    def stages(
        self,
        task: Task,
        members: Dataset | None,
        shard: int,
        seeds: Sequence[int],
        first: int = 0,
        before: list[nn.Module] | None = None,
        progress: Progress | None = None,
    ) -> list[list[nn.Module]]:
        """Networks of one shard after stage `first` and later, for each seed; `before` are those they start from."""
        network = Network(network=self.network)
        objective = Supervised(lambda: network.build(task), task)
        if members is not None:  # training sees the samples in one order, whatever the order of the data
            members = members.take(np.argsort(np.asarray(members.ids)))
            slices = self.places(members)[:, 1]
        stages: list[list[nn.Module]] = []
        for r in range(first, self.slices):
            names = [child(seed, "shard", shard, "slice", r) for seed in seeds]
            part = None if members is None else members.take(torch.nonzero(slices <= r).flatten())
            if part is not None and len(part):
                weights = None if before is None else [each.state_dict() for each in before]
                trained = train_members(objective, part, replace(self.recipe, epochs=self.epochs(r)), seeds=names,
                                        initial=weights, sequential=self.sequential,
                                        progress=_share(progress, r, self.slices))  # fmt: skip
                before = [each for each, _ in trained]
            elif before is None:
                before = []
                for name in names:
                    with seeded(name, "init"):
                        before.append(network.build(task).eval().requires_grad_(False))
            else:
                before = copy.deepcopy(before)  # files of weights hold no tensor twice
            stages.append(before)
        return [[stage[i] for stage in stages] for i in range(len(seeds))]

    def train(
        self, data: Dataset, task: Task, *, seeds: Sequence[int], progress: Progress | None = None
    ) -> list[SISAModel]:
        if not (isinstance(task, LogitTask) or hasattr(task, "vocabulary")):
            raise TaskMismatch(f"a {type(task).__name__} has no finite set of answers", expected="probabilities that "
                               "shards can be averaged by", do="choose another method for this task")  # fmt: skip
        task.check(data)
        places = self.places(data)
        held: list[Dataset | None] = []
        for shard in range(self.shards):
            at = torch.nonzero(places[:, 0] == shard).flatten()
            held.append(data.take(at) if len(at) else None)
        networks: list[list[list[nn.Module]]] = []  # (shards, members, slices)
        for shard, members in enumerate(held):
            told = _share(progress, shard, self.shards)
            networks.append(self.stages(task, members, shard, seeds, progress=told))
        parts = {_part(shard): members.ids for shard, members in enumerate(held) if members is not None}
        exposure = Exposure.trained(parts, data.ids, task)
        models = []
        for i, seed in enumerate(seeds):
            memory = Memory(2)
            memory.add(data.ids, places.float())
            models.append(SISAModel(self, task, exposure, memory, [each[i] for each in networks], seed).eval())
        return models

    def restore(self, task: Task, weights: dict[str, Tensor], memory: Memory | None, exposure: Exposure) -> SISAModel:
        if memory is None:
            raise CorruptRun("a SISA model without its memory", expected="who sits in which shard",
                             do="restore the run folder from a backup")  # fmt: skip
        network = Network(network=self.network)
        with seeded(0, "restore"):
            stages = [[network.build(task) for _ in range(self.slices)] for _ in range(self.shards)]
        model = SISAModel(self, task, exposure, memory, stages, 0)
        model.load_state_dict(weights)
        return model.eval().requires_grad_(False)
