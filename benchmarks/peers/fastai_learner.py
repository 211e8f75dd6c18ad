"""fastai: `vision_learner` and `fine_tune` with a weighted dataloader and fastai's own defaults."""

from __future__ import annotations

import math

import numpy as np
import torch
from common import Task, class_weights, plan_epochs, seconds_per_batch
from fastai.callback.core import Callback, CancelFitException
from fastai.callback.data import WeightedDL
from fastai.vision.all import (
    CategoryBlock,
    DataBlock,
    ImageBlock,
    RandomSplitter,
    Resize,
    aug_transforms,
    get_image_files,
    parent_label,
    set_seed,
    vision_learner,
)

BATCH = 32


class Deadline(Callback):
    """Stop where the plan was too hopeful."""

    def __init__(self, task: Task) -> None:
        self.task = task

    def after_batch(self) -> None:
        """Cancel the fit, not predictions, once the budget is spent."""
        if self.training and self.task.seconds_left() < 0:
            raise CancelFitException


class ShortenedDL(WeightedDL):
    """Weighted dataloader whose epochs may end early."""

    longest: int | None = None

    def get_idxs(self) -> list[int]:
        """Return as many sampled indices as an epoch has."""
        found = super().get_idxs()
        return found[: self.longest * self.bs] if self.shuffle and self.longest else found

    def __len__(self) -> int:
        whole = super().__len__()
        return min(whole, self.longest) if self.shuffle and self.longest else whole


def main() -> None:
    task = Task()
    torch.set_num_threads(task.threads)
    set_seed(task.seed)
    block = DataBlock(
        blocks=(ImageBlock, CategoryBlock(vocab=task.classes)),
        get_items=get_image_files,
        splitter=RandomSplitter(0.1, seed=task.seed),
        get_y=parent_label,
        item_tfms=Resize(task.tuned_size),
        batch_tfms=aug_transforms(),
    )
    files = get_image_files(task.train)
    labels = [task.classes.index(path.parent.name) for path in files]
    of_class = class_weights(labels)
    sets = block.datasets(task.train)
    weights = np.array([of_class[labels[i]] for i in sets.splits[0]])
    loaders = sets.dataloaders(
        bs=BATCH,
        dl_type=ShortenedDL,
        dl_kwargs=({"wgts": weights}, {}),
        after_item=block.item_tfms,
        after_batch=block.batch_tfms,
        num_workers=1,
    )
    learner = vision_learner(
        loaders, "tf_efficientnet_lite0", path=task.out, cbs=Deadline(task), **task.lite0()
    )
    per_batch = seconds_per_batch(learner.model, loaders.train, 0.1 * task.budget)
    # Validation costs a fifth of a training step per image, on a ninth as many images.
    epochs, batches = plan_epochs(
        0.9 * task.seconds_left(), 1.05 * per_batch, math.ceil(len(weights) / BATCH), at_least=2
    )
    loaders.train.longest = batches
    print(f"1 frozen and {epochs - 1} other epochs of {batches} batches", flush=True)
    with learner.no_bar():
        learner.fine_tune(max(1, epochs - 1))
    task.fitted()
    with learner.no_bar():
        probabilities, _ = learner.get_preds(dl=loaders.test_dl(task.images, num_workers=1))
    task.save([loaders.vocab[i] for i in probabilities.argmax(1).tolist()])


if __name__ == "__main__":
    main()
