"""Tasks that are planned runs, one method on one repeat each, and their summaries."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from counterpoise.datasets import ImageDataset
from counterpoise.runs import RunFolder, method_scores, results_table
from counterpoise.studies.engine.study import Conclusion, Data, Study
from counterpoise.studies.engine.tasks import Outcome, Task
from counterpoise.training import ProgressCallback, RunPlan, execute_run

RunTask = Task[RunPlan, RunFolder]
RunOutcome = Outcome[RunPlan, RunFolder]
RunConclusion = Conclusion[RunPlan, RunFolder]


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
        done=run if run.is_complete(plan.hash) else None,
    )


class RunStudy(Study[Data, RunPlan, RunFolder]):
    """Study whose tasks are planned runs."""

    def execute(self, task: RunTask, folder: Path, on_progress: ProgressCallback) -> RunFolder:
        """Train and evaluate; runs that train the same network share it in ``networks`` beside ``runs``."""
        shared = task.path.parents[1] / "networks"
        return execute_run(task.plan, task.dataset, task.path, shared=shared, progress=on_progress)


def method_summary(
    label: str,
    title: str,
    folders: Sequence[RunFolder],
    table: pd.DataFrame,
    *,
    best: bool = False,
    beats_baseline: bool | None = None,
    note: str = "",
) -> dict[str, Any]:
    """Return the entry of a method in ``methods`` of ``summary.json``: means, intervals, and the verdict."""
    own = [folder for folder in folders if folder.record.method == label]
    return {
        "method": label,
        "title": title,
        "n": len({folder.record.draw for folder in own}),
        "best": best,
        "beats_baseline": beats_baseline,
        "note": note,
        "scores": method_scores(table, label),
        "validation": method_scores(results_table(own, "validation"), label).get("all", {}),
    }
