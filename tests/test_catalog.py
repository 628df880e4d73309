"""The catalog: every entry is there, everything that should be an entry is one, and looking imports nothing."""

import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import erasable
from erasable import catalog
from erasable._plumbing.architecture import ENCODERS
from erasable.errors import ErasableError, UnknownName
from erasable.network import Network

FOLDERS = {
    "methods": "forgettable", "unlearners": "unlearners", "datasets": "datasets", "tasks": "tasks", "models": "models",
    "signals": "signals", "attacks": "attacks", "metrics": "metrics", "stresses": "stresses",
    "scenarios": "scenarios",
}  # fmt: skip

FINAL = {"methods": "needs_data", "unlearners": "guarantee", "tasks": "losses"}  # what marks a final class
NOT_ENTRIES = {
    "erasable.datasets.owners": "makes owners, not data",
    "erasable.datasets.coloured": "changes data, reads none",
}


def files(family):
    root = Path(erasable.__file__).parent / FOLDERS[family]
    return [f"erasable.{FOLDERS[family]}.{file.stem}" for file in sorted(root.glob("[!_]*.py"))]


@pytest.mark.parametrize("family", FOLDERS)
def test_every_file_of_a_family_has_an_entry(family):
    listed = {place.partition(":")[0] for place in catalog.FAMILIES[family].places.values()}
    assert set(files(family)) - listed <= set(NOT_ENTRIES)


@pytest.mark.parametrize("family", ["methods", "unlearners", "tasks"])
def test_every_final_class_of_a_family_is_in_the_catalog(family):
    listed = set(catalog.FAMILIES[family].places.values())
    for name in files(family):
        for thing in vars(importlib.import_module(name)).values():
            if inspect.isclass(thing) and thing.__module__ == name and hasattr(thing, FINAL[family]):
                assert f"{name}:{thing.__qualname__}" in listed


@pytest.mark.parametrize("family", FOLDERS)
def test_entries_resolve_and_know_their_names(family):
    assert dict(catalog.FAMILIES[family])
    for name, thing in catalog.FAMILIES[family].items():
        assert catalog.name_of(thing) == name
        assert catalog.get(family, name) is thing


def test_encoders_are_those_that_architecture_builds():
    for name, place in catalog.MODELS.places.items():
        assert place == f"erasable.models.{name}:{ENCODERS[name]}"


def test_names_of_objects_and_of_strangers():
    assert catalog.name_of(Network()) == "network"
    assert catalog.name_of(Path) == f"{Path.__module__}:Path"
    assert catalog.get("unlearners", "fractions:Fraction").__name__ == "Fraction"


def test_unknown_names_are_one_line_with_a_suggestion():
    for ask in (
        lambda: catalog.METHODS["smp"],
        lambda: catalog.get("methods", "smp"),
        lambda: catalog.get("method", "spm"),
        lambda: catalog.get("methods", "erasable.nowhere:Nobody"),
        lambda: catalog.get("methods", "erasable.network:Nobody"),
        lambda: catalog.METHODS["pathlib:Path"],  # what files name must be in the catalog
    ):
        with pytest.raises(UnknownName) as caught:
            ask()
        assert "\n" not in str(caught.value)
    with pytest.raises(ErasableError, match="did you mean 'spm'"):
        catalog.METHODS["smp"]
    assert "smp" not in catalog.METHODS
    assert catalog.METHODS.get("smp") is None


def test_families_are_described_without_importing_anything_heavy():
    code = (
        "import sys; from erasable import catalog; told = catalog.families(); "
        "print(all(text and '\\n' not in text for family in told.values() for text in family.values()), "
        "'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]
