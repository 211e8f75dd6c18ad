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

    from counterpoise.datasets import fewer_images
    from counterpoise.report import build_report
    from counterpoise.studies import EnhancementStudy, make_enhance_plan, publish, show_images

    if config.images_per_class is not None:
        dataset = fewer_images(dataset, config.images_per_class)
    plan = make_enhance_plan(dataset, config, command=call.line)
    show_notes(plan.classifiers.notes, as_json=call.as_json)
    folder = config.out or folder_for(dataset, "enhance")
    study = EnhancementStudy(plan, dataset)
    result = run_with_bars(study, folder, config, tasks=len(study.tasks(folder)))
    if config.export_to is not None:
        publish(EnhancementStudy, folder, config.export_to)  # before the page gets megabytes of figures
    if config.figures:
        with counting("drawing figures", "img") as update:
            show_images(result, study.images, folder, count=config.figures, on_progress=update)
    if len(result.table):
        build_report([folder], folder / "report.html")
    return finish(result.summary, lambda: _show(result, folder), as_json=call.as_json)


def _show(result: "EnhanceResult", folder: Path) -> None:
    from counterpoise.report import describe_imbalance
    from counterpoise.studies import enhance

    summary = result.summary
    if not len(result.table):
        return
    columns = enhance.shown_columns(summary)

    def row(title: str, scores: "GroupMeans") -> list[str]:
        return [title, *(interval(scores.get(group, {}).get(metric)) for _, group, metric in columns)]

    names = ["", *(name for name, _, _ in columns)]
    repeats = mean_of(summary["draws"])
    say(f"{summary['dataset']}, {describe_imbalance(summary['imbalance'])}, {summary['network']}")
    advise(enhance.protocol(summary))
    rows = [row(entry["title"], entry["scores"]) for entry in summary["methods"]]
    best = next(i for i, entry in enumerate(summary["methods"]) if entry["method"] == enhance.ENHANCED)
    print_table(names, rows, title=f"scores on the test set: {repeats}", best=best)
    print_table(names, enhance.gain_rows(summary), title=f"gain of the enhanced images over: {repeats}")
    titles = {entry["method"]: entry["title"] for entry in summary["methods"]}
    full = [row(titles[name], scores) for name, scores in summary["full"].items()]
    print_table(names, full, title="on train+test, which the slides call full: no measure of new images")
    noise = enhance.noise_rows(summary)
    print_table(enhance.NOISE_COLUMNS, noise, title=f"accuracy under Gaussian noise: {repeats}")
    for entry in summary["slides"]:
        say(
            f"the slides, with VGG-16, on {entry['evaluated_on']}: accuracy {entry['classifier']:.3f} -> "
            f"{entry['combined']:.3f}"
        )
    for finding in enhance.findings(summary):
        advise(finding)
    say(f"figures: {folder / 'enhance.html'}")
    say(f"report: {folder / 'report.html'}")
    if (pair := enhance.first_pair(result)) is not None:
        words = command_line("predict", pair[1].path)
        say(f"next: {words} PHOTOS   (the U-Net with its classifier)")
