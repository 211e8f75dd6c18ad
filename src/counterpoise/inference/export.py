"""Export of a finished run to one ONNX file: images in, adjusted logits and probabilities out."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from counterpoise._version import __version__
from counterpoise.balance.adjust import Adjustment
from counterpoise.exceptions import CounterpoiseError, InputError
from counterpoise.files import atomic_path
from counterpoise.inference.model import TrainedModel
from counterpoise.networks import Network
from counterpoise.runs import RunFolder

NEEDED = ("onnx", "onnxscript", "onnxruntime")
INPUT, OUTPUTS = "images", ("logits", "probabilities")
TOLERANCE = 1e-4  # of the probabilities of the file

_OPSET = 18
_CHECKED_IMAGES = 3


@dataclass(frozen=True)
class Exported:
    """Result of `export_run`.

    `input_shape` is ``("batch", channels, height, width)``; `classes` are in the order of the outputs, and `adjustment`
    is the class name of the adjustment inside the file. `difference` is the largest one between the probabilities of
    the file and of the run, on random images.
    """

    path: Path
    input_shape: tuple[str | int, ...]
    classes: tuple[str, ...]
    adjustment: str | None
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


def export_run(folder: RunFolder, path: Path) -> Exported:
    """Write the model of a run to an ONNX file and compare its probabilities with those of the run.

    The input ``images`` is float32 (batch, C, H, W) in [0, 1], RGB or grayscale, of the run's image size; the graph
    normalizes it. The outputs are ``logits``, after the run's adjustment, and ``probabilities``, their softmax. The
    metadata hold ``classes`` as a JSON list, ``image_size``, ``fit``, ``method``, ``network`` and ``adjustment``. An
    existing file is replaced only by a complete and verified one.
    `CounterpoiseError` if torch cannot export the network, or the probabilities differ.
    """
    check_export(path)
    trained = TrainedModel.open(folder, device="cpu")
    model = ExportedModel(trained.network, trained.adjustment).eval()
    shape = (trained.channels, *trained.image_size)
    adjustment = None if trained.adjustment is None else type(trained.adjustment).__name__
    metadata = {
        "classes": json.dumps(trained.classes, ensure_ascii=False),
        "image_size": json.dumps(trained.image_size),
        "fit": trained.fit,
        "network": trained.network.name,
        "method": trained.run.record.method,
        "adjustment": adjustment or "",
        "counterpoise": __version__,
    }
    content = _with_metadata(_exported(model, shape), metadata)
    difference = _difference(content, model, shape)
    if not difference <= TOLERANCE:
        raise CounterpoiseError(
            f"the probabilities of the exported {trained.network.name} differ by {difference:.2g}; nothing was written"
        )
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
    return Exported(path, ("batch", *shape), trained.classes, adjustment, difference)


def check_export(path: Path) -> None:
    """Raise `InputError` if the extra ``onnx`` is not installed, or `path` is a folder."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise InputError(
            f"exporting needs {missing[0]}, which is not installed; install the extra: "
            'pip install "counterpoise[onnx]"'
        )
    if path.is_dir():
        raise InputError(f"{path} is a folder; give a file, e.g. {path / 'model.onnx'}")


def _exported(model: ExportedModel, shape: tuple[int, int, int]) -> Any:
    """Return the model as an ONNX ModelProto."""
    # Two images: the exporter treats a batch of one as a constant.
    images = torch.zeros(2, *shape)
    with torch.no_grad():
        model(images)  # raises its own error where the model cannot be computed
    try:
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                model,
                (images,),
                input_names=[INPUT],
                output_names=list(OUTPUTS),
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                opset_version=_OPSET,
                dynamo=True,
                verbose=False,
            )
    except Exception as error:
        # The exporter raises many kinds of errors, of many lines.
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CounterpoiseError(f"torch cannot export {model.network.name} to ONNX: {reason}") from error
    if program is None:
        raise InputError(f"torch {torch.__version__} is too old to export from; install torch 2.6 or newer")
    return program.model_proto


def _with_metadata(proto: Any, metadata: dict[str, str]) -> bytes:
    import onnx

    onnx.helper.set_model_props(proto, metadata)
    proto.producer_name, proto.producer_version = "counterpoise", __version__
    onnx.checker.check_model(proto)
    return proto.SerializeToString()


def _difference(content: bytes, model: ExportedModel, shape: tuple[int, int, int]) -> float:
    """Return the largest difference of probabilities on random images; their number is not that of the export."""
    from onnxruntime import InferenceSession

    images = np.random.default_rng(0).random((_CHECKED_IMAGES, *shape), dtype=np.float32)
    session = InferenceSession(content, providers=["CPUExecutionProvider"])
    _, found = session.run(list(OUTPUTS), {INPUT: images})
    with torch.inference_mode():
        _, expected = model(torch.from_numpy(images))
    return float(np.abs(found - expected.numpy()).max())


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
