"""Every odd kind of image file, with its pixels or its reason."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from datasets_helpers import encoded, picture
from PIL import Image

from counterpoise.datasets import decode_image, resize_images
from counterpoise.datasets.decoding import UnreadableImageError, read_header
from counterpoise.exceptions import InputError


def test_rgb_png_keeps_its_pixels():
    image = picture(3)
    assert np.array_equal(decode_image(encoded(image), 3), np.asarray(image).transpose(2, 0, 1))


def test_color_becomes_luma():
    colors = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [10, 20, 30]]], np.uint8)
    weights = np.array([0.299, 0.587, 0.114])
    gray = decode_image(encoded(Image.fromarray(colors)), 1)
    assert gray.shape == (1, 1, 4)
    assert np.abs(gray[0, 0] - colors[0] @ weights).max() <= 1


def test_gray_becomes_three_equal_channels():
    image = picture(1, mode="L")
    pixels = decode_image(encoded(image), 3)
    assert np.array_equal(pixels, np.repeat(np.asarray(image)[None], 3, axis=0))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_gray_is_scaled_not_clipped(kind):
    values = np.array([[0, 128, 129, 257, 32768, 65535]], np.uint16)
    pixels = decode_image(encoded(Image.fromarray(values), kind), 1)
    assert pixels[0, 0].tolist() == [round(value / 257) for value in values[0].tolist()]
    assert pixels[0, 0].tolist() == [0, 0, 1, 1, 128, 255]


def test_sixteen_bit_pgm():
    content = b"P5 3 1 65535\n" + struct.pack(">3H", 0, 257 * 7, 65535)
    assert decode_image(content, 1)[0, 0].tolist() == [0, 7, 255]


def test_thirty_two_bit_values_beyond_sixteen_bits_are_refused():
    content = encoded(Image.fromarray(np.array([[0, 70000]], np.int32)), "TIFF")
    with pytest.raises(UnreadableImageError, match="32-bit pixel values outside"):
        decode_image(content, 1)
    with pytest.raises(UnreadableImageError, match="32-bit pixel values outside"):
        read_header(io.BytesIO(content))


def test_floating_point_pixels_are_refused():
    content = encoded(Image.fromarray(np.array([[0.5, 1.0]], np.float32)), "TIFF")
    for read in (lambda: decode_image(content, 1), lambda: read_header(io.BytesIO(content))):
        with pytest.raises(UnreadableImageError, match="floating-point"):
            read()


def test_palette_is_looked_up():
    image = Image.new("P", (3, 1))
    image.putpalette([9, 8, 7, 200, 100, 50, 0, 0, 255])
    image.putdata([0, 1, 2])
    pixels = decode_image(encoded(image), 3)
    assert pixels[:, 0].T.tolist() == [[9, 8, 7], [200, 100, 50], [0, 0, 255]]


def test_transparent_parts_are_shown_on_white():
    rgba = np.array([[[10, 20, 30, 255], [10, 20, 30, 0], [0, 0, 0, 128]]], np.uint8)
    pixels = decode_image(encoded(Image.fromarray(rgba)), 3)
    assert pixels[:, 0].T.tolist() == [[10, 20, 30], [255, 255, 255], [127, 127, 127]]


def test_transparent_gray_and_transparent_palette():
    la = np.array([[[10, 255], [10, 0]]], np.uint8)
    assert decode_image(encoded(Image.fromarray(la)), 1)[0, 0].tolist() == [10, 255]
    image = Image.new("P", (2, 1))
    image.putpalette([1, 2, 3, 4, 5, 6])
    image.putdata([0, 1])
    assert decode_image(encoded(image, transparency=1), 3)[:, 0].T.tolist() == [[1, 2, 3], [255, 255, 255]]


def test_one_bit_and_cmyk():
    bits = Image.fromarray(np.array([[0, 255]], np.uint8)).convert("1")
    assert decode_image(encoded(bits), 1)[0, 0].tolist() == [0, 255]
    ink = Image.new("CMYK", (8, 8), (0, 0, 0, 0))
    assert (decode_image(encoded(ink, "JPEG"), 3) >= 254).all()
    ink = Image.new("CMYK", (8, 8), (0, 0, 0, 255))
    assert (decode_image(encoded(ink, "TIFF"), 3) == 0).all()


@pytest.mark.parametrize(("orientation", "turn"), [(3, 2), (6, 3), (8, 1)])
def test_exif_orientation_is_applied(orientation, turn):
    image = picture(5, (4, 6))
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(image, exif=exif)
    upright = np.rot90(np.asarray(image), turn)
    assert np.array_equal(decode_image(content, 3), upright.transpose(2, 0, 1))
    jpeg = read_header(io.BytesIO(encoded(image, "JPEG", exif=exif)))
    assert (jpeg.height, jpeg.width) == upright.shape[:2]


def test_one_pixel_is_an_image():
    content = encoded(Image.new("RGB", (1, 1), (1, 2, 3)))
    assert decode_image(content, 3, (4, 4)).reshape(3, -1).T.tolist() == [[1, 2, 3]] * 16


def test_resizing_covers_and_cuts_the_middle():
    wide = np.zeros((4, 8, 3), np.uint8)
    wide[:, 2:6] = 200
    wide[:, :2] = 90
    assert (decode_image(encoded(Image.fromarray(wide)), 3, (4, 4), fit="crop") == 200).all()
    tall = wide.transpose(1, 0, 2).copy()
    assert (decode_image(encoded(Image.fromarray(tall)), 3, (4, 4), fit="crop") == 200).all()


def test_shrinking_averages():
    stripes = np.tile(np.array([0, 200], np.uint8), (64, 32))
    small = decode_image(encoded(Image.fromarray(stripes)), 1, (8, 8))
    assert np.abs(small[:, :, 1:-1].astype(int) - 100).max() <= 3


def test_large_jpeg_is_shrunk_like_its_full_decoding():
    gradient = np.tile(np.linspace(0, 255, 600).astype(np.uint8), (600, 1))
    content = encoded(Image.fromarray(gradient), "JPEG", quality=95)
    reduced = decode_image(content, 1, (32, 32)).astype(int)
    full = resize_images(decode_image(content, 1)[None], (32, 32))[0].astype(int)
    assert np.abs(reduced - full).max() <= 3


def test_resize_images_equals_decoding_to_the_size():
    image = picture(2, (10, 14))
    pixels = np.asarray(image).transpose(2, 0, 1)[None]
    assert np.array_equal(resize_images(pixels, (7, 5))[0], decode_image(encoded(image), 3, (7, 5)))
    assert resize_images(pixels, (10, 14)) is pixels


def test_first_frame_of_an_animation():
    frames = [Image.new("L", (2, 2), value) for value in (10, 250)]
    content = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert (decode_image(content, 1) == 10).all()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty file"),
        (b"hello, I am text", "not an image"),
        (encoded(picture(0, (64, 64)), "JPEG")[:-300], "truncated"),
        (encoded(picture(0, (64, 64)), "PNG")[:-300], "truncated"),
        (encoded(picture(0, (64, 64)), "WEBP")[:-300], "."),
        (encoded(picture(0, (64, 64)), "BMP")[:-300], "truncated"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n", "not an image"),
    ],
)
def test_unreadable_content_has_a_reason(content, reason):
    with pytest.raises(UnreadableImageError, match=reason):
        decode_image(content, 3)
    with pytest.raises(UnreadableImageError, match=reason):
        read_header(io.BytesIO(content))


def test_decompression_bomb_is_refused():
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 0, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    with pytest.raises(UnreadableImageError, match="too many pixels"):
        decode_image(bomb, 3, (8, 8))
    with pytest.raises(UnreadableImageError, match="too many pixels"):
        read_header(io.BytesIO(bomb))


def test_header_tells_gray_from_color():
    gray_palette = Image.new("P", (2, 2))
    gray_palette.putpalette([0, 0, 0, 90, 90, 90])
    color_palette = Image.new("P", (2, 2))
    color_palette.putpalette([0, 0, 0, 90, 0, 0])
    images = [picture(mode="L"), gray_palette, Image.new("LA", (2, 2)), color_palette, picture()]
    grays = [read_header(io.BytesIO(encoded(image))).grayscale for image in images]
    assert grays == [True, True, True, False, False]


def test_only_one_or_three_channels():
    with pytest.raises(InputError, match="channels is 4"):
        decode_image(encoded(picture()), 4)
