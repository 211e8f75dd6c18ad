"""One self-contained page about a transfer study."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from counterpoise.files import write_text
from counterpoise.studies.transfer.plan import BASES, TREATMENTS

_TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>Transfer on {{ s.dataset }}</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; color: #1d2126; background: #fff; max-width: 60rem; margin: 2rem auto;
  padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: 0; } h2 { font-size: 1.15rem; margin-top: 2rem; }
img { width: 100%; height: auto; } .muted { color: #5a636d; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .8rem; text-align: right; border-bottom: 1px solid #dde1e5; }
th:first-child, td:first-child, .text { text-align: left; }
code { background: #f2f4f6; padding: .1rem .3rem; overflow-wrap: anywhere; }
</style>
</head>
<body>
<h1>Transfer on {{ s.dataset }}</h1>
<p class="muted">{{ s.network }}, {{ s.draws }} draw{{ "" if s.draws == 1 else "s" }},
{{ s.training.epochs }} epochs</p>
<img src="data:image/png;base64,{{ picture }}" alt="Accuracy on the target over the number of copied layers">
<h2>What the lecture says, and what these numbers show</h2>
<div class="wide"><table>
<tr><th>claim</th><th class="text">here</th><th class="text">measured</th></tr>
{% for f in s.findings %}
<tr><td>{{ f.claim }}</td><td class="text">{{ verdict(f) }}</td>
<td class="text">{{ f.measure }}: {{ signed(f) }}</td></tr>
{% endfor %}
</table></div>
<h2>Accuracy on the test images of B{{ "" if s.draws == 1 else ": mean ± half the 95 % interval" }}</h2>
<div class="wide"><table>
<tr><th>n</th>{% for t in treatments %}<th>{{ t }}</th>{% endfor %}</tr>
{% for row in rows %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}
</table></div>
<p>{{ bases | join(" ") }}</p>
<h2>The tasks</h2>
<div class="wide"><table>
<tr><th>draw</th><th class="text">source A</th><th class="text">target B</th><th>training images A, B</th></tr>
{% for t in s.tasks %}
<tr><td>{{ t.draw }}</td><td class="text">{{ t.A | join(", ") }}</td><td class="text">{{ t.B | join(", ") }}</td>
<td>{{ t.images.values() | map(attribute="train") | join(", ") }}</td></tr>
{% endfor %}
</table></div>
{% if s.failed %}<h2>Failed</h2><ul>
{% for f in s.failed %}<li>draw {{ f.draw }}, {{ f.name }}: {{ f.error }}</li>{% endfor %}</ul>{% endif %}
<h2>How to read it</h2>
<p>BnB: the first n layers of the network trained on B (baseB) are copied and frozen, and the rest is trained anew on
B. AnB: the same with the first n layers of the network trained on A. With a plus, the copied layers are trained on,
too. Where BnB falls below baseB, neighbouring layers had adapted to each other; where AnB falls further, the layers are
specific to A.</p>
{% if s.command %}<p class="muted">Made by <code>{{ s.command }}</code></p>{% endif %}
</body>
</html>
"""


def write_page(summary: Mapping[str, Any], picture: Path, path: Path) -> None:
    """Write the page; it holds its figure and asks nothing of the network.

    Parameters
    ----------
    summary : dict
        As in ``summary.json``.
    picture : Path
        The figure, a PNG.
    path : Path
        Where the page goes.
    """
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    page = environment.from_string(_TEMPLATE).render(
        s=summary,
        picture=base64.b64encode(picture.read_bytes()).decode(),
        treatments=TREATMENTS,
        rows=table_rows(summary),
        bases=base_sentences(summary),
        verdict=verdict,
        signed=signed,
    )
    write_text(path, page)


def table_rows(summary: Mapping[str, Any]) -> list[list[str]]:
    """Return one row for each number of layers: n, then the accuracies of the treatments."""
    points = {(point["treatment"], point["layers"]): point for point in summary["curves"]}
    return [
        [str(n), *(_mean(points.get((treatment, n))) for treatment in TREATMENTS)] for n in summary["layers"]
    ]


def base_sentences(summary: Mapping[str, Any]) -> list[str]:
    """Return the accuracy of each base network, in a sentence.

    Examples
    --------
    >>> point = {"treatment": "baseB", "layers": 0, "mean": 0.514, "low": 0.496, "high": 0.532}
    >>> base_sentences({"curves": [point]})
    ['baseB: 0.514 ± 0.018 on its own test images.']
    """
    return [
        f"{point['treatment']}: {_mean(point)} on its own test images."
        for point in summary["curves"]
        if point["treatment"] in BASES
    ]


def verdict(finding: dict[str, Any]) -> str:
    """Return whether a claim of the lecture holds here, and whether the draws are enough to be sure.

    Examples
    --------
    >>> verdict({"holds": False, "certain": False})
    'contradicted on average; the interval allows both'
    """
    if finding["holds"] is None:
        return "not measured"
    word = "holds" if finding["holds"] else "contradicted"
    if finding["certain"] is None:
        return f"{word} in this one draw"
    return word if finding["certain"] else f"{word} on average; the interval allows both"


def signed(entry: dict[str, Any]) -> str:
    """Return a difference with its sign and half its interval.

    Examples
    --------
    >>> signed({"mean": -0.0213, "low": None, "high": None})
    '-0.021'
    >>> signed({"mean": 0.01, "low": -0.01, "high": 0.03})
    '+0.010 ± 0.020'
    """
    if entry["mean"] is None:
        return "-"
    half = "" if entry["low"] is None else f" ± {(entry['high'] - entry['low']) / 2:.3f}"
    return f"{entry['mean']:+.3f}{half}"


def _mean(point: dict[str, Any] | None) -> str:
    if point is None:
        return "-"
    half = "" if point["low"] is None else f" ± {(point['high'] - point['low']) / 2:.3f}"
    return f"{point['mean']:.3f}{half}"
