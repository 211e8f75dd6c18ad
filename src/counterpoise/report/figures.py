"""Charts as Plotly objects, written as plain JSON; colors that depend on light or dark are set in the page."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from counterpoise.evaluation import RocCurves, page_groups
from counterpoise.report.comparison import Comparison
from counterpoise.report.kit.html import plotly_label
from counterpoise.report.kit.wording import interval_text
from counterpoise.runs import DatasetRecord, EmbeddingMap, HistoryEntry

Figure = dict[str, Any]

PALETTE = [
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
]
"""Ten colors after Okabe and Ito (2008) that stay apart under the common color-vision deficiencies."""

RARE, COMMON, PALE = "#D55E00", "#4C86B0", "#9AA3AD"
MOST_NAMED = 20
"""Beyond so many classes, curves have no legend."""
_ABOVE = {"orientation": "h", "y": 1, "yanchor": "bottom", "x": 0}
_UNIT = {"range": [-0.02, 1.02], "zeroline": False}
_DOTTED = {"color": PALE, "width": 1, "dash": "dot"}


def _figure(traces: Sequence[Any], **layout: Any) -> Figure:
    """Return traces and layout as JSON values: lists stay lists, where Plotly's own JSON would pack arrays."""
    from plotly.graph_objects import Layout

    template = {"margin": {"l": 56, "r": 12, "t": 10, "b": 50}}
    found = Layout(**(template | layout)).to_plotly_json()
    return {"data": [trace.to_plotly_json() for trace in traces], "layout": found}


def _scatter(mode: str, name: str, x: Sequence[Any], y: Sequence[Any], **more: Any) -> Any:
    from plotly.graph_objects import Scatter

    return Scatter(mode=mode, name=name, x=x, y=y, **more)


def _names(labels: Sequence[str], **more: Any) -> dict[str, Any]:
    """Return an axis with one name per position."""
    ticks = {"tickvals": list(range(len(labels))), "ticktext": list(labels), "automargin": True}
    return ticks | {"showgrid": False, "zeroline": False} | more


def class_colors(num_classes: int, minority: Sequence[int]) -> list[str]:
    """Return one color per class; beyond ten classes only rare ones get their own and the others are gray.

    Examples
    --------
    >>> class_colors(2, [])
    ['#0072B2', '#E69F00']
    >>> len(set(class_colors(40, [3, 5])))
    3
    """
    if num_classes <= len(PALETTE):
        return PALETTE[:num_classes]
    chosen = dict(zip(minority, PALETTE, strict=False))
    return [chosen.get(index, PALE) for index in range(num_classes)]


def distribution(dataset: DatasetRecord) -> Figure | None:
    """Return the bar chart of training images per class, rare classes marked by color and hatching."""
    from plotly.graph_objects import Bar

    counts, classes = dataset.counts.get("train"), dataset.classes
    if counts is None:
        return None
    names = [plotly_label(name, length=22) for name in classes]
    horizontal = len(names) <= 30
    hatching = {"shape": "/", "size": 6, "solidity": 0.25, "bgcolor": RARE, "fgcolor": "#F6C9A8"}
    traces = []
    for title, rare in (("common class", False), ("rare class", True)):
        indices = [index for index in range(len(names)) if (index in dataset.minority) == rare]
        values = [counts[index] for index in indices]
        bar = Bar(
            orientation="h" if horizontal else "v",
            x=values if horizontal else indices,
            y=indices if horizontal else values,
            name=title,
            customdata=[plotly_label(classes[index], length=80) for index in indices],
            text=[f"{value:,}" for value in values] if horizontal else None,
            textposition="outside",
            cliponaxis=False,
            hovertemplate=f"%{{customdata}}<br>%{{{'x' if horizontal else 'y'}:,}} training images<extra></extra>",
            marker={"color": RARE, "pattern": hatching} if rare else {"color": COMMON},
        )
        traces += [bar] if indices else []
    values_axis = {"title": {"text": "training images"}, "rangemode": "tozero", "tickformat": ",~r"}
    layout: dict[str, Any] = {"bargap": 0.28, "legend": _ABOVE}
    if horizontal:
        layout |= {"height": 110 + 27 * len(names), "margin": {"l": 10, "r": 56, "t": 34, "b": 48}}
        return _figure(traces, xaxis=values_axis, yaxis=_names(names, autorange="reversed"), **layout)
    layout |= {"height": 380, "margin": {"l": 60, "r": 12, "t": 34, "b": 60}}
    names_axis = _names(names, tickfont={"size": 13 if len(names) <= 40 else 8})
    return _figure(traces, yaxis=values_axis, xaxis=names_axis, **layout)


