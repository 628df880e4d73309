"""MUNKEY: a picture is read beside a token from memory, and forgetting deletes the token.

    memory    {(k_i, v_i)}     k_i = key(x_i), fixed, from a frozen encoder;  v_i learned, one per training sample
    predict   p(y | x) = 1/K  sum over the K rows j nearest to key(x)  softmax f(x, v_j)
    forget    drop the rows: no weight changes, no sample or label is needed, O(rows deleted)

In training a sample is seen in one of four modes, drawn at random: with its own value, with a neighbour's value (as a
stranger would be), with the learned null value (picture alone), or with its picture masked (memory alone). Values are
trained with the network, by an Adam that touches only the rows of the batch.

With `phases=1` the network is fitted on everybody: deletion is *revoked* access, and an audit measures what the network
remembers. With `phases=2` it is fitted on one shard, then frozen, and a value is a function of the network and its own
sample alone: deletion is *exact* outside the shard.

Laguna, da Silva Goncalves, Vandenhirtz, Ryser, Cannistraci, Vogt: Rethinking machine unlearning: models designed to
forget via key deletion (2026, arXiv:2603.15033). No code is public: the shares of the modes, the way values enter the
transformer, private values and the second phase are ours.
"""

import copy
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace as Rows
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from erasable._plumbing.architecture import build_encoder
from erasable._plumbing.keys import KINDS, build_keys, encode, neighbours, train_keys
from erasable._plumbing.row_adam import adam_step
from erasable._plumbing.seeds import child, generator, seeded
from erasable._plumbing.slots import by_slots
from erasable.dataset import Dataset
from erasable.errors import CorruptRun, InvalidData, NotErasable, SettingsError, TaskMismatch
from erasable.memory import Memory
from erasable.network import Network
from erasable.population import train_members
from erasable.receipt import Exposure
from erasable.task import Batch, Forward, LogitTask
from erasable.train import Progress, Recipe, member_batch

ITSELF = 1 - 1e-4  # cosine above which a query is taken for the stored sample itself
QUERIES = 512  # predicted at a time: bounded memory


