"""What every method, model, unlearner and task promises, as checks that try to break it.

    check_method(SPM(...), data, task)                       training: seeds, populations, exposure, restoring
    check_forgettable(SPM(...), data, task, ids=...)         erasing from a model designed to forget
    check_unlearner(FineTune(), Network(...), data, task, ids=...)   changing a network after the fact
    check_task(Classification(...), data, network)           what a sample means

Each returns None, or raises ContractBroken in one line. Give them toy data and settings: they train several models.
They also hold for code outside Erasable: run them in your own tests.
"""

import copy
import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from erasable._plumbing import settings
from erasable._plumbing.seeds import generator
from erasable.dataset import Dataset
from erasable.errors import (
    AlreadyForgotten,
    BatchStatistics,
    EmptyRequest,
    ErasableError,
    InvalidData,
    UndeclaredAccess,
    UnknownSample,
)
from erasable.memory import Memory
from erasable.receipt import Level
from erasable.request import Request
from erasable.task import LogitTask, Task
from erasable.unlearner import Forgettable, Method, Trained, Unlearner, declared, weights_digest


class ContractBroken(AssertionError):
    """Something does not do what its kind promises."""


# --- the four checks -------------------------------------------------------------------------------------------------


def check_method(
    method: Method, data: Dataset, task: Task, *, seeds: Sequence[int] = (0, 1), tolerance: float = 1e-4
) -> None:
    """Training. Tries to find

    - settings that do not survive JSON;
    - a draw that the seed does not decide: the same seed twice must give the same bits;
    - a population member that differs from the model trained alone by more than `tolerance` (refusing populations with
      BatchStatistics is allowed);
    - a changed data set, or a draw from torch's global generator;
    - a model that is in training mode, or that does not say who it was fitted on;
    - a model that is another one once it is restored from its weights and rows.
    """
    _check_settings(method)
    with _nothing_moves(data, method, "training"):
        model, again = (method.train(data, task, seeds=seeds[:1])[0] for _ in range(2))
    _check_trained(model, data)
    _require(_state(model) == _state(again), method, f"trained twice with seed {seeds[0]} gave different models")
    _check_restored(model, data)
    try:
        members = method.train(data, task, seeds=seeds)
    except BatchStatistics:
        return
    _require(len(members) == len(seeds), method, f"gave {len(members)} models for {len(seeds)} seeds")
    for seed, member in zip(seeds, members, strict=True):
        alone = model if seed == seeds[0] else method.train(data, task, seeds=[seed])[0]
        apart = _distance(member, alone)
        _require(apart <= tolerance, method, f"member of seed {seed} is {apart:.1e} away from the model trained alone")


def check_forgettable(
    method: Method, data: Dataset, task: Task, *, ids: Sequence[str], seed: int = 0, tolerance: float = 1e-6
) -> None:
    """Erasing from a model designed to forget; `ids` are at least two of `data` that may be erased. Tries to find

    - a request that should be refused (unknown ids among known ones, no ids, ids that are gone, no data where they are
      needed) and passes, or is refused after something has changed;
    - an erased id that is still in the memory, or a row of somebody else that changed;
    - an erasure that depends on the order of requests;
    - state that is not derived from weights and rows, and so comes back when the model is restored;
    - a model that calls itself exact and is not what training without the samples gives: rows bit for bit, weights
      within `tolerance`.
    """
    model = method.train(data, task, seeds=[seed])[0]
    _require(isinstance(model, Forgettable), method, f"trains a {type(model).__name__}, which has no `forget`")
    unknown = max(data.ids) + "?"
    _check_refused(model, UnknownSample, [unknown], data, "an unknown id")
    _check_refused(model, UnknownSample, [ids[0], unknown], data, "an unknown id beside a known one")
    _check_refused(model, EmptyRequest, [], data, "no ids")
    if method.needs_data:
        _check_refused(model, ErasableError, ids, None, "no data although it needs them")
    before = copy.deepcopy(model)
    with _nothing_moves(data, method, "forgetting"):
        model.forget(ids, data=data)
    _check_erased(before, model, ids)
    _check_refused(model, AlreadyForgotten, ids[:1], data, "an id that is gone")
    _check_restored(model, data.without(ids))
    by_one = copy.deepcopy(before)
    for each in reversed(ids):
        by_one.forget([each], data=data)
    _require(_state(by_one) == _state(model), method, "forgets one by one what it does not forget at once")
    if model.exposure.level(ids)[0] == "exact":
        _check_exact(model, method.train(data.without(ids), task, seeds=[seed])[0], method, tolerance)


