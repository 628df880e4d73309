"""Many models, each on its own part of the data: the shadow models and oracles that an audit compares with.

    Plan          which model is trained on which samples, and with which seed; planned once, shared by all attacks
    train_fleet   Plan -> Fleet; a model that is in the folder already is not trained again
    unlearn_fleet Fleet, what each model is to forget -> Fleet

A fleet's folder is content-addressed: one safetensors file per model, named by the SHA-256 of all that decided its
training (`_plumbing/members.py`). Finished models are written at once, each in one step, so what was interrupted goes
on where it stopped, and plans that share a model share its file. A damaged file is named, trained again and replaced.
"""

import copy
import hashlib
import json
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from erasable._plumbing import executors, members, storage
from erasable._plumbing.executors import Executor, Job
from erasable._plumbing.executors import TrainsSubsets as TrainsSubsets
from erasable._plumbing.numbers import duration
from erasable._plumbing.seeds import child, generator
from erasable.dataset import Dataset
from erasable.errors import (
    CorruptRun,
    EmptyRequest,
    InvalidData,
    Misaligned,
    SettingsError,
    UnknownSample,
    nearest_names,
)
from erasable.population import Population
from erasable.request import Request
from erasable.unlearner import Method, Progress, Unlearner, forget

Log = Callable[[str], None]
BLOCK = 16  # models that are balanced among themselves
ROUNDS = 8  # of dealing again between random pairs of a block: enough to reach every pair several times
CHUNK = 32  # members at a time where nobody measured


