"""``counterpoise evaluate``."""

from __future__ import annotations

from counterpoise.cli import options as o
from counterpoise.cli.printing import print_json, show_scores

PANEL = "Use a model"


def command(
    run: o.Run,
    data: o.Source,
    data_dir: o.DataDir = None,
    strict: o.Strict = False,
    device: o.Device = "auto",
    as_json: o.AsJson = False,
) -> None:
    """Score a trained model on labelled images that it was not trained on.

    Where DATA is the data set of the run, these are the run's own test images;
    else the test split of DATA, or all of it where it has none.
    The classes of DATA must be classes that the model knows.
    """
    from counterpoise.cli.progress import counting
    from counterpoise.cli.running import report_skipped
    from counterpoise.inference import evaluate_run, load_for_run
    from counterpoise.runs.folder import RunFolder

    folder = RunFolder.open(run)
    with counting("reading images", "img") as update:
        dataset = load_for_run(folder, data, data_dir=data_dir, strict=strict, progress=update)
    report_skipped(dataset.skipped)
    found = evaluate_run(folder, dataset, device=device)
    if as_json:
        print_json({"run": str(run), "data": data, "images": found.images, "scores": found.scores})
    else:
        show_scores(found.scores, f"{folder.record['method']} on {found.images} of {dataset.name}")
