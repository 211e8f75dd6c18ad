"""Tables and figure of docs/studies/pretrained.md, from the results of `pretrained.py`."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from counterpoise.evaluation import mean_interval

SCORES = {"f1": "Macro F1", "rare": "Mean recall of the rare classes"}
REFERENCE = "logit-adjusted"
SHOWN = ("bl", "bl-cw", REFERENCE, "vs", "lda", "cosine", "fs-smote", "ados", "counterpoise-pretrained")
PAGE = Path(__file__).parents[1] / "docs/studies/pretrained.md"


Values = dict[tuple[str, str, int], dict[str, float]]  # set, method, count -> repeat -> score


def values_of(results: list[dict[str, str]], score: str) -> Values:
    """Return a score by set, method and count."""
    found: Values = {}
    for row in results:
        key = row["set"], row["method"], int(row["count"])
        found.setdefault(key, {})[row["repeat"]] = float(row[score])
    return found


def table(values: Values, name: str, methods: Sequence[str], cell_of: Callable[[str, int], str]) -> str:
    """Return a table of a set: a row for each method, a column for each count."""
    counts = sorted({count for found, _, count in values if found == name})
    known = {method for found, method, _ in values if found == name}
    lines = [f"| method | {' | '.join(map(str, counts))} |", "| --- |" + " --- |" * len(counts)]
    lines += [
        f"| `{m}` | {' | '.join(cell_of(m, count) for count in counts)} |" for m in methods if m in known
    ]
    return "\n".join(lines)


def score_table(values: Values, name: str, methods: Sequence[str]) -> str:
    """Return a table of mean scores with half their 95 % intervals."""
    return table(values, name, methods, lambda m, count: _mean(values.get((name, m, count), {}).values()))


def difference_table(values: Values, name: str, methods: Sequence[str]) -> str:
    """Return a table of differences from the reference, paired by repeat; bold where the interval excludes 0."""

    def difference(method: str, count: int) -> str:
        ours, others = (values.get((name, m, count), {}) for m in (method, REFERENCE))
        return _mean([ours[r] - others[r] for r in sorted(ours.keys() & others.keys())], signed=True)

    return table(values, name, [m for m in methods if m != REFERENCE], difference)


def _mean(found: Iterable[float], *, signed: bool = False) -> str:
    interval = mean_interval(found)
    if interval.mean is None:
        return ""
    text = f"{interval.mean:{'+' if signed else ''}.3f}"
    if interval.low is None:
        return text
    text = f"{text} ± {(interval.high - interval.low) / 2:.3f}"
    return f"**{text}**" if signed and interval.low * interval.high > 0 else text


def write_page(results: list[dict[str, str]], titles: Mapping[str, str], methods: Sequence[str]) -> None:
    """Write tables and figure of the sets that have results; the text around them stays."""
    gmean = values_of(results, "gmean")
    names = [name for name in titles if any(key[0] == name for key in gmean)]
    for name in names:
        difference = (
            f"G-mean minus that of `{REFERENCE}`, paired by repeat; bold where the interval excludes 0"
        )
        parts = [
            f"{titles[name]}. Columns: images of each rare class.",
            f"G-mean:\n\n{score_table(gmean, name, methods)}",
            f"{difference}:\n\n{difference_table(gmean, name, methods)}",
        ]
        for score, title in SCORES.items():
            parts.append(f"{title}:\n\n{score_table(values_of(results, score), name, methods)}")
        _put(name, "\n\n".join(parts))
    _draw(gmean, {name: titles[name] for name in names})


def _put(name: str, content: str) -> None:
    begin, end = f"<!-- begin {name} -->\n", f"<!-- end {name} -->"
    before, rest = PAGE.read_text().split(begin)
    PAGE.write_text(f"{before}{begin}{content}\n{end}{rest.split(end)[1]}")


def _draw(values: Values, titles: Mapping[str, str]) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.6), layout="constrained")
    for axes, name in zip(figure.subplots(1, len(titles), squeeze=False)[0], titles, strict=True):
        for method in SHOWN:
            counts = sorted(count for found, m, count in values if (found, m) == (name, method))
            means = [np.mean(list(values[name, method, count].values())) for count in counts]
            axes.plot(counts, means, marker="o", markersize=3, label=method)
        axes.set(xscale="log", title=titles[name].split(",")[0], xlabel="images of each rare class")
        axes.set_xticks(counts, map(str, counts), minor=False)
        axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    figure.axes[0].set_ylabel("G-mean")
    FigureCanvasAgg(figure).print_png(PAGE.with_suffix(".png"))


def read_results(path: Path) -> list[dict[str, str]]:
    """Return the rows of a file of results."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
