"""SPM: a deep semi-parametric classifier whose class evidence is stored samples, so that samples can leave.

    e = encoder(x),   mu_c = mean of the stored e_i with y_i = c
    p(c | x) = softmax over classes of (W_q e) . (W_k mu_c) / sqrt(d)

A class without samples has probability exactly 0. Since the values are one-hot labels, the attention folds into a
linear head, w_c = W_k^T-transformed class means: inference costs what an ordinary head costs (`SPMModel.fold`).

Variants: SPM-C attends to class means, SPM-R to each query's own nearest stored samples. `similarity="covariance"`
replaces the learned W_q, W_k by the inverse within-class covariance of the stored samples (the linear discriminant),
which is a sum over samples too and so forgets as exactly as the means do.

Training: `episodes` encodes a support set in every step, as published (5 encoder passes); `bank` keeps the last
embedding of every sample and uses class means that leave the query itself out (1 pass).

What deletion does not do: an encoder that was trained on a sample keeps what it learned from it. The receipt then says
`revoked`. With encoder="public" the encoder has seen only samples that nobody can ask to erase, and it says `exact`.

Reference: Zheng, Tai, Yeh (2026), "Designing to Forget: Deep Semi-parametric Models for Unlearning", arXiv:2603.22870.
Differs: retrieval is per query, never pooled over a batch; class sums are kept, so deleting does not encode again; the
`bank` recipe, `similarity="covariance"` and the public encoder are ours.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from erasable._plumbing.architecture import build_encoder
from erasable._plumbing.seeds import generator, seeded
from erasable._plumbing.sums import ClassSums
from erasable.dataset import Dataset
from erasable.errors import DataError, SettingsError
from erasable.memory import Memory
from erasable.population import train_members
from erasable.receipt import Exposure
from erasable.task import Batch, Forward
from erasable.tasks.classification import Classification
from erasable.train import Progress, Recipe, member_batch

EMBED = 1024  # samples encoded at a time outside training


class SPMNetwork(nn.Module):
    """The parts that are trained: the encoder and the two maps of the bilinear similarity (no bias)."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.width = int(encoder.width)  # type: ignore[call-overload]
        self.query = nn.Linear(self.width, self.width, bias=False)
        self.key = nn.Linear(self.width, self.width, bias=False)
        for side in (self.query, self.key):  # start as a scaled inner product: random maps score all classes alike
            with torch.no_grad():
                nn.init.eye_(side.weight).mul_(3.0)

    def forward(self, x: Tensor) -> Tensor:
        return self.encoder(x)  # type: ignore[no-any-return]

    def attend(self, e: Tensor, stored: Tensor) -> Tensor:
        """Scores of queries (q, d) against stored vectors (s, d), or against each query's own (q, s, d): (q, s)."""
        q, k = self.query(e), self.key(stored)
        scores = q @ k.T if stored.ndim == 2 else torch.einsum("qd,qsd->qs", q, k)
        return scores / math.sqrt(self.width)


class _Bank(nn.Module):
    """The bank recipe's forward."""

    def __init__(self, network: SPMNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, means: Tensor, own: Tensor, onehot: Tensor) -> tuple[Tensor, Tensor]:
        """Scores (batch, classes) where each query's own class mean leaves the query out, and embeddings."""
        e = self.network(x)
        scores = self.network.attend(e, means)
        mine = self.network.attend(e, own[:, None])  # (batch, 1)
        return torch.where(onehot, mine, scores), e


class _Episode(nn.Module):
    """The episodic recipe's forward."""

    def __init__(self, network: SPMNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, support: Tensor, member: Tensor) -> Tensor:
        return self.network.attend(self.network(x), member @ self.network(support))


