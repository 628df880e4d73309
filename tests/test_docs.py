"""What is promised in writing: snippets run and print what they say, docs/cli.md is current, public names exist."""

import contextlib
import io
import itertools
import os
import re
import shlex
import subprocess
import sys
import types
from pathlib import Path

import pytest

import erasable
from erasable import Network, Probe, Recipe, Request, Subject, cli, judge, oracles
from erasable.cli import reference
from erasable.cli._audit_run import MODELS, ORACLES
from erasable.report import STATUSES
from erasable.verdict import REMEMBERS
from tests.toys import blob_task, blobs

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(page):
    """(language, code, what it should print or None); a text block right after a snippet is its output."""
    text = page.read_text(encoding="utf-8")
    found = list(BLOCK.finditer(text))
    for i, each in enumerate(found):
        after = found[i + 1] if i + 1 < len(found) else None
        follows = after is not None and after[1] == "text" and not text[each.end() : after.start()].strip()
        yield each[1], each[2], after[2] if follows else None


def says(expected):
    """A pattern: '...' stands for anything, and lines may be wrapped anywhere."""
    words = [re.escape(each).replace(re.escape("..."), ".*?") for each in expected.split()]
    return re.compile(r"\s+".join(words) + r"\s*", re.DOTALL)


@pytest.mark.parametrize("page", [each for each in PAGES if any(kind == "python" for kind, _, _ in blocks(each))],
                         ids=lambda page: page.name)  # fmt: skip
def test_python_snippets_run_and_print_what_they_say(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = types.ModuleType(f"snippets_of_{page.stem}")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    for kind, code, expected in blocks(page):
        if kind != "python":
            continue
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compile(code, f"{page.name}: {code.strip().splitlines()[0]}", "exec"), module.__dict__)
        if expected is not None:
            assert says(expected).fullmatch(out.getvalue().strip()), out.getvalue()


@pytest.mark.parametrize("page", [each for each in PAGES if any(kind == "bash" for kind, _, _ in blocks(each))],
                         ids=lambda page: page.name)  # fmt: skip
def test_commands_run_one_after_another(page, tmp_path, monkeypatch):
    """Those with `erasable`, but for the demo, which has its own test. Networks and fleets are made small."""
    small = ["--network", "mlp width=16", "--epochs", "3"]
    smaller = {"train": small, "rehearse": [*small, "--oracles", "3"], "full": ["--oracles", "3", "--models", "16"]}
    monkeypatch.chdir(tmp_path)
    for kind, code, _ in blocks(page):
        lines = code.replace("\\\n", " ").splitlines() if kind == "bash" else []
        for line in lines:
            words = shlex.split(line, comments=True)
            if words[:1] == ["erasable"] and words[1] != "demo":
                faster = [each for word in (words[1], words[-1]) for each in smaller.get(word, [])]
                with contextlib.redirect_stdout(io.StringIO()):
                    assert cli.main([*words[1:], *faster]) == 0, line
            elif words[:1] == ["make"]:
                targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
                assert set(words[1:]) <= set(targets), line


def test_the_page_of_the_command_line_is_current(tmp_path):
    page = ROOT / "docs" / "cli.md"
    assert reference.main(["--check", str(page)]) == 0, "run 'make docs'"
    (tmp_path / "old.md").write_text(page.read_text() + "\n")
    assert reference.main(["--check", str(tmp_path / "old.md")]) == 1
    assert reference.main([]) == 2
    for command in cli.COMMANDS:
        told = io.StringIO()
        with contextlib.redirect_stdout(told):
            assert cli.main([command.__name__, "--help"]) == 0
        for option in re.findall(r"--[a-z][a-z-]+", told.getvalue()):
            assert option in page.read_text(), f"{command.__name__} {option}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8")):
        if not re.match(r"\w+:", target):
            assert (page.parent / target).exists(), target


def rows_of(page, heading):
    """The cells of the first table below a heading, without its head."""
    lines = page.read_text(encoding="utf-8").split(f"## {heading}\n", 1)[1].splitlines()
    first = next(at for at, line in enumerate(lines) if line.startswith("|"))
    table = itertools.takewhile(lambda line: line.startswith("|"), lines[first + 2 :])
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


def test_the_rules_in_writing_are_those_of_the_code():
    page = ROOT / "docs" / "verdicts.md"
    statuses = {cells[0].strip("`"): cells[1].strip("*") for cells in rows_of(page, "The four statuses")}
    assert statuses == STATUSES
    side = {"above": 1, "below": -1, "no side": 0}
    told = {cells[0]: side[cells[3]] for cells in rows_of(page, "The numbers that are judged")}
    assert {name: known for name, known in told.items() if known} == REMEMBERS
    suites = {cells[0].split("`")[1]: cells[1:4] for cells in rows_of(page, "Suites")}
    assert {name: int(cells[0]) for name, cells in suites.items()} == ORACLES
    assert int(suites["full"][2].split(",")[0]) == MODELS


def test_the_table_of_judged_numbers_is_complete():
    """The names and which edges of the band count, from an audit of toys that erases a whole class."""
    data, fresh, task = blobs(48, seed=1), blobs(90, seed=2), blob_task()
    request, method = Request("toy", data.ids[::3]), Network(network="mlp width=4", recipe=Recipe(epochs=1))
    model, probe = method.train(data, task, seeds=[9])[0], Probe.of(request, data, fresh, task)
    subject = Subject(name="toy", model=model, before=probe.look([model]),
                      oracles=oracles(method, data.without(request.ids), task, seeds=range(3)))  # fmt: skip
    judged = judge([subject], probe, title="toy", suite="standard").rows[0].judged
    rows = rows_of(ROOT / "docs" / "verdicts.md", "The numbers that are judged")
    edges = {"both": "match", "above": "lower"}
    assert {cells[0]: edges[cells[2]] for cells in rows} == {each.metric: each.direction for each in judged}


def test_public_names():
    assert len(erasable.__all__) == len(set(erasable.__all__)) <= 25
    assert dir(erasable) == sorted(erasable.__all__)
    for name in erasable.__all__:
        assert getattr(erasable, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        erasable.Nothing  # noqa: B018
    space = {}
    exec("from erasable import *", space)
    assert space["SPM"] is erasable.SPM


def test_each_public_name_can_be_the_first_that_is_asked_for():
    """In its own process: no name may depend on another one having been imported before."""
    code = "import sys, erasable; assert 'torch' not in sys.modules; getattr(erasable, sys.argv[1])"
    for name in ("Run", "forget", "datasets", "judge"):
        subprocess.run([sys.executable, "-W", "error", "-c", code, name], check=True, env=os.environ)
