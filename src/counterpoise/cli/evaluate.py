"""``counterpoise evaluate``."""

from __future__ import annotations

from typing import Any

from counterpoise.cli import options as o
from counterpoise.cli.printing import advise, print_json, print_table, say, score

PANEL = "Use a model"
SHOWN = ("recall", "precision", "specificity", "f1", "auc")


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
    from counterpoise.cli.loading import report_skipped
    from counterpoise.cli.progress import counting
    from counterpoise.experiments import RunFolder, evaluate_run, load_for_run

    folder = RunFolder.open(run)
    with counting("reading images", "img") as update:
        dataset = load_for_run(folder, data, data_dir=data_dir, strict=strict, progress=update)
    report_skipped(dataset.skipped)
    found = evaluate_run(folder, dataset, device=device)
    if as_json:
        print_json({"run": str(run), "data": data, "images": found.images, "scores": found.scores})
    else:
        show_scores(found.scores, f"{folder.record['method']} on {found.images} of {dataset.name}")


def show_scores(scores: dict[str, Any], title: str) -> None:
    """Print the scores of every class, and their averages."""
    rows = [
        [c["name"], f"{c['support']:,}", *(score(c[metric]) for metric in SHOWN)] for c in scores["per_class"]
    ]
    # Without rare classes, the others are all.
    groups = (("rare classes", "minority"), ("other classes", "majority")) if scores["minority"] else ()
    for name, group in (*groups, ("all classes", "all")):
        rows.append([name, "", *(score(scores[group][metric]) for metric in SHOWN)])
    columns = ["class", "images", "recall", "precision", "specificity", "F1", "AUC"]
    print_table(columns, rows, title=title, best=len(rows) - 1)
    say(f"G-mean {score(scores['all']['gmean'])}, accuracy {score(scores['all']['accuracy'])}")
    for flag in scores["flags"]:
        advise(flag)