@dataclass(frozen=True)
class _BankObjective:
    """One encoder pass per step; class means come from a bank of every sample's last embedding."""

    method: "SPM"
    task: Classification

    def build(self) -> nn.Module:
        return _Bank(self.method.network_for(self.task))

    @property
    def draws(self) -> int:
        return self.task.draws

    def start(self, data: Dataset, networks: Sequence[nn.Module], seeds: Sequence[int]) -> SimpleNamespace:
        bank = torch.stack([embed(network.network, self.task, data) for network in networks])  # type: ignore[arg-type]
        labels = data.read(self.task.label).long()
        onehot = F.one_hot(labels, self.task.classes).to(bank)
        counts = onehot.sum(0).expand(len(networks), -1).clone()
        return SimpleNamespace(bank=bank, share=torch.ones(bank.shape[:2]), labels=labels, counts=counts,
                               sums=onehot.T @ bank, permute=[generator(seed, "labels") for seed in seeds])  # fmt: skip

    def batch(self, data: Dataset, rows: Tensor, uniform: Tensor, state: SimpleNamespace) -> Batch:
        read = member_batch(self.task, data, rows, uniform)
        members, labels = torch.arange(len(rows))[:, None], read["labels"]
        own, share = state.sums[members, labels], state.counts[members, labels]
        if self.method.self_exclusion:
            mine = state.share[members, rows]
            own, share = own - mine[..., None] * state.bank[members, rows], share - mine
        own = own / share.clamp_min(1e-6)[..., None]
        means = state.sums / state.counts.clamp_min(1e-6)[..., None]
        onehot = F.one_hot(labels, self.task.classes).bool()
        if self.method.permute_labels:
            order = torch.stack([torch.randperm(self.task.classes, generator=g) for g in state.permute])
            means = means[members, order]
            onehot = onehot[members[..., None], torch.arange(rows.shape[1])[:, None], order[:, None]]
        present = state.counts > 0
        return {"inputs": read["inputs"], "means": means, "own": own, "onehot": onehot, "present": present}

    def loss(self, forward: Forward, batch: Batch) -> tuple[Tensor, Batch]:
        scores, e = forward(batch["inputs"], batch["means"], batch["own"], batch["onehot"])
        scores = scores.masked_fill(~(batch["present"] | batch["onehot"]), -1e9)
        return (torch.logsumexp(scores, 1) - (scores * batch["onehot"]).sum(1)).mean(), {"e": e.detach()}

    def after(self, rows: Tensor, batch: Batch, seen: Batch, state: SimpleNamespace, factor: float) -> None:
        members = torch.arange(len(rows))[:, None]
        labels, e, at = state.labels[rows], seen["e"], (members.expand_as(rows), state.labels[rows])
        old = state.share[members, rows]
        state.sums.index_put_(at, -old[..., None] * state.bank[members, rows], accumulate=True)
        state.counts.index_put_(at, -old, accumulate=True)
        for held in (state.sums, state.counts, state.share):
            held.mul_(self.method.decay)
        state.sums.index_put_(at, e, accumulate=True)
        state.counts.index_put_(at, torch.ones_like(old), accumulate=True)
        state.bank[members, rows], state.share[members, rows] = e, 1.0

    def member(self, state: SimpleNamespace, i: int) -> None:
        return None


@dataclass(frozen=True)
class _EpisodeObjective:
    """The published recipe: a support set is drawn, encoded and back-propagated through in every step."""

    method: "SPM"
    task: Classification

    def build(self) -> nn.Module:
        return _Episode(self.method.network_for(self.task))

    @property
    def draws(self) -> int:
        return self.task.draws

    def start(self, data: Dataset, networks: Sequence[nn.Module], seeds: Sequence[int]) -> SimpleNamespace:
        labels = data.read(self.task.label).long()
        return SimpleNamespace(labels=labels, counts=torch.bincount(labels, minlength=self.task.classes),
                               draw=[generator(seed, "support") for seed in seeds])  # fmt: skip

    def batch(self, data: Dataset, rows: Tensor, uniform: Tensor, state: SimpleNamespace) -> Batch:
        read = member_batch(self.task, data, rows, uniform)
        support = torch.stack([self._support(row, state, g) for row, g in zip(rows, state.draw, strict=True)])
        noise = torch.stack([torch.rand(support.shape[1], self.draws, generator=g) for g in state.draw])
        stored = member_batch(self.task, data, support, noise)
        member = F.one_hot(stored["labels"], self.task.classes).to(stored["inputs"]).transpose(1, 2)
        if self.method.permute_labels:
            order = torch.stack([torch.randperm(self.task.classes, generator=g) for g in state.draw])
            member = member.gather(1, order[..., None].expand_as(member))
            read["labels"] = order.argsort(1).gather(1, read["labels"])
        filled = member.sum(2, keepdim=True)
        return {"inputs": read["inputs"], "labels": read["labels"], "support": stored["inputs"],
                "member": member / filled.clamp_min(1), "absent": filled.squeeze(2) == 0}  # fmt: skip

    def _support(self, batch: Tensor, state: SimpleNamespace, draw: torch.Generator) -> Tensor:
        """Positions of a support set: equal quotas for the labels of the batch, none of the batch itself."""
        key = state.labels + torch.rand(len(state.labels), generator=draw, dtype=torch.float64) * 0.5
        key[batch] = (
            state.labels[batch].double() + 0.75
        )  # last within their class: out of reach unless a class has no others
        ordered = key.argsort()
        asked = torch.bincount(state.labels[batch], minlength=len(state.counts))
        present = torch.nonzero(asked).flatten()
        quota = torch.zeros_like(state.counts)
        quota[present] = self.method.support // len(present)
        quota[present[: self.method.support % len(present)]] += 1
        label = torch.repeat_interleave(torch.arange(len(quota)), quota)  # (support,)
        place = torch.arange(len(label)) - (quota.cumsum(0) - quota)[label]
        available = (state.counts - asked).clamp_min(1)[label]
        return ordered[(state.counts.cumsum(0) - state.counts)[label] + place % available]

    def loss(self, forward: Forward, batch: Batch) -> tuple[Tensor, Batch]:
        scores = forward(batch["inputs"], batch["support"], batch["member"]).masked_fill(batch["absent"], -1e9)
        return F.cross_entropy(scores, batch["labels"]), {}

    def after(self, rows: Tensor, batch: Batch, seen: Batch, state: SimpleNamespace, factor: float) -> None:
        return None

    def member(self, state: SimpleNamespace, i: int) -> None:
        return None


