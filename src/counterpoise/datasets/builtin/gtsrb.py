"""GTSRB: German traffic signs, 39,270 colour photographs of many sizes, 43 naturally imbalanced classes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from counterpoise.datasets.builtin._record import DatasetRecord
from counterpoise.datasets.builtin._torchvision import open_torchvision
from counterpoise.datasets.images import ImageDataset
from counterpoise.datasets.listing import Entry, Listing
from counterpoise.datasets.scanning import build_dataset
from counterpoise.datasets.stores import FolderStore

_WHERE = "gtsrb/GTSRB/Training/, gtsrb/GTSRB/Final_Test/Images/ and gtsrb/GT-final_test.csv"
_SIZE = (32, 32)
_CLASSES = (
    *("speed limit 20", "speed limit 30", "speed limit 50", "speed limit 60", "speed limit 70"),
    *("speed limit 80", "end of speed limit 80", "speed limit 100", "speed limit 120", "no passing"),
    *("no passing for trucks", "right of way at next junction", "priority road", "yield", "stop"),
    *("no vehicles", "no trucks", "no entry", "general caution", "dangerous curve left"),
    *("dangerous curve right", "double curve", "bumpy road", "slippery road", "road narrows on the right"),
    *("road work", "traffic signals", "pedestrians", "children crossing", "bicycles crossing"),
    *("beware of ice or snow", "wild animals crossing", "end of all limits", "turn right ahead"),
    *("turn left ahead", "ahead only", "straight or right", "straight or left", "keep right"),
    *("keep left", "roundabout", "end of no passing", "end of no passing for trucks"),
)


def build(data_dir: Path) -> ImageDataset:
    """Return GTSRB as torchvision finds it in `data_dir`; its photographs are read as 32 x 32 pixels."""
    entries = []
    for split in ("train", "test"):
        for path, label in open_torchvision("GTSRB", data_dir, _WHERE, split=split)._samples:
            entries.append(Entry(Path(path).relative_to(data_dir).as_posix(), _CLASSES[label], split))
    listing = Listing("gtsrb", FolderStore(data_dir), tuple(entries), _CLASSES)
    dataset = build_dataset(listing, image_size=_SIZE, in_memory=False)
    return replace(dataset, train=replace(dataset.train, groups=_tracks(dataset.train.paths)))


def _tracks(names: tuple[str, ...]) -> np.ndarray:
    """Number the tracks: 30 photographs of one sign from one drive, ``<class>/<track>_<photograph>.ppm``."""
    tracks = [name.rsplit("_", 1)[0] for name in names]
    return np.unique(tracks, return_inverse=True)[1].astype(np.int64)


RECORDS = (
    DatasetRecord(
        name="gtsrb",
        title="German traffic signs, brought to 32x32 colour, naturally imbalanced",
        num_classes=43,
        channels=3,
        image_size=_SIZE,
        train_size=26640,
        test_size=12630,
        where=_WHERE,
        build=build,
    ),
)
