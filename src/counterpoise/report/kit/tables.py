"""Plain tables: what stands in each cell, for HTML and for Markdown."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple


class Line(NamedTuple):
    """Line of a cell; ``mark`` is a class of the style sheet: ``best``, ``quiet`` or a verdict."""

    text: str
    mark: str = ""


Cell = str | Sequence[Line]


@dataclass(frozen=True)
class Table:
    """Table of a page.

    The first column names the rows. `title` is for screen readers, `text` has the other columns that hold words rather
    than numbers, `stressed` the rows that stand out; a `wide` table takes the whole width.
    """

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    text: Collection[int] = field(default=())
    stressed: Collection[int] = field(default=())
    caption: str = ""
    wide: bool = False

    def is_text(self, column: int) -> bool:  # noqa: D102
        return column == 0 or column in self.text

    @property
    def cells(self) -> list[list[Sequence[Line]]]:
        """All cells as lines."""
        return [[[Line(cell)] if isinstance(cell, str) else cell for cell in row] for row in self.rows]

    def markdown(self) -> str:
        """Return the table in Markdown; the lines of a cell stand beside each other."""
        head = [list(self.head), ["---"] * len(self.head)]
        rows = [[" / ".join(map(_marked, cell)) for cell in row] for row in self.cells]
        return "\n".join(f"| {' | '.join(map(markdown_text, row))} |" for row in (*head, *rows))


def markdown_text(value: object) -> str:
    """Escape what would end a cell of a Markdown table or start a tag."""
    return str(value).replace("|", "\\|").replace("<", "&lt;")


def _marked(line: Line) -> str:
    return f"**{line.text}**" if line.mark == "best" else line.text
