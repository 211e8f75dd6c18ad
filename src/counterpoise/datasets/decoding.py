"""From the bytes of an image file to pixels: every odd mode ends as 8-bit grey or RGB, or with a reason."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

import numpy as np

from counterpoise.exceptions import DataError, InputError

if TYPE_CHECKING:
    from PIL.Image import Image

#: File name endings that are taken for images (compared in lower case).
EXTENSIONS = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"})

# Only these decoders are tried: a file from a stranger never reaches the exotic ones (EPS starts a program).
_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
_GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N"})
_ALPHA_MODES = frozenset({"RGBA", "LA", "PA", "RGBa", "La"})
_EXIF_ORIENTATION = 0x0112
_TAIL_BYTES = 1024


class UnreadableImageError(DataError):
    """One file cannot be decoded; the message is the reason, without the file's name."""


class ImageHeader(NamedTuple):
    """What a file says about its image before its pixels are decoded."""

    height: int
    width: int
    grey: bool


def decode_image(
    source: bytes | str | Path, channels: int, image_size: tuple[int, int] | None = None
) -> np.ndarray:
    """Decode one image file.

    The EXIF orientation is applied. 16-bit grey becomes 8-bit as round(value / 257), without stretching the
    contrast. Transparent parts are shown on white. Palettes, CMYK and 1-bit images are expanded. Of
    animations and multi-page files the first picture is taken. A file that ends early is unreadable, never
    half grey.

    Parameters
    ----------
    source : bytes, str or Path
        The file's content, or where it lies.
    channels : {1, 3}
        1 for grey (ITU-R 601 luma of colour images), 3 for RGB.
    image_size : (int, int), optional
        (height, width) in pixels. The image is scaled, antialiased, until it just covers this size, and what
        juts out is cut off evenly at both ends. By default the size stays as it is.

    Returns
    -------
    ndarray of uint8, shape (channels, height, width)
        Values 0 to 255.

    Raises
    ------
    UnreadableImageError
        If the content is no image, is cut short, is absurdly large, or has floating-point pixels.

    Examples
    --------
    >>> decode_image(b"P2 2 1 255  0 255", 3).tolist()
    [[[0, 255]], [[0, 255]], [[0, 255]]]
    """
    if channels not in (1, 3):
        raise InputError(f"channels is {channels!r}; expected 1 (grey) or 3 (RGB)")
    with _opened(source) as image:
        if image_size is not None and image.format == "JPEG":
            # Decode at 1/2, 1/4 or 1/8 size where at least twice the wanted resolution remains.
            image.draft(image.mode, (2 * max(image_size), 2 * max(image_size)))
        pixels = np.asarray(_prepare(image, channels, image_size))
    return pixels[None].copy() if channels == 1 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def resize_images(images: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
    """Scale a stack of images to just cover `image_size` and cut the rest off evenly, as `decode_image` does.

    Parameters
    ----------
    images : ndarray of uint8, shape (N, C, H, W)
        C is 1 or 3.
    image_size : (int, int)
        (height, width) in pixels.

    Returns
    -------
    ndarray of uint8, shape (N, C, height, width)

    Examples
    --------
    >>> resize_images(np.full((2, 1, 8, 8), 7, np.uint8), (4, 4)).shape
    (2, 1, 4, 4)
    """
    from PIL import Image

    if images.shape[2:] == tuple(image_size):
        return images
    count, channels = images.shape[:2]
    resized = np.empty((count, channels, *image_size), np.uint8)
    for index, image in enumerate(images):
        picture = Image.fromarray(
            image[0] if channels == 1 else np.ascontiguousarray(image.transpose(1, 2, 0))
        )
        pixels = np.asarray(_fit(picture, image_size))
        resized[index] = pixels if channels == 1 else pixels.transpose(2, 0, 1)
    return resized


def read_header(file: IO[bytes]) -> ImageHeader:
    """Read the size and kind of an image, and make sure that the file is whole.

    JPEG and PNG files are whole if their end marker stands at the end, WebP files if they are as long as they
    say; the others, and doubtful ones, are decoded.

    Parameters
    ----------
    file : binary file
        Open for reading, seekable.

    Returns
    -------
    ImageHeader
        The size after the EXIF orientation is applied, and whether the image is stored in shades of grey.

    Raises
    ------
    UnreadableImageError
        If the file holds no image or only part of one.
    """
    with _opened(file) as image:
        height, width = image.height, image.width
        if _orientation(image) >= 5:
            height, width = width, height
        if image.mode == "F":
            raise UnreadableImageError(_FLOATING_POINT)
        grey = image.mode in _GREY_MODES or (image.mode == "P" and _has_grey_palette(image))
        # 32-bit integers are decoded too: only their values tell whether they are 16-bit ones in disguise.
        if image.mode == "I" or not _ends_well(file, image.format):
            _prepare(image, 1, None)
    return ImageHeader(height, width, grey)


_FLOATING_POINT = "floating-point pixels have no fixed white; save it with 8 or 16 bits"


@contextmanager
def _opened(source: bytes | str | Path | IO[bytes]) -> Iterator[Image]:
    """Yield the open image, and turn whatever the decoder raises into a reason."""
    from PIL import Image, UnidentifiedImageError

    if isinstance(source, bytes):
        if not source:
            raise UnreadableImageError("empty file (0 bytes)")
        source = BytesIO(source)
    try:
        with Image.open(source, formats=_FORMATS) as image:
            yield image
    except UnreadableImageError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnreadableImageError("too many pixels (a decompression bomb?)") from error
    except UnidentifiedImageError as error:
        raise UnreadableImageError(_why_unidentified(source)) from error
    except Exception as error:  # a broken file makes decoders raise anything from KeyError to struct.error
        raise UnreadableImageError(_plain_reason(error)) from error


def _why_unidentified(source: str | Path | IO[bytes]) -> str:
    if isinstance(source, (str, Path)):
        empty = Path(source).stat().st_size == 0
    else:
        empty = source.seek(0, 2) == 0
    return "empty file (0 bytes)" if empty else "not an image in a known format"


def _plain_reason(error: Exception) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    text = " ".join(text.split())
    if "truncated" in text.lower() or "broken data stream" in text.lower():
        return "the file is cut short (truncated)"
    return text or type(error).__name__


def _prepare(image: Image, channels: int, image_size: tuple[int, int] | None) -> Image:
    image.load()
    if _orientation(image) != 1:
        from PIL import ImageOps

        ImageOps.exif_transpose(image, in_place=True)
    image = _flatten(_reduce_depth(image))
    mode = "L" if channels == 1 else "RGB"
    if image.mode != mode:
        image = image.convert(mode)
    return image if image_size is None else _fit(image, image_size)


def _orientation(image: Image) -> int:
    """Return the EXIF orientation, 1 to 8; asking where there is none would cost more than decoding."""
    if image.format != "TIFF" and not {"exif", "Raw profile type exif", "xmp"} & image.info.keys():
        return 1
    value = image.getexif().get(_EXIF_ORIENTATION, 1)
    return value if value in range(1, 9) else 1


def _reduce_depth(image: Image) -> Image:
    if image.mode == "F":
        raise UnreadableImageError(_FLOATING_POINT)
    if not image.mode.startswith("I"):
        return image
    from PIL import Image as pil

    values = np.asarray(image).astype(np.int64)
    if values.size and (values.min() < 0 or values.max() > 65535):
        raise UnreadableImageError("32-bit pixel values outside 0..65535; save it with 8 or 16 bits")
    return pil.fromarray(((values + 128) // 257).astype(np.uint8))


def _flatten(image: Image) -> Image:
    """Show transparent parts on white."""
    if image.mode not in _ALPHA_MODES and "transparency" not in image.info:
        return image
    from PIL import Image as pil

    layer = image.convert("RGBA")
    return pil.alpha_composite(pil.new("RGBA", layer.size, (255, 255, 255, 255)), layer).convert("RGB")


def _fit(image: Image, image_size: tuple[int, int]) -> Image:
    height, width = image_size
    if image.size == (width, height):
        return image
    from PIL import Image as pil
    from PIL import ImageOps

    return ImageOps.fit(image, (width, height), method=pil.Resampling.BILINEAR)


def _has_grey_palette(image: Image) -> bool:
    palette = np.asarray(image.getpalette("RGB") or [0, 0, 0]).reshape(-1, 3)
    return bool((palette == palette[:, :1]).all())


def _ends_well(file: IO[bytes], image_format: str | None) -> bool:
    position = file.tell()
    length = file.seek(0, 2)
    try:
        if image_format == "WEBP":
            file.seek(4)
            return int.from_bytes(file.read(4), "little") + 8 <= length
        marker = {"JPEG": b"\xff\xd9", "MPO": b"\xff\xd9", "PNG": b"IEND"}.get(image_format or "")
        file.seek(max(0, length - _TAIL_BYTES))
        return marker is not None and marker in file.read()
    finally:
        file.seek(position)
