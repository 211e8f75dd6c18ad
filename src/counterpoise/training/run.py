"""Execution of one run, from the split to the finished folder with its scores, embedding map and mistakes."""

from __future__ import annotations

import base64
import io
import math
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch

from counterpoise._version import __version__
from counterpoise.balance.adjust import Adjustment
from counterpoise.config import TrainConfig
from counterpoise.datasets import ImageDataset, ImageSplit, SplitManifest
from counterpoise.evaluation import ScoresDict, evaluate
from counterpoise.files import content_hash, write_json
from counterpoise.networks import Network, save_network
from counterpoise.runs import CALIBRATION, FORMAT, EmbeddingMap, Mistake, RunFolder, write_predictions
from counterpoise.training.calibration import TrustDict, calibrate, trust_record
from counterpoise.training.fit import Fitted
from counterpoise.training.initialization import make_network
from counterpoise.training.machine import (
    cpu_threads,
    find_device,
    hardware,
    reused_memory,
    timestamp,
    versions,
)
from counterpoise.training.method_stages import ResampledSet
from counterpoise.training.plan import RunPlan
from counterpoise.training.predict import check_logits, embed_images, embedded_splits, predict_logits, softmax
from counterpoise.training.randomness import generator_for
from counterpoise.training.seen import seen_images
from counterpoise.training.stage import ProgressCallback, Step
from counterpoise.training.transfer import FitJob, fit_by_validation

SCORED = ("test", "validation")
MAP_POINTS = 2000
MAP_SAMPLE = 400  # images of each class
WIDE = 1024  # features of an embedding from which its map is computed by a randomized method
MISTAKES = 24
THUMBNAIL = 112  # pixels


def execute_run(
    plan: RunPlan,
    dataset: ImageDataset,
    path: Path,
    *,
    shared: Path | None = None,
    progress: ProgressCallback | None = None,
    on_fitted: Callable[[Fitted, ImageDataset], None] | None = None,
    penalty: float | None = None,
    changes: Mapping[str, object] | None = None,
) -> RunFolder:
    """Train and evaluate a network by `plan` and write the run folder `path`.

    A finished run is returned unchanged, an interrupted one resumes from its last checkpoint. ``run.json`` has status
    ``complete`` only once everything else is written. Runs with the same `shared` folder share equal networks.
    `on_fitted` is called with the trained network and the splits before they are scored; it may change the network.
    `penalty` replaces that of the plan, and `changes` are entries of ``run.json`` that differ from it.
    `RunFolderError` if the folder holds another run or cannot be written; `TrainingError` if the loss is not finite.
    """
    folder, plan = RunFolder(path), replace(plan, contents=plan.contents or dataset.contents)
    if folder.is_complete(plan.hash, plan.contents):
        folder.clean()
        return folder
    with folder.claimed(plan.hash), reused_memory(), cpu_threads(plan.config.threads):
        started = time.perf_counter()
        manifest = plan.split.splits(dataset, plan.config.seed)
        splits = manifest.apply(dataset)
        network = make_network(plan, splits)
        embedded, seconds = splits, 0.0
        if plan.embeds:
            cache = Path(plan.cache) if plan.cache else (shared or folder.checkpoints).parent / "cache"
            on_image = embedding_progress(progress)
            device = find_device(plan.config.device)
            embedding = time.perf_counter()
            embedded = embedded_splits(network, splits, cache, device=device, progress=on_image)
            seconds = time.perf_counter() - embedding
        start = [plan.network, plan.weights_hash, plan.new_head, plan.freeze]
        start += [value for value in (plan.features, plan.adapter) if value is not None]
        # The hash of the manifest does not see the whole of a large file.
        start += [plan.contents] if splits.train.facts else []
        job = FitJob(
            method=plan.record,
            config=plan.config.model_copy(update={"penalty": penalty or plan.config.penalty}),
            checkpoints=folder.checkpoints,
            shared=shared,
            identity=content_hash([manifest.hash, plan.image_size, *start]),
            classes=splits.classes,
            minority=manifest.minority,
            progress=progress or ProgressCallback(),
        )
        changes = dict(changes or {})
        if plan.head_first:
            fitted = job.fine_tune(network, splits, embedded)
        elif plan.freeze == "auto":
            fitted, evidence = fit_by_validation(job, network, splits, embedded)
            splits, frozen = (embedded, "all") if evidence.prefers_frozen else (splits, None)
            changes["start"] = _start(replace(plan, freeze=frozen)) | {"evidence": asdict(evidence)}
        else:
            splits = embedded
            fitted = job.fit(network, splits)
        if seconds:
            fitted.seconds["embed"] = fitted.seconds.get("embed", 0.0) + seconds
        if on_fitted is not None:
            on_fitted(fitted, splits)
        write_run(folder, plan, splits, manifest, fitted, started=started, **changes)
    return RunFolder(path)


