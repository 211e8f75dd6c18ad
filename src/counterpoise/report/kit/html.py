"""Pages: one Jinja environment, one shell, and what may stand inside a page."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from counterpoise.files import atomic_path
from counterpoise.report.kit import wording
from counterpoise.report.kit.tables import markdown_text
from counterpoise.report.kit.wording import shorten

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup


def write_page(path: Path, template: str, **content: Any) -> None:
    """Write a page in chunks, so that thousands of pictures take no memory. Equal values give equal pages.

    Parameters
    ----------
    path : Path
    template : str
        Path inside the package, e.g. ``"report/comparison.html.j2"``. In HTML every value is escaped; in ``.md.j2`` the
        template escapes with the filter ``cell``.
    **content
        Values of the template.

    Raises
    ------
    RunFolderError
        If the file cannot be written.
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
