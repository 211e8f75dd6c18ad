"""Carrying out the arms of a study: resumable, in parallel, one failure does not stop the rest."""

from __future__ import annotations

import os
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path

from safetensors import SafetensorError

from counterpoise.datasets import ImageDataset
from counterpoise.exceptions import CounterpoiseError
from counterpoise.studies.engine.run import Event, Listener, Outcome, ThrottledProgress
from counterpoise.studies.engine.worker_events import Address, end_with_parent, listening
from counterpoise.studies.enhance.plan import VariantPlan
from counterpoise.studies.enhance.variants import execute_variant


def run_variants(
    plans: Sequence[VariantPlan],
    classifiers: Mapping[int, Path],
    dataset: ImageDataset,
    folder: Path,
    *,
    jobs: int,
    listen: Listener,
) -> list[Outcome]:
    """Carry out `plans`, each in its own folder below ``folder/runs``, and return what became of each, in order.

    Finished arms are not run again. Results do not depend on `jobs`: the threads of an arm belong to its
    configuration.

    Parameters
    ----------
    plans : sequence of VariantPlan
        What to do.
    classifiers : mapping of int to Path
        The finished run of the second step, for each draw.
    dataset : ImageDataset
        The loaded data set.
    folder : Path
        The study's folder.
    jobs : int
        Processes; 1 runs in this one.
    listen : callable
        Hears of the steps and the ends of arms.
    """
    if jobs == 1:
        return [_attempt(plan, classifiers[plan.draw], dataset, folder, listen) for plan in plans]
    with listening(listen) as address:
        return _run_in_parallel(plans, classifiers, dataset, folder, jobs, address)


def _run_in_parallel(
    plans: Sequence[VariantPlan],
    classifiers: Mapping[int, Path],
    dataset: ImageDataset,
    folder: Path,
    jobs: int,
    address: Address,
) -> list[Outcome]:
    from joblib import Parallel, delayed

    parallel = Parallel(
        n_jobs=jobs,
        backend="loky",
        inner_max_num_threads=max(plan.config.threads for plan in plans),
        mmap_mode="r",
        initializer=end_with_parent,
        initargs=(os.getpid(),),
        batch_size=1,  # arms take too long to be handed out by several
    )
    tasks = (
        delayed(_run_in_worker)(plan, classifiers[plan.draw], dataset, folder, address) for plan in plans
    )
    return list(parallel(tasks))


def _run_in_worker(
    plan: VariantPlan, classifier: Path, dataset: ImageDataset, folder: Path, address: Address
) -> Outcome:
    with address.connected() as send:
        return _attempt(plan, classifier, dataset, folder, send)


def _attempt(
    plan: VariantPlan, classifier: Path, dataset: ImageDataset, folder: Path, listen: Listener
) -> Outcome:
    path, shared = folder / "runs" / plan.folder_name, folder / "networks"
    progress = ThrottledProgress(plan, listen)
    try:
        found = execute_variant(plan, dataset, path, classifier=classifier, shared=shared, progress=progress)
        outcome = Outcome(plan, found)
    except CounterpoiseError as error:
        outcome = Outcome(plan, None, str(error))
    except (MemoryError, RuntimeError, ValueError, OSError, SafetensorError) as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(where.filename).name}:{where.lineno}"
        outcome = Outcome(plan, None, f"{type(error).__name__}: {error} ({place})".replace("\n", " "))
    listen(Event(plan, None))
    return outcome
