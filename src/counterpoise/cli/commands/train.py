"""Train one model into a run folder; give the command again to resume after an interruption."""

from counterpoise.cli.options import Call, Command
from counterpoise.cli.printing import advise, print_json, say, show_scores
from counterpoise.cli.running import folder_for, load, show_next, show_notes, watching
from counterpoise.config import TrainRunConfig

PANEL = "Train"
ORDER = 40


@Command
def command(config: TrainRunConfig, call: Call) -> None:
    from counterpoise.methods import get_method

    method = get_method(config.method)  # refused before torch is imported, which takes seconds
    dataset = load(config.data, weights=config.model.weights)

    from counterpoise.studies import ThrottledProgress
    from counterpoise.training import cpu_count, execute_run, prepare_run

    prepared = prepare_run(dataset, config, [method], threads=cpu_count())
    show_notes(prepared.notes, as_json=call.as_json)
    out, plan = config.out or folder_for(dataset, config.method), prepared.plan
    with watching(1) as on_event:
        progress = ThrottledProgress(plan.folder_name, f"{plan.draw}: {plan.method}", on_event)
        folder = execute_run(plan, dataset, out, progress=progress)
    if call.as_json:
        print_json({"run": str(folder.path), "metrics": folder.metrics.raw, "notes": list(prepared.notes)})
        return
    start = folder.record.start
    if (losses := start.evidence) is not None and None not in (losses.frozen, losses.fine_tuned):
        chosen = "fine-tuned" if start.freeze is None else "frozen"
        advise(
            f"validation preferred the {chosen} network: log loss, mean over the classes, {losses.frozen:.3f} frozen "
            f"and {losses.fine_tuned:.3f} fine-tuned"
        )
    if (frozen := start.freeze) is not None:
        first = "the first layer" if frozen == 1 else f"the first {frozen} layers"
        what = "everything below the head" if frozen == "all" else first
        advise(f"{what} stayed frozen; {folder.record.network.parameters:,} parameters were trained")
    scores = folder.metrics.raw["test"]
    if scores is None:
        say(f"{dataset.name} has too few images to keep any for testing: there are no scores")
    else:
        title = f"{config.method} on the {scores['n']:,} test images of {dataset.name}"
        show_scores(scores, title, folder.record.dataset.minority)
    say(f"run: {folder.path}")
    show_next(folder.path, "report", folder.path)
