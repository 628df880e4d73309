"""Which module may import which, and what importing may not do."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import erasable

ROOT = Path(erasable.__file__).parent
FAMILIES = {"datasets", "models", "tasks", "forgettable", "unlearners", "stresses", "signals", "attacks", "metrics",
            "scenarios"}  # fmt: skip
TOP = {
    "__init__",
    "audit",
    "catalog",
    "choice",
    "contracts",
    "controls",
    "demo",
    "development",
    "exhibits",
    "game",
    "groups",
    "panel",
    "probe",
    "recoverability",
    "rehearsal",
    "run",
    "score_audit",
    "source",
    "trials",
    "tuned",
    "tuning",
}  # fmt: skip (they know the families, and each other)
SURFACE = {"cli", "service"}  # nobody imports them

EXEMPT = {  # (who, whom): why
    ("forgettable.spm", "tasks"): "SPM reads the label column of a whole data set, which only Classification names",
}
EXTRAS = ["pyarrow", "PIL", "transformers", "tokenizers", "datasets", "accelerate", "huggingface_hub", "fastapi",
          "uvicorn", "opacus", "diffusers", "psycopg", "faiss", "ray"]  # fmt: skip
HEAVY = ["torch", "numpy", "scipy", "sklearn", "matplotlib", "transformers", "pyarrow", "pydantic"]
UNSAFE = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}

FILES = {".".join(file.relative_to(ROOT).with_suffix("").parts): file for file in sorted(ROOT.rglob("*.py"))}
MODULES = {name.removesuffix(".__init__") if name != "__init__" else "": name for name in FILES}


def imported(file):
    """Names of what a file imports, wherever in it: "erasable.memory" gives "memory"."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file.name} has a relative import"
            yield from (f"{node.module}.{each.name}" for each in node.names)


def own(file):
    """First parts of the modules of Erasable that a file imports."""
    return {name.split(".")[1] for name in imported(file) if name.startswith("erasable.")}


@pytest.mark.parametrize("name", FILES)
def test_layers(name):
    part = name.split(".")[0]
    found = own(FILES[name])
    if part in SURFACE:
        return
    banned = set(SURFACE)
    if part not in TOP:
        banned |= TOP - {"__init__"}
        banned |= FAMILIES - {part} if part in FAMILIES else FAMILIES
    wrong = {each for each in found & banned if (name, each) not in EXEMPT}
    assert not wrong


def test_exemptions_are_needed():
    for who, whom in EXEMPT:
        assert whom in own(FILES[who])


@pytest.mark.parametrize("name", FILES)
def test_nothing_that_runs_code_from_a_file_is_read(name):
    roots = {each.split(".")[0] for each in imported(FILES[name])}
    assert not roots & UNSAFE
    for node in ast.walk(ast.parse(FILES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            assert (node.value.id, node.attr) not in {("torch", "load"), ("torch", "save"), ("np", "load")}
        if isinstance(node, ast.Name):
            assert node.id not in {"eval", "exec"}
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            assert isinstance(node.value, ast.Constant)
            assert node.value.value is False


ALONE = """
import json, logging, os, sys
import torch, numpy.typing, pydantic.main, safetensors.torch, scipy, sqlite3, typer  # once; what is tried is ours
modules, extras = json.loads(sys.argv[1])
failed = {}
for name in modules:
    read, write = os.pipe()
    child = os.fork()
    if not child:
        for extra in extras:
            sys.modules[extra] = None  # not installed
        before = (dict(os.environ), torch.get_rng_state().tolist(), list(logging.root.handlers), os.getcwd())
        try:
            __import__(name)
            after = (dict(os.environ), torch.get_rng_state().tolist(), list(logging.root.handlers), os.getcwd())
            told = "" if before == after else "importing changed the surroundings"
        except BaseException as error:
            told = f"{type(error).__name__}: {error}"
        os.write(write, told.encode()[:4000])
        os._exit(0)
    os.close(write)
    told = b""
    while part := os.read(read, 4096):
        told += part
    os.close(read)
    os.waitpid(child, 0)
    if told:
        failed[name] = told.decode()
print(json.dumps(failed))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_each_module_imports_alone_without_extras_and_does_nothing():
    modules = [f"erasable.{name}".rstrip(".") for name in MODULES if not name.endswith("__main__")]
    done = subprocess.run([sys.executable, "-c", ALONE, json.dumps([modules, EXTRAS])], capture_output=True, text=True,
                          check=True, env={**os.environ, "PYTHONPATH": str(ROOT.parent)})  # fmt: skip
    assert json.loads(done.stdout.splitlines()[-1]) == {}


@pytest.mark.parametrize("module", ["erasable", "erasable.catalog", "erasable.errors", "erasable.cli"])
def test_the_command_line_starts_without_heavy_modules(module):
    if module.removeprefix("erasable.") not in {*MODULES, "erasable"}:
        pytest.skip(f"{module} does not exist yet")
    code = f"import sys, {module}; print([each for each in {HEAVY} if each in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                          env={**os.environ, "PYTHONPATH": str(ROOT.parent)})  # fmt: skip
    assert done.stdout.strip() == "[]"
