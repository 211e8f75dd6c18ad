"""Tasks that are planned runs: one method on one repeat each."""

from __future__ import annotations

from pathlib import Path

from counterpoise.datasets import ImageDataset
from counterpoise.runs import RunFolder
from counterpoise.studies.engine.study import Conclusion, Data, Study, Summary
from counterpoise.studies.engine.tasks import Outcome, Task
from counterpoise.training import ProgressCallback, RunPlan, execute_run

RunTask = Task[RunPlan, RunFolder]
RunOutcome = Outcome[RunPlan, RunFolder]
RunConclusion = Conclusion[RunPlan, RunFolder, Summary]


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


class RunStudy(Study[Data, RunPlan, RunFolder, Summary]):
    """Study whose tasks are planned runs."""

    def execute(self, task: RunTask, folder: Path, on_progress: ProgressCallback) -> RunFolder:
        """Train and evaluate; runs that train the same network share it in ``networks`` beside ``runs``."""
        shared = task.path.parents[1] / "networks"
        return execute_run(task.plan, task.dataset, task.path, shared=shared, progress=on_progress)
