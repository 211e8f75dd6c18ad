"""Plan of an enhancement study: its runs, and everything that their numbers depend on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from counterpoise.config import EnhanceConfig, TrainConfig
from counterpoise.datasets import ImageDataset, SplitManifest
from counterpoise.exceptions import InputError
from counterpoise.files import content_hash
from counterpoise.methods import Method, get_method
from counterpoise.runs import VariantPayload
from counterpoise.studies.engine.planned_runs import RunGrid
from counterpoise.training import RunPlan, prepare_run

ENHANCED, TRAINED_ON, FRESH = "enhanced", "trained-on", "fresh-classifier"
VARIANTS = (FRESH, TRAINED_ON, ENHANCED)
"""The longest first, so that none is waited for."""

CONTROLS = (TRAINED_ON, FRESH)
"""Controls with as many steps: more training, and a larger network."""

UNFIT_PLACES = {
    "objective": "embeddings",
    "features": "embeddings",
    "head": "the head",
    "adjust": "logits after training",
}
"""Slots in which a method acts on more than images and their loss, and what on."""

COPY_STEPS = 250


@dataclass(frozen=True, kw_only=True)
class VariantPlan(RunPlan):
    """One variant on one repeat; `method` trains the variant, and `classifier` trained the classifier.

    The `variant` is ``"enhanced"``: U-Net and the trained classifier; ``"trained-on"``: that classifier alone; or
    ``"fresh-classifier"``: U-Net and a classifier from scratch, both trained. `width` is the number of channels of the
    U-Net's finest scale, `copy_epochs` and `enhance_epochs` are the epochs of the first and the third step (those of
    the second are the configuration's), and `frozen` says whether the classifier is frozen in the third step. `epochs`
    are the passes of the variant over the labeled images.
    """

    variant: str
    classifier: str
    width: int
    copy_epochs: int
    enhance_epochs: int
    frozen: bool
    epochs: int

    def variant_identity(self) -> Mapping[str, Any]:
        """Return the settings of the variant."""
        return VariantPayload(
            arm=self.variant,
            classifier=self.classifier,
            width=self.width,
            copy_epochs=self.copy_epochs,
            enhance_epochs=self.enhance_epochs,
            frozen=self.frozen,
            epochs=self.epochs,
        )

    @property
    def folder_name(self) -> str:
        """Readable and unique name for the run folder."""
        return f"draw{self.draw:03d}-{self.variant}-{self.hash[:10]}"


@dataclass(frozen=True, kw_only=True)
class EnhancePlan:
    """A U-Net before a classifier, against controls with the same training.

    The runs of `classifiers` have no U-Net: the classifier, and, where there are minority classes, the same with its
    head retrained. `method` trains the U-Net before the classifier, and the other variants. `fresh_epochs` are those of
    the U-Net with a classifier from scratch.
    """

    classifiers: RunGrid
    method: Method
    width: int
    copy_epochs: int
    enhance_epochs: int
    frozen: bool
    fresh_epochs: int

    @property
    def classifier(self) -> Method:
        """Method of the classifier."""
        return self.classifiers.methods[0]

    def variant_plans(self) -> list[VariantPlan]:
        """Return every variant, repeat by repeat."""
        plans = [p for p in self.classifiers.plans() if p.method == self.classifier.label]
        return [
            VariantPlan(
                **{field.name: getattr(plan, field.name) for field in fields(plan)}
                | {"method": self.method.label},
                variant=variant,
                classifier=self.classifier.label,
                width=self.width,
                copy_epochs=self.copy_epochs,
                enhance_epochs=self.enhance_epochs,
                frozen=self.frozen,
                epochs=self.fresh_epochs if variant == FRESH else self.enhance_epochs,
            )
            for plan in plans
            for variant in VARIANTS
        ]

    @property
    def config(self) -> TrainConfig:
        """Settings of the training of the classifier on repeat 0."""
        return self.classifiers.config

    @property
    def identity(self) -> str:
        """Hash of what all runs share; repeats may be added, and a control trained longer, later."""
        own = [self.width, self.copy_epochs, self.enhance_epochs, self.frozen]
        methods = [
            self.classifier.label,
            self.classifier.settings(),
            self.method.label,
            self.method.settings(),
        ]
        return content_hash([self.classifiers.identity, own, methods])


def make_enhance_plan(dataset: ImageDataset, config: EnhanceConfig, *, command: str = "") -> EnhancePlan:
    """Resolve the settings of an enhancement study; InputError refuses what cannot work before anything is written.

    Without `copy_epochs` the U-Net copies for 250 steps, after which a copy is about 0.02 off. Without
    `fresh_epochs` the fresh classifier has as many epochs as the classifier and the U-Net in total, so that all
    variants see the labeled images equally often.
    """
    method, classifier = get_method(config.method), get_method(config.classifier_method)
    _check_methods(method, classifier)

    def with_control(manifest: SplitManifest) -> list[Method]:
        if not len(manifest.test):
            raise InputError(
                f"{dataset.name} has too few images to keep any for testing, and enhancing is measured on them; "
                "add images"
            )
        if manifest.minority:
            return [classifier, with_new_head(classifier)]
        if config.train.head_epochs is not None and not classifier.trains_head:
            raise InputError(
                "`head_epochs`: no class is rare, so no head is retrained; leave it out, or make some rare with "
                "`imbalance` step"
            )
        return [classifier]

    prepared = prepare_run(dataset, config, with_control, repeats=config.repeats, also=[method])
    epochs, batch_size = prepared.plan.config.epochs, prepared.plan.config.batch_size
    steps = math.ceil(len(prepared.manifest.train) / batch_size)
    return EnhancePlan(
        classifiers=RunGrid.of(prepared, repeats=config.repeats, metric="accuracy", command=command),
        method=method,
        width=config.width,
        copy_epochs=config.copy_epochs or math.ceil(COPY_STEPS / steps),
        enhance_epochs=config.enhance_epochs,
        frozen=not config.train_classifier,
        fresh_epochs=config.fresh_epochs or epochs + config.enhance_epochs,
    )


def with_new_head(method: Method) -> Method:
    """Return a method whose head is retrained under balanced softmax on the embeddings of its network.

    This is classifier re-training (Kang et al. 2020) with the loss of Ren et al. (2020) in place of class-balanced
    sampling: the usual remedy that leaves the features as they are.

    Examples
    --------
    >>> with_new_head(get_method("bl")).label
    'bl:head=new-head:head_loss=balanced-softmax'
    """
    unwanted = [place for place in ("features", "head_sampler") if getattr(method, place) is not None]
    changes = ["head=new-head", "head_loss=balanced-softmax", *(f"{place}=none" for place in unwanted)]
    return get_method(":".join([method.label, *changes]))


def _check_methods(method: Method, classifier: Method) -> None:
    if classifier.adjust is not None:
        raise InputError(
            f"`classifier_method` {classifier.label} changes logits after training, which a U-Net before the network "
            "cannot be trained through; take balanced-softmax or another loss"
        )
    unfit = [words for place, words in UNFIT_PLACES.items() if place in method.components]
    if unfit:
        raise InputError(
            f"`method` {method.label} acts on {unfit[0]}, and a U-Net is trained by images and a loss alone; take bl, "
            "balanced-softmax, ros or the like"
        )
    if method.head_layer not in ("linear", classifier.head_layer):
        raise InputError(
            f"`method` {method.label} needs a {method.head_layer} head, and the classifier has a "
            f"{classifier.head_layer} one; add `classifier_method` {method.label}"
        )
