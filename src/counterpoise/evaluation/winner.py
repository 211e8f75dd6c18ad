"""Choice of a winner among methods by their confusion matrices on validation images, with its reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal, TypedDict

import numpy as np

from counterpoise.evaluation.intervals import score_interval
from counterpoise.evaluation.metrics import METRICS, Metric
from counterpoise.evaluation.scores import class_f1_scores, class_recalls, macro_average
from counterpoise.evaluation.selection import ChoiceDict
from counterpoise.evaluation.statistics import SAME

FEWEST_TO_CHOOSE = 5
"""With fewer validation images of a class, a mean over classes does not choose a winner."""
FEWEST_OF_FROZEN = 20
"""With fewer validation images of a class, heads on frozen features are chosen by cross-validation."""
Rule = Literal["metric", "pooled recall", "cross-validation"]


@dataclass(frozen=True, eq=False)
class Contender:
    """Method to choose from: confusion matrices on validation images and values of the metric, by repeat.

    `complexity` is its number of components; of methods that tie, the simpler one is chosen, then the first given.
    """

    name: str
    matrices: Sequence[np.ndarray]
    values: Sequence[float]
    complexity: int = 0


class WinnerDict(TypedDict):
    """A `Winner` in a file."""

    name: str
    rule: Rule
    metric: str
    reason: str
    scores: dict[str, float]
    images: int
    candidates: ChoiceDict | None


@dataclass(frozen=True)
class Winner:
    """Chosen method, the rule, the metric that decided, the reason, and the evidence.

    `scores` are the deciding values of all methods, `images` the validation images they rest on, counted once a repeat.
    """

    name: str
    rule: Rule
    metric: str
    reason: str
    scores: dict[str, float]
    images: int
    candidates: ChoiceDict | None = None

    def to_dict(self) -> WinnerDict:
        """Return the choice as JSON-able values."""
        return asdict(self)  # type: ignore[return-value]


def weighs_classes(metric: Metric) -> bool:
    """Return whether each class has its own part in a metric, so that a class with few images makes it a lottery."""
    return metric.of_classes is not None or metric.degenerate is not None


def few_classes(
    counts: Sequence[int], classes: Sequence[str], *, fewer_than: int, unit: str = "validation image"
) -> str:
    """Return the classes with fewer images than that, and how many each has; empty without any.

    Examples
    --------
    >>> few_classes([40, 3, 1], ["cat", "owl", "bat"], fewer_than=5)
    'owl (3 validation images), bat (1 validation image)'
    """
    few = [
        f"{name} ({n} {unit}{'' if n == 1 else 's'})"
        for name, n in zip(classes, counts, strict=True)
        if n < fewer_than
    ]
    return ", ".join(few[:6]) + (f" and {len(few) - 6} more" if len(few) > 6 else "")


def absent_classes(counts: Mapping[str, Sequence[int] | None], classes: Sequence[str]) -> list[str]:
    """Return a sentence on the classes without validation images, and one on those without test images.

    A split without any image is left out on purpose and not mentioned.

    Examples
    --------
    >>> absent_classes({"validation": [4, 1], "test": [9, 0]}, ["cat", "owl"])
    ['no test images of owl: nothing is measured on it, and scores are means over the other classes']
    """
    effects = {
        "validation": "it has no part in the choice of a winner, an epoch or a threshold",
        "test": "nothing is measured on it, and scores are means over the other classes",
    }
    found = []
    for split, effect in effects.items():
        own = counts.get(split) or ()
        names = [name for name, n in zip(classes, own, strict=False) if not n] if sum(own) else []
        if names:
            listed = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
            found.append(f"no {split} images of {listed}: {effect}")
    return found


def choose_winner(
    contenders: Sequence[Contender], metric: str, classes: Sequence[str], *, repeats: int = 1
) -> Winner | None:
    """Return the best method on validation images, None without any; methods that lack repeats count only if all do.

    The mean of the metric over repeats decides; ties are broken by macro F1, mean recall, and simplicity. Where the
    metric is the worst possible for all, or a class has fewer than five validation images in a repeat, the images of
    all repeats are pooled and mean recall decides, among methods whose macro F1 is not below that of another by more
    than its interval.

    Examples
    --------
    >>> blind, fair = np.array([[50, 0], [2, 0]]), np.array([[45, 5], [1, 1]])
    >>> found = choose_winner([Contender("bl", [blind], [0.0]), Contender("ros", [fair], [0.67])], "gmean", ["a", "b"])
    >>> found.name, found.rule, found.images
    ('ros', 'pooled recall', 52)
    >>> found.reason
    'b (2 validation images): too few for G-mean, so the mean recall on 52 validation images decides: 0.700'
    """
    able = [c for c in contenders if len(c.values) and len(c.values) == len(c.matrices)]
    able = [c for c in able if len(c.values) == repeats] or able
    if not able:
        return None
    known = METRICS[metric]
    counts = np.min([np.asarray(m).sum(axis=1) for c in able for m in c.matrices], axis=0)
    few = few_classes(counts.tolist(), classes, fewer_than=FEWEST_TO_CHOOSE) if weighs_classes(known) else ""
    pooled = {c.name: np.sum(c.matrices, axis=0) for c in able}
    images = int(max(matrix.sum() for matrix in pooled.values()))
    means = {c.name: float(np.mean(c.values)) for c in able}
    lost = known.higher_is_better and max(means.values()) <= 0
    if few or lost:
        why = (
            f"{few}: too few for {known.short_title}" if few else f"{known.short_title} is 0 for all methods"
        )
        return _by_pooled_recall(able, pooled, why, images)
    tied, reason = _first(able, [(f"{known.short_title} on validation images", means, known), *_ties(pooled)])
    return Winner(tied.name, "metric", metric, reason, means, images)


def _by_pooled_recall(
    able: Sequence[Contender], pooled: Mapping[str, np.ndarray], why: str, images: int
) -> Winner:
    by_f1, (name, recalls, metric) = _ties(pooled)
    best = max(by_f1[1].values())
    fair = [c for c in able if (score_interval("f1", pooled[c.name]).high or 0.0) >= best]
    rested = max(len(c.values) for c in able)
    over = f", pooled over {rested} repeats," if rested > 1 else ""
    title = f"the {name} on {images:,} validation images{over}"
    chosen, reason = _first(fair, [(title, recalls, metric), by_f1], decides=True)
    left = [c.name for c in able if c not in fair and recalls[c.name] > recalls[chosen.name]]
    if left:
        reason += (
            f"; {', '.join(left)} has a higher one at a macro F1 below the best by more than its interval"
        )
    return Winner(chosen.name, "pooled recall", "recall", f"{why}, so {reason}", recalls, images)


Key = tuple[str, dict[str, float], Metric]


def _ties(pooled: Mapping[str, np.ndarray]) -> list[Key]:
    """Return macro F1 and mean recall of the pooled validation images."""
    f1_scores = {name: macro_average(class_f1_scores(matrix)) for name, matrix in pooled.items()}
    recalls = {name: macro_average(class_recalls(matrix)) for name, matrix in pooled.items()}
    return [("macro F1", f1_scores, METRICS["f1"]), ("mean recall", recalls, METRICS["recall"])]


def _first(
    contenders: Sequence[Contender], keys: Sequence[Key], *, decides: bool = False
) -> tuple[Contender, str]:
    """Return the best by the first key that tells contenders apart, else the simplest, and the reason."""
    left = list(contenders)
    reason = ""
    for title, values, metric in keys:
        best = max(metric.gain(values[c.name]) for c in left)
        near = [c for c in left if metric.gain(values[c.name]) >= best - SAME]
        value = values[near[0].name]
        if not reason:
            reason = f"{title} decides: {value:.3f}" if decides else f"best {title}: {value:.3f}"
        elif len(near) < len(left):
            others = ", ".join(c.name for c in left if c not in near)
            return near[0], f"{reason}; {others} has the same, and a worse {title} ({value:.3f} is the best)"
        if len(near) == 1:
            return near[0], reason
        left = near
    simplest = min(left, key=lambda c: c.complexity)
    others = ", ".join(c.name for c in left if c is not simplest)
    return simplest, f"{reason}; {others} has the same scores, and {simplest.name} is simpler"
