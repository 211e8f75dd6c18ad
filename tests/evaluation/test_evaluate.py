"""evaluate(): groups of classes, flags, missing classes, bad input, speed of import."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from imblearn.metrics import geometric_mean_score
from sklearn.metrics import precision_recall_fscore_support, roc_auc_score

from counterpoise.evaluation import METRICS, evaluate, evaluate_predictions
from counterpoise.exceptions import InputError

NAMES = ["zero", "one", "two", "three", "four"]


def random_problem(seed: int, n: int = 200, num_classes: int = 5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    true = np.concatenate([np.arange(num_classes), rng.integers(0, num_classes, n - num_classes)])
    logits = rng.normal(size=(n, num_classes))
    logits[np.arange(n), true] += rng.uniform(0, 2)
    prob = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return true, np.round(prob, 2)  # rounding makes ties


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_all_blocks_equal_peers(seed: int) -> None:
    true, prob = random_problem(seed)
    predicted = prob.argmax(axis=1)
    minority = [1, 4]
    scores = evaluate(true, prob, classes=NAMES, minority=minority)
    groups = {"all": range(5), "majority": [0, 2, 3], "minority": minority}
    class_auc = [roc_auc_score(true == c, prob[:, c]) for c in range(5)]
    for group, members in groups.items():
        members = list(members)
        block = scores[group]
        peer = precision_recall_fscore_support(
            true, predicted, labels=members, average="macro", zero_division=0
        )
        assert [block["precision"], block["recall"], block["f1"]] == pytest.approx(list(peer[:3]))
        assert block["gmean"] == pytest.approx(
            geometric_mean_score(true, predicted, labels=members), abs=1e-12
        )
        inside = np.isin(true, members)
        assert block["accuracy"] == pytest.approx((predicted == true)[inside].mean())
        assert block["auc"] == pytest.approx(np.mean([class_auc[c] for c in members]))
        slow_specificity = np.mean(
            [((true != c) & (predicted != c)).sum() / (true != c).sum() for c in members]
        )
        assert block["specificity"] == pytest.approx(slow_specificity)
    assert [entry["auc"] for entry in scores["per_class"]] == pytest.approx(class_auc)
    json.dumps(scores, allow_nan=False)


def test_structure_and_counts() -> None:
    true, prob = random_problem(3)
    scores = evaluate(true, prob, classes=NAMES, minority=(2,))
    assert list(scores) == [
        *("n", "all", "majority", "minority", "micro", "per_class"),
        *("confusion_matrix", "calibration_error", "flags"),
    ]
    assert tuple(scores["all"]) == METRICS.names
    assert scores["n"] == 200
    for index, entry in enumerate(scores["per_class"]):
        assert entry["name"] == NAMES[index]
        assert entry["support"] == (true == index).sum() == entry["tp"] + entry["fn"]
        assert entry["predicted"] == (prob.argmax(axis=1) == index).sum() == entry["tp"] + entry["fp"]
        assert entry["tp"] + entry["tn"] + entry["fp"] + entry["fn"] == 200


def test_minority_changes_the_groups_only() -> None:
    true, prob = random_problem(4)
    none, some = (evaluate(true, prob, classes=NAMES, minority=m) for m in ((), (0, 3)))
    assert none["minority"] is None
    assert none["majority"] == none["all"] == some["all"]
    assert some["minority"] != some["majority"] != some["all"]
    assert evaluate(true, prob, classes=NAMES, minority=(3, 0)) == some


def test_perfect_classifier() -> None:
    scores = evaluate([0, 1, 2], np.eye(3), classes=["a", "b", "c"], minority=[2])
    for block in ("all", "majority", "minority"):
        assert scores[block] == dict.fromkeys(METRICS.names, 1.0)
    assert set(scores["micro"].values()) == {1.0}
    assert scores["calibration_error"] == 0.0
    assert scores["flags"] == []


def test_worst_classifier() -> None:
    scores = evaluate([0, 1, 2], np.roll(np.eye(3), 1, axis=1), classes=["a", "b", "c"])
    block = scores["all"]
    assert {block[m] for m in ("precision", "recall", "f1", "gmean", "accuracy")} == {0.0}
    assert block["auc"] == 0.25  # against two others: one scores higher, one the same
    assert evaluate([0, 1, 2], (1 - np.eye(3)) / 2, classes=["a", "b", "c"])["all"]["auc"] == 0.0
    assert block["specificity"] == 0.5
    assert scores["calibration_error"] == 1.0
    assert scores["flags"] == ["recall is 0, so every G-mean with it is 0: 'a', 'b', 'c'"]


def test_uninformative_classifier_has_auc_one_half() -> None:
    scores = evaluate([0, 1, 2, 2], np.full((4, 3), 1 / 3), classes=["a", "b", "c"])
    assert scores["all"]["auc"] == 0.5
    assert scores["confusion_matrix"] == [[1, 0, 0], [1, 0, 0], [2, 0, 0]]
    assert scores["flags"][0] == "never predicted, so precision is set to 0: 'b', 'c'"


def test_missing_class_is_left_out_and_flagged() -> None:
    prob = np.array([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.2, 0.2, 0.6], [0.1, 0.8, 0.1]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = evaluate([0, 1, 0, 1], prob, classes=["a", "b", "c"], minority=[2])
    missing = scores["per_class"][2]
    assert [missing[key] for key in ("support", "recall", "f1", "auc")] == [0, None, None, None]
    assert (missing["predicted"], missing["precision"]) == (1, 0.0)
    assert scores["minority"] == dict.fromkeys(METRICS.names)
    assert scores["all"] == scores["majority"]
    assert scores["all"]["recall"] == 0.75
    assert scores["all"]["precision"] == 1.0
    assert scores["all"]["gmean"] == pytest.approx(0.5**0.5)
    assert scores["all"]["accuracy"] == scores["micro"]["recall"] == 0.75
    assert scores["flags"] == [
        "no samples, so recall and F1 are undefined and averages leave the class out: 'c'"
    ]


def test_one_class_only() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = evaluate([1, 1], [[0.2, 0.8], [0.9, 0.1]], classes=["a", "b"])
    assert scores["all"] == {
        **{"precision": 1.0, "recall": 0.5, "specificity": None, "f1": pytest.approx(2 / 3)},
        **{"gmean": pytest.approx(0.5), "accuracy": 0.5, "auc": None},
    }
    assert "all samples are of this class, so specificity is undefined: 'b'" in scores["flags"]


def test_flags_name_at_most_ten_classes() -> None:
    names = [f"c{i}" for i in range(30)]
    scores = evaluate_predictions(range(30), [0] * 30, classes=names)
    assert scores["flags"][0].endswith("'c10' and 19 more")


def test_predictions_equal_probabilities_but_for_auc_and_calibration() -> None:
    true, prob = random_problem(5)
    full = evaluate(true, prob, classes=NAMES, minority=[1])
    plain = evaluate_predictions(true, prob.argmax(axis=1), classes=NAMES, minority=[1])
    assert plain["calibration_error"] is None
    for block in ("all", "majority", "minority"):
        assert plain[block] == full[block] | {"auc": None}
    assert plain["per_class"] == [entry | {"auc": None} for entry in full["per_class"]]
    for key in ("n", "micro", "confusion_matrix", "flags"):
        assert plain[key] == full[key]


def test_single_precision_and_other_inputs() -> None:
    true, prob = random_problem(6)
    expected = evaluate(true, prob.astype(np.float32).astype(np.float64), classes=NAMES)
    assert evaluate(true.astype(np.uint8), prob.astype(np.float32), classes=tuple(NAMES)) == expected
    before = prob.copy()
    evaluate(true.tolist(), prob.tolist(), classes=NAMES)
    assert (prob == before).all()


TWO = [[0.9, 0.1], [0.2, 0.8]]


@pytest.mark.parametrize(
    ("true", "prob", "options", "message"),
    [
        ([0, 1, 1], TWO, {}, "y_true has 3 samples but y_prob has 2"),
        ([0, 2], TWO, {}, "the label 2, expected class indices 0..1"),
        ([0, 1], [[0.9, np.nan], [0.2, 0.8]], {}, r"y_prob holds 1 NaN or infinite value\(s\)"),
        ([0, 1], [[3.2, -1.0], [0.2, 0.8]], {}, "ranges from -1 to 3.2, expected .*softmax"),
        ([0, 1], [0.9, 0.8], {}, r"y_prob has shape \(2,\), expected \(N, 2\)"),
        ([0, 1], [[0.5, 0.3, 0.2]] * 2, {}, r"shape \(2, 3\), expected \(N, 2\)"),
        ([0, 1], [["x", "y"]] * 2, {}, "y_prob has dtype"),
        ([], np.zeros((0, 2)), {}, "y_prob is empty"),
        ([0, 1], TWO, {"minority": [2]}, "minority holds the label 2"),
        ([0, 1], TWO, {"minority": [1, 1]}, "names a class twice"),
        ([0, 1], TWO, {"minority": [0, 1]}, "leave at least one for the majority"),
        ([0, 1], TWO, {"classes": ["a", "a"]}, "'a' appears more than once"),
        ([0, 1], TWO, {"classes": ["a"]}, r"found 1 class name\(s\), expected at least 2"),
        ([0, 1], TWO, {"classes": "ab"}, "classes is the string 'ab'"),
    ],
)
def test_bad_input(true: list, prob: list, options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        evaluate(true, prob, **({"classes": ["a", "b"]} | options))
    assert "\n" not in str(caught.value)


def test_import_is_light() -> None:
    heavy = ["torch", "sklearn", "scipy", "imblearn", "pandas"]
    code = f"import sys, counterpoise.evaluation; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_ten_thousand_samples_take_no_time() -> None:
    """Usually about 0.05 s; the limit is loose because other work may share the machine."""
    true, prob = random_problem(7, n=10_000, num_classes=10)
    names = [str(i) for i in range(10)]
    seconds = []
    for _ in range(4):
        start = time.perf_counter()
        evaluate(true, prob, classes=names)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.5
