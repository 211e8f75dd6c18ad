"""Plan of a run: everything that its numbers depend on, as plain data."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from counterpoise.config import TrainConfig
from counterpoise.datasets import (
    ImageDataset,
    NaturalImbalance,
    ProfileDict,
    SplitManifest,
    create_profile,
    make_splits,
)
from counterpoise.methods import Method, get_method
from counterpoise.runs import RunFolder, SplitPayload, run_identity, training_payload


@dataclass(frozen=True, kw_only=True)
class SplitPlan:
    """How a dataset is split and thinned, up to the repeat.

    `profile` is an imbalance profile's ``to_dict()``. The fractions, in [0, 1), are held out; `test_fraction` only if
    the dataset has no test split. A class is a minority class if it has at most ``n_max / minority_ratio`` images
    (thesis Def. 1.3). `manifest` is the file of a saved split that is used as it is, for every repeat.
    `groups` is a digest of the groups of images, where there are any.
    """

    profile: ProfileDict = field(default_factory=lambda: NaturalImbalance().to_dict())
    validation_fraction: float = 0.1
    test_fraction: float = 0.2
    minority_ratio: float = 2.0
    manifest: str | None = None
    manifest_hash: str | None = None
    groups: str | None = None

    def identity(self) -> SplitPayload:
        """Return the part of an identity that says how a dataset is split."""
        payload = SplitPayload(
            profile=dict(self.profile),
            validation_fraction=self.validation_fraction,
            test_fraction=self.test_fraction,
            minority_ratio=self.minority_ratio,
            manifest_hash=self.manifest_hash,
        )
        return payload if self.groups is None else payload | {"groups": self.groups}

    def splits(self, dataset: ImageDataset, seed: int) -> SplitManifest:
        """Return the split of one repeat."""
        if self.manifest is not None:
            manifest, run = SplitManifest.load(self.manifest), RunFolder(Path(self.manifest).parent)
            if run.seen is None or dataset.fingerprint == manifest.fingerprint:
                return manifest
            return manifest.moved(dataset, run.seen.keys) or manifest
        profile: dict[str, Any] = {**self.profile}
        return make_splits(
            dataset,
            profile=create_profile(profile.pop("profile"), **profile),
            validation_fraction=self.validation_fraction,
            test_fraction=self.test_fraction,
            minority_ratio=self.minority_ratio,
            random_state=seed,
        )


@dataclass(frozen=True, kw_only=True)
class RunPlan:
    """One method on one repeat of one dataset.

    Attributes
    ----------
    source : str
        The dataset as the user named it.
    image_size : tuple of int
        Height and width, in pixels, to which its images are resized.
    fit : {"stretch", "pad", "crop"}
        How images of another shape fit that size.
    draw : int
        Number of the repeat; the seed of both the split and the training is ``config.seed``.
    method : str
        As typed: a name, perhaps with changed options.
    new_head : bool
        Whether the head is reinitialized whatever the file `weights` holds for it.
    freeze : int, "all", "auto" or None
        Number of the first layers that are frozen; ``"all"``: everything below the head; ``"auto"``: everything or
        nothing, as the validation images decide.
    features : str or None
        Features ``"last"`` or ``"multi"``, standardized, on which heads are trained to convergence: of a network that
        is frozen whole, or is so until its head is fitted, or has been in the run that `weights` are of. None: plain
        embeddings, on which heads are trained for the
        epochs of `config`.
    cache : str or None
        Folder for the embeddings of a network whose head is fitted to them.
    adapter : str or None
        Adapters in a vision transformer that itself stays frozen, as in `counterpoise.networks.ADAPTERS`.
    origin, license : str or None
        Where published weights are from, and their license, for the record.
    asked : dict or None
        The settings as the user gave them, for the record; no number depends on them.
    contents : str or None
        `ImageDataset.contents`: a finished run on other contents of the same files is not reused.
    """

    source: str
    fingerprint: str
    image_size: tuple[int, int]
    split: SplitPlan
    draw: int
    method: str
    network: str
    config: TrainConfig
    weights: str | None = None
    weights_hash: str | None = None
    new_head: bool = False
    freeze: int | str | None = None
    features: str | None = None
    cache: str | None = None
    adapter: str | None = None
    fit: str = "crop"
    origin: str | None = None
    license: str | None = None
    asked: dict[str, Any] | None = None
    contents: str | None = None

    @cached_property
    def record(self) -> Method:
        """The method's record with the options changed."""
        return get_method(self.method)

    @cached_property
    def hash(self) -> str:
        """Hash of everything the numbers depend on; where the data lies is not part of it."""
        return run_identity(
            **self.shared_identity(),
            repeat=self.draw,
            method=self.method,
            components=self.record.identity(),
            variant=self.variant_identity(),
        )

    @property
    def head_first(self) -> bool:
        """Whether the head is fitted to frozen features before the whole network is trained."""
        return self.features is not None and self.freeze not in ("all", "auto") and self.origin is not None

    @property
    def embeds(self) -> bool:
        """Whether a head is fitted to embeddings of the network before its training."""
        return self.features is not None and (self.freeze in ("all", "auto") or self.head_first)

    def shared_identity(self) -> dict[str, Any]:
        """Return the part of the identity that all runs of a comparison share, as keyword arguments."""
        return {
            "fingerprint": self.fingerprint,
            "image_size": self.image_size,
            "split": self.split.identity(),
            "network": self.network,
            "training": training_payload(self.config),
            "weights_hash": self.weights_hash,
            "new_head": self.new_head,
            "freeze": self.freeze,
            "features": self.features,
            "adapter": self.adapter,
            "fit": self.fit,
        }

    def variant_identity(self) -> Mapping[str, Any] | None:
        """Return what a kind of run with settings of its own adds to the identity."""
        return None

    @property
    def folder_name(self) -> str:
        """A readable and unique name for the run folder."""
        method = re.sub(r"[^A-Za-z0-9_.=-]+", "-", self.method)[:80]
        return f"draw{self.draw:03d}-{method}-{self.hash[:10]}"

    def settings(self) -> dict[str, Any]:
        """Return the settings as ``run.json`` keeps them: as asked for, and as resolved."""
        resolved = asdict(self) | {"config": self.config.model_dump()}
        return {"asked": resolved.pop("asked"), "resolved": resolved}
