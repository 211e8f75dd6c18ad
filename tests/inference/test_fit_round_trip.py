"""A run fits images to its size in one way: where it trains, predicts, evaluates, explains and is exported."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from counterpoise.cli.main import run
from counterpoise.datasets import ImageSplit, load_dataset, read_images
from counterpoise.inference import TrainedModel, export, load_for_run, predict_images
from counterpoise.runs import RunFolder

FORMAT_1 = Path(__file__).parents[1] / "fixtures" / "format-1" / "run"
FITS = ("stretch", "pad", "crop")


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """Pictures of 8 x 20 pixels whose class shows at their edges."""
    folder = tmp_path_factory.mktemp("data") / "wide"
    generator = np.random.default_rng(0)
    for label, name in enumerate(("cat", "dog", "owl")):
        for part, count in (("train", 12), ("test", 3)):
            (folder / part / name).mkdir(parents=True)
            for number in range(count):
                pixels = generator.integers(0, 120, (8, 20)).astype(np.uint8)
                pixels[:, [slice(0, 4), slice(16, 20), slice(8, 12)][label]] += 110
                Image.fromarray(pixels).save(folder / part / name / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def runs(wide, tmp_path_factory):
    """A run for each way, by the command line."""
    out = tmp_path_factory.mktemp("runs")
    options = ("--epochs", "1", "--batch-size", "8", "--image-size", "8", "--threads", "1", "--method", "bl")
    for fit in FITS:
        given = () if fit == "stretch" else ("--fit", fit)
        assert run(["train", str(wide), *options, *given, "--out", str(out / fit)]) == 0
    return {fit: RunFolder.open(out / fit) for fit in FITS}


def expected(folder, images, fit):
    files, paths, _ = read_images(images, channels=1, image_size=(8, 8), fit=fit)
    split = ImageSplit(files, np.zeros(len(files), np.int64), paths)
    return TrainedModel.open(folder, device="cpu").probabilities(split)


@pytest.mark.parametrize("fit", FITS)
def test_the_way_is_recorded_and_used_again(runs, wide, tmp_path, fit):
    folder = runs[fit]
    assert folder.record.raw["dataset"]["fit"] == folder.record.dataset.fit == fit
    assert folder.record.raw["config"]["resolved"]["fit"] == fit
    found = predict_images(folder, [wide / "test"], tmp_path / "predictions.csv", device="cpu")
    np.testing.assert_array_equal(found.probabilities, expected(folder, wide / "test", fit))
    others = [expected(folder, wide / "test", other) for other in FITS if other != fit]
    assert not any(np.array_equal(found.probabilities, other) for other in others)
    stored = folder.need_predictions()
    own = dict(zip(stored.paths, stored.probabilities, strict=True))
    for path, row in zip(found.paths, found.probabilities, strict=True):
        name = str(Path(path).relative_to(wide))
        np.testing.assert_allclose(row, own[name], atol=1e-5)
    again = load_for_run(folder, str(wide))
    assert again.fit == fit
    direct = load_dataset(wide, image_size=8, fit=fit)
    assert np.array_equal(again.test.images, direct.test.images)


def test_runs_of_different_ways_are_different_runs(runs):
    assert len({folder.record.config_hash for folder in runs.values()}) == 3


@pytest.mark.parametrize("fit", FITS)
def test_an_exported_model_says_how_images_fit(runs, tmp_path, fit):
    for name in export.NEEDED:
        pytest.importorskip(name, reason='the extra "onnx" is not installed')
    import onnx

    path = tmp_path / "model.onnx"
    export.export_run(runs[fit], path)
    metadata = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    assert (metadata["fit"], json.loads(metadata["image_size"])) == (fit, [8, 8])


def test_runs_from_before_there_was_a_choice_crop(wide, tmp_path):
    folder = RunFolder.open(FORMAT_1)
    assert "fit" not in folder.record.raw["dataset"]
    found = predict_images(folder, [wide / "test"], tmp_path / "predictions.csv", device="cpu")
    np.testing.assert_array_equal(found.probabilities, expected(folder, wide / "test", "crop"))
    assert not np.array_equal(found.probabilities, expected(folder, wide / "test", "stretch"))
    assert load_for_run(folder, str(wide)).fit == "crop"


def test_a_way_that_is_not_one_is_damage(tmp_path):
    broken = shutil.copytree(FORMAT_1, tmp_path / "run")
    record = json.loads((broken / "run.json").read_text())
    record["dataset"]["fit"] = "squeeze"
    (broken / "run.json").write_text(json.dumps(record))
    assert run(["predict", str(broken), str(tmp_path)]) == 2
