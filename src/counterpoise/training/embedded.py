"""Images whose embeddings are known, because nothing below the head is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from counterpoise.datasets import ImageSplit
from counterpoise.exceptions import InputError


@dataclass(frozen=True, eq=False)
class EmbeddedSplit(ImageSplit):
    """Images together with their embeddings under a network whose layers below the head are all frozen.

    Embeddings and logits of such a split are not computed from its pixels: the network has to be the one that
    `embeddings` come from, whatever its head.

    Parameters
    ----------
    embeddings : ndarray of shape (N, d), float32
        One row for each image.
    **others
        As for :class:`counterpoise.datasets.ImageSplit`.
    """

    embeddings: np.ndarray | None = None

    @classmethod
    def of(cls, split: ImageSplit, embeddings: np.ndarray) -> EmbeddedSplit:
        """Return `split` with its embeddings.

        Raises
        ------
        InputError
            If they are not one row for each image.
        """
        if embeddings.ndim != 2 or len(embeddings) != len(split):
            raise InputError(
                f"found embeddings of shape {embeddings.shape} for {len(split)} images; expected one row for each"
            )
        return cls(split.images, split.labels, split.paths, split.facts, split.groups, embeddings)

    def subset(self, indices: Sequence[int] | np.ndarray) -> EmbeddedSplit:
        """Return the images at `indices`, in that order, with their embeddings."""
        return EmbeddedSplit.of(super().subset(indices), self.rows[np.asarray(indices, dtype=np.int64)])

    @property
    def rows(self) -> np.ndarray:
        """The embeddings, float32 of shape (N, d)."""
        assert self.embeddings is not None
        return self.embeddings
