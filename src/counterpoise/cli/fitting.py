"""The command `fit`, also as a part of `demo`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from counterpoise.cli.options import Call
from counterpoise.cli.printing import complain, print_table, say
from counterpoise.cli.running import (
    counting,
    finish,
    folder_for,
    in_data_dir,
    report_skipped,
    show_next,
    show_notes,
    watching,
)
from counterpoise.config import FitConfig

if TYPE_CHECKING:
    from counterpoise.studies import FitResult

INTERRUPTED = 130


def fit(config: FitConfig, call: Call) -> int:
    """Find the best model within the time budget, show it, and return the exit code."""
    from counterpoise.methods import parse_methods

    began = time.monotonic()
    parse_methods(config.methods)  # refused before torch is imported, which takes seconds

    from counterpoise.studies import FitStudy, load_for_fit, make_fit_plan, run_study
    from counterpoise.training import Budget

    budget = Budget(config.budget, used=time.monotonic() - began)
    with counting("reading images", "img"):
        dataset = load_for_fit(config)
    report_skipped(dataset.skipped, dataset.notes)
    folder = config.out or folder_for(dataset, "fit")
    dataset, plan = make_fit_plan(dataset, config, budget, command=call.line, folder=folder)
    show_notes(plan.notes, as_json=call.as_json)
    study = FitStudy(plan, dataset, budget)
    try:
        with watching(len(plan.heads) + len(plan.networks), one_repeat=True) as on_event:
            result = run_study(study, folder, jobs=1, on_event=on_event)
    except KeyboardInterrupt:
        best = folder / "best"
        so_far = f"; the best model so far is {best}" if (best / "run.json").exists() else ""
        complain(f"interrupted{so_far}; give the same command again to resume")
        return INTERRUPTED
    return finish(
        result.summary, lambda: _show(result, folder, config), as_json=call.as_json, one_repeat=True
    )


def _show(result: FitResult, folder: Path, config: FitConfig) -> None:
    """Print the evidence for each candidate, the choice, and what to type next."""
    summary, best = result.summary, folder / "best"
    for title, choice in (("heads on frozen features", summary["heads"]), ("networks", summary["networks"])):
        if choice is None:
            continue
        rows = [
            [
                row["name"],
                *(f"{max(0.0, row[key]['value']):.3f}" for key in ("score", "gmean", "f1", "log_loss")),
            ]
            for row in choice["candidates"]
        ]
        chosen = next(i for i, row in enumerate(choice["candidates"]) if row["chosen"])
        say(f"{title}, on {choice['images']:,} training images that were held out")
        print_table(["candidate", "score", "G-mean", "F1", "log loss"], rows, title="", best=chosen)
        say(choice["reason"])
    if summary["winner"] is None:
        return
    say(f"kept: {summary['winner']}, as {best}")
    say(f"report: {folder / 'report.html'}")
    say(f"model card: {folder / 'model-card.md'}")
    show_next(best, "evaluate", best, config.data.source, *in_data_dir(config.data.data_dir))
