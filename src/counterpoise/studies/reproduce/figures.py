"""The thesis's line plots, published beside ours, and the critical-difference diagram."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from counterpoise.evaluation import Ranks
from counterpoise.report import new_figure, plain_frame, save_figure
from counterpoise.studies.reproduce.findings import SCORE_NAMES
from counterpoise.studies.reproduce.side_by_side import Side
from counterpoise.studies.reproduce.tables import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Colors after Okabe and Ito (2008), with a marker each.
COLORS = ("#000000", "#0072B2", "#009E73", "#E69F00", "#CC79A7", "#D55E00", "#56B4E9", "#7F7F7F")
MARKERS = "os^DvPX*"


def draw_lines(table: Table, sides: Sequence[Side], path: Path) -> bool:
    """Draw each score over the imbalance ratio, published left and ours right; False where there is nothing to draw."""
    ratios = {setting.name: setting.ratio for setting in table.settings if setting.ratio is not None}
    scores = [score for score in SCORE_NAMES if any((s.classes, s.metric) == score for s in sides)]
    of_ratios = 2 <= len(set(ratios.values())) == len(table.settings)
    if not of_ratios or not scores or all(side.mean is None for side in sides):
        return False
    methods = list(dict.fromkeys(side.method for side in sides))
    figure = new_figure(9.5, 2.7 * len(scores) + 0.7)
    all_axes = figure.subplots(len(scores), 2, sharex=True, sharey="row", squeeze=False)
    for score, (left, right) in zip(scores, all_axes, strict=True):
        for number, method in enumerate(methods):
            own = [s for s in sides if (s.classes, s.metric, s.method) == (*score, method)]
            # Shift the methods apart, so that their intervals do not overlap.
            aside = 1.025 ** (number - (len(methods) - 1) / 2)
            published = [(ratios[s.setting], s.published) for s in own if s.published is not None]
            measured = [(aside * ratios[s.setting], s.mean) for s in own if s.mean is not None]
            _draw_line(left, published, number, method, "--")
            _draw_line(right, measured, number, method, "-")
            for side in own:
                if side.low is not None and side.high is not None:
                    ends = max(side.low, 0.0), min(side.high, 1.0)
                    color = COLORS[number % len(COLORS)]
                    right.vlines(aside * ratios[side.setting], *ends, color=color, linewidth=1.2, alpha=0.45)
        left.set_ylabel(SCORE_NAMES[score])
        for axes in (left, right):
            axes.set_xscale("log")
            axes.set_xticks(sorted(ratios.values()), [f"{ratio:g}" for ratio in sorted(ratios.values())])
            axes.set_xticks([], minor=True)
            plain_frame(axes)
    all_axes[0][0].set_title("published (one repeat)")
    all_axes[0][1].set_title("ours: mean of the repeats, 95 % interval")
    for axes in all_axes[-1]:
        axes.set_xlabel("imbalance ratio ρ")
    named: dict[Any, Any] = {}  # matplotlib does not type the parts of a legend
    for axes in all_axes[0]:  # ours last, which are solid
        handles, labels = axes.get_legend_handles_labels()
        named |= dict(zip(labels, handles, strict=True))
    shown = [method for method in methods if method in named]
    handles = [named[method] for method in shown]
    figure.legend(handles, shown, loc="outside lower center", ncols=4, frameon=False)
    save_figure(figure, path, dpi=110)
    return True


def _draw_line(
    axes: Axes, points: Sequence[tuple[float, float]], number: int, method: str, style: str
) -> None:
    if points:
        axes.plot(
            *zip(*points, strict=True),
            color=COLORS[number % len(COLORS)],
            marker=MARKERS[number % len(MARKERS)],
            linestyle=style,
            linewidth=1.5,
            markersize=5.5,
            label=method,
        )


def draw_ranks(ranks: Ranks, path: Path, metric: str) -> bool:
    """Draw the critical-difference diagram (Demšar 2006): methods on a line of mean ranks, bars join those alike."""
    if ranks.critical_difference is None or len(ranks.methods) < 2:
        return False
    count = len(ranks.methods)
    order = sorted(range(count), key=lambda i: ranks.mean[i])
    rows = (count + 1) // 2
    bars = ranks.cliques
    figure = new_figure(8.0, 1.0 + 0.32 * rows + 0.14 * len(bars))
    axes = figure.add_subplot()
    axes.set_xlim(1 - 0.9, count + 0.9)
    axes.set_ylim(-0.5 - 0.55 * len(bars) - rows, 1.9)
    axes.axis("off")
    axes.hlines(0, 1, count, color="black", linewidth=1)
    for tick in range(1, count + 1):
        axes.vlines(tick, 0, 0.18, color="black", linewidth=1)
        axes.text(tick, 0.25, str(tick), ha="center", va="bottom", fontsize=9)
    axes.hlines(1.25, 1, 1 + ranks.critical_difference, color="black", linewidth=2)
    words = f"critical difference {ranks.critical_difference:.2f}; mean rank by {SCORE_NAMES['all', metric]} over "
    axes.text(1, 1.35, f"{words}{ranks.blocks} lines, 1 is best", va="bottom", fontsize=9)
    for level, (first, last) in enumerate(bars):
        ends = ranks.mean[order[first]] - 0.04, ranks.mean[order[last]] + 0.04
        axes.hlines(-0.45 - 0.55 * level, *ends, color="#D55E00", linewidth=4)
    for place, index in enumerate(order):
        left = place < rows
        depth = -0.55 - 0.55 * len(bars) - (place if left else count - 1 - place)
        end = 1 - 0.1 if left else count + 0.1
        axes.plot([ranks.mean[index]] * 2 + [end], [0, depth, depth], color="black", linewidth=0.9)
        words = f"{ranks.methods[index]}  {ranks.mean[index]:.2f}"
        axes.text(end + (-0.05 if left else 0.05), depth, words, ha="right" if left else "left", va="center")
    save_figure(figure, path, dpi=110)
    return True
