"""Plan of an enhancement study: its runs, and everything that their numbers depend on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

from counterpoise.config import EnhanceConfig, TrainConfig
from counterpoise.datasets import ImageDataset, SplitManifest, rename_classes
from counterpoise.exceptions import InputError
from counterpoise.files import content_hash
from counterpoise.methods import Method, get_method
from counterpoise.runs import VariantPayload
from counterpoise.studies.engine.planned_runs import RunGrid
from counterpoise.training import Preparation, RunPlan, draw_tasks, prepare_run, refuse_pixel_methods

ENHANCED, TRAINED_ON, FRESH = "enhanced", "trained-on", "fresh-classifier"
FINE_TUNED, FEATURES = "fine-tuned", "features"
CONTROLS = (TRAINED_ON, FRESH, FINE_TUNED)
"""Controls with as many steps: more training, a larger network, and, for frozen features, the whole network."""

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

    The `variant` is ``"enhanced"``: U-Net and the trained classifier; ``"trained-on"``: that classifier alone, of which
    frozen features stay frozen; ``"fine-tuned"``: all of that classifier; or ``"fresh-classifier"``: U-Net and a
    classifier from scratch, both trained. `unet` is ``"copy"``, which learns to copy first, or ``"residual"``, which
    needs no `copy_epochs`. `width` is the number of channels of the
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
    unet: str = "copy"

    def variant_identity(self) -> Mapping[str, Any]:
        """Return the settings of the variant."""
        payload = VariantPayload(
            arm=self.variant,
            classifier=self.classifier,
            width=self.width,
            copy_epochs=self.copy_epochs,
            enhance_epochs=self.enhance_epochs,
            frozen=self.frozen,
            epochs=self.epochs,
        )
        return payload if self.unet == "copy" else payload | {"unet": self.unet}

    @property
    def folder_name(self) -> str:
        """Readable and unique name for the run folder."""
        return f"draw{self.draw:03d}-{self.variant}-{self.hash[:10]}"


class Halves(NamedTuple):
    """Names of the classes that features are learned from, and of those that a head on them is for."""

    features: tuple[str, ...]
    head: tuple[str, ...]


def of_classes(dataset: ImageDataset, names: Sequence[str]) -> ImageDataset:
    """Return the images of some classes."""
    return rename_classes(dataset, {name: name for name in names})


@dataclass(frozen=True, kw_only=True)
class EnhancePlan:
    """A U-Net before a classifier, against controls with the same training.

    The runs of `classifiers` have no U-Net: the classifier, and, where there are minority classes, the same with its
    head retrained. `method` trains the U-Net before the classifier, and the other variants. `fresh_epochs` are those of
    the U-Net with a classifier from scratch.

    With `frozen_features`, the classifier may not be changed: it is a head on frozen features. These are of given
    weights, or of the runs of `features`, which learn one of the `halves` of the classes while all others learn the
    other one.
    """

    classifiers: RunGrid
    method: Method
    width: int
    copy_epochs: int
    enhance_epochs: int
    frozen: bool
    fresh_epochs: int
    unet: str = "copy"
    frozen_features: bool = False
    features: RunGrid | None = None
    halves: Halves | None = None

    @property
    def classifier(self) -> Method:
        """Method of the classifier."""
        return self.classifiers.methods[0]

    @property
    def variants(self) -> tuple[str, ...]:
        """Variants that start from the classifier, the longest first, so that none is waited for."""
        return (FINE_TUNED if self.frozen_features else FRESH, TRAINED_ON, ENHANCED)

    def classifier_plans(self) -> list[RunPlan]:
        """Return the runs without a U-Net; the run that learned their features stands for the hash of its weights."""
        plans = self.classifiers.plans()
        if self.features is None:
            return plans
        learned = {plan.draw: plan.hash for plan in self.features.plans()}
        return [replace(plan, weights_hash=learned[plan.draw]) for plan in plans]

    def variant_plans(self) -> list[VariantPlan]:
        """Return every variant, repeat by repeat."""
        plans = [p for p in self.classifier_plans() if p.method == self.classifier.label]
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
                unet=self.unet,
            )
            for plan in plans
            for variant in self.variants
        ]

    @property
    def config(self) -> TrainConfig:
        """Settings of the training of the classifier on repeat 0."""
        return self.classifiers.config

    @property
    def identity(self) -> str:
        """Hash of what all runs share; repeats may be added, and a control trained longer, later."""
        own: list[Any] = [self.width, self.copy_epochs, self.enhance_epochs, self.frozen]
        later = (self.unet, self.frozen_features, self.features and self.features.identity)
        own += [value for value in later if value not in ("copy", False, None)]
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
    `enhance_epochs` the U-Net has as many epochs as the classifier, and without `fresh_epochs` the fresh classifier has
    as many as both, so that all variants see the labeled images equally often.
    """
    _check_protocol(config)
    method, classifier = get_method(config.method), get_method(config.classifier_method)
    _check_methods(method, classifier)
    # A network that is frozen whole embeds each image once, and its head is fitted to convergence.
    whole = config.model.freeze in ("all", "auto") and not config.frozen_features
    augment = "none" if whole else config.augment
    method, augmented = (_augmented(each, augment) for each in (method, classifier))
    classifier = classifier if config.frozen_features else augmented
    halves = _halves(dataset, config)
    own = dataset if halves is None else of_classes(dataset, halves.head)
    prepared = _prepare(own, config, classifier, method)
    features = None
    if halves is not None:
        base = prepare_run(of_classes(dataset, halves.features), config, [augmented], repeats=config.repeats)
        features = RunGrid.of(base, repeats=config.repeats, metric="accuracy", command=command)
        head = replace(prepared.plan, new_head=True, freeze="all", features="last")
        prepared = replace(prepared, plan=head)
    epochs, batch_size = prepared.plan.config.epochs, prepared.plan.config.batch_size
    steps = math.ceil(len(prepared.manifest.train) / batch_size)
    enhance_epochs = config.enhance_epochs or epochs
    residual = config.unet == "residual"
    return EnhancePlan(
        classifiers=RunGrid.of(prepared, repeats=config.repeats, metric="accuracy", command=command),
        method=method,
        width=config.width,
        copy_epochs=0 if residual else config.copy_epochs or math.ceil(COPY_STEPS / steps),
        enhance_epochs=enhance_epochs,
        frozen=not config.train_classifier,
        fresh_epochs=config.fresh_epochs or epochs + enhance_epochs,
        unet=config.unet,
        frozen_features=config.frozen_features,
        features=features,
        halves=halves,
    )


