"""Libraries that only some sources need, imported when they are."""

from importlib import import_module
from typing import Any

from erasable.errors import MissingExtra


def extra(module: str, *, package: str, why: str) -> Any:
    """The module called `module`. Raises MissingExtra, naming what `pip install` wants to hear."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise MissingExtra(f"{why} needs {module.partition('.')[0]}", expected=f"{package} to be installed",
                           do=f"pip install '{package}'") from error  # fmt: skip
