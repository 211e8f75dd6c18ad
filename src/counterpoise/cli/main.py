"""The ``counterpoise`` command."""

from __future__ import annotations

import ast
import os
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from counterpoise._version import __version__
from counterpoise.cli.printing import Names, command_line, complain, nearest
from counterpoise.exceptions import (
    OUT_OF_MEMORY,
    CounterpoiseError,
    InputError,
    UnknownNameError,
    is_out_of_memory,
)

if TYPE_CHECKING:
    from cyclopts import App

    from counterpoise.cli.options import Command

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130
COMMANDS = Path(__file__).parent / "commands"
ABOUT = (
    "Imbalanced image classification: from a folder of pictures to a model you can trust on its rare classes."
)
BEGIN = "Begin with `counterpoise demo`, or with `counterpoise audit FOLDER` on your own images."


class Listing(NamedTuple):
    """Place and text of a command in the help, read from its file without importing it."""

    order: int
    name: str
    panel: str
    help: str


@cache
def listings() -> dict[str, Listing]:
    """Return every command of ``cli/commands`` by name, in order."""
    found = []
    for path in COMMANDS.glob("[!_]*.py"):
        module = ast.parse(path.read_text(encoding="utf-8"))
        values: dict[str, Any] = {
            ast.unparse(node.targets[0]): node.value.value
            for node in module.body
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        }
        text = "\n\n".join(" ".join(part.split()) for part in (ast.get_docstring(module) or "").split("\n\n"))
        found.append(Listing(values["ORDER"], path.stem, values["PANEL"], text))
    return {listing.name: listing for listing in sorted(found)}


def load_command(name: str) -> Command:
    """Import a command."""
    return import_module(f"counterpoise.cli.commands.{name}").command


def make_app(name: str = "", usage: str | None = None) -> App:
    """Return the application; its commands are imported on use, `usage` is the first line of the help of one."""
    from cyclopts import App, Group

    version = f"counterpoise {__version__}"
    app = App(name="counterpoise", help=ABOUT, help_epilogue=BEGIN, help_format="plaintext", version=version)
    panels = dict.fromkeys(listing.panel for listing in listings().values())
    groups = {panel: Group(panel, sort_key=place) for place, panel in enumerate(panels)}
    options = Group("Options", sort_key=len(groups))
    for flag in (*app.help_flags, *app.version_flags):
        app[flag].group = options
    for listing in listings().values():
        app.command(
            f"counterpoise.cli.commands.{listing.name}:command",
            name=listing.name,
            help=listing.help,
            group=groups[listing.panel],
            sort_key=listing.order,
            help_epilogue="",
            usage=usage if listing.name == name else None,
        )
    return app


def main() -> None:
    """Run the command line; exit code 0 ok, 1 the work failed, 2 bad usage or bad input, 130 interrupted."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by the caller
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115
        else:  # names of images need not exist in the encoding of a terminal
            stream.reconfigure(errors="backslashreplace")
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _close_stdout()
    except OSError as error:  # the disk under a redirected output is full
        complain(f"cannot write the output: {error.strerror or error}")
        _close_stdout()
        code = code or FAILED
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run the command line on `arguments` and return its exit code.

    Examples
    --------
    >>> run(["--version"])
    counterpoise ...
    0
    """
    given = list(arguments) or ["--help"]
    names, usage = Names(), None
    try:
        if not given[0].startswith("-"):
            if given[0] not in listings():
                raise UnknownNameError("command", given[0], listings())
            command = load_command(given[0])
            names, usage = command.names, command.usage
        with _warnings_in_one_line(names):
            return _execute(make_app(given[0], usage), given, names)
    except CounterpoiseError as error:
        message = names.translate(str(error), listings())
        code = BAD_INPUT if isinstance(error, InputError) else FAILED
    except KeyboardInterrupt:
        message, code = "interrupted; give the same command again to resume", INTERRUPTED
    except BrokenPipeError:
        _close_stdout()
        return FAILED
    except Exception as error:
        if is_out_of_memory(error):
            message, code = names.translate(OUT_OF_MEMORY, listings()), FAILED
        elif isinstance(error, OSError):
            message, code = f"{error.filename or 'input or output'}: {error.strerror or error}", BAD_INPUT
        else:
            message, code = _unexpected(error), FAILED
    complain(message)
    return code


def _execute(app: App, given: Sequence[str], names: Names) -> int:
    from cyclopts import CycloptsError, UnknownOptionError, UnusedCliTokensError

    try:
        command, bound, _ = app.parse_args(names.current(given), print_error=False, exit_on_error=False)
    except CycloptsError as error:
        fault = str(error)
        if isinstance(error, UnknownOptionError):
            option = error.token.keyword or error.token.value
            fault = f"unknown option {option}{nearest(option, names.flags)}"
        elif isinstance(error, UnusedCliTokensError) and error.unused_tokens:
            fault = f"unexpected argument {error.unused_tokens[0]!r}"
        raise InputError(fault) from None
    if hasattr(command, "settings"):
        return command(*bound.args, **bound.kwargs, line=command_line(*given))
    command(*bound.args, **bound.kwargs)  # the help, or the version
    return 0


def _unexpected(error: Exception) -> str:
    """Return one line about an error that nothing expected, after writing its traceback to a file."""
    if os.environ.get("COUNTERPOISE_DEBUG"):
        raise error
    handle, log = tempfile.mkstemp(prefix="counterpoise-error-", suffix=".log")
    with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
        file.write(f"counterpoise {__version__}: {' '.join(sys.argv[1:])}\n\n")
        file.write("".join(traceback.format_exception(error)))
    text = " ".join(str(error).split())[:300]
    return f"unexpected error, {type(error).__name__}: {text}; please report it with {log}"


def _close_stdout() -> None:
    """Send the rest of stdout nowhere: its reader has gone (``| head``), and Python flushes it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def _warnings_in_one_line(names: Names) -> Iterator[None]:
    said: set[str] = set()

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        # Every run of a comparison may warn of the same.
        if str(message) not in said:
            said.add(str(message))
            complain(names.translate(f"note: {message}", listings()))

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield
