"""Exported models predict as `predict` does, from the files as they come (rf-detr#1203, ultralytics#5016)."""

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from counterpoise.balance.adjust import ClassThresholds
from counterpoise.datasets import decode_image
from counterpoise.exceptions import CounterpoiseError, InputError
from counterpoise.files import write_json
from counterpoise.inference import export as exporting
from counterpoise.inference import export_run, predict_images
from counterpoise.networks import EnsembleNetwork, create_network, packaged_weights, save_network
from counterpoise.runs import RunFolder

for name in exporting.NEEDED:
    pytest.importorskip(name, reason='the extra "onnx" is not installed')

CLASSES = ["heron", "kite", "owl"]
SIZES = [
    (1, 1),
    (1, 50),
    (50, 1),
    (3, 7),
    (12, 20),
    (24, 40),
    (48, 80),
    (33, 127),
    (300, 500),
    (500, 300),
    (700, 9),
]
TRUST = {"alpha": 0.1, "thresholds": [0.7, 0.9, 0.95], "classes_in_full": ["heron"]}
# Runs a script in a Python that finds neither this package nor torch.
BARE = """
import runpy, sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"counterpoise", "torch", "torchvision", "timm", "onnx", "onnxscript", "scipy"}:
            raise ModuleNotFoundError(f"No module named {name!r}")
sys.meta_path.insert(0, Absent())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def network_for(name="tinynet", *, channels=3, size=(24, 40), seed=0, **options):
    """A network in use: its head tells images apart, as a trained one does."""
    network = create_network(
        name, num_classes=3, in_channels=channels, image_size=size, seed=seed, mean=0.4, std=0.2, **options
    )
    with torch.no_grad():
        for parameter in network.classifier.parameters():
            parameter.mul_(30)
    return network.eval()


def write_run(path, network, **changes):
    """A finished run of a network that nobody trained."""
    path.mkdir(parents=True)
    save_network(network, path / "model.safetensors")
    dataset = {
        "name": "birds",
        "classes": CLASSES,
        "fingerprint": "0" * 64,
        "minority": [2],
        "channels": network.in_channels,
        "image_size": list(network.image_size),
        "fit": changes.pop("fit", "stretch"),
    }
    template = Path(__file__).parents[1] / "fixtures" / "format-1" / "run" / "run.json"
    record = json.loads(template.read_text())
    write_json(path / "run.json", record | {"dataset": dataset, "network": network.config} | changes)
    return RunFolder.open(path)


def thresholds():
    """An adjustment that changes decisions."""
    generator = np.random.default_rng(3)
    labels = generator.integers(0, 3, 60)
    logits = generator.normal(size=(60, 3)) + np.eye(3)[labels]
    return ClassThresholds(score="gmean").fit(logits, labels, np.array([50, 20, 5]))


def raw_images(folder):
    """Image files as they come from cameras, scanners and the web."""
    generator = np.random.default_rng(7)
    folder.mkdir()
    for number, (height, width) in enumerate(SIZES * 2):
        pixels = generator.integers(0, 256, (height // 4 + 1, width // 4 + 1, 4), dtype=np.uint8)
        image = Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)
        mode = ("RGB", "L", "RGBA", "LA", "P", "CMYK", "1", "RGB")[number % 8]
        exif = Image.Exif()
        exif[0x0112] = number % 7 + 2
        kind = "tif" if mode == "CMYK" else "jpg" if mode == "RGB" and number % 3 else "png"
        image = image if mode == "RGBA" else image.convert(mode)
        image.save(folder / f"{number:02d} {mode}.{kind}", exif=exif)
    values = generator.integers(0, 65536, (30, 41), dtype=np.uint16)
    Image.fromarray(values).save(folder / "99 deep.png")
    return folder


@pytest.fixture(scope="module")
def color(tmp_path_factory):
    """A color run with thresholds and conformal ones, its export, and image files."""
    root = tmp_path_factory.mktemp("export")
    start = {
        "weights": None,
        "weights_hash": None,
        "freeze": None,
        "origin": "ImageNet",
        "license": "Apache-2.0",
    }
    state = thresholds().get_state()
    run = write_run(root / "run", network_for(), adjust=state, start=start, trust=TRUST)
    return run, export_run(run, root / "out" / "birds.onnx"), raw_images(root / "photos")


@pytest.mark.parametrize("fit", ["stretch", "pad", "crop"])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_graph_resizes_raw_images_bit_for_bit_as_training_did(fit, channels):
    import onnxruntime

    from counterpoise.inference.onnx_pixels import pixel_graph

    generator = np.random.default_rng(channels)
    for size in [(24, 40)]:
        graph = pixel_graph(fit, channels, size, ir_version=10).SerializeToString()
        session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
        for height, width in [*SIZES, size, *generator.integers(1, 200, (10, 2)).tolist()]:
            images = generator.integers(0, 256, (2, height, width, 3), dtype=np.uint8)
            [found] = session.run(None, {"images": images})
            for image, pixels in zip(images, found, strict=True):
                file = io.BytesIO()
                Image.fromarray(image).save(file, "BMP")
                expected = decode_image(file.getvalue(), channels, size, fit=fit)
                np.testing.assert_array_equal(np.rint(pixels * 255), expected, f"{height}x{width}")


def test_the_script_predicts_as_predict_without_torch_and_this_package(color, tmp_path):
    run, exported, photos = color
    expected = predict_images(run, [photos], tmp_path / "ours.csv", device="cpu")
    files = sorted(photos.iterdir())
    model, _, script = exported.files
    command = [sys.executable, "-c", BARE, str(script), str(model), *map(str, files)]
    result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    header, *rows = csv.reader(io.StringIO(result.stdout))
    assert header == ["path", "predicted", *CLASSES]
    assert [row[0] for row in rows] == [str(file) for file in files]
    found = np.array([row[2:] for row in rows], dtype=float)
    np.testing.assert_allclose(found, expected.probabilities, atol=1e-5)
    assert [row[1] for row in rows] == list(expected.predicted)
    # The images are told apart, so that agreement means something.
    assert expected.probabilities.std(axis=0).max() > 0.05


def test_several_images_of_one_size_share_a_call(color):
    import onnxruntime

    model = color[1].files[0]
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    images = np.random.default_rng(0).integers(0, 256, (5, 37, 61, 3), dtype=np.uint8)
    logits, probabilities = session.run(["logits", "probabilities"], {"images": images})
    one = np.concatenate([session.run(["probabilities"], {"images": image[None]})[0] for image in images])
    np.testing.assert_allclose(probabilities, one, atol=1e-6)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(probabilities, shares, atol=1e-6)


def test_the_metadata_are_in_the_file_and_beside_it(color):
    import onnxruntime

    run, exported, _ = color
    model, facts, _ = exported.files
    beside = json.loads(facts.read_text())
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    inside = session.get_modelmeta().custom_metadata_map
    read = {
        name: value if isinstance(beside[name], str) else json.loads(value) for name, value in inside.items()
    }
    assert read == beside
    assert beside["classes"] == CLASSES
    assert (beside["image_size"], beside["channels"], beside["fit"]) == ([24, 40], 3, "stretch")
    assert beside["start"]["license"] == "Apache-2.0"
    assert (beside["adjustment"], beside["adjustment_state"]) == ("ClassThresholds", thresholds().get_state())
    assert beside["trust"] == TRUST
    assert beside["versions"] == run.record.raw["versions"]


@pytest.mark.slow
def test_the_file_is_not_larger_for_the_resizing_inside(tmp_path):
    run = write_run(tmp_path / "run", network_for("lenet", channels=1, size=(28, 28)))
    exported = export_run(run, tmp_path / "model.onnx")
    alone = exporting._exported(exporting.TrainedModel.open(run, device="cpu"))
    assert exported.files[0].stat().st_size <= alone.ByteSize()
    assert exported.difference <= 1e-5


def test_an_export_that_does_not_predict_alike_leaves_nothing_behind(color, tmp_path, monkeypatch):
    from counterpoise.inference import onnx_pixels

    graph = onnx_pixels.pixel_graph
    monkeypatch.setattr(onnx_pixels, "pixel_graph", lambda fit, *rest, **more: graph("crop", *rest, **more))
    with pytest.raises(
        CounterpoiseError, match=r"differ from those of `predict` by 0\.\d+; nothing was written"
    ):
        export_run(color[0], tmp_path / "out" / "model.onnx")
    assert list((tmp_path / "out").iterdir()) == []


def test_files_that_are_not_of_an_export_are_not_replaced(color, tmp_path):
    own = tmp_path / "predict.py"
    own.write_text("print('mine')")
    with pytest.raises(InputError, match=r"predict\.py exists and is not from an export"):
        export_run(color[0], tmp_path / "model.onnx")
    assert own.read_text() == "print('mine')"
    with pytest.raises(InputError, match=r"name it model\.onnx"):
        export_run(color[0], tmp_path / "model.json")


HEADS = ["linear", "one-vs-rest", "cosine", "experts", "unit-length", "prototype", "cluster-wise k-NN"]


def prototypes(network, neighbors=1):
    """Give a network the head of a nearest-mean method, or of LMLE."""
    means = torch.randn(3 * neighbors, network.embedding_dim, generator=torch.Generator().manual_seed(1))
    network.set_prototypes(means, torch.arange(3 * neighbors) % 3, neighbors=neighbors)
    return network


@pytest.mark.slow
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("fit", ["pad", "crop"])
def test_every_head_is_exported(head, fit, tmp_path):
    neighbors = {"prototype": 1, "cluster-wise k-NN": 4}.get(head)
    network = prototypes(network_for(), neighbors) if neighbors else network_for(head_layer=head)
    exported = export_run(write_run(tmp_path / "run", network, fit=fit), tmp_path / "model.onnx")
    assert exported.difference <= 1e-5
    assert exported.checked >= 30


def multi_level():
    network = network_for("resnet18", size=(64, 64), features="multi", standardize=True)
    width = network.embedding_dim
    network.set_standardization(torch.linspace(-1, 1, width), torch.linspace(0.5, 2, width))
    return network


NETWORKS = {
    "lenet": lambda: network_for("lenet", channels=1, size=(28, 28)),
    "convnet": lambda: network_for("convnet", size=(32, 32)),
    "two-members": lambda: EnsembleNetwork([network_for(), network_for(seed=1)]).eval(),
    "multi-level": multi_level,
    "lite0": lambda: network_for(
        "tf_efficientnet_lite0", size=(96, 96), features="multi", weights=packaged_weights()
    ),
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*start untrained")
@pytest.mark.parametrize("name", NETWORKS)
def test_every_kind_of_network_is_exported(name, tmp_path):
    exported = export_run(write_run(tmp_path / "run", NETWORKS[name]()), tmp_path / "model.onnx")
    assert exported.difference <= 1e-5