# --- who is trained on what ------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Plan:
    """Which model is trained on which samples.

    ids      (n) the samples; their order is the order in which a member meets its own
    members  (models, n) bool, equally many samples for every model
    seeds    one per model
    targets  (n,) bool: the samples that were asked to be balanced, all where nobody asked

    Raises Misaligned where shapes differ, InvalidData for a repeated id or models of different sizes.
    """

    ids: tuple[str, ...]
    members: Tensor
    seeds: tuple[int, ...]
    targets: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.bool))

    def __post_init__(self) -> None:
        if not len(self.targets):
            object.__setattr__(self, "targets", torch.ones(len(self.ids), dtype=torch.bool))
        shape = (len(self.seeds), len(self.ids))
        if self.members.dtype != torch.bool or self.members.shape != shape or self.targets.shape != shape[1:]:
            raise Misaligned(f"members {tuple(self.members.shape)} of {self.members.dtype}, {len(self.seeds)} seeds, "
                             f"{len(self.ids)} ids, targets {tuple(self.targets.shape)}",
                             expected="a bool per model and sample",
                             do="give one seed per row, one id per column")  # fmt: skip
        _refuse_repeats(self.ids)
        sizes = self.members.sum(1)
        if not len(sizes) or int(sizes.min()) != int(sizes.max()) or not int(sizes.min()):
            raise InvalidData(f"{len(sizes)} models of {int(sizes.min()) if len(sizes) else 0} to "
                              f"{int(sizes.max()) if len(sizes) else 0} samples", expected="equally many for each",
                              do="plan models of different sizes apart")  # fmt: skip

    def __len__(self) -> int:
        return len(self.seeds)

    def __repr__(self) -> str:
        return f"Plan({len(self)} models on {self.positions.shape[1]} of {len(self.ids)} samples)"

    @classmethod
    def halves(cls, ids: Sequence[str], *, models: int, seed: int, targets: Iterable[str] | None = None) -> "Plan":
        """Random halves: every target is in exactly half of the models, and all models have n // 2 samples.

        Without `targets` all samples are; of an odd number one, drawn by `seed`, is then in no model. With them, each
        model has half of the targets (of an odd number: one more or less), and the others fill up. A plan of more
        models with the same seed begins with these, in multiples of 16: a fleet can grow.

        Raises SettingsError unless models are even in number, UnknownSample for a target that is no id.
        """
        names = tuple(ids)
        n = len(names)
        if models < 2 or models % 2 or n < 2:
            raise SettingsError(f"halves of {n} samples for {models} models", expected="at least two samples and an "
                                "even number of models", do="ask for one model more or less")  # fmt: skip
        if targets is None:
            wanted = torch.ones(n, dtype=torch.bool)
            if n % 2:
                wanted[int(torch.randint(n, (), generator=generator(seed, "left out")))] = False
        else:
            wanted = _mask(names, targets)
        if n % 2 and bool(wanted.all()):
            raise SettingsError(f"{n} targets among {n} samples", expected="one sample that is no target: an odd "
                                "number has no halves", do="leave one target out")  # fmt: skip
        blocks = [_block(wanted, min(BLOCK, models - first), generator(seed, "halves", first // BLOCK))
                  for first in range(0, models, BLOCK)]  # fmt: skip
        return cls(names, torch.cat(blocks), _member_seeds(models, seed), wanted)

    @classmethod
    def without(cls, ids: Sequence[str], gone: Iterable[str], *, models: int, seed: int = 0) -> "Plan":
        """Oracles: all samples but the ones that are `gone`, for every model. Raises UnknownSample, EmptyRequest."""
        names = tuple(ids)
        leaving = _mask(names, gone)
        if not bool(leaving.any()) or bool(leaving.all()):
            raise EmptyRequest(f"a request for {int(leaving.sum())} of {len(names)} samples",
                               expected="something that goes and something that stays",
                               do="name other samples")  # fmt: skip
        return cls(names, (~leaving).repeat(models, 1), _member_seeds(models, seed))

    @cached_property
    def positions(self) -> Tensor:
        """(models, m) numbers of the samples in `ids`, ascending: the `subsets` of `train.fit`."""
        return self.members.nonzero()[:, 1].view(len(self), -1)

    def digest(self) -> str:
        """SHA-256 of ids, members and seeds."""
        hasher = hashlib.sha256(json.dumps([self.ids, self.seeds, tuple(self.members.shape)]).encode())
        hasher.update(self.members.to(torch.uint8).numpy().tobytes())
        return hasher.hexdigest()

    def requests(
        self, size: int, *, seed: int = 0, first: Iterable[str] | None = None, among: Iterable[str] | None = None
    ) -> Tensor:
        """(models, n) bool: `size` of each model's samples, to be forgotten.

        Those called `first` come first (the targets, when None), the rest is drawn; `among` names who may be asked for.
        Raises SettingsError where a model has fewer that may be, or would have nothing left.
        """
        may = self.members if among is None else self.members & _mask(self.ids, among)
        early = self.targets if first is None else _mask(self.ids, first)
        fewest = int(may.sum(1).min())
        if not 0 < size <= fewest or size >= self.positions.shape[1]:
            raise SettingsError(f"requests for {size} of {self.positions.shape[1]} samples per model",
                                expected=f"at least 1, at most {fewest}, and something that stays",
                                do="ask for fewer, or draw among more")  # fmt: skip
        key = torch.rand(self.members.shape, generator=generator(seed, "requests")) - early.float()
        chosen = key.masked_fill(~may, torch.inf).topk(size, largest=False).indices
        return torch.zeros_like(self.members).scatter_(1, chosen, True)


def _block(wanted: Tensor, models: int, draw: torch.Generator) -> Tensor:
    """(models, n) bool, each column of `wanted` with models / 2, each row with n // 2.

    Begins with complementary pairs. Then pairs of rows deal what only one of them has again, which keeps all sums; that
    is the trade of G. Strona et al. (Nature Communications 5, 2014), whose fixed point are all such matrices alike.
    """
    n, targets, pairs = len(wanted), int(wanted.sum()), models // 2
    size, more = n // 2, (targets + 1) // 2
    order = (torch.rand(pairs, n, generator=draw) + (~wanted).float()).argsort(1)  # targets come first
    rank = torch.arange(n)
    one = (rank < more) | ((rank >= targets) & (rank < targets + size - more))
    other = ~one & (rank < 2 * size)  # of an odd number of samples, the last one is in neither
    both = torch.stack([one, other])[:, None].expand(2, pairs, n)
    swapped = torch.rand(pairs, 1, generator=draw) < 0.5  # which of the two has the target more
    both = torch.where(swapped, both.flip(0), both)
    members = torch.zeros(2, pairs, n, dtype=torch.bool).scatter_(2, order.expand(2, -1, -1), both)
    members = members.transpose(0, 1).reshape(models, n)
    for _ in range(ROUNDS):
        first, second = torch.randperm(models, generator=draw).view(2, pairs)
        a, b = members[first], members[second]
        for kind in (wanted, ~wanted):  # apart, so that each row keeps its number of targets
            apart = (a ^ b) & kind
            key = torch.rand(pairs, n, generator=draw).masked_fill(~apart, torch.inf)
            dealt = rank < (a & apart).sum(1, keepdim=True)
            mine = torch.zeros_like(apart).scatter_(1, key.argsort(1), dealt)
            a, b = torch.where(apart, mine, a), torch.where(apart, ~mine, b)
        members[first], members[second] = a, b
    return members


def _member_seeds(models: int, seed: int) -> tuple[int, ...]:
    return tuple(child(seed, "member", i) for i in range(models))


def _mask(ids: tuple[str, ...], named: Iterable[str]) -> Tensor:
    """(n,) bool. Raises UnknownSample."""
    _refuse_repeats(ids)
    place = {each: at for at, each in enumerate(ids)}
    wanted = [named] if isinstance(named, str) else list(named)
    if lost := [each for each in wanted if each not in place]:
        raise UnknownSample(f"{len(lost)} of {len(wanted)} ids are not in the plan, first '{lost[0]}'",
                            expected=f"ids such as '{ids[0] if ids else ''}'",
                            do=nearest_names(lost[0], ids[:2000]))  # fmt: skip
    mask = torch.zeros(len(ids), dtype=torch.bool)
    mask[torch.tensor([place[each] for each in wanted], dtype=torch.int64)] = True
    return mask


def _refuse_repeats(ids: tuple[str, ...]) -> None:
    if len(set(ids)) != len(ids):
        twice = sorted(ids)
        raise InvalidData(f"id '{next(a for a, b in pairwise(twice) if a == b)}' comes twice",
                          expected="each sample once", do="leave the repeats out")  # fmt: skip


# --- models ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Fleet:
    """Trained models of a plan. `fleet[i]` is read from the folder each time; `fleet.models` are read once and kept.

    data       the samples of the plan, in its order
    names      of the models, SHA-256; in the folder `NAME.safetensors`
    forgotten  (models, n) bool: trained on and then unlearned. `plan.members` says what was trained on before that
    notes      what was said on the way: which executor and why, what was there already, what was damaged
    """

    plan: Plan
    method: Method
    task: Any
    data: Dataset = field(repr=False)
    names: tuple[str, ...] = field(repr=False)
    folder: Path | None
    kept: dict[str, Any] = field(repr=False)  # by name, without a folder
    forgotten: Tensor = field(repr=False)
    role: str
    notes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.plan)

    def __getitem__(self, i: int) -> Any:
        """Model i. Raises CorruptRun where its file is missing or damaged."""
        if self.folder is None:
            return self.kept[self.names[i]]
        return _load(self.folder, self.names[i], self.own(i).ids, self.method, self.task, self.data)

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    @cached_property
    def models(self) -> tuple[Any, ...]:
        return tuple(self)

    @property
    def seeds(self) -> tuple[int, ...]:
        return self.plan.seeds

    def own(self, i: int) -> Dataset:
        """What model i was trained on."""
        return self.data.take(self.plan.positions[i])

    def population(self) -> Population:
        """The models as a Population, for whatever asks for one."""
        return Population(self.models, self.seeds, self.role)


def train_fleet(
    method: Method,
    data: Dataset,
    task: Any,
    plan: Plan,
    *,
    folder: Path | str | None = None,
    executor: Executor = "auto",
    chunk: int | None = None,
    workers: int | None = None,
    role: str = "shadow",
    progress: Progress | None = None,
    log: Log | None = None,
) -> Fleet:
    """The models of a plan, those that are not in `folder` trained and put there; kept in RAM when it is None.

    executor  "vectorised"  `chunk` members at a time, for methods with `train_subsets`
              "one-by-one"  "processes" (`workers` of them, one thread each)   "ray" (erasable[ray])
              "auto"        times a few steps of one member alone and of chunks, and takes the faster of the two
    log       is told, a line each, what was chosen and measured, and which files were damaged; see also `Fleet.notes`

    Another process that trains into the same folder waits until this one has finished. Raises UnknownSample for a plan
    of other data, SettingsError, MissingExtra, and what training and writing raise; what was finished stays.
    """
    _check(executor, chunk, workers)
    view = data.take(data.positions(plan.ids))
    task.check(view)
    said = _Said(log)
    names = _names(method, task, view, plan)
    unique = {name: i for i, name in reversed([*enumerate(names)])}  # the same training twice is one training
    kept: dict[str, Any] = {}
    at = None if folder is None else _opened(Path(folder))
    with _to_do(at, unique, said) as missing:
        if len(missing) < len(unique):
            said(f"{len(unique) - len(missing)} of {len(unique)} models were there already")
        if missing:
            job = Job(method, view, task, plan.positions, plan.seeds, sorted(missing.values()), progress)
            start = time.perf_counter()
            with closing(_finished(job, executor, chunk, workers, said)) as finished:
                for i, model in finished:
                    _keep(model, names[i], job.own(i).ids, at, kept, method, task, view)
            said(f"{len(missing)} models trained in {duration(time.perf_counter() - start)}")
    return Fleet(plan, method, task, view, names, at, kept, torch.zeros_like(plan.members), role, tuple(said.lines))


def unlearn_fleet(
    fleet: Fleet,
    unlearner: Unlearner[Any] | Literal["forget"],
    requests: Tensor,
    *,
    seed: int = 0,
    folder: Path | str | None = None,
    progress: Progress | None = None,
    log: Log | None = None,
) -> Fleet:
    """Every model without what `requests` (models, n) bool asks of it; `fleet` stays as it is.

    "forget" asks models that were designed to forget, which costs a deletion of rows each; an unlearner goes through
    model by model, each with a seed of its own. With a folder (it may be the fleet's own) no unlearning runs twice.

    Raises Misaligned for requests that do not fit, EmptyRequest for a model that is asked nothing or everything, and
    what `erasable.unlearner.forget` raises.
    """
    stays = fleet.plan.members & ~fleet.forgotten
    if requests.shape != stays.shape or requests.dtype != torch.bool or bool((requests & ~stays).any()):
        raise Misaligned(f"requests {tuple(requests.shape)} of {requests.dtype} for {len(fleet)} models and "
                         f"{len(fleet.plan.ids)} samples", expected="a bool for each, of samples that the model holds",
                         do="draw them with plan.requests")  # fmt: skip
    if not bool(requests.any(1).all()) or bool((requests == stays).all(1).any()):
        raise EmptyRequest("a model that is asked to forget nothing, or everything", expected="a part of its samples",
                           do="draw them with plan.requests")  # fmt: skip
    said = _Said(log)
    by = "forget" if unlearner == "forget" else members.told(unlearner)
    names = tuple(
        members.name_of(of=name, by=by, seed=seed, forgotten=hashlib.sha256(row.numpy().tobytes()).hexdigest())
        for name, row in zip(fleet.names, requests.to(torch.uint8), strict=True)
    )
    at = None if folder is None else _opened(Path(folder))
    unique = {name: i for i, name in reversed([*enumerate(names)])}
    kept: dict[str, Any] = {}
    start = time.perf_counter()
    with _to_do(at, unique, said) as missing:
        for done, i in enumerate(sorted(missing.values()), 1):
            model = _unlearned(fleet, i, stays[i], requests[i], unlearner, seed)
            _keep(model, names[i], fleet.own(i).ids, at, kept, fleet.method, fleet.task, fleet.data)
            if progress is not None:
                progress(done, len(missing))
    who = "forget" if unlearner == "forget" else type(unlearner).__name__
    said(f"{who}: {len(missing)} of {len(unique)} models in {duration(time.perf_counter() - start)}")
    return Fleet(fleet.plan, fleet.method, fleet.task, fleet.data, names, at, kept, fleet.forgotten | requests,
                 "unlearned", tuple(said.lines))  # fmt: skip


def _unlearned(
    fleet: Fleet, i: int, stays: Tensor, asked: Tensor, unlearner: Unlearner[Any] | Literal["forget"], seed: int
) -> Any:
    held = fleet.data.take(stays.nonzero().flatten())
    request = Request(f"fleet, model {i}", fleet.data.take(asked.nonzero().flatten()).ids)
    if unlearner == "forget":
        model = copy.deepcopy(fleet[i]) if fleet.folder is None else fleet[i]  # it is changed in place
        return forget(model, request, data=held)[0]
    own = child(seed, "unlearn", fleet.seeds[i])
    return forget(fleet[i], request, data=held, unlearner=unlearner, seed=own)[0]


class _Said:
    """Lines that are told as they come, and kept."""

    def __init__(self, log: Log | None) -> None:
        self.lines: list[str] = []
        self.log = log

    def __call__(self, line: str) -> None:
        self.lines.append(line)
        if self.log is not None:
            self.log(line)


def _check(executor: str, chunk: int | None, workers: int | None) -> None:
    known = ("auto", "vectorised", "one-by-one", "processes", "ray")
    if executor not in known:
        raise SettingsError(f"executor='{executor}'", expected=f"one of {', '.join(known)}",
                            do=nearest_names(executor, known))  # fmt: skip
    if min(1 if each is None else each for each in (chunk, workers)) < 1:
        raise SettingsError(f"chunk={chunk}, workers={workers}", expected="at least 1", do="leave them out")


def _finished(
    job: Job, executor: str, chunk: int | None, workers: int | None, said: _Said
) -> Generator[tuple[int, Any], None, None]:
    if executor == "auto":
        choice = executors.faster(job)
        said(f"trained {choice.why}")
        executor, chunk = ("vectorised", chunk or choice.chunk) if choice.chunk > 1 else ("one-by-one", None)
    if executor == "processes":
        yield from executors.processes(job, workers)
    elif executor == "ray":
        yield from executors.with_ray(job)
    elif executor == "vectorised":
        yield from executors.vectorised(job, chunk or CHUNK)
    else:
        yield from executors.one_by_one(job)


def _names(method: Method, task: Any, view: Dataset, plan: Plan) -> tuple[str, ...]:
    digests = members.sample_digests(view)
    facts = {"method": members.told(method), "task": members.told(task)}
    return tuple(
        members.name_of(**facts, seed=seed, samples=hashlib.sha256(digests[at].tobytes()).hexdigest())
        for seed, at in zip(plan.seeds, plan.positions.numpy(), strict=True)
    )


# --- the folder ------------------------------------------------------------------------------------------------------


def _opened(folder: Path) -> Path:
    with storage.translated(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def _file(folder: Path, name: str) -> Path:
    return folder / f"{name}{members.SUFFIX}"


@contextmanager
def _to_do(folder: Path | None, names: dict[str, int], said: _Said) -> Iterator[dict[str, int]]:
    """The models that are not there yet, while nobody else writes into the folder; all of them without a folder."""
    missing = names if folder is None else _missing(folder, names, None)
    if folder is None or not missing:
        yield missing
        return
    with storage.locked(folder):
        for left in folder.glob(f".*{storage.TEMPORARY}"):  # by a kill: whoever writes holds the lock
            left.unlink(missing_ok=True)
        yield _missing(folder, missing, said)  # another process may have been here meanwhile


def _missing(folder: Path, names: dict[str, int], said: _Said | None) -> dict[str, int]:
    """The names without a file that can be read."""
    missing = {}
    for name, i in names.items():
        path = _file(folder, name)
        if not path.exists():
            missing[name] = i
            continue
        try:
            members.read(storage.read_bytes(path), path)
        except CorruptRun as damaged:
            missing[name] = i
            if said is not None:
                said(f"{damaged.came}: it is replaced")
    return missing


def _keep(
    model: Any, name: str, ids: Sequence[str], folder: Path | None, kept: dict[str, Any], method: Method, task: Any,
    data: Dataset,
) -> None:  # fmt: skip
    """Where a finished model goes; one from another process comes packed."""
    if folder is not None:
        storage.atomic_write(_file(folder, name), model if isinstance(model, bytes) else members.pack(model, ids))
    elif isinstance(model, bytes):
        kept[name] = members.unpack(members.read(model, name), ids, method, task, executors.device_of(data))
    else:
        kept[name] = model


def _load(folder: Path, name: str, ids: Sequence[str], method: Method, task: Any, data: Dataset) -> Any:
    path = _file(folder, name)
    tensors = members.read(storage.read_bytes(path), path)
    return members.unpack(tensors, ids, method, task, executors.device_of(data))
