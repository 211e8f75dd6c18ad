"""Thresholds that keep a promise on the recall or the precision of a class."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.special import logsumexp
from scipy.stats import binom, binomtest

from counterpoise.balance.adjust.base import Adjustment, highest_at_zero, tensor_highest_at_zero
from counterpoise.exceptions import InputError, UnknownNameError

if TYPE_CHECKING:
    from torch import Tensor

# Below the log odds of a calibration image, so that rounding cannot move it to the other side of its own threshold.
_ROUNDING = 1e-6
# Log odds of a class that is never, or always, decided for.
_FAR = 1e6
_FORM = re.compile(r"\s*(recall|precision)[:@](.+)>=\s*(0?\.\d+)\s*")


class Requirement(NamedTuple):
    """Least `rate` of the recall or precision of a class."""

    metric: str
    name: str
    rate: float

    def __str__(self) -> str:
        return f"{self.metric} of {self.name} of at least {self.rate:g}"

    def needed(self, confidence: float) -> int:
        """Return the fewest images that can show the rate, if all of them are right."""
        return math.ceil(math.log(1 - confidence) / math.log(self.rate) - 1e-9)

    def refusal(self, reason: str) -> InputError:
        """Return the error that the promise cannot be made."""
        return InputError(f"a {self} cannot be promised: {reason}; or lower the rate or `confidence`")


class RequiredRates(Adjustment):
    """Decide for a class from a threshold on that keeps a promise, with a given confidence, for new images.

    Parameters
    ----------
    require : str or sequence of str
        ``recall:CLASS>=RATE`` or ``precision:CLASS>=RATE``, several in one string with ``;`` between; ``@`` may stand
        for the colon. Where the classes of two requirements claim an image, the earlier one gets it; what the later
        one then loses is counted against its promise.
    confidence : float in (0, 1), default=0.9
        Probability, over calibration sets, that all promises hold: each of m requirements is kept with probability
        ``1 - (1 - confidence) / m`` (Bonferroni).
    class_names : sequence of str
        The classes in their order.

    Notes
    -----
    A class is decided for where its log odds ``log p_c / (1 - p_c)`` reach its threshold; the other images go to the
    likeliest class without requirement. *Recall*: with n calibration images of the class, the threshold is the k-th
    lowest of their log odds, with the largest k of which ``P(Binomial(n, 1 - rate) >= k) >= confidence``: the exact
    (Clopper-Pearson) bound, which holds for the chosen threshold since recall is monotone in it. *Precision*:
    thresholds are tested from strict to loose, each by the exact binomial test of the images it selects, until the
    first that fails (fixed-sequence learn-then-test, Angelopoulos et al. 2021). The first selects half as many images
    as the class has, or as many as a test needs.

    The promise is for images like the calibration images, for a precision also in how common each class is. It assumes
    that they did not select the model: the best of many models, epochs or settings by the same images looks better on
    them than it is. Near-copies make the bound too certain.

    Helps: a miss of the class is expensive, and "about 95 %" is not enough.

    Hurts: few calibration images of the class: a promise needs ``log(1 - confidence) / log(rate)``, and costs false
    alarms.

    Examples
    --------
    Of fifty images of class 1, three may be missed; two score low:

    >>> odds = np.r_[np.linspace(-9, -5, 100), -8, -7, np.linspace(1, 3, 48)]
    >>> logits, labels = np.stack([-odds, odds], axis=1) / 2, [0] * 100 + [1] * 50
    >>> rule = RequiredRates(require="recall:bad>=0.85", confidence=0.95, class_names=["good", "bad"])
    >>> rule.fit(logits, labels, [900, 100]).thresholds_.round(3), rule.alarms_
    (array([1.043]), array([0]))
    """

    def __init__(
        self,
        *,
        require: str | Sequence[str] | None = None,
        confidence: float = 0.9,
        class_names: Sequence[str] | None = None,
    ) -> None:
        self.require = require
        self.confidence = confidence
        self.class_names = class_names

    def _requirements(self, names: Sequence[str]) -> dict[int, list[Requirement]]:
        """Return the requirements of each class, the earliest first."""
        found: dict[int, list[Requirement]] = {}
        if not self.require or not 0 < self.confidence < 1:
            raise InputError("give `require`, as in recall:CLASS>=0.95, and a `confidence` between 0 and 1")
        for text in self.require.split(";") if isinstance(self.require, str) else self.require:
            read = _FORM.fullmatch(text)
            if read is None or not float(read[3]):
                raise InputError(
                    f"`require` {text!r} is not of the form recall:CLASS>=RATE or precision:CLASS>=RATE, with a rate "
                    "between 0 and 1, such as 0.95"
                )
            if (name := read[2].strip()) not in names:
                raise UnknownNameError("class in `require`", name, names)
            found.setdefault(names.index(name), []).append(Requirement(read[1], name, float(read[3])))
        return found

    def _fit(self, logits: np.ndarray, labels: np.ndarray, class_counts: np.ndarray) -> None:
        required = self._requirements(list(self.class_names or map(str, range(len(class_counts)))))
        confidence = 1 - (1 - self.confidence) / sum(map(len, required.values()))
        self.classes_ = np.array(list(required))
        free = np.setdiff1d(np.arange(len(class_counts)), self.classes_)
        if not len(free):
            free = self.classes_[-1:]
            if {each.metric for each in required[int(free[0])]} != {"recall"}:
                raise InputError(
                    "every class has a requirement, and the last one gets all images that no other claims; "
                    "name one of which only a recall is required last"
                )
        self.free_, odds, taken = free, _log_odds(logits), np.zeros(len(logits), dtype=bool)
        thresholds = []
        for c, own in required.items():
            # The last of all classes gets what is left, whatever its score.
            scores = np.where(taken, -_FAR, _FAR if c in free else odds[:, c])
            thresholds.append(_threshold(scores, labels == c, own, confidence))
            taken |= scores >= thresholds[-1]
        self.thresholds_ = np.array(thresholds)
        chosen = self._transform(logits).argmax(axis=1)[:, None] == self.classes_
        right = labels[:, None] == self.classes_
        self.images_, self.hits_ = right.sum(axis=0), (chosen & right).sum(axis=0)
        self.others_, self.alarms_ = (~right).sum(axis=0), (chosen & ~right).sum(axis=0)

    def cross_fit(self, logits: Any, labels: Any, class_counts: Any) -> np.ndarray:
        """Return the cross-fitted logits, or those of the fit itself where a part of the images proves no promise."""
        try:
            return super().cross_fit(logits, labels, class_counts)
        except InputError:
            return self.transform(logits)

    def describe(self) -> list[str]:
        """Return each promise and what it costs on the held-out images, in words."""
        self._check_fitted()
        required = self._requirements(list(self.class_names or map(str, range(self.num_classes_))))
        found = []
        for own, *counts in zip(
            required.values(), self.hits_, self.images_, self.alarms_, self.others_, strict=True
        ):
            hits, images, alarms, others = map(int, counts)
            low, high = binomtest(alarms, max(others, 1)).proportion_ci(method="wilson")
            found.append(
                f"{' and '.join(map(str, own))}: promised; {hits:,} of {images:,} held-out images of it are found, "
                f"at {1000 * alarms / max(others, 1):.0f} false alarms in 1,000 images of other classes "
                f"(95 % interval {1000 * low:.0f} to {1000 * high:.0f})"
            )
        order = "; an image that two of them claim goes to the earlier" if len(required) > 1 else ""
        return [*found, f"confidence {self.confidence:g}, for new images like the held-out ones{order}"]

    def _transform(self, logits: np.ndarray) -> np.ndarray:
        adjusted, odds = logits - logsumexp(logits, axis=1, keepdims=True), _log_odds(logits)
        highest = adjusted[:, self.free_].max(axis=1)
        for c, threshold in reversed(list(zip(self.classes_, self.thresholds_, strict=True))):
            if c not in self.free_:
                adjusted[:, c] = highest + odds[:, c] - threshold
                highest = np.maximum(highest, adjusted[:, c])
        return highest_at_zero(adjusted)

    def _transform_tensor(self, logits: Tensor) -> Tensor:
        import torch

        columns = list(logits.log_softmax(dim=1).unbind(dim=1))
        highest = torch.stack([columns[c] for c in self.free_.tolist()], dim=1).amax(dim=1)
        for c, threshold in reversed(
            list(zip(self.classes_.tolist(), self.thresholds_.tolist(), strict=True))
        ):
            if c not in self.free_:
                others = logits[:, [i for i in range(len(columns)) if i != c]].logsumexp(dim=1)
                columns[c] = highest + logits[:, c] - others - threshold
                highest = torch.maximum(highest, columns[c])
        return tensor_highest_at_zero(torch.stack(columns, dim=1))


def _log_odds(logits: np.ndarray) -> np.ndarray:
    """Return log p_c / (1 - p_c), float64 (N, C), precise also where p_c is almost 1."""
    others = [logsumexp(np.delete(logits, c, axis=1), axis=1) for c in range(logits.shape[1])]
    return np.clip(logits - np.stack(others, axis=1), 1 - _FAR, _FAR - 1)


def _threshold(
    scores: np.ndarray, of_class: np.ndarray, own: Sequence[Requirement], confidence: float
) -> float:
    """Return the threshold of a class; the scores of images that earlier classes take are ``-_FAR``."""
    highest, lowest, recall = _FAR, -_FAR, False
    for required in own:
        if required.metric == "recall":
            highest, recall = min(highest, _recall_threshold(scores[of_class], required, confidence)), True
        else:
            strict, loose = _precision_thresholds(scores, of_class, required, confidence)
            highest, lowest = min(highest, strict), max(lowest, loose)
    if lowest > highest:
        raise own[0].refusal(f"no threshold that the images allow also gives a {own[-1]}; improve the model")
    return highest if recall else lowest


def _recall_threshold(scores: np.ndarray, required: Requirement, confidence: float) -> float:
    """Return the strictest threshold whose recall is shown to be high enough by the scores (n,) of the class."""
    count = len(scores)
    rank = int((binom.sf(np.arange(count), count, 1 - required.rate) >= confidence - 1e-12).sum())
    if not rank:
        needed = (
            f"{required.needed(confidence)} held-out images of the class with confidence {confidence:.4g}"
        )
        raise required.refusal(f"it needs at least {needed}, found {count}; hold more images out")
    if (score := float(np.sort(scores)[rank - 1])) == -_FAR:
        gone = f"{int((scores == -_FAR).sum())} of the {count} images of the class"
        raise required.refusal(f"classes of earlier requirements claim {gone}; change the order")
    return score - _ROUNDING


def _precision_thresholds(
    scores: np.ndarray, of_class: np.ndarray, required: Requirement, confidence: float
) -> tuple[float, float]:
    """Return the strictest and the loosest of the tested thresholds whose precision is shown to be high enough."""
    order = np.argsort(-scores, kind="stable")[: int((scores > -_FAR).sum())]
    ranked, wrong, first = scores[order], np.cumsum(~of_class[order]), required.needed(confidence)
    if len(ranked) < first:
        raise required.refusal(
            f"it needs at least {first} held-out images, found {len(ranked)}; hold more out"
        )
    # Equal scores are selected together: only the last of them is a threshold.
    last = np.flatnonzero(np.r_[ranked[1:] < ranked[:-1], True])
    last = last[last + 1 >= max(first, int(of_class.sum()) // 2)]
    passed = binom.cdf(wrong[last], last + 1, 1 - required.rate) <= 1 - confidence + 1e-12
    if not passed[:1].any():
        found = f"{wrong[last[0]]} of the {last[0] + 1} images that score highest are of other classes"
        raise required.refusal(f"{found} (confidence {confidence:.4g}); improve the model")
    loosest = last[len(passed) - 1 if passed.all() else int(np.argmin(passed)) - 1]
    return float(ranked[last[0]]) - _ROUNDING, float(ranked[loosest]) - _ROUNDING