def check_unlearner(
    unlearner: Unlearner[Any],
    method: Method,
    data: Dataset,
    task: Task,
    *,
    ids: Sequence[str],
    seed: int = 0,
    tolerance: float = 1e-6,
) -> None:
    """Changing a network after the fact. Tries to find

    - settings that do not survive JSON, an unknown guarantee, a need that is neither "forget" nor "retain";
    - data that are read and not declared: what is not in `needs` explodes on access;
    - a draw that the seed does not decide, or one from torch's global generator;
    - a changed data set, or a change of the model that the caller still holds;
    - a model that comes back in training mode, trainable, or with weights that are not finite;
    - a guarantee of "exact" that is not what the method gives without the samples, within `tolerance`.
    """
    _check_settings(unlearner)
    _require(unlearner.guarantee in get_args(Level), unlearner, f"guarantees '{unlearner.guarantee}'")
    _require(unlearner.needs <= {"forget", "retain"}, unlearner, f"needs {set(unlearner.needs)}")
    model = method.train(data, task, seeds=[seed])[0]
    split = Request("contract", ids).split(data)
    before, results = _state(model), []
    for _ in range(2):
        with _nothing_moves(data, unlearner, "unlearning"):
            try:
                results.append(unlearner(copy.deepcopy(model), declared(split, unlearner), task, seed=seed))
            except UndeclaredAccess as error:
                raise ContractBroken(f"{type(unlearner).__name__} reads more than it declares: {error}") from error
        _require(_state(model) == before, unlearner, "changes the model that the caller holds")
    result, again = results
    _require(weights_digest(result) == weights_digest(again), unlearner, f"gives different models for seed {seed}")
    _require(not result.training, unlearner, "returns a model in training mode")
    _require(not any(p.requires_grad for p in result.parameters()), unlearner, "returns a model that is not frozen")
    finite = all(bool(torch.isfinite(t).all()) for t in result.state_dict().values())
    _require(finite, unlearner, "returns weights that are not finite")
    if unlearner.guarantee == "exact":
        _check_exact(result, method.train(split.retain, task, seeds=[seed])[0], unlearner, tolerance)


def check_task(task: Task, data: Dataset, network: nn.Module, *, tolerance: float = 1e-5) -> None:
    """What a sample means. `network` is a fresh one for the task, with batch-independent layers. Tries to find

    - settings that do not survive JSON; data without the task's columns that `check` lets pass;
    - a batch that is not the rows asked for, or that shares memory with the data;
    - a loss that is not one finite number per sample, or depends on the other samples of the batch;
    - a loss without a gradient, or one that cannot be vectorised over members;
    - augmentation that draws by itself instead of following the numbers it is given;
    - logits or labels that do not fit the number of classes.
    """
    _check_settings(task)
    task.check(data)
    stranger = Dataset.of({"contract": torch.zeros(2)}, ["a", "b"])
    try:
        task.check(stranger)
    except InvalidData:
        pass
    else:
        raise ContractBroken(f"{type(task).__name__} accepts data without its columns")
    at = torch.arange(min(5, len(data))).flip(0)
    with _nothing_moves(data, task, "reading a batch"):
        whole = task.batch(data, at)
        for tensor in task.batch(data, at).values():
            tensor.zero_()  # a view of the columns would change them
    for i, row in enumerate(at.tolist()):
        for name, tensor in task.batch(data, torch.tensor([row])).items():
            _require(torch.equal(tensor[0], whole[name][i]), task, f"reads another '{name}' for a row among others")
    network = network.eval()
    with _nothing_moves(data, task, "computing losses"):
        losses = task.losses(network, whole)
    _check_losses(task, network, whole, losses, tolerance)
    _check_augmentation(task, whole, data)
    if isinstance(task, LogitTask):
        shape, labels = tuple(task.logits(network, whole).shape), task.labels(whole)
        _require(shape == (len(at), task.classes), task, f"gives logits of the shape {shape} for {len(at)} samples")
        inside = labels.shape == (len(at),) and bool(((labels >= 0) & (labels < task.classes)).all())
        _require(inside, task, f"gives labels {labels.tolist()} for {task.classes} classes")


