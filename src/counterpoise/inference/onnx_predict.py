"""Predict the classes of image files with an exported model: python predict.py MODEL.onnx IMAGE...

Needs onnxruntime, Pillow and NumPy. Resizing and normalization are inside the model; this script decodes the files as
the model's images were decoded. The model's input is RGB, uint8 (N, H, W, 3), in any size.
"""

import csv
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM", "JPEG2000", "ICO", "DIB", "TGA")


def load(model: str | Path) -> tuple[Any, dict[str, Any]]:
    """Return the model, an onnxruntime session, and what its images are like."""
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    properties = session.get_modelmeta().custom_metadata_map
    names = ("classes", "channels", "image_size", "value_range")
    return session, {name: json.loads(properties[name]) for name in names}


def decode(file: str | Path, info: dict[str, Any]) -> np.ndarray:
    """Return an image file as uint8 (H, W, 3): upright, in 8 bits, transparent parts white."""
    image: Any
    # From a stream: files opened by name are mapped, and Pillow 13 scrambles rotated TIFF files then.
    with Path(file).open("rb") as stream, Image.open(stream, formats=FORMATS) as image:
        if image.format == "JPEG":  # large ones are decoded at 1/2, 1/4 or 1/8 of their size
            image.draft(image.mode, (2 * max(info["image_size"]),) * 2)
        ImageOps.exif_transpose(image, in_place=True)
        if image.mode.startswith("I"):  # 16 bits
            values, (low, high) = np.asarray(image).astype(np.int64), info["value_range"]
            if image.format == "TIFF" and image.tag_v2[262] == 0:  # 0 is white
                values = 65535 - values
            values = np.where(values == image.info.get("transparency"), 65535, values).clip(low, high) - low
            span = max(1, high - low)
            image = Image.fromarray(((510 * values + span) // (2 * span)).astype(np.uint8))
        if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
            layer = image.convert("RGBA")
            white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
            image = Image.alpha_composite(white, layer).convert("RGB")
        return np.asarray(image.convert("L" if info["channels"] == 1 else "RGB").convert("RGB"))


def predict(session: Any, info: dict[str, Any], files: Sequence[str | Path]) -> np.ndarray:
    """Return the class probabilities (N, C) of image files; images of one size could share a call."""
    rows = [session.run(["probabilities"], {"images": decode(file, info)[None]})[0] for file in files]
    return np.concatenate(rows)


if __name__ == "__main__":
    session, info = load(sys.argv[1])
    table = csv.writer(sys.stdout)
    table.writerow(["path", "predicted", *info["classes"]])
    for file in sys.argv[2:]:
        [row] = predict(session, info, [file])
        table.writerow([file, info["classes"][row.argmax()], *(f"{value:.6g}" for value in row)])
