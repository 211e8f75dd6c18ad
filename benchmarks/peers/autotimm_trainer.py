"""autotimm: `ImageClassifier` and `AutoTrainer` with its defaults and its balanced sampling."""

from __future__ import annotations

from datetime import timedelta

import autotimm
import torch
from common import Task, plan_epochs, seconds_per_batch
from PIL import Image

BATCH = 32


def main() -> None:
    task = Task()
    torch.set_num_threads(task.threads)
    data = autotimm.ImageDataModule(
        data_dir=task.held_out(),
        transform_config=autotimm.TransformConfig(image_size=task.tuned_size),
        backbone="tf_efficientnet_lite0",
        batch_size=BATCH,
        num_workers=1,
        balanced_sampling=True,
        pin_memory=False,
    )
    data.setup("fit")
    # Compilation would cost more than it saves within minutes.
    model = autotimm.ImageClassifier(
        backbone=autotimm.BackboneConfig(
            model_name="tf_efficientnet_lite0",
            pretrained=True,
            extra_kwargs={"pretrained_cfg_overlay": task.lite0()["pretrained_cfg_overlay"]},
        ),
        num_classes=len(task.classes),
        compile_model=False,
        seed=task.seed,
        deterministic=False,
    )
    loader = data.train_dataloader()
    per_batch = seconds_per_batch(model, loader, 0.1 * task.budget)
    epochs, batches = plan_epochs(0.9 * task.seconds_left(), 1.05 * per_batch, len(loader))
    print(f"{epochs} epochs of {batches} batches", flush=True)
    trainer = autotimm.AutoTrainer(
        max_epochs=epochs,
        limit_train_batches=batches,
        max_time=timedelta(seconds=max(1.0, task.seconds_left())),
        accelerator="cpu",
        tuner_config=False,
        enable_progress_bar=False,
        default_root_dir=str(task.out),
        seed=task.seed,
    )
    trainer.fit(model, datamodule=data)
    task.fitted()
    model.eval()
    predicted: list[int] = []
    with torch.inference_mode():
        for begin in range(0, len(task.images), BATCH):
            paths = task.images[begin : begin + BATCH]
            batch = torch.stack([data.eval_transforms(Image.open(path).convert("RGB")) for path in paths])
            predicted += model(batch).argmax(1).tolist()
    task.save(predicted)


if __name__ == "__main__":
    main()
