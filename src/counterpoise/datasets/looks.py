"""Looks: small pictures of images by which they are compared, one with another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from counterpoise.datasets.decoding import OnProgress, map_indices
from counterpoise.datasets.images import ImageFiles, ImageSplit

SIDE = 32
_COARSE = 8  # side of the blocks by which the layout of pictures is compared


class Looks(NamedTuple):
    """Looks of N images: `gray` (N, 32, 32), mean `color` of each channel (N, C), and `histogram` of colors (N, 64)."""

    gray: np.ndarray
    color: np.ndarray
    histogram: np.ndarray

    @classmethod
    def of(cls, pixels: Sequence[np.ndarray]) -> Looks:
        """Return the looks of images, uint8 of shape (C, H, W) each."""
        return cls.joined([_look(image) for image in pixels])

    @classmethod
    def joined(cls, looks: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> Looks:
        """Return single looks as one."""
        return cls(*(np.stack(parts) for parts in zip(*looks, strict=True)))

    def layouts(self) -> np.ndarray:
        """Return standardized coarse pictures, float32 (N, 64): their dot products are correlations."""
        step = SIDE // _COARSE
        blocks = self.gray.reshape(-1, _COARSE, step, _COARSE, step).astype(np.float32).mean(axis=(2, 4))
        return standardized(blocks).reshape(len(blocks), -1) / _COARSE


def take_looks(split: ImageSplit, indices: np.ndarray, progress: OnProgress | None = None) -> Looks:
    """Return the looks of the images at `indices`; files are decoded small for it."""
    images = split.images
    if isinstance(images, ImageFiles):
        images = replace(images, image_size=(SIDE, SIDE), fit="stretch")
    threads = not split.in_memory
    found = map_indices(
        lambda i: _look(images[int(indices[i])]), len(indices), threads=threads, progress=progress
    )
    return Looks.joined(found)


def _look(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    from PIL import Image

    picture = Image.fromarray(
        pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0))
    )
    small = picture.resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    values = np.asarray(small).reshape(SIDE * SIDE, -1)
    # 64 bins: of the gray value, or four of each color.
    bins = values[:, 0] >> 2 if len(pixels) == 1 else (values >> 6) @ np.array([16, 4, 1], np.uint8)
    share = np.bincount(bins, minlength=64) / len(bins)
    return np.asarray(small.convert("L")), values.mean(axis=0), share


def standardized(pictures: np.ndarray) -> np.ndarray:
    """Return pictures (N, H, W) with mean 0 and variance 1, float32; flat ones are 0."""
    centered = pictures.astype(np.float32) - pictures.mean(axis=(1, 2), keepdims=True, dtype=np.float32)
    return np.asarray(centered / np.maximum(centered.std(axis=(1, 2), keepdims=True), 1e-3))
