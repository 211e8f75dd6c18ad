"""Choice among candidate models by cross-validated predictions, robust where classes have very few images.

The deciding score is ``exp((mean_c log r_c + mean_c l_c) / 2)`` over the classes c, in [0, 1], higher is better: the
geometric mean of the recall and of the typical probability of the true class.

- ``r_c`` is the recall, smoothed as ``(hits + 1/2) / (n_c + 1)``, so that one class without a hit does not make all
  candidates equal, as it does with the G-mean.
- ``l_c`` is the mean log-probability of the true class, which distinguishes candidates with the same few hits. The
  probabilities are calibrated first, by the temperature with the lowest class-balanced log loss. A timid candidate is
  sharpened until its mean confidence is the mean of ``r_c`` at most: few images without a mistake prove no certainty.

Each class counts the same. Repeats are averaged for each image, since they add no images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal, TypedDict

import numpy as np
from numpy.typing import ArrayLike

from counterpoise.evaluation.checks import check_labels
from counterpoise.exceptions import InputError

LEAST_LOG_PROBABILITY = -60.0
LEAST_INVERSE_TEMPERATURE, MOST_INVERSE_TEMPERATURE = 0.01, 100.0
ChoiceMetric = Literal["score", "f1", "gmean"]
METRIC_WORDS: dict[ChoiceMetric, str] = {"score": "score", "f1": "macro F1", "gmean": "G-mean"}


@dataclass(frozen=True, eq=False)
class Candidate:
    """Model to choose from.

    Parameters
    ----------
    name : str
        Name in the table and in the reason.
    complexity : int
        Rank: of candidates that cannot be told apart, the one with the lowest is chosen.
    log_probabilities : array of float, shape (N, C) or (repeats, N, C)
        Logarithms of out-of-fold probabilities. NaN in the rows of images that were always trained on.
    """

    name: str
    complexity: int
    log_probabilities: np.ndarray


class Estimate(TypedDict):
    """Value and its standard error over images, or groups, of each class; None where undefined."""

    value: float
    standard_error: float | None


class CandidateRow(TypedDict):
    """Scores of one candidate; ``behind`` is the best score minus its own, with the error of this paired difference."""

    name: str
    complexity: int
    temperature: float
    score: Estimate
    gmean: Estimate
    recall: Estimate
    f1: Estimate
    log_loss: Estimate
    balanced_log_loss: Estimate
    behind: Estimate
    chosen: bool


class ChoiceDict(TypedDict):
    """A `Choice` in a file."""

    chosen: str
    best: str
    reason: str
    images: int
    repeats: int
    unscored_classes: list[int]
    candidates: list[CandidateRow]


@dataclass(frozen=True)
class Choice:
    """Result of `choose`: names of the chosen candidate and of the one with the best score, reason, and evidence.

    ``candidates`` are in the order given. Classes of ``unscored_classes`` have no image outside of training.
    """

    chosen: str
    best: str
    reason: str
    images: int
    repeats: int
    unscored_classes: list[int]
    candidates: list[CandidateRow]

    def to_dict(self) -> ChoiceDict:
        """Return the choice as JSON-able values."""
        return asdict(self)  # type: ignore[return-value]


def choose(
    candidates: Sequence[Candidate],
    labels: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    standard_errors: float = 1.0,
    reference: str | None = None,
    metric: ChoiceMetric = "score",
    calibrate: bool = True,
) -> Choice:
    """Choose the simplest candidate whose score is within one standard error of the best.

    The error is that of the paired difference, since all candidates predict the same images. Among equally simple
    ones the higher score wins, then macro F1, then mean recall, then the order given.

    Parameters
    ----------
    candidates : sequence of Candidate
        At least one, with different names and predictions of the same images.
    labels : array of int, shape (N,)
        True classes.
    groups : array, shape (N,), optional
        Images with the same value are not independent. Default: each image is a group.
    standard_errors : float, default=1.0
        Width of the band in which the simpler candidate wins. 0 chooses the best score: for settings of one kind of
        model, none of which is simpler, before its best is compared with other kinds.
    reference : str, optional
        Candidate that the chosen one must not miss: its mean recall, or its `metric`, is the least.
    metric : {"score", "f1", "gmean"}
        What decides: the score above, macro F1, or the G-mean.
    calibrate : bool, default=True
        Whether probabilities are calibrated, which takes most of the time, and on which only the score depends.

    Examples
    --------
    >>> labels = np.repeat([0, 1], [8, 2])
    >>> right, wrong = np.log([[0.8, 0.2]]), np.log([[0.4, 0.6]])
    >>> common = Candidate("common", 0, np.repeat(right, 10, axis=0))
    >>> fair = Candidate("fair", 1, np.concatenate([np.repeat(right, 8, axis=0), np.repeat(wrong, 2, axis=0)]))
    >>> choice = choose([common, fair], labels)
    >>> choice.chosen, choice.reason
    ('fair', 'fair has the best score, and no simpler candidate is within 1 standard error of it')
    >>> [round(row["score"]["value"], 2) for row in choice.candidates]
    [0.45, 0.89]
    """
    values, classes, unscored, clusters = _check(candidates, labels, groups, standard_errors)
    measured = [_measure(predictions, classes, calibrate) for predictions in values]
    errors = _Errors(classes, clusters)
    guard = [m.scores["recall" if metric == "score" else metric][0] for m in measured]
    least = next((own for c, own in zip(candidates, guard, strict=True) if c.name == reference), 0.0)
    eligible = [index for index, own in enumerate(guard) if own >= least]
    orders = [tuple(m.scores[name][0] for name in (metric, "f1", "recall")) for m in measured]
    best = max(eligible, key=lambda index: (*orders[index], -index))
    rows, near = [], []
    for index, (candidate, found) in enumerate(zip(candidates, measured, strict=True)):
        estimates = {
            name: Estimate(value=value, standard_error=errors.of(influence))
            for name, (value, influence) in found.scores.items()
        }
        if not found.scores["gmean"][0]:
            estimates["gmean"]["standard_error"] = None
        top, own = measured[best].scores[metric], found.scores[metric]
        behind = Estimate(value=top[0] - own[0], standard_error=errors.of(top[1] - own[1]))
        if index in eligible and behind["value"] <= standard_errors * (behind["standard_error"] or 0.0):
            near.append(index)
        rows.append(
            CandidateRow(
                name=candidate.name,
                complexity=candidate.complexity,
                temperature=found.temperature,
                behind=behind,
                chosen=False,
                **estimates,  # type: ignore[typeddict-item]
            )
        )
    chosen = max(near, key=lambda index: (-candidates[index].complexity, *orders[index], -index))
    rows[chosen]["chosen"] = True
    return Choice(
        chosen=candidates[chosen].name,
        best=candidates[best].name,
        reason=_reason(rows, chosen, best, standard_errors, eligible, metric),
        images=len(classes),
        repeats=values[0].shape[0],
        unscored_classes=unscored,
        candidates=rows,
    )


class _Errors:
    """Standard errors of sums of one contribution per image, with fixed numbers of images per class.

    Contributions are centered within each class and summed by group. A class with one group has no measurable spread:
    its whole contribution counts as error.
    """

    def __init__(self, labels: np.ndarray, groups: np.ndarray) -> None:
        self.labels, self.groups = labels, np.unique(groups, return_inverse=True)[1]
        self.sizes = np.maximum(np.bincount(labels), 1)
        spread = np.bincount(np.unique(np.stack([labels, self.groups]), axis=1)[0])
        self.several = spread > 1
        self.factors = np.sqrt(spread / np.where(self.several, spread - 1, np.maximum(spread, 1)))

    def of(self, contributions: np.ndarray) -> float:
        means = np.where(self.several, np.bincount(self.labels, contributions) / self.sizes, 0.0)
        residuals = (contributions - means[self.labels]) * self.factors[self.labels]
        return float(np.sqrt((np.bincount(self.groups, residuals) ** 2).sum()))


@dataclass(frozen=True)
class _Measured:
    """Scores of a candidate, each with the contributions of the images to it, to first order."""

    scores: dict[str, tuple[float, np.ndarray]]
    temperature: float


def _measure(predictions: np.ndarray, labels: np.ndarray, calibrate: bool) -> _Measured:
    """Score log-probabilities (repeats, N, C) of images whose classes are `labels`."""
    num_classes = predictions.shape[2]
    counts = np.bincount(labels, minlength=num_classes).astype(float)
    present = np.flatnonzero(counts)
    weights = 1 / (counts[labels] * len(present))  # each class sums to 1 / number of classes
    own = np.arange(len(labels))
    plain = _normalized(predictions)[:, own, labels].mean(axis=0)
    predicted = predictions.argmax(axis=2)
    hits = (predicted == labels).mean(axis=0)

    recalls = np.bincount(labels, hits, minlength=num_classes)[present] / counts[present]
    smoothed = (counts[present] * recalls + 0.5) / (counts[present] + 1)
    temperature = _temperature(predictions, labels, weights, smoothed.mean()) if calibrate else 1.0
    calibrated = _normalized(predictions / temperature)[:, own, labels].mean(axis=0)
    score = float(np.exp((np.log(smoothed).mean() + weights @ calibrated) / 2))
    slope = np.zeros(num_classes)
    slope[present] = counts[present] / (counts[present] * recalls + 0.5)
    gmean = float(np.prod(recalls) ** (1 / len(present)))
    of_recall = np.zeros(num_classes)
    of_recall[present] = np.divide(gmean, recalls, out=np.zeros_like(recalls), where=recalls > 0)
    f1_scores = [_macro_f1(row, labels, present) for row in predicted]
    scores = {
        "score": (score, score / 2 * weights * (slope[labels] * hits + calibrated)),
        "gmean": (gmean, weights * of_recall[labels] * hits),
        "recall": (float(recalls.mean()), weights * hits),
        "f1": (float(np.mean([f1 for f1, _ in f1_scores])), np.mean([v for _, v in f1_scores], axis=0)),
        "log_loss": (float(-plain.mean()), -plain / len(labels)),
        "balanced_log_loss": (float(-weights @ plain), -weights * plain),
    }
    return _Measured(scores, temperature)


def _macro_f1(predicted: np.ndarray, labels: np.ndarray, present: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the mean F1 of the `present` classes, and the derivative by the weight of each image."""
    values, influence = [], np.zeros(len(labels))
    for index in present:
        is_true, is_predicted = labels == index, predicted == index
        size = is_true.sum() + is_predicted.sum()
        f1 = 2 * (is_true & is_predicted).sum() / size
        values.append(f1)
        influence += (2.0 * (is_true & is_predicted) - f1 * is_true - f1 * is_predicted) / size / len(present)
    return float(np.mean(values)), influence


