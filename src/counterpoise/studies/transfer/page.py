"""The page of a transfer study and the lecture's figure, accuracy over the number of copied layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from counterpoise.report import (
    NONE,
    Table,
    claim_text,
    count,
    mean_text,
    new_figure,
    plain_frame,
    save_figure,
)
from counterpoise.report import write_page as write_template
from counterpoise.studies.transfer.plan import BASES, TREATMENTS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    from counterpoise.evaluation import MeanEntry
    from counterpoise.studies.transfer.results import Point, TransferSummary

#: The lecture's markers and colors, in tones that stay apart under the common color-vision deficiencies; shape and
#: plus repeat the distinction. Marker, face, edge, plus, sideways shift, words.
LOOKS: dict[str, tuple[str, str, str, str | None, float, str]] = {
    "baseB": ("o", "white", "black", None, 0.0, "baseB: trained on B from scratch"),
    "BnB": ("o", "#0B3C8C", "#0B3C8C", None, -0.12, "BnB: n layers of B, frozen"),
    "BnB+": ("o", "#8FC1EA", "#0B3C8C", "#0B3C8C", -0.04, "BnB+: n layers of B, fine-tuned"),
    "AnB": ("D", "#C1121F", "#C1121F", None, 0.04, "AnB: n layers of A, frozen"),
    "AnB+": ("D", "#F7A6A0", "#C1121F", "#C1121F", 0.12, "AnB+: n layers of A, fine-tuned"),
}
TREATMENT_TITLES = {name: look[-1].partition(": ")[-1] for name, look in LOOKS.items()}
_SIZE = 8.5


def write_page(summary: TransferSummary, picture: Path, path: Path) -> None:
    """Write the page of a summary; it holds the `picture` (a PNG) and asks nothing of the network."""
    done = sum(point["n"] for point in summary["curves"])
    planned = done + len(summary["failed"])
    shown = {
        "title": f"Transfer on {summary['dataset']}",
        "paper": "Lecture, transfer learning (Yosinski et al. 2014)",
        "table": f"{summary['network']}, {count(cast(int, summary['training']['epochs']), 'epoch')}",
        "runs": {"done": done, "planned": planned, "earlier": 0, "seconds": summary["training_seconds"]},
        "methods": TREATMENT_TITLES,
        "commands": [summary["command"]] if summary["command"] else [],
        "draws": summary["draws"],
        **dict.fromkeys(("rehearsal", "notes", "lines", "versions", "hardware"), ()),
    }
    content = page_content({summary["dataset"]: (summary, picture)})
    write_template(path, "studies/reproduce/page.html.j2", s=shown, missing=(), **content)


def page_content(studies: Mapping[str, tuple[TransferSummary, Path]]) -> dict[str, Any]:
    """Return what a page shows of studies, by name with the picture of each."""
    every = [(name, summary) for name, (summary, _) in studies.items()]
    claims = [[row[0], name, *row[1:]] for name, s in every for row in finding_rows(s)]
    return {
        "result": [f"{name}: {sentence}" for name, s in every for sentence in base_sentences(s)],
        "main": Table("Claims", ["claim", "where", "here", "measured"], claims, text=(1, 2, 3)),
        "pictures": [picture for _, picture in studies.values()],
        "tables": [replace(t, title=f"{name}: {t.title}") for name, s in every for t in study_tables(s)],
        "failed": [f"repeat {f['draw']}, {f['name']}: {f['error']}" for _, s in every for f in s["failed"]],
        "contradictions": (),
        **dict.fromkeys(("agreement", "details", "ranks"), Table("", [], [])),
    }


def study_tables(summary: TransferSummary) -> list[Table]:
    """Return the accuracies, the differences to ``baseB``, and the tasks."""
    tasks = [
        [str(task["draw"]), *(", ".join(part) for part in (task["A"], task["B"], trained))]
        for task in summary["tasks"]
        for trained in [[str(images["train"]) for images in task["images"].values()]]
    ]
    how = "" if summary["draws"] == 1 else ", mean ± half the 95 % interval"
    gains = table_rows(summary, difference=True)
    return [
        Table(f"accuracy on the test images of B{how}", ["n", *TREATMENTS], table_rows(summary)),
        Table(f"the same minus baseB of the same repeat{how}", ["n", *TREATMENTS], gains),
        Table("tasks", ["repeat", "source A", "target B", "training images A, B"], tasks, text=(1, 2)),
    ]


def finding_rows(summary: TransferSummary) -> list[list[str]]:
    """Return a row for each claim of the lecture: the claim, whether it holds here, and what was measured."""
    return [
        [f["claim"], claim_text(f["holds"], f["certain"]), f"{f['measure']}: {mean_of(f, sign=True)}"]
        for f in summary["findings"]
    ]


def table_rows(summary: TransferSummary, *, difference: bool = False) -> list[list[str]]:
    """Return a row for each number of layers: n, then the treatments' accuracies, or `difference` to ``baseB``."""
    points: dict[tuple[str, int], MeanEntry] = {
        (point["treatment"], point["layers"]): point["difference"] if difference else point
        for point in summary["curves"]
        if point["treatment"] in TREATMENTS
    }
    return [
        [str(n), *(mean_of(points.get((treatment, n)), sign=difference) for treatment in TREATMENTS)]
        for n in summary["layers"]
    ]


