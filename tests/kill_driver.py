"""Kills processes that write, at every step they take, and looks at what they leave. Run by test_kill.py.

One process imports torch and forks a child for each kill, which saves the import. A child counts its steps (system
calls that Python makes, and SQL statements) and sends itself SIGKILL before the n-th; others are killed by the clock,
which also hits SQLite inside a statement, a commit or a checkpoint. Prints what was seen as JSON.
"""

import json
import os
import random
import resource
import shutil
import signal
import sqlite3
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from erasable.errors import AlreadyForgotten, StorageError
from erasable.memory import Memory
from erasable.run import Run
from tests.toy_run import Toy, ToyRefit, ToyTask, install_catalog, pattern, planted

DATA = planted(40)
GONE = ["s7", "s8", "s30"]
METHODS = {"memory": Toy(), "refit": ToyRefit(rekeys=True)}
WATCHED = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree", "sqlite3.connect"}


# --- children ------------------------------------------------------------------------------------------------------


def watch(step: Callable[[str], None]) -> None:
    """Call `step` before every fsync, file operation and SQL statement from here on."""
    fsync, connect = os.fsync, sqlite3.connect

    def slow_fsync(handle: int) -> None:
        step("fsync")
        fsync(handle)

    def traced(*args: object, **kwargs: object) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*args, **kwargs)  # type: ignore[call-overload]
        connection.set_trace_callback(lambda statement: step(" ".join(statement.split()[:2])))
        return connection

    os.fsync, sqlite3.connect = slow_fsync, traced  # type: ignore[assignment]
    sys.addaudithook(lambda event, _: step(event) if event in WATCHED else None)


def child(work: Callable[[], None]) -> int:
    """Run `work` in a fork; gives its pid."""
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return pid
    try:
        work()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)


