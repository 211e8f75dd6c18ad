"""Small data sets and networks that several tests share."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

# How long an example takes says nothing on a busy machine.
settings.register_profile("counterpoise", deadline=None)
settings.load_profile("counterpoise")

SHARED_DATA = Path(__file__).resolve().parents[1].parent / "shared" / "data"


@pytest.fixture(scope="session")
def documents():
    """The module that makes the pictures and tables of the documents."""
    path = Path(__file__).resolve().parents[1] / "docs" / "make_pictures.py"
    spec = importlib.util.spec_from_file_location("make_pictures", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def shared_data():
    """The folder of real images, where it is at hand."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"needs the real images in {SHARED_DATA}")
    return SHARED_DATA


def blob_images(counts, *, size=8, seed=0):
    """Noisy uint8 images, one bright square per class in a place of its own, and their labels."""
    generator = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts).astype(np.int64)
    images = generator.integers(0, 120, size=(len(labels), 1, size, size)).astype(np.uint8)
    for i, label in enumerate(labels):
        row, column = divmod(int(label), 2)
        images[i, 0, row * 3 : row * 3 + 3, column * 4 : column * 4 + 3] += 100
    order = generator.permutation(len(labels))
    return images[order], labels[order]


@pytest.fixture(scope="session")
def make_images():
    """Function ``make_images(counts, size=8, seed=0)`` that makes labelled images."""
    return blob_images
