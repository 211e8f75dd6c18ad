"""Predict the classes of new images into a CSV: path, predicted class, one probability column per class."""

import sys
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from counterpoise.cli.options import Call, Command
from counterpoise.cli.printing import print_json, say
from counterpoise.cli.running import counting, report_skipped
from counterpoise.config import PredictConfig
from counterpoise.exceptions import InputError

PANEL = "Use a model"
ORDER = 60
STDOUT = Path("-")


@Command
def command(config: PredictConfig, call: Call) -> None:
    printed = config.out == STDOUT
    if printed and call.as_json:
        raise InputError("`out` - and `json` both want stdout; leave one of them out")
    from counterpoise.inference import predict_images
    from counterpoise.runs import RunFolder

    run, images = RunFolder.open(config.run), list(config.images)
    with TemporaryDirectory() as folder:
        out = Path(folder) / "predictions.csv" if printed else config.out
        with counting("reading images", "img") as update:
            found = predict_images(
                run, images, out, device=config.device, strict=config.strict, progress=update
            )
        report_skipped(found.skipped)
        if printed:
            sys.stdout.write(out.read_bytes().decode("utf-8"))
            return
    counts = Counter(found.predicted)
    if call.as_json:
        skipped = [{"path": file.path, "reason": file.reason} for file in found.skipped]
        words = {"out": str(config.out), "images": len(found.paths), "predicted": dict(counts)}
        print_json({**words, "skipped": skipped})
        return
    each = ", ".join(f"{name} {count:,}" for name, count in counts.most_common())
    say(f"images: {len(found.paths):,} ({each})")
    say(f"predictions: {config.out}")
