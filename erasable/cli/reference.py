"""docs/cli.md, made from the commands themselves.

python -m erasable.cli.reference docs/cli.md            write it
python -m erasable.cli.reference --check docs/cli.md    exit code 1 if it is not current
"""

import inspect
import sys
import typing
from collections.abc import Iterator, Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from erasable.cli import COMMANDS, top

HEAD = """# The command line

Generated from `--help` by `make docs`; do not edit.

`erasable COMMAND --help` says the same in a terminal. Results go to standard output, with `--json` as JSON; what is
being done goes to standard error.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | an unexpected failure; `erasable --debug ...` shows where |
| 2 | bad input: one line on standard error says what came, what was expected and what to do; nothing was changed |
| 130 | interrupted; what was stored before is intact |

Before they train, `demo`, `train`, `audit`, `rehearse` and `tune` try a few steps and compute with one thread where
more are no faster, as with small networks or beside other programs; a line says so. Where `OMP_NUM_THREADS` is set, it
is left alone. Training is the same bit for bit only with the same number of threads, so a report's command sets it.
"""


def reference() -> str:
    """The whole page, from the signatures and docstrings that `--help` is made of."""
    parts = [HEAD, "## erasable\n\n" + _table(top)]
    for command in COMMANDS:
        name, arguments = command.__name__, [each for each in _parameters(command) if not each.option]
        usage = " ".join([f"erasable {name}", *(each.shown for each in arguments), "[OPTIONS]"])
        parts.append(
            f"## erasable {name}\n\n```text\n{usage}\n```\n\n{_text(inspect.getdoc(command))}\n\n{_table(command)}"
        )
    return "\n".join(parts)


class _Parameter(NamedTuple):
    option: bool
    shown: str  # as it is written on the command line
    told: str
    default: str


def _parameters(command: Any) -> Iterator[_Parameter]:
    """What a command takes, but for what is hidden."""
    for name, given in inspect.signature(command).parameters.items():
        if typing.get_origin(given.annotation) is not Annotated:
            continue
        kind, info = typing.get_args(given.annotation)[:2]
        if info.hidden:
            continue
        option = isinstance(info, typer.models.OptionInfo)
        required = given.default is inspect.Parameter.empty
        default = (
            "required" if required else "" if given.default is None or given.default is False else f"`{given.default}`"
        )
        flag = "--" + name.replace("_", "-")
        written = [each for each in (info.default, *(info.param_decls or ())) if str(each).startswith("--")]
        if not option:
            shown = str(info.metavar)
        elif kind is bool:
            shown = " / ".join(written or (flag, f"--no-{flag[2:]}"))
            default = "on" if given.default is True else default
        else:
            shown = f"{' '.join(written or (flag,))} {info.metavar or _kind(kind)}"
        yield _Parameter(option, shown, _text(info.help), default)


def _kind(hint: Any) -> str:
    """What a value looks like: INTEGER, NUMBER, or the values that can be chosen."""
    if isinstance(hint, type) and issubclass(hint, Enum):
        return "|".join(str(each) for each in hint)
    inner = next((each for each in typing.get_args(hint) if each is not type(None)), hint)
    return {int: "INTEGER", float: "NUMBER", str: "TEXT"}.get(inner, "VALUE")


def _table(command: Any) -> str:
    lines = ["| option | meaning | default |", "|---|---|---|"]
    lines += [f"| `{_text(each.shown)}` | {each.told} | {each.default} |" for each in _parameters(command)]
    return "\n".join(lines) + "\n"


def _text(told: str | None) -> str:
    paragraphs = (told or "").split("\n\n")
    return "\n\n".join(" ".join(each.split()) for each in paragraphs).replace("|", "\\|")


def main(arguments: Sequence[str]) -> int:
    """Write the page, or check it."""
    checks = arguments[:1] == ["--check"]
    if len(arguments) != 1 + checks:
        print(__doc__, file=sys.stderr)
        return 2
    file = Path(arguments[-1])
    if not checks:
        file.write_text(reference(), encoding="utf-8")
    elif not file.exists() or file.read_text(encoding="utf-8") != reference():
        print(f"{file} is not current; expected what --help says; run 'make docs'", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
