"""Runs of methods on repeats of one dataset: their grid, their tasks, and the summary of a method."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from counterpoise.config import CompareConfig, TrainConfig
from counterpoise.datasets import Grouping, ImageDataset
from counterpoise.evaluation import (
    FEWEST_OF_FROZEN,
    FEWEST_TO_CHOOSE,
    Metric,
    choosing_metric,
    few_classes,
    weighs_classes,
)
from counterpoise.methods import Method, parse_methods
from counterpoise.runs import RunFolder, comparison_identity, method_scores, results_table
from counterpoise.studies.engine.study import Conclusion, Study, Summary
from counterpoise.studies.engine.summaries import MethodEntry
from counterpoise.studies.engine.tasks import Outcome, Task
from counterpoise.training import Fitted, Preparation, ProgressCallback, RunPlan, execute_run, prepare_run

RunTask = Task[RunPlan, RunFolder]
RunOutcome = Outcome[RunPlan, RunFolder]
RunConclusion = Conclusion[RunPlan, RunFolder, Summary]


@dataclass(frozen=True, kw_only=True)
class RunGrid:
    """Several methods on several repeats of one dataset.

    All runs share the `template`, the plan of the first method on repeat 0; repeat r has the seed
    ``template.config.seed + r`` for its split and its training. `metric` chooses the winner on the validation set;
    `notes` are the decisions made for the user, in words, `grouping` tells which images stay together, and `command` is
    the command line, for the record.
    """

    template: RunPlan
    methods: tuple[Method, ...]
    repeats: tuple[int, ...]
    metric: str = "gmean"
    notes: tuple[str, ...] = ()
    grouping: Grouping = field(default_factory=Grouping)
    command: str = ""

    @classmethod
    def of(cls, prepared: Preparation, *, repeats: int, metric: str, command: str = "") -> RunGrid:
        """Return the grid of all methods of a preparation."""
        return cls(
            template=prepared.plan,
            methods=prepared.methods,
            repeats=tuple(range(repeats)),
            metric=metric,
            notes=prepared.notes,
            grouping=prepared.grouping,
            command=command,
        )

    @property
    def config(self) -> TrainConfig:
        """Settings of the training of repeat 0."""
        return self.template.config

    def plans(self) -> list[RunPlan]:
        """Return every run, repeat by repeat."""
        return [
            replace(
                self.template,
                draw=repeat,
                method=method.label,
                config=self.config.model_copy(update={"seed": self.config.seed + repeat}),
            )
            for repeat in self.repeats
            for method in self.methods
        ]

    @property
    def identity(self) -> str:
        """Hash of what all runs share; methods and repeats may be added later."""
        return comparison_identity(**self.plans()[0].shared_identity())


def make_grid(dataset: ImageDataset, config: CompareConfig, *, command: str = "") -> RunGrid:
    """Resolve the settings of a comparison; InputError refuses what cannot work before anything is written."""
    metric = choosing_metric(config.metric)
    prepared = prepare_run(dataset, config, parse_methods(config.methods), repeats=config.repeats)
    grid = RunGrid.of(prepared, repeats=config.repeats, metric=config.metric, command=command)
    counts = prepared.manifest.counts["validation"]
    rule = rule_note(
        counts,
        dataset.classes,
        metric,
        frozen=grid.template.freeze == "all" and grid.template.features is not None,
    )
    return replace(grid, notes=(*rule, *grid.notes)) if len(grid.methods) > 1 else grid


def rule_note(
    counts: Sequence[int], classes: Sequence[str], metric: Metric, *, frozen: bool
) -> tuple[str, ...]:
    """Return, before training, by what the winner is chosen where a class has too few validation images, else nothing.

    `counts` are the validation images of each class in a repeat, `frozen` says whether only heads are trained.
    """
    if not sum(counts):
        return ()
    if frozen and (few := few_classes(counts, classes, fewer_than=FEWEST_OF_FROZEN)):
        how = "cross-validated log loss and mean recall over training and validation images"
        return (f"{few}: too few to choose a winner by, so {how} choose it",)
    few = few_classes(counts, classes, fewer_than=FEWEST_TO_CHOOSE) if weighs_classes(metric) else ""
    how = "the mean recall on the validation images of all repeats, pooled, chooses it"
    return (f"{few}: too few to choose a winner by {metric.short_title}, so {how}",) if few else ()


def run_task(
    plan: RunPlan, dataset: ImageDataset, folder: Path, *, name: str = "", needs: tuple[str, ...] = ()
) -> RunTask:
    """Return the task of a run in ``folder/runs``, with its folder if the run is finished."""
    run = RunFolder(folder / "runs" / plan.folder_name)
    return Task(
        key=f"{folder.name}/{plan.folder_name}",
        name=name or plan.method,
        repeat=plan.draw,
        plan=plan,
        dataset=dataset,
        path=run.path,
        needs=needs,
        done=run if run.is_complete(plan.hash, plan.contents) else None,
    )


class RunStudy(Study[RunPlan, RunFolder, Summary]):
    """Study whose tasks are planned runs."""

    def execute(self, task: RunTask, folder: Path, on_progress: ProgressCallback) -> RunFolder:
        """Train and evaluate; runs that train the same network share it in ``networks`` beside ``runs``."""
        return execute_run(
            task.plan,
            task.dataset,
            task.path,
            shared=task.path.parents[1] / "networks",
            progress=on_progress,
            on_fitted=lambda fitted, splits: self.on_fitted(task, folder, fitted, splits),
        )

    def on_fitted(self, task: RunTask, folder: Path, fitted: Fitted, splits: ImageDataset) -> None:
        """Use a trained network before it is scored; does nothing by default."""

    def with_paths(self, plan: RunPlan, place: Callable[[str], str]) -> RunPlan:
        """Return the plan with the `place` of its initial weights, its cache and its split."""
        weights, cache, manifest = (p and place(p) for p in (plan.weights, plan.cache, plan.split.manifest))
        return replace(plan, weights=weights, cache=cache, split=replace(plan.split, manifest=manifest))


def method_summary(label: str, title: str, folders: Sequence[RunFolder], table: pd.DataFrame) -> MethodEntry:
    """Return the entry of a method in ``methods`` of ``summary.json``: means and intervals, without a verdict."""
    own = [folder for folder in folders if folder.record.method == label]
    return {
        "method": label,
        "title": title,
        "n": len({folder.record.draw for folder in own}),
        "best": False,
        "beats_baseline": None,
        "note": "",
        "scores": method_scores(table, label, own),
        "validation": method_scores(results_table(own, "validation"), label, own, "validation").get(
            "all", {}
        ),
    }
