"""Reading images with a progress bar, and saying which ones could not be read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from counterpoise.cli.printing import complain
from counterpoise.cli.progress import counting

if TYPE_CHECKING:
    from counterpoise.datasets import ImageDataset, SkippedFile

NAMED = 10


def load(source: str, *, quiet: bool = False, **settings: Any) -> ImageDataset:
    """Load a data set with a progress bar; images that were skipped are named on stderr unless `quiet`."""
    from counterpoise.datasets import load_dataset

    with counting("reading images", "img") as update:
        dataset = load_dataset(source, progress=update, **settings)
    if not quiet:
        report_skipped(dataset.skipped)
    return dataset


def report_skipped(skipped: Sequence[SkippedFile]) -> None:
    """Name on stderr the images that could not be read."""
    for file in skipped[:NAMED]:
        complain(f"skipped {file.path}: {file.reason}")
    if len(skipped) > NAMED:
        complain(f"... and {len(skipped) - NAMED} more; `counterpoise audit DATA --json` names them all")