@dataclass(frozen=True, kw_only=True)
class MUNKEY:
    """Settings of a network with a memory of one key and one value per sample.

    network       the backbone: "vit ...", or an encoder with `tokens`, `read` and `null` like it
    neighbours    K: rows that a query reads, and that a neighbour's value is drawn from
    own, neighbour, image_only, memory_only   shares of the four modes
    values        "private": no gradient reaches another sample's value. "shared": it does; values know their neighbours
    aggregation   "ensemble": K passes, averaged. "softmax", "rank": one pass with the values averaged, by similarity at
                  `temperature` or by 1 / rank
    self_boost    a query that is a stored sample (cosine above 1 - 1e-4) reads its own value alone
    keys          "public": features of a `key_network` trained on the public part of the data; "pixels";
                  "pretrained:PATH". See _plumbing/keys.py
    phases        1: network and values are trained together. 2: the network on a shard (see `shard`), then the values
    value_steps   Adam steps of a value that is fitted to a frozen network
    consistency   weight of KL(p with a neighbour's value || p with the null value); 0 saves a forward pass

    The recipe suits the small default network; a wider one wants a learning rate of 1e-3. Raises SettingsError.
    """

    network: str = "vit patch=4 width=32 depth=2 heads=2 stem=16"
    value_width: int = 128
    neighbours: int = 4
    own: float = 0.35
    neighbour: float = 0.35
    image_only: float = 0.15
    memory_only: float = 0.15
    values: Literal["private", "shared"] = "private"
    aggregation: Literal["ensemble", "softmax", "rank"] = "ensemble"
    temperature: float = 0.1
    self_boost: bool = False
    keys: str = "public"
    key_network: str = "mlp width=64"
    key_recipe: Recipe = field(default_factory=lambda: Recipe(epochs=20, lr=3e-3, weight_decay=0.05, optimizer="adamw"))
    phases: Literal[1, 2] = 1
    shard_share: float = 0.5
    value_steps: int = 20
    value_lr: float = 1e-2
    consistency: float = 0.0
    recipe: Recipe = field(default_factory=lambda: Recipe(epochs=24, lr=6e-3, weight_decay=0.05, optimizer="adamw"))
    needs_data: ClassVar[bool] = False

    def __post_init__(self) -> None:
        shares = (self.own, self.neighbour, self.image_only, self.memory_only)
        rules = {
            "values": (self.values in ("private", "shared"), "private or shared"),
            "aggregation": (self.aggregation in ("ensemble", "softmax", "rank"), "ensemble, softmax or rank"),
            "keys": (re.fullmatch(KINDS, self.keys), "public, pixels or pretrained:PATH, without spaces or commas"),
            "phases": (self.phases in (1, 2), "1 or 2"),
            "shard_share": (0 < self.shard_share < 1, "a share between 0 and 1"),
            "consistency": (self.consistency >= 0, "a weight of at least 0"),
            "own": (min(shares) >= 0 and abs(sum(shares) - 1) < 1e-6, "four shares that sum to 1"),
            **{name: (getattr(self, name) > 0, "a positive value")
               for name in ("value_width", "neighbours", "temperature", "value_steps", "value_lr")},
        }  # fmt: skip
        for name, (holds, expected) in rules.items():
            if not holds:
                raise SettingsError(f"{name}={getattr(self, name)!r}", expected=expected, do="correct it")

    # --- building ----------------------------------------------------------------------------------------------------

    def plain(self) -> Network:
        """The same backbone trained in the same way without a memory: what the memory costs is measured against it."""
        return Network(network=f"{self.network} value_width={self.value_width}", recipe=self.recipe)

    def build(self, task: Any) -> "Backbone":
        return Backbone(build_encoder(f"{self.network} value_width={self.value_width}", task.shape), task.classes)

    # --- training ----------------------------------------------------------------------------------------------------

    def train(
        self, data: Dataset, task: Any, *, seeds: Sequence[int], progress: Progress | None = None
    ) -> list["MUNKEYModel"]:
        """One model per seed. Its memory holds everybody, with two phases everybody but a public shard.

        Raises TaskMismatch, InvalidData, and SettingsError for keys="public" without a public part.
        """
        if not isinstance(task, LogitTask):
            raise TaskMismatch(f"MUNKEY came with a {type(task).__name__}", expected="a finite set of answers",
                               do="use it for classification")  # fmt: skip
        task.check(data)
        fitted = data if self.phases == 1 else self.shard(data)
        if len(fitted) < 2:
            raise InvalidData(f"{len(fitted)} samples for the network", expected="at least 2: a sample and a neighbour",
                              do="give more data, or another shard_share")  # fmt: skip
        encoders = train_keys(self.keys, self.key_network, self.key_recipe, data, task, seeds)
        keys = [encode(encoder, task, fitted) for encoder in encoders]
        lists = {seed: neighbours(each, self.neighbours) for seed, each in zip(seeds, keys, strict=True)}
        trained = train_members(Mixture(self, task, lists), fitted, self.recipe, seeds=seeds, progress=progress)
        parts = {"backbone": fitted.ids, "keys": data.public.ids if self.keys == "public" else ()}
        if self.phases == 1 and self.values == "shared":
            parts["neighbouring values"] = fitted.ids
        exposure = Exposure.trained(parts, data.ids, task)
        models = []
        for encoder, key, (backbone, values) in zip(encoders, keys, trained, strict=True):
            memory = Memory(key.shape[1], self.value_width, device=key.device)
            model = MUNKEYModel(self, task, exposure, backbone, encoder, memory).eval()
            if self.phases == 1:
                memory.add(fitted.ids, key, values, contents(task, fitted)[1])
            elif len(data.private):
                model.add(data.private)
            models.append(model)
        return models

    def shard(self, data: Dataset) -> Dataset:
        """What the network of `phases=2` is fitted on: the public part; where there is none, a share of the samples.

        A sample's shard depends on its id alone, so that a request from outside the shard leaves it as it was.
        """
        if len(data.public):
            return data.public
        inside = [at for at, each in enumerate(data.ids) if child(0, "shard", each) < self.shard_share * 2**63]
        return data.take(torch.tensor(inside, dtype=torch.long))

    def restore(
        self, task: Any, weights: dict[str, Tensor], memory: Memory | None, exposure: Exposure
    ) -> "MUNKEYModel":
        if memory is None:
            raise CorruptRun("a MUNKEY came without its memory", expected="its rows", do="restore them from a backup")
        with seeded(0, "restore"):  # initialisers draw, and are overwritten
            keys = build_keys(self.keys, self.key_network, task.shape)
            model = MUNKEYModel(self, task, exposure, self.build(task), keys, memory)
        model.load_state_dict(weights)
        return model.eval().requires_grad_(False)


