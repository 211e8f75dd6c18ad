"""Write a model as one ONNX file: decoded images of any size go in, logits and probabilities come out.

The input is RGB, uint8 (N, H, W, 3), upright, without transparency. Resizing, normalization, a U-Net before the network
and the adjustment of the logits are inside. Beside the file are its metadata (classes, license, thresholds) and
predict.py, which decodes image files and needs only onnxruntime, Pillow and NumPy. Nothing is written unless the file
gives the probabilities of `predict`, to 1e-5, for images of many sizes, color modes and orientations. Needs the extra:
pip install "counterpoise[onnx]".
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

    check_export(config.file, overwrite=config.overwrite)
    exported = export_run(RunFolder.open(config.run), config.file, overwrite=config.overwrite)
    model, facts, script = exported.files
    if call.as_json:
        files = {"out": str(model), "metadata": str(facts), "script": str(script)}
        shapes = {"input_shape": exported.input_shape, "outputs": ONNX_OUTPUTS, "classes": exported.classes}
        checked = {"checked": exported.checked, "difference": exported.difference}
        print_json(files | shapes | {"adjustment": exported.adjustment} | checked)
        return
    shape = f"({', '.join(map(str, exported.input_shape))})"
    say(f"model: {model}, RGB images {shape} of 0 to 255, of any size; {len(exported.classes):,} classes")
    say(
        f"beside it: {facts.name} (classes, license, settings), {script.name} ({script.name} {model.name} IMAGE...)"
    )
    if exported.adjustment is not None:
        say(f"adjustment of the logits: {exported.adjustment}, inside")
    say(
        f"checked with onnxruntime on {exported.checked} images of many sizes and color modes: probabilities differ "
        f"from those of predict by at most {exported.difference:.1g}"
    )
