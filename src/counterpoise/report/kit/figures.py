"""Plotly figures as plain dicts; colours that depend on light or dark are set in the page."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from counterpoise.evaluation import METRICS, page_groups
from counterpoise.report.comparison import Comparison
from counterpoise.report.kit.html import plotly_label
from counterpoise.runs.records import Run

if TYPE_CHECKING:
    from counterpoise.report.curves import ClassCurve

Figure = dict[str, Any]

PALETTE = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#D55E00",
    "#8A6BBE",
    "#A0A03C",
    "#7F7F7F",
    "#B2596E",
)
"""Ten colours after Okabe and Ito (2008) that stay apart under the common colour-vision deficiencies."""

RARE, FREQUENT, PALE = "#D55E00", "#4C86B0", "#9AA3AD"


def class_colors(num_classes: int, minority: Sequence[int]) -> list[str]:
    """Return one colour per class; beyond ten classes only rare ones get their own and the others are grey.

    Examples
    --------
    >>> class_colors(2, [])
    ['#0072B2', '#E69F00']
    >>> len(set(class_colors(40, [3, 5])))
    3
    """
    if num_classes <= len(PALETTE):
        return list(PALETTE[:num_classes])
    chosen = dict(zip(minority, PALETTE, strict=False))
    return [chosen.get(index, PALE) for index in range(num_classes)]


def distribution(run: Run) -> Figure | None:
    """Return the bar chart of training images per class, rare classes marked by colour and hatching."""
    counts = run.counts("train")
    if counts is None:
        return None
    names = [plotly_label(name, length=22) for name in run.classes]
    horizontal = len(names) <= 30
    length = "x" if horizontal else "y"
    data = []
    for title, rare in (("common class", False), ("rare class", True)):
        indices = [index for index in range(len(names)) if (index in run.minority) == rare]
        if not indices:
            continue
        values = [counts[index] for index in indices]
        data.append(
            {
                "type": "bar",
                "orientation": "h" if horizontal else "v",
                "x": values if horizontal else indices,
                "y": indices if horizontal else values,
                "name": title,
                "customdata": [plotly_label(run.classes[index], length=80) for index in indices],
                "text": [f"{value:,}" for value in values] if horizontal else None,
                "textposition": "outside",
                "cliponaxis": False,
                "hovertemplate": f"%{{customdata}}<br>%{{{length}:,}} training images<extra></extra>",
                "marker": {
                    "color": RARE if rare else FREQUENT,
                    "pattern": {
                        "shape": "/",
                        "size": 6,
                        "solidity": 0.25,
                        "bgcolor": RARE,
                        "fgcolor": "#F6C9A8",
                    }
                    if rare
                    else {},
                },
            }
        )
    ticks = {"tickvals": list(range(len(names))), "ticktext": names, "showgrid": False, "zeroline": False}
    value_axis = {"title": {"text": "training images"}, "rangemode": "tozero", "tickformat": ",~r"}
    layout: dict[str, Any] = {
        "bargap": 0.28,
        "legend": {"orientation": "h", "y": 1, "yanchor": "bottom", "x": 0},
    }
    if horizontal:
        layout |= {"xaxis": value_axis, "yaxis": {**ticks, "autorange": "reversed", "automargin": True}}
        layout |= {"height": 110 + 27 * len(names), "margin": {"l": 10, "r": 56, "t": 34, "b": 48}}
    else:
        tick_size = 13 if len(names) <= 40 else 8
        layout |= {
            "yaxis": value_axis,
            "xaxis": {**ticks, "automargin": True, "tickfont": {"size": tick_size}},
        }
        layout |= {"height": 380, "margin": {"l": 60, "r": 12, "t": 34, "b": 60}}
    return {"data": data, "layout": layout}


def overview(study: Comparison) -> Figure:
    """Return the dot plot of the study's metric per method, with intervals, for each group of classes."""
    metric, methods = study.metric, study.methods
    data = []
    looks = {"all": ("circle", None), "minority": ("diamond", RARE), "majority": ("square", FREQUENT)}
    for place, (group, title) in enumerate((group.name, group.title) for group in page_groups()):
        points = []
        for index, method in enumerate(methods):
            score = study.score(method, group, metric)
            if score.mean is not None:
                points.append((index + (place - 1) * 0.2, score, plotly_label(study.title_of(method))))
        if not points:
            continue
        symbol, colour = looks[group]
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": title,
                "x": [score.mean for _, score, _ in points],
                "y": [y for y, _, _ in points],
                "customdata": [[name, _interval_text(score.low, score.high)] for _, score, name in points],
                "hovertemplate": "%{customdata[0]}<br>%{x:.3f}%{customdata[1]}",
                "marker": {"symbol": symbol, "size": 10, "color": colour},
                "error_x": {
                    "type": "data",
                    "symmetric": False,
                    "array": [
                        0 if s.high is None else max(0.0, s.high - (s.mean or 0)) for _, s, _ in points
                    ],
                    "arrayminus": [
                        0 if s.low is None else max(0.0, (s.mean or 0) - s.low) for _, s, _ in points
                    ],
                    "thickness": 1.6,
                    "width": 4,
                    "color": colour,
                },
            }
        )
    names = [plotly_label(study.title_of(method), length=22) for method in methods]
    return {
        "data": data,
        "layout": {
            "height": 110 + 52 * len(methods),
            "margin": {"l": 10, "r": 16, "t": 34, "b": 48},
            "legend": {"orientation": "h", "y": 1, "yanchor": "bottom", "x": 0},
            "xaxis": {"title": {"text": METRICS[metric].title}, "range": [-0.02, 1.02], "zeroline": False},
            "yaxis": {
                "tickvals": list(range(len(methods))),
                "ticktext": names,
                "range": [len(methods) - 0.5, -0.5],
                "automargin": True,
                "showgrid": False,
                "zeroline": False,
            },
        },
    }


