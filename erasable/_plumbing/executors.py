"""Where the members of a fleet are trained: all at once, one by one, in processes of their own, or with Ray.

Each executor gives (number of the member, member) as members are finished; from another process a member comes packed,
as bytes. All give equal members: to the bit where a member is trained alone with as many threads, up to rounding where
members are stacked (see `train.fit`) or the threads are others.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from erasable._plumbing.members import pack
from erasable._plumbing.numbers import duration, times
from erasable.dataset import Dataset
from erasable.errors import BatchStatistics, MissingExtra, SettingsError
from erasable.unlearner import Method, Progress

Executor = Literal["auto", "vectorised", "one-by-one", "processes", "ray"]
CHUNKS = (16, 64)  # members at a time that are tried: cache and memory decide which is faster
FEWEST, MOST, LONGEST = 3, 12, 0.5  # steps of a trial, and seconds after which the fewest are enough


@runtime_checkable
class TrainsSubsets(Protocol):
    """A Method that trains members on parts of one data set, all at once.

    train_subsets(data, task, *, seeds, subsets, progress=None): as `Method.train`, member i on the samples at positions
    `subsets[i]` (members, m) and equal to the model that is trained alone on those.
    """

    def train_subsets(
        self, data: Dataset, task: Any, *, seeds: Sequence[int], subsets: Tensor | None, progress: Progress | None
    ) -> list[Any]: ...


@dataclass(frozen=True, eq=False)
class Job:
    """What is to be trained: member i of `todo` on `data.take(positions[i])` with `seeds[i]`."""

    method: Method
    data: Dataset
    task: Any
    positions: Tensor  # (models, m)
    seeds: Sequence[int]
    todo: Sequence[int]
    progress: Progress | None = None

    def part(self, first: int, parts: int) -> Progress | None:
        """The progress of one of so many equal parts."""
        whole = self.progress
        return None if whole is None else lambda done, of: whole(first * of + done, parts * of)

    def own(self, i: int) -> Dataset:
        return self.data.take(self.positions[i])


Finished = Iterator[tuple[int, Any]]


def one_by_one(job: Job) -> Finished:
    """After one another, each as if it were alone."""
    for k, i in enumerate(job.todo):
        told = job.part(k, len(job.todo))
        yield i, job.method.train(job.own(i), job.task, seeds=[job.seeds[i]], progress=told)[0]


def vectorised(job: Job, chunk: int) -> Finished:
    """`chunk` at a time, in chunks of nearly equal size. Raises SettingsError for a method that cannot."""
    if not isinstance(job.method, TrainsSubsets):
        raise SettingsError(f"executor='vectorised' for {type(job.method).__name__}",
                            expected="a method with `train_subsets`, such as Network or SPM",
                            do="choose 'one-by-one' or 'processes', or leave it to 'auto'")  # fmt: skip
    chunks = -(-len(job.todo) // chunk)
    for k in range(chunks):
        now = [*job.todo[len(job.todo) * k // chunks : len(job.todo) * (k + 1) // chunks]]
        models = job.method.train_subsets(job.data, job.task, seeds=[job.seeds[i] for i in now],
                                          subsets=job.positions[now], progress=job.part(k, chunks))  # fmt: skip
        yield from zip(now, models, strict=True)


# --- which of the two ------------------------------------------------------------------------------------------------


class Choice(NamedTuple):
    """`chunk` members at a time, 1 for one by one, and what was measured, in words."""

    chunk: int
    why: str


class _EnoughSteps(Exception):
    """Ends a training that was begun to be timed."""


class _Clock:
    """Stands in for `progress`: notes when each step was done, and ends the training after a few."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.at, self.steps = device, [time.perf_counter()], 0

    def __call__(self, done: int, of: int) -> None:
        if self.device.type != "cpu":
            torch.accelerator.synchronize()
        self.at.append(time.perf_counter())
        self.steps = of
        if done >= MOST or (done >= FEWEST and self.at[-1] - self.at[0] > LONGEST):
            raise _EnoughSteps

    def seconds(self, train: Callable[["_Clock"], Any]) -> float:
        """The fastest step but the first, which sets things up: what disturbs only makes a step slower."""
        with suppress(_EnoughSteps):
            train(self)
        steps = [after - before for before, after in zip(self.at, self.at[1:], strict=False)]
        return min(steps[1:] or steps or [time.perf_counter() - self.at[0]])


