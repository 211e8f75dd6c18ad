"""The tables of a report with exact numbers, and the curves and threshold counts of one run for its slider."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from counterpoise.balance.adjust import adjustment_from_state
from counterpoise.evaluation import (
    METRICS,
    MeanInterval,
    RocCurve,
    RocCurves,
    judge,
    roc_curves,
    score_title,
    thin_curve,
    threshold_table,
)
from counterpoise.report.comparison import Comparison
from counterpoise.report.kit.html import Cell, Line, Table
from counterpoise.report.kit.wording import duration, p_text, pairs, plain, signed
from counterpoise.runs import PairedTestRecord, Predictions, RunFolder

THRESHOLDS = 101
"""Thresholds 0, 0.01, ..., 1: the steps of the slider."""


def tests_table(study: Comparison) -> Table:
    """Return the paired tests of ``summary.json``, with what each one says."""
    rows = []
    for test in study.summary.tests if study.summary else ():
        a, b = (study.titles.get(method, method) for method in (test.a, test.b))
        score = [score_title(test.metric, test.classes), signed(test.difference)]
        p_values = [p_text(test.p_value), p_text(test.p_adjusted)]
        rows.append([a, b, *score, *p_values, _reading(test, a, b, study.repeats)])
    head = ["First", "Second", "Score", "Difference", "p", "p adjusted", "Result"]
    return Table("Paired tests", head, rows, text=(1, 2, 6), wide=True)


def _reading(test: PairedTestRecord, a: str, b: str, repeats: int) -> str:
    if test.difference is None or test.p_adjusted is None:
        return "not enough repeats to test"
    gain = MeanInterval(METRICS[test.metric].gain(test.difference), None, None, repeats)
    outcome = judge(gain, p_value=test.p_adjusted).outcome
    return {"confirmed": f"{a} is better", "refuted": f"{b} is better"}.get(outcome, "could be chance")


def class_rows(run: RunFolder) -> list[list[Any]]:
    """Return a row per class: name, rare, training images, then support, tp, fp, fn, tn and five scores or None."""
    dataset = run.record.dataset
    entries = run.scores.per_class if run.scores else ()
    train: Sequence[Any] = dataset.counts.get("train") or [None] * len(dataset.classes)
    return [
        [name, index in dataset.minority, train[index], entry.support, entry.tp, entry.fp, entry.fn, entry.tn]
        + [entry.score(key) for key in ("precision", "recall", "specificity", "f1", "auc")]
        for index, (name, entry) in enumerate(zip(dataset.classes, entries, strict=False))
    ]


def provenance(study: Comparison) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return how the report's numbers came about: titled lists of name and value."""
    summary = study.summary
    facts: dict[str, Any] = {"folder": study.source.name or str(study.source), "repeats": study.repeats}
    if summary is not None:
        seconds = summary.wall_seconds
        facts = {"command": summary.command} | facts | {"repeats": summary.draws or study.repeats}
        by_default = f"{study.metric.title} on validation images"
        facts["chosen by"] = f"{study.choice.rule}: {study.choice.reason}" if study.choice else by_default
        facts["wall time of its last call"] = None if seconds is None else duration(seconds)
    blocks = [("This comparison" if summary else "This report", pairs(facts))]
    if study.runs:
        record = study.runs[0].record
        dataset = {
            "name": record.dataset.name,
            "source": record.dataset.source,
            "image size (height, width)": record.dataset.image_size,
            "images of another shape": record.dataset.fit,
            "channels": record.dataset.raw.get("channels"),
            "fingerprint": record.dataset.fingerprint,
            **{f"imbalance: {key}": value for key, value in record.imbalance.raw.items()},
        }
        blocks += [
            ("Data", pairs(dataset)),
            ("Network", pairs(record.network.raw)),
            *([("Pretrained weights", pairs(record.start.raw))] if record.start.origin else []),
            ("Training", pairs(record.training)),
            ("Hardware", pairs(record.hardware)),
            ("Versions", pairs({"counterpoise": record.version, **record.versions})),
        ]
    return [(title, values) for title, values in blocks if values]


