"""A network by name, so that a run folder can say in JSON what it was built from.

    "convnet"                          a file of `erasable.models`, with its defaults
    "convnet widths=16,32 groups=4"    the same, with settings
    "my_package.my_module:MyEncoder"   anyone's class; it takes the input's shape first and has a `width`

The name may come from a file, so nothing is imported for it: whoever uses a class of their own imports its module
first.
Nothing but a class of torch modules is ever called.
"""

import importlib
import inspect
import re
import sys
from collections.abc import Sequence
from typing import Any

from torch import nn

from erasable.errors import SettingsError, TaskMismatch, UnknownName, nearest_names

ENCODERS = {
    "mlp": "MLP", "convnet": "ConvNet", "resnet": "ResNet", "vit": "ViT", "gpt": "GPT", "pretrained": "Pretrained",
}  # fmt: skip


def build_encoder(spec: str, shape: Sequence[int], *, vocabulary: int | None = None) -> nn.Module:
    """The encoder that `spec` names, for inputs of `shape`; a language model also takes the task's `vocabulary`.

    Raises UnknownName, SettingsError, TaskMismatch for a language model without a vocabulary, or the reverse.
    """
    name, *pairs = spec.split()
    if ":" in name:
        module, _, attribute = name.partition(":")
        found = getattr(sys.modules.get(module), attribute, None)
        if found is None:
            raise UnknownName(f"encoder '{name}' is not loaded", expected="package.module:Class of a module that was "
                              "imported", do=f"import {module} first (command line: --import {module})")  # fmt: skip
    elif name in ENCODERS:
        found = getattr(importlib.import_module(f"erasable.models.{name}"), ENCODERS[name])
    else:
        raise UnknownName(f"encoder '{name}'", expected="a known one", do=nearest_names(name, ENCODERS))
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise UnknownName(f"encoder '{name}' is no network", expected="a class of torch modules", do="name such a one")
    written = dict(_setting(spec, pair) for pair in pairs)
    parameters = inspect.signature(found).parameters
    known = [each for each in parameters if each not in ("shape", "vocabulary")]
    if wrong := [each for each in written if each not in known]:
        raise SettingsError(f"setting '{wrong[0]}' of encoder '{name}'", expected=f"one of {known}", do="correct it")
    settings = {each: _value(text, parameters[each]) for each, text in written.items()}
    if ("vocabulary" in parameters) != (vocabulary is not None):
        raise TaskMismatch(f"encoder '{name}' with a task of {vocabulary or 'no'} tokens",
                           expected="a language model for a task of tokens, another encoder for other tasks",
                           do="choose the network for the task, such as 'gpt' or 'convnet'")  # fmt: skip
    if vocabulary is not None:
        settings["vocabulary"] = vocabulary
    try:
        return found(shape, **settings)
    except (TypeError, ValueError, RuntimeError) as error:
        raise SettingsError(f"encoder '{spec}' cannot be built for inputs of {tuple(shape)} ({error})",
                            expected=f"{known} that fit together and the data",
                            do="correct them") from error  # fmt: skip


def _setting(spec: str, pair: str) -> tuple[str, str]:
    name, equals, text = pair.partition("=")
    if not equals or not name or not text:
        raise SettingsError(f"'{pair}' in encoder '{spec}'", expected="name=value", do="write widths=16,32")
    return name, text


def _value(text: str, parameter: inspect.Parameter) -> Any:
    """Text as it is for a parameter that takes text; otherwise a number, or a list of what commas separate."""
    if parameter.annotation in (str, "str"):
        return text
    parts = [_number(part) for part in text.split(",")]
    return parts if len(parts) > 1 or isinstance(parameter.default, tuple | list) else parts[0]


def _number(text: str) -> int | float | str:
    if re.fullmatch(r"-?[0-9]+", text):
        return int(text)
    return float(text) if re.fullmatch(r"-?[0-9]*\.?[0-9]+(e-?[0-9]+)?", text) else text
