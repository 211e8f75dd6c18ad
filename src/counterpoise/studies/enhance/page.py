"""One self-contained page about an enhancement study."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from counterpoise.evaluation import METRICS, MeanInterval, column_title, judge
from counterpoise.explain.attention import SAME_FROM
from counterpoise.files import write_text
from counterpoise.studies.enhance.plan import CONTROLS, ENHANCED

_TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>A learned perturbation on {{ s.dataset }}</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; color: #1d2126; background: #fff; max-width: 72rem; margin: 2rem auto;
  padding: 0 1rem; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; margin-bottom: 0; } h2 { font-size: 1.2rem; margin-top: 2.2rem; } h3 { font-size: 1rem; }
p, li { max-width: 80ch; } .muted { color: #5a636d; } nav a { margin-right: 1rem; }
figure { margin: 1.2rem 0; } figure img { max-width: 100%; height: auto; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .8rem; text-align: right; border-bottom: 1px solid #dde1e5; vertical-align: top; }
th:first-child, td:first-child, td.text, th.text { text-align: left; } td small { display: block; color: #5a636d;
  max-width: 46ch; } tr.main td { background: #eef5fa; }
code { background: #f2f4f6; padding: .1rem .3rem; }
</style>
</head>
<body>
<h1>A learned perturbation on {{ s.dataset }}</h1>
<p class="muted">{{ s.network }}, U-Net of width {{ s.width }}, {{ s.draws }} draw{{ "" if s.draws == 1 else "s" }}</p>
<nav><a href="#scores">Scores</a><a href="#changes">Right and wrong</a>{% for section in sections %}
<a href="#{{ section.key }}">{{ section.title }}</a>{% endfor %}</nav>
<ul>{% for sentence in sentences %}<li>{{ sentence }}</li>
{% endfor %}</ul>
<h2 id="scores">Scores on the test images{{ "" if s.draws == 1 else ": mean ± half the 95 % interval" }}</h2>
<div class="wide"><table>
<tr><th>arm</th>{% for name in columns %}<th>{{ name }}</th>{% endfor %}</tr>
{% for row in rows %}<tr{% if row.main %} class="main"{% endif %}><td>{{ row.title }}<small>{{ row.what }}</small></td>
{% for cell in row.cells %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}
</table></div>
<h2>What the enhanced images gain over the other arms</h2>
<div class="wide"><table>
<tr><th>over</th>{% for name in columns %}<th>{{ name }}</th>{% endfor %}</tr>
{% for row in gains %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}
</table></div>
<h2>On training and test images together (train+test, which the slides call full)</h2>
<p class="muted">Both have learned from the training images: these numbers say little of new images.</p>
<div class="wide"><table>
<tr><th>arm</th>{% for name in columns %}<th>{{ name }}</th>{% endfor %}</tr>
{% for row in full %}<tr><td>{{ row.title }}</td>{% for cell in row.cells %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}
</table></div>
{% if s.slides %}
<h2>What the slides measured</h2>
<p class="muted">VGG-16 before and behind a U-Net; epochs, image size and splits are not given, so that only the
direction compares.</p>
<div class="wide"><table><tr><th>accuracy on</th><th>classifier</th><th>combined</th></tr>
{% for p in s.slides %}<tr><td>{{ p.evaluated_on }}</td><td>{{ "%.3f" | format(p.classifier) }}</td>
<td>{{ "%.3f" | format(p.combined) }}</td></tr>{% endfor %}
</table></div>{% endif %}
<h2 id="changes">What becomes right, and what wrong</h2>
<p class="muted">Test images that the enhanced classifier and another arm answer differently; p of McNemar's exact
test.</p>
<div class="wide"><table>
<tr><th>draw</th><th class="text">against</th><th>wrong → right</th><th>right → wrong</th><th>both right</th>
<th>both wrong</th><th>p</th></tr>
{% for c in s.changes %}<tr><td>{{ c.draw }}</td><td class="text">{{ titles[c.before] }}</td>
<td>{{ c.wrong_to_right }}</td><td>{{ c.right_to_wrong }}</td><td>{{ c.both_right }}</td><td>{{ c.both_wrong }}</td>
<td>{{ p_text(c.p_value) }}</td></tr>
{% endfor %}
</table></div>
{% for section in sections %}
<h2 id="{{ section.key }}">{{ section.title }}</h2>
<p class="muted">{{ section.text }}</p>
{% for item in section.entries %}
<figure><figcaption>{{ item.caption }}</figcaption>
<img src="data:image/png;base64,{{ item.picture }}" alt="{{ section.title }}: {{ item.caption }}"></figure>
{% else %}<p>None of the images shown.</p>{% endfor %}
{% endfor %}
{% if s.failed %}<h2>Failed</h2><ul>
{% for f in s.failed %}<li>draw {{ f.draw }}, {{ f.method }}: {{ f.error }}</li>{% endfor %}</ul>{% endif %}
{% if s.command %}<p class="muted">Made by <code>{{ s.command }}</code></p>{% endif %}
</body>
</html>
"""

