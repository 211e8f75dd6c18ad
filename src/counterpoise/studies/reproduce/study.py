"""Carrying out what is missing of a table, and writing its results."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from counterpoise.exceptions import InputError, RunFolderError
from counterpoise.files import locked_folder, read_object, refuse_unexpected, write_json
from counterpoise.runs.archive import EARLIER, KEPT, ArchivedRun, archived_runs, read_archive, write_archive
from counterpoise.runs.folder import RunFolder
from counterpoise.runs.results import result_rows, write_results
from counterpoise.studies.engine.run import Execute, Listener, Outcome, Task, run_tasks
from counterpoise.studies.engine.workers import LOKY, check_backend
from counterpoise.studies.reproduce.figures import draw_lines, draw_ranks
from counterpoise.studies.reproduce.page import PICTURES, write_pages
from counterpoise.studies.reproduce.plan import TablePlan
from counterpoise.studies.reproduce.published import published_numbers
from counterpoise.studies.reproduce.side_by_side import side_by_side
from counterpoise.studies.reproduce.summary import COLUMNS, ranks_of, summarize

MARKER = "reproduce.json"
PUBLISHED_FILES = ("results.csv", "summary.json", "page.html", "page.md", KEPT, *PICTURES)
"""What `publish` copies, where it is there."""


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


def missing_tasks(
    plan: TablePlan, out: Path, *, only: Sequence[str] = (), earlier: Path | None = None
) -> list[Task]:
    """Return the runs of a table, or of some lines `only`, that neither its folder nor `earlier` holds finished."""
    chosen = plan.only(only) if only else plan
    kept = archived_runs(out) | _taken(plan, earlier)
    return [task for task in chosen.tasks(out) if _finished(task, kept) is None]


def reproduce_table(
    plan: TablePlan,
    out: Path,
    *,
    only: Sequence[str] = (),
    earlier: Path | None = None,
    page_only: bool = False,
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
        ``page.md`` and the pictures. Finished draws of earlier calls count, also where this one asks for fewer.
    only : sequence of str
        Names of lines to run now; all by default.
    earlier : Path, optional
        A folder that `publish` has filled, perhaps on another machine. Its runs of the same images and settings count
        as done from now on; their scores, times, versions and hardware enter the page as those of runs made here do.
    page_only : bool
        Run nothing: write results and page of the runs that there are.
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
        If `out` holds something else, is in use, or cannot be written; or `earlier` holds no results.
    UnknownNameError
        If there is no line of a name in `only`, or no such back end.
    InputError
        If the back end is not installed; if no run of `earlier` is one of this table; if only the page is asked for,
        and `out` holds no runs, or lines are named too: the page shows all.
    """
    out = Path(out)
    check_backend(backend)
    if page_only and only:
        raise InputError("`page_only` runs nothing and shows all lines; leave out `only`")
    chosen = plan.only(only) if only else plan
    taken = _taken(plan, earlier)
    commands = [] if earlier is None else read_object(earlier / "summary.json").get("commands", [])
    if not _check_owner(out, plan) and page_only and not taken:
        raise InputError(
            f"{out} holds no runs of {plan.table.name} to make a page of; leave out `page_only` to run it"
        )
    with locked_folder(out):
        known = marker = _check_owner(out, plan)
        kept = archived_runs(out)
        new = taken.keys() - kept.keys()
        missing = [] if page_only else missing_tasks(chosen, out, earlier=earlier)
        if new:
            marker = _marked(marker, plan, [*commands, plan.command], _draws(taken))
        elif missing or not marker:
            marker = _marked(marker, plan, [plan.command])
        if marker != known:
            write_json(out / MARKER, marker)
        if new:
            write_archive(out / EARLIER, [ArchivedRun(out, **run) for run in (kept | taken).values()])
        found = run_tasks(
            missing, jobs=min(jobs, len(missing) or 1), backend=backend, listen=listen, execute=execute
        )
        whole = plan.with_draws(max(plan.draws, marker.get("draws", 0)))
        outcomes = _all_outcomes(whole, out, found)
        result = _write(whole, out, outcomes, marker)
        if all(o.folder is not None for o in outcomes):
            for cell in plan.cells:
                shutil.rmtree(out / cell.setting.name / "networks", ignore_errors=True)
    return result


