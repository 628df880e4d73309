"""SPM: a deep semi-parametric classifier whose class evidence is stored samples, so that samples can leave.

    e = encoder(x),   mu_c = mean of the stored e_i with y_i = c
    p(c | x) = softmax over classes of (W_q e) . (W_k mu_c) / sqrt(d)

A class without samples has probability exactly 0. Since the values are one-hot labels, the attention folds into a
linear head, w_c = W_q^T W_k mu_c / sqrt(d): inference costs what an ordinary head costs (`SPMModel.fold`).

Variants: SPM-C attends to class means, SPM-R to each query's own nearest stored samples. `similarity="covariance"`
replaces the learned W_q, W_k by the inverse within-class covariance of the stored samples (the linear discriminant
with equal priors), which is a sum over samples too and so forgets as exactly as the means do.

Training: `episodes` encodes a support set in every step, as published (5 encoder passes); `bank` keeps the last
embedding of every sample and uses class means that leave the query itself out (1 pass).

What deletion does not do: an encoder that was trained on a sample keeps what it learned from it. The receipt then says
`revoked`. With encoder="public" the encoder has seen only samples that nobody can ask to erase, and it says `exact`.

Reference: Zheng, Tai, Yeh (2026), "Designing to Forget: Deep Semi-parametric Models for Unlearning", arXiv:2603.22870.
Differs: retrieval is per query, never pooled over a batch; class sums are kept, so deleting does not encode again; the
`bank` recipe, `similarity="covariance"` and the public encoder are ours.
"""

import copy
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from erasable._plumbing.architecture import build_encoder
from erasable._plumbing.seeds import generator, seeded
from erasable._plumbing.slots import by_slots
from erasable._plumbing.sums import ClassSums
from erasable.dataset import Dataset
from erasable.errors import CorruptRun, DataError, SettingsError, TaskMismatch
from erasable.memory import Memory
from erasable.network import Network
from erasable.population import train_members
from erasable.receipt import Exposure
from erasable.task import Batch, Forward
from erasable.tasks.classification import Classification
from erasable.train import Progress, Recipe, member_batch

FLOOR = 1e-6  # a class that is seen rarely stops fading here, long before its mean would be lost to rounding


class SPMNetwork(nn.Module):
    """The parts that are trained: the encoder and, if learned, the two maps of the bilinear similarity (no bias)."""

    def __init__(self, encoder: nn.Module, *, learned: bool = True) -> None:
        super().__init__()
        self.encoder = encoder
        self.width = int(encoder.width)  # type: ignore[arg-type]
        if not learned:
            return
        self.query, self.key = (nn.Linear(self.width, self.width, bias=False) for _ in range(2))
        for side in (self.query, self.key):  # start as a scaled inner product: random maps score all classes alike
            nn.init.eye_(side.weight).data.mul_(3.0)

    def forward(self, x: Tensor, *given: Tensor, scores: Callable[..., Any] | None = None) -> Any:
        """Embeddings (batch, d) of inputs; in training what a recipe's `scores` makes of them and of what is given."""
        return self.encoder(x) if scores is None else scores(self, x, *given)

    def attend(self, e: Tensor, stored: Tensor) -> Tensor:
        """Scores of queries (q, d) against stored vectors (s, d), or against each query's own (q, s, d): (q, s)."""
        q, k = self.query(e), self.key(stored)
        scores = q @ k.T if stored.ndim == 2 else torch.einsum("qd,qsd->qs", q, k)
        return scores / math.sqrt(self.width)


@dataclass(frozen=True)
class _Objective:
    """What the recipes share."""

    method: "SPM"
    task: Classification
    scores: ClassVar[Callable[..., Any]]  # (network, inputs and what else the recipe needs) -> scores (batch, classes)

    def build(self) -> nn.Module:
        return self.method.network_for(self.task)

    @property
    def draws(self) -> int:
        return self.task.draws

    def relabel(self, labels: Tensor, draw: Sequence[torch.Generator]) -> tuple[Tensor, Tensor]:
        """Labels (members, batch) under each member's renaming of the classes, and the class behind each new name."""
        names = [torch.randperm(self.task.classes, generator=g) if self.method.permute_labels
                 else torch.arange(self.task.classes) for g in draw]  # fmt: skip
        order = torch.stack(names).to(labels.device)
        return order.argsort(1).gather(1, labels), order

    def member(self, state: SimpleNamespace, i: int) -> None:
        return None


