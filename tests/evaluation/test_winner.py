"""Who wins: the metric, its ties, and what decides where the metric says nothing."""

import numpy as np
import pytest

from counterpoise.evaluation import (
    Contender,
    absent_classes,
    choose_winner,
    class_f1_scores,
    class_recalls,
    geometric_mean,
    macro_average,
    score_interval,
)

CLASSES = ("cat", "dog", "owl")


def contender(name, *matrices, metric=lambda m: geometric_mean(class_recalls(m)), complexity=0):
    arrays = [np.array(matrix) for matrix in matrices]
    return Contender(name, arrays, [metric(m) for m in arrays], complexity)


BLIND = [[40, 0, 0], [6, 34, 0], [9, 1, 0]]  # never finds an owl
BETTER = [[40, 0, 0], [0, 40, 0], [9, 1, 0]]  # neither, and better at all else
FAIR = [[38, 1, 1], [2, 37, 1], [3, 1, 6]]


def test_the_metric_decides_where_it_can():
    found = choose_winner([contender("bl", BLIND), contender("ros", FAIR)], "gmean", CLASSES)
    assert (found.name, found.rule, found.metric) == ("ros", "metric", "gmean")
    assert found.reason == "best G-mean on validation images: 0.808"
    assert found.scores["bl"] == 0


def test_the_baseline_does_not_win_because_all_have_a_gmean_of_zero():
    """Five of five comparisons with a class that was never found crowned the baseline."""
    found = choose_winner([contender("bl", BLIND), contender("ros", BETTER)], "gmean", CLASSES)
    assert (found.name, found.rule, found.metric, found.images) == ("ros", "pooled recall", "recall", 90)
    assert found.reason == (
        "G-mean is 0 for all methods, so the mean recall on 90 validation images decides: 0.667"
    )


def test_a_class_with_four_validation_images_is_pooled_over_repeats():
    few = [np.array(matrix) // [[1], [1], [3]] for matrix in (BLIND, FAIR)]
    lucky, fair = few[0].copy(), few[1]
    lucky[2] = [0, 0, 3]
    blind = few[0]
    found = choose_winner(
        [contender("bl", lucky, blind, blind), contender("ros", fair, fair, fair)],
        "gmean",
        CLASSES,
        repeats=3,
    )
    assert (found.name, found.rule) == ("ros", "pooled recall")
    assert "owl (3 validation images): too few for G-mean" in found.reason
    assert "pooled over 3 repeats" in found.reason
    assert found.images == sum(int(m.sum()) for m in (lucky, blind, blind))
    # A metric in which classes have no part of their own still decides.
    found = choose_winner([contender("bl", lucky), contender("ros", fair)], "accuracy", CLASSES)
    assert found.rule == "metric"


def test_ties_go_by_macro_f1_then_recall_then_simplicity():
    same = [[30, 10], [10, 30]]
    flat = lambda matrix: 0.75  # noqa: E731
    better_f1 = [[40, 0], [0, 40]]
    one = contender("bl", same, metric=flat)
    found = choose_winner([one, contender("ros", better_f1, metric=flat)], "gmean", ("a", "b"))
    assert found.name == "ros"
    assert found.reason.endswith("bl has the same, and a worse macro F1 (1.000 is the best)")
    more, less = (
        contender("ados", same, metric=flat, complexity=4),
        contender("ros", same, metric=flat, complexity=2),
    )
    found = choose_winner([more, less], "gmean", ("a", "b"))
    assert (found.name, found.reason.endswith("ados has the same scores, and ros is simpler")) == (
        "ros",
        True,
    )
    equal = contender("ros", same, metric=flat)
    assert choose_winner([one, equal], "gmean", ("a", "b")).name == "bl"


def test_methods_without_all_repeats_count_only_if_all_lack_some():
    whole, part = contender("bl", FAIR, FAIR), contender("ros", [[40, 0, 0], [0, 40, 0], [0, 0, 10]])
    assert choose_winner([whole, part], "gmean", CLASSES, repeats=2).name == "bl"
    assert choose_winner([whole, part], "gmean", CLASSES, repeats=3).name == "ros"
    assert choose_winner([], "gmean", CLASSES) is None


def degenerate(seed):
    """A made table: methods whose G-mean is 0, or a class of one to four validation images."""
    generator = np.random.default_rng(seed)
    classes, repeats = int(generator.integers(2, 8)), int(generator.integers(1, 4))
    sizes = generator.integers(20, 200, classes)
    sizes[-1] = generator.integers(1, 5) if seed % 2 else generator.integers(5, 12)
    contenders = []
    for index in range(int(generator.integers(2, 6))):
        recalls = generator.uniform(0.2, 0.98, classes)
        if not seed % 2:
            recalls[-1] = 0.0
        leaks = generator.dirichlet(
            np.full(classes, 0.3)
        )  # a method that calls everything rare has low precision
        matrices = []
        for _ in range(repeats):
            rates = (1 - recalls)[:, None] * leaks + np.diag(recalls)
            rates[:, -1] *= seed % 2
            rates += 1e-9
            matrices.append(generator.multinomial(sizes, rates / rates.sum(axis=1, keepdims=True)))
        contenders.append(contender(f"method-{index}", *matrices))
    return contenders, [f"class {c}" for c in range(classes)], repeats


@pytest.mark.parametrize("seed", range(20))
def test_a_choice_by_a_degenerate_metric_is_never_clearly_worse_in_macro_f1(seed):
    contenders, classes, repeats = degenerate(seed)
    found = choose_winner(contenders, "gmean", classes, repeats=repeats)
    assert (found.rule, found.metric) == ("pooled recall", "recall")
    pooled = {c.name: np.sum(c.matrices, axis=0) for c in contenders}
    f1_scores = {name: macro_average(class_f1_scores(matrix)) for name, matrix in pooled.items()}
    high = score_interval("f1", pooled[found.name]).high
    assert max(f1_scores.values()) <= high
    recalls = {name: macro_average(class_recalls(matrix)) for name, matrix in pooled.items()}
    fair = [name for name in pooled if score_interval("f1", pooled[name]).high >= max(f1_scores.values())]
    assert recalls[found.name] == max(recalls[name] for name in fair)


def test_classes_without_images_are_named():
    """A class without test images scored 1.000 without a word."""
    said = absent_classes({"train": [9, 9, 1], "validation": [2, 0, 0], "test": [5, 5, 0]}, CLASSES)
    assert [sentence.partition(":")[0] for sentence in said] == [
        "no validation images of dog, owl",
        "no test images of owl",
    ]
    assert absent_classes({"validation": [0, 0, 0], "test": None}, CLASSES) == []
