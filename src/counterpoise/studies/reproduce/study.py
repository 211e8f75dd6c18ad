"""Reproduction of a published table: the runs that are missing, and the results beside the published ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from counterpoise.exceptions import InputError
from counterpoise.files import read_object
from counterpoise.runs import ARCHIVE, RESUMED, ArchivedRun, archived_runs, read_archive, write_archive
from counterpoise.studies.engine.planned_runs import RunConclusion, RunOutcome, RunStudy, RunTask, run_task
from counterpoise.studies.reproduce.figures import draw_lines, draw_ranks
from counterpoise.studies.reproduce.page import PICTURES, write_pages
from counterpoise.studies.reproduce.plan import TablePlan
from counterpoise.studies.reproduce.side_by_side import side_by_side
from counterpoise.studies.reproduce.summary import TableSummary, ranks_of, results_table, summarize

TableResult = RunConclusion[TableSummary]
MARKER = "reproduce.json"


@dataclass(frozen=True)
class ReproductionStudy(RunStudy[TableSummary]):
    """Runs of a published table, on datasets of its own; `only` names the lines to run, by default all.

    Its folder holds a folder of runs for each line, ``results.csv``, ``summary.json``, ``page.html``, ``page.md``,
    pictures, and ``runs.jsonl``. Repeats that were finished before count, also where fewer are asked for.

    Parameters
    ----------
    resume_from : Path, optional
        Folder that `publish` has filled, perhaps on another machine. Its runs of the same images and settings count as
        done from now on; their scores, times, versions and hardware enter the page as those of runs made here do.
    render_only : bool
        Run nothing: write results and page of the finished runs. Cannot be combined with `only`.
    """

    kind = "table"
    marker = MARKER
    depends_on = "data, settings or `subset`"
    published = (ARCHIVE, "results.csv", "summary.json", "page.html", "page.md", "*.png")
    plan: TablePlan
    only: tuple[str, ...] = ()
    resume_from: Path | None = None
    render_only: bool = False

    def __post_init__(self) -> None:
        if self.render_only and self.only:
            raise InputError("`render_only` runs nothing and shows all lines; leave out `only`")
        self.plan.only(self.only)

    def __getstate__(self) -> dict[str, Any]:
        return {}  # `execute` needs nothing of the study, and a worker gets the dataset with its task

    def mark(self, known: Mapping[str, Any], folder: Path) -> dict[str, Any]:
        """Return the marker, with all command lines that have run something, and the largest number of repeats."""
        if self.render_only and not known and not self._taken:
            raise InputError(
                f"{folder} holds no runs of {self.plan.table.name} to make a page of; leave out `render_only` to run it"
            )
        commands, repeats = list(known.get("commands", [])), known.get("draws", 0)
        new = self._taken.keys() - archived_runs(folder).keys()
        if new and self.resume_from is not None:
            commands += read_object(self.resume_from / "summary.json").get("commands", [])
            repeats = max(repeats, _repeats(self._taken))
        elif known and not any(task.waits for task in self._tasks(self.plan, folder)):
            return dict(known)
        commands.append(self.plan.command)
        return {
            **known,
            "format": 1,
            "table": self.plan.table.name,
            "subset": self.plan.subset,
            "identity": self.plan.identity,
            "draws": max(self.plan.repeats, repeats),
            "commands": list(dict.fromkeys(command for command in commands if command)),
        }

    def tasks(self, folder: Path) -> list[RunTask]:
        """Return every run of every repeat so far, and take over archived runs."""
        kept = archived_runs(folder)
        if self._taken.keys() - kept.keys():
            write_archive(folder / RESUMED, (kept | self._taken).values())
        return self._tasks(self._whole(folder), folder)

    def conclude(self, outcomes: Sequence[RunOutcome], folder: Path, seconds: float) -> TableResult:
        """Return scores beside the published ones, and findings."""
        whole = self._whole(folder)
        table = results_table(whole.table.name, outcomes)
        commands = read_object(folder / MARKER)["commands"]
        return TableResult(table, summarize(whole, outcomes, table, commands), outcomes)

    def write_page(self, concluded: TableResult, folder: Path) -> None:
        """Write the archive, the pictures and the pages."""
        write_archive(folder / ARCHIVE, concluded.results)
        sides = side_by_side(self.plan.table, concluded.table)
        for name in PICTURES:
            (folder / name).unlink(missing_ok=True)
        draw_lines(self.plan.table, sides, folder / "lines.png")
        metric = "gmean" if any(side.metric == "gmean" for side in sides) else "f1"
        ranks = ranks_of(sides, "all", metric)
        if ranks is not None:
            draw_ranks(ranks, folder / "ranks.png", metric)
        write_pages(concluded.summary, folder)

    def scratch(self, folder: Path) -> Iterable[Path]:
        """Return the folders of shared networks."""
        return [folder / cell.setting.name / "networks" for cell in self.plan.cells]

    def _tasks(self, plan: TablePlan, folder: Path) -> list[RunTask]:
        archived = archived_runs(folder) | self._taken
        tasks = []
        for cell, run in plan.runs():
            task = run_task(run, cell.dataset, folder / cell.setting.name)
            asked = run.draw < self.plan.repeats and (not self.only or cell.setting.name in self.only)
            done = task.done or archived.get(run.hash)
            tasks.append(replace(task, done=done, wanted=asked and not self.render_only))
        return tasks

    def _whole(self, folder: Path) -> TablePlan:
        """Return the plan with every repeat that the folder has seen."""
        return self.plan.with_repeats(max(self.plan.repeats, read_object(folder / MARKER)["draws"]))

    @cached_property
    def _taken(self) -> dict[str, ArchivedRun]:
        """Return the runs of `resume_from` that are runs of this table, whatever their repeat."""
        if self.resume_from is None:
            return {}
        found = read_archive(self.resume_from / ARCHIVE)
        every = self.plan.with_repeats(max(self.plan.repeats, _repeats(found)))
        known = {run.hash for _, run in every.runs()}
        taken = {key: run for key, run in found.items() if key in known}
        if not taken:
            raise InputError(
                f"{self.resume_from} holds no run of {self.plan.table.name} with these images and settings; leave out "
                "`resume_from`"
            )
        return taken


def _repeats(runs: Mapping[str, ArchivedRun]) -> int:
    """Return how many repeats it takes to have all `runs` among them."""
    return max((run.record.draw + 1 for run in runs.values()), default=0)