def _temperature(predictions: np.ndarray, labels: np.ndarray, weights: np.ndarray, recall: float) -> float:
    """Return the temperature with the lowest class-balanced log loss; below 1, confidence stays up to `recall`."""
    from scipy.optimize import brentq

    of_label = predictions[:, np.arange(len(labels)), labels]

    def slope(inverse: float) -> float:
        probabilities = np.exp(_normalized(inverse * predictions))
        return float((((probabilities * predictions).sum(axis=2) - of_label) @ weights).mean())

    def excess(inverse: float) -> float:
        highest = np.exp(_normalized(inverse * predictions)).max(axis=2)
        return float((highest @ weights).mean()) - recall

    most = 1.0
    if excess(1.0) < 0:
        sharp = excess(MOST_INVERSE_TEMPERATURE) >= 0
        most = float(brentq(excess, 1.0, MOST_INVERSE_TEMPERATURE)) if sharp else MOST_INVERSE_TEMPERATURE
    # The loss is convex in 1 / temperature.
    if slope(most) <= 0:
        return 1 / most
    if slope(LEAST_INVERSE_TEMPERATURE) >= 0:
        return 1 / LEAST_INVERSE_TEMPERATURE
    return 1 / float(brentq(slope, LEAST_INVERSE_TEMPERATURE, most, xtol=1e-6))


