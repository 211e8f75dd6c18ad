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
LOOKS = (
    ("#000000", "o"),
    ("#0072B2", "s"),
    ("#009E73", "^"),
    ("#E69F00", "D"),
    ("#CC79A7", "v"),
    ("#D55E00", "P"),
    ("#56B4E9", "X"),
    ("#7F7F7F", "*"),
)


def draw_lines(table: Table, sides: Sequence[Side], path: Path) -> bool:
    """Draw each score over the imbalance ratio, published left and ours right; False where there is nothing to draw."""
    ratios = {setting.name: setting.ratio for setting in table.settings}
    scores = [score for score in SCORE_NAMES if any((s.classes, s.metric) == score for s in sides)]
    if len(set(ratios.values())) < len(ratios) or len(ratios) < 2 or None in ratios.values() or not scores:
        return False
    if all(side.mean is None for side in sides):
        return False
    methods = list(dict.fromkeys(side.method for side in sides))
    figure = new_figure(9.5, 2.7 * len(scores) + 0.7)
    all_axes = figure.subplots(len(scores), 2, sharex=True, sharey="row", squeeze=False)
    for score, (left, right) in zip(scores, all_axes, strict=True):
        chosen = [side for side in sides if (side.classes, side.metric) == score]
        for number, method in enumerate(methods):
            own = [(ratios[s.setting] or 0.0, s) for s in chosen if s.method == method]
            # so that the intervals stand beside each other
            aside = 1.025 ** (number - (len(methods) - 1) / 2)
            _draw_line(left, [(x, s.published, None, None) for x, s in own], number, method, "--")
            _draw_line(right, [(aside * x, s.mean, s.low, s.high) for x, s in own], number, method, "-")
        left.set_ylabel(SCORE_NAMES[score])
        for axes in (left, right):
            _frame(axes, sorted({ratio for ratio in ratios.values() if ratio}))
    all_axes[0][0].set_title("published (one repeat)")
    all_axes[0][1].set_title("ours: mean of the repeats, 95 % interval")
    for axes in all_axes[-1]:
        axes.set_xlabel("imbalance ratio ρ")
    named: dict[Any, Any] = {}  # matplotlib does not type what stands in a legend
    for axes in all_axes[0]:  # ours last, which are solid
        handles, words = axes.get_legend_handles_labels()
        named |= dict(zip(words, handles, strict=True))
    shown = [method for method in methods if method in named]
    figure.legend(
        [named[method] for method in shown],
        shown,
        loc="outside lower center",
        ncols=4,
        frameon=False,
    )
    save_figure(figure, path, dpi=110)
    return True


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


def _draw_line(
    axes: Axes,
    points: list[tuple[float, float | None, float | None, float | None]],
    number: int,
    method: str,
    style: str,
) -> None:
    color, marker = LOOKS[number % len(LOOKS)]
    known = [(x, value, low, high) for x, value, low, high in points if value is not None]
    if not known:
        return
    axes.plot(
        [x for x, *_ in known],
        [value for _, value, *_ in known],
        color=color,
        marker=marker,
        linestyle=style,
        linewidth=1.5,
        markersize=5.5,
        label=method,
    )
    for x, _, low, high in known:
        if low is not None and high is not None:
            axes.vlines(x, max(low, 0.0), min(high, 1.0), color=color, linewidth=1.2, alpha=0.45)


def _frame(axes: Axes, ratios: Sequence[float]) -> None:
    axes.set_xscale("log")
    axes.set_xticks(list(ratios), [f"{ratio:g}" for ratio in ratios])
    axes.set_xticks([], minor=True)
    plain_frame(axes)