def base_sentences(summary: TransferSummary) -> list[str]:
    """Return the accuracy of each base network, in a sentence."""
    return [
        f"{point['treatment']}: {mean_of(point)} on its own test images."
        for point in summary["curves"]
        if point["treatment"] in BASES
    ]


def mean_of(entry: MeanEntry | None, *, sign: bool = False) -> str:
    """Return the mean of a curve's point or of a finding, with half its interval."""
    return NONE if entry is None else mean_text(entry["mean"], entry["low"], entry["high"], sign=sign)


def draw_figure(summary: TransferSummary, path: Path) -> None:
    """Draw the curves of a study and write them as a PNG.

    A small marker for each repeat, a large one and the line for the mean, a bar for its 95 % interval. Bars that are
    wider than the frame, as two repeats often give them, leave it; the legend says so.
    """
    figure = new_figure(9, 5.4)
    axes = figure.add_subplot()
    points = [point for point in summary["curves"] if point["treatment"] in LOOKS]
    for treatment in LOOKS:
        _draw_curve(axes, treatment, [point for point in points if point["treatment"] == treatment])
    _frame(axes, summary, [value for point in points for value in point["values"]])
    _legend(figure, {point["treatment"] for point in points}, several=summary["draws"] > 1)
    save_figure(figure, path, dpi=130, bbox_inches="tight", pad_inches=0.12)


def _artists(treatment: str, x: Sequence[float], y: Sequence[float]) -> list[Line2D]:
    """Return the line of a treatment, its marker, and its plus, if it has one."""
    from matplotlib.lines import Line2D

    marker, face, edge, plus, _, words = LOOKS[treatment]
    dashes: Any = (0, (4, 3)) if treatment == "baseB" else "--" if plus else "-"
    line = Line2D(x, y, color=edge, linewidth=1.4, linestyle=dashes, zorder=2)
    mark = Line2D(x, y, linestyle="none", marker=marker, markersize=_SIZE, color=face, label=words, zorder=4)
    mark.set(markeredgecolor=edge, markeredgewidth=1.2)
    cross = [Line2D(x, y, linestyle="none", marker="+", color=plus, markersize=_SIZE * 0.62, zorder=5)]
    return [line, mark, *(cross if plus else ())]


def _draw_curve(axes: Axes, treatment: str, points: list[Point]) -> None:
    if not points:
        return
    marker, _, edge, _, shift, _ = LOOKS[treatment]
    x = [point["layers"] + shift for point in points]
    means = [mean for point in points if (mean := point["mean"]) is not None]
    if treatment == "baseB":
        axes.axhline(means[0], color=edge, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    for artist in _artists(treatment, x, means):
        axes.add_line(artist)
    for place, point in zip(x, points, strict=True):
        if len(values := point["values"]) > 1:
            axes.scatter(
                [place] * len(values),
                values,
                s=14,
                marker=marker,
                color=edge,
                alpha=0.55,
                linewidths=0,
                zorder=3,
            )
        if point["low"] is not None and point["high"] is not None:
            axes.vlines(place, point["low"], point["high"], color=edge, linewidth=1, alpha=0.35, zorder=1)


def _legend(figure: Figure, treatments: set[str], *, several: bool) -> None:
    """Name the markers as they are drawn, plus included, and what the small marks and the bars are."""
    from matplotlib.legend_handler import HandlerTuple
    from matplotlib.lines import Line2D

    shown = [name for name in LOOKS if name in treatments]
    handles: list[Any] = [tuple(_artists(name, [], [])) for name in shown]  # the stubs do not know tuples
    words = [LOOKS[name][-1] for name in shown]
    if several:
        gray: dict[str, Any] = {"color": "#666666", "linestyle": "none"}
        bar = Line2D([], [], marker="|", markersize=13, alpha=0.6, **gray)
        handles.append((bar, Line2D([], [], marker="o", markersize=3.5, **gray)))
        words.append("small: one repeat; bar: 95 % interval, may leave the frame")
    figure.legend(
        handles,
        words,
        handler_map={tuple: HandlerTuple(ndivide=1)},
        handlelength=3.2,
        loc="outside lower center",
        ncols=2,
        frameon=False,
        fontsize=10,
    )


def _frame(axes: Axes, summary: TransferSummary, values: list[float]) -> None:
    margin = max(0.02, 0.12 * (max(values) - min(values)))
    axes.set_ylim(max(0.0, min(values) - margin), min(1.02, max(values) + margin))
    last = summary["layers"][-1]
    axes.set_xlim(-0.4, last + 0.5)
    axes.set_xticks([0, *summary["layers"]], ["base", *map(str, summary["layers"])])
    axes.set_xlabel("n: layers copied; the other layers are trained from scratch on B", fontsize=11)
    axes.set_ylabel("accuracy on the test images of B", fontsize=11)
    draws = "one repeat" if summary["draws"] == 1 else f"{summary['draws']} repeats, mean and 95 % interval"
    split = {"random": "random halves of the classes", "natural": "A man-made, B natural"}
    tasks = split.get(summary["split"], "A and B as named")
    axes.set_title(
        f"Transfer of {summary['network']} on {summary['dataset']}: {tasks} ({draws})", fontsize=12
    )
    plain_frame(axes)