def runs_table(runs: Sequence[RunFolder]) -> Table:
    """Return a row per run: method, repeat, seed, options, hashes, date, and the time that each stage took."""
    rows: list[list[Cell]] = []
    for run in runs:
        record = run.record
        stages = {name: seconds for name, seconds in record.timings.items() if name != "total" and seconds}
        total = record.timings.get("total")
        what = [record.method, str(record.draw), str(record.seed), plain(record.method_options)]
        hashes = [[Line(text[:12], "code")] for text in (record.manifest_hash, record.config_hash)]
        took = ", ".join(f"{name} {duration(seconds)}" for name, seconds in stages.items())
        rows.append([*what, *hashes, record.created, took, "" if total is None else duration(total)])
    head = ["Method", "Repeat", "Seed", "Options", "Split", "Configuration", "Created", "Stages", "Total"]
    return Table("Runs", head, rows, text=(3, 4, 5, 6, 7), wide=True)


def drawn_curves(predictions: Predictions) -> RocCurves:
    """Return the curve of every class against the rest, and their mean, with few points."""
    curves = roc_curves(predictions.true, predictions.probabilities)
    drawn = [None if curve is None else _thin(curve) for curve in curves.per_class]
    return RocCurves(drawn, None if curves.macro is None else _thin(curves.macro))


def _thin(curve: RocCurve) -> RocCurve:
    thin = thin_curve(curve, tolerance=2e-3)
    return thin._replace(fpr=[round(x, 4) for x in thin.fpr], tpr=[round(y, 4) for y in thin.tpr])


def threshold_counts(predictions: Predictions) -> dict[str, Any]:
    """Return true and false positives by class and threshold, images by class (``yes``) and all images (``n``).

    They are whole numbers, so that the page computes nothing from rounded values.
    """
    steps = [step / (THRESHOLDS - 1) for step in range(THRESHOLDS)]
    members = [predictions.true == c for c in range(predictions.probabilities.shape[1])]
    pairs_of = zip(members, predictions.probabilities.T, strict=True)
    tables = [threshold_table(own, scores, steps) for own, scores in pairs_of]
    counts = {key: [[int(n) for n in table[key]] for table in tables] for key in ("tp", "fp")}
    return counts | {"yes": [int(own.sum()) for own in members], "n": len(predictions.true)}


def tuned_thresholds(run: RunFolder) -> dict[str, Any]:
    """Return the slider's step of the highest Youden's J (1950) of each class, and the images that it was tuned on.

    These are the run's held-out images, never test images. J is recall plus specificity, minus 1; ``steps`` are None
    for a class without held-out images, ``held_out`` counts them. All are empty where the run has no such images.
    """
    from scipy.special import softmax

    held_out, counts = run.calibration, run.record.dataset.counts
    if held_out is None or not len(held_out.labels):
        return {"steps": [], "held_out": [], "images": ""}
    state = run.record.adjust
    logits = held_out.logits if state is None else adjustment_from_state(state.raw).transform(held_out.logits)
    shown = softmax(logits.astype(np.float64), axis=1)
    classes, labels = run.record.dataset.classes, held_out.labels
    table = threshold_counts(Predictions(classes, (), labels, shown.argmax(axis=1), shown))
    n, own = table["n"], table["yes"]
    steps: list[int | None] = []
    for tp, fp, yes in zip(table["tp"], table["fp"], own, strict=True):
        gain = np.array(tp) * (n - yes) - np.array(fp) * yes  # J, times both numbers of images
        steps.append(int(gain.argmax()) if 0 < yes < n else None)
    validated = own == list(counts.get("validation") or ())
    kind = (
        "validation images"
        if validated
        else "training images, predicted by models that did not learn from them"
    )
    return {"steps": steps, "held_out": own, "images": f"{n:,} {kind}"}
