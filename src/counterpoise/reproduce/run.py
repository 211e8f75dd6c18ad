"""Carrying out what is missing of a table, and writing its results."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from counterpoise.exceptions import RunFolderError
from counterpoise.experiments import Outcome, RunFolder
from counterpoise.experiments.folder import locked_folder, read_object, refuse_strangers
from counterpoise.experiments.grid import Execute, Listener, Task, run_tasks
from counterpoise.experiments.parallel import LOKY
from counterpoise.experiments.results import result_rows, write_results
from counterpoise.files import write_json
from counterpoise.reproduce.plan import TablePlan
from counterpoise.reproduce.summary import COLUMNS, summarise

MARKER = "reproduce.json"


@dataclass(frozen=True)
class Reproduced:
    """A table made again.

    Attributes
    ----------
    table : DataFrame
        The test scores in long format, as in ``results.csv``.
    summary : dict
        As in ``summary.json``.
    """

    table: pd.DataFrame
    summary: dict[str, Any]


def missing_tasks(plan: TablePlan, out: Path) -> list[Task]:
    """Return the runs of a table that its folder does not hold finished."""
    return [task for task in plan.tasks(out) if not _folder(task).is_complete(task.plan.hash)]


def reproduce_table(
    plan: TablePlan,
    out: Path,
    *,
    jobs: int = 1,
    backend: str = LOKY,
    listen: Listener | None = None,
    execute: Execute | None = None,
) -> Reproduced:
    """Run what is missing of a table and write its results to `out`.

    Parameters
    ----------
    plan : TablePlan
        What to do.
    out : Path
        The table's folder: a folder of runs for each line, ``results.csv``, ``summary.json``, ``page.html``,
        ``page.md``.
    jobs : int
        Runs at the same time.
    backend : {"loky", "ray", "dask"}
        Where they run.
    listen : callable, optional
        Hears of the steps and ends of runs.
    execute : callable, optional
        What carries out a plan, called as `execute_run` is, which it is by default.

    Raises
    ------
    RunFolderError
        If `out` holds something else, is in use, or cannot be written.
    """
    out = Path(out)
    _check_owner(out, plan)
    with locked_folder(out):
        marker = _check_owner(out, plan)
        missing = missing_tasks(plan, out)
        if missing or not marker:
            commands = [*marker.get("commands", []), plan.command]
            marker = {
                "format": 1,
                "table": plan.table.name,
                "subset": plan.subset,
                "identity": plan.identity,
                "commands": list(dict.fromkeys(command for command in commands if command)),
            }
            write_json(out / MARKER, marker)
        found = run_tasks(
            missing, jobs=min(jobs, len(missing) or 1), backend=backend, listen=listen, execute=execute
        )
        outcomes = _all_outcomes(plan, out, found)
        table = results_table(plan, out, outcomes)
        summary = summarise(plan, outcomes, table, marker["commands"])
        write_results(out / "results.csv", table)
        write_json(out / "summary.json", summary)
        if not summary["failed"]:
            for cell in plan.cells:
                shutil.rmtree(out / cell.setting.name / "networks", ignore_errors=True)
    return Reproduced(table, summary)


def results_table(plan: TablePlan, out: Path, outcomes: list[Outcome]) -> pd.DataFrame:
    """Return all runs' scores in long format, as a comparison's, each row with the table and line it belongs to."""
    rows = [
        {"table": plan.table.name, "setting": task.folder.name} | row
        for task, outcome in zip(plan.tasks(out), outcomes, strict=True)
        if outcome.folder is not None
        for row in result_rows(outcome.folder)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _all_outcomes(plan: TablePlan, out: Path, found: list[Outcome]) -> list[Outcome]:
    """Return what became of every run, those that were finished before among them."""
    new = {outcome.plan.hash: outcome for outcome in found}
    return [
        new[task.plan.hash] if task.plan.hash in new else Outcome(task.plan, _folder(task))
        for task in plan.tasks(out)
    ]


def _folder(task: Task) -> RunFolder:
    return RunFolder(task.folder / "runs" / task.plan.folder_name)


def _check_owner(out: Path, plan: TablePlan) -> dict[str, Any]:
    """Return what the folder's marker says, if this table is in it; refuse one that holds anything else."""
    marker = out / MARKER
    if marker.exists():
        found = read_object(marker)
        if found.get("identity") != plan.identity:
            raise RunFolderError(
                f"{out} holds another table (other data, settings or --subset); choose another --out"
            )
        return found
    refuse_strangers(out, "table")
    return {}