def _normalized(logits: np.ndarray) -> np.ndarray:
    from scipy.special import log_softmax

    return np.asarray(log_softmax(logits, axis=-1))


def _reason(
    rows: Sequence[CandidateRow],
    chosen: int,
    best: int,
    width: float,
    eligible: Sequence[int],
    metric: ChoiceMetric,
) -> str:
    name, top = rows[chosen]["name"], rows[best]["name"]
    excluded = [row["name"] for index, row in enumerate(rows) if index not in eligible]
    if excluded and len(eligible) == 1 and metric == "score":
        return (
            f"{name} has the highest mean recall; {' and '.join(excluded)} would miss more images of a class"
        )
    if len(rows) == 1:
        return f"{name} is the only candidate"
    if chosen == best:
        within = f"{width:g} standard error{'' if width == 1 else 's'}"
        return (
            f"{name} has the best {METRIC_WORDS[metric]}, and no simpler candidate is within {within} of it"
        )
    behind = rows[chosen]["behind"]
    return (
        f"{name} is preferred to {top}, which is better by only {behind['value']:.3f} "
        f"(standard error {behind['standard_error']:.3f})"
    )


def _check(
    candidates: Sequence[Candidate], labels: ArrayLike, groups: ArrayLike | None, standard_errors: float
) -> tuple[list[np.ndarray], np.ndarray, list[int], np.ndarray]:
    """Return the predictions of scored images, (repeats, N, C) each, their classes, unscored classes, and groups."""
    names = [candidate.name for candidate in candidates]
    if not names or len(set(names)) < len(names):
        raise InputError(f"found the candidates {names}; expected at least one, with different names")
    if not 0 <= standard_errors < np.inf:
        raise InputError(f"`standard_errors` is {standard_errors!r}; expected a number from 0")
    values = []
    for candidate in candidates:
        array = np.asarray(candidate.log_probabilities, dtype=np.float64)
        array = array[None] if array.ndim == 2 else array
        if array.ndim != 3 or array.shape[1:] != (len(np.asarray(labels)), array.shape[-1]):
            raise InputError(
                f"log-probabilities of {candidate.name!r} have shape {array.shape}; expected (repeats, N, C) or (N, C) "
                f"for {len(np.asarray(labels))} labels"
            )
        values.append(array)
    if len({array.shape for array in values}) > 1:
        raise InputError(f"the candidates {names} differ in repeats or classes; use the same folds for all")
    classes = check_labels(labels, num_classes=values[0].shape[2], name="labels")
    missing = [np.isnan(array).any(axis=2) for array in values]
    unscored = missing[0].all(axis=0)
    if any((found != unscored).any() for found in missing):
        raise InputError(
            "NaN in some predictions of an image; expected NaN in all of them (always training), or in none"
        )
    if unscored.all():
        raise InputError("no image has out-of-fold predictions; use folds that hold images")
    clusters = np.arange(len(classes)) if groups is None else np.asarray(groups)
    if clusters.shape != classes.shape:
        raise InputError(f"`groups` have shape {clusters.shape}; expected that of `labels`, {classes.shape}")
    kept = ~unscored
    left_out = sorted(set(classes.tolist()) - set(classes[kept].tolist()))
    values = [np.maximum(_normalized(array[:, kept]), LEAST_LOG_PROBABILITY) for array in values]
    return values, classes[kept], left_out, clusters[kept]
