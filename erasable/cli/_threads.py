"""With how many threads torch computes: with one, where small steps are no slower so, and a busy machine gives no more.

Small networks gain little from a second thread. And threads wait for each other at every step: where other programs
want the processors too, that can make a step fifty times slower. So a few steps of the training that lies ahead are
tried with the usual number of threads and with one, in turn. What a user has set is left alone.

Sums over threads differ in the last bits, so a training is the same bit for bit only with the same number of threads.
The number that was chosen is said, and the command that repeats an audit sets it.
"""

import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

SET_BY_USER = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
STEPS, LONGEST = 12, 0.3  # of one trial, at most; and seconds after which three steps are enough
SLOW = 3.0  # seconds before the first step: whatever is computed there is not computed again and again
CLEARLY, BUSY = 1.1, 1.5  # times faster that the usual number has to be, on an idle machine and on a busy one

_usual: int | None = None  # threads, where another number was chosen


def choose(method: Any, data: Any, task: Any, seeds: Sequence[int], say: Callable[[str], None]) -> None:
    """Set torch to one thread where that is better for training `method` with so many seeds; says so in a line."""
    import torch

    usual = torch.get_num_threads()
    if usual == 1 or any(name in os.environ for name in SET_BY_USER) or _elsewhere(data):
        return
    try:
        found = _tried(method, data, task, seeds, usual)
    finally:
        torch.set_num_threads(usual)
    if found is None or found[1] > found[0] * (BUSY if busy(usual) else CLEARLY):
        return
    global _usual
    _usual = usual
    torch.set_num_threads(1)
    say(f"One thread instead of {usual}: a step takes {1000 * found[1]:.1f} ms instead of {1000 * found[0]:.1f} ms now "
        f"(OMP_NUM_THREADS={usual} says otherwise)")  # fmt: skip


def restore() -> None:
    """As it was before `choose`, for whoever goes on in this process."""
    global _usual
    if _usual is not None:
        import torch

        torch.set_num_threads(_usual)
        _usual = None


def repeating(command: str) -> str:
    """The command with the number of threads that was chosen."""
    return command if _usual is None else f"OMP_NUM_THREADS=1 {command}"


def busy(threads: int) -> bool:
    """Did others use the processors in the last minute that so many threads would need?"""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return hasattr(os, "getloadavg") and os.getloadavg()[0] > processors - threads + 0.5


def _elsewhere(data: Any) -> bool:
    from erasable._plumbing.executors import device_of

    return device_of(data).type != "cpu"


def _tried(method: Any, data: Any, task: Any, seeds: Sequence[int], usual: int) -> tuple[float, float] | None:
    """Seconds of a step with the usual number of threads and with one, the means of two trials each; None where it
    takes too long to begin."""
    import torch

    from erasable.errors import BatchStatistics

    def trial(threads: int) -> tuple[float, float]:
        torch.set_num_threads(threads)
        clock = _Clock()
        with suppress(_EnoughSteps):
            method.train(data, task, seeds=seeds, progress=clock)
        return clock.seconds()

    try:
        before, first = trial(usual)
    except BatchStatistics:  # members of this network are trained one by one
        seeds = seeds[:1]
        before, first = trial(usual)
    if before > SLOW and not busy(usual):
        return None
    steps = {usual: [first], 1: [trial(1)[1]]}
    if before + first <= SLOW:
        steps[usual].append(trial(usual)[1])
        steps[1].append(trial(1)[1])
    return sum(steps[usual]) / len(steps[usual]), sum(steps[1]) / len(steps[1])


class _EnoughSteps(Exception):
    """Ends a training that was begun to be timed."""


class _Clock:
    """Stands in for `progress`: notes when each step was done, and ends the training after a few."""

    def __init__(self) -> None:
        self.at = [time.perf_counter()]

    def __call__(self, done: int, of: int) -> None:
        self.at.append(time.perf_counter())
        if len(self.at) > STEPS or (len(self.at) > 3 and self.at[-1] - self.at[0] > LONGEST):
            raise _EnoughSteps

    def seconds(self) -> tuple[float, float]:
        """Before the first step was done, and of a step after that; all of it where there were no steps."""
        now = time.perf_counter()
        if len(self.at) < 3:
            return 0.0, now - self.at[0]
        return self.at[1] - self.at[0], (self.at[-1] - self.at[1]) / (len(self.at) - 2)
