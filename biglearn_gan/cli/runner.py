"""How a command line ends: done, or one sentence and an exit code for a user's mistake.

Exit codes: 0 done, 1 failed (or interrupted), 2 wrong usage, 75 stopped and saved. Nothing here
imports torch.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NoReturn

import typer

from biglearn_gan.errors import UserError

INTERRUPTED = 130
"""What typer returns after Ctrl-C."""

STOPPED = 75
"""A run that a signal stopped is saved, and the same command goes on (EX_TEMPFAIL of sysexits)."""


class CommandError(UserError):
    """What ends a command: a sentence, or a line for each of several, and the exit code."""

    def __init__(self, message: str, code: int = 1):
        super().__init__(message)
        self.exit_code = code


def fail(message: str, code: int = 1) -> NoReturn:
    """End the command."""
    raise CommandError(message, code)


def reject_options(beside: str, options: dict[str, Any]) -> None:
    """Options that would change nothing are a mistake."""
    for name, value in options.items():
        if value is not None and value is not False:
            fail(f"{name} has no meaning beside {beside}", code=2)


def run(command: typer.Typer | Callable[..., None], name: str) -> NoReturn:
    """Run what ``sys.argv`` asks for, of an application or of a single function, and exit.

    A mistake is told under ``name``; an error that is none is a bug and keeps its traceback.
    """
    warnings.formatwarning = lambda message, *_, **__: f"{name}: {message}\n"
    if "HF_HUB_VERBOSITY" not in os.environ:
        os.environ["HF_HUB_VERBOSITY"] = "error"
        logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # where it is imported already
    parser: Any = typer.main.get_command(_application(command))
    try:
        _refuse_empty(sys.argv[1:])
        code = parser.main(prog_name=name, standalone_mode=False)
        if code == INTERRUPTED:
            fail("interrupted")
    except Exception as error:
        mistake = _user_error(error)
        if mistake is None:
            raise
        for line in str(mistake).splitlines():
            typer.echo(f"{name}: {line}", err=True)
        sys.exit(mistake.exit_code)
    sys.exit(code if isinstance(code, int) else 0)


def _refuse_empty(arguments: Sequence[str]) -> None:
    """An empty path would mean the folder one is in, and an empty name whatever is usual."""
    for before, argument in pairwise(("", *arguments)):
        if argument.startswith("--") and argument.endswith("="):
            fail(f"{argument} has no value (a variable of the shell that is not set?)", code=2)
        if not argument:
            place = f"after {before} " if before else ""
            fail(f"{place}stands an empty value (a variable of the shell that is not set?)", code=2)


def _application(command: typer.Typer | Callable[..., None]) -> typer.Typer:
    if isinstance(command, typer.Typer):
        return command
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command()(command)
    return app


def _value_given(cause: BaseException | None) -> str:
    """What pydantic, by which typer reads an option's value, was given; else nothing."""
    problems: list[Any] = getattr(cause, "errors", list)()
    return repr(problems[0]["input"]) if problems else ""


def _user_error(error: Exception) -> UserError | None:
    """The user's mistake behind an error, None for a bug."""
    if isinstance(error, UserError):
        return error
    kinds = {cls.__name__ for cls in type(error).__mro__}  # typer's copy of click is private
    if "NoArgsIsHelpError" in kinds:
        typer.echo(error.format_message())  # type: ignore[attr-defined]
        sys.exit(2)
    if "ClickException" in kinds:
        told = error.format_message().replace("Value error, ", "")  # type: ignore[attr-defined]
        given = _value_given(error.__cause__)
        return CommandError(told if given in told else f"{told}, not {given}", 2)
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return CommandError(f"{where}{error.strerror or error}")
    return None
