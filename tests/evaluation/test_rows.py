"""Long-format rows from nested scores."""

from __future__ import annotations

import numpy as np
import pytest
from imblearn.metrics import geometric_mean_score

from counterpoise.evaluation import METRICS, evaluate, evaluate_predictions, scores_to_rows
from counterpoise.exceptions import InputError, UnknownNameError


def problem(classes: tuple[str, ...] = ("cat", "dog", "owl")) -> tuple[np.ndarray, np.ndarray, dict]:
    rng = np.random.default_rng(0)
    true = rng.choice(3, 90, p=[0.6, 0.3, 0.1])
    prob = rng.dirichlet(np.ones(3), 90) * 0.6 + 0.4 * np.eye(3)[true]
    return true, prob, evaluate(true, prob, classes=classes, minority=[2])


def test_every_group_class_and_metric_once() -> None:
    true, prob, scores = problem()
    rows = scores_to_rows(scores)
    found = {(row["classes"], row["metric"]): row["value"] for row in rows}
    assert len(rows) == len(found) == 6 * len(METRICS)
    for group in ("all", "majority", "minority"):
        assert {metric: found[group, metric] for metric in METRICS.names} == scores[group]
    for index, entry in enumerate(scores["per_class"]):
        for metric in ("precision", "recall", "specificity", "f1", "auc"):
            assert found[entry["name"], metric] == entry[metric]
        predicted = prob.argmax(axis=1)
        one_vs_rest = ((true == index) == (predicted == index)).mean()
        assert found[entry["name"], "accuracy"] == pytest.approx(one_vs_rest)
        peer = geometric_mean_score(true, predicted, labels=[index], average=None)
        assert found[entry["name"], "gmean"] == pytest.approx(float(np.squeeze(peer)))


def test_undefined_values_have_no_row() -> None:
    scores = evaluate_predictions([0, 0, 1], [0, 1, 1], classes=["a", "b", "c"])
    rows = scores_to_rows(scores)
    assert not [row for row in rows if row["metric"] == "auc" or row["classes"] == "minority"]
    assert {row["metric"] for row in rows if row["classes"] == "c"} == {"specificity", "accuracy"}
    assert all(isinstance(row["value"], float) for row in rows)


def test_class_called_like_a_group_is_kept_apart() -> None:
    *_, scores = problem(("all", "minority", "owl"))
    names = [row["classes"] for row in scores_to_rows(scores, metrics=["recall"])]
    assert names == ["all", "majority", "minority", "class all", "class minority", "owl"]


def test_metrics_choose_rows() -> None:
    *_, scores = problem()
    assert {row["metric"] for row in scores_to_rows(scores, metrics=["f1", "auc"])} == {"f1", "auc"}
    with pytest.raises(UnknownNameError, match="unknown metric 'f2'; did you mean 'f1'"):
        scores_to_rows(scores, metrics=["f2"])
    with pytest.raises(InputError, match="pass the result of evaluate"):
        scores_to_rows({"n": 3})