COLUMNS = (("accuracy", "all"), ("gmean", "all"), ("recall", "minority"), ("recall", "majority"))
"""Metrics and class groups in the tables of the study."""

SECTIONS = (
    ("pixels", "Input, output and their difference", "What the U-Net adds and takes away."),
    (
        "different",
        "Grad-CAM: different",
        f"The classifier looks at other places of the changed image: rank correlation of the maps below {SAME_FROM}.",
    ),
    (
        "same",
        "Grad-CAM: same",
        f"The classifier looks at the same places of both: rank correlation of the maps at least {SAME_FROM}.",
    ),
    ("conv1", "First convolution", "The maps of the original image and of the changed one, and close-ups."),
    ("conv2", "Second convolution", "The maps of the original image and of the changed one, and close-ups."),
)


def write_page(summary: Mapping[str, Any], pictures: Path, path: Path) -> None:
    """Write the page; it holds its figures and asks nothing of the network.

    Parameters
    ----------
    summary : dict
        As in ``summary.json``.
    pictures : Path
        The folder of its figures.
    path : Path
        Where the page goes.
    """
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    titles = {entry["method"]: entry["title"] for entry in summary["methods"]}
    page = environment.from_string(_TEMPLATE).render(
        s=summary,
        titles=titles,
        sentences=findings(summary),
        columns=[name for name, _, _ in shown_columns(summary)],
        rows=[
            {
                "title": entry["title"],
                "what": entry["what"],
                "main": entry["method"] == ENHANCED,
                "cells": cells(summary, entry["scores"]),
            }
            for entry in summary["methods"]
        ],
        full=[
            {"title": titles[name], "cells": cells(summary, scores)}
            for name, scores in summary["full"].items()
        ],
        gains=gain_rows(summary),
        sections=_sections(summary["images"], pictures) if summary["images"] else [],
        p_text=p_text,
    )
    # A file name that is not valid UTF-8 may have come in as surrogates, which cannot be written.
    write_text(path, page.encode("utf-8", "replace").decode())


