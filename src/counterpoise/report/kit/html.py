"""Pages: one Jinja environment, plain tables for HTML and Markdown, and what may stand inside a page."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from counterpoise.files import atomic_path
from counterpoise.report.kit import wording
from counterpoise.report.kit.wording import shorten

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup


def write_page(path: Path, template: str, **content: Any) -> None:
    """Write a page in chunks, so that thousands of pictures take no memory. Equal values give equal pages.

    `template` is a path inside the package, e.g. ``"report/comparison.html.j2"``. In HTML every value of `content` is
    escaped; in ``.md.j2`` the template escapes with the filter ``cell``. Raises RunFolderError if it cannot write.
    """
    chunks = _environment().get_template(template).stream(content)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        # A file name that is not valid UTF-8 may have come in as surrogates, which cannot be written.
        chunks.dump(file, encoding="utf-8", errors="replace")


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    environment = Environment(
        loader=FunctionLoader(_source),
        autoescape=lambda name: not str(name).endswith(".md.j2"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"resource": resource, "picture": data_uri, "words": wording}
    environment.filters["cell"] = markdown_text
    return environment


def _source(name: str) -> str:
    return files("counterpoise").joinpath(name).read_text(encoding="utf-8")


def resource(name: str) -> Markup:
    """Return a file of the package, such as a style sheet or a script, as it stands."""
    from markupsafe import Markup

    return Markup(_source(name))


def data_uri(path: Path) -> str:
    """Return a PNG file as a data URI."""
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"


def json_for_script(value: Any) -> str:
    r"""Return `value` as JSON that can stand between ``<script>`` tags; NaN and infinity raise ValueError.

    It is ASCII without ``<``, ``>`` and ``&``, so that no text in it can close the script element or open a comment.

    Examples
    --------
    >>> print(json_for_script({"class": "</script> & co"}))
    {"class":"\u003c/script\u003e \u0026 co"}
    """
    text = json.dumps(value, allow_nan=False, ensure_ascii=True, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def plotly_label(text: str, *, length: int = 32) -> str:
    """Return `text` as Plotly shows it literally, shortened in the middle to `length` characters.

    Plotly reads a small HTML of its own in every label, legend and hover text, and decodes ``&lt;``, ``&gt;`` and
    ``&amp;`` (but not ``&quot;``), so exactly these three are escaped.

    Examples
    --------
    >>> plotly_label("<b>cat</b> & dog"), plotly_label("a-very-long-class-name", length=9)
    ('&lt;b&gt;cat&lt;/b&gt; &amp; dog', 'a-ve…name')
    """
    return html.escape(shorten(" ".join(text.split()), length=length), quote=False)


def script_hash(script: str) -> str:
    """Return the Content-Security-Policy source that allows exactly this inline script."""
    digest = hashlib.sha256(script.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


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
    text: Collection[int] = ()
    stressed: Collection[int] = ()
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