def publish(out: Path, target: Path) -> None:
    """Copy a table's results, without its runs, to a folder, in place of what an earlier copy left there."""
    target.mkdir(parents=True, exist_ok=True)
    for name in PUBLISHED_FILES:
        if (out / name).exists():
            shutil.copyfile(out / name, target / name)
        else:
            (target / name).unlink(missing_ok=True)


def _taken(plan: TablePlan, earlier: Path | None) -> dict[str, dict[str, Any]]:
    """Return the runs of earlier results that are runs of this table, whatever their draw."""
    if earlier is None:
        return {}
    found = read_archive(earlier / KEPT)
    every = plan.with_draws(max(plan.draws, _draws(found)))
    known = {task.plan.hash for task in every.tasks(earlier)}
    taken = {key: run for key, run in found.items() if key in known}
    if not taken:
        raise InputError(
            f"{earlier} holds no run of {plan.table.name} with these images and settings; leave out `earlier`"
        )
    return taken


def _draws(runs: Mapping[str, dict[str, Any]]) -> int:
    """Return how many draws it takes to have all `runs` among them."""
    return max((run["record"]["draw"] + 1 for run in runs.values()), default=0)


def _marked(
    marker: dict[str, Any], plan: TablePlan, commands: Sequence[str], draws: int = 0
) -> dict[str, Any]:
    commands = [*marker.get("commands", []), *commands]
    return marker | {
        "format": 1,
        "table": plan.table.name,
        "subset": plan.subset,
        "identity": plan.identity,
        "draws": max(plan.draws, draws, marker.get("draws", 0)),
        "commands": list(dict.fromkeys(command for command in commands if command)),
    }


def _write(plan: TablePlan, out: Path, outcomes: list[Outcome], marker: dict[str, Any]) -> Reproduced:
    results = results_table(plan, out, outcomes)
    sides = side_by_side(plan.table, published_numbers(plan.table), results)
    summary = summarize(plan, outcomes, results, sides, marker["commands"])
    write_results(out / "results.csv", results)
    write_archive(out / KEPT, [outcome.folder for outcome in outcomes if outcome.folder is not None])
    write_json(out / "summary.json", summary)
    if not draw_lines(plan.table, sides, out / "lines.png"):
        (out / "lines.png").unlink(missing_ok=True)
    metric = "gmean" if any(side.metric == "gmean" for side in sides) else "f1"
    ranks = ranks_of(sides, "all", metric)
    if ranks is None or not draw_ranks(ranks, out / "ranks.png", metric):
        (out / "ranks.png").unlink(missing_ok=True)
    write_pages(summary, out)
    return Reproduced(results, summary)


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
    """Return what became of every run: those that were finished before among them, and those that were not run."""
    new = {outcome.plan.hash: outcome for outcome in found}
    kept = archived_runs(out)
    return [
        new[task.plan.hash] if task.plan.hash in new else Outcome(task.plan, _finished(task, kept))
        for task in plan.tasks(out)
    ]


def _finished(task: Task, kept: Mapping[str, dict[str, Any]]) -> RunFolder | None:
    """Return a run that was finished before, here or among what was taken over; None where there is none."""
    folder = RunFolder(task.folder / "runs" / task.plan.folder_name)
    if folder.is_complete(task.plan.hash):
        return folder
    run = kept.get(task.plan.hash)
    return None if run is None else ArchivedRun(folder.path, **run)


def _check_owner(out: Path, plan: TablePlan) -> dict[str, Any]:
    """Return what the folder's marker says, if this table is in it; refuse one that holds anything else."""
    marker = out / MARKER
    if marker.exists():
        found = read_object(marker)
        if found.get("identity") != plan.identity:
            raise RunFolderError(
                f"{out} holds another table (other data, settings or `subset`); choose another `out`"
            )
        return found
    refuse_unexpected(out, "table")
    return {}