@torch.no_grad()
def embed(encoder: nn.Module, task: Classification, data: Dataset) -> Tensor:
    """(samples, width) embeddings of un-augmented inputs."""
    if not len(data):
        return torch.empty(0, int(encoder.width))  # type: ignore[call-overload]
    was = encoder.training
    encoder.eval()
    parts = [encoder(task.batch(data, at)["inputs"]) for at in torch.arange(len(data)).split(EMBED)]
    encoder.train(was)
    return torch.cat(parts)


class SPMModel(nn.Module):
    """A trained SPM. The memory holds one embedding per sample; sums and folded head are derived from it.

    Calling it gives log-probabilities up to a constant, (batch, classes), with minus infinity for a class without
    samples.
    """

    head: Tensor
    absent: Tensor

    def __init__(self, method: "SPM", task: Classification, exposure: Exposure, network: SPMNetwork, memory: Memory):
        super().__init__()
        self.method, self.task, self.exposure, self.memory = method, task, exposure, memory
        self.network = network
        self.sums = ClassSums(task.classes, network.width, second=method.similarity == "covariance")
        self.sums.add(memory.keys, memory.labels)
        self.register_buffer("head", torch.empty(task.classes, network.width), persistent=False)
        self.register_buffer("absent", torch.empty(task.classes), persistent=False)
        self.fold()

    @torch.no_grad()
    def fold(self) -> None:
        """Write the attention over class means as a linear head, w_c and b_c."""
        means = self.sums.means()
        bias = torch.zeros(len(means))
        if self.method.similarity == "covariance":
            within = self.sums.within()
            within.diagonal().add_(self.method.shrinkage * within.diagonal().mean().clamp_min(1e-12))
            solved = torch.linalg.solve(within, means.double().T).T  # (classes, d)
            bias = (-0.5 * (solved * means).sum(1)).float()
            head = solved.float()
        else:
            head = means @ self.network.key.weight.T @ self.network.query.weight / math.sqrt(self.network.width)
        gone = self.sums.counts == 0
        self.head.copy_(head.masked_fill(gone[:, None], 0.0))
        self.absent.copy_(bias.masked_fill(gone, -torch.inf))

    def forward(self, x: Tensor) -> Tensor:
        return self.predict(x)

    def predict(self, x: Tensor, *, exclude: Tensor | None = None) -> Tensor:
        """Like calling; SPM-R leaves memory rows `exclude` (batch,) out of each query's neighbours (-1: none)."""
        e = self.network(x)
        if self.method.retrieval == "class":
            return F.linear(e, self.head, self.absent)
        k = min(self.method.neighbours, len(self.memory))
        _, rows = self.memory.nearest(e, k, exclude=exclude, metric="l2")
        attention = self.network.attend(e, self.memory.keys[rows]).softmax(1)  # (batch, k)
        chance = torch.zeros(len(e), self.task.classes).scatter_add_(1, self.memory.labels[rows], attention)
        return chance.log()

    def forget(self, ids: Iterable[str], *, data: Dataset | None = None) -> None:
        """Erase samples: O(d) each, whatever remains. Raises UnknownSample, AlreadyForgotten; then nothing changed."""
        ids = list(ids)
        rows = self.memory.rows(ids)
        keys, labels = self.memory.keys[rows], self.memory.labels[rows]
        self.memory.remove(ids)
        self.sums.remove(keys, labels)
        keys.zero_()
        self.fold()

    def add(self, data: Dataset) -> None:
        """Store new samples, of old classes or of classes that had none, without training."""
        self.task.check(data)
        keys, labels = embed(self.network, self.task, data), data.read(self.task.label).long()
        self.memory.add(data.ids, keys, labels=labels)
        self.sums.add(keys, labels)
        self.fold()

    def as_network(self) -> nn.Module:
        """The encoder with its folded head as an ordinary trainable network: what an attacker with the weights has.

        A class without samples gets a zero row and zero bias, ready to be learned again.
        """
        head = nn.Linear(self.network.width, self.task.classes)
        with torch.no_grad():
            head.weight.copy_(self.head)
            head.bias.copy_(self.absent.nan_to_num(neginf=0.0))
        with seeded(0, "copy"):
            encoder = build_encoder(self.method.network, self.task.shape)
        encoder.load_state_dict(self.network.encoder.state_dict())
        return nn.Sequential(encoder, head)


