"""How many threads torch computes with: chosen by trials of the training that lies ahead, said, and taken back."""

import contextlib
import io
import json

import pytest
import torch

from erasable.cli import _threads
from erasable.errors import BatchStatistics
from erasable.report import Report
from erasable.run import Run
from tests.test_cli import call, done, trained
from tests.toys import blob_task, blobs

DATA, TASK = blobs(30), blob_task()


@pytest.fixture
def machine(monkeypatch):
    """A clock that moves on when a method of these tests trains, four threads, and what the machine is doing."""

    class Machine:
        now, load, threads = 0.0, 0.0, 4

    made = Machine()
    for name in _threads.SET_BY_USER:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(_threads.time, "perf_counter", lambda: made.now)
    monkeypatch.setattr(_threads.os, "getloadavg", lambda: (made.load, 0, 0), raising=False)
    monkeypatch.setattr(_threads.os, "sched_getaffinity", lambda pid: range(4), raising=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: made.threads)
    monkeypatch.setattr(torch, "set_num_threads", lambda to: setattr(made, "threads", to))
    yield made
    _threads.restore()


class Method:
    """Its steps take so many seconds, with one thread and with more; `begin` is what comes before the first."""

    def __init__(self, machine, one, more, *, begin=0.0, alone=False):
        self.machine, self.one, self.more, self.begin, self.alone, self.calls = machine, one, more, begin, alone, []

    def train(self, data, task, *, seeds, progress):
        if self.alone and len(seeds) > 1:
            raise BatchStatistics("a layer", expected="another", do="train one by one")
        self.calls.append((self.machine.threads, len(seeds)))
        self.machine.now += self.begin
        for step in range(1000):
            self.machine.now += self.one if self.machine.threads == 1 else self.more
            progress(step + 1, 1000)
        raise AssertionError("the training was not ended")


def chosen(machine, method, seeds=range(3)):
    lines = []
    _threads.choose(method, DATA, TASK, seeds, lines.append)
    return machine.threads, lines


@pytest.mark.parametrize(("one", "more", "load", "threads"), [
    (0.001, 0.002, 0.0, 1),
    (0.001, 0.001, 0.0, 1),  # others are glad of the processors
    (0.003, 0.002, 0.0, 4),
    (0.0028, 0.002, 0.0, 4),
    (0.0028, 0.002, 3.0, 1),  # now, but not for long: others want them too
    (0.004, 0.002, 3.0, 4),
])  # fmt: skip
def test_the_number_that_steps_are_faster_with(machine, one, more, load, threads):
    machine.load = load
    found, lines = chosen(machine, Method(machine, one, more))
    assert found == threads
    assert len(lines) == (threads == 1)
    if lines:
        told = f"a step takes {1000 * one:.1f} ms instead of {1000 * more:.1f} ms now"
        assert lines == [f"One thread instead of 4: {told} (OMP_NUM_THREADS=4 says otherwise)"]
        assert _threads.repeating("erasable audit run") == "OMP_NUM_THREADS=1 erasable audit run"
    _threads.restore()
    assert machine.threads == 4
    assert _threads.repeating("erasable audit run") == "erasable audit run"


def test_a_trial_is_short(machine):
    """A few steps of each, in turn; two trials only of what takes long."""
    method = Method(machine, 0.001, 0.002)
    chosen(machine, method)
    assert method.calls == [(4, 3), (1, 3), (4, 3), (1, 3)]
    assert machine.now < 0.1
    _threads.restore()
    slow = Method(machine, 1.0, 2.0)
    begun = machine.now
    assert chosen(machine, slow)[0] == 1
    assert slow.calls == [(4, 3), (1, 3)]
    assert machine.now - begun <= 3 * 1 + 3 * 2


def test_what_is_long_to_begin_is_begun_once(machine):
    method = Method(machine, 0.001, 0.002, begin=60.0)
    assert chosen(machine, method) == (4, [])
    assert len(method.calls) == 1


def test_members_that_cannot_be_trained_together_are_tried_alone(machine):
    method = Method(machine, 0.001, 0.002, alone=True)
    assert chosen(machine, method)[0] == 1
    assert {members for _, members in method.calls} == {1}


def test_what_the_user_set_is_left_alone(machine, monkeypatch):
    method = Method(machine, 0.001, 0.002)
    for name in _threads.SET_BY_USER:
        with monkeypatch.context() as now:
            now.setenv(name, "2")
            assert chosen(machine, method) == (4, [])
    machine.threads = 1
    assert chosen(machine, method) == (1, [])
    assert method.calls == []


def test_a_failure_leaves_the_usual_number(machine):
    class Fails:
        def train(self, *_, **__):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        chosen(machine, Fails())
    assert machine.threads == 4


def test_commands_say_it_once_and_take_it_back(tmp_path, monkeypatch):
    """Training and audit, with a machine on which one thread is always faster; the report can be repeated."""
    usual = torch.get_num_threads()
    for name in _threads.SET_BY_USER:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(_threads, "_tried", lambda *_: (0.02, 0.001))
    torch.set_num_threads(2)
    try:
        errors = io.StringIO()
        with contextlib.redirect_stderr(errors):
            run = trained(tmp_path, "spm")
        assert torch.get_num_threads() == 2
        assert Run.open(run).manifest["data"]["spec"]["training"]["threads"] == 1
        done("forget", run, "--owner", "person 4")
        code, out, err = call("audit", run, "--suite", "quick", "--oracles", 2, "--no-relearn", "--json")
        assert (code, torch.get_num_threads()) == (0, 2)
        assert sum("One thread instead of 2" in line for line in err) == 1
        with open(json.loads(out)["json"], "rb") as file:
            report = Report.from_json(file.read())
        assert report.command.startswith("OMP_NUM_THREADS=1 erasable audit run ")
        assert report.platform.endswith("threads: 1")
    finally:
        torch.set_num_threads(usual)
