"""The three things that `erasable audit` can look at, and the options that each of them takes."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from erasable._plumbing.id_file import read_ids, split_ids
from erasable.cli._options import DataOptions, RecipeOptions, names
from erasable.errors import SettingsError, StorageError

ANY = ("seed", "as_json")
MODES: Mapping[str, tuple[str, ...]] = {
    "RUN": ("run", "oracles", "suite", "models", "relearn", "data_at", "show_samples", *ANY),
    "--model": ("model", "architecture", "data", "forget_ids", "oracles", "suite", "models", "unlearner", "manifest",
                "before", "out", "relearn", "show_samples", *names(RecipeOptions), *names(DataOptions), *ANY),
    "--scores": ("scores", "forget_ids", "suite", "manifest", "signal", "out", "show_samples", *ANY),
}  # fmt: skip
NEEDED = {"RUN": (), "--model": ("architecture", "data", "forget_ids", "out"), "--scores": ("forget_ids", "out")}


def chosen(options: Mapping[str, Any]) -> str:
    """Which of MODES the options ask for. Raises SettingsError for several, none, or an option that does not belong."""
    given = _given(options)
    kinds = [kind for kind, name in zip(MODES, ("run", "model", "scores"), strict=True) if name in given]
    if len(kinds) != 1:
        raise SettingsError(f"an audit of {' and '.join(kinds) or 'nothing'}", expected="RUN, --model or --scores",
                            do="name exactly one of them")  # fmt: skip
    kind = kinds[0]
    if wrong := [each for each in given if each not in MODES[kind]]:
        fits = next(other for other in MODES if wrong[0] in MODES[other])
        raise SettingsError(f"{flag(wrong[0])} with {kind}", expected=f"it with {fits} only", do="leave it out")
    if missing := [each for each in NEEDED[kind] if each not in given]:
        needed = ", ".join(flag(each) for each in NEEDED[kind])
        raise SettingsError(f"{kind} without {flag(missing[0])}", expected=f"{kind} with {needed}", do="add it")
    return kind


def _given(options: Mapping[str, Any]) -> list[str]:
    """What was given, but for the seed, which every mode has."""
    return [name for name, value in options.items() if name != "seed" and _differs(name, value)]


def _differs(name: str, value: Any) -> bool:
    usual = {"relearn": True, "suite": "standard"}
    return value != usual[name] if name in usual else value is not None and value is not False


def flag(name: str) -> str:
    return {"sample_id": "--id", "relearn": "--no-relearn", "as_json": "--json"}.get(
        name, f"--{name.replace('_', '-')}"
    )


def command(options: Mapping[str, Any]) -> str:
    """What repeats an audit: the options as they were given, but for where the report goes."""
    words = ["erasable", "audit"]
    for name in (*_given(options), "seed"):
        value = options[name]
        if name in ("out", "as_json"):
            continue
        if isinstance(value, bool):
            words.append(flag(name))
        else:
            words += [
                part for each in (value if isinstance(value, list) else [value]) for part in (flag(name), str(each))
            ]
    return shlex.join([*words, "--out", "again"])


def ids_of(text: str) -> tuple[str, ...]:
    """Ids from a file with that name, or else written with commas between. Raises what reading them raises."""
    file = Path(text).expanduser()
    return read_ids(file) if file.is_file() else split_ids(text)


def refuse_used(folder: Path) -> None:
    """Raises StorageError for anything but a new path or an empty folder."""
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise StorageError(f"'{folder}' is in use", expected="a new path or an empty folder",
                           do="choose another path, or remove what is there")  # fmt: skip