def wait(pid: int) -> int:
    """0 when it ended, minus the signal when it was killed, 1 when it failed."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def steps_of(work: Callable[[], None], note: Path) -> list[str]:
    """The names of all steps that `work` takes."""

    def counting() -> None:
        seen: list[str] = []
        watch(seen.append)
        work()
        taken = list(seen)
        note.write_text(json.dumps(taken))

    assert wait(child(counting)) == 0
    return list(json.loads(note.read_text()))


def killed_at(work: Callable[[], None], n: int) -> int:
    """Run `work` and kill it before its n-th step."""

    def counted() -> None:
        left = n

        def step(_: str) -> None:
            nonlocal left
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1

        watch(step)
        work()

    return wait(child(counted))


def killed_after(work: Callable[[], None], seconds: float) -> int:
    pid = child(work)
    time.sleep(seconds)
    os.kill(pid, signal.SIGKILL)
    return wait(pid)


def points(steps: list[str]) -> list[int]:
    """Every step, but of a long row of equal ones only both ends."""
    ends = (0, len(steps) - 1)
    return [i for i in range(len(steps)) if i in ends or not steps[i - 1] == steps[i] == steps[i + 1]]


# --- what they leave -----------------------------------------------------------------------------------------------


def files_with(folder: Path, i: int) -> list[str]:
    return [each.name for each in folder.rglob("*") if each.is_file() and pattern(i) in each.read_bytes()]


def make(path: Path, method: Toy) -> Run:
    return Run.create(path, method.train(DATA, ToyTask(), seeds=[0])[0], data=DATA, spec={"name": "planted"})


def erase(path: Path) -> None:
    run = Run.open(path)
    run.forget(run.request("case", ids=GONE), data=DATA)


def look(path: Path, old: str, new: str) -> str:
    """Open a run that was hit: is it the old or the new state, whole? Then carry on with it."""
    run = Run.open(path)
    assert run.model.memory is not None
    assert sorted(each.name for each in path.iterdir() if each.name.endswith((".tmp", "-wal", "-shm"))) == []
    assert len(list(path.glob("model-*"))) == 1
    if run.model.memory.digest() == old:
        assert files_with(path, 7) == ["memory.sqlite"]
        assert run.receipts == ()
        assert not run.erased
        run.forget(run.request("case", ids=GONE), data=DATA)
        outcome = "old"
    else:
        outcome = "new"
    assert run.model.memory.digest() == new
    assert [files_with(path, int(each[1:])) for each in GONE] == [[]] * len(GONE)
    (receipt,) = run.receipts
    assert receipt.erasure == "L2", receipt.not_reached
    assert json.loads((path / "receipts" / "0001.json").read_text())["erasure"] == "L2"
    assert set(run.erased) == set(GONE)
    try:
        run.request("again", ids=GONE[:1])
    except AlreadyForgotten:
        return outcome
    raise AssertionError("a sample could be erased twice")


class Tally:
    """Counts outcomes, and keeps what went wrong."""

    def __init__(self) -> None:
        self.seen: dict[str, int] = {}
        self.wrong: list[str] = []

    def add(self, told: str, check: Callable[[], str]) -> None:
        try:
            outcome = check()
        except BaseException:
            self.wrong.append(f"{told}: {traceback.format_exc()}")
            return
        self.seen[outcome] = self.seen.get(outcome, 0) + 1


# --- the scenes ----------------------------------------------------------------------------------------------------


def kill_create(folder: Path, tally: Tally) -> None:
    """Nothing or everything; and the next creation removes what was left."""
    path = folder / "run"
    expected = Memory.digest(make(path, METHODS["memory"]).model.memory)

    def work() -> None:
        make(path, METHODS["memory"])

    def clear() -> None:
        for each in list(folder.iterdir()):
            shutil.rmtree(each)

    def check() -> str:
        outcome = "old"
        if path.exists():
            assert Run.open(path).model.memory.digest() == expected
            shutil.rmtree(path)
            outcome = "new"
        make(path, METHODS["memory"])
        assert [each.name for each in folder.iterdir()] == ["run"]
        return outcome

    clear()
    steps = steps_of(work, folder.parent / "steps.json")
    for n in points(steps):
        clear()
        assert killed_at(work, n) == -signal.SIGKILL
        tally.add(f"create, before step {n} ({steps[n]})", check)


def kill_forget(folder: Path, tally: Tally, method: str, draws: int) -> None:
    """Old or new, whole."""
    good, path = folder / "good", folder / "run"
    make(good, METHODS[method])
    old = Run.open(good).model.memory.digest()
    shutil.copytree(good, path)
    start = time.perf_counter()
    erase(path)
    seconds = time.perf_counter() - start
    new = Run.open(path).model.memory.digest()

    def fresh() -> None:
        shutil.rmtree(path)
        shutil.copytree(good, path)

    def work() -> None:
        erase(path)

    fresh()
    steps = steps_of(work, folder.parent / "steps.json")
    for n in points(steps):
        fresh()
        assert killed_at(work, n) == -signal.SIGKILL
        tally.add(f"forget ({method}), before step {n} ({steps[n]})", lambda: look(path, old, new))
    draw = random.Random(0)
    for _ in range(draws):
        fresh()
        at = draw.uniform(0, 1.3 * seconds)
        killed_after(work, at)
        tally.add(f"forget ({method}), after {at:.4f} s", lambda: look(path, old, new))


def kill_recovery(folder: Path, tally: Tally) -> None:
    """A second kill, while the opening repairs what the first one left."""
    good, path = folder / "good", folder / "run"
    make(good, METHODS["refit"])
    old = Run.open(good).model.memory.digest()
    shutil.copytree(good, path)
    steps = steps_of(lambda: erase(path), folder.parent / "steps.json")
    new = Run.open(path).model.memory.digest()
    committed = [i for i, each in enumerate(steps) if each.startswith("COMMIT")]
    shutil.rmtree(path)
    shutil.copytree(good, path)
    assert killed_at(lambda: erase(path), committed[0] + 1) == -signal.SIGKILL  # old weights and a full log are there
    hit = folder / "hit"
    path.rename(hit)
    shutil.copytree(hit, path)
    steps = steps_of(lambda: void(Run.open(path)), folder.parent / "steps.json")
    for n in points(steps):
        shutil.rmtree(path)
        shutil.copytree(hit, path)
        assert killed_at(lambda: void(Run.open(path)), n) == -signal.SIGKILL
        tally.add(f"recovery, before step {n} ({steps[n]})", lambda: look(path, old, new))


def kill_save(folder: Path, tally: Tally) -> None:
    """Memory.save over an older file."""
    path = folder / "memory.sqlite"
    memory = METHODS["memory"].train(DATA, ToyTask(), seeds=[0])[0].memory
    assert memory is not None
    memory.save(path)
    content, old = path.read_bytes(), memory.digest()
    memory.remove(GONE)

    def check() -> str:
        found = Memory.open(path)
        assert found.digest() in (old, memory.digest())
        return "old" if found.digest() == old else "new"

    steps = steps_of(lambda: memory.save(path), folder.parent / "steps.json")
    for n in points(steps):
        path.write_bytes(content)
        assert killed_at(lambda: memory.save(path), n) == -signal.SIGKILL
        tally.add(f"save, before step {n} ({steps[n]})", check)


def fill_disk(folder: Path, tally: Tally) -> None:
    """Files may not grow past a limit: the erasure is refused in one line and nothing changes, or it is done."""
    good, path = folder / "good", folder / "run"
    make(good, METHODS["refit"])
    old = Run.open(good).model.memory.digest()
    shutil.copytree(good, path)
    erase(path)
    new = Run.open(path).model.memory.digest()

    def limited(limit: int) -> Iterator[None]:
        run = Run.open(path)
        request = run.request("case", ids=GONE)
        before = run.model.memory.digest()
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        try:
            run.forget(request, data=DATA)
        except StorageError as refused:
            if "\n" in str(refused):
                raise
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            assert run.model.memory.digest() == before == old
        yield

    for limit in (0, 300, 700, 2000, 5000, 9000, 17000, 33000, 50000, 66000, 100000, 200000):
        shutil.rmtree(path)
        shutil.copytree(good, path)

        def check(limit: int = limit) -> str:
            assert wait(child(lambda: void(*limited(limit)))) == 0
            return look(path, old, new)

        tally.add(f"no file above {limit} bytes", check)


def void(*_: object) -> None:
    """For its arguments' effects."""


SCENES: dict[str, Callable[[Path, Tally], None]] = {
    "create": kill_create,
    "forget": lambda folder, tally: kill_forget(folder, tally, "memory", 12),
    "refit": lambda folder, tally: kill_forget(folder, tally, "refit", 12),
    "recovery": kill_recovery,
    "save": kill_save,
    "full": fill_disk,
}


def main() -> None:
    install_catalog()
    root = Path(sys.argv[1])
    told = {}
    for name in sys.argv[2:]:
        (root / name).mkdir()
        tally = Tally()
        SCENES[name](root / name, tally)
        told[name] = {"seen": tally.seen, "wrong": tally.wrong}
    print(json.dumps(told))


if __name__ == "__main__":
    main()
