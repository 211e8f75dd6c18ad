"""Tables for a terminal, JSON for a program, and the command line's names for parameters of the library."""

from __future__ import annotations

import difflib
import json
import re
import shlex
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, get_origin

from rich.box import SIMPLE_HEAD
from rich.console import Console, JustifyMethod
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from counterpoise.exceptions import InputError

if TYPE_CHECKING:
    from counterpoise.config import Setting
    from counterpoise.evaluation import MeanEntry

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
    text = text.replace("\xa0", " ")  # of sentences for pages
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


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


def interval(entry: MeanEntry | None) -> str:
    """Return a mean with its 95 % interval, where there is one.

    Examples
    --------
    >>> interval({"mean": 0.8, "low": 0.75, "high": 0.83, "n": 1})
    '.800 (.75-.83)'
    >>> interval({"mean": 0.8, "low": None, "high": None, "n": 1})
    '.800'
    """
    if entry is None or entry["mean"] is None:
        return "-"
    if entry["low"] is None or entry["high"] is None:
        return score(entry["mean"])
    return f"{score(entry['mean'])} ({_bound(entry['low'])}-{_bound(entry['high'])})"


def _bound(value: float) -> str:
    return "1.0" if value >= 0.995 else f"{max(0.0, value):.2f}".removeprefix("0")


def recall_interval(scores: Mapping[str, Any], classes: Sequence[int]) -> str:
    """Return the 95 % interval of the mean recall of classes, or a dash."""
    from counterpoise.evaluation import score_interval

    matrix = scores["confusion_matrix"]
    if not any(sum(matrix[index]) for index in classes):
        return "-"
    found = score_interval("recall", matrix, classes=classes, images=scores.get("independent"))
    assert found.low is not None
    assert found.high is not None
    return f"{_bound(found.low)}-{_bound(found.high)}"


def show_scores(scores: Mapping[str, Any], title: str, minority: Sequence[int] = ()) -> None:
    """Print the scores of every class, and their averages over all classes and over the `minority` ones."""
    from counterpoise.evaluation import GROUPS, page_metrics

    shown = [metric for metric in page_metrics() if metric.of_classes is not None]
    per_class, whole = scores["per_class"], range(len(scores["per_class"]))
    named = [(c["name"], [index], c) for index, c in enumerate(per_class)]
    # Without rare classes, the common ones are all.
    groups = ("minority", "majority", "all") if scores["minority"] else ("all",)
    rare = sorted(set(minority))
    members = {"all": [*whole], "minority": rare, "majority": [i for i in whole if i not in rare]}
    named += [(GROUPS[group].title, members[group], scores[group]) for group in groups]
    rows = [
        [
            name,
            f"{sum(per_class[i]['support'] for i in classes):,}",
            *(score(own.get(metric.name)) for metric in shown),
        ]
        for name, classes, own in named
    ]
    columns = ["class", "images", *(metric.short_title for metric in shown)]
    beside = 3 + [metric.name for metric in shown].index("recall")
    columns.insert(beside, "95 %")  # a longer title would break others in 80 columns
    for row, (_, classes, _) in zip(rows, named, strict=True):
        row.insert(beside, recall_interval(scores, classes))
    print_table(columns, rows, title=title, best=len(rows) - 1)
    rest = [metric for metric in page_metrics() if metric not in shown]
    say(", ".join(f"{metric.short_title} {score(scores['all'].get(metric.name))}" for metric in rest))
    for flag in scores["flags"]:
        advise(flag)


def mean_of(repeats: int) -> str:
    """Return what the cells of a table over repeats are, in words."""
    what = "value of 1 repeat" if repeats == 1 else f"mean of {repeats} repeats"
    return f"{what} (95 % interval over images{'' if repeats == 1 else ' and repeats'})"


# Parameters that a flag of another name sets, for messages of commands that do not have it.
ELSEWHERE = {"validation_fraction": "--val-fraction"}


class Names:
    """Names of the fields of a command on the command line."""

    def __init__(self, settings: Sequence[Setting] = ()) -> None:
        self.flags = {f"--{setting.flag}" for setting in settings}
        self.switches = {f"--{s.flag}" for s in settings if s.annotation is bool}
        self.valued = {f"--{s.flag}" for s in settings if not s.positional} - self.switches
        self.repeated = {f"--{s.flag}" for s in settings if get_origin(s.annotation) is tuple}
        self.hidden = {f"--{name}": f"--{s.flag}" for s in settings for name in s.aliases}
        self.hidden |= {f"--no-{flag[2:]}": f"{flag}=false" for flag in self.switches}
        self.renamed = {f"--{name}": f"--{s.flag}" for s in settings for name in s.renamed}
        self.python = {s.name: s.metavar if s.positional else f"--{s.flag}" for s in settings}
        # Python names that the library keeps for what the command line renamed.
        for old, new in self.renamed.items():
            self.python.setdefault(old[2:].replace("-", "_"), new)

    def translate(self, message: str, keep: Iterable[str] = ()) -> str:
        """Return a message of the library with flags in place of the parameters that it has in backticks.

        Names in `keep` that are no parameters here stay as they are.

        Examples
        --------
        >>> Names().translate("cannot write x; choose another `out`")
        'cannot write x; choose another --out'
        """

        def flag(match: re.Match[str]) -> str:
            name = match[1]
            if name not in self.python and name in keep:
                return match[0]
            return self.python.get(name) or ELSEWHERE.get(name) or "--" + name.replace("_", "-")

        return re.sub(r"`([a-z_]+)`", flag, message)

    def current(self, tokens: Sequence[str]) -> list[str]:
        """Return tokens with flags in their present spelling and with their values.

        Of a flag given twice, the last one counts, unless it may be repeated.

        A flag that has been renamed, or has no value, is refused.

        Examples
        --------
        >>> from counterpoise.config import TrainConfig, settings_of
        >>> Names(list(settings_of(TrainConfig))).current(["x", "--lr", "1", "--opt=sgd", "--lr", "-1"])
        ['x', '--optimizer=sgd', '--lr=-1']
        """
        found: dict[str, str] = {}
        rest = list(tokens)
        while rest:
            token = rest.pop(0)
            if token == "--":
                return [*found.values(), token, *rest]
            flag, equals, value = token.partition("=")
            if flag in self.renamed and flag not in self.flags:
                raise InputError(f"{flag} is now {self.renamed[flag]}; give {self.renamed[flag]}")
            flag, _, fixed = self.hidden.get(flag, flag).partition("=")
            if flag in self.valued:
                if not equals and (not rest or rest[0].startswith("--")):
                    raise InputError(f"{flag} needs a value")
                found.pop(flag, None)
                key = f"{flag} {len(rest)}" if flag in self.repeated else flag
                found[key] = f"{flag}={value if equals else rest.pop(0)}"
            elif flag in self.switches:
                found[flag] = f"{flag}={fixed}" if fixed else token
            else:
                found[f"{token} {len(rest)}"] = token
        return list(found.values())


def nearest(word: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean ...?"`` for the known word that is most like `word`, or nothing."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else ""
