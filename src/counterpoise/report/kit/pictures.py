"""Pictures drawn with Matplotlib: maps over images, differences of images, feature maps side by side.

Colors are cividis (nothing to much) and PuOr (against, for), which remain distinct under every kind of color blindness.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from counterpoise.exceptions import InputError
from counterpoise.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_AMOUNT, _SIGNED = "cividis", "PuOr_r"
_DPI = 100
_CLOSE_UPS = 3
_MOST_MAPS = 32
_ACROSS = 8
# Inches: the side of a panel, the space between, for titles above, and for notes and legend below.
_PANEL, _GAP, _ABOVE, _BELOW = 3.0, 0.12, 0.36, 1.1
_HALF = 5.2  # inches: one half of a figure of feature maps


@dataclass(frozen=True)
class Panel:
    """Picture in a figure, uint8 of shape (H, W, 3), with a title above and a note below."""

    pixels: np.ndarray
    title: str
    note: str = ""


def picture(image: np.ndarray) -> np.ndarray:
    """Return an image (C, H, W), uint8 or floats in [0, 1], as (H, W, 3), uint8."""
    from counterpoise.explain import as_floats

    pixels = np.rint(as_floats(image).clip(0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else np.ascontiguousarray(pixels)


def overlay(image: np.ndarray, map: np.ndarray, *, signed: bool = False) -> np.ndarray:
    """Lay a map over the image in gray, as uint8 (H, W, 3): the stronger the map, the more of its color.

    `image` (C, H, W) is uint8 or floats in [0, 1]; `map` (H, W) is divided by its greatest absolute value. Unless
    `signed`, values below zero count as zero.
    """
    gray = picture(image).mean(axis=2, keepdims=True) / 255
    return np.rint(255 * _blended(gray, _scaled(map, signed), signed)).astype(np.uint8)


def _blended(gray: np.ndarray | float, scaled: np.ndarray, signed: bool) -> np.ndarray:
    """Mix the colors of values up to 1 into a gray picture: the legend shows what the overlay does."""
    from matplotlib import colormaps

    colors = colormaps[_SIGNED](scaled / 2 + 0.5) if signed else colormaps[_AMOUNT](scaled)
    amount = 0.25 + 0.5 * np.abs(scaled)[..., None]
    return (1 - amount) * gray + amount * colors[..., :3]


def _scaled(map: np.ndarray, signed: bool) -> np.ndarray:
    values = np.asarray(map, dtype=np.float64)
    values = values if signed else values.clip(0)
    most = np.abs(values).max()
    return values / most if most > 0 else np.zeros_like(values)


def explanation_figure(panels: Sequence[Panel], *, signed: bool, legend: str) -> Figure:
    """Draw an image (the first panel) and the maps over it in a row, with the legend of their colors.

    `legend` states the meaning of the colors, `signed` whether the maps have values below zero.
    """
    height, width = panels[0].pixels.shape[:2]
    tall = _PANEL * height / width
    total_width, total_height = (_PANEL + _GAP) * len(panels) + _GAP, tall + _ABOVE + _BELOW
    figure = new_figure(total_width, total_height, layout=None)
    for index, panel in enumerate(panels):
        left = _GAP + index * (_PANEL + _GAP)
        box = (left / total_width, _BELOW / total_height, _PANEL / total_width, tall / total_height)
        place = figure.add_axes(box)
        _show(place, panel.pixels, title=panel.title, aspect="auto")
        place.set_xlabel(panel.note, fontsize=9, parse_math=False)
    # The legend stands in the middle below the maps.
    left = (_GAP + _PANEL + total_width) / 2 - (_PANEL - 0.6) / 2
    box = (left / total_width, 0.5 / total_height, (_PANEL - 0.6) / total_width, 0.1 / total_height)
    axes, values = figure.add_axes(box), np.linspace(-1 if signed else 0, 1, 256)
    axes.imshow(_blended(0.5, values, signed)[None], aspect="auto", extent=(0, 1, 0, 1))
    ticks = ["most against", "nothing", "most for"] if signed else ["nothing", "most"]
    axes.set(yticks=[], xticks=np.linspace(0, 1, len(ticks)))
    axes.set_xticklabels(ticks, fontsize=9)
    axes.set_xlabel(legend, fontsize=9, parse_math=False, labelpad=2)
    return figure


def difference_figure(
    old: np.ndarray, new: np.ndarray, *, old_title: str = "old", new_title: str = "new"
) -> Figure:
    """Draw two images (C, H, W), uint8 or floats in [0, 1], their signed difference and its strength.

    The color scale ends at the greatest difference, which is written at the legend.
    """
    from counterpoise.explain import pixel_difference

    difference = pixel_difference(old[None], new[None])
    signed, strength = difference.signed[0].mean(axis=0), difference.strength[0]
    figure = new_figure(13.6, 3.5)
    axes = figure.subplots(1, 4)
    _show(axes[0], picture(old), title=old_title)
    _show(axes[1], picture(new), title=new_title)
    greatest = max(float(np.abs(signed).max()), 1e-6)
    drawn = _show(axes[2], signed, title="difference", cmap=_SIGNED, vmin=-greatest, vmax=greatest)
    names = [f"darker\n−{greatest:.2f}", "as before", f"brighter\n+{greatest:.2f}"]
    figure.colorbar(drawn, ax=axes[2], fraction=0.046, ticks=[-greatest, 0, greatest]).ax.set_yticklabels(
        names
    )
    greatest = max(float(strength.max()), 1e-6)
    drawn = _show(axes[3], strength, title="its strength", cmap=_AMOUNT, vmin=0, vmax=greatest)
    bar = figure.colorbar(drawn, ax=axes[3], fraction=0.046, ticks=[0, greatest])
    bar.ax.set_yticklabels(["none", f"{greatest:.2f}"])
    figure.supxlabel("brightness from 0 to 1, mean over the color channels", fontsize=9)
    return figure


def feature_map_figure(
    old: np.ndarray,
    new: np.ndarray | None = None,
    *,
    title: str,
    old_title: str = "old",
    new_title: str = "new",
) -> Figure:
    """Draw maps (c, h, w) of one layer, for two images or networks side by side, and the three strongest close up.

    Where there are two, the close-ups are the maps that differ most, and each map has one scale for both. At most 32
    maps are drawn. Maps of different shapes raise InputError.
    """
    if new is not None and old.shape != new.shape:
        raise InputError(
            f"{title}: got maps of shapes {old.shape} and {new.shape}; two networks can be compared only where"
            " their layers have the same size"
        )
    halves = [("", old)] if new is None else [(old_title, old), (new_title, new)]
    both = np.concatenate([maps for _, maps in halves], axis=1)
    lowest, highest = both.min(axis=(1, 2)), both.max(axis=(1, 2))
    span = np.where(highest > lowest, highest - lowest, 1)
    change = np.abs(old - old.mean(axis=(1, 2), keepdims=True)) if new is None else np.abs(new - old)
    close = np.argsort(-change.mean(axis=(1, 2)), kind="stable")[:_CLOSE_UPS]
    count = min(len(old), _MOST_MAPS)
    shown = f"{count} maps" if count == len(old) else f"the first {count} of {len(old)} maps"
    aspect = old.shape[1] / old.shape[2]
    heights = [_HALF * aspect * -(-count // _ACROSS) / _ACROSS, _HALF * aspect / _CLOSE_UPS]
    figure = new_figure(len(halves) * (_HALF + 0.5), sum(heights) + 1.4)
    scale = "each from its lowest value (blue) to its highest (yellow)"
    figure.suptitle(f"{title}: {shown}, {scale}", fontsize=10)
    grid = figure.add_gridspec(2, _CLOSE_UPS * len(halves), height_ratios=heights)
    for half, (name, maps) in enumerate(halves):
        scaled = (maps - lowest[:, None, None]) / span[:, None, None]
        left = half * _CLOSE_UPS
        axes = figure.add_subplot(grid[0, left : left + _CLOSE_UPS])
        _show(axes, *_sheet(scaled[:count]), title=name)
        for place, index in enumerate(close):
            axes = figure.add_subplot(grid[1, left + place])
            _show(axes, scaled[index], title=f"map {index}", cmap=_AMOUNT, vmin=0, vmax=1)
    return figure


def save_figure(figure: Figure, path: Path, *, dpi: int = _DPI, **options: Any) -> None:
    """Write a figure as PNG, atomically; `options` are those of Matplotlib's ``savefig``."""
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=dpi, **options)


