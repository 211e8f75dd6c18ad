"""Enhancement study: classifiers first, then the variants that start from them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from counterpoise.datasets import ImageDataset, SplitManifest
from counterpoise.files import content_hash, locked_folder, read_json, write_json
from counterpoise.runs import RunFolder, results_table, write_results
from counterpoise.studies.engine.planned_runs import RunConclusion, RunOutcome, RunStudy, RunTask, run_task
from counterpoise.studies.engine.tasks import results_of
from counterpoise.studies.enhance.figures import DRAWING, choose_images, draw_figures
from counterpoise.studies.enhance.page import write_page
from counterpoise.studies.enhance.plan import ENHANCED, FEATURES, EnhancePlan, VariantPlan, of_classes
from counterpoise.studies.enhance.summary import EnhanceSummary, full_table, noise_table, summarize
from counterpoise.studies.enhance.variants import execute_variant
from counterpoise.training import ProgressCallback, RunPlan

EnhanceResult = RunConclusion[EnhanceSummary]


@dataclass(frozen=True)
class EnhancementStudy(RunStudy[EnhanceSummary]):
    """A U-Net before a classifier, and the controls it is measured against.

    Its folder holds ``runs/``, ``results.csv``, ``results-full.csv``, ``results-noise.csv``, ``summary.json`` and
    ``enhance.html``, and ``features/`` where it learns the features that a classifier freezes.
    """

    kind = "enhancement"
    marker = "enhance.json"
    published = ("results-noise.csv", "results.csv", "results-full.csv", "summary.json", "enhance.html")
    plan: EnhancePlan
    dataset: ImageDataset

    @property
    def images(self) -> ImageDataset:
        """Images of the classifier and its variants."""
        return self.dataset if self.plan.halves is None else of_classes(self.dataset, self.plan.halves.head)

    def tasks(self, folder: Path) -> list[RunTask]:
        """Return the features, if any, and classifiers of all repeats, then the variants, which need their repeat's."""
        dataset, features = self.images, dict[int, RunTask]()
        if self.plan.features is not None and self.plan.halves is not None:
            others = of_classes(self.dataset, self.plan.halves.features)
            for plan in self.plan.features.plans():
                features[plan.draw] = run_task(plan, others, folder / FEATURES, name=FEATURES)

        def needs(plan: RunPlan) -> tuple[str, ...]:
            return (features[plan.draw].key,) if features else ()

        runs = [run_task(p, dataset, folder, needs=needs(p)) for p in self.plan.classifier_plans()]
        keys = {run.repeat: run.key for run in runs if run.name == self.plan.classifier.label}
        variants = [
            run_task(plan, dataset, folder, name=plan.variant, needs=(keys[plan.draw], *needs(plan)))
            for plan in self.plan.variant_plans()
        ]
        return [*features.values(), *runs, *variants]

    def execute(self, task: RunTask, folder: Path, on_progress: ProgressCallback) -> RunFolder:
        """Execute a classifier's run or a variant."""
        if self.plan.features is not None and task.name != FEATURES:
            learned = folder / FEATURES / "runs" / Path(task.needs[-1]).name
            task = replace(task, plan=replace(task.plan, weights=str(learned / "model.safetensors")))
        if not isinstance(task.plan, VariantPlan):
            return super().execute(task, folder, on_progress)
        return execute_variant(
            task.plan,
            task.dataset,
            task.path,
            classifier=task.path.with_name(Path(task.needs[0]).name),
            shared=folder / "networks",
            on_progress=on_progress,
        )

    def conclude(self, outcomes: Sequence[RunOutcome], folder: Path, seconds: float) -> EnhanceResult:
        """Return scores, gains and changes."""
        table = results_table(results_of(o for o in outcomes if o.task.name != FEATURES))
        return EnhanceResult(table, summarize(self.plan, outcomes, table, seconds=seconds), outcomes)

    def scratch(self, folder: Path) -> Iterable[Path]:
        """Return the folders of shared networks."""
        return [folder / "networks", folder / FEATURES / "networks"]

    def write_page(self, concluded: EnhanceResult, folder: Path) -> None:
        """Write the scores on training and test images together, those under noise, and the page."""
        write_results(folder / "results-full.csv", full_table(concluded.results))
        write_results(folder / "results-noise.csv", noise_table(concluded.results))
        write_page(concluded.summary, folder / "figures", folder / "enhance.html")


def show_images(
    result: EnhanceResult,
    dataset: ImageDataset,
    out: Path,
    *,
    count: int = 8,
    on_progress: Callable[[int, int], None] | None = None,
) -> None:
    """Draw the four comparisons of the slides for `count` test images, and put them on the study's page.

    Figures that are there already are not drawn again. The summary of `result` gets the images; `on_progress` is called
    with (done, total).
    """
    pair = first_pair(result)
    if pair is None:
        return
    classifier, enhanced = pair
    folder, marker = out / "figures", out / "figures" / "figures.json"
    identity = content_hash([enhanced.record.config_hash, count, DRAWING])
    with locked_folder(out):
        found = read_json(marker) if marker.exists() else None
        if not isinstance(found, dict) or found.get("identity") != identity:
            shutil.rmtree(folder, ignore_errors=True)
            chosen = choose_images(classifier.need_predictions(), enhanced.need_predictions(), count)
            splits = SplitManifest.load(enhanced.path / "manifest.json").apply(dataset)
            images = draw_figures(chosen, classifier, enhanced, splits, folder, on_progress)
            write_json(marker, found := {"identity": identity, "images": images})
        result.summary["images"] = found["images"]
        write_json(out / "summary.json", result.summary)
        write_page(result.summary, folder, out / "enhance.html")


def first_pair(result: EnhanceResult) -> tuple[RunFolder, RunFolder] | None:
    """Return the runs of the classifier alone and behind the U-Net, of the first repeat that has both."""
    runs = {outcome.task.key: outcome.result for outcome in result.outcomes}
    for outcome in result.outcomes:
        if outcome.task.name == ENHANCED and outcome.result is not None:
            classifier = runs[outcome.task.needs[0]]
            return None if classifier is None else (classifier, outcome.result)
    return None
