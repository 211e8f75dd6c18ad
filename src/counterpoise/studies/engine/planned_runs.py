"""Tasks that are planned runs: one method on one repeat each."""

from __future__ import annotations

from pathlib import Path

from counterpoise.datasets import ImageDataset
from counterpoise.runs.folder import RunFolder
from counterpoise.studies.engine.tasks import Task
from counterpoise.training.plan import RunPlan
from counterpoise.training.progress import ProgressCallback
from counterpoise.training.run import execute_run


def run_task(
    plan: RunPlan, dataset: ImageDataset, folder: Path, *, name: str = "", needs: tuple[str, ...] = ()
) -> Task[RunPlan, RunFolder]:
    """Return the task of a run in ``folder/runs``, with its folder if the run is finished.

    Parameters
    ----------
    plan : RunPlan
    dataset : ImageDataset
        The loaded dataset that it names.
    folder : Path
        Folder of ``runs`` and ``networks``.
    name : str
        Name of the task; that of the method by default.
    needs : tuple of str
        Keys of the tasks that must succeed before.
    """
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


def execute_task(task: Task[RunPlan, RunFolder], on_progress: ProgressCallback) -> RunFolder:
    """Train and evaluate; runs that train the same network share it in ``networks`` beside ``runs``."""
    shared = task.path.parents[1] / "networks"
    return execute_run(task.plan, task.dataset, task.path, shared=shared, progress=on_progress)