def _interval_text(low: float | None, high: float | None) -> str:
    """Return the hover text's second line."""
    return "" if low is None or high is None else f"<br>95 % interval {max(0, low):.3f} to {min(1, high):.3f}"


def confusion(run: Run) -> Figure:
    """Return the frame of the confusion matrix; the page fills in the run's counts and shares."""
    names = [plotly_label(name, length=18) for name in run.classes]
    ticks = {"tickvals": list(range(len(names))), "ticktext": names, "showgrid": False, "zeroline": False}
    heat = {
        "type": "heatmap",
        "zmin": 0,
        "zmax": 1,
        "xgap": 1,
        "ygap": 1,
        "showscale": False,
        "hovertemplate": "%{customdata}<extra></extra>",
    }
    return {
        "data": [heat],
        "layout": {
            "height": max(340, min(900, 150 + 44 * len(names))),
            "margin": {"l": 10, "r": 10, "t": 10, "b": 10},
            "xaxis": {
                **ticks,
                "title": {"text": "predicted class"},
                "automargin": True,
                "constrain": "domain",
            },
            "yaxis": {
                **ticks,
                "title": {"text": "true class"},
                "autorange": "reversed",
                "automargin": True,
                "constrain": "domain",
            },
        },
    }


def roc(run: Run, curves: Sequence[ClassCurve | None], macro: ClassCurve | None) -> Figure:
    """Return the ROC curves: a trace per class in class order, then the mean, chance and the marker."""
    colours = class_colors(len(run.classes), run.minority)
    data: list[dict[str, Any]] = []
    for index, curve in enumerate(curves):
        name = plotly_label(run.classes[index], length=24)
        full = plotly_label(run.classes[index], length=80)
        data.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": f"{name} ({_auc(curve)})",
                "x": curve.fpr if curve else [],
                "y": curve.tpr if curve else [],
                "line": {"color": colours[index], "width": 1.6},
                "customdata": [full] * (len(curve.fpr) if curve and len(curves) <= 20 else 0),
                "hovertemplate": ("%{customdata}<br>" if len(curves) <= 20 else "")
                + "recall %{y:.3f}, false alarms %{x:.3f}<extra></extra>",
                "showlegend": curve is not None and len(curves) <= 20,
            }
        )
    data.append(
        {
            "type": "scatter",
            "mode": "lines",
            "name": f"mean of classes ({_auc(macro)})",
            "x": macro.fpr if macro else [],
            "y": macro.tpr if macro else [],
            "line": {"width": 2.4, "dash": "dash"},
            "hovertemplate": "mean of classes<br>recall %{y:.3f}, false alarms %{x:.3f}<extra></extra>",
            "showlegend": macro is not None,
        }
    )
    chance = {"color": PALE, "width": 1, "dash": "dot"}
    data.append(
        {
            "type": "scatter",
            "mode": "lines",
            "name": "chance",
            "x": [0, 1],
            "y": [0, 1],
            "line": chance,
            "hoverinfo": "skip",
        }
    )
    data.append(
        {
            "type": "scatter",
            "mode": "markers",
            "name": "threshold",
            "x": [],
            "y": [],
            "marker": {"size": 14, "symbol": "circle-open", "line": {"width": 3}},
            "hovertemplate": "at the threshold<br>recall %{y:.3f}, false alarms %{x:.3f}<extra></extra>",
            "showlegend": False,
        }
    )
    return {
        "data": data,
        "layout": {
            "height": 460,
            "margin": {"l": 56, "r": 12, "t": 10, "b": 50},
            "xaxis": {
                "title": {"text": "false alarms (1 − specificity)"},
                "range": [-0.02, 1.02],
                "zeroline": False,
            },
            "yaxis": {"title": {"text": "recall"}, "range": [-0.02, 1.02], "zeroline": False},
            "legend": {"x": 1, "xanchor": "right", "y": 0.02, "yanchor": "bottom", "font": {"size": 11}},
        },
    }


