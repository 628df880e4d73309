"""What is being done and for how long: a bar in a terminal, one line per step elsewhere; on standard error."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Told = Callable[[int, int], None]  # (done, in all)


class Steps:
    """Steps of a piece of work, each with the seconds that it is expected to take.

    `expected` is the sum over all steps. How long they really took so far corrects what is said about the rest.
    """

    def __init__(self, expected: float = 0.0, *, terminal: bool | None = None) -> None:
        self.expected = expected
        self.terminal = sys.stderr.isatty() if terminal is None else terminal
        self.start = time.perf_counter()
        self._planned = self._taken = 0.0  # of the steps that ended

    @property
    def elapsed(self) -> float:
        return time.perf_counter() - self.start

    @property
    def pace(self) -> float:
        """Real seconds per expected second; 1 until something is known."""
        return self._taken / self._planned if self._planned >= 0.5 else 1.0

    @property
    def left(self) -> float:
        """Seconds that all remaining steps will take."""
        return max(0.0, self.expected - self._planned) * self.pace

    def say(self, text: str) -> None:
        """A line of its own."""
        print(text, file=sys.stderr, flush=True)

    @contextmanager
    def step(self, what: str, *, about: float) -> Iterator[Told]:
        """`about` seconds of doing `what`; the function that it gives is told how far it is."""
        begun = time.perf_counter()
        whole = f", {duration(self.left)} left in all" if self.expected > about else ""
        about_now = duration(about * self.pace)
        if self.terminal:
            with self._bar(f"{what} (about {about_now}{whole})") as told:
                yield told
        else:
            self.say(f"[{duration(self.elapsed):>5}] {what} (about {about_now}{whole})")
            yield lambda done, of: None
        self._planned += about
        self._taken += time.perf_counter() - begun

    @contextmanager
    def _bar(self, what: str) -> Iterator[Told]:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        columns: tuple[Any, ...] = (TextColumn("{task.description}"), BarColumn(bar_width=24), TimeElapsedColumn())
        with Progress(*columns, console=Console(stderr=True)) as bars:
            bar = bars.add_task(what, total=None)
            yield lambda done, of: bars.update(bar, completed=done, total=of)
            bars.update(bar, total=1, completed=1)


def duration(seconds: float) -> str:
    """In words short enough for a line: 0.4 s, 12 s, 3 min, 2 h."""
    if seconds < 1:
        return f"{seconds:.1f} s"
    if seconds < 180:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