def new_figure(
    width: float, height: float, *, layout: Literal["constrained"] | None = "constrained"
) -> Figure:
    """Return an empty figure of a size in inches, bound to no window and no global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout=layout, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def plain_frame(axes: Axes) -> None:
    """Leave only the left and the lower line of the frame, and draw horizontal lines behind the curves."""
    axes.grid(axis="y", color="#DDDDDD", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def legend_colors(*, signed: bool, count: int = 9) -> list[str]:
    """Return the colors of an overlay on mid-gray, from the lowest value to the highest, as ``#rrggbb``."""
    from matplotlib.colors import to_hex

    return [to_hex(color) for color in _blended(0.5, np.linspace(-1 if signed else 0, 1, count), signed)]


def _sheet(maps: np.ndarray) -> tuple[np.ndarray, dict[int, int]]:
    """Lay maps in [0, 1] (c, h, w) out in rows; return the picture, and the middle of each row with its first map."""
    from matplotlib import colormaps

    count, height, width = maps.shape
    gap = max(1, width // 12)
    rows = -(-count // _ACROSS)
    sheet = np.ones((rows * (height + gap) - gap, _ACROSS * (width + gap) - gap, 4))
    for index, map in enumerate(maps):
        row, column = divmod(index, _ACROSS)
        top, left = row * (height + gap), column * (width + gap)
        sheet[top : top + height, left : left + width] = colormaps[_AMOUNT](map)
    return sheet, {row * (height + gap) + height // 2: row * _ACROSS for row in range(rows)}


def _show(
    axes: Axes, pixels: np.ndarray, rows: dict[int, int] | None = None, *, title: str, **options: Any
) -> Any:
    """Draw pixels without ticks, but for the numbers of `rows`."""
    # Names are data: a dollar sign in one must not start a formula.
    axes.set_title(title, fontsize=11, parse_math=False)
    drawn = axes.imshow(pixels, interpolation="nearest", **options)
    axes.set(xticks=[], yticks=list(rows or ()))
    axes.set_yticklabels([str(number) for number in (rows or {}).values()], fontsize=8)
    return drawn
