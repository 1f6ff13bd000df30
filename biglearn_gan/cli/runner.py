"""How a command ends: done, or one sentence and an exit code for a mistake of the user.

Exit codes: 0 done, 2 if something that the user named is wrong, 1 if something else failed or on
Ctrl-C (see :mod:`biglearn_gan.errors`), 75 stopped and saved. Nothing here imports torch.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NoReturn

import typer

from biglearn_gan.errors import UserError

INTERRUPTED = 130
"""typer's exit code after Ctrl-C."""

STOPPED = 75
"""EX_TEMPFAIL of sysexits: a signal stopped the run, its state is saved, and it can be resumed."""

RENAMED_OPTIONS = {"--mask-hole": "--mask-color"}
"""Old names of options, and what they are called now."""


class CommandError(UserError):
    """Ends a command: a sentence, or one line for each of several problems, and the exit code."""

    def __init__(self, message: str, code: int = 1):
        super().__init__(message)
        self.exit_code = code


def fail(message: str, code: int = 1) -> NoReturn:
    """End the command with a message and an exit code."""
    raise CommandError(message, code)


def reject_options(reason: str, options: Mapping[str, object]) -> None:
    """End the command if one of these options was given, because it would have no effect.

    Args:
        reason: follows the option's name in the message, such as ``requires --steps > 1``.
        options: values by name; None and False mean that an option was not given.

    Raises:
        CommandError: an option was given.
    """
    for name, value in options.items():
        if value is not None and value is not False:
            fail(f"{name} {reason}", code=2)


def run(command: typer.Typer | Callable[..., None], name: str) -> NoReturn:
    """Run an application or a single function with ``sys.argv``, and exit.

    A mistake of the user is printed after ``name``. Any other error is a bug and keeps its
    traceback.
    """
    warnings.formatwarning = lambda message, *_, **__: f"{name}: {message}\n"
    warnings.filterwarnings("ignore", module=r"PIL\.")  # of large files and broken metadata
    if "HF_HUB_VERBOSITY" not in os.environ:
        os.environ["HF_HUB_VERBOSITY"] = "error"
        logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # if it is already imported
    parser: Any = typer.main.get_command(_application(command))
    try:
        _check_arguments(sys.argv[1:])
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


def _check_arguments(arguments: Sequence[str]) -> None:
    """Refuse old names of options, and empty values.

    An empty path would mean the current folder, and an empty name the default.
    """
    for before, argument in pairwise(("", *arguments)):
        option, equals, value = argument.partition("=")
        if option in RENAMED_OPTIONS:
            fail(f"{option} is now called {RENAMED_OPTIONS[option]}", code=2)
        if option.startswith("--") and equals and not value:
            fail(f"{option} is empty (unset shell variable?)", code=2)
        if not argument:
            name = before if before.startswith("-") else "an argument"
            fail(f"{name} is empty (unset shell variable?)", code=2)


def _application(command: typer.Typer | Callable[..., None]) -> typer.Typer:
    if isinstance(command, typer.Typer):
        return command
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command()(command)
    return app


def _user_error(error: Exception) -> UserError | None:
    """The user's mistake behind an error; None for a bug."""
    if isinstance(error, UserError):
        return error
    kinds = {cls.__name__ for cls in type(error).__mro__}  # typer's copy of click is private
    if "NoArgsIsHelpError" in kinds:
        typer.echo(error.format_message())  # type: ignore[attr-defined]
        sys.exit(2)
    if "ClickException" in kinds:
        message = error.format_message().replace("Value error, ", "")  # type: ignore[attr-defined]
        message = " ".join(message.split())
        if message.startswith("Got unexpected extra argument"):
            message += "; each option takes one value, such as a folder for several files"
        value = _rejected_value(error.__cause__)
        return CommandError(message if value in message else f"{message}, not {value}", 2)
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return CommandError(f"{where}{error.strerror or error}")
    return None


def _rejected_value(cause: BaseException | None) -> str:
    """The value that pydantic rejected (typer parses options with it); "" for another error."""
    problems: list[Any] = getattr(cause, "errors", list)()
    return repr(problems[0]["input"]) if problems else ""
