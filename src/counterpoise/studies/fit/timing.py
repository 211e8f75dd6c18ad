"""Time of the candidates of a fit: what still finishes in time, and the reason where something does not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from counterpoise.exceptions import NotApplicable
from counterpoise.methods import Method
from counterpoise.studies.fit.candidates import MAPPED
from counterpoise.studies.fit.plan import FEWEST_EPOCHS, FOLDS, TRAINING_FACTOR, FitPlan
from counterpoise.training import MOST_COMPARED, MOST_EMBEDDED, Budget

#: Share of one head of what the fewest epochs of fine-tuning leave, and of a network from scratch of all time that is
#: left, beside others and alone; a synthetic sample takes longer than an image, since it is drawn, too.
HEAD_SHARE, SCRATCH_SHARE, ALONE_SHARE, SYNTHETIC_FACTOR = 0.5, 0.4, 0.85, 1.2
#: The time of the refitted head is kept so many times, since what comes before it may take longer than expected.
SAFETY = 1.5


@dataclass(frozen=True)
class Timing:
    """Times of the candidates on a split with `counts` training images of each class, and `scored` other images."""

    plan: FitPlan
    budget: Budget
    counts: np.ndarray
    scored: int

    def rows(self, method: Method) -> float:
        """Return the number of samples that a head learns from, in images."""
        images = int(self.counts.sum())
        synthetic = len(self.counts) * int(self.counts.max()) - images
        return images + (SYNTHETIC_FACTOR * synthetic if method.features is not None else 0)

    def check_head(self, method: Method) -> None:
        """Raise `NotApplicable` for a head that would take time that is not there, or that fine-tuning needs."""
        needed = self.budget.estimate("head", self.rows(method))
        if needed is None:  # what the first head took, and it also chose the penalty
            needed = self.budget.estimate("first head", self.rows(method))
        if not self.budget.can(needed):
            raise NotApplicable("the time is used up; give a longer `budget`")
        spare = self.budget.remaining - self._epochs - self._predictions
        if self.plan.tune and spare > 0 and (needed or 0.0) > HEAD_SHARE * spare:
            of_what = "" if method.features is None else ", most of them for its synthetic samples"
            raise NotApplicable(
                f"it needs about {needed:.0f} s{of_what}, and its share of the time that fine-tuning leaves is "
                f"{HEAD_SHARE * spare:.0f} s; give a longer `budget`"
            )

    def check(self, what: str, needed: float, *, left: float | None = None) -> None:
        """Raise `NotApplicable` if `what` needs more seconds than are left."""
        left = self.budget.remaining if left is None else left
        if left < needed:
            raise NotApplicable(
                f"{what} needs about {needed:.0f} s, and {max(left, 0):.0f} s are left; give a longer `budget`"
            )

    def for_scratch(self) -> float:
        """Return the seconds for a small network from scratch: most of them where no image could be embedded."""
        left = self.budget.remaining
        self.check("it", 1.0)
        return (SCRATCH_SHARE if self.embedding < (1 - SCRATCH_SHARE) * left else ALONE_SHARE) * left

    def for_tuning(self) -> float:
        """Return the seconds for fine-tuning, `NotApplicable` if they are too few; the refitted head's are kept."""
        needed, left = self._epochs, self.budget.remaining - self._predictions
        self.check("fine-tuning", needed, left=left)
        if left == np.inf:
            return needed * self.plan.tuned_plan.config.epochs
        spare = left - SAFETY * self.refitting
        return spare if spare >= needed else left

    @property
    def embedding(self) -> float:
        """Seconds for embedding all images, and for the keys of the training images."""
        return float(self.counts.sum() + self.scored) / self.plan.images_per_second + self.keys

    @property
    def keys(self) -> float:
        """Seconds for reading the training images once more; later runs find their keys in the index."""
        return float(self.counts.sum()) * self.plan.key_seconds

    @property
    def refitting(self) -> float:
        """Seconds for a head on the features of the fine-tuned network."""
        return self.embedding - self.keys + (self.budget.estimate("head", float(self.counts.sum())) or 0.0)

    @property
    def _epochs(self) -> float:
        """Seconds of the fewest epochs of fine-tuning."""
        share = FEWEST_EPOCHS * (FOLDS - 1) / FOLDS * TRAINING_FACTOR
        return float(self.counts.sum()) * share / self.plan.images_per_second

    @property
    def _predictions(self) -> float:
        # After fine-tuning the network predicts the held-out fold, and then test images and a map are computed, also
        # for the average of two networks, whose test images may be predicted once more to soften them.
        mapped = np.minimum(self.counts, MAPPED).sum()
        images = self.counts.sum() / FOLDS + 5 * self.scored + 3 * mapped
        # And distances to the training images are measured.
        images += 2 * min(int(self.counts.sum()), MOST_EMBEDDED + MOST_COMPARED)
        return float(images) / self.plan.images_per_second
