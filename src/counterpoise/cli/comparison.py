"""A comparison on the command line, as ``compare`` and ``demo`` run and show it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from counterpoise.cli.options import Call
from counterpoise.cli.printing import advise, interval, print_table, say
from counterpoise.cli.running import finish, folder_for, in_data_dir, run_with_bars, show_next, show_notes
from counterpoise.config import CompareConfig

if TYPE_CHECKING:
    from counterpoise.datasets import ImageDataset
    from counterpoise.studies import Conclusion


def compare(dataset: ImageDataset, config: CompareConfig, call: Call) -> int:
    """Run a comparison with progress bars, write its report and show it; return the exit code."""
    from counterpoise.report import build_report
    from counterpoise.studies import ComparisonStudy, make_grid

    grid = make_grid(dataset, config, command=call.line)
    show_notes(grid.notes, as_json=call.as_json)
    folder = config.out or folder_for(dataset)
    runs = len(grid.methods) * len(grid.repeats)
    result = run_with_bars(ComparisonStudy(grid), dataset, folder, config, tasks=runs)
    if len(result.table):
        build_report([folder], folder / "report.html")
    return finish(result.summary, lambda: show(result, config, folder), as_json=call.as_json)


def show(result: Conclusion[Any, Any], config: CompareConfig, folder: Path) -> None:
    """Print the table of a comparison, its verdicts in words, and what to type next."""
    if len(result.table):
        _show_table(result)
        summary, best = result.summary, folder / "best"
        if summary["winner"] is None:
            say("no winner: without validation images there is nothing to choose by")
        else:
            say(f"winner by {summary['metric']} on validation images: {summary['winner']}, kept as {best}")
            show_next(best, "evaluate", best, config.data.source, *in_data_dir(config.data.data_dir))
        say(f"report: {folder / 'report.html'}")
    elif not result.summary["failed"]:
        say(f"{result.summary['dataset']} has too few images to keep any for testing: there are no scores")


def _show_table(result: Conclusion[Any, Any]) -> None:
    from counterpoise.evaluation import column_title, compact_columns
    from counterpoise.report import describe_imbalance

    columns = [(metric.name, group.name) for metric, group in compact_columns()]
    summary = result.summary
    rows = [
        [entry["method"], *(interval(entry["scores"].get(group, {}).get(m)) for m, group in columns)]
        for entry in summary["methods"]
    ]
    best = next((i for i, entry in enumerate(summary["methods"]) if entry["best"]), None)
    say(f"{summary['dataset']}, {describe_imbalance(summary['imbalance'])}")
    title = f"scores on the test set: {mean_of(summary['draws'])}"
    print_table(["method", *(column_title(*column) for column in columns)], rows, title=title, best=best)
    for entry in summary["methods"]:
        if entry["beats_baseline"] is False:
            advise(f"{entry['method']}: {entry['note']}")


def mean_of(repeats: int) -> str:
    """Return what the cells of a table over repeats are, in words."""
    return "values of 1 repeat" if repeats == 1 else f"mean ± 95 % interval of {repeats} repeats"
