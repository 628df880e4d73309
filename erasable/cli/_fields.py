"""Settings from text: `name=value` for the fields of a frozen dataclass, `recipe.lr=0.01` for those of a nested one."""

import dataclasses
import shlex
import types
import typing
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from erasable._plumbing.settings import FAMILY
from erasable.errors import SettingsError, nearest_names

TRUTH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def build(kind: type[Any], given: Mapping[str, str], what: str) -> Any:
    """`kind()` with the settings in `given` instead of its defaults; `what` names it in messages.

    Raises SettingsError for an unknown name, a value of another type or none where there is no default, and what the
    class itself refuses.
    """
    known = dict(_known(kind))
    nested: dict[str, dict[str, Any]] = {}
    changed: dict[str, Any] = {}
    for name, text in given.items():
        if name not in known:
            raise SettingsError(f"the setting '{name}' for {what}", expected=f"one of {', '.join(known)}",
                                do=nearest_names(name, known))  # fmt: skip
        value = _value(known[name], text, f"{name}={text} for {what}")
        outer, dot, inner = name.partition(".")
        if dot:
            nested.setdefault(outer, {})[inner] = value
        else:
            changed[name] = value
    needed = [each.name for each in dataclasses.fields(kind)
              if each.init and each.default is each.default_factory is dataclasses.MISSING]  # fmt: skip
    if lost := [name for name in needed if name not in changed]:
        raise SettingsError(f"{what} without '{lost[0]}'", expected=f"a value for {', '.join(needed)}",
                            do=f"add {lost[0]}=...")  # fmt: skip
    base = kind(**{name: changed[name] for name in needed})
    for outer, values in nested.items():
        changed[outer] = dataclasses.replace(getattr(base, outer), **values)
    return dataclasses.replace(base, **changed)


def named(family: str, text: str) -> Any:
    """What "NAME setting=value ..." says, a name of the catalog or package.module:Class; quotes as in a shell.

    Raises UnknownName, SettingsError.
    """
    from erasable import catalog

    try:
        name, *settings = shlex.split(text)
    except ValueError as wrong:
        raise SettingsError(f"'{text}' ({wrong})", expected="a name, then settings such as share=0.1",
                            do="close the quotes, or name one") from None  # fmt: skip
    return build(catalog.get(family, name), pairs(settings), name)


def pairs(given: list[str] | None) -> dict[str, str]:
    """name -> text. Raises SettingsError."""
    found: dict[str, str] = {}
    for each in given or ():
        name, equals, text = each.partition("=")
        if not equals or not name.strip():
            raise SettingsError(f"'{each}'", expected="NAME=VALUE", do="write it like epochs=10")
        if name.strip() in found:
            raise SettingsError(f"'{name.strip()}' twice", expected="each name once", do="leave one out")
        found[name.strip()] = text.strip()
    return found


def _known(kind: type[Any]) -> Iterator[tuple[str, Any]]:
    """Every name that can be set, with its type."""
    hints = typing.get_type_hints(kind)
    for each in dataclasses.fields(kind):
        hint = hints[each.name]
        if FAMILY in each.metadata:  # any class of the catalog's family, written like one
            yield each.name, partial(named, each.metadata[FAMILY].rpartition(".")[2])
        elif dataclasses.is_dataclass(hint) and isinstance(hint, type):
            inner = typing.get_type_hints(hint)
            yield from ((f"{each.name}.{one.name}", inner[one.name]) for one in dataclasses.fields(hint))
        elif each.init:
            yield each.name, hint


def _value(hint: Any, text: str, where: str) -> Any:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if type(None) in inner and text.lower() == "none":
            return None
        return _value(next(each for each in inner if each is not type(None)), text, where)
    if origin is typing.Literal:
        chosen = [each for each in inner if str(each) == text]
        if not chosen:
            raise SettingsError(where, expected=f"one of {', '.join(map(str, inner))}", do="choose one")
        return chosen[0]
    if origin is tuple:
        return tuple(_value(inner[0], each, where) for each in text.split(",") if each)
    expected = {bool: "true or false", int: "a whole number", float: "a number"}.get(hint)
    try:
        return TRUTH[text.lower()] if hint is bool else hint(text)
    except (KeyError, ValueError, TypeError):
        raise SettingsError(where, expected=expected or f"{hint}", do="correct the value") from None
