"""Every kind of file gives the pixels that it shows, or an error with a reason; inputs are made here."""

import io
import random
import struct
import warnings
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from counterpoise.cli.main import run
from counterpoise.datasets import audit, decode_image, load_dataset, read_images
from counterpoise.datasets.damage import is_damaged
from counterpoise.datasets.decoding import UnreadableImageError, read_header
from counterpoise.exceptions import DataError
from counterpoise.inference import TrainedModel, load_for_run
from counterpoise.runs import RunFolder

INTEL = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "intel.zip"
#: The stored picture of an upright one (h, w, c), by its EXIF orientation: the definitions of the standard.
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a.swapaxes(0, 1)[:, ::-1],
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: a.swapaxes(0, 1)[::-1],
}
KINDS = {
    "png": {"format": "PNG"},
    "tiff": {"format": "TIFF"},
    "lzw": {"format": "TIFF", "compression": "tiff_lzw"},
    "webp": {"format": "WEBP", "lossless": True},
    "jpeg": {"format": "JPEG", "quality": 100, "subsampling": 0},
}


def noise(*shape, seed=0, high=256, dtype=np.uint8):
    return np.random.default_rng(seed).integers(0, high, shape).astype(dtype)


def encoded(pixels, **options):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, **options)
    return buffer.getvalue()


def tiff(values, *, bits, photometric, packed=False):
    """A TIFF of one strip, written by hand; `values` are stored as they are."""
    height, width = values.shape
    data = np.packbits(values.astype(bool), axis=1).tobytes() if bits == 1 else values.tobytes()
    data = zlib.compress(data) if packed else data
    tags = [
        (256, 3, width),
        (257, 3, height),
        (258, 3, bits),
        (259, 3, 8 if packed else 1),
        (262, 3, photometric),
    ]
    tags += [(273, 4, 8), (277, 3, 1), (278, 3, height), (279, 4, len(data))]
    data += b"\0" * (len(data) % 2)
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    directory = struct.pack("<H", len(tags)) + entries + bytes(4)
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory


def write(folder, files):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("kind", KINDS)
def test_every_orientation_of_every_format_is_turned_once(kind, orientation):
    stored = noise(16, 24, 3)
    if KINDS[kind]["format"] == "TIFF":
        content = encoded(stored, tiffinfo={0x112: orientation}, **KINDS[kind])
    else:
        exif = Image.Exif()
        exif[0x112] = orientation
        content = encoded(stored, exif=exif, **KINDS[kind])
    upright = UPRIGHT[orientation](stored)
    difference = decode_image(content, 3).transpose(1, 2, 0).astype(int) - upright
    assert np.abs(difference).max() <= (4 if kind == "jpeg" else 0)
    header = read_header(io.BytesIO(content))
    assert (header.height, header.width) == upright.shape[:2]


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_sixteen_bit_tiff_is_turned_once_too(orientation):
    stored = noise(5, 9, high=65536, dtype=np.uint16)
    content = encoded(stored, format="TIFF", tiffinfo={0x112: orientation})
    upright = UPRIGHT[orientation](stored[..., None])[..., 0]
    assert decode_image(content, 1)[0].tolist() == np.rint(upright / 257).astype(int).tolist()


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("bits", [1, 8, 16])
def test_white_is_white_where_the_smallest_value_is_white(bits, packed):
    most = 2**bits - 1
    shown = noise(6, 16, high=most + 1, dtype=np.uint16 if bits == 16 else np.uint8)
    expected = np.rint(shown / most * 255).astype(int).tolist()
    for photometric, stored in ((1, shown), (0, most - shown)):
        assert (
            decode_image(tiff(stored, bits=bits, photometric=photometric, packed=packed), 1)[0].tolist()
            == expected
        )


def deep_folder(folder, values, suffix="png"):
    kind = {"png": "PNG", "tif": "TIFF"}[suffix]
    names = [
        f"{split}/{c}/{i}.{suffix}"
        for split, n in (("train", 6), ("test", 2))
        for c in "ab"
        for i in range(n)
    ]
    return write(folder, {name: encoded(values[i], format=kind) for i, name in enumerate(names)})


@pytest.mark.parametrize(("low", "high"), [(0, 255), (100, 4000), (0, 65535), (32768, 36000)])
def test_sixteen_bit_files_are_scaled_by_the_range_of_their_dataset(tmp_path, low, high):
    values = noise(16, 8, 8, high=high - low + 1, dtype=np.uint16) + np.uint16(low)
    values[0, 0, :2] = low, high
    values[1] = (low + high) // 2  # an image of its own range keeps its place in that of the dataset
    data = load_dataset(deep_folder(tmp_path / "deep", values))
    assert data.value_range == (low, high)
    exact = (values.astype(float) - low) / (high - low) * 255
    assert np.abs(data.train.images[:, 0] - exact[:12]).max() <= 0.5 + 1e-9
    assert audit(data).value_range == (low, high)
    assert f"values {low:,} to {high:,} become black to white in all" in " ".join(audit(data).recommendations)