def write_run(
    folder: RunFolder,
    plan: RunPlan,
    splits: ImageDataset,
    manifest: SplitManifest,
    fitted: Fitted,
    *,
    started: float,
    **changes: object,
) -> None:
    """Score a trained network and write the run folder, ``run.json`` last; its checkpoints are removed.

    `manifest` splits the dataset into `splits`, and `started` is ``time.perf_counter()`` at the start of the run.
    `changes` are entries of ``run.json`` that differ from those of the plan, or are added to them.
    """
    network, scored = fitted.network, time.perf_counter()
    device = next(network.parameters()).device
    manifest.save(folder.path / "manifest.json")
    seen_images(splits, plan.weights).save(folder.path)
    logits = held_out_logits(network, splits, device=device, workers=plan.config.workers)
    for values in logits.values():
        check_logits(values, plan.config.lr)
    write_scores(folder, splits, manifest.minority, logits, fitted.adjustment)
    points = fitted.resampled or embedded_sample(network, splits.train, plan.config)
    points_map = embedding_map(points, generator_for(plan.config.seed, "map"))
    write_json(folder.path / "embedding.json", points_map.raw)
    write_json(folder.path / "history.json", fitted.history)
    calibration = calibrate(fitted, splits, logits, plan.config)
    trust: dict[str, TrustDict] = {}
    if calibration is not None:
        calibration.save(folder.path / CALIBRATION)
        trust["trust"] = trust_record(calibration, fitted.adjustment, splits.classes)
    save_network(network, folder.path / "model.safetensors")
    finished = time.perf_counter()
    timings = fitted.seconds | {"evaluate": finished - scored, "total": finished - started}
    write_json(folder.record_path, _record(plan, splits, manifest, fitted, timings) | trust | changes)
    # Three times the size of the model, and a finished run never resumes.
    shutil.rmtree(folder.checkpoints, ignore_errors=True)


def embedding_progress(progress: ProgressCallback | None) -> Callable[[int, int], None] | None:
    """Return a function of (done, total) that passes the progress of embedding on as that of a stage."""
    if progress is None:
        return None
    return lambda done, total: progress.update(Step("embed", done, total, 1, 1, math.nan))


def _record(
    plan: RunPlan, splits: ImageDataset, manifest: SplitManifest, fitted: Fitted, timings: Mapping[str, float]
) -> dict[str, object]:
    device = next(fitted.network.parameters()).device.type
    counts = {
        name: splits.splits[name].class_counts(splits.num_classes).tolist() if name in splits.splits else None
        for name in ("train", "validation", "test")
    }
    return {
        "format": FORMAT,
        "status": "complete",
        "version": __version__,
        "created": timestamp(),
        "dataset": {
            "name": splits.name,
            "source": plan.source,
            "classes": list(splits.classes),
            "channels": splits.channels,
            "image_size": list(splits.image_size),
            "fit": splits.fit,
            **({} if splits.value_range is None else {"value_range": list(splits.value_range)}),
            "fingerprint": plan.fingerprint,
            "contents": plan.contents,
            "counts": counts,
            "minority": list(manifest.minority),
            "skipped": [{"path": s.path, "reason": s.reason} for s in splits.skipped],
        },
        "imbalance": manifest.profile,
        "manifest_hash": manifest.hash,
        "draw": plan.draw,
        "seed": plan.config.seed,
        "method": plan.method,
        "method_title": plan.record.title,
        "method_options": plan.record.options(),
        "network": fitted.network.config,
        "start": _start(plan),
        "adjust": None if fitted.adjustment is None else fitted.adjustment.get_state(),
        "training": plan.config.model_dump(),
        "config_hash": plan.hash,
        "config": plan.settings(),
        "versions": versions(),
        "hardware": hardware(device) | {"threads": plan.config.threads},
        "timings": {name: round(seconds, 3) for name, seconds in timings.items()},
        **({"penalties": fitted.penalties} if fitted.penalties else {}),
    }


def _start(plan: RunPlan) -> dict[str, object]:
    start: dict[str, object] = {
        "weights": plan.weights,
        "weights_hash": plan.weights_hash,
        "freeze": plan.freeze,
    }
    return start if plan.origin is None else start | {"origin": plan.origin, "license": plan.license}


def held_out_logits(
    network: Network,
    splits: ImageDataset,
    *,
    device: torch.device,
    workers: int = 0,
    batch_size: int | None = None,
) -> dict[str, np.ndarray]:
    """Return the network's own logits of the test and validation images, where there are any."""
    return {
        name: predict_logits(network, split, device=device, workers=workers, batch_size=batch_size)
        for name, split in splits.splits.items()
        if name in SCORED and len(split)
    }


