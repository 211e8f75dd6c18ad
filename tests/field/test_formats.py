"""Image files of every usual format, files without an ending, and files that are no images: none vanishes uncounted."""

import io
import json
import os
import subprocess
import zipfile

import numpy as np
import pytest
from datasets_helpers import encoded, make_folder, picture, two_classes
from PIL import Image, features

from counterpoise.cli.main import run
from counterpoise.datasets import audit, decode_image, decoding, load_dataset, read_images
from counterpoise.exceptions import DataError

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64)
FORMATS = {
    ".jfif": "JPEG",
    ".jpe": "JPEG",
    ".jp2": "JPEG2000",
    ".j2k": "JPEG2000",
    ".avif": "AVIF",
    ".pbm": "PPM",
    ".pnm": "PPM",
    ".ico": "ICO",
    ".dib": "DIB",
    ".tga": "TGA",
}


def content_of(ending, image=None):
    image = image or Image.fromarray(np.kron(np.asarray(picture(1, (4, 4))), np.ones((8, 8, 1), np.uint8)))
    options = {"sizes": [image.size]} if ending == ".ico" else {"no_jp2": True} if ending == ".j2k" else {}
    if ending == ".avif" and not features.check("avif"):
        pytest.skip("Pillow has no AVIF here")
    return encoded(image.convert("1") if ending == ".pbm" else image, FORMATS[ending], **options), image


@pytest.mark.parametrize("ending", FORMATS)
def test_every_usual_format_is_read(tmp_path, ending):
    content, image = content_of(ending)
    for name in ("cat/a", "cat/b", "dog/a", "dog/b"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}{ending.upper() if name[-1] == 'b' else ending}").write_bytes(content)
    data = load_dataset(tmp_path)
    assert (len(data.train), data.skipped, data.notes) == (4, (), data.notes)
    expected = np.asarray(image.convert("1").convert("L") if ending == ".pbm" else image)
    read = data.train.images[0].transpose(1, 2, 0).astype(int)
    loss = 12 if FORMATS[ending] in ("JPEG", "AVIF") else 0
    assert np.abs(read - expected.reshape(*expected.shape[:2], -1)).mean() <= loss
    assert audit(load_dataset(tmp_path, in_memory=False)).unreadable == ()
    images, _, skipped = read_images(tmp_path / f"cat/a{ending}", channels=3, image_size=(32, 32))
    assert (len(images), skipped) == (1, ())


@pytest.mark.parametrize("ending", [".jp2", ".avif", ".dib", ".tga"])
def test_files_of_these_formats_that_are_cut_short_are_skipped(tmp_path, ending):
    content, _ = content_of(ending)
    make_folder(tmp_path, *two_classes(2))
    (tmp_path / f"cat/cut{ending}").write_bytes(content[: len(content) // 2])
    assert [file.path for file in load_dataset(tmp_path).skipped] == [f"cat/cut{ending}"]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "JPEG2000"])
@pytest.mark.parametrize("name", ["IMG_4711", "1.2.840.113619", "No. 7"])
def test_files_without_an_ending_are_known_by_their_first_bytes(tmp_path, kind, name):
    make_folder(tmp_path / "set", *two_classes(1))
    (tmp_path / "set" / "dog" / name).write_bytes(encoded(picture(3), kind))
    (tmp_path / "set" / "dog" / "README").write_text("BMW and Python: P5 is no picture")
    data = load_dataset(tmp_path / "set")
    assert f"dog/{name}" in data.train.paths
    assert data.notes == (
        "Files in class folders that are no images are left out: 1 without ending, such as dog/README.",
        *data.notes[1:],
    )
    assert len(read_images(tmp_path / "set", channels=3, image_size=(12, 12))[0]) == 3
    assert len(read_images(tmp_path / "set/dog" / name, channels=3, image_size=(12, 12))[0]) == 1
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for path in (tmp_path / "set").rglob("*"):
            archive.write(path, path.relative_to(tmp_path / "set"))
    assert load_dataset(tmp_path / "set.zip").train.paths == data.train.paths


