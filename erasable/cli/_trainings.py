"""The models that an audit trains: how long they will take, and where they are kept until the report is there.

Members are trained together, `CHUNK` at a time, wherever the method can; which way is taken is no matter of timing, so
that the same command gives the same numbers. What is finished is in a folder beside the run: an audit that is
interrupted goes on where it stopped, and the folder is removed with the report, for most of these models were trained
on erased samples too.
"""

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from erasable import population
from erasable._plumbing.executors import TrainsSubsets, device_of
from erasable._plumbing.storage import alone
from erasable.dataset import Dataset
from erasable.errors import BatchStatistics, ErasableError, StorageError
from erasable.fleet import Fleet, Log, Plan, train_fleet
from erasable.population import Population
from erasable.unlearner import Method, Progress

CHUNK = 16  # more at once are hardly faster, and an interruption loses the chunk that is being trained
FEWEST, LONGEST = 4, 0.4  # steps of a trial, and seconds after which the fewest are enough


class Trainings:
    """Trains models of one method on parts of `data`, and tells beforehand how many seconds that takes."""

    def __init__(self, method: Method, data: Dataset, task: Any, folder: Path, log: Log) -> None:
        self.method, self.data, self.task, self.folder, self.log = method, data, task, folder, log
        self.together = isinstance(method, TrainsSubsets) and not getattr(method, "sequential", False)

    def oracles(self, gone: Sequence[str], seeds: Sequence[int], progress: Progress | None) -> Population:
        """Models that never saw `gone`; not kept in the folder where the method cannot train on parts."""
        if not isinstance(self.method, TrainsSubsets):
            return population.oracles(self.method, self.data.without(gone), self.task, seeds=seeds, progress=progress)
        return self.fleet(self._without(gone, seeds), progress).population()

    def oracle_seconds(self, gone: Sequence[str], seeds: Sequence[int]) -> float:
        if isinstance(self.method, TrainsSubsets):
            return self.seconds(self._without(gone, seeds))
        left = self.data.without(gone)
        return self._trial(lambda told: self.method.train(left, self.task, seeds=seeds, progress=told))

    def control(self, seed: int, progress: Progress | None) -> Any:
        """One model that was trained on everything."""
        return self.fleet(self._whole(seed), progress)[0]

    def control_seconds(self, seed: int) -> float:
        return self.seconds(self._whole(seed))

    def fleet(self, plan: Plan, progress: Progress | None) -> Fleet:
        """The models of a plan, those that are in the folder already not trained again."""

        def trained(together: bool) -> Fleet:
            return train_fleet(self.method, self.data, self.task, plan, folder=self.folder, progress=progress,
                               executor="vectorised" if together else "one-by-one", chunk=CHUNK)  # fmt: skip

        try:
            return trained(self.together)
        except BatchStatistics as refused:  # before any step was made
            if not self.together:
                raise
            self.log(f"Models are trained one by one: {refused.came}")
            self.together = False
            return trained(False)

    def seconds(self, plan: Plan) -> float:
        """What the training of a plan will take."""
        data, chunks = self.data.take(self.data.positions(plan.ids)), -(-len(plan) // CHUNK)
        first = -(-len(plan) // chunks)

        def some(told: Progress) -> None:
            at, method = plan.positions[:first], self.method
            assert isinstance(method, TrainsSubsets)
            method.train_subsets(data, self.task, seeds=plan.seeds[:first], subsets=at, progress=told)

        def one(told: Progress) -> None:
            own = data.take(plan.positions[0])
            self.method.train(own, self.task, seeds=plan.seeds[:1], progress=told)

        if self.together:
            try:
                return self._trial(some) * len(plan) / first
            except BatchStatistics:
                self.together = False
        return self._trial(one) * len(plan)

    def _trial(self, train: Callable[[Progress], Any]) -> float:
        """Seconds of a whole training, from its first steps; it is then thrown away."""
        device, at, done_at, of = device_of(self.data), [time.perf_counter()], [0], 1

        def told(done: int, steps: int) -> None:
            nonlocal of
            if device.type != "cpu":
                torch.accelerator.synchronize()
            at.append(time.perf_counter())
            done_at.append(done)
            of = steps
            if done < steps and len(at) > FEWEST and at[-1] - at[0] > LONGEST:
                raise _EnoughSteps

        try:
            train(told)
        except _EnoughSteps:
            pace = (at[-1] - at[1]) / max(1, done_at[-1] - done_at[1])  # the first step sets things up
            return at[-1] - at[0] + pace * (of - done_at[-1])
        return time.perf_counter() - at[0]

    def _without(self, gone: Sequence[str], seeds: Sequence[int]) -> Plan:
        return replace(Plan.without(self.data.ids, gone, models=len(seeds)), seeds=tuple(seeds))

    def _whole(self, seed: int) -> Plan:
        return Plan(self.data.ids, torch.ones(1, len(self.data), dtype=torch.bool), (seed,))


class _EnoughSteps(Exception):
    """Ends a training that was begun to be timed."""


@contextmanager
def kept_beside(run: Path, log: Log) -> Iterator[Path]:
    """A folder for finished models, which is gone afterwards; it stays where the audit can be begun again and go on.

    Raises StorageError while another process audits the run.
    """
    folder = run.with_name(f".{run.name}.audit")
    with alone(folder, f"'{run}' is being audited by another process"):
        found = finished(folder)
        if found:
            log(f"{found} models of an interrupted audit are there: what fits is not trained again")
        try:
            yield folder
        except BaseException as wrong:
            again = isinstance(wrong, ErasableError) and not isinstance(wrong, StorageError)  # it would only come again
            if (left := finished(folder)) and not again:
                log(f"{left} finished models stay in '{folder}': the same audit, started again, goes on where it "
                    "stopped; without it remove the folder, for models in it know erased samples")  # fmt: skip
            else:
                shutil.rmtree(folder, ignore_errors=True)
            raise
        shutil.rmtree(folder)


def finished(folder: Path) -> int:
    """Models that are stored in a folder."""
    return sum(1 for _ in folder.rglob("[!.]*.safetensors")) if folder.is_dir() else 0
