"""``counterpoise predict``."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from counterpoise.cli import options as o
from counterpoise.cli.printing import print_json, say
from counterpoise.exceptions import InputError

if TYPE_CHECKING:
    from counterpoise.inference import Prediction

PANEL = "Use a model"
STDOUT = Path("-")


def command(
    run: o.Run,
    images: Annotated[list[Path], typer.Argument(metavar="IMAGES...", help="Image files, folders or zips.")],
    out: Annotated[
        Path, typer.Option(metavar="FILE", help="The CSV file; - prints it on stdout, and nothing else.")
    ] = Path("predictions.csv"),
    strict: o.Strict = False,
    device: o.Device = "auto",
    as_json: o.AsJson = False,
) -> None:
    """Predict the classes of new images into a CSV: path, predicted class, one probability column per class."""
    from counterpoise.cli.running import report_skipped

    if out == STDOUT:
        if as_json:
            raise InputError("--out - and --json both want stdout; leave one of them out")
        with TemporaryDirectory() as folder:
            target = Path(folder) / "predictions.csv"
            found = _predict(run, images, target, device, strict)
            report_skipped(found.skipped)
            typer.echo(target.read_bytes(), nl=False)
        return
    found = _predict(run, images, out, device, strict)
    report_skipped(found.skipped)
    counts = Counter(found.predicted)
    if as_json:
        skipped = [{"path": file.path, "reason": file.reason} for file in found.skipped]
        print_json(
            {"out": str(out), "images": len(found.paths), "predicted": dict(counts), "skipped": skipped}
        )
        return
    say(
        f"images: {len(found.paths):,} ({', '.join(f'{name} {count:,}' for name, count in counts.most_common())})"
    )
    say(f"predictions: {out}")


def _predict(run: Path, images: list[Path], out: Path, device: str, strict: bool) -> Prediction:
    from counterpoise.cli.progress import counting
    from counterpoise.inference import predict_images
    from counterpoise.runs.folder import RunFolder

    folder = RunFolder.open(run)
    with counting("reading images", "img") as update:
        return predict_images(folder, images, out, device=device, strict=strict, progress=update)
