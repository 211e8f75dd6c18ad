"""The same picture twice, resized, recompressed, rotated or flipped: found, named, and kept together or dropped."""

import json
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from group_pictures import base_picture, save
from PIL import Image, ImageFilter, ImageOps

from counterpoise.cli.main import run
from counterpoise.config import CompareConfig, FitConfig
from counterpoise.datasets import (
    audit,
    dataset_from_arrays,
    duplicates,
    group_images,
    load_dataset,
    make_splits,
)
from counterpoise.datasets.duplicates import find_copies
from counterpoise.datasets.looks import Looks
from counterpoise.exceptions import DataError
from counterpoise.studies import make_fit_plan, make_grid
from counterpoise.training import Budget

INTEL = Path("/work/shared/data/intel.zip")
KINDS = {
    "smaller": lambda image: image.resize((40, 40)),
    "larger": lambda image: image.resize((130, 130), Image.Resampling.BICUBIC),
    "jpeg": lambda image: recompressed(image, 30),
    "turned": lambda image: recompressed(image.rotate(90), 60),
    "upside down": lambda image: image.rotate(180).resize((50, 50)),
    "mirrored": ImageOps.mirror,
    "flipped and smaller": lambda image: recompressed(ImageOps.flip(image).resize((48, 48)), 70),
}


def recompressed(image, quality):
    content = BytesIO()
    image.save(content, "JPEG", quality=quality)
    return Image.open(content)


def photograph(rng, size=64):
    """A scene with coarse and fine structure."""
    fine = Image.fromarray(rng.uniform(0, 255, (16, 16, 3)).astype(np.uint8)).resize((size, size))
    return Image.fromarray(
        (0.6 * base_picture(rng, size).clip(0, 255) + 0.4 * np.asarray(fine)).astype(np.uint8)
    )


@pytest.fixture
def scenes(tmp_path):
    """40 scenes of each class; one copy of each kind in the same class, and one picture under two labels."""
    rng = np.random.default_rng(0)
    root = tmp_path / "scenes"
    for label in ("cat", "dog"):
        (root / label).mkdir(parents=True)
    for label in ("cat", "dog"):
        for number in range(40):
            image = photograph(rng)
            image.save(root / label / f"{rng.bytes(4).hex()}.png")
            if label == "cat" and number < len(KINDS):
                name, change = list(KINDS.items())[number]
                change(image).convert("RGB").save(root / label / f"{name}.png")
            if label == "cat" and number == 20:
                recompressed(image, 50).save(root / "dog" / "other label.jpg", quality=50)
    return root


def test_every_kind_of_copy_is_found_and_nothing_else(scenes):
    found = audit(load_dataset(scenes))
    names = {Path(path).stem for group in found.near_duplicates for path in group.paths}
    assert names >= {*KINDS, "other label"}
    assert all(len(group.paths) == 2 for group in found.near_duplicates)
    assert len(found.near_duplicates) == len(KINDS) + 1
    assert [group.classes for group in found.conflicts] == [("cat", "dog")]
    assert any(
        "more than one label" in sentence and "other label" in sentence for sentence in found.recommendations
    )


