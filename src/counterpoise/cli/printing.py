"""Tables for a terminal, and JSON for a program."""

from __future__ import annotations

import json
import shlex
import sys
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, JustifyMethod
from rich.markup import escape
from rich.table import Table
from rich.text import Text

LONGEST_NAME = 24


def print_json(value: Any) -> None:
    """Print a value as JSON on stdout."""
    print(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False))


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, title: str = "", best: int | None = None
) -> None:
    """Print a table; cells are data, not markup; the row numbered `best` is bold."""
    if title:
        say(title)
    table = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False, padding=(0, 1, 0, 0))
    for index, column in enumerate(columns):
        # The first column names the row: it is broken last, unless it would push out the others.
        whole = index == 0 and all(len(row[0]) <= LONGEST_NAME for row in rows)
        table.add_column(escape(column), justify=_justify(index, rows), overflow="fold", no_wrap=whole)
    for number, row in enumerate(rows):
        table.add_row(*(Text(printable(cell)) for cell in row), style="bold" if number == best else None)
    Console().print(table)


def _justify(column: int, rows: Sequence[Sequence[str]]) -> JustifyMethod:
    """Numbers stand right, words left."""
    cells = [row[column] for row in rows]
    return "right" if column and all(set(cell) <= set("0123456789.,±>- ") for cell in cells) else "left"


def say(text: str = "") -> None:
    """Print a line on stdout as it is: commands and paths are not wrapped."""
    print(printable(text))


def advise(text: str) -> None:
    """Print a paragraph on stdout with a dash before it, wrapped to the terminal."""
    wrapper = textwrap.TextWrapper(max(40, Console().width - 1), "- ", "  ", break_long_words=False)
    wrapper.break_on_hyphens = False
    print(wrapper.fill(printable(text)))


def complain(text: str) -> None:
    """Print a line on stderr, as ``counterpoise: text``."""
    print(f"counterpoise: {printable(' '.join(text.split()))}", file=sys.stderr)


def printable(text: str) -> str:
    r"""Return `text` without control characters: names of files and classes are untrusted.

    Examples
    --------
    >>> printable("cat\x1b[2J \udcff")
    'cat\\x1b[2J \\udcff'
    """
    return "".join(c if c.isprintable() or c == " " else c.encode("unicode_escape").decode() for c in text)


def command_line(*words: object) -> str:
    """Return a command that can be pasted into a shell.

    Examples
    --------
    >>> command_line("evaluate", "my runs/best", "digits")
    "counterpoise evaluate 'my runs/best' digits"
    """
    return shlex.join(["counterpoise", *map(str, words)])


def score(value: float | None) -> str:
    """Return a score with three decimals and no leading zero, or a dash.

    Examples
    --------
    >>> score(0.87654), score(1.0), score(None)
    ('.877', '1.000', '-')
    """
    return "-" if value is None else f"{value:.3f}".removeprefix("0")


def interval(entry: dict[str, Any] | None) -> str:
    """Return a mean with half its 95 % interval, where there are enough repeats for one.

    Two repeats may give an interval wider than all possible scores.

    Examples
    --------
    >>> interval({"mean": 0.8, "low": 0.75, "high": 0.85, "n": 3})
    '.800 ±.050'
    >>> interval({"mean": 0.8, "low": -1.7, "high": 3.3, "n": 2})
    '.800 ±>1'
    >>> interval({"mean": 0.8, "low": None, "high": None, "n": 1})
    '.800'
    """
    if entry is None or entry["mean"] is None:
        return "-"
    if entry["low"] is None:
        return score(entry["mean"])
    half = (entry["high"] - entry["low"]) / 2
    return f"{score(entry['mean'])} ±{score(half) if half < 1 else '>1'}"


def show_scores(scores: Mapping[str, Any], title: str) -> None:
    """Print the scores of every class, and their averages."""
    from counterpoise.evaluation import GROUPS, page_metrics

    shown = [metric for metric in page_metrics() if metric.of_classes is not None]
    rows = [
        [c["name"], f"{c['support']:,}", *(score(c.get(metric.name)) for metric in shown)]
        for c in scores["per_class"]
    ]
    # Without rare classes, the common ones are all.
    for group in ("minority", "majority", "all") if scores["minority"] else ("all",):
        rows.append([GROUPS[group].title, "", *(score(scores[group].get(metric.name)) for metric in shown)])
    columns = ["class", "images", *(metric.short_title for metric in shown)]
    print_table(columns, rows, title=title, best=len(rows) - 1)
    rest = [metric for metric in page_metrics() if metric not in shown]
    say(", ".join(f"{metric.short_title} {score(scores['all'].get(metric.name))}" for metric in rest))
    for flag in scores["flags"]:
        advise(flag)