# --- the parts that they share ---------------------------------------------------------------------------------------


def _require(holds: bool, who: object, otherwise: str) -> None:
    if not holds:
        raise ContractBroken(f"{type(who).__name__} {otherwise}")


def _check_settings(thing: Any) -> None:
    parameters = getattr(type(thing), "__dataclass_params__", None)
    frozen = dataclasses.is_dataclass(thing) and parameters is not None and parameters.frozen
    _require(frozen, thing, "is no frozen dataclass, so its settings may change after they were written down")
    try:
        back = settings.from_json(type(thing), json.loads(json.dumps(settings.to_json(thing))), "contract")
    except (TypeError, ValueError, ErasableError) as error:
        raise ContractBroken(f"{type(thing).__name__} has settings that JSON does not hold ({error})") from error
    _require(back == thing, thing, f"comes back from JSON as {back}")


@contextmanager
def _nothing_moves(data: Dataset, who: object, doing: str) -> Iterator[None]:
    """The data and the global generator are afterwards what they were."""
    digest, random = _digest(data), torch.get_rng_state()
    yield
    _require(_digest(data) == digest, who, f"changed the data while {doing}")
    _require(torch.equal(torch.get_rng_state(), random), who, f"drew from the global generator while {doing}")


def _digest(data: Dataset) -> str:
    return data.take(np.arange(len(data))).digest()  # a fresh view: digests are cached


def _state(model: Any) -> tuple[Any, ...]:
    parts = {part: set(ids) for part, ids in model.exposure.parts.items()}
    return weights_digest(model), _rows(model.memory), parts, model.exposure.mended


def _rows(memory: Memory | None, without: Iterable[str] = ()) -> str:
    """A memory's digest, computed from its rows and not from what it keeps of earlier digests."""
    if memory is None:
        return ""
    gone = set(without)
    return memory.select([each for each in memory.ids if each not in gone]).digest()


def _losses(model: Any, data: Dataset) -> Tensor:
    with torch.no_grad():
        losses: Tensor = model.task.losses(model, model.task.batch(data, torch.arange(len(data))))
    return losses


def _distance(a: Any, b: Any) -> float:
    """The largest difference between two models' weights and rows; infinity where they cannot be compared."""
    pairs: list[Any] = [(a.state_dict(), b.state_dict())]
    if a.memory is not None and b.memory is not None:
        if set(a.memory.ids) != set(b.memory.ids):
            return float("inf")
        ids = sorted(a.memory.ids)
        pairs.append(tuple({name: getattr(each.memory, name)[each.memory.rows(ids)]
                            for name in ("keys", "values", "labels")} for each in (a, b)))  # fmt: skip
    apart = 0.0
    for left, right in pairs:
        if {k: t.shape for k, t in left.items()} != {k: t.shape for k, t in right.items()}:
            return float("inf")
        apart = max(
            [apart, *(float((t.double() - right[k].double()).abs().max()) for k, t in left.items() if t.numel())]
        )
    return apart


def _check_trained(model: Any, data: Dataset) -> None:
    _require(isinstance(model, Trained), model, "lacks one of method, task, exposure and memory")
    _require(not model.training, model, "is trained and still in training mode")
    fitted = frozenset[str]().union(*model.exposure.parts.values())
    held = frozenset[str]() if model.memory is None else frozenset(model.memory.ids)
    strangers, missing = fitted - set(data.ids), set(data.ids) - fitted - held
    _require(not strangers, model, f"names {len(strangers)} ids in its exposure that are not in the data")
    _require(not missing, model, f"says of {len(missing)} samples neither that it was fitted on them nor that it "
             "stores them")  # fmt: skip


def _check_restored(model: Any, data: Dataset) -> None:
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    memory = None if model.memory is None else model.memory.select(model.memory.ids)
    with _nothing_moves(data, model.method, "restoring"):
        twin = model.method.restore(model.task, weights, memory, model.exposure)
    _require(_state(twin) == _state(model), model.method, "restores a model with other weights, rows or exposure")
    same = torch.equal(_losses(twin, data), _losses(model, data))
    _require(same, model.method, "restores a model that answers differently: it keeps state beside weights and rows")


