"""Damage of image files that decoders pass over in silence: of JPEG and PNG; other formats have no checksums."""

from __future__ import annotations

import zlib
from bisect import bisect_left
from io import BytesIO
from typing import NamedTuple

import numpy as np

_SOS, _EOI, _DRI = 0xDA, 0xD9, 0xDD
_ARITHMETIC = (0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF)
_RUN = 8  # equal bytes in a row, which entropy coding hardly ever makes
_FILLER = bytes(range(1, 128))
_SURPLUS = 4  # bytes


class _Scan(NamedTuple):
    """Entropy-coded data of a JPEG, the positions of restart markers in it and of its end, and whether it has them."""

    values: np.ndarray
    restarts: list[int]
    end: int
    divided: bool


def is_damaged(content: bytes, image_format: str | None) -> bool:
    """Return whether the content of a JPEG or PNG file is damaged, although it may be decoded without an error.

    libjpeg fills up whatever is missing with gray, and Pillow hides its warnings and reads no checksums of pixels.
    """
    if image_format == "PNG":
        return _has_wrong_checksum(content)
    if image_format not in ("JPEG", "MPO"):
        return False
    scans = _scans(content)
    return bool(scans) and _is_suspect(content, scans) and not _fills_image(content, scans)


def _has_wrong_checksum(content: bytes) -> bool:
    position, kind = 8, b""
    while position + 12 <= len(content) and kind != b"IEND":
        end = position + 8 + int.from_bytes(content[position : position + 4])
        kind = content[position + 4 : position + 8]
        checksum = int.from_bytes(content[end : end + 4])
        # Letters in upper case mark the chunks that an image needs.
        if kind[:1].isupper() and zlib.crc32(content[position + 4 : end]) != checksum:
            return True
        position = end + 4
    return False


def _scans(content: bytes) -> list[_Scan]:
    """Return the scans of a JPEG; none for arithmetic coding, whose data may end early."""
    values = np.frombuffer(content, np.uint8)
    marks = np.flatnonzero((values[:-1] == 0xFF) & (values[1:] != 0) & (values[1:] != 0xFF))
    is_restart = values[marks + 1] & 0xF8 == 0xD0
    restarts, ends = marks[is_restart], [*marks[~is_restart].tolist(), len(content)]
    scans: list[_Scan] = []
    position, divided = 2, False
    while position + 4 <= len(content) and content[position] == 0xFF and content[position + 1] != _EOI:
        marker = content[position + 1]
        if marker in _ARITHMETIC:
            return []
        divided |= marker == _DRI
        position += 1 if marker == 0xFF else 2 + int.from_bytes(content[position + 2 : position + 4])
        if marker == _SOS and position < len(content):
            end = ends[bisect_left(ends, position)]
            inside = restarts[(restarts >= position) & (restarts < end)].tolist()
            while content[end - 1] == 0xFF:  # fill bytes before the marker
                end -= 1
            scans.append(_Scan(values[position:end], inside, end, divided))
            position = end
    return scans


def _is_suspect(content: bytes, scans: list[_Scan]) -> bool:
    """Return whether a fast look finds signs of damage; sound files may have them, too."""
    for scan in scans:
        run = scan.values[1:] == scan.values[:-1]
        for step in (1, 2, _RUN - 5):
            run = run[:-step] & run[step:]
        numbers = [content[at + 1] - 0xD0 for at in scan.restarts]
        if run.any() or numbers != [i % 8 for i in range(len(numbers) if scan.divided else 0)]:
            return True
    end = scans[-1].end
    after = content[end + 2 :].lstrip(b"\0")
    # A second image, as of a phone's depth map, may follow.
    return content[end : end + 2] != b"\xff\xd9" or not (after == b"" or after.startswith(b"\xff\xd8"))


def _fills_image(content: bytes, scans: list[_Scan]) -> bool:
    """Return whether the data of each scan are as long as the image needs.

    Bytes behind them change the image only if it needed more; a single scan that does without its last bytes has more.
    """
    ends = [at for scan in scans for at in (*scan.restarts, scan.end)]
    padded = _FILLER.join(content[start:end] for start, end in zip([0, *ends], [*ends, None], strict=True))
    whole = _pixels(content)
    return whole is not None and whole == _pixels(padded) and _pixels(content[: ends[-1] - _SURPLUS]) is None


def _pixels(content: bytes) -> bytes | None:
    """Return the pixels; None if the decoder, which raises anything on damaged files, finds them cut short."""
    from PIL import Image

    try:
        with Image.open(BytesIO(content), formats=["JPEG"]) as image:
            return image.tobytes()
    except MemoryError:
        raise
    except Exception:
        return None
