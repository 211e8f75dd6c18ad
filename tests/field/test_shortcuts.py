"""A property of the files that tells the class: size, color mode, format, compression, a border."""

import json
from pathlib import Path

import numpy as np
import pytest
from group_pictures import base_picture
from PIL import Image, ImageOps

from counterpoise.cli.main import run
from counterpoise.datasets import audit, load_dataset

INTEL, CIFAR = Path("/work/shared/data/intel.zip"), Path("/work/shared/data/cifar10.zip")
COUNTS = {"covid": 30, "normal": 40, "pneumonia": 50}


def write(root, save, counts=COUNTS):
    """Pictures with nothing but noise to tell their class; ``save(image, path, label, number, rng)`` writes one."""
    rng = np.random.default_rng(0)
    for label, count in counts.items():
        (root / label).mkdir(parents=True)
        for number in range(count):
            image = Image.fromarray(base_picture(rng, 60).clip(0, 255).astype(np.uint8))
            save(image, root / label / str(number), label, number, rng)
    return root


def sized(image, path, label, number, rng):
    image.resize((64, 64) if label == "covid" else (60, 60)).save(f"{path}.png")


def gray(image, path, label, number, rng):
    (image.convert("L") if label == "covid" else image).save(f"{path}.png")


def long(image, path, label, number, rng):
    side = int(rng.integers(60, 90))
    image.resize((int(side * 1.5), side) if label == "covid" else (side, side)).save(f"{path}.png")


def kind(image, path, label, number, rng):
    image.save(f"{path}.{'bmp' if label == 'covid' else 'png'}")


def strong(image, path, label, number, rng):
    image.save(f"{path}.jpg", quality=30 if label == "covid" else 90)


def deep(image, path, label, number, rng):
    wide = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    (wide if label == "covid" else image.convert("L")).save(f"{path}.png")


def framed(image, path, label, number, rng):
    (ImageOps.expand(image.resize((52, 52)), 4) if label == "covid" else image).save(f"{path}.png")


@pytest.mark.parametrize(
    ("save", "name"),
    [
        (sized, "size"),
        (gray, "color mode"),
        (long, "aspect"),
        (kind, "file format"),
        (strong, "JPEG compression"),
        (deep, "bit depth"),
        (framed, "border"),
    ],
)
def test_a_property_of_one_class_is_accused(save, name, tmp_path):
    found = audit(load_dataset(write(tmp_path / "set", save), in_memory=False))
    accused = {shortcut.trait: shortcut for shortcut in found.shortcuts if shortcut.label == "covid"}
    assert accused[name].accuracy > 0.9
    assert accused[name].share > 0.9
    assert {shortcut.label for shortcut in found.shortcuts} == {"covid"}
    assert any("tells covid from the other classes" in sentence for sentence in found.recommendations)


def mixed(image, path, label, number, rng):
    """Everything varies, and nothing with the class."""
    image = image.resize([(60, 60), (64, 64), (90, 60)][int(rng.integers(3))])
    image = image.convert("L") if rng.random() < 0.3 else image
    image = ImageOps.expand(image, 4) if rng.random() < 0.3 else image
    image.save(f"{path}.{'jpg' if rng.random() < 0.5 else 'png'}", quality=int(rng.choice([30, 90])))


def odd_one(image, path, label, number, rng):
    (image.convert("L").resize((99, 50)) if label == "covid" and number == 0 else image).save(f"{path}.png")


@pytest.mark.parametrize("save", [mixed, odd_one])
def test_mixed_properties_and_one_odd_picture_are_not_accused(save, tmp_path):
    assert audit(load_dataset(write(tmp_path / "set", save), in_memory=False)).shortcuts == ()


def test_a_handful_of_images_is_not_accused(tmp_path):
    """Five gray images of five may be chance."""
    data = load_dataset(write(tmp_path / "set", gray, {"covid": 5, "normal": 40}), in_memory=False)
    assert audit(data).shortcuts == ()


def test_text_and_json_show_it_with_the_sizes_of_each_class(tmp_path, capsys):
    root = write(tmp_path / "set", sized)
    assert run(["audit", str(root)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "sizes of the training images" in shown
    assert "covid 1 64x64 (30)" in shown
    assert "size alone tells covid from the other classes" in shown
    assert run(["audit", str(root), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["shortcuts"][0]["label"] == "covid"
    assert found["sizes"] == {"covid": {"64x64": 30}, "normal": {"60x60": 40}, "pneumonia": {"60x60": 50}}


def test_digits_are_not_accused():
    assert audit(load_dataset("digits")).shortcuts == ()


@pytest.mark.slow
@pytest.mark.parametrize("path", [INTEL, CIFAR], ids=["intel", "cifar10"])
def test_photographs_are_not_accused(path):
    if not path.exists():
        pytest.skip(f"{path} is not here")
    assert audit(load_dataset(path, in_memory=False)).shortcuts == ()
