"""``counterpoise export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from counterpoise.cli import options as o
from counterpoise.cli.printing import print_json, say

PANEL = "Use a model"


def command(
    run: o.Run,
    file: Annotated[Path, typer.Argument(metavar="FILE.onnx", help="The file to write.")],
    as_json: o.AsJson = False,
) -> None:
    """Write a model as one ONNX file: images in [0, 1] go in, logits and probabilities come out.

    Normalisation, a U-Net before the network and what the run does to its logits are inside; any number of images
    goes through at once. Needs the extra: pip install "counterpoise[onnx]".
    """
    from counterpoise.inference import ONNX_OUTPUTS, check_export, export_run
    from counterpoise.runs.folder import RunFolder

    check_export(file)
    exported = export_run(RunFolder.open(run), file)
    shape = f"({', '.join(map(str, exported.input_shape))})"
    if as_json:
        print_json(
            {
                "out": str(exported.path),
                "input_shape": list(exported.input_shape),
                "outputs": list(ONNX_OUTPUTS),
                "classes": list(exported.classes),
                "adjustment": exported.adjustment,
                "difference": exported.difference,
            }
        )
        return
    say(
        f"model: {exported.path}, images {shape} in [0, 1], {len(exported.classes):,} classes in its metadata"
    )
    if exported.adjustment is not None:
        say(f"adjustment of the logits: {exported.adjustment}, inside")
    say(f"checked with onnxruntime: probabilities differ from ours by at most {exported.difference:.1g}")
