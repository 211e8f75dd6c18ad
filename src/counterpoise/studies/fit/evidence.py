"""Evidence for a candidate: log-probabilities of training images that it did not learn from, also in a file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from counterpoise.balance.adjust import LogitAdjustment
from counterpoise.evaluation import Candidate, ChoiceMetric, choose
from counterpoise.files import atomic_path
from counterpoise.runs import RunFolder

TAUS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)


@dataclass(frozen=True)
class Evidence:
    """Finished candidate with its out-of-fold log-probabilities (repeats, N, C).

    With `offset` added, (C,), they are those of a logit adjustment with `tau`; candidates are made with 1.
    """

    run: RunFolder
    name: str
    complexity: int
    log_probabilities: np.ndarray
    tau: float = 1.0
    offset: np.ndarray | float = 0.0

    def with_tau(self, metric: ChoiceMetric, labels: np.ndarray, groups: np.ndarray | None) -> Evidence:
        """Return the candidate with the tau nearest to 1 that has the best `metric`, or misses it by a standard error.

        The best one itself would follow few images of a rare class, and give up much G-mean for a little macro F1.
        """
        shares = LogitAdjustment(tau=-1)
        shares.fit(None, None, np.bincount(labels, minlength=self.log_probabilities.shape[2]))
        offsets = {tau: (1 - tau) * shares.offset_ for tau in TAUS}
        made = [
            Candidate(str(t), int(4 * abs(t - 1)), self.log_probabilities + o) for t, o in offsets.items()
        ]
        tau = float(choose(made, labels, groups, metric=metric, calibrate=False).chosen)
        return replace(self, tau=tau, offset=offsets[tau])


def evidence_path(folder: Path, run: Path) -> Path:
    """Return the file of a run's evidence in the folder of its study."""
    return folder / "evidence" / f"{run.name}.safetensors"


def save_evidence(path: Path, log_probabilities: np.ndarray) -> None:
    """Write log-probabilities, float32 (repeats, N, C); NaN in the rows of images that were trained on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        save_file({"log_probabilities": np.ascontiguousarray(log_probabilities)}, temporary)


def load_evidence(path: Path) -> np.ndarray | None:
    """Return what `save_evidence` wrote; None where there is none, or it is damaged, so that it is computed again."""
    try:
        return load_file(path)["log_probabilities"] if path.is_file() else None
    except (OSError, KeyError, SafetensorError):
        return None
