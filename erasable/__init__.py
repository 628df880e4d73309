"""Erasable: machine learning you can erase from.

Everything that is meant to be used is a name of this module, and is imported when it is first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from erasable import catalog as catalog
    from erasable import datasets as datasets
    from erasable import unlearners as unlearners
    from erasable.audit import Subject as Subject
    from erasable.audit import compile_report as compile_report
    from erasable.audit import judge as judge
    from erasable.dataset import Dataset as Dataset
    from erasable.errors import ErasableError as ErasableError
    from erasable.forgettable.munkey import MUNKEY as MUNKEY
    from erasable.forgettable.sisa import SISA as SISA
    from erasable.forgettable.spm import SPM as SPM
    from erasable.network import Network as Network
    from erasable.population import Population as Population
    from erasable.population import oracles as oracles
    from erasable.probe import Probe as Probe
    from erasable.receipt import Receipt as Receipt
    from erasable.report import Report as Report
    from erasable.request import Request as Request
    from erasable.run import Run as Run
    from erasable.source import Source as Source
    from erasable.tasks.classification import Classification as Classification
    from erasable.train import Recipe as Recipe
    from erasable.unlearner import forget as forget

__version__ = "0.1.0"

_PLACES = {
    "Classification": "erasable.tasks.classification",
    "Dataset": "erasable.dataset",
    "ErasableError": "erasable.errors",
    "MUNKEY": "erasable.forgettable.munkey",
    "Network": "erasable.network",
    "Population": "erasable.population",
    "Probe": "erasable.probe",
    "Receipt": "erasable.receipt",
    "Recipe": "erasable.train",
    "Report": "erasable.report",
    "Request": "erasable.request",
    "Run": "erasable.run",
    "SISA": "erasable.forgettable.sisa",
    "SPM": "erasable.forgettable.spm",
    "Source": "erasable.source",
    "Subject": "erasable.audit",
    "catalog": "",
    "compile_report": "erasable.audit",
    "datasets": "",
    "forget": "erasable.unlearner",
    "judge": "erasable.audit",
    "oracles": "erasable.population",
    "unlearners": "",
}  # where each name is; nowhere for the modules among them

__all__ = [
    "MUNKEY",
    "SISA",
    "SPM",
    "Classification",
    "Dataset",
    "ErasableError",
    "Network",
    "Population",
    "Probe",
    "Receipt",
    "Recipe",
    "Report",
    "Request",
    "Run",
    "Source",
    "Subject",
    "__version__",
    "catalog",
    "compile_report",
    "datasets",
    "forget",
    "judge",
    "oracles",
    "unlearners",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'erasable' has no attribute '{name}'")
    place = _PLACES[name]
    found = getattr(import_module(place), name) if place else import_module(f"erasable.{name}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
