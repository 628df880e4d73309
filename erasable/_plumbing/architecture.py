"""A network by name, so that a run folder can say in JSON what it was built from.

    "convnet"                          a file of `erasable.models`, with its defaults
    "convnet widths=16,32 groups=4"    the same, with settings
    "my_package.my_module:MyEncoder"   anyone's class; it takes the input's shape first and has a `width`
"""

import importlib
import inspect
from collections.abc import Sequence
from typing import Any

from torch import nn

from erasable.errors import SettingsError, UnknownName, nearest_names

ENCODERS = {"mlp": "MLP", "convnet": "ConvNet", "resnet": "ResNet", "pretrained": "Pretrained"}


def build_encoder(spec: str, shape: Sequence[int]) -> nn.Module:
    """The encoder that `spec` names, for inputs of `shape`. Raises UnknownName, SettingsError."""
    name, *pairs = spec.split()
    if ":" in name:
        module, _, attribute = name.partition(":")
        try:
            found = getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise UnknownName(f"encoder '{name}' cannot be imported ({error})", expected="package.module:Class",
                              do="check the spelling and PYTHONPATH") from None  # fmt: skip
    elif name in ENCODERS:
        found = getattr(importlib.import_module(f"erasable.models.{name}"), ENCODERS[name])
    else:
        raise UnknownName(f"encoder '{name}'", expected="a known one", do=nearest_names(name, ENCODERS))
    settings = dict(_setting(spec, pair) for pair in pairs)
    known = [each for each in inspect.signature(found).parameters if each != "shape"]
    if wrong := [each for each in settings if each not in known]:
        raise SettingsError(f"setting '{wrong[0]}' of encoder '{name}'", expected=f"one of {known}", do="correct it")
    return found(shape, **settings)  # type: ignore[no-any-return]


def _setting(spec: str, pair: str) -> tuple[str, Any]:
    name, equals, text = pair.partition("=")
    if not equals or not name or not text:
        raise SettingsError(f"'{pair}' in encoder '{spec}'", expected="name=value", do="write widths=16,32")
    parts = [int(part) if part.lstrip("-").isdigit() else part for part in text.split(",")]
    return name, parts if len(parts) > 1 else parts[0]
