"""What is known about a built-in data set before it is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from counterpoise.datasets.images import ImageDataset


@dataclass(frozen=True)
class DatasetRecord:
    """A built-in data set.

    Parameters
    ----------
    name : str
        What the user types.
    title : str
        One line about it.
    num_classes : int
        Number of classes.
    channels : {1, 3}
        Grey or RGB.
    image_size : (int, int)
        (height, width) in pixels.
    train_size, test_size : int
        Number of images; a test size of 0 means that a stratified test split is made.
    where : str
        What must lie where under the data folder.
    build : callable
        Takes the data folder, returns the `ImageDataset`; imports what it needs itself.
    """

    name: str
    title: str
    num_classes: int
    channels: int
    image_size: tuple[int, int]
    train_size: int
    test_size: int
    where: str
    build: Callable[[Path], ImageDataset]
