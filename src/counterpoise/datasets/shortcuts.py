"""Shortcuts: properties of image files that tell a class without its content, such as size, format or a border."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from counterpoise.datasets.decoding import open_image

# Least balanced accuracy, at the lower end of its interval, of a rule that knows one property. Busy pictures take more
# bytes than plain ones whatever their source, so that bytes alone must tell a class almost surely.
_SURE, _SURE_OF_BYTES = 0.75, 0.9
_ERRORS = 2.6  # standard errors, since many classes and properties are tried
_BINS = 16  # of a property that has a value for almost each image
_UNIFORM = 8  # range of the gray values of a border
_DEPTHS = {"1": "1 bit", "I": "16 bits", "F": "32 bits"}
_KINDS = {"1": "black and white", "L": "grayscale", "I": "grayscale", "LA": "grayscale", "P": "palette"}
BYTES = "bytes per pixel"


class Shortcut(NamedTuple):
    """Property that tells the images of class `label` from all others, mostly by having this `value`.

    `share` of them have the value, `elsewhere` of the others; `accuracy` is the balanced accuracy of a rule that knows
    the trait alone, on images that it has not seen; a coin has 0.5.
    """

    trait: str
    label: str
    value: str
    share: float
    elsewhere: float
    accuracy: float

    @property
    def sentence(self) -> str:
        """Warning in words."""
        return (
            f"{self.trait} alone tells {self.label} from the other classes (balanced accuracy {self.accuracy:.2f}, "
            f"by chance 0.50): {self.value} for {self.share:.0%} of its images and {self.elsewhere:.0%} of the others; "
            "a model may learn that instead of the content."
        )


def shape_traits(height: int, width: int) -> dict[str, str | float]:
    """Return the properties of an image of this size, in pixels."""
    return {"size": f"{width}x{height}", "aspect": round(float(np.log2(width / height)), 2)}


def file_traits(content: bytes) -> dict[str, str | float]:
    """Return the properties of an image file, without decoding it.

    Examples
    --------
    >>> file_traits(b"P2 2 1 255  0 255")["file format"]
    'PPM'
    """
    with open_image(content) as image:
        width, height = image.size
        tables = getattr(image, "quantization", None) or {}
        mode, kind = image.mode, image.format or ""
    strength = f"strength {np.mean([np.mean(table) for table in tables.values()]):.0f}" if tables else "none"
    return {
        "color mode": _KINDS.get(mode.partition(";")[0], "color with alpha" if mode == "RGBA" else "color"),
        "bit depth": _DEPTHS.get(mode.partition(";")[0], "8 bits"),
        "file format": kind,
        "JPEG compression": strength,
        BYTES: len(content) / (width * height),
    }


def border(pixels: np.ndarray) -> str:
    """Return the color of a uniform frame around an image, uint8 of shape (C, H, W), or "none".

    Examples
    --------
    >>> border(np.pad(np.full((1, 2, 2), 99, np.uint8), ((0, 0), (1, 1), (1, 1))))
    'black'
    """
    sides = [pixels[:, 0], pixels[:, -1], pixels[:, :, 0], pixels[:, :, -1]]
    frame = np.concatenate(sides, axis=1).astype(np.int64)
    if (np.ptp(frame, axis=1) > _UNIFORM).any() or np.ptp(pixels) <= _UNIFORM:
        return "none"
    mean = frame.mean()
    return "black" if mean < 32 else "white" if mean > 223 else "of one color"


def find_shortcuts(
    traits: Sequence[Mapping[str, str | float]], labels: np.ndarray, classes: Sequence[str]
) -> tuple[Shortcut, ...]:
    """Find properties that predict a class: for each and each class, a majority rule on images that are left out.

    Values that occur in larger shares of a class than of the others, the image itself left out, are taken for the
    class. The rule counts where even the lower end of its balanced accuracy is far above a coin's.

    Examples
    --------
    >>> rows = [{"file format": "PNG"}] * 20 + [{"file format": "JPEG"}] * 40
    >>> find_shortcuts(rows, np.repeat([0, 1], [20, 40]), ["cat", "dog"])[0].value
    'PNG'
    """
    found: list[Shortcut] = []
    for name in traits[0] if traits else ():
        values = _binned([row[name] for row in traits])
        kinds, index = np.unique(values, return_inverse=True)
        table = np.zeros((len(kinds), len(classes)))
        np.add.at(table, (index, labels), 1)
        for label, own in enumerate(table.T):
            rest = table.sum(axis=1) - own
            accuracy, low = _left_out(own, rest)
            if low > (_SURE_OF_BYTES if name == BYTES else _SURE):
                top = int(np.argmax(own / own.sum() - rest / rest.sum()))
                shares = float(own[top] / own.sum()), float(rest[top] / rest.sum())
                found.append(Shortcut(name, classes[label], str(kinds[top]), *shares, accuracy))
    return tuple(sorted(found, key=lambda shortcut: -shortcut.accuracy))


def _binned(values: Sequence[str | float]) -> np.ndarray:
    """Return values as texts: numbers, and sizes of which there are many, in bins of equal counts."""
    kinds = set(values)
    if len(kinds) <= max(_BINS, len(values) / 20):
        return np.array([str(value) for value in values])
    sizes = [str(value).split("x") for value in values]
    numbers = np.array([float(np.prod([float(side) for side in size])) for size in sizes])
    unit = " pixels" if len(sizes[0]) == 2 else ""
    edges = np.quantile(numbers, np.linspace(0, 1, _BINS + 1))
    rows = np.clip(np.searchsorted(edges, numbers, side="right") - 1, 0, _BINS - 1)
    return np.array([f"{edges[row]:.3g} to {edges[row + 1]:.3g}{unit}" for row in rows])


def _left_out(own: np.ndarray, rest: np.ndarray) -> tuple[float, float]:
    """Return the balanced accuracy of the majority rule on left-out images, and its lower end; counts by value."""
    inside, outside = own.sum(), rest.sum()
    if inside < 2 or outside < 2:
        return 0.0, 0.0
    right = own[(own - 1) / (inside - 1) > rest / outside].sum() / inside
    wrong = rest[own / inside > (rest - 1) / (outside - 1)].sum() / outside
    rates = np.array([[right, inside], [1 - wrong, outside]]).T
    return float(rates[0].mean()), float(_lower(*rates).mean())


def _lower(rate: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Return the lower end of Wilson's interval."""
    square = _ERRORS**2
    spread = _ERRORS * np.sqrt(rate * (1 - rate) / count + square / (4 * count**2))
    return np.asarray((rate + square / (2 * count) - spread) / (1 + square / count))
