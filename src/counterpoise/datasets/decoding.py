"""Decoding of image files: every pixel format becomes 8-bit grayscale or RGB, or an error with a reason."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal, NamedTuple, TypeVar, get_args

import numpy as np

from counterpoise.datasets.damage import is_damaged
from counterpoise.exceptions import DataError, InputError, UnknownNameError

if TYPE_CHECKING:
    from PIL.Image import Image

Result = TypeVar("Result")

#: Progress callback, called with (done, total).
OnProgress = Callable[[int, int], None]

#: Treatment of an image of another shape, see `decode_image`.
Fit = Literal["stretch", "pad", "crop"]

_ENDINGS = "png jpg jpeg jpe jfif bmp dib gif tif tiff webp ppm pgm pbm pnm jp2 j2k avif heic heif ico tga"
#: File name extensions of images, in lower case.
EXTENSIONS = frozenset(f".{ending}" for ending in _ENDINGS.split())

# Untrusted files must not reach exotic decoders: that of EPS starts a program. TGA files have no signature: last.
_FORMATS = "JPEG PNG BMP GIF TIFF WEBP PPM JPEG2000 AVIF HEIF ICO DIB TGA"
#: First bytes of an image file.
SIGNATURE = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n|GIF8[79]a|BM.{4}\0{4}|II\*\0|MM\0\*|RIFF.{4}WEBP|P[1-6]\s+[#0-9]|\0\0\0\x0cjP  |"
    rb"\xff\x4f\xff\x51|.{4}ftyp(?:avi[fs]|(?P<heif>hei[cxms]|hev[cmsx]|m[is]f1))",
    re.DOTALL,
)
_GRAY_MODES = frozenset({"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N"})
_ALPHA_MODES = frozenset({"RGBA", "LA", "PA", "RGBa", "La"})
_EXIF_ORIENTATION = 0x0112
_TIFF_BITS, _TIFF_PHOTOMETRIC = 258, 262
_MIN_IS_WHITE = 0
_FULL_RANGE = (0, 65535)
_TAIL_BYTES = 1024
_FLOATING_POINT = "floating-point pixels have no fixed white; save it with 8 or 16 bits"


class UnreadableImageError(DataError):
    """A file cannot be decoded; the message is the reason, without the file's name."""


#: Lowest and highest value, of the 16 bits of a file, which become black and white.
ValueRange = tuple[int, int]


class ImageHeader(NamedTuple):
    """Size and color mode of an image, whether it has more than 8 bits, and whether the file holds several."""

    height: int
    width: int
    grayscale: bool
    deep: bool = False
    several: bool = False


def decode_image(
    source: bytes | str | Path,
    channels: int,
    image_size: tuple[int, int] | None = None,
    *,
    fit: Fit = "stretch",
    value_range: ValueRange | None = None,
) -> np.ndarray:
    """Decode one image file.

    The EXIF orientation is applied. Values of 16-bit grayscale become 8-bit linearly in `value_range`, with the same
    contrast for every image; of 16-bit color, Pillow reads the upper bytes. Transparent parts become white. Palettes,
    CMYK and 1-bit images are expanded. Only the first image of an animation or a multi-page file is decoded. What is no
    image, truncated, damaged, absurdly large or of floating-point pixels raises UnreadableImageError.

    Parameters
    ----------
    source : bytes, str or Path
        Content of the file, or its path.
    channels : {1, 3}
        1 for grayscale (ITU-R 601 luma of color images), 3 for RGB; the first axis of the uint8 result.
    image_size : (int, int), optional
        (height, width) in pixels, to which the image is scaled, bilinear and antialiased. By default the size is
        unchanged.
    fit : {"stretch", "pad", "crop"}
        For an image of another shape than `image_size`: it is stretched to that shape; scaled to fit inside, centered
        between black borders; or scaled to just cover the size and center-cropped, which loses its edges.
    value_range : (int, int), optional
        Values of 16-bit grayscale that become 0 and 255; others are clipped. Default: 0 and 65535.

    Examples
    --------
    >>> decode_image(b"P2 2 1 255  0 255", 3).tolist()
    [[[0, 255]], [[0, 255]], [[0, 255]]]
    """
    if channels not in (1, 3):
        raise InputError(f"channels is {channels!r}; expected 1 (grayscale) or 3 (RGB)")
    check_fit(fit)
    with open_image(source) as image:
        if image_size is not None and image.format == "JPEG":
            # Decoding at 1/2, 1/4 or 1/8 size is faster; at least twice the wanted resolution remains.
            image.draft(image.mode, (2 * max(image_size), 2 * max(image_size)))
        kind = image.format
        pixels = np.asarray(_prepare(image, channels, image_size, fit, value_range))
        if is_damaged(source if isinstance(source, bytes) else Path(source).read_bytes(), kind):
            raise UnreadableImageError("the file is damaged: image data are missing or overwritten")
    return pixels[None].copy() if channels == 1 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def check_fit(fit: str) -> None:
    """Raise `UnknownNameError` unless `fit` is a way of fitting images to a size."""
    if fit not in get_args(Fit):
        raise UnknownNameError("`fit`", fit, get_args(Fit))


