"""The ``counterpoise`` command."""

from __future__ import annotations

import logging
import os
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from counterpoise._version import __version__
from counterpoise.cli.commands import (
    adjust,
    audit,
    compare,
    datasets,
    demo,
    enhance,
    evaluate,
    explain,
    export,
    methods,
    predict,
    report,
    reproduce,
    train,
    transfer,
)
from counterpoise.cli.printing import complain
from counterpoise.exceptions import CounterpoiseError, InputError

# typer carries its own copy of click or uses the installed one, depending on its version.
UsageError: type[Exception] = next(
    kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException"
)

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130
# Parameters whose flag has another name.
FLAGS = {"validation_fraction": "validation", "test_fraction": "test", "adjustment": "with"}

app = typer.Typer(
    name="counterpoise",
    help="Imbalanced image classification: from a folder of pictures to a model you can trust on its rare classes.",
    epilog="Begin with `counterpoise demo`, or with `counterpoise audit FOLDER` on your own images.",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

MODULES = (
    demo,
    audit,
    compare,
    train,
    evaluate,
    predict,
    explain,
    export,
    adjust,
    report,
    transfer,
    enhance,
    reproduce,
    methods,
    datasets,
)
COMMANDS = {module.__name__.rpartition(".")[2]: module for module in MODULES}
for name, module in COMMANDS.items():
    app.command(name=name, rich_help_panel=module.PANEL)(module.command)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"counterpoise {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line; exit code 0 ok, 1 the work failed, 2 bad usage or bad input, 130 interrupted."""
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _close_stdout()
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run the command line on `arguments` and return its exit code.

    Examples
    --------
    >>> run(["--version"])
    counterpoise ...
    0
    """
    command = typer.main.get_command(app)
    given = list(arguments) or ["--help"]
    # Lightning says in what precision it computes; run.json says it, too.
    logging.getLogger("lightning_fabric.utilities.rank_zero").setLevel(logging.WARNING)
    try:
        with _warnings_in_one_line():
            code = command.main(given, prog_name="counterpoise", standalone_mode=False, obj=given) or 0
    except UsageError as error:
        return _fail(error.format_message(), BAD_INPUT)  # type: ignore[attr-defined]
    except InputError as error:
        return _fail(str(error), BAD_INPUT)
    except CounterpoiseError as error:
        return _fail(str(error), FAILED)
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except BrokenPipeError:
        _close_stdout()
        return FAILED
    except OSError as error:
        return _fail(f"{error.filename or 'input or output'}: {error.strerror or error}", BAD_INPUT)
    except Exception as error:
        # torch's own class cannot be named here: torch takes seconds to import.
        if not isinstance(error, MemoryError) and type(error).__name__ != "OutOfMemoryError":
            raise
        return _fail("out of memory; try a smaller --batch-size, --image-size or --jobs", FAILED)
    if code == INTERRUPTED:
        return _fail("interrupted; give the same command again to go on", INTERRUPTED)
    return code


def _fail(message: str, code: int) -> int:
    complain(with_flags(message))
    return code


def with_flags(message: str) -> str:
    """Return a message of the library with the flags of the command line in place of Python's parameters.

    Examples
    --------
    >>> with_flags("cannot write x; choose another `out`, or a larger `validation_fraction`")
    'cannot write x; choose another --out, or a larger --validation'
    """

    def flag(match: re.Match[str]) -> str:
        name = match[1]
        return (
            match[0]
            if name in COMMANDS and name != "methods"
            else "--" + FLAGS.get(name, name.replace("_", "-"))
        )

    return re.sub(r"`([a-z_]+)`", flag, message)


def _close_stdout() -> None:
    """Whoever read our output has gone (``| head``): there is nobody left to write to, not even at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def _warnings_in_one_line() -> Iterator[None]:
    said: set[str] = set()

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        # Every run of a comparison may have the same to say.
        if str(message) not in said:
            said.add(str(message))
            complain(with_flags(f"note: {message}"))

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield
