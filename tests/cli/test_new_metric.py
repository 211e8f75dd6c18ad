"""A metric is one entry of the catalog: no other file knows its name."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest

from counterpoise.evaluation import METRICS, Contender, Metric, choose_winner, class_recalls

QUICK = ("--epochs", "2", "--batch-size", "16", "--threads", "1")


@pytest.fixture
def misses(monkeypatch):
    """The share of missed images, the mean over classes: lower is better."""
    monkeypatch.setenv("COLUMNS", "200")
    METRICS.add(
        Metric(
            "misses",
            "Miss rate",
            "miss rate",
            of_classes=lambda matrix: [None if r is None else 1 - r for r in class_recalls(matrix)],
            higher_is_better=False,
            optimum=0.0,
        )
    )
    yield
    del METRICS._entries["misses"]


def test_a_new_metric_is_written_shown_and_chosen_by(cli, photos, misses):
    options = ("--methods", "bl,ros", "--repeats", "2", "--jobs", "1", *QUICK)
    found = cli("compare", photos, *options, "--metric", "misses", "--out", "study")
    assert (found.code, found.err) == (0, "")
    stored = [json.loads(path.read_text())["test"] for path in Path("study/runs").glob("*/metrics.json")]
    assert len(stored) == 4
    for scores in stored:
        assert scores["all"]["misses"] == pytest.approx(1 - scores["all"]["recall"])
        assert [c["misses"] for c in scores["per_class"]] == [1 - c["recall"] for c in scores["per_class"]]
    with Path("study/results.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["metric"] == "misses"]
    assert sorted({row["classes"] for row in rows}) == ["all", "cat", "dog", "majority", "minority", "owl"]
    summary = json.loads(Path("study/summary.json").read_text())
    # One validation image of an owl is too few for a mean over classes, whichever it is.
    scores = summary["choice"]["scores"]
    assert "too few for miss rate" in summary["choice"]["reason"]
    assert scores[summary["winner"]] == max(scores.values())
    counts = {name: np.array([[9, 1], [2, 8]]) for name in ("bl", "ros")}
    methods = [Contender(name, [counts[name]], [value]) for name, value in (("bl", 0.3), ("ros", 0.15))]
    assert choose_winner(methods, "misses", ["a", "b"]).name == "ros"
    table = {entry["method"]: entry["scores"]["all"]["misses"]["mean"] for entry in summary["methods"]}
    assert "miss rate" in found.out
    page = Path("study/report.html").read_text()
    cells = re.findall(
        r'data-method="(\w+)" data-classes="all" data-metric="misses" data-value="([^"]+)"', page
    )
    assert {method: float(value) for method, value in cells} == pytest.approx(table)
    best = re.search(r'class="number best" data-method="(\w+)" data-classes="all" data-metric="misses"', page)
    assert best[1] == min(table, key=table.get)


def test_a_report_by_an_unknown_metric_is_refused(cli, photos, misses):
    options = ("--methods", "bl", "--repeats", "1", *QUICK)
    assert cli("compare", photos, *options, "--metric", "misses", "--out", "study").code == 0
    metric = METRICS._entries.pop("misses")
    try:
        found = cli("report", "study", "--out", "page.html")
    finally:
        METRICS.add(metric)
    assert found.code == 2
    assert "unknown metric 'misses'" in found.err
    assert not Path("page.html").exists()
