"""Transfer study: base networks first, then everything that starts from them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from counterpoise.balance.losses import CrossEntropy
from counterpoise.balance.samplers import epoch_indices
from counterpoise.config import TrainConfig
from counterpoise.datasets import ImageDataset, ImageSplit
from counterpoise.evaluation import evaluate
from counterpoise.exceptions import RunFolderError, TrainingError
from counterpoise.files import content_hash, read_object, write_json
from counterpoise.networks import (
    Network,
    create_network,
    cut,
    freeze,
    learned_layers,
    load_network,
    save_network,
)
from counterpoise.runs import TransferRecord
from counterpoise.studies.engine.study import Conclusion, Study
from counterpoise.studies.engine.tasks import Outcome, Task
from counterpoise.studies.transfer.page import draw_figure, write_page
from counterpoise.studies.transfer.plan import Training, TrainingRecord, TransferPlan
from counterpoise.studies.transfer.results import TransferSummary, results_table, summarize
from counterpoise.studies.transfer.tasks import TaskImages
from counterpoise.training import (
    Batches,
    LogitLoss,
    ProgressCallback,
    Stage,
    cpu_threads,
    frozen_batches,
    hardware,
    image_batches,
    make_fabric,
    memory_format,
    pixel_statistics,
    predict_logits,
    seed_for,
    softmax,
    train_stage,
    versions,
)

TransferResult = Conclusion[Training, TrainingRecord, TransferSummary]


def cell_path(out: Path, cell: Training) -> Path:
    """Return the path of a finished training's record."""
    return out / "cells" / f"{cell.file_name}.json"


def network_path(out: Path, cell: Training) -> Path:
    """Return the path of a base network."""
    return out / "networks" / f"{cell.file_name}.safetensors"


def finished_training(
    plan: TransferPlan, cell: Training, out: Path, *, to_copy: bool = True
) -> TrainingRecord | None:
    """Return the record of a training, or None if it is not finished; a base `to_copy` from needs its network."""
    path = cell_path(out, cell)
    if not path.exists() or (to_copy and cell.is_base and not network_path(out, cell).exists()):
        return None
    record = read_object(path)
    if record.get("identity") != plan.identity:
        raise RunFolderError(f"{path} is of another study; choose another `out`")
    # The identity does not see the whole of a large file.
    return record if plan.contents in (None, record.get("contents", plan.contents)) else None


def run_training(
    plan: TransferPlan,
    cell: Training,
    dataset: ImageDataset,
    out: Path,
    *,
    on_progress: ProgressCallback | None = None,
) -> TrainingRecord:
    """Execute one training and write its record; the record of a finished one is returned as it is.

    A base network is written to the study's folder `out`, and the other trainings start from these.
    """
    finished = finished_training(plan, cell, out)
    if finished is not None:
        return finished
    start = time.perf_counter()
    config = plan.config.model_copy(update={"seed": plan.seed(cell.repeat)})
    images = plan.images(dataset, cell.repeat, cell.target)
    with cpu_threads(config.threads):
        device = (fabric := make_fabric(config)).device
        network = starting_network(plan, cell, dataset, images, out).to(device)
        module, batches = _trained_part(cell, network, images.train, config, device)
        checkpoint = out / "checkpoints" / f"{cell.file_name}.safetensors"
        stage = Stage(
            name="train",
            module=module,
            batch_loss=LogitLoss(CrossEntropy().to(device), seed=config.seed, device=device),
            batches=batches,
            epochs=config.epochs,
            checkpoint=checkpoint,
            identity=content_hash([plan.identity, plan.contents, [cell.repeat, cell.treatment, cell.layers]]),
        )
        history = train_stage(stage, config, fabric, on_progress or ProgressCallback())
        logits = predict_logits(network, images.test, device=device, workers=config.workers)
    scores = evaluate(images.test.labels, softmax(logits), classes=images.classes)
    if cell.is_base:
        save_network(network, network_path(out, cell))
    record = {
        "format": 1,
        "identity": plan.identity,
        "contents": plan.contents,
        "draw": cell.repeat,
        "seed": config.seed,
        "treatment": cell.treatment,
        "layers": cell.layers,
        "name": cell.name,
        "classes": list(images.classes),
        "images": {"train": len(images.train), "test": len(images.test)},
        "network": network.config,
        "scores": scores,
        "history": history,
        "seconds": round(time.perf_counter() - start, 3),
        "versions": versions(),
        "hardware": hardware(device.type) | {"threads": config.threads},
    }
    write_json(cell_path(out, cell), record)
    checkpoint.unlink(missing_ok=True)
    return record