@dataclass(frozen=True)
class _BankObjective(_Objective):
    """One encoder pass per step; class means come from a bank of every sample's last embedding.

    bank (members, n, d), share (members, n): each one's weight; sums (members, classes, d), counts (members, classes)
    of the weighted embeddings. In float64: what leaving a query out leaves may be a millionth of its class.
    """

    @staticmethod
    def scores(network: SPMNetwork, x: Tensor, means: Tensor, own: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Scores (batch, classes) where each query's own class mean leaves the query out, and embeddings."""
        e = network(x)
        return network.attend(e, means).scatter(1, labels[:, None], network.attend(e, own[:, None])), e

    def start(
        self, data: Dataset, networks: Sequence[nn.Module], seeds: Sequence[int], subsets: Tensor | None = None
    ) -> SimpleNamespace:
        embedded = [embed(network, self.task, data if subsets is None else data.take(subsets[i]))
                    for i, network in enumerate(networks)]  # fmt: skip
        device = embedded[0].device
        labels = data.read(self.task.label).long().to(device)
        onehot = F.one_hot(labels, self.task.classes).double()
        if subsets is None:
            bank, counts = torch.stack(embedded), onehot.sum(0).repeat(len(networks), 1)
            share = torch.ones_like(bank[..., 0], dtype=torch.float64)
            sums = torch.stack([onehot.T @ each.double() for each in bank])
        else:  # samples that are not a member's own stay zero, with a share of zero
            at = subsets.to(device)
            rows = at[..., None].expand(-1, -1, embedded[0].shape[1])
            bank = embedded[0].new_zeros(len(at), len(data), rows.shape[2]).scatter_(1, rows, torch.stack(embedded))
            share = torch.zeros_like(bank[..., 0], dtype=torch.float64).scatter_(1, at, 1.0)
            counts = torch.stack([onehot[own].sum(0) for own in at])
            sums = torch.stack([onehot[own].T @ e.double() for own, e in zip(at, embedded, strict=True)])
        return SimpleNamespace(bank=bank, share=share, labels=labels, sums=sums, counts=counts, absent=counts == 0,
                               draw=[generator(seed, "labels") for seed in seeds])  # fmt: skip

    def batch(self, data: Dataset, rows: Tensor, uniform: Tensor, state: SimpleNamespace) -> Batch:
        read = member_batch(self.task, data, rows, uniform)
        members, labels = torch.arange(len(rows))[:, None], read["labels"]
        weight, mine = state.counts[members, labels], self.method.self_exclusion * state.share[members, rows]
        own = state.sums[members, labels] - mine[..., None] * state.bank[members, rows]
        own = own / torch.maximum(weight - mine, 1e-12 * weight)[..., None]  # alone in its class: a mean of zero
        means = state.sums / state.counts.masked_fill(state.absent, 1.0)[..., None]
        labels, order = self.relabel(labels, state.draw)
        return {"inputs": read["inputs"], "labels": labels, "means": means[members, order].float(), "own": own.float(),
                "absent": state.absent[members, order]}  # fmt: skip

    def loss(self, forward: Forward, batch: Batch) -> tuple[Tensor, Batch]:
        given = (batch[name] for name in ("inputs", "means", "own", "labels"))
        scores, e = forward(*given, scores=self.scores)
        return F.cross_entropy(scores.masked_fill(batch["absent"], -torch.inf), batch["labels"]), {"e": e.detach()}

    def after(self, rows: Tensor, batch: Batch, seen: Batch, state: SimpleNamespace, factor: float) -> None:
        members, e = torch.arange(len(rows))[:, None].expand_as(rows), seen["e"]
        at, old = (members, state.labels[rows]), state.share[members, rows]
        state.sums.index_put_(at, -old[..., None] * state.bank[members, rows], accumulate=True)
        state.counts.index_put_(at, -old, accumulate=True)
        fade = torch.where(state.counts > FLOOR, self.method.decay, 1.0)
        state.sums.mul_(fade[..., None])
        state.counts.mul_(fade)
        state.share.mul_(fade[:, state.labels])
        state.sums.index_put_(at, e.double(), accumulate=True)
        state.counts.index_put_(at, torch.ones_like(old), accumulate=True)
        state.bank[members, rows], state.share[members, rows] = e, 1.0


@dataclass(frozen=True)
class _EpisodeObjective(_Objective):
    """The published recipe: a support set is drawn, encoded and back-propagated through in every step."""

    @staticmethod
    def scores(network: SPMNetwork, x: Tensor, support: Tensor, member: Tensor) -> Tensor:
        return network.attend(network(x), member @ network(support))

    def start(
        self, data: Dataset, networks: Sequence[nn.Module], seeds: Sequence[int], subsets: Tensor | None = None
    ) -> SimpleNamespace:
        labels = data.read(self.task.label).long().cpu()
        counts = torch.bincount(labels, minlength=self.task.classes)
        if (support := self.method.support) < (classes := int((counts > 0).sum())):
            raise SettingsError(f"support={support} for {classes} classes", expected="one of each", do="raise support")
        own = None if subsets is None else [self._own(at, labels) for at in subsets.cpu()]
        return SimpleNamespace(labels=labels, counts=counts, own=own,
                               draw=[generator(seed, "support") for seed in seeds])  # fmt: skip

    def _own(self, at: Tensor, labels: Tensor) -> SimpleNamespace:
        """What one member knows: the samples at positions `at`, renumbered, as if there were no others."""
        place = torch.full_like(labels, -1).scatter_(0, at, torch.arange(len(at)))
        return SimpleNamespace(at=at, place=place, labels=labels[at],
                               counts=torch.bincount(labels[at], minlength=self.task.classes))  # fmt: skip

    def batch(self, data: Dataset, rows: Tensor, uniform: Tensor, state: SimpleNamespace) -> Batch:
        read = member_batch(self.task, data, rows, uniform)
        if state.own is None:
            chosen = [self._support(row, state, g) for row, g in zip(rows, state.draw, strict=True)]
        else:
            chosen = [own.at[self._support(own.place[row], own, g)]
                      for row, own, g in zip(rows, state.own, state.draw, strict=True)]  # fmt: skip
        support = torch.stack(chosen)
        noise = torch.stack([torch.rand(support.shape[1], self.draws, generator=g) for g in state.draw])
        stored = member_batch(self.task, data, support, noise)
        labels, order = self.relabel(read["labels"], state.draw)
        stored_labels = order.argsort(1).gather(1, stored["labels"])
        member = F.one_hot(stored_labels, self.task.classes).to(stored["inputs"]).transpose(1, 2)
        filled = member.sum(2, keepdim=True)
        return {"inputs": read["inputs"], "labels": labels, "support": stored["inputs"],
                "member": member / filled.clamp_min(1), "absent": filled.squeeze(2) == 0}  # fmt: skip

    def _support(self, batch: Tensor, state: SimpleNamespace, draw: torch.Generator) -> Tensor:
        """Positions of a support set: equal quotas for the labels of a batch, without the batch, or with repeats.

        A class that is in the batch as a whole has no others, and stands for itself.
        """
        labels: Tensor = state.labels
        counts: Tensor = state.counts
        key = labels + torch.rand(len(labels), generator=draw, dtype=torch.float64) * 0.5
        asked = torch.bincount(labels[batch], minlength=len(counts))
        available = counts
        if self.method.self_exclusion:
            key[batch] = labels[batch].double() + 0.75  # last within their class, and so out of reach
            available = (counts - asked).clamp_min(1)
        present = torch.nonzero(asked).flatten()
        quota = torch.zeros_like(counts)
        quota[present] = self.method.support // len(present)
        quota[present[: self.method.support % len(present)]] += 1
        label = torch.repeat_interleave(torch.arange(len(quota)), quota)  # (support,)
        place = torch.arange(len(label)) - (quota.cumsum(0) - quota)[label]
        return key.argsort()[(counts.cumsum(0) - counts)[label] + place % available[label]]

    def loss(self, forward: Forward, batch: Batch) -> tuple[Tensor, Batch]:
        scores = forward(batch["inputs"], batch["support"], batch["member"], scores=self.scores)
        return F.cross_entropy(scores.masked_fill(batch["absent"], -torch.inf), batch["labels"]), {}

    def after(self, rows: Tensor, batch: Batch, seen: Batch, state: SimpleNamespace, factor: float) -> None:
        return None


@torch.no_grad()
def embed(network: nn.Module, task: Classification, data: Dataset) -> Tensor:
    """(samples, width) embeddings of un-augmented inputs; a sample's bits do not depend on who else is in `data`."""
    was = network.training
    network.eval()
    embedded = by_slots(task, data, lambda batch: network(batch["inputs"]))  # type: ignore[no-any-return]
    network.train(was)
    return embedded


class SPMModel(nn.Module):
    """A trained SPM. The memory holds one embedding per sample; sums and folded head are derived from it.

    Calling it gives log-probabilities up to a constant, (batch, classes); minus infinity for a class without samples.
    """

    head: Tensor
    absent: Tensor

    def __init__(self, method: "SPM", task: Classification, exposure: Exposure, network: SPMNetwork, memory: Memory):
        super().__init__()
        self.method, self.task, self.exposure, self.memory = method, task, exposure, memory
        self.network, width = network, network.width
        self.sums = ClassSums(task.classes, width, second=method.similarity == "covariance")
        self.sums.add(memory.keys, memory.labels)
        for name, shape in (("head", (task.classes, width)), ("absent", (task.classes,))):
            self.register_buffer(name, memory.keys.new_empty(shape), persistent=False)
        self.fold()

    @torch.no_grad()
    def fold(self) -> None:
        """Write the attention over class means as a linear head, w_c and b_c."""
        means, bias = self.sums.means(), torch.zeros(self.task.classes)
        if self.method.similarity == "covariance":
            within = self.sums.within()
            within.diagonal().add_(self.method.shrinkage * within.diagonal().mean().clamp_min(1e-12))
            head = torch.linalg.solve(within, means.double().T).T  # (classes, d)
            bias = (-0.5 * (head * means).sum(1)).float()
        else:
            both = self.network.key.weight.T @ self.network.query.weight
            head = means.to(both.device) @ both / math.sqrt(self.network.width)
        gone = self.sums.counts == 0
        self.head.copy_(head.masked_fill(gone[:, None].to(head.device), 0.0))
        self.absent.copy_(bias.masked_fill(gone, -torch.inf))

    def forward(self, x: Tensor, *, exclude: Tensor | None = None) -> Tensor:
        """SPM-R leaves memory rows `exclude` (batch,) out of each query's neighbours (-1: none)."""
        e = self.network(x)
        if self.method.retrieval == "class":
            return F.linear(e, self.head, self.absent)
        k = min(self.method.neighbours, len(self.memory) - (exclude is not None))
        rows = self.memory.nearest(e, k, exclude=exclude, metric="l2")[1]
        stored, labels = self.memory.keys[rows].to(e.device), self.memory.labels[rows].to(e.device)
        attention = self.network.attend(e, stored).softmax(1)  # (batch, k)
        return torch.zeros(len(e), self.task.classes, device=e.device).scatter_add(1, labels, attention).log()

    predict = forward  # by the name that says so

    def forget(self, ids: Iterable[str], *, data: Dataset | None = None) -> None:
        """Erase samples, O(d) each. Raises UnknownSample, AlreadyForgotten, EmptyRequest; then nothing has changed."""
        keys, labels = self.memory.pop(ids)
        self.sums.remove(keys, labels)
        keys.zero_()
        self.fold()

    def add(self, data: Dataset) -> None:
        """Store new samples, of old classes or of classes that had none, without training.

        Raises what Task.check, ClassSums.check and Memory.add raise; then nothing has changed.
        """
        self.task.check(data)
        keys, labels = embed(self.network, self.task, data), data.read(self.task.label).long()
        self.sums.check(keys)
        self.memory.add(data.ids, keys, labels=labels)
        self.sums.add(keys, labels)
        self.fold()

    def as_network(self) -> nn.Module:
        """The encoder with its folded head as an ordinary trainable network: what an attacker with the weights has.

        A class without samples gets a zero row and zero bias, ready to be learned again.
        """
        head = nn.utils.skip_init(nn.Linear, self.network.width, self.task.classes, device=self.head.device)  # type: ignore[no-untyped-call]
        with torch.no_grad():
            head.weight.copy_(self.head)
            head.bias.copy_(self.absent.nan_to_num(neginf=0.0))
        return nn.Sequential(copy.deepcopy(self.network.encoder).requires_grad_(), head)


@dataclass(frozen=True, kw_only=True)
class SPM:
    """Settings of a semi-parametric classifier.

    network         the encoder (see `_plumbing/architecture.py`)
    encoder         "own": trained on everybody. "public": trained on the samples declared public, then frozen; the
                    memory holds the others. "frozen": used as it was built (a pretrained one); needs "covariance"
    retrieval       "class" (SPM-C) or "nearest" (SPM-R, with `neighbours` per query)
    training        "bank" (1 encoder pass per step) or "episodes" (as published, with `support` samples per step)
    similarity      "learned", or "covariance" (with `shrinkage` of the diagonal): the encoder is then trained with an
                    ordinary head, which is thrown away, and not by `training`
    decay           per step, how much less a stored embedding counts in the bank's class means: old ones are stale
    self_exclusion  while training, a query is left out of its own class mean, a batch out of its support set
    permute_labels  relabel the classes at random in every step (changes nothing in this classifier; a test shows it)
    sequential      see `population.train_members`
    """

    network: str = "convnet"
    encoder: Literal["own", "public", "frozen"] = "own"
    retrieval: Literal["class", "nearest"] = "class"
    neighbours: int = 32
    training: Literal["bank", "episodes"] = "bank"
    support: int = 1024
    similarity: Literal["learned", "covariance"] = "learned"
    shrinkage: float = 0.01
    decay: float = 0.9
    self_exclusion: bool = True
    permute_labels: bool = False
    sequential: bool = False
    recipe: Recipe = field(default_factory=Recipe)
    needs_data: ClassVar[bool] = False

    def __post_init__(self) -> None:
        for name, known in (("encoder", ("own", "public", "frozen")), ("retrieval", ("class", "nearest")),
                            ("training", ("bank", "episodes")), ("similarity", ("learned", "covariance"))):  # fmt: skip
            if getattr(self, name) not in known:
                raise SettingsError(f"{name}={getattr(self, name)!r}", expected=f"one of {known}", do="choose one")
        numbers = (self.neighbours, self.support, self.shrinkage, self.decay)
        if min(numbers[:2]) < 1 or self.shrinkage < 0 or not 0 < self.decay <= 1:
            raise SettingsError(f"neighbours, support, shrinkage, decay = {numbers}",
                                expected="at least 1, 1 and 0, and a decay in (0, 1]", do="correct them")  # fmt: skip
        if self.encoder == "frozen" and self.similarity == "learned":
            raise SettingsError("encoder='frozen' with similarity='learned'", expected="similarity='covariance'",
                                do="set it: nothing is trained, so nothing can be learned")  # fmt: skip
        if self.retrieval == "nearest" and self.similarity == "covariance":
            raise SettingsError("retrieval='nearest' with similarity='covariance'", expected="similarity='learned'",
                                do="choose one of the two")  # fmt: skip

    def network_for(self, task: Classification) -> SPMNetwork:
        return SPMNetwork(build_encoder(self.network, task.shape), learned=self.similarity == "learned")

    def train(
        self, data: Dataset, task: Classification, *, seeds: Sequence[int], progress: Progress | None = None
    ) -> list[SPMModel]:
        return self.train_subsets(data, task, seeds=seeds, subsets=None, progress=progress)

    def train_subsets(
        self, data: Dataset, task: Classification, *, seeds: Sequence[int], subsets: Tensor | None,
        progress: Progress | None = None,
    ) -> list[SPMModel]:  # fmt: skip
        """Member i on the samples at positions `subsets[i]` (members, m) alone; all on all of them when None.

        With encoder="public" members that have equally many public samples are trained together.
        """
        if not isinstance(task, Classification):
            raise TaskMismatch(f"SPM came with a {type(task).__name__}", expected="a Classification", do="give one")
        task.check(data)
        if subsets is None:
            parts = [data] * len(seeds)
            networks = self._networks(self._fitted(data), task, seeds, None, progress)
        else:
            parts = [data.take(at) for at in subsets]
            networks = self._networks_of_subsets(parts, data, task, seeds, subsets, progress)
        models, exposures = [], dict[int, Exposure]()
        for network, own in zip(networks, parts, strict=True):
            stored = own.private if self.encoder == "public" else own
            if id(own) not in exposures:  # members on all of the data share theirs
                fitted = {} if self.encoder == "frozen" else {"encoder": self._fitted(own).ids}
                exposures[id(own)] = Exposure.trained(fitted, own.ids, task)
            keys = embed(network, task, stored)
            memory = Memory(network.width, device=keys.device)
            memory.add(stored.ids, keys, labels=stored.read(task.label).long())
            models.append(SPMModel(self, task, exposures[id(own)], network, memory).eval())
        return models

    def _fitted(self, data: Dataset) -> Dataset:
        """The samples that the encoder is trained on. Raises DataError for a public encoder without both kinds."""
        if self.encoder != "public":
            return data
        public, others = len(data.public), len(data.private)
        if not (public and others):
            told = f"'{data.name}' has {public} public and {others} other samples"
            raise DataError(told, expected="some of both for encoder='public'",
                            do="declare a part that nobody can ask to erase, or use encoder='own'")  # fmt: skip
        return data.public

    def _networks(
        self, fitted: Dataset, task: Classification, seeds: Sequence[int], subsets: Tensor | None,
        progress: Progress | None,
    ) -> list[SPMNetwork]:  # fmt: skip
        if self.encoder == "frozen":
            return [self._untrained(task, seed) for seed in seeds]
        if self.similarity == "covariance":  # with an ordinary head, which is then thrown away
            plain = Network(network=self.network, recipe=self.recipe, sequential=self.sequential)
            trained = plain.train_subsets(fitted, task, seeds=seeds, subsets=subsets, progress=progress)
            return [SPMNetwork(each.network.get_submodule("encoder"), learned=False).eval() for each in trained]
        kind = _BankObjective if self.training == "bank" else _EpisodeObjective
        members = train_members(kind(self, task), fitted, self.recipe, seeds=seeds, subsets=subsets,
                                sequential=self.sequential, progress=progress)  # fmt: skip
        return [network for network, _ in members]  # type: ignore[misc]

    def _networks_of_subsets(
        self, parts: Sequence[Dataset], data: Dataset, task: Classification, seeds: Sequence[int], subsets: Tensor,
        progress: Progress | None,
    ) -> list[SPMNetwork]:  # fmt: skip
        """One per member, in their order; those with equally many samples to fit are trained together."""
        own = [torch.from_numpy(data.positions(self._fitted(part).ids)) for part in parts]
        sizes = sorted({len(each) for each in own})
        networks: dict[int, SPMNetwork] = {}
        for k, size in enumerate(sizes):

            def group_progress(done: int, steps: int, k: int = k) -> None:
                if progress is not None:
                    progress(k * steps + done, len(sizes) * steps)

            group = [i for i, each in enumerate(own) if len(each) == size]
            at = torch.stack([own[i] for i in group])
            trained = self._networks(data, task, [seeds[i] for i in group], at, group_progress)
            networks |= dict(zip(group, trained, strict=True))
        return [networks[i] for i in range(len(seeds))]

    def _untrained(self, task: Classification, seed: int) -> SPMNetwork:
        with seeded(seed, "init"):
            return self.network_for(task).eval().requires_grad_(False)

    def restore(
        self, task: Classification, weights: dict[str, Tensor], memory: Memory | None, exposure: Exposure
    ) -> SPMModel:
        if memory is None:
            raise CorruptRun("an SPM without its memory", expected="its rows", do="restore the run from a backup")
        network = self._untrained(task, 0)
        network.load_state_dict({name.removeprefix("network."): tensor for name, tensor in weights.items()})
        return SPMModel(self, task, exposure, network, memory).eval()