def shown_columns(summary: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return the columns of the tables; without rare classes there is nothing to tell them apart by."""
    return [
        (column_title(metric, group), group, metric)
        for metric, group in COLUMNS
        if summary["rare"] or group == "all"
    ]


def cells(summary: Mapping[str, Any], scores: dict[str, Any]) -> list[str]:
    """Return an arm's row of a table."""
    return [mean_text(scores.get(group, {}).get(metric)) for _, group, metric in shown_columns(summary)]


def findings(summary: Mapping[str, Any]) -> list[str]:
    """Return what the numbers say, in sentences.

    Examples
    --------
    >>> gains = [
    ...     {"over": name, "metric": "accuracy", "classes": "all", "mean": mean, "low": None, "high": None, "n": 1}
    ...     for name, mean in (("bl", 0.051), ("trained-on", 0.013))
    ... ]
    >>> methods = [{"method": "bl", "title": "Classifier"}, {"method": "trained-on", "title": "Classifier trained on"}]
    >>> summary = {"gains": gains, "changes": [], "methods": methods, "metric": "accuracy", "draws": 1, "rare": False}
    >>> for line in findings(summary | {"epochs": {"classifier": 5, "enhance": 3, "fresh": 8}}):
    ...     print(line)
    In accuracy the enhanced images are 5.1 points above the classifier on the originals.
    And 1.3 points above: Classifier trained on. The gain is more than further training or a larger network brings.
    """
    changes = [c for c in summary["changes"] if c["before"] == summary["methods"][0]["method"]]
    return _verdict(summary) + [
        f"{_of(change, summary)} {change['n']:,} test images "
        f"{change['wrong_to_right']:,} become right and {change['right_to_wrong']:,} wrong (McNemar's exact test: p "
        f"{p_text(change['p_value'])})."
        for change in changes
    ]


def _of(change: dict[str, Any], summary: Mapping[str, Any]) -> str:
    return f"Draw {change['draw']}: of" if summary["draws"] > 1 else "Of"


def _verdict(summary: Mapping[str, Any]) -> list[str]:
    """Say whether there is a gain, and whether more training or a larger network alone would have brought it."""
    titles = {entry["method"]: entry["title"] for entry in summary["methods"]}
    classifier, name = summary["methods"][0]["method"], METRICS[summary["metric"]].short_title
    gains = {
        gain["over"]: gain
        for gain in summary["gains"]
        if (gain["metric"], gain["classes"]) == (summary["metric"], "all")
    }
    if classifier not in gains:
        return []
    doubt = "; the interval over draws does not exclude zero" if _may_be_none(gains[classifier]) else ""
    sentences = [
        f"In {name} the enhanced images are {points(gains[classifier])} the classifier on the originals{doubt}."
    ]
    rarity = _by_rarity(summary, classifier)
    controls = [gain for over, gain in gains.items() if over in CONTROLS]
    if gains[classifier]["mean"] <= 0 or not controls:
        return sentences + rarity
    listed = [f"{points(gain)}: {titles[gain['over']]}" for gain in controls]
    equals = [titles[gain["over"]] for gain in controls if gain["mean"] <= 0]
    more = f"As much or more comes from: {', '.join(equals)}."
    if not equals:
        more = f"The gain is more than {_what_brings_less(summary['epochs'])}."
    return [*sentences, f"And {', '.join(listed)}. {more}", *rarity]


def _may_be_none(gain: dict[str, Any]) -> bool:
    interval = MeanInterval(gain["mean"], gain["low"], gain["high"], gain.get("n", 0))
    return judge(interval).certain is False


def _by_rarity(summary: Mapping[str, Any], classifier: str) -> list[str]:
    """Say which classes a gain is of: that of common ones hides a loss of rare ones, as there are more of them."""
    recalls = {
        gain["classes"]: gain
        for gain in summary["gains"]
        if (gain["over"], gain["metric"]) == (classifier, "recall")
    }
    if not summary["rare"] or not {"minority", "majority"} <= recalls.keys():
        return []
    rare, rest = points(recalls["minority"]), points(recalls["majority"])
    doubt = " (the interval does not exclude zero)" if _may_be_none(recalls["minority"]) else ""
    return [
        f"Recall of the rare classes is {rare} that of the classifier{doubt}, of the other classes {rest} it."
    ]


def _what_brings_less(epochs: dict[str, int]) -> str:
    """Say what the controls were: a larger network that had fewer epochs proves less."""
    total = epochs["classifier"] + epochs["enhance"]
    if epochs["fresh"] >= total:
        return "further training or a larger network brings"
    return f"further training brings, and than a larger network does in {epochs['fresh']} of those {total} epochs"


def gain_rows(summary: Mapping[str, Any]) -> list[list[str]]:
    """Return a table of what the enhanced images gain over each arm: its title, then a gain for each column."""
    columns = [(metric, group) for _, group, metric in shown_columns(summary)]
    gains = {(gain["over"], gain["metric"], gain["classes"]): gain for gain in summary["gains"]}
    return [
        [entry["title"], *(signed(gains.get((entry["method"], *column))) for column in columns)]
        for entry in summary["methods"]
        if (entry["method"], *columns[0]) in gains
    ]


def points(gain: dict[str, Any]) -> str:
    """Return a gain in points of a hundred.

    Examples
    --------
    >>> points({"mean": -0.0213}), points({"mean": 0.0})
    ('2.1 points below', 'level with')
    """
    if gain["mean"] == 0:
        return "level with"
    return f"{100 * abs(gain['mean']):.1f} points {'above' if gain['mean'] > 0 else 'below'}"


def signed(gain: dict[str, Any] | None) -> str:
    """Return a gain with its sign and half its interval.

    Examples
    --------
    >>> signed({"mean": -0.0213, "low": None, "high": None}), signed({"mean": 0.02, "low": 0.01, "high": 0.03})
    ('-0.021', '+0.020 ± 0.010')
    """
    if gain is None:
        return "-"
    half = "" if gain["low"] is None else f" ± {(gain['high'] - gain['low']) / 2:.3f}"
    return f"{gain['mean']:+.3f}{half}"


def mean_text(entry: dict[str, Any] | None) -> str:
    """Return a mean with half its interval, or a dash."""
    if entry is None or entry["mean"] is None:
        return "-"
    half = "" if entry["low"] is None else f" ± {(entry['high'] - entry['low']) / 2:.3f}"
    return f"{entry['mean']:.3f}{half}"


def p_text(value: float) -> str:
    """Return a p-value that is not written as zero.

    Examples
    --------
    >>> p_text(0.0312), p_text(1e-9)
    ('= 0.031', '< 0.001')
    """
    return f"= {value:.3f}" if value >= 0.001 else "< 0.001"


def _sections(images: list[dict[str, Any]], pictures: Path) -> list[dict[str, Any]]:
    return [
        {"key": key, "title": title, "text": text, "entries": _entries(key, images, pictures)}
        for key, title, text in SECTIONS
    ]


def _entries(key: str, images: list[dict[str, Any]], pictures: Path) -> list[dict[str, str]]:
    """Return the figures of a section, each with what it shows."""
    kind = "grad-cam" if key in ("same", "different") else key
    members = [
        shown
        for shown in images
        if kind in shown["figures"] and (kind != "grad-cam" or shown["same"] == (key == "same"))
    ]
    return [
        {
            "caption": caption(shown["image"]),
            "picture": base64.b64encode((pictures / shown["figures"][kind]).read_bytes()).decode(),
        }
        for shown in members
    ]


def caption(image: dict[str, Any]) -> str:
    """Say what an image is and what becomes of the answer."""
    return (
        f"{image['path']}, truly {image['true']}: {image['before']} → {image['after']} ({image['change']}; "
        f"probability of {image['true']} {image['probability_before']:.0%} → {image['probability_after']:.0%})"
    )
