"""``calibration.safetensors``: how a run's model does on images that it did not learn from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from counterpoise.evaluation import neighbor_distances
from counterpoise.exceptions import RunFolderError
from counterpoise.files import atomic_path

CALIBRATION = "calibration.safetensors"
UNLIKE = 0.03
"""P-value of an image unlike the training images; with few held-out images, up to 5 % of images like them have it."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """Held-out images: classes `labels` (N,), and `logits` (N, C) before any adjustment.

    `rows` (M, d) are training images, as `place` returns them by `center`, `scale` and `weight` (d,), and `distances`
    (H,), ascending, are those of held-out images to them. Arrays are empty where there was nothing to fill them with.
    """

    labels: np.ndarray
    logits: np.ndarray
    rows: np.ndarray
    center: np.ndarray
    scale: np.ndarray
    weight: np.ndarray
    distances: np.ndarray

    def save(self, path: Path) -> None:
        """Write the file atomically."""
        with atomic_path(path) as temporary:
            save_file({name: np.ascontiguousarray(own) for name, own in vars(self).items()}, temporary)

    @classmethod
    def load(cls, path: Path, num_classes: int) -> Calibration:
        """Read what `save` wrote; damage raises RunFolderError."""
        try:
            found = cls(**load_file(path))
            if found.logits.shape != (len(found.labels), num_classes):
                raise ValueError(f"logits of shape {found.logits.shape} for {num_classes} classes")
            return found
        except (OSError, TypeError, ValueError, SafetensorError) as error:
            raise RunFolderError(f"{path} is damaged ({str(error).splitlines()[0]}); train again") from error

    def place(self, points: np.ndarray) -> np.ndarray:
        """Return points (N, d or more) standardized, float32 (N, d), within three standard deviations.

        Else a feature that is almost constant in training, and so has a tiny scale, would outweigh all others.
        """
        standardized = (points[:, : len(self.center)] - self.center) / self.scale
        return (np.clip(standardized, -3, 3) * self.weight).astype(np.float32)

    def p_values(self, points: np.ndarray) -> np.ndarray | None:
        """Return the share of held-out images, a new one included, at least as far from training as it, (N,).

        None where there are too few of them for any to be as low as ``UNLIKE``.
        """
        if (total := 1 + len(self.distances)) * UNLIKE < 1:
            return None
        away = neighbor_distances(self.rows, self.place(points))
        return (total - np.searchsorted(self.distances, away)) / total