def faster(job: Job) -> Choice:
    """A few steps of one member alone and of a chunk, begun and thrown away; the faster per member is chosen."""
    method, todo = job.method, job.todo
    if len(todo) == 1:
        return Choice(1, "one by one: there is one model to train")
    if not isinstance(method, TrainsSubsets):
        return Choice(1, f"one by one: {type(method).__name__} does not train members on parts of the data together")
    if getattr(method, "sequential", False):
        return Choice(1, f"one by one: {type(method).__name__} was set to sequential=True")
    device = device_of(job.data)

    def whole(now: Sequence[int], progress: Progress) -> None:
        method.train_subsets(job.data, job.task, seeds=[job.seeds[i] for i in now], subsets=job.positions[[*now]],
                             progress=progress)  # fmt: skip

    def single(progress: Progress) -> None:
        method.train(job.own(todo[0]), job.task, seeds=[job.seeds[todo[0]]], progress=progress)

    clock = _Clock(device)
    tried = {1: clock.seconds(single)}
    for size in sorted({min(each, len(todo)) for each in CHUNKS}):
        together = _Clock(device)
        try:
            step = together.seconds(partial(whole, todo[:size]))
        except BatchStatistics as refused:
            return Choice(1, f"one by one: {refused.came}")
        at_once = size / max(1, round(together.steps / max(1, clock.steps)))  # memory may have made the chunk smaller
        tried[size] = step / at_once
    best = min(tried, key=lambda size: tried[size])
    numbers = "; ".join(
        f"{f'{size} together' if size > 1 else 'alone'} {duration(each)}" for size, each in tried.items()
    )
    chosen = "one by one" if best == 1 else f"vectorised, {best} together ({times(tried[1] / tried[best])} faster)"
    return Choice(best, f"{chosen}; per member and step: {numbers}")


def device_of(data: Dataset) -> torch.device:
    """Where the columns are, and so where models are trained."""
    column = next(iter(data.table.columns.values()))
    return column.device if isinstance(column, Tensor) else torch.device("cpu")


# --- elsewhere -------------------------------------------------------------------------------------------------------


class _Parcel(NamedTuple):
    """What another process needs: the data as arrays, since tensors would move into shared memory."""

    method: Any
    task: Any
    columns: dict[str, Any]
    facts: dict[str, Any]

    @classmethod
    def of(cls, job: Job) -> "_Parcel":
        data = job.data
        read = {name: data.read(name).cpu() for name in data.table.columns}
        columns = {name: each if each.dtype == torch.bfloat16 else each.numpy() for name, each in read.items()}
        facts = {"ids": data.ids, "owners": data.owners, "public": data.table.public[data.rows], "name": data.name,
                 "facts": dict(data.facts)}  # fmt: skip
        return cls(job.method, job.task, columns, facts)

    def train(self, data: Dataset, at: Any, seed: int) -> bytes:
        own = data.take(torch.as_tensor(at))
        return pack(self.method.train(own, self.task, seeds=[seed])[0], own.ids)

    def data(self) -> Dataset:
        return Dataset.of({name: torch.as_tensor(each) for name, each in self.columns.items()}, **self.facts)


_here: dict[str, Any] = {}  # in a worker process: its parcel and the data in it


def _begin(parcel: _Parcel) -> None:
    torch.set_num_threads(1)
    _here.update(parcel=parcel, data=parcel.data())


def _train(at: Any, seed: int) -> bytes:
    packed: bytes = _here["parcel"].train(_here["data"], at, seed)
    return packed


def processes(job: Job, workers: int | None) -> Finished:
    """In fresh processes with one thread each, as many as there are processors unless `workers` says otherwise.

    On the CPU, wherever the data are. Raises SettingsError where a process ends by itself.
    """
    count = min(workers or _processors(), len(job.todo))
    pool = ProcessPoolExecutor(count, get_context("spawn"), _begin, (_Parcel.of(job),))
    try:
        futures = {pool.submit(_train, job.positions[i].numpy(), job.seeds[i]): i for i in job.todo}
        for done, future in enumerate(as_completed(futures), 1):
            yield futures[future], future.result()
            if job.progress is not None:
                job.progress(done, len(futures))
    except BrokenProcessPool as wrong:
        raise SettingsError("a training process ended by itself", expected="processes that can start and have memory",
                            do="put what a script does below `if __name__ == '__main__':`, or use fewer workers"
                            ) from wrong  # fmt: skip
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def with_ray(job: Job) -> Finished:
    """One Ray task with one processor per member, on the cluster that is connected, else on this machine.

    Raises MissingExtra.
    """
    try:
        import ray
    except ImportError as wrong:
        raise MissingExtra("executor='ray' needs ray", expected="erasable[ray] to be installed",
                           do="pip install 'erasable[ray]'") from wrong  # fmt: skip
    if not ray.is_initialized():
        ray.init(include_dashboard=False, log_to_driver=False)
    parcel = ray.put(_Parcel.of(job))
    task = ray.remote(num_cpus=1)(_train_parcel)
    waiting = {task.remote(parcel, job.positions[i].numpy(), job.seeds[i]): i for i in job.todo}
    of = len(waiting)
    try:
        while waiting:
            for reference in ray.wait([*waiting])[0]:
                yield waiting.pop(reference), ray.get(reference)
                if job.progress is not None:
                    job.progress(of - len(waiting), of)
    finally:
        for reference in waiting:
            ray.cancel(reference)


def _train_parcel(parcel: _Parcel, at: Any, seed: int) -> bytes:
    torch.set_num_threads(1)
    return parcel.train(parcel.data(), at, seed)
