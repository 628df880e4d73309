"""How models come to be, and how samples leave them.

Method      settings (a frozen dataclass) that train models: plain networks and models designed to forget
Trained     what a Method returns: a network that knows its method, its exposure and its memory
Unlearner   settings you call, (model, split, task, seed) -> model: changes a plain network after the fact
forget      the one verb: erases a Request from a model by either way and returns a Receipt
"""

import copy
import hashlib
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar, Literal, Protocol, TypeVar, cast, runtime_checkable

import torch
from torch import Tensor, nn

from erasable.dataset import Dataset
from erasable.errors import NotForgettable, UndeclaredAccess
from erasable.memory import Memory
from erasable.receipt import INPUT_SCALING, Exposure, Level, Receipt, Tuning, digest_of_ids
from erasable.request import Request, Split
from erasable.task import Task

Progress = Callable[[int, int], None]  # (steps done, steps in all)
Needs = frozenset[Literal["forget", "retain"]]
TaskT = TypeVar("TaskT", bound=Task, contravariant=True)


@runtime_checkable
class Trained(Protocol):
    """A trained `nn.Module` with what an erasure has to know.

    `memory` is None for a model that has none; its tensors are not part of `state_dict()`.
    """

    method: "Method"
    task: Task
    exposure: Exposure
    memory: Memory | None

    def __call__(self, *inputs: Tensor) -> Tensor: ...
    def state_dict(self) -> dict[str, Any]: ...


@runtime_checkable
class Forgettable(Trained, Protocol):
    """A model designed to forget."""

    def forget(self, ids: Iterable[str], *, data: Dataset | None = None) -> None:
        """Erase samples in place. `data` is the training data, for methods that refit a part (`needs_data`).

        Raises UnknownSample, AlreadyForgotten, NotErasable; then nothing has changed.
        """
        ...


@runtime_checkable
class Method(Protocol):
    """Settings that train models. Fields are hyper-parameters, command-line flags and provenance."""

    @property
    def needs_data(self) -> bool:
        """Does forgetting train a part on the retained data? A class variable where no setting decides it."""
        ...

    def train(self, data: Dataset, task: Any, *, seeds: Sequence[int], progress: Progress | None = None) -> list[Any]:
        """One Trained model per seed; member i equals the model trained alone with that seed."""
        ...

    def restore(self, task: Any, weights: dict[str, Tensor], memory: Memory | None, exposure: Exposure) -> Any:
        """The model that was stored as `weights` (its state_dict) and `memory`."""
        ...


class Unlearner(Protocol[TaskT]):
    """A post-hoc method. It consumes the model it is given and may return the same object.

    `needs` names the parts of the split that it reads; touching another raises UndeclaredAccess.
    """

    guarantee: ClassVar[Level]
    needs: ClassVar[Needs]

    def __call__(self, model: nn.Module, split: Split, task: TaskT, *, seed: int) -> nn.Module: ...


@runtime_checkable
class Tried(Protocol):
    """An unlearner whose settings were chosen by trying them out on samples of their own (`erasable/tuned.py`).

    plain        the unlearner without that
    development  the ids of these samples
    """

    plain: Unlearner[Any]
    tuning: Tuning
    development: tuple[str, ...]

    def refuse(self, request: Request) -> None:
        """Raises MismatchError for a request that holds samples by which the settings were chosen."""
        ...


class _Undeclared:
    """Stands in for a data set that the unlearner did not declare."""

    _name = "undeclared"  # of a copy, until it has its own
    _unlearner = "An unlearner"

    def __init__(self, name: str, unlearner: object) -> None:
        self.__dict__.update(_name=name, _unlearner=type(unlearner).__name__)

    def _refuse(self, *_: object, **__: object) -> Any:
        raise UndeclaredAccess(f"{self._unlearner} read the {self._name} data", expected="only data that it declares",
                               do=f"add '{self._name}' to its `needs`")  # fmt: skip

    __getattr__ = __len__ = __iter__ = __getitem__ = _refuse


def declared(split: Split, unlearner: Unlearner[Any]) -> Split:
    """The split with undeclared halves replaced by objects that raise."""
    halves = {
        name: getattr(split, name) if name in unlearner.needs else cast(Dataset, _Undeclared(name, unlearner))
        for name in ("forget", "retain")
    }
    return Split(**halves)


def weights_digest(model: nn.Module | Trained) -> str:
    """SHA-256 of a model's state_dict: names, types, shapes and bytes."""
    hasher = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        hasher.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        hasher.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return hasher.hexdigest()


def forget(
    model: Any,
    request: Request,
    *,
    data: Dataset | None = None,
    unlearner: Unlearner[Any] | None = None,
    seed: int = 0,
) -> tuple[Any, Receipt]:
    """Erase a request from a model and say what that guarantees.

    A model designed to forget is changed in place and returned. For any other, give `unlearner` and the training
    `data`; a changed copy is returned. `Receipt.seconds` is the time of the erasure itself, without digests.

    Raises NotForgettable without a way to forget, and what Request.split, Forgettable.forget and Tried.refuse raise.
    """
    from erasable import __version__

    tuning, left_alone = None, 0
    if isinstance(unlearner, Tried):
        unlearner.refuse(request)
        unlearner, tuning = unlearner.plain, unlearner.tuning
    weights_before = weights_digest(model)
    memory_before = model.memory.digest() if getattr(model, "memory", None) is not None else ""
    level: Level
    if unlearner is not None:
        if data is None:
            raise NotForgettable("an unlearner came without data", expected="the training data", do="pass data=...")
        split = request.split(data)
        result = copy.deepcopy(model)
        start = time.perf_counter()
        result = unlearner(result, declared(split, unlearner), model.task, seed=seed)
        seconds = time.perf_counter() - start
        left_alone = len(set(getattr(result, "left_alone", ())).intersection(request.ids))
        but = f", but left {left_alone} of {len(request.ids)} samples alone" if left_alone else ""
        level, why = unlearner.guarantee, f"{type(unlearner).__name__} changed the weights{but}; no audit is attached"
        exposure = model.exposure.of(request.ids)
        if level == "exact":
            again = [part for part in model.exposure.parts if part != INPUT_SCALING]
            remaining = model.exposure.without(request.ids, again)
            result.exposure = remaining
            level, why = remaining.level(request.ids)
            exposure = remaining.of(request.ids)
        name = type(unlearner).__name__
    elif isinstance(model, Forgettable):
        result = model
        start = time.perf_counter()
        model.forget(request.ids, data=data)
        seconds = time.perf_counter() - start
        level, why = model.exposure.level(request.ids)
        exposure = model.exposure.of(request.ids)
        name = type(model.method).__name__
    else:
        raise NotForgettable(f"a {type(model).__name__} has nothing to erase from", expected="a model designed to "
                             "forget, or an unlearner", do="pass unlearner=..., for example Retrain()")  # fmt: skip
    receipt = Receipt(
        case=request.case,
        received=request.received,
        completed=datetime.now(UTC).isoformat(timespec="seconds"),
        method=name,
        samples=len(request.ids),
        ids_digest=digest_of_ids(request.ids),
        level=level,
        why=why,
        exposure=exposure,
        memory_before=memory_before,
        memory_after=result.memory.digest() if getattr(result, "memory", None) is not None else "",
        weights_before=weights_before,
        weights_after=weights_digest(result),
        seconds=seconds,
        tuning=tuning,
        left_alone=left_alone,
        erasable_version=__version__,
    )
    return result, receipt