def overview(study: Comparison) -> Figure:
    """Return the dot plot of the study's metric per method, with intervals, for each class group."""
    looks = {"all": ("circle", None), "minority": ("diamond", RARE), "majority": ("square", COMMON)}
    methods, traces = list(study.titles.values()), []
    for place, group in enumerate(page_groups()):
        scores = [study.score(method, group.name, study.metric.name) for method in study.methods]
        known = [(i, s.mean, s) for i, s in enumerate(scores) if s.mean is not None]
        symbol, color = looks[group.name]
        texts = [interval_text(s.low, s.high, between=" to ") for _, _, s in known]
        intervals = [f"<br>95 % interval {text}" if text else "" for text in texts]
        dots = _scatter(
            "markers",
            group.title,
            [mean for _, mean, _ in known],
            [index + (place - 1) * 0.2 for index, _, _ in known],
            customdata=[
                [plotly_label(methods[k[0]]), text] for k, text in zip(known, intervals, strict=True)
            ],
            hovertemplate="%{customdata[0]}<br>%{x:.3f}%{customdata[1]}",
            marker={"symbol": symbol, "size": 10, "color": color},
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [0 if s.high is None else max(0.0, s.high - mean) for _, mean, s in known],
                "arrayminus": [0 if s.low is None else max(0.0, mean - s.low) for _, mean, s in known],
                "thickness": 1.6,
                "width": 4,
                "color": color,
            },
        )
        traces += [dots] if known else []
    names = [plotly_label(title, length=22) for title in methods]
    return _figure(
        traces,
        height=110 + 52 * len(methods),
        margin={"l": 10, "r": 16, "t": 34, "b": 48},
        legend=_ABOVE,
        xaxis=_UNIT | {"title": {"text": study.metric.title}},
        yaxis=_names(names, range=[len(methods) - 0.5, -0.5]),
    )


def confusion(dataset: DatasetRecord) -> Figure:
    """Return the frame of the confusion matrix; the page fills in the run's counts and shares."""
    from plotly.graph_objects import Heatmap

    names = [plotly_label(name, length=18) for name in dataset.classes]
    shown = "%{customdata}<extra></extra>"
    return _figure(
        [Heatmap(zmin=0, zmax=1, xgap=1, ygap=1, showscale=False, hovertemplate=shown)],
        height=max(340, min(900, 150 + 44 * len(names))),
        margin=dict.fromkeys("lrtb", 10),
        xaxis=_names(names, title={"text": "predicted class"}, constrain="domain"),
        yaxis=_names(names, title={"text": "true class"}, constrain="domain", autorange="reversed"),
    )


def roc(dataset: DatasetRecord, curves: RocCurves, areas: Sequence[float | None]) -> Figure:
    """Return the ROC curves: a trace per class in class order, then the mean, chance and the marker.

    `areas` are those of the classes as ``metrics.json`` has them.
    """
    colors = class_colors(len(dataset.classes), dataset.minority)
    named, macro = len(curves.per_class) <= MOST_NAMED, curves.macro
    values = "recall %{y:.3f}, false alarms %{x:.3f}<extra></extra>"
    traces = [
        _scatter(
            "lines",
            f"{plotly_label(name, length=24)} ({_auc(area if curve else None)})",
            *((curve.fpr, curve.tpr) if curve else ([], [])),
            line={"color": color, "width": 1.6},
            customdata=[plotly_label(name, length=80)] * (len(curve.fpr) if curve and named else 0),
            hovertemplate=("%{customdata}<br>" if named else "") + values,
            showlegend=curve is not None and named,
        )
        for name, curve, color, area in zip(dataset.classes, curves.per_class, colors, areas, strict=True)
    ]
    circle, at = {"size": 14, "symbol": "circle-open", "line": {"width": 3}}, f"at the threshold<br>{values}"
    traces += [
        _scatter(
            "lines",
            f"mean of classes ({_auc(macro.auc if macro else None)})",
            *((macro.fpr, macro.tpr) if macro else ([], [])),
            line={"width": 2.4, "dash": "dash"},
            hovertemplate=f"mean of classes<br>{values}",
            showlegend=macro is not None,
        ),
        _scatter("lines", "chance", [0, 1], [0, 1], line=_DOTTED, hoverinfo="skip"),
        _scatter("markers", "threshold", [], [], marker=circle, hovertemplate=at, showlegend=False),
    ]
    return _figure(
        traces,
        height=460,
        xaxis=_UNIT | {"title": {"text": "false alarms (1 − specificity)"}},
        yaxis=_UNIT | {"title": {"text": "recall"}},
        legend={"x": 1, "xanchor": "right", "y": 0.02, "yanchor": "bottom", "font": {"size": 11}},
    )


