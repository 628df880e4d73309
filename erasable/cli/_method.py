"""The method that METHOD, --set and their short forms ask for."""

from collections.abc import Mapping
from typing import Any

from erasable.cli._fields import build, pairs
from erasable.errors import SettingsError

SHORT = {"network": "network", "epochs": "recipe.epochs", "batch": "recipe.batch", "lr": "recipe.lr"}  # option: setting


def settings_of(method: str, options: Mapping[str, Any]) -> dict[str, str]:
    """Setting -> text, from the options with these parameter names; tried once, before any data are read.

    Raises UnknownName, SettingsError.
    """
    from erasable.catalog import METHODS

    kind, given = METHODS[method], pairs(options["settings"])
    short = {SHORT[name]: str(options[name]) for name in SHORT if options[name] is not None}
    if twice := sorted(given.keys() & short.keys()):
        raise SettingsError(f"'{twice[0]}' twice", expected="each setting once", do="leave one out")
    build(kind, given | short, method)
    return given | short


def fitting(method: str, given: Mapping[str, str], task: Any, data: Any) -> Any:
    """The method with these settings, for these data. Raises what its networks raise that cannot be built for them."""
    from erasable.catalog import METHODS

    kind = METHODS[method]
    if len(task.shape) == 1 and "network" not in given and getattr(kind(), "network", "") == "convnet":
        given = {**given, "network": "mlp"}  # rows of numbers have no neighbours to convolve
    chosen = build(kind, given, method)
    task.check(data)
    _refuse_unbuildable(chosen, task)
    return chosen


def _refuse_unbuildable(method: Any, task: Any) -> None:
    """Find out that a network does not exist, or does not fit the data, before a training is announced."""
    from erasable._plumbing.architecture import build_encoder
    from erasable._plumbing.seeds import seeded

    with seeded(0, "check"):
        for each in ("network", "key_network"):
            if hasattr(method, each):
                build_encoder(getattr(method, each), task.shape)
