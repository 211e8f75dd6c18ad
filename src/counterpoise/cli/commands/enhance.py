"""Put a U-Net before a classifier and train it there: does it help more than continued training would have?

Finished runs are kept: give the command again to resume after an interruption, or to add repeats.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from counterpoise.cli.options import Call, Command
from counterpoise.cli.printing import advise, command_line, interval, mean_of, print_table, say
from counterpoise.cli.running import counting, finish, folder_for, load, run_with_bars, show_notes
from counterpoise.config import EnhanceConfig

if TYPE_CHECKING:
    from counterpoise.studies import GroupMeans
    from counterpoise.studies.enhance import EnhanceResult

PANEL = "Studies"
ORDER = 120


@Command
def command(config: EnhanceConfig, call: Call) -> int:
    from counterpoise.methods import get_method

    for name in (config.method, config.classifier_method):
        get_method(name)  # refused before torch is imported, which takes seconds
    dataset = load(config.data, weights=config.model.weights)

    from counterpoise.report import build_report
    from counterpoise.studies import EnhancementStudy, make_enhance_plan, show_images

    study = make_enhance_plan(dataset, config, command=call.line)
    show_notes(study.classifiers.notes, as_json=call.as_json)
    folder = config.out or folder_for(dataset, "enhance")
    runs = len(study.classifiers.plans()) + len(study.variant_plans())
    result = run_with_bars(EnhancementStudy(study, dataset), folder, config, tasks=runs)
    if config.figures:
        with counting("drawing figures", "img") as update:
            show_images(result, dataset, folder, count=config.figures, on_progress=update)
    if len(result.table):
        build_report([folder], folder / "report.html")
    return finish(result.summary, lambda: _show(result, folder), as_json=call.as_json)


def _show(result: "EnhanceResult", folder: Path) -> None:
    from counterpoise.report import describe_imbalance
    from counterpoise.studies.enhance import ENHANCED, findings, first_pair, gain_rows, shown_columns

    summary = result.summary
    if not len(result.table):
        return
    columns = shown_columns(summary)

    def row(title: str, scores: "GroupMeans") -> list[str]:
        return [title, *(interval(scores.get(group, {}).get(metric)) for _, group, metric in columns)]

    names = ["", *(name for name, _, _ in columns)]
    repeats = mean_of(summary["draws"])
    say(f"{summary['dataset']}, {describe_imbalance(summary['imbalance'])}, {summary['network']}")
    rows = [row(entry["title"], entry["scores"]) for entry in summary["methods"]]
    best = next(i for i, entry in enumerate(summary["methods"]) if entry["method"] == ENHANCED)
    print_table(names, rows, title=f"scores on the test set: {repeats}", best=best)
    print_table(names, gain_rows(summary), title=f"gain of the enhanced images over: {repeats}")
    titles = {entry["method"]: entry["title"] for entry in summary["methods"]}
    full = [row(titles[name], scores) for name, scores in summary["full"].items()]
    print_table(names, full, title="on train+test, which the slides call full: no measure of new images")
    for entry in summary["slides"]:
        say(
            f"the slides, with VGG-16, on {entry['evaluated_on']}: accuracy {entry['classifier']:.3f} -> "
            f"{entry['combined']:.3f}"
        )
    for finding in findings(summary):
        advise(finding)
    say(f"figures: {folder / 'enhance.html'}")
    say(f"report: {folder / 'report.html'}")
    if (pair := first_pair(result)) is not None:
        words = command_line("predict", pair[1].path)
        say(f"next: {words} PHOTOS   (the U-Net with its classifier)")
