"""Images of another shape are stretched, padded or cropped, as Pillow does it."""

from __future__ import annotations

import io
from typing import get_args

import numpy as np
import pytest
from datasets_helpers import encoded, make_folder, picture, two_classes
from PIL import Image, ImageOps

from counterpoise import config
from counterpoise.datasets import decode_image, load_dataset, read_images, resize_images
from counterpoise.datasets.decoding import Fit
from counterpoise.exceptions import UnknownNameError

FITS = get_args(Fit)
ORACLES = {
    "stretch": lambda image, size: image.resize(size, Image.Resampling.BILINEAR),
    "pad": lambda image, size: ImageOps.pad(image, size, Image.Resampling.BILINEAR),
    "crop": lambda image, size: ImageOps.fit(image, size, Image.Resampling.BILINEAR),
}


def oracle(image, image_size, fit):
    """What Pillow makes of an image, as (channels, height, width)."""
    pixels = np.asarray(ORACLES[fit](image, image_size[::-1]))
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def test_the_settings_name_the_same_ways():
    assert get_args(config.Fit) == FITS == tuple(ORACLES)
    assert config.DataConfig().fit == "stretch"


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("size", [(30, 61), (61, 30), (17, 17), (7, 40)])
@pytest.mark.parametrize("image_size", [(16, 16), (10, 25), (33, 12), (80, 80)])
def test_every_way_is_that_of_pillow(fit, mode, size, image_size):
    image, channels = picture(4, size, mode), 1 if mode == "L" else 3
    expected = oracle(image, image_size, fit)
    found = decode_image(encoded(image), channels, image_size, fit=fit)
    assert found.shape == (channels, *image_size)
    assert np.array_equal(found, expected)
    pixels = np.asarray(image)[None] if mode == "L" else np.asarray(image).transpose(2, 0, 1)
    assert np.array_equal(resize_images(pixels[None], image_size, fit=fit)[0], expected)


@pytest.mark.parametrize("fit", FITS)
def test_the_shape_is_that_of_the_upright_image(fit):
    image, exif = picture(5, (20, 50)), Image.Exif()
    exif[0x0112] = 6
    upright = image.transpose(Image.Transpose.ROTATE_270)
    found = decode_image(encoded(image, exif=exif), 3, (24, 16), fit=fit)
    assert np.array_equal(found, oracle(upright, (24, 16), fit))


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("size", [(600, 400), (300, 900)])
def test_large_jpegs_are_shrunk_while_decoding_to_nearly_the_same_pixels(fit, size, monkeypatch):
    ramp = np.add.outer(np.linspace(0, 120, size[0]), np.linspace(0, 120, size[1])).astype(np.uint8)
    content = encoded(Image.fromarray(ramp), "JPEG", quality=95)
    shrunk = []
    load = Image.Image.resize

    def resize(self, *args, **options):
        shrunk.append(self.size)
        return load(self, *args, **options)

    expected = oracle(Image.open(io.BytesIO(content)), (40, 60), fit)
    monkeypatch.setattr(Image.Image, "resize", resize)
    found = decode_image(content, 1, (40, 60), fit=fit)
    assert shrunk[0] == (size[1] // 2, size[0] // 2)
    assert np.abs(found.astype(int) - expected)[:, 1:-1, 1:-1].max() <= 3


def test_what_each_way_does_to_a_wide_image():
    wide = np.zeros((4, 8, 3), np.uint8)
    wide[:, 2:6], wide[:, :2], wide[:, 6:] = 200, 90, 90
    content = encoded(Image.fromarray(wide))
    cropped = decode_image(content, 3, (4, 4), fit="crop")
    padded = decode_image(content, 3, (8, 8), fit="pad")
    stretched = decode_image(content, 3, (4, 4))
    assert (cropped == 200).all()
    assert (padded[:, 2:6] == wide.transpose(2, 0, 1)).all()
    assert not padded[:, :2].any()
    assert not padded[:, 6:].any()
    assert (stretched[:, :, 0] < 150).all()
    assert np.array_equal(stretched, decode_image(content, 3, (4, 4), fit="stretch"))


@pytest.mark.parametrize("fit", FITS)
def test_an_image_of_one_pixel_height_fits_any_size(fit):
    line = decode_image(encoded(Image.new("RGB", (900, 1), (50, 60, 70))), 3, (9, 9), fit=fit)
    assert line.shape == (3, 9, 9)
    assert line[:, 4, 4].tolist() == [50, 60, 70]


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize("fit", FITS)
def test_files_keep_their_way_wherever_they_go(tmp_path, fit, in_memory):
    folder = make_folder(tmp_path, *two_classes(3), size=(12, 20))
    data = load_dataset(folder, image_size=(8, 8), fit=fit, in_memory=in_memory)
    assert data.fit == fit
    expected = [oracle(picture(seed, (12, 20)), (8, 8), fit) for seed in range(6)]
    chosen = data.train.subset([4, 1]).images
    for index, image in ((0, expected[4]), (1, expected[1])):
        assert np.array_equal(chosen[index], image)
    images, _, _ = read_images(folder, channels=3, image_size=(8, 8), fit=fit)
    assert np.array_equal(images[5], expected[5])
    assert np.array_equal(images.subset([2])[0], expected[2])


def test_built_in_arrays_depend_on_the_way_only_where_they_are_resized():
    digits = {fit: load_dataset("digits", fit=fit) for fit in FITS}
    assert {data.fit for data in digits.values()} == {"crop"}
    assert len({data.fingerprint for data in digits.values()}) == 1
    assert load_dataset("digits", image_size=8, fit="pad").fit == "crop"
    wide = load_dataset("digits", image_size=(8, 12), fit="pad")
    assert wide.fit == "pad"
    assert np.array_equal(wide.train.images[:, :, :, 2:10], digits["pad"].train.images)


def test_an_unknown_way_is_refused(tmp_path):
    folder = make_folder(tmp_path, *two_classes(1))
    for call in (
        lambda: load_dataset(folder, fit="strech"),
        lambda: load_dataset("digits", fit="strech"),
        lambda: read_images(folder, channels=3, image_size=(4, 4), fit="strech"),
        lambda: decode_image(encoded(picture()), 3, (4, 4), fit="strech"),
        lambda: resize_images(np.zeros((1, 1, 2, 2), np.uint8), (4, 4), fit="strech"),
    ):
        with pytest.raises(UnknownNameError, match=r"unknown `fit` 'strech'; did you mean 'stretch'\?"):
            call()
