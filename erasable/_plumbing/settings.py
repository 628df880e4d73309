"""Settings as JSON and back: frozen dataclasses of numbers, text, tuples and further dataclasses.

A field that may hold any class of a family says so in its metadata, `field(metadata={FAMILY: "erasable.unlearners"})`.
In JSON that class is "module:Class". Modules of the family are imported for it; any other must be loaded already, so
that a file never decides what is imported.
"""

import dataclasses
import importlib
import math
import sys
import types
import typing
from collections.abc import Mapping
from typing import Any

from erasable.errors import CorruptRun

KIND = "class"  # names that of a nested dataclass, for fields that may hold one of several; no field can be called so
LATER = {"later": True}  # metadata of a field that a class got when it was in use already, with a default
FAMILY = "family"  # in a field's metadata: the package whose classes it may hold


def to_json(settings: Any) -> dict[str, Any]:
    """The fields of a dataclass; nested ones carry the name of their class."""
    told: dict[str, Any] = {}
    for each in dataclasses.fields(settings):
        if each.init and not _silent(settings, each):
            value = getattr(settings, each.name)
            told[each.name] = _encode(value)
            if FAMILY in each.metadata:
                told[each.name][KIND] = f"{type(value).__module__}:{type(value).__qualname__}"
    return told


def _silent(settings: Any, each: dataclasses.Field[Any]) -> bool:
    """Is this a field that came `LATER`, at its default? Trained models are found by what their settings say; were it
    written, those from before the field would not be found again."""
    return bool(each.metadata.get("later")) and getattr(settings, each.name) == each.default


def _encode(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {KIND: type(value).__name__, **to_json(value)}
    if isinstance(value, Mapping):
        return {str(key): _encode(each) for key, each in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # JSON has no infinity
    return [_encode(each) for each in value] if isinstance(value, tuple | list) else value


def from_json(kind: type[Any], stored: Any, where: str) -> Any:
    """An instance of the dataclass `kind`; `where` says in messages what was being read.

    Raises CorruptRun for a field that the class does not have or of a type that it does not take.
    """
    if not isinstance(stored, dict):
        raise CorruptRun(f"{where} is {type(stored).__name__}", expected=f"the fields of {kind.__name__}",
                         do="restore the run folder from a backup")  # fmt: skip
    known = {each.name for each in dataclasses.fields(kind) if each.init}
    if unknown := sorted(set(stored) - known - {KIND}):
        raise CorruptRun(f"{where} has the setting '{unknown[0]}'", expected=f"settings of {kind.__name__}: "
                         f"{', '.join(sorted(known))}", do="use the version of Erasable that wrote it")  # fmt: skip
    hints = typing.get_type_hints(kind)
    families = {each.name: each.metadata[FAMILY] for each in dataclasses.fields(kind) if FAMILY in each.metadata}
    fields = {}
    for name, value in stored.items():
        if name != KIND:
            at = f"{where}, {name}"
            hint = _member(families[name], value, at) if name in families else hints[name]
            fields[name] = _decode(hint, value, at)
    try:
        return kind(**fields)
    except TypeError as wrong:
        raise CorruptRun(f"{where} cannot be used ({wrong})", expected=f"the settings of {kind.__name__}",
                         do="use the version of Erasable that wrote it") from wrong  # fmt: skip


def _member(family: str, value: Any, where: str) -> type[Any]:
    """The class that a stored value names. Raises CorruptRun for what is no frozen dataclass that may be had."""
    place = value.get(KIND) if isinstance(value, dict) else None
    module, _, name = place.partition(":") if isinstance(place, str) else ("", "", "")
    try:
        ours = module.startswith(f"{family}.")
        found = getattr(importlib.import_module(module) if ours else sys.modules.get(module), name, None)
    except ImportError:
        found = None
    parameters = getattr(found, "__dataclass_params__", None)
    if not isinstance(found, type) or parameters is None or not parameters.frozen:
        raise CorruptRun(f"{where} is of the class '{place}'", expected=f"settings from {family} or a loaded module",
                         do="import its module first, or use the version of Erasable that wrote it")  # fmt: skip
    return found


def _decode(hint: Any, value: Any, where: str) -> Any:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _decode_union(inner, value, where)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return from_json(hint, value, where)
    if origin in (tuple, list) and isinstance(value, list):
        each = inner[:1] * len(value) if origin is list or inner[1:] == (...,) else inner
        if len(each) != len(value):
            raise CorruptRun(f"{where} has {len(value)} values", expected=f"{len(each)}",
                             do="restore the run folder from a backup")  # fmt: skip
        return origin(_decode(a, b, where) for a, b in zip(each, value, strict=True))
    if isinstance(origin, type) and issubclass(origin, Mapping) and isinstance(value, dict):
        return {key: _decode(inner[1], each, where) for key, each in value.items()}
    if hint is tuple and isinstance(value, list):
        return tuple(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is float and value in ("inf", "-inf", "nan"):
        return float(value)
    fits = hint is Any or (value in inner if origin is typing.Literal else isinstance(value, origin or hint))
    if not fits:
        raise CorruptRun(f"{where} is {value!r}", expected=f"{hint}", do="restore the run folder from a backup")
    return value


def _decode_union(among: tuple[Any, ...], value: Any, where: str) -> Any:
    if isinstance(value, dict) and KIND in value:
        among = tuple(each for each in among if getattr(each, "__name__", "") == value[KIND])
    for each in among:
        try:
            return _decode(each, value, where)
        except CorruptRun:
            continue
    raise CorruptRun(f"{where} is {value!r}", expected="a value that the setting takes",
                     do="restore the run folder from a backup")  # fmt: skip