def test_everything_else_in_class_folders_is_counted_by_ending(tmp_path, capsys):
    make_folder(tmp_path, *two_classes(4), ".cache/a.png", "cat/._0.png")
    for name in (
        "cat/a.txt",
        "cat/b.TXT",
        "dog/deep/c.txt",
        "dog/d.mp4",
        "cat/Thumbs.db",
        "dog/.DS_Store",
        "top.md",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"no image")
    note = "Files in class folders that are no images are left out: 3 .txt, 1 .mp4, such as cat/a.txt."
    data = load_dataset(tmp_path)
    assert data.notes == (note,)
    assert note in audit(data).recommendations
    assert run(["audit", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["notes"] == [note]
    assert run(["audit", str(tmp_path)]) == 0
    assert "3 .txt, 1 .mp4" in " ".join(capsys.readouterr().out.split())


def test_counts_below_split_folders(tmp_path):
    make_folder(tmp_path, *(f"{split}/{name}" for split in ("train", "test") for name in two_classes(3)))
    (tmp_path / "test/dog/labels.xml").write_text("")
    (tmp_path / "train/readme.txt").write_text("")
    [note] = load_dataset(tmp_path).notes
    assert note.endswith("left out: 1 .xml, such as test/dog/labels.xml.")


def test_a_class_folder_without_images_says_what_it_holds(tmp_path):
    make_folder(tmp_path, *two_classes(2))
    (tmp_path / "owl").mkdir()
    for number in range(3):
        (tmp_path / f"owl/{number}.mp4").write_bytes(b"film")
    with pytest.warns(
        UserWarning, match=r"class folder owl of .* holds no images \(3 \.mp4\); it is left out"
    ):
        load_dataset(tmp_path)
    with pytest.raises(DataError, match=r"holds no images \(3 \.mp4\); expected"):
        load_dataset(tmp_path / "owl")


@pytest.mark.parametrize("name", ["photo.heic", "photo.HEIF", "IMG_0815"])
def test_heic_without_its_reader_is_listed_with_the_line_to_install_it(tmp_path, name, monkeypatch):
    monkeypatch.setattr(decoding, "_formats", lambda: ("JPEG", "PNG"))
    make_folder(tmp_path, *two_classes(2))
    (tmp_path / "cat" / name).write_bytes(HEIC)
    reason = 'reading HEIC needs pillow-heif, which is not installed: pip install "counterpoise[heif]"'
    assert load_dataset(tmp_path).skipped == ((f"cat/{name}", reason),)


def test_heic(tmp_path):
    pytest.importorskip("pillow_heif").register_heif_opener()
    image = Image.fromarray(np.kron(np.asarray(picture(1, (4, 6))), np.ones((16, 16, 1), np.uint8)))
    turned = image.copy()
    turned.getexif()[0x0112] = 6
    make_folder(tmp_path, *two_classes(2))
    image.save(tmp_path / "cat/photo.heic", "HEIF", quality=95)
    turned.save(tmp_path / "dog/turned.heic", "HEIF", quality=95)
    data = load_dataset(tmp_path, image_size=(64, 96))
    assert data.skipped == ()
    read = data.train.images[data.train.paths.index("cat/photo.heic")].transpose(1, 2, 0).astype(int)
    assert np.abs(read - np.asarray(image)).mean() < 12
    assert decode_image(tmp_path / "dog/turned.heic", 3).shape == (3, 96, 64)


def test_exotic_decoders_stay_out_of_reach(tmp_path, monkeypatch):
    """A file of another format under any ending starts no program and reaches no decoder."""

    def refuse(*args, **kwargs):
        raise AssertionError("a program was started")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    make_folder(tmp_path, *two_classes(2))
    buffer = io.BytesIO()
    picture(0).save(buffer, "EPS")
    names = [f"cat/eps{ending}" for ending in (".tga", ".png", ".heic", ".ico", "")]
    for name in names:
        (tmp_path / name).write_bytes(buffer.getvalue())
    data = load_dataset(tmp_path)
    assert {file.path: file.reason for file in data.skipped} == dict.fromkeys(
        sorted(names[:-1]), "not an image in a known format"
    )
    assert set(decoding._formats()) <= set(decoding._FORMATS.split())


def test_a_folder_whose_name_is_no_utf8_is_the_reason(tmp_path):
    make_folder(tmp_path / "set", *two_classes(1))
    broken = tmp_path / os.fsdecode(b"caf\xe9")
    try:
        (tmp_path / "set").rename(broken)
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    with pytest.raises(DataError, match=r"caf\?/cat/0\.png: its name is not valid UTF-8"):
        read_images(broken, channels=3, image_size=(4, 4))
    with pytest.raises(DataError, match=r"caf\? .*not valid UTF-8; rename"):
        load_dataset(broken)


@pytest.mark.filterwarnings("error")
def test_a_class_folder_whose_name_is_no_utf8_is_the_reason(tmp_path):
    make_folder(tmp_path, *two_classes(1), "owl/1.png")
    try:
        (tmp_path / "owl").rename(tmp_path / os.fsdecode(b"\xe9t\xe9"))
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    assert load_dataset(tmp_path).skipped == (("?t?/1.png", "its name is not valid UTF-8; rename it"),)
