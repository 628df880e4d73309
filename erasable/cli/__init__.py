"""The command line: `erasable demo | ls | train | forget | audit | rehearse | tune | report`.

Results go to standard output, as words or with --json as JSON; what is being done goes to standard error. Exit codes:

    0    done
    1    an unexpected failure (a defect, or the machine's); --debug shows where
    2    bad input: one line on standard error says what came, what was expected and what to do; nothing was changed
    130  interrupted; what was stored before is intact

Importing this imports no torch: each command loads what it needs when it runs.
"""

import importlib
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from erasable import __version__
from erasable.cli import _threads
from erasable.cli.audit import audit
from erasable.cli.demo import demo
from erasable.cli.forget import forget
from erasable.cli.ls import ls
from erasable.cli.rehearse import rehearse
from erasable.cli.report import report
from erasable.cli.train import train
from erasable.cli.tune import tune
from erasable.errors import ErasableError, UnknownName

DONE, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130
UsageError: type[Exception] = next(
    each
    for each in typer.BadParameter.__mro__
    if issubclass(each, Exception) and each.__name__ == "ClickException"  # of click, or of typer's own copy
)

app = typer.Typer(name="erasable", add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
COMMANDS: tuple[Callable[..., None], ...] = (demo, ls, train, forget, audit, rehearse, tune, report)
for command in COMMANDS:
    app.command(command.__name__)(command)


def _version(asked: bool) -> None:
    if asked:
        print(__version__)
        raise typer.Exit()


@app.callback(invoke_without_command=True)
def top(
    context: typer.Context,
    modules: Annotated[
        list[str] | None,
        typer.Option("--import", help="Import this module first, for networks of your own named as module:Class."),
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an unexpected failure happened.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Machine learning you can erase from.

    Exit codes: 0 done; 1 unexpected failure; 2 bad input, one line says what to do and nothing was changed;
    130 interrupted.
    """
    for module in modules or ():
        _import(module)
    if context.invoked_subcommand is None:
        print(context.get_help())


def _import(module: str) -> None:
    """Only what the user names here is imported, never what a run folder names."""
    sys.path.insert(0, os.getcwd())
    try:
        importlib.import_module(module)
    except ImportError as wrong:
        raise UnknownName(f"module '{module}' cannot be imported ({wrong})", expected="one that Python finds",
                          do="check the spelling, the current folder and PYTHONPATH") from None  # fmt: skip
    finally:
        sys.path.remove(os.getcwd())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; gives the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = app(given, prog_name="erasable", standalone_mode=False)
        if code == INTERRUPTED:  # what some versions of the parser make of Ctrl-C
            raise KeyboardInterrupt
        sys.stdout.flush()
        return code if isinstance(code, int) else DONE
    except ErasableError as wrong:
        return _refuse(str(wrong))
    except UsageError as wrong:
        return _refuse(_usage(wrong, given))
    except (KeyboardInterrupt, typer.Abort):
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # whoever read the output has seen enough
        sys.stderr.close()
        return DONE
    except Exception as wrong:
        if "--debug" in given:
            traceback.print_exc()
        else:
            print(f"unexpected failure: {type(wrong).__name__}: {_one_line(str(wrong))}; run it again as "
                  "'erasable --debug ...' to see where", file=sys.stderr)  # fmt: skip
        return FAILED
    finally:
        _threads.restore()


def _refuse(told: str) -> int:
    print(f"error: {_one_line(told)}", file=sys.stderr)
    return BAD_INPUT


def _usage(wrong: Exception, given: Sequence[str]) -> str:
    """What the parser has to say, in the three parts of every other message."""
    context = getattr(wrong, "ctx", None)
    path = getattr(context, "command_path", None) or "erasable"
    told = getattr(wrong, "format_message", lambda: str(wrong))().strip().rstrip(".")
    return f"{told}, in 'erasable {' '.join(given)}'; expected what '{path}' takes; see '{path} --help'"


def _one_line(text: str) -> str:
    return " ".join(text.split())
