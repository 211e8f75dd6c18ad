"""Predict the classes of new images into a CSV, with how sure each prediction is.

Columns: path, predicted, one probability per class; confidence (the highest probability) and margin (its lead over the
second); sure (the classes that the image may have: the true one is among them for 90 % of new images of each class);
unlike_training (yes for pictures unlike all training images; typicality is the p-value behind it).
"""

import sys
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from counterpoise.cli.options import Call, Command
from counterpoise.cli.printing import advise, complain, print_json, say
from counterpoise.cli.running import counting, report_skipped, show_seen
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
    from counterpoise.inference import predict_images, why_not
    from counterpoise.runs import RunFolder

    run, images = RunFolder.open(config.run), list(config.images)
    with TemporaryDirectory() as folder:
        out = Path(folder) / "predictions.csv" if printed else config.out
        with counting("reading images", "img") as update:
            found = predict_images(
                run,
                images,
                out,
                device=config.device,
                batch_size=config.batch_size,
                strict=config.strict,
                alpha=config.alpha,
                abstain=config.abstain,
                sort_into=config.sort_into,
                overwrite=config.overwrite,
                progress=update,
            )
        report_skipped(found.skipped)
        if not call.as_json:
            show_seen(found.seen, "predicted, too")
        reason = why_not(run)
        if reason is not None:
            complain(f"note: {reason}")
        if printed:
            sys.stdout.write(out.read_bytes().decode("utf-8"))
            return
    counts = Counter(found.predicted)
    if call.as_json:
        skipped = [{"path": file.path, "reason": file.reason} for file in found.skipped]
        words = {"out": str(config.out), "images": len(found.paths), "predicted": dict(counts)}
        trust = found.trust and {**found.trust.record, "sets": found.trust.counts()}
        print_json({**words, "seen": found.seen, "skipped": skipped, "trust": trust})
        return
    each = ", ".join(f"{name} {count:,}" for name, count in counts.most_common())
    say(f"images: {len(found.paths):,} ({each})")
    for sentence in found.trust.words() if found.trust is not None else ():
        advise(sentence)
    say(f"predictions: {config.out}")
    if config.sort_into is not None:
        say(f"sorted copies: {config.sort_into}")