def resize_images(images: np.ndarray, image_size: tuple[int, int], *, fit: Fit = "stretch") -> np.ndarray:
    """Resize images, uint8 of shape (N, C, H, W) with C 1 or 3, to (height, width) as `decode_image` does."""
    from PIL import Image

    check_fit(fit)
    if images.shape[2:] == tuple(image_size):
        return images
    resized = np.empty((*images.shape[:2], *image_size), np.uint8)
    for index, image in enumerate(images):
        stored = image[0] if len(image) == 1 else np.ascontiguousarray(image.transpose(1, 2, 0))
        pixels = np.asarray(_resized(Image.fromarray(stored), image_size, fit))
        resized[index] = pixels if len(image) == 1 else pixels.transpose(2, 0, 1)
    return resized


def read_header(file: IO[bytes]) -> ImageHeader:
    """Read the size (after EXIF orientation) and the color mode of an image, and check that the file is complete.

    JPEG and PNG files are complete if they end in their end marker, WebP files if they have their declared length.
    Other files, and doubtful ones, are decoded. Raises UnreadableImageError.
    """
    with open_image(file) as image:
        height, width = image.height, image.width
        if image.format == "TIFF":  # newer versions of Pillow have turned the size already
            height, width = _tiff_tag(image, 257), _tiff_tag(image, 256)
        if _orientation(image) >= 5:
            height, width = width, height
        if image.mode == "F":
            raise UnreadableImageError(_FLOATING_POINT)
        grayscale = image.mode in _GRAY_MODES
        if image.mode == "P":
            palette = np.asarray(image.getpalette("RGB") or [0, 0, 0]).reshape(-1, 3)
            grayscale = bool((palette == palette[:, :1]).all())
        # Only the values of 32-bit integers show whether they fit into 16 bits.
        if image.mode == "I" or not _is_complete(file, image.format):
            _prepare(image, 1)
        deep = image.mode.startswith("I") or any(";16" in str(tile[3]) for tile in getattr(image, "tile", ()))
        several = image.format != "MPO" and getattr(image, "is_animated", False)
    return ImageHeader(height, width, grayscale, deep, several)


def read_value_range(source: bytes) -> ValueRange:
    """Return the lowest and the highest value of an image of more than 8 bits; of color, those of the upper bytes."""
    with open_image(source) as image:
        image.load()
        values = _wide_values(image) if image.mode.startswith("I") else np.asarray(image)
        return int(values.min()), int(values.max())


def map_indices(
    function: Callable[[int], Result],
    count: int,
    *,
    threads: bool | int = True,
    chunk: int = 64,
    progress: OnProgress | None = None,
) -> list[Result]:
    """Return ``[function(0), ..., function(count - 1)]``, calling `progress` after every chunk of indices.

    `threads` is their number, or whether there is one for each core, eight at most: they pay off for decoding images
    from about 64 x 64 pixels on, where the decoder runs long without the interpreter lock.

    Examples
    --------
    >>> map_indices(lambda index: index * index, 4)
    [0, 1, 4, 9]
    """

    def work(start: int) -> list[Result]:
        return [function(index) for index in range(start, min(start + chunk, count))]

    results: list[Result] = []
    pool = ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1) if threads is True else max(1, threads))
    # One thread is the caller's own, so that an interruption need not wait until long work is done.
    apply = pool.map if threads > 1 or threads is True else map
    try:
        for part in apply(work, range(0, count, chunk)):
            results += part
            if progress is not None:
                progress(len(results), count)
    finally:
        pool.shutdown(cancel_futures=True)
    return results


@cache
def _formats() -> tuple[str, ...]:
    """Return the formats that Pillow reads here."""
    from PIL import Image

    with suppress(ImportError):
        from pillow_heif import register_heif_opener

        register_heif_opener()
    Image.init()
    return tuple(name for name in _FORMATS.split() if name in Image.OPEN)


