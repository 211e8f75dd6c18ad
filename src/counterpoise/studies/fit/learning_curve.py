"""How many more images: the recall of each class for twice as many, of the first head on frozen features."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from counterpoise.datasets import ImageDataset
from counterpoise.evaluation import RecallForecast, forecast_recalls
from counterpoise.exceptions import CounterpoiseError
from counterpoise.files import read_object, write_json
from counterpoise.report import PALETTE, Cell, Table, percent, plotly_label
from counterpoise.runs import DatasetRecord, RunFolder
from counterpoise.studies.fit.plan import FitPlan
from counterpoise.training import (
    Budget,
    EmbeddedSplit,
    ProgressCallback,
    Step,
    embedded_splits,
    find_device,
    hits_of_growing_parts,
    make_network,
)

#: Share of the time left that the forecast may take.
SHARE = 0.15
#: Seconds of the forecast in those of the head: 23 trainings on all images, and the penalty for each of four sizes,
#: where the head takes six and one.
HEADS = 4.0
#: So many classes have a sentence and a curve.
NAMED = 6


def forecast(
    plan: FitPlan, dataset: ImageDataset, folder: Path, budget: Budget, progress: ProgressCallback
) -> list[RecallForecast] | str:
    """Return the forecast of each class, computed once for a study's folder, or the reason why there is none yet."""
    path, run = folder / "learning-curve.json", RunFolder(folder / "runs" / plan.template.folder_name)
    if path.exists():
        return list(read_object(path)["classes"])
    if not run.is_complete(plan.template.hash):
        return "it needs the first head"
    seconds = run.record.timings
    needed = HEADS * (seconds["total"] - seconds["evaluate"] - seconds.get("embed", 0.0))
    if needed > SHARE * budget.remaining:
        return f"it needs about {needed:.0f} s; give a longer `budget`"
    splits = plan.template.split.splits(dataset, plan.config.seed).apply(dataset)
    network, device = make_network(plan.template, splits), find_device(plan.config.device)
    train = embedded_splits(network, splits, folder / "cache", device=device).train
    assert isinstance(train, EmbeddedSplit)

    def on_trained(done: int, total: int) -> None:
        progress.update(Step("curve", done, total, 1, 1, math.nan))

    method, network = plan.template.record, network.to(device)
    try:
        hits, sizes = hits_of_growing_parts(method, network, train, config=plan.config, on_trained=on_trained)
    except CounterpoiseError as error:
        return str(error)  # a method that refuses so few images is no reason to lose its model
    write_json(path, {"classes": forecast_recalls(hits, train.labels, sizes, train.groups)})
    return list(read_object(path)["classes"])


def ordered(found: Sequence[RecallForecast], dataset: DatasetRecord) -> list[tuple[str, RecallForecast]]:
    """Return names and forecasts, rare classes first, those with the fewest images first."""
    order = sorted(range(len(found)), key=lambda c: (c not in dataset.minority, found[c]["images"]))
    return [(dataset.classes[c], found[c]) for c in order]


def sentence(name: str, found: RecallForecast) -> str:
    r"""Return a forecast in words.

    Examples
    --------
    >>> more = (38.0, 0.68, 0.6, 0.75)
    >>> found = RecallForecast(images=19, measured=[], now=(19.0, 0.61, 0.5, 0.7), more=more, reason="")
    >>> print(sentence("crack", found).replace("\u00a0", " "))
    With twice as many images (38 of crack), the recall of crack would rise from 61 % to about 68 % (60 % to 75 %).
    """
    if found["now"] is None or found["more"] is None:
        return f"{name}: {found['reason']}."
    (_, now, _, _), (images, more, low, high) = found["now"], found["more"]
    change = "stay at" if percent(now) == percent(more) else f"rise from {percent(now)} to"
    interval = f"about {percent(more)} ({percent(low)} to {percent(high)})"
    return f"With twice as many images ({images:,.0f} of {name}), the recall of {name} would {change} {interval}."


def table(rows: Sequence[tuple[str, RecallForecast]]) -> Table:
    """Return the forecasts of all classes."""
    cells: list[list[Cell]] = []
    for name, found in rows:
        shown = [found["reason"], "", ""]
        if found["now"] is not None and found["more"] is not None:
            _, more, low, high = found["more"]
            shown = [percent(found["now"][1]), percent(more), f"{percent(low)} to {percent(high)}"]
        cells.append([name, f"{found['images']:,}", *shown])
    return Table("Forecasts", ["class", "images", "recall now", "with twice as many", "90 % interval"], cells)


def figure(rows: Sequence[tuple[str, RecallForecast]]) -> dict[str, object]:
    """Return the chart of the first classes: measured recalls, then the extrapolation with its interval."""
    traces: list[dict[str, object]] = []
    drawn = [(name, f["measured"], f["now"], f["more"]) for name, f in rows if f["now"] and f["more"]]
    for (name, measured, now, more), color in zip(drawn, PALETTE[:NAMED], strict=False):
        (x, y), line = np.transpose(measured).tolist(), {"color": color}
        common = {"type": "scatter", "mode": "lines+markers", "name": plotly_label(name), "legendgroup": name}
        error = {
            "symmetric": False,
            "array": [0.0, more[3] - more[1]],
            "arrayminus": [0.0, more[1] - more[2]],
        }
        line_on = {
            "x": [now[0], more[0]],
            "y": [now[1], more[1]],
            "line": line | {"dash": "dot"},
            "error_y": error,
        }
        traces += [common | {"x": x, "y": y, "line": line}, common | line_on | {"showlegend": False}]
    layout: dict[str, object] = {"height": 380, "margin": {"l": 56, "r": 12, "t": 34, "b": 50}}
    layout["xaxis"] = {"type": "log", "dtick": "D2", "title": {"text": "training images of the class"}}
    layout["yaxis"] = {"title": {"text": "recall"}, "range": [0, 1.02]}
    return {"data": traces, "layout": layout | {"legend": {"orientation": "h", "y": 1.15}}}
