"""Carrying out one run, from the split to the finished folder."""

from __future__ import annotations

import shutil
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from counterpoise._version import __version__
from counterpoise.datasets import ImageDataset, SplitManifest
from counterpoise.files import content_hash, write_json
from counterpoise.networks import save_network
from counterpoise.runs.folder import FORMAT, RunFolder
from counterpoise.training.artifacts import training_map
from counterpoise.training.device import make_fabric
from counterpoise.training.embedding_cache import embedded_splits
from counterpoise.training.environment import hardware, versions
from counterpoise.training.fit import Fitted, fit_method
from counterpoise.training.plan import RunPlan
from counterpoise.training.preparation import make_network
from counterpoise.training.progress import ProgressCallback
from counterpoise.training.scoring import held_out_logits, write_scores


def execute_run(
    plan: RunPlan,
    dataset: ImageDataset,
    path: Path,
    *,
    shared: Path | None = None,
    progress: ProgressCallback | None = None,
) -> RunFolder:
    """Train and evaluate what `plan` says and write it to the folder `path`.

    A folder that already holds this run, finished, is returned as it is; an unfinished one is gone on with
    from its last checkpoint. ``run.json`` says ``complete`` only once everything else is written.

    Parameters
    ----------
    plan : RunPlan
        What to do.
    dataset : ImageDataset
        The loaded data set that the plan names.
    path : Path
        The run folder.
    shared : Path, optional
        Folder where runs that train the same network share it.
    progress : ProgressCallback, optional
        Hears of every few steps.

    Returns
    -------
    RunFolder

    Raises
    ------
    RunFolderError
        If the folder holds another run or cannot be written.
    TrainingError
        If the loss is no longer finite.
    """
    folder = RunFolder(path)
    if folder.is_complete(plan.hash):
        return folder
    with folder.claimed(plan.hash):
        _execute(plan, dataset, folder, shared, progress)
    return RunFolder(path)


def _execute(
    plan: RunPlan,
    dataset: ImageDataset,
    folder: RunFolder,
    shared: Path | None,
    progress: ProgressCallback | None,
) -> None:
    start = time.perf_counter()
    manifest = plan.split.splits(dataset, plan.config.seed)
    splits = manifest.apply(dataset)
    network = make_network(plan, splits)
    if plan.freeze == "all":
        cache = Path(plan.cache) if plan.cache else (shared or folder.checkpoints).parent / "cache"
        device = make_fabric(plan.config).device
        splits = embedded_splits(
            network, dataset, manifest, splits, cache, device=device, workers=plan.config.workers
        )
    fitted = fit_method(
        plan.record,
        network,
        splits.train,
        config=plan.config,
        validation=splits.validation,
        checkpoints=folder.checkpoints,
        shared=shared,
        identity=_network_identity(plan, manifest),
        classes=splits.classes,
        progress=progress,
    )
    manifest.save(folder.path / "manifest.json")
    scored = time.perf_counter()
    device = next(fitted.network.parameters()).device
    logits = held_out_logits(fitted.network, splits, device=device, workers=plan.config.workers)
    write_scores(folder, splits, manifest.minority, logits, fitted.adjustment)
    write_json(
        folder.path / "embedding.json",
        training_map(fitted.network, splits.train, plan.config, fitted.grown),
    )
    write_json(folder.path / "history.json", fitted.history)
    save_network(fitted.network, folder.path / "model.safetensors")
    finished = time.perf_counter()
    timings = fitted.seconds | {"evaluate": finished - scored, "total": finished - start}
    write_json(folder.record_path, _record(plan, splits, manifest, fitted, timings))
    # Three times the size of the model, and of no more use: a finished run is never gone on with.
    shutil.rmtree(folder.checkpoints, ignore_errors=True)


def _network_identity(plan: RunPlan, manifest: SplitManifest) -> str:
    """Hash of the images that a network is trained on and of what it starts as."""
    start = [plan.network, plan.weights_hash, plan.new_head, plan.freeze]
    return content_hash([manifest.hash, plan.image_size, *start])


def _record(
    plan: RunPlan, splits: ImageDataset, manifest: SplitManifest, fitted: Fitted, timings: dict[str, float]
) -> dict[str, Any]:
    method = plan.record
    device = next(fitted.network.parameters()).device.type
    counts = {
        name: split.class_counts(len(splits.classes)).tolist() if split is not None else None
        for name, split in (("train", splits.train), ("validation", splits.validation), ("test", splits.test))
    }
    return {
        "format": FORMAT,
        "status": "complete",
        "version": __version__,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "dataset": {
            "name": splits.name,
            "source": plan.source,
            "classes": list(splits.classes),
            "channels": splits.channels,
            "image_size": list(splits.image_size),
            "fingerprint": plan.fingerprint,
            "counts": counts,
            "minority": list(manifest.minority),
            "skipped": [{"path": s.path, "reason": s.reason} for s in splits.skipped],
        },
        "imbalance": manifest.profile,
        "manifest_hash": manifest.hash,
        "draw": plan.draw,
        "seed": plan.config.seed,
        "method": plan.method,
        "method_title": method.title,
        "method_options": method.options(),
        "network": fitted.network.config,
        "start": {"weights": plan.weights, "weights_hash": plan.weights_hash, "freeze": plan.freeze},
        "adjust": None if fitted.adjustment is None else fitted.adjustment.get_state(),
        "training": plan.config.model_dump(),
        "config_hash": plan.hash,
        "versions": versions(),
        "hardware": hardware(device) | {"threads": plan.config.threads},
        "timings": {name: round(seconds, 3) for name, seconds in timings.items()},
    }