def test_audit_names_them_in_text_and_json(scenes, capsys):
    assert run(["audit", str(scenes)]) == 0
    assert "near-duplicates: 8" in capsys.readouterr().out
    assert run(["audit", str(scenes), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["near_duplicates"]
    assert sum(group["conflicts"] for group in found) == 1


def test_group_keeps_copies_together_drop_leaves_one_and_keep_warns(scenes):
    plain = load_dataset(scenes)
    grouped = load_dataset(scenes, duplicates="group")
    shown = {path: Path(path).stem for path in grouped.train.paths}
    pairs = [np.flatnonzero(grouped.train.groups == g) for g in range(grouped.train.groups.max() + 1)]
    assert sum(len(rows) == 2 for rows in pairs) == len(KINDS) + 1
    for seed in range(5):
        manifest = make_splits(grouped, random_state=seed)
        parts = [set(grouped.train.groups[getattr(manifest, n)]) for n in ("train", "validation", "test")]
        assert not parts[0] & parts[1] | parts[0] & parts[2] | parts[1] & parts[2]
    dropped = load_dataset(scenes, duplicates="drop")
    # Of each pair one stays; of the picture under two labels none.
    assert len(dropped.train) == len(plain.train) - len(KINDS) - 2
    assert "other label" not in {Path(path).stem for path in dropped.train.paths}
    assert any("1 picture has more than one label" in note for note in grouped.grouping.notes)
    assert "other label" in shown.values()


def test_fit_groups_by_default_and_compare_says_what_crosses(scenes, tmp_path):
    fit = FitConfig.of(source=str(scenes), methods="ncm", threads=1, image_size=96)
    data, plan = make_fit_plan(load_dataset(scenes, in_memory=False), fit, Budget(600))
    assert data.grouping.duplicates == "group"
    assert any("8 pictures occur more than once" in note for note in plan.grouping.notes)
    assert any("more than one label" in note for note in plan.grouping.notes)
    for path in sorted((scenes / "cat").iterdir())[:30]:  # exact copies
        (path.parent / f"copy of {path.name}").write_bytes(path.read_bytes())
    data = load_dataset(scenes)
    grid = make_grid(data, CompareConfig.of(source=str(scenes), methods="bl", pretrained="none"))
    assert any("validation or test images are training images, too" in note for note in grid.notes)
    grouped = load_dataset(scenes, duplicates="group")
    grid = make_grid(grouped, CompareConfig.of(source=str(scenes), methods="bl", pretrained="none"))
    assert not any("training images, too" in note for note in grid.notes)


def test_a_copy_in_the_test_split_leaves_training(tmp_path):
    rng = np.random.default_rng(1)
    for label in ("a", "b"):
        for number in range(12):
            image = photograph(rng)
            save(np.asarray(image), tmp_path / "set" / "train" / label / f"{number}.png")
            if number < 3:
                save(np.asarray(image.rotate(90)), tmp_path / "set" / "test" / label / f"{number}.png")
    dropped = load_dataset(tmp_path / "set", duplicates="drop")
    assert (len(dropped.train), len(dropped.test)) == (18, 6)


def test_a_class_that_would_vanish_is_an_error():
    pixels = np.random.default_rng(0).integers(0, 256, (12, 16, 16), dtype=np.uint8)
    pixels[10:] = pixels[:2]
    with pytest.raises(DataError, match="has no training images"):
        group_images(dataset_from_arrays(pixels, np.repeat([0, 1], [10, 2])), duplicates="drop")


def test_pictures_that_only_differ_in_color_or_are_flat_are_no_duplicates():
    rng = np.random.default_rng(0)
    shape = np.asarray(photograph(rng).convert("L")).astype(float) / 255
    colors = [np.stack([shape * c for c in color]) for color in ((255, 90, 90), (90, 255, 90), (90, 90, 255))]
    flat = [np.full((3, 64, 64), value) + rng.normal(0, 1, (3, 64, 64)) for value in range(40, 80)]
    images = np.clip(np.array([*colors, *flat]), 0, 255).astype(np.uint8)
    assert audit(dataset_from_arrays(images, np.arange(len(images)) % 2)).near_duplicates == ()


@pytest.mark.parametrize("source", ["digits"])
def test_digits_are_not_duplicates(source):
    assert audit(load_dataset(source)).near_duplicates == ()


@pytest.mark.slow
@pytest.mark.skipif(not INTEL.exists(), reason="the Intel scenes are not here")
def test_unrelated_scenes_are_not_flagged():
    """The 22 groups in the training scenes of Intel are the same pictures, judged by eye, 7 of them byte by byte."""
    data = group_images(load_dataset(INTEL, in_memory=False), duplicates="group")
    assert 15 <= (np.bincount(data.train.groups) > 1).sum() <= 35


def cell(rng, size=96):
    """A photograph of a part: frame and bars are those of all, three spots and a scratch its own."""
    picture = np.full((size, size), 170.0) + rng.normal(0, 1, (size, size))
    picture[:, :4] = picture[:4] = 40
    picture[::24] = 90
    rows, columns = np.mgrid[:size, :size]
    for row, column in rng.uniform(8, size - 8, (3, 2)):
        picture -= 50 * np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / 18)
    column = rng.integers(8, size - 8)
    picture[10:60, column : column + 2] -= 25
    return picture


def exposure(rng, picture):
    """The same part, photographed again: darker or brighter, out of focus, with other noise."""
    image = Image.fromarray((picture * rng.uniform(0.95, 1.04)).clip(0, 255).astype(np.uint8))
    return np.asarray(image.filter(ImageFilter.GaussianBlur(1))) + rng.normal(0, 1, picture.shape)


def test_what_all_pictures_share_makes_no_copies():
    rng = np.random.default_rng(0)
    parts = [cell(rng) for _ in range(400)]
    again = [exposure(rng, parts[number]) for number in (*range(20), 0)]
    pixels = [np.clip(part, 0, 255).astype(np.uint8)[None] for part in [*parts, *again]]
    found = find_copies(np.arange(len(pixels)), Looks.of(pixels))
    groups = [np.flatnonzero(found.cluster == number).tolist() for number in np.unique(found.cluster)]
    expected = [[0, 400, 420], *([number, 400 + number] for number in range(1, 20))]
    assert ([group for group in groups if len(group) > 1], found.alike) == (expected, False)


@pytest.mark.parametrize("seed", range(20))
def test_copies_are_pairs_up_to_the_last_clear_step_of_both_images(seed, monkeypatch):
    monkeypatch.setattr(duplicates, "_NEIGHBORS", 4)
    rng = np.random.default_rng(seed)
    pairs = np.array([(a, b) for a in range(9) for b in range(a + 1, 9) if rng.random() < 0.4]).reshape(-1, 2)
    distance = rng.uniform(0, 2.5, len(pairs)) ** 2
    said = np.zeros(len(pairs), int)
    for image in range(9):
        mine = sorted((distance[row], row) for row, pair in enumerate(pairs) if image in pair)
        after = 0.0 if len(mine) >= 4 else np.inf
        values = [value for value, _ in mine] + [after]
        steps = [k for k, v in enumerate(values[:-1]) if v <= 1 and values[k + 1] >= 1.5 * max(v, 0.1)]
        for _, row in mine[: max(steps, default=-1) + 1]:
            said[row] += 1
    assert duplicates._copies(*pairs.T, distance).tolist() == (said == 2).tolist()
    assert duplicates._copies(*np.zeros((2, 0), int), np.zeros(0)).tolist() == []


@pytest.mark.parametrize(("pictures", "count"), [(20, 0), (400, 10)])
def test_patterns_are_the_first_principal_components_and_none_of_a_few_pictures(pictures, count):
    """`fit` measures the search on 20 pictures, whose time must not be that of a large decomposition."""
    values = np.random.default_rng(0).normal(size=(pictures, 32, 32)).astype(np.float32)
    values += np.linspace(0, 3, pictures, dtype=np.float32)[:, None, None] * np.sin(
        np.arange(32, dtype=np.float32)
    )
    shared = duplicates._Shared.of(values)
    assert shared.patterns.shape == (count, 1024)
    centered = values.reshape(pictures, -1) - values.reshape(pictures, -1).mean(axis=0)
    first = np.linalg.svd(centered, full_matrices=False)[2][:count]
    np.testing.assert_allclose(shared.patterns.T @ shared.patterns, first.T @ first, atol=2e-3)