def _auc(curve: ClassCurve | None) -> str:
    return "AUC undefined" if curve is None or curve.auc is None else f"AUC {curve.auc:.3f}"


def learning(history: Sequence[dict[str, Any]]) -> tuple[Figure, Figure]:
    """Return the figures of the loss and of the validation scores, one stage after the other."""
    stages: list[tuple[str, list[tuple[int, dict[str, Any]]]]] = [
        (stage, list(epochs))
        for stage, epochs in groupby(enumerate(history, 1), key=lambda item: item[1]["stage"])
    ]
    loss, scores = [], []
    for place, (stage, epochs) in enumerate(stages):
        name, colour = plotly_label(stage), PALETTE[place % len(PALETTE)]
        loss += _curves(epochs, {"loss": f"{name}, training"}, colour, "solid", "circle")
        loss += _curves(epochs, {"validation_loss": f"{name}, validation"}, colour, "dot", "circle-open")
        scores += _curves(epochs, {"validation_gmean": f"{name}, G-mean"}, colour, "solid", "circle")
        scores += _curves(epochs, {"validation_accuracy": f"{name}, accuracy"}, colour, "dot", "circle-open")
    starts = [epochs[0][0] - 0.5 for _, epochs in stages[1:]]
    lines = [
        {
            "type": "line",
            "x0": x,
            "x1": x,
            "y0": 0,
            "y1": 1,
            "yref": "paper",
            "line": {"color": PALE, "width": 1, "dash": "dot"},
        }
        for x in starts
    ]
    layouts = [
        {
            "height": 330,
            "margin": {"l": 56, "r": 12, "t": 10, "b": 50},
            "xaxis": {
                "title": {"text": "epoch"},
                "range": [0.5, len(history) + 0.5],
                "tickformat": "d",
                "dtick": max(1, round(len(history) / 10)),
                "tick0": 1,
                "showgrid": False,
                "zeroline": False,
            },
            "yaxis": {"title": {"text": title}, "rangemode": "tozero", "zeroline": False},
            "legend": {"orientation": "h", "y": 1, "yanchor": "bottom", "x": 0},
            "shapes": lines,
        }
        for title in ("loss", "score on the validation images")
    ]
    return {"data": loss, "layout": layouts[0]}, {"data": scores, "layout": layouts[1]}


def _curves(
    epochs: list[tuple[int, dict[str, Any]]], names: dict[str, str], colour: str, dash: str, symbol: str
) -> list[dict[str, Any]]:
    """Return a trace for each of `names` that has at least one value."""
    return [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": name,
            "x": [x for x, _ in epochs],
            "y": [epoch[key] for _, epoch in epochs],
            "line": {"color": colour, "width": 2, "dash": dash},
            "marker": {"color": colour, "size": 6, "symbol": symbol},
            "hovertemplate": "epoch %{x}: %{y:.4f}",
        }
        for key, name in names.items()
        if any(epoch[key] is not None for _, epoch in epochs)
    ]


def embedding(run: Run, points: dict[str, Any]) -> Figure:
    """Return the 2-D map of the embedded training images: dots are images, crosses synthetic points."""
    colours = class_colors(len(run.classes), run.minority)
    grey = len(run.classes) > len(PALETTE)
    data = []
    for synthetic in (False, True):
        for index in sorted(range(len(run.classes)), key=lambda i: colours[i] != PALE):
            chosen = [
                i
                for i, (label, made) in enumerate(zip(points["label"], points["synthetic"], strict=True))
                if label == index and made == synthetic
            ]
            if not chosen:
                continue
            name = plotly_label(run.classes[index], length=24)
            data.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": f"{name}, synthetic" if synthetic else name,
                    "legendgroup": str(index),
                    "showlegend": not (grey and colours[index] == PALE),
                    "x": [_rounded(points["x"][i]) for i in chosen],
                    "y": [_rounded(points["y"][i]) for i in chosen],
                    "text": name,
                    "hovertemplate": "%{text}<extra>" + ("synthetic" if synthetic else "image") + "</extra>",
                    "marker": {
                        "color": colours[index],
                        "symbol": "x-thin" if synthetic else "circle",
                        "size": 7 if synthetic else 5,
                        "opacity": 0.85 if synthetic else 0.7,
                        "line": {"width": 1.4 if synthetic else 0, "color": colours[index]},
                    },
                }
            )
    bare = {"showticklabels": False, "showgrid": False, "zeroline": False, "ticks": "", "mirror": True}
    return {
        "data": data,
        "layout": {
            "height": 520,
            "margin": {"l": 12, "r": 12, "t": 10, "b": 12},
            "xaxis": bare,
            "yaxis": {**bare, "scaleanchor": "x"},
            "legend": {"orientation": "h", "y": -0.02, "yanchor": "top", "x": 0, "itemsizing": "constant"},
        },
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.5g}")