def test_test_images_have_no_part_in_the_range(tmp_path):
    values = noise(16, 8, 8, high=4096, dtype=np.uint16)
    values[0, 0, :2], values[12:] = (0, 4095), 60000
    data = load_dataset(deep_folder(tmp_path / "deep", values, "tif"))
    assert data.value_range == (0, 4095)
    assert (data.test.images == 255).all()


def test_native_twelve_bit_tiff(tmp_path):
    """Two values of 12 bits in three bytes: 0x123, 0xfff, 0x000, 0x800."""
    header = tiff(np.zeros((1, 4), np.uint16), bits=12, photometric=1)
    content = header[:8] + bytes.fromhex("123fff000800") + header[14:]
    write(tmp_path, {f"{c}/{i}.tif": content for c in "ab" for i in range(2)})
    data = load_dataset(tmp_path)
    assert data.value_range == (0, 4095)
    assert data.train.images[0, 0, 0].tolist() == [round(v / 4095 * 255) for v in (0x123, 0xFFF, 0, 0x800)]


def test_eight_bit_files_have_no_range_and_keep_their_identity(tmp_path):
    data = load_dataset(
        write(
            tmp_path,
            {f"{c}/{i}.png": encoded(noise(4, 4, seed=i), format="PNG") for c in "ab" for i in range(2)},
        )
    )
    assert data.value_range is None
    assert data.notes == ()


