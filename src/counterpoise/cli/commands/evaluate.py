"""Score a trained model on labeled images that it was not trained on.

Where DATA holds the images of the run, under whatever names, these are the run's own test images; else the test split
of DATA, or all of it if it has none. Images that the model learned from are left out: they are recognized by their
contents. The classes of DATA must be classes that the model knows.
"""

from counterpoise.cli.options import Call, Command
from counterpoise.cli.printing import complain, print_json, show_scores
from counterpoise.cli.running import load_for, show_seen
from counterpoise.config import EvaluateConfig

PANEL = "Use a model"
ORDER = 50


@Command
def command(config: EvaluateConfig, call: Call) -> None:
    from counterpoise.inference import evaluate_run
    from counterpoise.runs import RunFolder

    folder = RunFolder.open(config.run)
    dataset = load_for(folder, config.source, data_dir=config.data_dir, strict=config.strict)
    found = evaluate_run(
        folder, dataset, device=config.device, batch_size=config.batch_size, include_seen=config.include_seen
    )
    if call.as_json:
        words = {"run": str(config.run), "data": config.source or folder.record.dataset.source}
        seen = {"seen": found.seen, "include_seen": config.include_seen}
        print_json({**words, "images": found.images, **seen, "scores": found.scores})
    else:
        title = f"{folder.record.method} on {found.images} of {dataset.name}"
        show_scores(found.scores, title, folder.record.dataset.minority)
        show_seen(found.seen, "scored, too" if config.include_seen else "left out")
    if found.seen is None:
        complain(f"{config.run} does not tell which images it learned from: these may be among them")