class Backbone(nn.Module):
    """Inputs and a value each, to logits (batch, classes); k values each, to (batch, k, classes). See models/vit.py."""

    def __init__(self, encoder: nn.Module, classes: int) -> None:
        super().__init__()
        self.encoder: Any = encoder
        self.head = nn.Linear(int(encoder.width), classes)  # type: ignore[arg-type]

    def forward(
        self, x: Tensor, values: Tensor | None = None, *, present: Tensor | None = None, visible: Tensor | None = None
    ) -> Tensor:
        return self.head(self.encoder(x, values, present=present, visible=visible))  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Mixture:
    """The four modes, from three uniform numbers per sample: mode, which neighbour, whose value without a picture."""

    method: MUNKEY
    task: Any
    lists: dict[int, Tensor]  # per seed (n, K)

    def build(self) -> nn.Module:
        return self.method.build(self.task)

    @property
    def draws(self) -> int:
        return int(self.task.draws) + 3

    def start(
        self, data: Dataset, networks: Sequence[nn.Module], seeds: Sequence[int], subsets: Tensor | None = None
    ) -> Rows:
        """values and their moments (members, n, value_width), steps (members, n), lists (members, n, K)."""
        if subsets is not None:
            raise SettingsError("subsets for MUNKEY, whose lists of neighbours are of all of the data",
                                expected="members that are trained on all of it",
                                do="train them one by one")  # fmt: skip
        shape, device = (len(data), self.method.value_width), next(networks[0].parameters()).device
        values = torch.stack([0.02 * torch.randn(shape, generator=generator(each, "values")) for each in seeds])
        lists = torch.stack([self.lists[each] for each in seeds])
        state = (values, 0 * values, 0 * values, 0 * lists[..., 0], lists)
        names = ("values", "first", "second", "steps", "lists")
        return Rows(**{name: tensor.to(device) for name, tensor in zip(names, state, strict=True)})

    def batch(self, data: Dataset, rows: Tensor, uniform: Tensor, state: Rows) -> Batch:
        mode, which, whose = uniform[..., self.task.draws :].to(state.values.device).unbind(-1)
        members, at = torch.arange(len(rows), device=mode.device)[:, None], rows.to(mode.device)
        visible = mode < 1 - self.method.memory_only
        own = torch.where(visible, mode < self.method.own, whose < 0.5)
        present = (mode < self.method.own + self.method.neighbour) | ~visible
        source = torch.where(own, at, state.lists[members, at, (which * state.lists.shape[-1]).long()])
        values = state.values[members, source].requires_grad_()  # a leaf, whose gradient `after` reads
        return {**member_batch(self.task, data, rows, uniform), "values": values, "source": source, "own": own,
                "present": present, "visible": visible}  # fmt: skip

    def loss(self, forward: Forward, batch: Batch) -> tuple[Tensor, Batch]:
        def model(x: Tensor) -> Tensor:
            return forward(x, batch["values"], present=batch["present"], visible=batch["visible"])

        if not self.method.consistency:
            return self.task.losses(model, batch).mean(), {}
        known, null = (self.task.logits(each, batch).log_softmax(dim=-1) for each in (model, forward))
        stranger = batch["present"] & batch["visible"] & ~batch["own"]
        divergence = (known.exp() * (known - null)).sum(dim=-1) * stranger
        return (self.task.losses(lambda _: known, batch) + self.method.consistency * divergence).mean(), {}

    def after(self, rows: Tensor, batch: Batch, seen: Batch, state: Rows, factor: float) -> None:
        gradient = batch["values"].grad
        assert gradient is not None
        touched = batch["present"] & batch["own"] if self.method.values == "private" else batch["present"]
        at = batch["source"] + state.steps.shape[1] * torch.arange(len(gradient), device=gradient.device)[:, None]
        at, gradient = at[touched], gradient[touched]
        if self.method.values == "shared":  # several samples of a batch may have read one row
            at, back = torch.unique(at, return_inverse=True)
            gradient = gradient.new_zeros(len(at), gradient.shape[1]).index_add_(0, back, gradient)
        values, first, second = (each.view(-1, each.shape[-1]) for each in (state.values, state.first, state.second))
        adam_step(values, first, second, state.steps.view(-1), at, gradient, lr=self.method.value_lr * factor)

    def member(self, state: Rows, i: int) -> Any:
        return state.values[i].clone()


