"""Write a model as one ONNX file: images in [0, 1] go in, logits and probabilities come out.

Normalization, a U-Net before the network and the adjustment of the logits are inside; any number of images goes
through at once. Needs the extra: pip install "counterpoise[onnx]".
"""

from counterpoise.cli.options import Call, Command
from counterpoise.cli.printing import print_json, say
from counterpoise.config import ExportConfig

PANEL = "Use a model"
ORDER = 80


@Command
def command(config: ExportConfig, call: Call) -> None:
    from counterpoise.inference import ONNX_OUTPUTS, check_export, export_run
    from counterpoise.runs import RunFolder

    check_export(config.file)
    exported = export_run(RunFolder.open(config.run), config.file)
    if call.as_json:
        shapes = {"input_shape": exported.input_shape, "outputs": ONNX_OUTPUTS, "classes": exported.classes}
        checked = {"adjustment": exported.adjustment, "difference": exported.difference}
        print_json({"out": str(exported.path), **shapes, **checked})
        return
    shape = f"({', '.join(map(str, exported.input_shape))})"
    classes = f"{len(exported.classes):,} classes in its metadata"
    say(f"model: {exported.path}, images {shape} in [0, 1], {classes}")
    if exported.adjustment is not None:
        say(f"adjustment of the logits: {exported.adjustment}, inside")
    say(f"checked with onnxruntime: probabilities differ from ours by at most {exported.difference:.1g}")
