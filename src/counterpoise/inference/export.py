"""Export of a finished run to one ONNX file: decoded images in, adjusted logits and probabilities out."""

from __future__ import annotations

import io
import json
import logging
import runpy
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import torch
from torch import Tensor, nn

from counterpoise._version import __version__
from counterpoise.balance.adjust import Adjustment
from counterpoise.exceptions import CounterpoiseError, InputError, is_out_of_memory
from counterpoise.files import atomic_path, check_output
from counterpoise.inference.model import TrainedModel, predict_images
from counterpoise.networks import Network
from counterpoise.runs import RunFolder

NEEDED = ("onnx", "onnxscript", "onnxruntime")
INPUT, OUTPUTS = "images", ("logits", "probabilities")
INPUT_SHAPE = ("batch", "height", "width", 3)
TOLERANCE = 1e-5
"""Largest difference of the probabilities of the file from those of `predict`."""
SCRIPT = Path(__file__).with_name("onnx_predict.py")

_OPSET = 18
_MODES = ("RGB", "L", "RGBA", "P", "CMYK", "1", "LA", "I;16", "RGB")
_SIZES = (
    (1, 1),
    (1, 60),
    (70, 2),
    (5, 9),
    (31, 8),
    (64, 64),
    (97, 41),
    (40, 130),
    (300, 60),
    (333, 250),
    (500, 300),
)


@dataclass(frozen=True)
class Exported:
    """Result of `export_run`.

    `files` are those written: the model, its metadata, and the script that predicts without this package. `classes` are
    in the order of the outputs, and `adjustment` is the class name of the adjustment inside the file. `difference` is
    the largest one between the probabilities of the file and those of `predict`, on the `checked` images.
    """

    files: tuple[Path, Path, Path]
    input_shape: tuple[str | int, ...]
    classes: tuple[str, ...]
    adjustment: str | None
    checked: int
    difference: float


class ExportedModel(nn.Module):
    """Exported graph: the network with its normalization, the adjustment, and a softmax."""

    def __init__(self, network: Network, adjustment: Adjustment | None = None) -> None:
        super().__init__()
        self.network = network
        self.adjustment = adjustment

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits and probabilities, float32 of shape (N, C), of images (N, C, H, W), floats in [0, 1]."""
        logits = self.network(images).double()
        if self.adjustment is not None:
            logits = self.adjustment.transform_tensor(logits)
        return logits.float(), logits.softmax(dim=1).float()


def export_run(folder: RunFolder, path: Path, *, overwrite: bool = False) -> Exported:
    """Write the model of a run to an ONNX file that takes decoded images of any size, and compare it with `predict`.

    The input ``images`` is RGB, uint8 of shape (batch, height, width, 3), upright and without transparency; a model of
    grayscale images takes the luma. The graph resizes as `predict` does, by the run's ``fit``, and normalizes. The
    outputs are ``logits``, after the run's adjustment, and ``probabilities``, their softmax. Beside the file are its
    metadata, as in the file itself (:func:`model_metadata`), and ``predict.py``, which decodes image files as
    `predict` does and needs only onnxruntime, Pillow and NumPy. With `overwrite`, an existing file is replaced by a
    complete and verified one.
    `CounterpoiseError` if torch cannot export the network, or a probability differs by more than 1e-5.
    """
    files = check_export(path, overwrite=overwrite)
    trained = TrainedModel.open(folder, device="cpu")
    metadata = model_metadata(trained)
    content = _with_metadata(_with_pixels(_exported(trained), trained), metadata)
    with ExitStack() as stack:
        model, facts, script = (stack.enter_context(atomic_path(file)) for file in files)
        model.write_bytes(content)
        facts.write_text(json.dumps(metadata, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        shutil.copyfile(SCRIPT, script)
        checked, difference = _difference(trained, model, script)
        if not difference <= TOLERANCE:
            raise CounterpoiseError(
                f"the probabilities of the exported {trained.network.name} differ from those of `predict` by "
                f"{difference:.2g}; nothing was written"
            )
    adjustment = str(metadata["adjustment"]) or None
    return Exported(files, INPUT_SHAPE, trained.classes, adjustment, checked, difference)


def model_metadata(trained: TrainedModel) -> dict[str, object]:
    """Return the metadata of an exported model, as JSON values.

    ``classes`` are in the order of the outputs; ``channels``, ``image_size`` and ``fit`` describe the images of the
    network, and ``value_range`` has the values of 16-bit files that become black and white; ``adjustment`` and
    ``adjustment_state`` are the decisions, and ``start`` the weights that training started from with their license;
    ``trust`` is as in ``run.json`` if it is there.
    """
    record, adjustment = trained.run.record.raw, trained.adjustment
    kept: dict[str, object] = {
        name: record[name] for name in ("start", "versions", "config_hash", "trust") if name in record
    }
    dataset = trained.run.record.dataset
    return {
        "input": "RGB, uint8 (N, H, W, 3), upright, without transparency, of any size",
        "classes": list(trained.classes),
        "channels": trained.channels,
        "image_size": list(trained.image_size),
        "fit": trained.fit,
        "value_range": list(trained.value_range or (0, 65535)),
        "resize": f"bilinear, antialiased, as by Pillow {PIL.__version__}",
        "network": trained.network.name,
        "method": trained.run.record.method,
        "dataset": dataset.name,
        "counts": dataset.raw.get("counts"),
        "adjustment": "" if adjustment is None else type(adjustment).__name__,
        "adjustment_state": None if adjustment is None else adjustment.get_state(),
        "counterpoise": __version__,
        **kept,
    }


def check_export(path: Path, *, overwrite: bool = False) -> tuple[Path, Path, Path]:
    """Return the files that `export_run` writes: the model `path`, its metadata, and ``predict.py``.

    `InputError` if the extra ``onnx`` is not installed, `path` is a folder, or a file beside it is another's.
    """
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise InputError(
            f"exporting needs {missing[0]}, which is not installed; install the extra: "
            'pip install "counterpoise[onnx]"'
        )
    if path.is_dir():
        raise InputError(f"{path} is a folder; give a file, e.g. {path / 'model.onnx'}")
    facts, script = path.with_suffix(".json"), path.with_name("predict.py")
    if path in (facts, script):
        raise InputError(f"{path} is the name of a file beside the model; name it {path.stem}.onnx")
    for file, own in ((facts, '"counterpoise": '), (script, SCRIPT.read_text().splitlines()[0])):
        if file.exists() and own not in file.read_text(encoding="utf-8", errors="replace"):
            raise InputError(f"{file} exists and is not from an export; give a file in another folder")
    check_output(path, overwrite=overwrite)
    return path, facts, script


def _exported(trained: TrainedModel) -> Any:
    """Return the model of pixels, floats in [0, 1] of the network's size, as an ONNX ModelProto."""
    model = ExportedModel(trained.network, trained.adjustment).eval()
    # Two images: the exporter treats a batch of one as a constant.
    images = torch.zeros(2, trained.channels, *trained.image_size)
    with torch.no_grad():
        model(images)  # raises its own error where the model cannot be computed
    try:
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                model,
                (images,),
                input_names=["pixels"],
                output_names=list(OUTPUTS),
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                opset_version=_OPSET,
                dynamo=True,
                verbose=False,
            )
    except Exception as error:
        if is_out_of_memory(error):
            raise
        # The exporter raises many kinds of errors, of many lines.
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CounterpoiseError(f"torch cannot export {model.network.name} to ONNX: {reason}") from error
    if program is None:
        raise InputError(f"torch {torch.__version__} is too old to export from; install torch 2.6 or newer")
    return program.model_proto