def contents(task: Any, data: Dataset) -> tuple[Tensor, Tensor]:
    """Inputs and labels of all samples."""
    batch: Batch = task.batch(data, torch.arange(len(data)))
    labels: Tensor = task.labels(batch)
    return batch["inputs"], labels


def fit_values(backbone: Backbone, task: Any, data: Dataset, *, steps: int, lr: float) -> Tensor:
    """Values (n, value_width) fitted to a frozen network: Adam from the null value on each sample's own loss.

    Three steps read picture and value, every fourth the value alone, or a sample that its picture explains would leave
    nothing in its value. No sample's value depends on another: bit for bit whoever else is there.
    """
    encoder = backbone.encoder

    def fit_block(batch: Batch) -> Tensor:
        with torch.no_grad():
            seen = encoder.tokens(batch["inputs"])
            masked = encoder.tokens(batch["inputs"], torch.zeros(len(seen), dtype=torch.bool, device=seen.device))
        values: Tensor = encoder.null.detach().expand(len(seen), -1).clone().requires_grad_()
        adam = torch.optim.Adam([values], lr=lr)
        for step in range(steps):
            tokens = masked if step % 4 == 3 else seen
            with torch.enable_grad():
                losses = task.losses(lambda _, tokens=tokens: backbone.head(encoder.read(tokens, values)), batch)
                (values.grad,) = torch.autograd.grad(losses.sum(), values)
            adam.step()
        return values.detach()

    return by_slots(task, data, fit_block)


class Sensitivity(NamedTuple):
    """How much predictions rely on each pathway: score 0, the memory is ignored; 1, the picture is ignored."""

    score: float
    full: float  # accuracies: both pathways, null value, masked picture
    image: float
    memory: float


