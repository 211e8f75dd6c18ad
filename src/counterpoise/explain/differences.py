"""Pixel differences of images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from counterpoise.exceptions import InputError


@dataclass(frozen=True)
class PixelDifference:
    """New images minus old ones, float32.

    `signed` (N, C, H, W) is in [-1, 1], positive where the new image is brighter. `strength` (N, H, W) is its mean
    absolute value over the channels.
    """

    signed: np.ndarray
    strength: np.ndarray


def pixel_difference(old: np.ndarray, new: np.ndarray) -> PixelDifference:
    """Return the difference of images of shape (N, C, H, W), uint8 or floats in [0, 1].

    Raises
    ------
    InputError
        If the shapes differ, there are not four axes, or floats are not in [0, 1].

    Examples
    --------
    >>> old = np.zeros((1, 2, 1, 1), np.uint8)
    >>> new = np.array([255, 51], np.uint8).reshape(1, 2, 1, 1)
    >>> difference = pixel_difference(old, new)
    >>> difference.signed.ravel(), difference.strength.ravel()
    (array([1. , 0.2], dtype=float32), array([0.6], dtype=float32))
    """
    old, new = np.asarray(old), np.asarray(new)
    if old.shape != new.shape or old.ndim != 4:
        raise InputError(f"got images of shapes {old.shape} and {new.shape}; expected the same (N, C, H, W)")
    signed = as_floats(new) - as_floats(old)
    return PixelDifference(signed, np.abs(signed).mean(axis=1))


def as_floats(images: np.ndarray) -> np.ndarray:
    """Return uint8 images as float32 in [0, 1], and floats as float32; InputError if these are not in [0, 1]."""
    return check_range(images.astype(np.float32) / np.float32(255 if images.dtype == np.uint8 else 1), "this")


def check_range(images: np.ndarray, name: str) -> np.ndarray:
    """Return `images`, which `name` gets; InputError unless they are in [0, 1], up to rounding."""
    if images.size and not (images.min() >= -1e-3 and images.max() <= 1 + 1e-3):
        raise InputError(
            f"{name} got images from {images.min():.3g} to {images.max():.3g}; expected [0, 1]: divide by 255, or undo "
            "their normalization (LIME: give its `mean` and `std`)"
        )
    return images