def _auc(area: float | None) -> str:
    return "AUC undefined" if area is None else f"AUC {area:.3f}"


def learning(history: Sequence[HistoryEntry]) -> list[Figure]:
    """Return the figures of the loss and of the validation scores, one stage after the other."""
    stages = [list(epochs) for _, epochs in groupby(enumerate(history, 1), key=lambda item: item[1].stage)]
    loss, scores = [], []
    for place, epochs in enumerate(stages):
        stage = epochs[0][1].stage
        name, color = plotly_label(stage), PALETTE[place % len(PALETTE)]
        loss += _curve(epochs, "loss", f"{name}, training", color, main=True)
        loss += _curve(epochs, "validation_loss", f"{name}, validation", color, main=False)
        scores += _curve(epochs, "validation_gmean", f"{name}, G-mean", color, main=True)
        scores += _curve(epochs, "validation_accuracy", f"{name}, accuracy", color, main=False)
    starts = [epochs[0][0] - 0.5 for epochs in stages[1:]]
    vertical = {"type": "line", "y0": 0, "y1": 1, "yref": "paper", "line": _DOTTED}
    ticks = {"tickformat": "d", "dtick": max(1, round(len(history) / 10)), "tick0": 1}
    epoch_axis = {"title": {"text": "epoch"}, "range": [0.5, len(history) + 0.5], **ticks}
    epoch_axis |= {"showgrid": False, "zeroline": False}
    return [
        _figure(
            traces,
            height=330,
            xaxis=epoch_axis,
            yaxis={"title": {"text": title}, "rangemode": "tozero", "zeroline": False},
            legend=_ABOVE,
            shapes=[vertical | {"x0": x, "x1": x} for x in starts],
        )
        for traces, title in ((loss, "loss"), (scores, "score on the validation images"))
    ]


def _curve(
    epochs: list[tuple[int, HistoryEntry]], key: str, name: str, color: str, *, main: bool
) -> list[Any]:
    """Return a trace, if it has at least one value."""
    places, values = [x for x, _ in epochs], [getattr(epoch, key) for _, epoch in epochs]
    if all(value is None for value in values):
        return []
    line = {"color": color, "width": 2, "dash": "solid" if main else "dot"}
    marker = {"color": color, "size": 6, "symbol": "circle" if main else "circle-open"}
    shown = "epoch %{x}: %{y:.4f}"
    return [_scatter("lines+markers", name, places, values, line=line, marker=marker, hovertemplate=shown)]


def embedding(dataset: DatasetRecord, points: EmbeddingMap) -> Figure:
    """Return the 2-D map of the embedded training images: dots are images, crosses synthetic samples."""
    colors = class_colors(len(dataset.classes), dataset.minority)
    x, y = ([None if v is None else float(f"{v:.5g}") for v in values] for values in (points.x, points.y))
    members: dict[tuple[bool, int], list[int]] = {}
    for i, (label, kind) in enumerate(zip(points.label, points.kind, strict=True)):
        members.setdefault((kind == "synthetic", label), []).append(i)
    traces = []
    # Pale classes first, so that the colored ones lie above them.
    for synthetic, index in sorted(members, key=lambda key: (key[0], colors[key[1]] != PALE, key[1])):
        chosen, color = members[synthetic, index], colors[index]
        name = plotly_label(dataset.classes[index], length=24)
        symbol, size, opacity = ("x-thin", 7, 0.85) if synthetic else ("circle", 5, 0.7)
        look = {"symbol": symbol, "size": size, "opacity": opacity}
        traces.append(
            _scatter(
                "markers",
                f"{name}, synthetic" if synthetic else name,
                [x[i] for i in chosen],
                [y[i] for i in chosen],
                legendgroup=str(index),
                showlegend=color != PALE,
                text=name,
                hovertemplate="%{text}<extra>" + ("synthetic" if synthetic else "image") + "</extra>",
                marker={"color": color, **look, "line": {"width": 1.4 if synthetic else 0, "color": color}},
            )
        )
    bare = {"showticklabels": False, "showgrid": False, "zeroline": False, "ticks": "", "mirror": True}
    return _figure(
        traces,
        height=520,
        margin=dict.fromkeys("lrtb", 12) | {"t": 10},
        xaxis=bare,
        yaxis=bare | {"scaleanchor": "x"},
        legend={"orientation": "h", "y": -0.02, "yanchor": "top", "x": 0, "itemsizing": "constant"},
    )
