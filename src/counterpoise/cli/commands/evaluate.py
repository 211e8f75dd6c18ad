"""Score a trained model on labeled images that it was not trained on.

Where DATA is the dataset of the run, these are the run's own test images; else the test split of DATA, or all of it
if it has none. The classes of DATA must be classes that the model knows.
"""

from counterpoise.cli.options import Call, Command
from counterpoise.cli.printing import print_json, show_scores
from counterpoise.cli.running import load_for
from counterpoise.config import EvaluateConfig

PANEL = "Use a model"
ORDER = 50


@Command
def command(config: EvaluateConfig, call: Call) -> None:
    from counterpoise.inference import evaluate_run
    from counterpoise.runs import RunFolder

    folder = RunFolder.open(config.run)
    dataset = load_for(folder, config.source, data_dir=config.data_dir, strict=config.strict)
    found = evaluate_run(folder, dataset, device=config.device)
    if call.as_json:
        words = {"run": str(config.run), "data": config.source or folder.record.dataset.source}
        print_json({**words, "images": found.images, "scores": found.scores})
    else:
        show_scores(found.scores, f"{folder.record.method} on {found.images} of {dataset.name}")