class MUNKEYModel(nn.Module):
    """A trained MUNKEY: inputs (batch, *shape) to log-probabilities (batch, classes)."""

    def __init__(
        self, method: MUNKEY, task: Any, exposure: Exposure, backbone: nn.Module, keys: nn.Module, memory: Memory
    ) -> None:
        super().__init__()
        self.method, self.task, self.exposure, self.memory = method, task, exposure, memory
        self.backbone: Any = backbone
        self.keys: Any = keys

    def forward(self, x: Tensor) -> Tensor:
        return self.predict(x)

    def predict(self, x: Tensor, *, exclude: Tensor | None = None, visible: bool = True) -> Tensor:
        """Log-probabilities (batch, classes). A stored sample finds itself first, unless `exclude` (batch,) names its
        row (-1 for none). `visible=False` masks the picture: what the memory alone says."""
        parts = [slice(start, start + QUERIES) for start in range(0, max(1, len(x)), QUERIES)]
        return torch.cat([self._predict(x[at], None if exclude is None else exclude[at], visible) for at in parts])

    def _predict(self, x: Tensor, exclude: Tensor | None, visible: bool) -> Tensor:
        values, weights = self._retrieve(x, exclude)
        if self.method.aggregation != "ensemble":
            values, weights = (weights[..., None] * values).sum(dim=1, keepdim=True), torch.ones_like(weights[:, :1])
        shown = None if visible else torch.zeros(len(x), dtype=torch.bool, device=x.device)
        log = self.backbone(x, values, visible=shown).log_softmax(dim=-1)  # (batch, variants, classes)
        return torch.logsumexp(log + weights[..., None].log(), dim=1)

    @torch.no_grad()
    def _retrieve(self, x: Tensor, exclude: Tensor | None) -> tuple[Tensor, Tensor]:
        """The values that each query reads, (batch, k, value_width), and their weights (batch, k), which sum to 1."""
        k, null = self.method.neighbours, self.backbone.encoder.null
        if len(self.memory) == 0:
            return null.expand(len(x), 1, -1), x.new_ones(len(x), 1)
        scores, rows = self.memory.nearest(self.keys(x), min(len(self.memory), k + (exclude is not None)))
        values = self.memory.values[rows]
        if exclude is not None:  # one row more was asked for, so that every query has k left if the memory has
            scores = scores.masked_fill(rows == exclude.to(rows.device)[:, None], -torch.inf)
            scores, order = (each[:, :k] for each in scores.sort(dim=1, descending=True, stable=True))
            values = values.take_along_dim(order[..., None], dim=1)
            alone = scores[:, 0].isinf()  # the only row was its own
            scores[alone, 0], values[alone, 0] = 0.0, null
        if self.method.self_boost:
            values = torch.where((scores[:, :1] > ITSELF)[..., None], values[:, :1], values)
        if self.method.aggregation == "softmax":
            return values, (scores / self.method.temperature).softmax(dim=1)
        weights = torch.where(scores.isinf(), 0.0, 1.0)
        if self.method.aggregation == "rank":
            weights = weights / torch.arange(1, 1 + weights.shape[1], device=weights.device)
        return values, weights / weights.sum(dim=1, keepdim=True)

    def forget(self, ids: Iterable[str], *, data: Dataset | None = None) -> None:
        """Delete rows; no weight changes. `data` is optional and only asked which samples are public.

        Raises NotErasable, and what Memory.remove raises; then nothing has changed.
        """
        names = list(ids)
        keys, public = self.exposure.parts["keys"], frozenset(data.public.ids if data is not None else ())
        if kept := [each for each in names if each in keys or each in public]:
            raise NotErasable(f"{len(kept)} samples were declared public, first '{kept[0]}'",
                              expected="samples that may be erased",
                              do="retrain without them: a public part is never erased in place")  # fmt: skip
        self.memory.remove(names)

    def add(self, data: Dataset) -> None:
        """Take in samples without training the network: their keys, and values fitted to the network as it is.

        Erasing them again is exact. Raises what Task.check and Memory.add raise; then nothing has changed.
        """
        self.task.check(data)
        method = self.method
        values = fit_values(self.backbone, self.task, data, steps=method.value_steps, lr=method.value_lr)
        self.memory.add(data.ids, encode(self.keys, self.task, data), values, contents(self.task, data)[1])

    def as_network(self) -> nn.Module:
        """A copy of the backbone, inputs to logits with the null value: to audit and attack what it remembers."""
        copied: nn.Module = copy.deepcopy(self.backbone)
        return copied.requires_grad_()

    @torch.no_grad()
    def sensitivity(self, data: Dataset) -> Sensitivity:
        """The pathway sensitivity on held-out data; a sample that is in the memory does not read its own row.

            score = (full - image) / (full - memory + full - image)    of the three accuracies

        A pathway that nobody misses counts as no loss; 0.5 if that is so for both.
        """
        x, labels = contents(self.task, data)
        own = self.memory.find(data.ids)
        alone = torch.cat([self.backbone(part) for part in torch.split(x, QUERIES)])
        logs = (self.predict(x, exclude=own), alone, self.predict(x, exclude=own, visible=False))
        full, image, memory = ((log.argmax(dim=-1) == labels).float().mean().item() for log in logs)
        without_memory, without_image = max(0.0, full - image), max(0.0, full - memory)
        lost = without_memory + without_image
        return Sensitivity(without_memory / lost if lost else 0.5, full, image, memory)
