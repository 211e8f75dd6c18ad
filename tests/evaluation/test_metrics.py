"""The catalog of metrics: one place from which files, tables and choices are made."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, precision_recall_fscore_support

from counterpoise.evaluation import (
    GROUPS,
    METRICS,
    Degenerate,
    Metric,
    accuracy,
    choosing_metric,
    class_f1_scores,
    class_precisions,
    class_recalls,
    class_specificities,
    column_title,
    compact_columns,
    evaluate,
    evaluate_predictions,
    geometric_mean,
    page_groups,
    page_metrics,
    score_title,
    scores_to_rows,
)
from counterpoise.exceptions import InputError, UnknownNameError

RESULTS = Path(__file__).parents[2] / "results"
PROBLEM = (
    [0, 0, 1, 1, 2],
    [[0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.1, 0.8, 0.1], [0.3, 0.6, 0.1], [0.5, 0.3, 0.2]],
)
CLASSES = ("cat", "dog", "owl")


def class_misses(matrix):
    return [None if recall is None else 1 - recall for recall in class_recalls(matrix)]


def mean_confidence(true, prob, classes):
    return float(prob.max(axis=1)[np.isin(true, classes)].mean())


@pytest.fixture
def add():
    """Adds metrics for one test."""
    added = []

    def add(name, **fields):
        added.append(METRICS.add(Metric(name, "Miss rate", "miss rate", **fields)).name)

    yield add
    for name in added:
        del METRICS._entries[name]


def test_orders_of_files_and_pages():
    assert METRICS.names == ("precision", "recall", "specificity", "f1", "gmean", "accuracy", "auc")
    assert GROUPS.names == ("all", "majority", "minority")
    assert [metric.name for metric in page_metrics()] == [
        *("gmean", "recall", "f1", "precision", "specificity", "accuracy", "auc")
    ]
    assert [group.name for group in page_groups()] == ["all", "minority", "majority"]
    assert [(metric.name, group.name) for metric, group in compact_columns()] == [
        *(
            ("gmean", "all"),
            ("f1", "all"),
            ("recall", "minority"),
            ("recall", "majority"),
            ("accuracy", "all"),
        )
    ]


def test_titles():
    assert [group.title for group in page_groups()] == ["all classes", "rare classes", "common classes"]
    assert [metric.title for metric in page_metrics()] == [
        *("G-mean", "Recall", "F1", "Precision", "Specificity", "Accuracy", "AUC")
    ]
    assert column_title("recall", "majority") == "recall common"
    assert score_title("auc", "all") == "AUC, all classes"
    assert score_title("recall", "ship") == "recall, class ship"
    assert METRICS["f1"].format(0.12345) == "0.123"


@pytest.mark.parametrize("call", [score_title, column_title])
def test_unknown_names_are_answered_with_the_nearest(call):
    with pytest.raises(UnknownNameError, match="unknown metric 'gmeen'; did you mean 'gmean'"):
        call("gmeen", "all")
    with pytest.raises(UnknownNameError, match="unknown class group 'minorty'; did you mean 'minority'"):
        column_title("gmean", "minorty")


def test_a_metric_of_classes_appears_everywhere(add):
    add("misses", of_classes=class_misses, higher_is_better=False, optimum=0.0)
    scores = evaluate(*PROBLEM, classes=CLASSES, minority=[2])
    assert list(scores["all"])[-1] == "misses"
    assert scores["all"]["misses"] == pytest.approx(1 - scores["all"]["recall"])
    assert scores["minority"]["misses"] == 1.0
    assert [entry["misses"] for entry in scores["per_class"]] == [0.5, 0.0, 1.0]
    rows = [row for row in scores_to_rows(scores) if row["metric"] == "misses"]
    assert [(row["classes"], row["value"]) for row in rows] == [
        *(("all", 0.5), ("majority", 0.25), ("minority", 1.0), ("cat", 0.5), ("dog", 0.0), ("owl", 1.0))
    ]
    assert page_metrics()[-1].name == "misses"
    assert compact_columns()[-1][0].name == "misses"
    assert choosing_metric("misses").gain(0.1, over=0.3) == pytest.approx(0.2)


def test_a_metric_of_a_group_needs_probabilities_where_it_says_so(add):
    add("confidence", of_group=mean_confidence, needs="probabilities", groups=("all", "minority"))
    scores = evaluate(*PROBLEM, classes=CLASSES, minority=[2])
    assert scores["all"]["confidence"] == pytest.approx(0.64)
    assert scores["minority"]["confidence"] == 0.5
    assert scores["majority"]["confidence"] is None
    assert "confidence" not in scores["per_class"][0]
    rows = [row["classes"] for row in scores_to_rows(scores) if row["metric"] == "confidence"]
    assert rows == ["all", "minority"]
    plain = evaluate_predictions([0, 1], [0, 1], classes=CLASSES)
    assert plain["all"]["confidence"] is None


def test_a_metric_brings_its_flag(add):
    rule = Degenerate(9, "rarely found", lambda matrix: np.diagonal(matrix) < 2)
    add("misses", of_classes=class_misses, degenerate=rule)
    scores = evaluate_predictions([0, 0, 0, 1], [0, 0, 0, 1], classes=("a", "b"))
    assert scores["flags"] == ["rarely found: 'b'"]


def test_a_metric_that_an_older_file_lacks_is_not_computed_afterwards(add):
    scores = json.loads(json.dumps(evaluate(*PROBLEM, classes=CLASSES, minority=[2])))
    before = scores_to_rows(scores)
    add("misses", of_classes=class_misses, of_one_class=lambda entry: entry["fn"] / entry["support"])
    assert scores_to_rows(scores) == before
    assert scores_to_rows(scores, metrics=["misses"]) == []
    for group in GROUPS.names:
        del scores[group]["gmean"]
    assert "gmean" not in {row["metric"] for row in scores_to_rows(scores)}


def test_a_metric_may_not_choose_a_winner(add):
    add("misses", of_classes=class_misses, can_choose=False)
    with pytest.raises(UnknownNameError, match="unknown metric 'misses'"):
        choosing_metric("misses")
    assert choosing_metric("auc").name == "auc"


def test_a_metric_needs_a_function():
    with pytest.raises(InputError, match="neither of_classes nor of_group"):
        Metric("empty", "Empty", "empty")


def test_scores_of_archived_runs_are_the_same_floats_and_those_of_scikit_learn():
    matrices = 0
    for path in sorted(RESULTS.glob("*-[0-9]*/runs.jsonl")):
        for line in path.open(encoding="utf-8"):
            stored = json.loads(line)["test"]
            matrix = np.array(stored["confusion_matrix"])
            true, predicted = (axis.ravel() for axis in np.indices(matrix.shape))
            weights = {"sample_weight": matrix.ravel()}
            peers = precision_recall_fscore_support(true, predicted, zero_division=0, **weights)
            own = (class_precisions(matrix), class_recalls(matrix), class_f1_scores(matrix))
            columns = [
                [entry[name] for entry in stored["per_class"]] for name in ("precision", "recall", "f1")
            ]
            assert list(own) == columns == [values.tolist() for values in peers[:3]]
            specificities = [entry["specificity"] for entry in stored["per_class"]]
            assert class_specificities(matrix) == specificities
            assert geometric_mean(own[1]) == stored["all"]["gmean"]
            assert accuracy(matrix) == stored["all"]["accuracy"] == accuracy_score(true, predicted, **weights)
            matrices += 1
    assert matrices >= 490