def color_png(values):
    """A PNG of 16-bit color, which Pillow cannot write."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width, _ = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    head = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def test_sixteen_bit_color_of_few_bits_is_refused_rather_than_black(tmp_path):
    full, dark = (noise(6, 6, 3, high=high, dtype=np.uint16) for high in (65536, 4096))
    write(tmp_path / "full", {f"{c}/{i}.png": color_png(full) for c in "ab" for i in range(2)})
    pixels = load_dataset(tmp_path / "full").train.images[0]
    assert np.abs(pixels.transpose(1, 2, 0) - full / 257).max() <= 1
    write(tmp_path / "dark", {f"{c}/{i}.png": color_png(dark) for c in "ab" for i in range(2)})
    with pytest.raises(DataError, match=r"16-bit color files .* would be nearly black"):
        load_dataset(tmp_path / "dark")


@pytest.fixture(scope="module")
def deep_run(tmp_path_factory):
    root = tmp_path_factory.mktemp("deep")
    values = noise(16, 8, 8, high=4096, dtype=np.uint16)
    values[0, 0, :2] = 0, 4095
    data = deep_folder(root / "data", values)
    options = ["--epochs", "1", "--batch-size", "8", "--threads", "1", "--method", "bl"]
    assert run(["train", str(data), *options, "--out", str(root / "run")]) == 0
    return data, RunFolder.open(root / "run")


def test_a_run_reads_one_image_by_its_own_range(deep_run, tmp_path):
    _, folder = deep_run
    assert folder.record.dataset.raw["value_range"] == [0, 4095]
    dim = noise(8, 8, high=300, dtype=np.uint16)  # by its own range it would be bright
    (tmp_path / "dim.png").write_bytes(encoded(dim, format="PNG"))
    model = TrainedModel.open(folder, device="cpu")
    with pytest.warns(UserWarning, match="values 0 to 4,095 become black to white"):
        files, _, _ = read_images(
            tmp_path / "dim.png", channels=1, image_size=(8, 8), value_range=model.value_range
        )
    assert files[0][0].tolist() == np.rint(dim / 4095 * 255).astype(int).tolist()
    assert (
        run(["predict", str(folder.path), str(tmp_path / "dim.png"), "--out", str(tmp_path / "p.csv")]) == 0
    )
    import torch

    with torch.no_grad():
        shown = torch.tensor(np.rint(dim / 4095 * 255) / 255, dtype=torch.float32)[None, None]
        expected = model.network(shown).softmax(1)[0].tolist()
    row = (tmp_path / "p.csv").read_text().splitlines()[1].split(",")
    assert [float(v) for v in row[2 : 2 + len(expected)]] == pytest.approx(expected, abs=1e-5)


def test_evaluation_reads_other_images_by_the_range_of_the_run(deep_run, tmp_path):
    data, folder = deep_run
    own = load_for_run(folder, str(data))
    assert own.fingerprint == folder.record.dataset.fingerprint
    bright = deep_folder(tmp_path / "other", noise(16, 8, 8, high=60000, dtype=np.uint16))
    assert load_for_run(folder, str(bright)).value_range == (0, 4095)


def photograph(seed=0):
    """A picture with large and small shapes, as entropy coding expects."""
    wide = Image.fromarray(noise(12, 16, 3, seed=seed)).resize((256, 192), Image.Resampling.BICUBIC)
    return np.asarray(wide)


def scan_of(content):
    start = content.index(b"\xff\xda")
    return start + 2 + int.from_bytes(content[start + 2 : start + 4], "big"), content.rindex(b"\xff\xd9")


def holes(content, generator):
    start, end = scan_of(content)
    at = generator.randrange(start, (start + end) // 2)
    yield content[:at] + bytes(512) + content[at + 512 :]
    yield content[:at] + b"\xff\xd9" + content[at + 2 :]
    yield content[:at] + b"\xff\xd3" + content[at + 2 :]


@pytest.mark.parametrize("options", [{}, {"optimize": True}, {"quality": 95, "subsampling": 0}])
def test_jpeg_with_a_hole_or_a_false_end_is_refused(options, tmp_path):
    generator = random.Random(0)
    for seed in range(10):
        content = encoded(photograph(seed), format="JPEG", **options)
        for damaged in holes(content, generator):
            with pytest.raises(UnreadableImageError, match=r"damaged|truncated"):
                decode_image(damaged, 3, (32, 32))
    (tmp_path / "a.jpg").write_bytes(damaged)
    with pytest.raises(UnreadableImageError):
        decode_image(tmp_path / "a.jpg", 3)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"optimize": True},
        {"progressive": True},
        {"restart_marker_blocks": 5},
        {"restart_marker_rows": 1, "optimize": True},
        {"quality": 3},
        {"quality": 100, "subsampling": 0},
    ],
)
def test_sound_jpegs_are_not_refused(options):
    """Black pictures have runs of equal bytes; cameras write behind the end."""
    border = np.pad(noise(99, 99, 3), ((99, 99), (99, 99), (0, 0)))
    pictures = [np.zeros((256, 256, 3), np.uint8), np.full((99, 99), 128, np.uint8), border, photograph()]
    for pixels in pictures:
        content = encoded(pixels, format="JPEG", **options)
        for after in (b"", bytes(500), b"SEFT trailer" * 30, content):
            decode_image(content + after, 3)


@pytest.mark.skipif(not INTEL.exists(), reason=f"{INTEL} is absent")
def test_no_good_photograph_is_called_damaged():
    with zipfile.ZipFile(INTEL) as archive:
        names = [name for name in archive.namelist() if name.endswith(".jpg")][::5][:2000]
        assert len(names) == 2000
        assert [name for name in names if is_damaged(archive.read(name), "JPEG")] == []


@pytest.mark.parametrize("level", [0, 6])
def test_png_with_a_wrong_checksum_is_refused(level):
    content = encoded(noise(64, 64, 3), format="PNG", compress_level=level)
    at = len(content) // 2
    with pytest.raises(UnreadableImageError):
        decode_image(content[:at] + bytes(64) + content[at + 64 :], 3)
    assert decode_image(content, 3).shape == (3, 64, 64)


def frames(kind):
    images = [Image.fromarray(np.full((8, 8), value, np.uint8)) for value in (10, 200)]
    buffer = io.BytesIO()
    images[0].save(buffer, kind, save_all=True, append_images=images[1:])
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["TIFF", "GIF", "PNG"])
def test_files_of_several_images_are_named_and_the_first_is_used(tmp_path, kind, capsys):
    suffix = kind.lower().replace("tiff", "tif")
    files = {f"{c}/{i}.{suffix}": encoded(noise(8, 8, seed=i), format=kind) for c in "ab" for i in range(3)}
    write(tmp_path / "data", files | {f"a/0.{suffix}": frames(kind)})
    data = load_dataset(tmp_path / "data")
    assert (data.train.images[0] == 10).all()
    expected = f"1 of 6 files, such as a/0.{suffix}, hold several images (pages or frames); only the first"
    assert expected in " ".join(audit(data).recommendations)
    assert run(["audit", str(tmp_path / "data")]) == 0
    shown = capsys.readouterr()
    assert "hold several images" in " ".join((shown.out + shown.err).split())
    with pytest.warns(UserWarning, match="hold several images"):
        read_images(tmp_path / "data" / "a" / f"0.{suffix}", channels=1, image_size=(8, 8))


def test_gray_files_among_color_ones_are_counted(tmp_path):
    gray = {f"a/{i}.png": encoded(noise(8, 8, seed=i), format="PNG") for i in range(3)}
    color = {f"b/{i}.png": encoded(noise(8, 8, 3, seed=i), format="PNG") for i in range(3)}
    data = load_dataset(write(tmp_path, gray | color))
    assert "3 of 6 files, such as a/0.png, are grayscale and fill all three channels" in data.notes[0]
    assert (data.train.images[0] == noise(8, 8, seed=0)).all()
    with pytest.warns(UserWarning, match=r"1 of 1 files, .* are in color.*ITU-R 601"):
        files, _, _ = read_images(tmp_path / "b" / "0.png", channels=1, image_size=(8, 8))
    luma = noise(8, 8, 3, seed=0) @ np.array([0.299, 0.587, 0.114])
    assert np.abs(files[0][0] - luma).max() <= 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_images(tmp_path / "b" / "0.png", channels=3, image_size=(8, 8))