@contextmanager
def open_image(source: bytes | str | Path | IO[bytes]) -> Iterator[Image]:
    """Yield the open image, and turn any error of the decoder into an UnreadableImageError with the reason."""
    from PIL import Image, UnidentifiedImageError

    try:
        source = Path(source).read_bytes() if isinstance(source, (str, Path)) else source
        file = BytesIO(source) if isinstance(source, bytes) else source
        with Image.open(file, formats=_formats()) as image:
            yield image
    except (UnreadableImageError, MemoryError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnreadableImageError("too many pixels (a decompression bomb?)") from error
    except UnidentifiedImageError as error:
        file.seek(0)
        raise UnreadableImageError(_unknown_reason(file.read(16))) from error
    except Exception as error:  # on damaged files decoders raise anything from KeyError to struct.error
        raise UnreadableImageError(_plain_reason(error)) from error


def _unknown_reason(head: bytes) -> str:
    if (found := SIGNATURE.match(head)) and found["heif"] and "HEIF" not in _formats():
        return 'reading HEIC needs pillow-heif, which is not installed: pip install "counterpoise[heif]"'
    return "not an image in a known format" if head else "empty file (0 bytes)"


def _plain_reason(error: Exception) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    text = " ".join(text.split())
    if "truncated" in text.lower() or "broken data stream" in text.lower():
        return "the file is cut short (truncated)"
    return text or type(error).__name__


def _prepare(
    image: Image,
    channels: int,
    image_size: tuple[int, int] | None = None,
    fit: Fit = "stretch",
    value_range: ValueRange | None = None,
) -> Image:
    """Return the upright image in 8 bits, without transparency, resized."""
    from PIL import Image as pil
    from PIL import ImageOps

    image.load()
    if _orientation(image) != 1:
        ImageOps.exif_transpose(image, in_place=True)
    if image.mode == "F":
        raise UnreadableImageError(_FLOATING_POINT)
    if image.mode.startswith("I"):
        low, high = value_range or _FULL_RANGE
        span = max(1, high - low)
        values = _wide_values(image).clip(low, high) - low
        image = pil.fromarray(((2 * 255 * values + span) // (2 * span)).astype(np.uint8))
    if image.mode in _ALPHA_MODES or "transparency" in image.info:
        layer = image.convert("RGBA")
        white = pil.new("RGBA", layer.size, (255, 255, 255, 255))
        image = pil.alpha_composite(white, layer).convert("RGB")
    mode = "L" if channels == 1 else "RGB"
    if image.mode != mode:
        image = image.convert(mode)
    return image if image_size is None else _resized(image, image_size, fit)


def _wide_values(image: Image) -> np.ndarray:
    """Return the values of 16-bit or 32-bit grayscale, int64, where 0 is black."""
    values = np.asarray(image).astype(np.int64)
    # Pillow inverts such TIFF files up to 8 bits only.
    if image.format == "TIFF" and _tiff_tag(image, _TIFF_PHOTOMETRIC) == _MIN_IS_WHITE:
        values = 2 ** _tiff_tag(image, _TIFF_BITS) - 1 - values
    if values.size and (values.min() < 0 or values.max() > _FULL_RANGE[1]):
        raise UnreadableImageError("32-bit pixel values outside 0..65535; save it with 8 or 16 bits")
    # Of 16-bit grayscale, one value may be transparent, which is shown on white.
    transparent = image.info.get("transparency")
    return np.where(values == transparent, _FULL_RANGE[1], values) if isinstance(transparent, int) else values


def _tiff_tag(image: Image, tag: int) -> int:
    value = image.tag_v2[tag]  # type: ignore[attr-defined]
    return int(value[0] if isinstance(value, tuple) else value)


def _orientation(image: Image) -> int:
    """Return the EXIF orientation, 1 to 8."""
    # Parsing metadata of images without any takes longer than decoding them.
    if image.format != "TIFF" and not {"exif", "Raw profile type exif", "xmp"} & image.info.keys():
        return 1
    value = image.getexif().get(_EXIF_ORIENTATION, 1)
    return value if value in range(1, 9) else 1


def _resized(image: Image, image_size: tuple[int, int], fit: Fit) -> Image:
    from PIL import Image as pil
    from PIL import ImageOps

    height, width = image_size
    size, bilinear = (width, height), pil.Resampling.BILINEAR
    if image.size == size:
        return image
    if fit == "crop":
        return ImageOps.fit(image, size, method=bilinear)
    if fit == "stretch":
        return image.resize(size, bilinear)
    # As `ImageOps.pad`, which refuses images that are so long that less than half a pixel of width remains.
    if image.width * height > width * image.height:
        inside = (width, max(1, round(image.height / image.width * width)))
    else:
        inside = (max(1, round(image.width / image.height * height)), height)
    padded = pil.new(image.mode, size)
    padded.paste(
        image.resize(inside, bilinear), (round((width - inside[0]) / 2), round((height - inside[1]) / 2))
    )
    return padded


def _is_complete(file: IO[bytes], image_format: str | None) -> bool:
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
