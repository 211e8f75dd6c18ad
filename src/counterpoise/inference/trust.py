"""What a person needs to trust one prediction: the set of possible classes, and whether the image is like training."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from counterpoise.balance.adjust import Adjustment
from counterpoise.datasets import SORTED, ImageFiles
from counterpoise.evaluation import ALPHA, prediction_sets
from counterpoise.exceptions import InputError
from counterpoise.files import replacing_folder
from counterpoise.runs import RunFolder
from counterpoise.training import TrustDict, trust_record

UNSURE, NO_CLASS = "unsure", "(none)"
COLUMNS = ("sure", "unlike_training", "typicality")
_RULES = {
    "class": "by its own held-out images",
    "cluster": "pooled with similar classes, for the pool only",
    "all": "too few held-out images, so by those of all classes together",
    "none": "too few held-out images of any class: always in the set",
}


@dataclass(frozen=True, eq=False)
class Trust:
    """Sets of possible classes of N images, bool (N, C), and whether each is `unlike` the training images.

    Both are None, and so are the `p_values` behind the second, where the run kept no images to calibrate them with.
    """

    record: TrustDict
    sets: np.ndarray | None = None
    p_values: np.ndarray | None = None

    @property
    def unlike(self) -> np.ndarray | None:
        """Bool (N,), true for at most 5 % of images like the training images."""
        return None if self.p_values is None else self.p_values <= self.record["unlike"]

    def is_sure(self, predicted: np.ndarray) -> np.ndarray:
        """Return whether each set holds the predicted class (N,) alone, and the image is not unlike training."""
        assert self.sets is not None
        alone = (self.sets.sum(axis=1) == 1) & self.sets[np.arange(len(predicted)), predicted]
        return alone if self.unlike is None else alone & ~self.unlike

    def columns(self) -> dict[str, list[str]]:
        """Return the columns of the table of predictions; one that is not known is empty."""
        names, sets = [own["name"] for own in self.record["classes"]], () if self.sets is None else self.sets
        sure = ["|".join(names[c] for c in np.flatnonzero(row)) or NO_CLASS for row in sets]
        unlike = ["yes" if value else "no" for value in (() if self.unlike is None else self.unlike)]
        p_values = [f"{p:.4g}" for p in (() if self.p_values is None else self.p_values)]
        return dict(zip(COLUMNS, (sure, unlike, p_values), strict=True))

    def counts(self) -> dict[str, int]:
        """Return how many sets hold one class, several, none and all, and how many images are unlike training."""
        found = {} if self.unlike is None else {"unlike": self.unlike}
        if self.sets is not None:
            size = self.sets.sum(axis=1)
            whole = size == self.sets.shape[1]
            found |= {"one": size == 1, "several": size > 1, "none": size == 0, "all": whole}
        return {name: int(own.sum()) for name, own in found.items()}

    def words(self) -> list[str]:
        """Return counts and promises as sentences."""
        found, n = [], self.counts()
        if self.sets is not None:
            found = [
                f"possible classes of an image: one for {n['one']:,} images, several for {n['several']:,} "
                f"(all classes: {n['all']:,}), none for {n['none']:,}",
                promise_words(self.record),
            ]
        few = f"unknown, as {self.record['compared']:,} held-out images to compare with are too few"
        return [*found, f"unlike the training images: {n.get('unlike', few)}"]


def promise_words(record: TrustDict) -> str:
    """Return what the sets promise, and by which images of each class, in a sentence.

    Examples
    --------
    >>> rule = {"name": "cat", "threshold": 0.4, "rule": "class", "images": 40}
    >>> promise_words({"alpha": 0.1, "classes": [rule], "unlike": 0.05, "compared": 0})
    'the true class is among them for 90 % of new images of a class: cat (40) by its own held-out images'
    """
    parts = []
    for rule, meaning in _RULES.items():
        named = [f"{own['name']} ({own['images']:,})" for own in record["classes"] if own["rule"] == rule]
        more = f" and {len(named) - 10} more" if len(named) > 10 else ""
        parts += [f"{', '.join(named[:10])}{more} {meaning}"] if named else []
    share = f"{100 * (1 - record['alpha']):g} %"
    return f"the true class is among them for {share} of new images of a class: {'; '.join(parts)}"


def judge_images(
    run: RunFolder,
    adjustment: Adjustment | None,
    probabilities: np.ndarray,
    points: np.ndarray,
    *,
    alpha: float = ALPHA,
) -> Trust | None:
    """Return sets and p-values of new images; None where the run has no calibration data.

    `probabilities` (N, C) are after the adjustment, and `points` (N, d) are embeddings with pixel statistics.
    """
    calibration = run.calibration
    if calibration is None:
        return None
    record = trust_record(calibration, adjustment, run.record.dataset.classes, alpha=alpha)
    sets = prediction_sets(probabilities, record["classes"]) if record["classes"] else None
    return Trust(record, sets, calibration.p_values(points))


def why_not(run: RunFolder) -> str | None:
    """Return why a run has no sets of possible classes, None where it has."""
    if run.calibration is not None and len(run.calibration.labels):
        return None
    return (
        f"{run.path} holds no predictions of held-out images (trained without validation images, or by an earlier "
        "version): the sets of possible classes stay empty; train again for them"
    )


def check_abstaining(run: RunFolder, folder: Path | None) -> None:
    """Raise `InputError` if the model cannot abstain, or images cannot be sorted into `folder`."""
    if reason := why_not(run):
        raise InputError(reason)
    if any(name.lower() == UNSURE for name in run.record.dataset.classes):
        raise InputError(f"a class is named {UNSURE!r}, as images without a sure class are; rename the class")
    if folder is not None and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} is not empty; `sort_into` needs a new or an empty folder")


def sort_images(files: ImageFiles, predicted: Sequence[str], folder: Path) -> None:
    """Copy images into a new folder, which appears when it is complete, by their class; equal names are numbered."""
    places: dict[str, str] = {}
    used: set[str] = set()
    with replacing_folder(folder, set(), kind="sorted folder") as target:
        for name in dict.fromkeys([UNSURE, *predicted]):
            plain = re.sub(r"[^\w.=+ -]+", "-", name).strip(". ")  # a class may have any name
            places[name] = _unused(plain or "class", used)
        for index, name in enumerate(predicted):
            file = f"{places[name]}/{Path(files.files[index].name).name}"
            path = target / _unused(file, used)
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(files.read_bytes(index))
        (target / SORTED).touch()


def _unused(name: str, used: set[str]) -> str:
    """Return a name, numbered if it is in use, whatever its case, and add it to `used`."""
    path, number, found = Path(name), 1, name
    while found.lower() in used:
        number += 1
        found = str(path.with_stem(f"{path.stem}-{number}"))
    used.add(found.lower())
    return found
