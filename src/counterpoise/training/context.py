"""State that the stages of one fit share."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from counterpoise.config import TrainConfig
from counterpoise.datasets import ImageSplit
from counterpoise.methods import Component, Method
from counterpoise.networks import Network
from counterpoise.training.predict import Validate, embed_images, head_validation
from counterpoise.training.progress import ProgressCallback
from counterpoise.training.randomness import seed_for


@dataclass(frozen=True, eq=False, kw_only=True)
class FitContext:
    """Arguments of `fit_method`, with defaults filled in, and the wall time of each stage."""

    method: Method
    network: Network
    train: ImageSplit
    config: TrainConfig
    fabric: Fabric
    validation: ImageSplit | None
    checkpoints: Path | None
    shared: Path | None
    identity: str
    classes: Sequence[str] | None
    progress: ProgressCallback
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def device(self) -> torch.device:
        """The training device."""
        return self.fabric.device

    @cached_property
    def class_counts(self) -> np.ndarray:
        """Training images of each class."""
        return self.train.class_counts(self.network.num_classes)

    def build(self, component: Component | None, *, epochs: int | None = None) -> Any:
        """Build a component of the method, or return None; `epochs` are those of the stage that it acts in."""
        if component is None:
            return None
        return component.build(
            class_counts=self.class_counts,
            class_names=self.classes,
            epochs=epochs or self.config.epochs,
            random_state=seed_for(self.config.seed, "oversample"),
            n_jobs=self.config.threads,
        )

    def embed(self, split: ImageSplit) -> Tensor:
        """Return the embeddings of a split, float32 of shape (N, d), on the training device."""
        rows = embed_images(self.network, split, device=self.device, workers=self.config.workers)
        return torch.from_numpy(rows).to(self.device)

    def head_validation(self, head: nn.Module) -> Validate | None:
        """Return a function that scores a head on the validation images, or None without any."""
        if self.validation is None:
            return None
        return head_validation(self.network, head, self.validation, workers=self.config.workers)

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Record the wall time of the block."""
        start = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - start
