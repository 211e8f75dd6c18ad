"""Small folders, zips and datasets for the tests of datasets."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from counterpoise.datasets import ImageDataset, ImageSplit

REAL_DATA = Path(__file__).resolve().parents[2].parent / "shared/data"


def picture(seed: int = 0, size: tuple[int, int] = (12, 12), mode: str = "RGB") -> Image.Image:
    """Return random pixels of (height, width)."""
    shape = size if mode == "L" else (*size, 3)
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    """Return the content of an image file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def make_folder(root: Path, *names: str, mode: str = "RGB", size: tuple[int, int] = (12, 12)) -> Path:
    """Write a PNG of its own random pixels under each name."""
    for seed, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(picture(seed, size, mode)))
    return root


def make_zip(path: Path, *names: str) -> Path:
    """Write a zip with a PNG of its own random pixels under each name."""
    with zipfile.ZipFile(path, "w") as archive:
        for seed, name in enumerate(names):
            archive.writestr(name, b"" if name.endswith("/") else encoded(picture(seed)))
    return path


def two_classes(per_class: int = 4) -> list[str]:
    """Return names of two class folders of images."""
    return [f"{label}/{index}.png" for label in ("cat", "dog") for index in range(per_class)]


def toy_dataset(
    counts: list[int],
    *,
    test: list[int] | None = None,
    validation: list[int] | None = None,
    groups: np.ndarray | None = None,
    seed: int = 0,
) -> ImageDataset:
    """Return random 2 x 2 images with the given numbers per class."""

    def split(name: str, sizes: list[int] | None, offset: int) -> ImageSplit | None:
        if sizes is None:
            return None
        labels = np.random.default_rng(seed + offset).permutation(np.repeat(np.arange(len(sizes)), sizes))
        images = np.random.default_rng(offset).integers(0, 256, (len(labels), 1, 2, 2), dtype=np.uint8)
        paths = tuple(f"{name}/{index}" for index in range(len(labels)))
        return ImageSplit(images, labels, paths, groups=groups if name == "train" else None)

    train = split("train", counts, 0)
    assert train is not None
    classes = tuple(f"c{index}" for index in range(len(counts)))
    return ImageDataset(
        "toy", classes, 1, (2, 2), train, split("validation", validation, 1), split("test", test, 2)
    )


def write_idx(folder: Path, images: np.ndarray, labels: np.ndarray) -> None:
    """Write the first images as training and test set in MNIST's format."""
    folder.mkdir(parents=True)
    for prefix in ("train", "t10k"):
        header = struct.pack(">4B3I", 0, 0, 8, 3, *images.shape)
        (folder / f"{prefix}-images-idx3-ubyte").write_bytes(header + images.tobytes())
        content = struct.pack(">4BI", 0, 0, 8, 1, len(labels)) + labels.astype(np.uint8).tobytes()
        (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(content)
