"""``counterpoise export``: what onnxruntime computes from the file is what we compute from the run."""

import errno
import json
from pathlib import Path

import numpy as np
import pytest

from counterpoise.cli.main import run
from counterpoise.datasets import load_dataset
from counterpoise.inference import TrainedModel, load_adjustment
from counterpoise.inference import export as exporting
from counterpoise.runs import RunFolder

QUICK = ("--epochs", "2", "--batch-size", "16", "--threads", "1")


@pytest.fixture
def onnxruntime():
    """The extra `onnx`; without it these tests are skipped."""
    for name in exporting.NEEDED:
        pytest.importorskip(name, reason='the extra "onnx" is not installed')
    import onnxruntime

    return onnxruntime


def outputs(onnxruntime, path, images):
    """Return what onnxruntime makes of the file for grayscale images (N, 1, H, W), and the metadata in it."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    [given] = session.get_inputs()
    assert (given.name, given.type, given.shape[3]) == ("images", "tensor(uint8)", 3)
    colors = np.repeat(images.transpose(0, 2, 3, 1), 3, axis=3)
    one = [session.run(None, {"images": colors[i : i + 1]}) for i in range(2)]
    both = session.run(None, {"images": colors})
    for number in range(2):  # any number of images goes through at once
        np.testing.assert_allclose(both[number][:2], np.concatenate([o[number] for o in one]), atol=1e-6)
    names = [output.name for output in session.get_outputs()]
    assert names == ["logits", "probabilities"]
    return dict(zip(names, both, strict=True)), session.get_modelmeta().custom_metadata_map


@pytest.mark.parametrize(
    "method",
    [
        "logit-adjusted:adjust=class-thresholds",
        "bl:head_layer=experts:loss=balpoe:adjust=temperature-scaling",
        pytest.param("sigmoid", marks=pytest.mark.slow),
    ],
)
def test_onnxruntime_gives_our_probabilities(cli, photos, tmp_path, onnxruntime, method):
    folder, path = tmp_path / "run", tmp_path / "model.onnx"
    assert run(["train", str(photos), "--method", method, "--out", str(folder), *QUICK]) == 0
    path.write_bytes(b"an older one")
    result = cli("export", folder, path, "--overwrite")
    assert (result.code, result.err) == (0, "")
    assert "checked with onnxruntime on 33 images of many sizes and color modes" in result.out
    test = load_dataset(str(photos)).test
    found, metadata = outputs(onnxruntime, path, np.asarray(test.images))
    ours = RunFolder.open(folder)
    expected = TrainedModel.open(ours, device="cpu").probabilities(test)
    np.testing.assert_allclose(found["probabilities"], expected, atol=1e-5)
    odds = np.log(expected) - np.log(expected).max(axis=1, keepdims=True)
    logits = found["logits"] - found["logits"].max(axis=1, keepdims=True)
    np.testing.assert_allclose(logits, odds, atol=1e-4)
    assert json.loads(metadata["classes"]) == ["cat", "dog", "owl"]
    assert metadata["adjustment"] == type(load_adjustment(ours)).__name__
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "model.json",
        "model.onnx",
        "predict.py",
        "run",
        "work",
    ]


@pytest.mark.slow
def test_a_unet_before_the_network_is_inside(cli, photos, tmp_path, onnxruntime):
    options = ("--width", "4", "--copy-epochs", "1", "--enhance-epochs", "1", "--figures", "0")
    assert cli("enhance", photos, *options, *QUICK, "--jobs", "1", "--out", tmp_path / "out").code == 0
    [folder] = (tmp_path / "out/runs").glob("draw000-enhanced-*")
    result = cli("export", folder, tmp_path / "model.onnx", "--json")
    assert json.loads(result.out)["input_shape"] == ["batch", "height", "width", 3]
    test = load_dataset(str(photos)).test
    found, metadata = outputs(onnxruntime, tmp_path / "model.onnx", np.asarray(test.images))
    expected = TrainedModel.open(RunFolder.open(folder), device="cpu").probabilities(test)
    np.testing.assert_allclose(found["probabilities"], expected, atol=1e-5)
    assert (metadata["network"], metadata["adjustment"]) == ("enhanced", "")


def test_a_missing_extra_is_one_line(refuses, trained, monkeypatch):
    monkeypatch.setattr(exporting, "find_spec", lambda name: None if name == "onnxscript" else object())
    assert refuses("export", trained, "model.onnx") == (
        "exporting needs onnxscript, which is not installed; install the extra: "
        'pip install "counterpoise[onnx]"'
    )


def test_a_folder_and_a_missing_run_are_refused(refuses, trained, photos, onnxruntime):
    assert "is a folder; give a file" in refuses("export", trained, photos)
    assert "holds no run.json" in refuses("export", photos, "model.onnx")


def test_what_goes_wrong_leaves_the_file_as_it_was(refuses, trained, onnxruntime, monkeypatch):
    Path("model.onnx").write_text("from yesterday")

    def fail(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(exporting, "_exported", lambda *_: None)
    monkeypatch.setattr(exporting, "_with_pixels", lambda *_: None)
    monkeypatch.setattr(exporting, "_with_metadata", lambda *_: b"model")
    monkeypatch.setattr(exporting, "_difference", lambda *_: (33, float("nan")))
    assert "by nan; nothing was written" in refuses("export", trained, "model.onnx", "--overwrite", code=1)
    monkeypatch.setattr(exporting, "_difference", lambda *_: (33, 0.0))
    monkeypatch.setattr(Path, "write_bytes", fail)
    assert "No space left on device" in refuses("export", trained, "model.onnx", "--overwrite")