def _augmented(method: Method, augment: str) -> Method:
    """Return a method with an augmentation, unless it has one of its own or `augment` is none."""
    plain = augment == "none" or method.augment is not None
    return method if plain else get_method(f"{method.label}:augment={augment}")


def _halves(dataset: ImageDataset, config: EnhanceConfig) -> Halves | None:
    if not config.frozen_features or _has_weights(config):
        return None
    if dataset.num_classes < 4:
        raise InputError(
            f"`frozen_features`: {dataset.num_classes} classes cannot be parted into those of the features and the "
            "others, at least 4 are needed; give `pretrained` or `weights`"
        )
    tasks = draw_tasks("random", dataset.classes, seed=config.train.seed)
    return Halves(*(tuple(dataset.classes[index] for index in part) for part in tasks))


def _has_weights(config: EnhanceConfig) -> bool:
    return config.model.weights is not None or config.model.pretrained not in (None, "none")


def _prepare(dataset: ImageDataset, config: EnhanceConfig, classifier: Method, method: Method) -> Preparation:
    """Prepare the classifier's run and, where classes are rare, that of the same with its head retrained."""

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

    if not config.frozen_features:
        return prepare_run(dataset, config, with_control, repeats=config.repeats, also=[method])
    refuse_pixel_methods(classifier)
    if _has_weights(config):
        config = config.model_copy(update={"model": config.model.model_copy(update={"freeze": "all"})})
    return prepare_run(dataset, config, with_control, repeats=config.repeats)


def _check_protocol(config: EnhanceConfig) -> None:
    if config.unet == "residual" and config.copy_epochs is not None:
        raise InputError("`copy_epochs`: a residual U-Net is a copy from the start; leave it out")
    given = {"train_classifier": config.train_classifier, "fresh_epochs": config.fresh_epochs is not None}
    for name, contradicts in (given | {"freeze": config.model.freeze not in (None, "all")}).items():
        if config.frozen_features and contradicts:
            raise InputError(
                f"`{name}` contradicts `frozen_features`: only the head is trained; leave it out"
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