def _check_refused(model: Any, error: type[ErasableError], ids: Iterable[str], data: Dataset | None, what: str) -> None:
    before = _state(model)
    try:
        model.forget(ids, data=data)
    except error as raised:
        _require("\n" not in str(raised), model, f"refuses {what} in more than one line")
    except Exception as raised:
        raise ContractBroken(f"{type(model).__name__} meets {what} with {type(raised).__name__}, "
                             f"not {error.__name__}") from raised  # fmt: skip
    else:
        raise ContractBroken(f"{type(model).__name__} accepts a request with {what}")
    _require(_state(model) == before, model, f"refuses {what} after it has changed")


def _check_erased(before: Any, model: Any, ids: Sequence[str]) -> None:
    _require(_state(model)[:2] != _state(before)[:2], model, "forgets without any change of weights or rows")
    if model.memory is not None:
        left = [each for each in ids if each in model.memory]
        _require(not left, model, f"still holds {len(left)} erased rows")
        same = _rows(model.memory) == _rows(before.memory, without=ids)
        _require(same, model, "changed the rows of samples that stay")
    for part, fitted in model.exposure.parts.items():
        lost = before.exposure.parts.get(part, frozenset()) ^ fitted
        _require(lost <= set(ids), model, f"moved {len(lost - set(ids))} samples that stay in the exposure of {part}")


def _check_exact(model: Any, twin: Any, who: object, tolerance: float) -> None:
    if model.memory is not None:
        same = _rows(model.memory) == _rows(twin.memory)
        _require(same, who, "claims to be exact and its rows are not those of training without the samples")
    apart = _distance(model, twin)
    _require(apart <= tolerance, who, f"claims to be exact and is {apart:.1e} away from training without the samples")


def _check_losses(task: Task, network: nn.Module, whole: dict[str, Tensor], losses: Tensor, tolerance: float) -> None:
    n = len(next(iter(whole.values())))
    fine = losses.shape == (n,) and bool(torch.isfinite(losses).all())
    _require(fine, task, f"gives losses of the shape {tuple(losses.shape)} for {n} samples, or not finite ones")
    for i in range(n):
        alone = task.losses(network, {name: tensor[i : i + 1] for name, tensor in whole.items()})
        near = bool((alone - losses[i]).abs().max() <= tolerance)
        _require(near, task, "gives a sample another loss in other company")
    weights = {name: p.detach().clone().requires_grad_() for name, p in network.named_parameters()}

    def run(given: dict[str, Tensor]) -> Tensor:
        return task.losses(_forward(network, given), whole)

    gradients = torch.autograd.grad(run(weights).sum(), list(weights.values()), allow_unused=True)
    moved = any(g is not None and bool(g.any()) for g in gradients)
    _require(moved, task, "has losses without a gradient")
    other = {name: 0.5 * p for name, p in weights.items()}
    try:
        members = vmap(run)({name: torch.stack([weights[name], other[name]]) for name in weights})
    except RuntimeError as error:
        raise ContractBroken(f"{type(task).__name__} has losses that cannot be vectorised ({error})") from error
    slow = torch.stack([run(weights), run(other)])
    _require(bool((members - slow).abs().max() <= tolerance), task, "has other losses when vectorised over members")


def _forward(network: nn.Module, weights: dict[str, Tensor]) -> Callable[..., Tensor]:
    return lambda *inputs: functional_call(network, weights, inputs)


def _check_augmentation(task: Task, whole: dict[str, Tensor], data: Dataset) -> None:
    if not task.draws:
        return
    n = len(next(iter(whole.values())))
    uniform = torch.rand(n, task.draws, generator=generator(0, "contract"))
    with _nothing_moves(data, task, "augmenting"):
        first, again = (task.augment({k: t.clone() for k, t in whole.items()}, uniform) for _ in range(2))
    for name, tensor in first.items():
        _require(torch.equal(tensor, again[name]), task, f"augments '{name}' differently for the same numbers")
        _require(tensor.shape == whole[name].shape, task, f"augments '{name}' into another shape")
    for i in range(n):
        alone = task.augment({k: t[i : i + 1].clone() for k, t in whole.items()}, uniform[i : i + 1])
        same = all(torch.equal(alone[name][0], tensor[i]) for name, tensor in first.items())
        _require(same, task, "augments a sample by another sample's numbers")