@dataclass(frozen=True, kw_only=True)
class SPM:
    """Settings of a semi-parametric classifier.

    network         the encoder (see `_plumbing/architecture.py`)
    encoder         "own": trained on everybody. "public": trained on the samples declared public, then frozen; the
                    memory holds the others. "frozen": used as it was built (a pretrained one); needs "covariance"
    retrieval       "class" (SPM-C) or "nearest" (SPM-R, with `neighbours` per query)
    training        "bank" (1 encoder pass per step) or "episodes" (as published, with `support` samples per step)
    similarity      "learned" or "covariance" (with `shrinkage` of the diagonal)
    decay           per step, how much less a stored embedding counts in the bank's class means: old ones are stale
    self_exclusion  a query is left out of its own class mean while training
    permute_labels  relabel the classes at random in every step (changes nothing in this classifier; a test shows it)
    """

    network: str = "convnet"
    encoder: Literal["own", "public", "frozen"] = "own"
    retrieval: Literal["class", "nearest"] = "class"
    neighbours: int = 32
    training: Literal["bank", "episodes"] = "bank"
    support: int = 1024
    similarity: Literal["learned", "covariance"] = "learned"
    shrinkage: float = 0.1
    decay: float = 0.9
    self_exclusion: bool = True
    permute_labels: bool = False
    recipe: Recipe = field(default_factory=Recipe)
    needs_data: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.encoder == "frozen" and self.similarity == "learned":
            raise SettingsError("encoder='frozen' with similarity='learned'", expected="similarity='covariance'",
                                do="set it: nothing is trained, so nothing can be learned")  # fmt: skip
        if self.retrieval == "nearest" and self.similarity == "covariance":
            raise SettingsError("retrieval='nearest' with similarity='covariance'", expected="similarity='learned'",
                                do="choose one of the two")  # fmt: skip

    def network_for(self, task: Classification) -> SPMNetwork:
        return SPMNetwork(build_encoder(self.network, task.shape))

    def train(
        self, data: Dataset, task: Classification, *, seeds: Sequence[int], progress: Progress | None = None
    ) -> list[SPMModel]:
        task.check(data)
        fitted, stored = (data.public, data.private) if self.encoder == "public" else (data, data)
        if self.encoder == "public" and not (len(fitted) and len(stored)):
            raise DataError(f"'{data.name}' has {len(fitted)} public and {len(stored)} other samples",
                            expected="some of both for encoder='public'",
                            do="declare a part that nobody can ask to erase, or use encoder='own'")  # fmt: skip
        networks: list[SPMNetwork] = []
        if self.encoder == "frozen":
            for seed in seeds:
                with seeded(seed, "init"):
                    networks.append(self.network_for(task).eval().requires_grad_(False))
        else:
            kind: Any = _BankObjective if self.training == "bank" else _EpisodeObjective
            trained = train_members(kind(self, task), fitted, self.recipe, seeds=seeds, progress=progress)
            networks = [wrapper.network for wrapper, _ in trained]  # type: ignore[misc]
        parts = {} if self.encoder == "frozen" else {"encoder": frozenset(fitted.ids)}
        if task.fitted:
            parts["input scaling"] = frozenset(data.ids)
        models = []
        for network in networks:
            memory = Memory(network.width)
            memory.add(stored.ids, embed(network, task, stored), labels=stored.read(task.label).long())
            models.append(SPMModel(self, task, Exposure(parts), network, memory).eval())
        return models

    def restore(
        self, task: Classification, weights: dict[str, Tensor], memory: Memory | None, exposure: Exposure
    ) -> SPMModel:
        network = self.network_for(task)
        network.load_state_dict({name.removeprefix("network."): tensor for name, tensor in weights.items()})
        if memory is None:
            raise DataError("an SPM without its memory", expected="memory.sqlite", do="restore the run folder")
        return SPMModel(self, task, exposure, network.eval().requires_grad_(False), memory).eval()
