"""Starting from another run: images of its size, and what was decided."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from counterpoise.cli.options import Reading
from counterpoise.cli.printing import advise

if TYPE_CHECKING:
    from counterpoise.experiments import RunFolder, Study


def reading_settings(reading: Reading, weights: Path | None) -> dict[str, Any]:
    """Return how images are to be read: at the size that another run's network is used to, if it starts from one."""
    settings = dict(vars(reading))
    if weights is None or not weights.is_dir() or reading.image_size is not None:
        return settings
    from counterpoise.experiments import RunFolder

    height, width = RunFolder.open(weights).record["network"]["image_size"]
    return settings | {"image_size": (height, width)}


def show_notes(study: Study) -> None:
    """Print what was decided for the user."""
    for note in study.notes:
        advise(note)


def show_frozen(folder: RunFolder) -> None:
    """Say how much of a finished run's network was trained, where some of it was not."""
    frozen = folder.record["start"]["freeze"]
    if frozen is not None:
        first = "the first layer" if frozen == 1 else f"the first {frozen} layers"
        what = "everything below the head" if frozen == "all" else first
        trained = folder.record["network"]["parameters"]
        advise(f"{what} stayed frozen; {trained:,} parameters were trained")