def _with_pixels(network: Any, trained: TrainedModel) -> Any:
    """Return a graph of decoded images, from the graph of a network, which is changed."""
    from counterpoise.inference.onnx_pixels import pixel_graph

    graph, size = network.graph, trained.image_size
    pixels = pixel_graph(trained.fit, trained.channels, size, ir_version=network.ir_version).graph
    for node in graph.node:
        # Traces of the exporter take more bytes than a small network.
        del node.metadata_props[:]
        node.doc_string = ""
    nodes = [*pixels.node, *graph.node]
    for values in (graph.node, graph.input, graph.value_info):
        del values[:]
    graph.node.extend(nodes)
    graph.input.extend(pixels.input)
    graph.initializer.extend(pixels.initializer)
    return network


def _with_metadata(proto: Any, metadata: dict[str, object]) -> bytes:
    import onnx

    texts = {k: v if isinstance(v, str) else json.dumps(v, ensure_ascii=False) for k, v in metadata.items()}
    onnx.helper.set_model_props(proto, texts)
    proto.producer_name, proto.producer_version = "counterpoise", __version__
    onnx.checker.check_model(proto)
    return proto.SerializeToString()


def _difference(trained: TrainedModel, model: Path, script: Path) -> tuple[int, float]:
    """Return the number of generated images, and the largest difference between `predict` and the script."""
    used = runpy.run_path(str(script))
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings(action="ignore"):
        for number, (suffix, content) in enumerate(_image_files()):
            (Path(name) / f"{number:03d}.{suffix}").write_bytes(content)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # these images are odd on purpose
            expected = predict_images(trained.run, [Path(name)], Path(name) / "predictions.csv", device="cpu")
        paths = sorted(p for p in Path(name).iterdir() if p.suffix != ".csv")
        try:
            found = used["predict"](*used["load"](model), paths)
        except MemoryError:
            raise
        except Exception as error:  # onnxruntime raises classes of its own
            reason = str(error).strip().splitlines()[0]
            text = f"onnxruntime cannot run the exported {trained.network.name}: {reason}"
            raise CounterpoiseError(text) from error
    return len(paths), float(np.abs(found - expected.probabilities).max())


def _image_files() -> Iterator[tuple[str, bytes]]:
    """Yield the type and content of image files of many sizes, color modes and orientations."""
    from PIL import Image

    generator = np.random.default_rng(0)
    for number, (height, width) in enumerate(_SIZES * 3):
        mode = _MODES[number % len(_MODES)]
        coarse = generator.integers(0, 256, (height // 9 + 1, width // 9 + 1, 4), dtype=np.uint8)
        image = Image.fromarray(coarse).resize((width, height))
        if mode == "I;16":
            image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
        else:
            image = image.convert(mode) if mode in ("RGBA", "LA") else image.convert("RGB").convert(mode)
        suffix = "tif" if mode == "CMYK" else "jpg" if number % 2 and mode in ("RGB", "L") else "png"
        exif, buffer = Image.Exif(), io.BytesIO()
        exif[0x0112] = number % 8 + 1
        image.save(buffer, {"tif": "TIFF", "jpg": "JPEG", "png": "PNG"}[suffix], exif=exif)
        yield suffix, buffer.getvalue()


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the exporter's warnings about its own internals."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