def write_scores(
    folder: RunFolder,
    splits: ImageDataset,
    minority: tuple[int, ...],
    logits: Mapping[str, np.ndarray],
    adjustment: Adjustment | None,
) -> dict[str, ScoresDict | None]:
    """Write ``metrics.json``, ``predictions.csv`` and ``mistakes.json`` (both of the test images); return the first.

    `logits` are from `held_out_logits`. Validation scores choose a winner, so an adjustment, which was learned from the
    validation images, is scored on them by a cross-fit.
    """
    metrics: dict[str, ScoresDict | None] = dict.fromkeys(SCORED)
    for name, adjusted in logits.items():
        split = splits.splits[name]
        if adjustment is not None and name == "validation":
            counts = splits.train.class_counts(splits.num_classes)
            adjusted = adjustment.cross_fit(adjusted, split.labels, counts)
        elif adjustment is not None:
            adjusted = adjustment.transform(adjusted)
        probabilities = softmax(adjusted)
        metrics[name] = evaluate(
            split.labels, probabilities, classes=splits.classes, minority=minority, groups=split.groups
        )
        if name == "test":
            predictions = folder.path / "predictions.csv"
            write_predictions(predictions, split.paths, splits.classes, split.labels, probabilities)
            mistakes = worst_mistakes(split, probabilities)
            write_json(folder.path / "mistakes.json", [mistake.raw for mistake in mistakes])
    write_json(folder.path / "metrics.json", metrics)
    return metrics


def embedded_sample(
    network: Network, train: ImageSplit, config: TrainConfig, *, most: int = MAP_SAMPLE
) -> ResampledSet:
    """Return the embeddings of at most `most` training images of each class, drawn by the seed of `config`."""
    generator = generator_for(config.seed, "map sample")
    per_class = [np.flatnonzero(train.labels == c) for c in np.unique(train.labels)]
    kept = np.concatenate([np.sort(generator.permutation(members)[:most]) for members in per_class])
    sample = train.subset(kept)
    device = next(network.parameters()).device
    embeddings = embed_images(network, sample, device=device, workers=config.workers)
    return ResampledSet(embeddings, sample.labels, np.ones(len(kept), dtype=np.float32), originals=len(kept))


def embedding_map(resampled: ResampledSet, generator: np.random.Generator) -> EmbeddingMap:
    """Return the first two principal components of a sample of the training set, originals and synthetic samples.

    The sample holds at most 2000 points, as many of each class and kind, so that rare classes are visible. The
    axes are those of the originals.
    """
    from sklearn.decomposition import PCA

    synthetic = np.arange(len(resampled.labels)) >= resampled.originals
    groups = [
        np.flatnonzero((resampled.labels == c) & (synthetic == s))
        for c in np.unique(resampled.labels)
        for s in (0, 1)
    ]
    groups = [group for group in groups if len(group)]
    share = max(1, MAP_POINTS // len(groups))
    kept = np.concatenate([np.sort(generator.permutation(group)[:share]) for group in groups])
    originals = kept[~synthetic[kept]]
    # A full decomposition of wide embeddings takes seconds, and only two of its vectors are used.
    wide = resampled.embeddings.shape[1] > WIDE
    solver = PCA(n_components=2, svd_solver="randomized" if wide else "full", random_state=0)
    projection = solver.fit(resampled.embeddings[originals])
    points = projection.transform(resampled.embeddings[kept])
    return EmbeddingMap(
        projection="PCA",
        x=tuple(round(float(v), 4) for v in points[:, 0]),
        y=tuple(round(float(v), 4) for v in points[:, 1]),
        label=resampled.labels[kept].tolist(),
        kind=tuple("synthetic" if s else "original" for s in synthetic[kept]),
    )


def worst_mistakes(split: ImageSplit, probabilities: np.ndarray) -> list[Mistake]:
    """Return the 24 most confident wrong predictions, the most confident first, each with a small PNG."""
    predicted = probabilities.argmax(axis=1)
    confidence = probabilities.max(axis=1)
    wrong = np.flatnonzero(predicted != split.labels)
    worst = wrong[np.argsort(-confidence[wrong], kind="stable")][:MISTAKES]
    return [
        Mistake(
            path=split.paths[i],
            true=int(split.labels[i]),
            predicted=int(predicted[i]),
            probability=round(float(confidence[i]), 6),
            image=png_data_uri(np.asarray(split.images[int(i)])),
        )
        for i in worst
    ]


def png_data_uri(image: np.ndarray) -> str:
    """Return an image (C, H, W), uint8, as a PNG data URI, at most 112 pixels wide or high."""
    from PIL import Image

    picture = Image.fromarray(image[0] if len(image) == 1 else np.ascontiguousarray(image.transpose(1, 2, 0)))
    picture.thumbnail((THUMBNAIL, THUMBNAIL))
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
