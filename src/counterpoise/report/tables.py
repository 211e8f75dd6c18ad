"""The tables of a report: what stands in each cell, its exact number, and what is marked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from counterpoise.evaluation import METRICS, MeanInterval, judge, score_title
from counterpoise.report.comparison import Comparison
from counterpoise.report.kit.tables import Cell, Line, Table
from counterpoise.report.kit.wording import duration, p_text, pairs, plain, signed
from counterpoise.runs import PairedTestRecord, RunFolder


def tests_table(study: Comparison) -> Table:
    """Return the paired tests of ``summary.json``, with what each one says."""
    rows = []
    for test in study.summary.tests if study.summary else ():
        a, b = (study.titles.get(method, method) for method in (test.a, test.b))
        rows.append(
            [
                a,
                b,
                score_title(test.metric, test.classes),
                signed(test.difference),
                p_text(test.p_value),
                p_text(test.p_adjusted),
                _reading(test, a, b, study.repeats),
            ]
        )
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
    train: Sequence[Any] = dataset.counts.get("train") or [None] * len(dataset.classes)
    return [
        [name, index in dataset.minority, train[index], entry.support, entry.tp, entry.fp, entry.fn, entry.tn]
        + [entry.score(key) for key in ("precision", "recall", "specificity", "f1", "auc")]
        for index, (name, entry) in enumerate(
            zip(dataset.classes, run.scores.per_class if run.scores else (), strict=False)
        )
    ]


def provenance(study: Comparison) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return how the report's numbers came about: titled lists of name and value."""
    summary = study.summary
    facts: dict[str, Any] = {"folder": study.source.name or str(study.source), "repeats": study.repeats}
    if summary is not None:
        seconds = summary.wall_seconds
        facts = {"command": summary.command} | facts
        facts |= {"repeats": summary.draws or study.repeats}
        facts |= {"chosen by": f"{study.metric.title} on validation images"}
        facts |= {"wall time of its last call": None if seconds is None else duration(seconds)}
    blocks = [("This comparison" if summary else "This report", pairs(facts))]
    if study.runs:
        record = study.runs[0].record
        dataset = {
            "name": record.dataset.name,
            "source": record.dataset.source,
            "image size (height, width)": record.dataset.image_size,
            "channels": record.dataset.raw.get("channels"),
            "fingerprint": record.dataset.fingerprint,
            **{f"imbalance: {key}": value for key, value in record.imbalance.raw.items()},
        }
        blocks += [
            ("Data", pairs(dataset)),
            ("Network", pairs(record.network.raw)),
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
        rows.append(
            [
                record.method,
                str(record.draw),
                str(record.seed),
                plain(record.method_options),
                [Line(record.manifest_hash[:12], "code")],
                [Line(record.config_hash[:12], "code")],
                record.created,
                ", ".join(f"{name} {duration(seconds)}" for name, seconds in stages.items()),
                "" if total is None else duration(total),
            ]
        )
    head = ["Method", "Repeat", "Seed", "Options", "Split", "Configuration", "Created", "Stages", "Total"]
    return Table("Runs", head, rows, text=(3, 4, 5, 6, 7), wide=True)
