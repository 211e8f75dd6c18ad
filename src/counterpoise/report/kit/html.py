"""Putting data into a page so that it stays data: class and file names are never markup, never code."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from typing import Any


def json_for_script(value: Any) -> str:
    r"""Write `value` as JSON that can stand between ``<script>`` tags.

    Parameters
    ----------
    value : object
        What :func:`json.dumps` takes; NaN and infinity are refused.

    Returns
    -------
    str
        ASCII JSON without ``<``, ``>`` and ``&`` and without the line ends U+2028 and U+2029, so that no text
        in it can close the script element or open a comment.

    Raises
    ------
    ValueError
        If `value` holds NaN or infinity, which JSON does not know.

    Examples
    --------
    >>> print(json_for_script({"class": "</script> & co"}))
    {"class":"\u003c/script\u003e \u0026 co"}
    """
    text = json.dumps(value, allow_nan=False, ensure_ascii=True, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def plotly_label(text: str, *, length: int = 32) -> str:
    """Return `text` as Plotly shows it literally, shortened in the middle to `length` characters.

    Plotly reads a small HTML of its own in every label, legend and hover text, and decodes ``&lt;``,
    ``&gt;`` and ``&amp;`` (but not ``&quot;``), so exactly these three are escaped.

    Examples
    --------
    >>> plotly_label("<b>cat</b> & dog")
    '&lt;b&gt;cat&lt;/b&gt; &amp; dog'
    >>> plotly_label("a-very-long-class-name", length=9)
    'a-ve…name'
    """
    return html.escape(shorten(" ".join(text.split()), length=length), quote=False)


def shorten(text: str, *, length: int) -> str:
    """Return `text`, or its two ends around an ellipsis when it is longer than `length` characters.

    Examples
    --------
    >>> shorten("hippopotamus", length=7)
    'hip…mus'
    """
    if len(text) <= length:
        return text
    head = length // 2
    return f"{text[:head]}…{text[len(text) - (length - 1 - head) :]}"


def script_hash(script: str) -> str:
    """Return the Content-Security-Policy source that allows exactly this inline script.

    Examples
    --------
    >>> script_hash("")
    "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='"
    """
    digest = hashlib.sha256(script.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