def starting_network(
    plan: TransferPlan, cell: Training, dataset: ImageDataset, images: TaskImages, out: Path
) -> Network:
    """Return the network that a training starts from: new, with its first layers copied and perhaps frozen.

    The layers that are not copied start from the same values in all trainings of a repeat, and from other values than
    those of the bases: with the bases' own values, the rest of BnB would fit its copied layers from the start.
    """
    mean, std = pixel_statistics(images.train)
    network = create_network(
        plan.network,
        num_classes=len(images.classes),
        in_channels=dataset.channels,
        image_size=dataset.image_size,
        mean=mean,
        std=std,
        seed=seed_for(plan.seed(cell.repeat), "network", cell.treatment if cell.is_base else "rest"),
    ).to(memory_format=memory_format(dataset.channels))
    if cell.is_base:
        return network
    base = cell_path(out, cell.base)
    if not base.exists():
        raise TrainingError(f"{cell.base.name} is not there to start from: its training failed")
    source = load_network(read_object(base)["network"], network_path(out, cell.base))
    copy_layers(source, network, cell.layers)
    if cell.is_frozen:
        freeze(network, cell.layers)
    return network


def copy_layers(source: Network, target: Network, n: int) -> None:
    """Copy the first `n` learned layers, with their batch-norm statistics and the normalization of images."""
    target.mean.copy_(source.mean)
    target.std.copy_(source.std)
    for old, new in zip(learned_layers(source)[:n], learned_layers(target)[:n], strict=True):
        for old_module, new_module in zip(old.modules, new.modules, strict=True):
            new_module.load_state_dict(old_module.state_dict())


def _trained_part(
    cell: Training, network: Network, train: ImageSplit, config: TrainConfig, device: torch.device
) -> tuple[nn.Module, Batches]:
    """Return the module to train and its batches: layers above frozen ones train on the outputs of these."""
    seed = seed_for(config.seed, "order")
    settings: dict[str, Any] = {
        "order": lambda epoch: epoch_indices(None, train.labels, seed=seed, epoch=epoch),
        "batch_size": config.batch_size,
        "device": device,
        "workers": config.workers,
    }
    if not cell.is_frozen:
        return network, image_batches(train, **settings)
    bottom, rest = cut(network, cell.layers)
    return rest, frozen_batches(bottom, train, **settings)


@dataclass(frozen=True)
class TransferStudy(Study[Training, TrainingRecord, TransferSummary]):
    """Transfer by layers: the base networks of a repeat are trained once, and everything else starts from them.

    Repeats from `asked` on only count where they are finished, and the records `taken` over from earlier results count
    as finished. A base among these is retrained where another training starts from it: archives hold no networks.

    Its folder holds ``cells/``, ``networks/``, ``results.csv``, ``summary.json``, ``transfer.png`` and
    ``transfer.html``.
    """

    kind = "transfer study"
    marker = "transfer.json"
    plan: TransferPlan
    dataset: ImageDataset
    asked: int | None = None
    taken: Sequence[TransferRecord] = ()

    def __getstate__(self) -> dict[str, Any]:
        return {"plan": self.plan}

    def tasks(self, folder: Path) -> list[Task[Training, TrainingRecord]]:
        """Return every training; all but the bases need the base that their layers come from."""
        for record in self.taken:
            path = cell_path(folder, Training(record.draw, record.treatment, record.layers))
            if not path.exists():
                write_json(path, record.raw)
        tasks = [
            Task(
                key=cell.file_name,
                name=cell.name,
                repeat=cell.repeat,
                plan=cell,
                dataset=self.dataset,
                path=cell_path(folder, cell).with_suffix(""),
                needs=() if cell.is_base else (cell.base.file_name,),
                wanted=self.asked is None or cell.repeat < self.asked,
                done=finished_training(self.plan, cell, folder, to_copy=False),
            )
            for cell in self.plan.cells
        ]
        needed = {key for task in tasks if task.waits for key in task.needs}
        return [
            replace(t, done=finished_training(self.plan, t.plan, folder)) if t.key in needed else t
            for t in tasks
        ]

    def execute(
        self, task: Task[Training, TrainingRecord], folder: Path, on_progress: ProgressCallback
    ) -> TrainingRecord:
        """Execute one training."""
        return run_training(self.plan, task.plan, task.dataset, folder, on_progress=on_progress)

    def files(self, task: Task[Training, TrainingRecord], folder: Path) -> list[Path]:
        """Return the record, and the network of a base."""
        network = [network_path(folder, task.plan)] if task.plan.is_base else []
        return [*network, cell_path(folder, task.plan)]

    def conclude(
        self, outcomes: Sequence[Outcome[Training, TrainingRecord]], folder: Path, seconds: float
    ) -> TransferResult:
        """Return curves and the lecture's findings."""
        return TransferResult(results_table(self.plan, outcomes), summarize(self.plan, outcomes), outcomes)

    def write_page(self, concluded: TransferResult, folder: Path) -> None:
        """Draw the figure and write the page."""
        if concluded.summary["curves"]:
            draw_figure(concluded.summary, folder / "transfer.png")
            write_page(concluded.summary, folder / "transfer.png", folder / "transfer.html")

    def scratch(self, folder: Path) -> Iterable[Path]:
        """Return the folder of checkpoints; the base networks stay."""
        return [folder / "checkpoints"]
