"""Carrying out a transfer study: resumable, in parallel, one failure does not stop the rest."""

from __future__ import annotations

import os
import shutil
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from safetensors import SafetensorError

from counterpoise.datasets import ImageDataset
from counterpoise.exceptions import CounterpoiseError, RunFolderError
from counterpoise.files import locked_folder, read_object, refuse_unexpected, write_json
from counterpoise.studies.engine.worker_events import Address, end_with_parent, listening
from counterpoise.studies.transfer.execute import run_training
from counterpoise.studies.transfer.figure import draw_figure
from counterpoise.studies.transfer.page import write_page
from counterpoise.studies.transfer.plan import Training, TransferPlan
from counterpoise.studies.transfer.results import results_table, summarize, write_results
from counterpoise.training import ProgressCallback, Step

SECONDS_BETWEEN_EVENTS = 0.2

#: Hears what share of a training is done, from 0 to 1; 1 once it has ended.
Listener = Callable[[Training, float], None]


@dataclass(frozen=True)
class TrainingOutcome:
    """What became of a training: its record, or the error in one line."""

    cell: Training
    record: dict[str, Any] | None
    error: str | None = None


@dataclass(frozen=True)
class TransferResult:
    """A finished study.

    Attributes
    ----------
    table : DataFrame
        The test scores in long format, as in ``results.csv``.
    summary : dict
        As in ``summary.json``.
    """

    table: pd.DataFrame
    summary: dict[str, Any]


def run_transfer(
    plan: TransferPlan, dataset: ImageDataset, out: Path, *, jobs: int = 1, listen: Listener | None = None
) -> TransferResult:
    """Carry out what is missing of a study and write its tables, its figure and its page to `out`.

    Each draw's two base networks are trained once, and everything else starts from them. Results do not depend on
    `jobs`: the threads of a training belong to its settings.

    Parameters
    ----------
    plan : TransferPlan
        What to do.
    dataset : ImageDataset
        The loaded data set that the plan names.
    out : Path
        The study's folder: ``cells/``, ``networks/``, ``results.csv``, ``summary.json``, ``transfer.png``,
        ``transfer.html``.
    jobs : int
        Trainings at the same time.
    listen : callable, optional
        Hears of the progress.

    Raises
    ------
    RunFolderError
        If `out` holds something else, is in use, or cannot be written.
    """
    start = time.perf_counter()
    out = Path(out)
    _check_owner(out, plan)
    with locked_folder(out):
        if not _check_owner(out, plan):
            write_json(out / "transfer.json", {"format": 1, "identity": plan.identity})
        outcomes = _carry_out(plan, dataset, out, jobs, listen or _ignore)
        records = [outcome.record for outcome in outcomes if outcome.record is not None]
        failed = [
            {"draw": o.cell.draw, "name": o.cell.name, "error": o.error}
            for o in outcomes
            if o.error is not None
        ]
        summary = summarize(plan, dataset, records, failed, seconds=time.perf_counter() - start)
        table = results_table(plan, dataset.name, records)
        write_results(out / "results.csv", table)
        write_json(out / "summary.json", summary)
        if summary["curves"]:
            draw_figure(summary, out / "transfer.png")
            write_page(summary, out / "transfer.png", out / "transfer.html")
        if not failed:
            shutil.rmtree(out / "checkpoints", ignore_errors=True)
    return TransferResult(table, summary)


def _check_owner(out: Path, plan: TransferPlan) -> bool:
    """Return whether the folder holds this study already; refuse one that holds anything else."""
    marker = out / "transfer.json"
    if marker.exists():
        if read_object(marker).get("identity") != plan.identity:
            raise RunFolderError(
                f"{out} holds another transfer study (other data or settings); choose another `out`"
            )
        return True
    refuse_unexpected(out, "transfer study")
    return False


def _carry_out(
    plan: TransferPlan, dataset: ImageDataset, out: Path, jobs: int, listen: Listener
) -> list[TrainingOutcome]:
    bases = [cell for cell in plan.cells if cell.is_base]
    others = [cell for cell in plan.cells if not cell.is_base]
    if jobs == 1:
        return [_attempt(plan, cell, dataset, out, listen) for cell in (*bases, *others)]
    with listening(lambda news: listen(*news)) as address:
        # All bases are there before anything starts from one.
        return [
            outcome
            for cells in (bases, others)
            for outcome in _run_in_parallel(plan, cells, dataset, out, jobs, address)
        ]


def _run_in_parallel(
    plan: TransferPlan,
    cells: Sequence[Training],
    dataset: ImageDataset,
    out: Path,
    jobs: int,
    address: Address,
) -> list[TrainingOutcome]:
    from joblib import Parallel, delayed

    parallel = Parallel(
        n_jobs=jobs,
        backend="loky",
        inner_max_num_threads=plan.config.threads,
        mmap_mode="r",
        initializer=end_with_parent,
        initargs=(os.getpid(),),
        batch_size=1,  # trainings take too long to be handed out by several
    )
    return list(parallel(delayed(_run_in_worker)(plan, cell, dataset, out, address) for cell in cells))


def _run_in_worker(
    plan: TransferPlan, cell: Training, dataset: ImageDataset, out: Path, address: Address
) -> TrainingOutcome:
    with address.connected() as send:
        return _attempt(plan, cell, dataset, out, lambda *news: send(news))


def _attempt(
    plan: TransferPlan, cell: Training, dataset: ImageDataset, out: Path, listen: Listener
) -> TrainingOutcome:
    try:
        record = run_training(plan, cell, dataset, out, progress=_ThrottledProgress(cell, listen))
        outcome = TrainingOutcome(cell, record)
    except CounterpoiseError as error:
        outcome = TrainingOutcome(cell, None, str(error))
    except (MemoryError, RuntimeError, ValueError, OSError, SafetensorError) as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(where.filename).name}:{where.lineno}"
        outcome = TrainingOutcome(cell, None, f"{type(error).__name__}: {error} ({place})".replace("\n", " "))
    listen(cell, 1.0)
    return outcome


class _ThrottledProgress(ProgressCallback):
    """Passes on how much is done, a few times a second."""

    def __init__(self, cell: Training, listen: Listener) -> None:
        self.cell = cell
        self.listen = listen
        self.last = 0.0

    def update(self, step: Step) -> None:
        now = time.monotonic()
        if now - self.last >= SECONDS_BETWEEN_EVENTS:
            self.last = now
            self.listen(self.cell, step.done / max(1, step.total))


def _ignore(cell: Training, share: float) -> None:
    pass
