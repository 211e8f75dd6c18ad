"""The catalog of methods, and reading a method as users type it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from counterpoise.catalogs import Catalog
from counterpoise.exceptions import InputError
from counterpoise.methods.method import Component, Method

_ALL_ALIKE = {"power": 1.0, "length": "oversampled", "replacement": False}

METHODS = Catalog(
    "method",
    [
        Method("bl", "Baseline", "Every image once per epoch, cross entropy.", "thesis, chapter 7 (BL)"),
        Method(
            "bl-equal-steps",
            "Baseline, as many steps as oversampling",
            "As the baseline, with epochs as long as those of random oversampling: the classes stay as unequal.",
            "this project; control for claims about samplers",
            sampler=Component("samplers", "class-balanced-sampler", _ALL_ALIKE),
            helps="as a control: it tells what balanced classes bring from what more steps bring.",
            hurts="rare classes stay rare in each batch.",
        ),
        Method(
            "bl-cw",
            "Class weights",
            "Cross entropy weighted by the inverse share of each class.",
            "thesis, Algorithm 2 and Eq. 4.1 (BL+CW)",
            loss=Component("losses", "weighted-cross-entropy"),
        ),
        Method(
            "bl-cw-drw",
            "Deferred class weights",
            "Baseline first; cross entropy with class weights in the last fifth of the epochs.",
            "Cao et al. 2019, Algorithm 1 (DRW)",
            loss=Component("losses", "weighted-cross-entropy", {"normalize": "mean", "defer_epochs": 0.8}),
            helps="the embedding is learned from all images equally; the rare classes count more afterwards.",
            hurts="with few epochs, which leave little time for the weights.",
        ),
        Method(
            "focal",
            "Focal loss",
            "Cross entropy with less weight on well-classified images, and more on rare classes.",
            "thesis, section 3.2.1; Lin et al. 2017, Eq. 5",
            loss=Component("losses", "focal-loss", {"alpha": "inverse"}),
        ),
        Method(
            "class-balanced",
            "Class-balanced loss",
            "Cross entropy weighted by the inverse effective number of images of each class.",
            "Cui et al. 2019, Eq. 8",
            loss=Component("losses", "class-balanced-loss"),
        ),
        Method(
            "cost-sensitive",
            "Cost-sensitive training",
            "Minimizes the expected cost of mistakes; by default, mistakes on rare classes cost more.",
            "thesis, section 3.2.2",
            loss=Component("losses", "expected-cost-loss"),
        ),
        Method(
            "sigmoid",
            "One class against the rest",
            "Binary cross entropy of each class's sigmoid; the most probable class, or thresholds, decide.",
            'lecture, "Sigmoid"',
            loss=Component("losses", "sigmoid-cross-entropy"),
            adjust=Component("adjust", "sigmoid-scores"),
            # Each sigmoid starts at 1 / C, not at one half.
            head_layer="one-vs-rest",
        ),
        Method(
            "ros",
            "Random oversampling",
            "Images of rare classes are repeated until all classes are as large as the largest.",
            "thesis, section 3.1.1; Buda et al. 2018",
            sampler=Component("samplers", "ros"),
        ),
        Method(
            "rus",
            "Random undersampling",
            "Each epoch draws from every class only as many images as the smallest has.",
            "thesis, section 3.1.2; Buda et al. 2018",
            sampler=Component("samplers", "rus"),
        ),
        Method(
            "bl-ros-rus",
            "Over- and undersampling",
            "Large classes are cut and small ones repeated until they meet at the mean class size.",
            "thesis, section 3.1.3 (BL+ROS-RUS); Buda et al. 2018",
            sampler=Component("samplers", "rosrus"),
        ),
        Method(
            "two-phase",
            "Two-phase training",
            "The network learns from undersampled classes; then its head is tuned on all images.",
            "Havaei et al. 2017; Buda et al. 2018, section 2.3",
            sampler=Component("samplers", "rus"),
            head=Component("heads", "fine-tuned-head"),
        ),
        Method(
            "class-balanced-sampling",
            "Class-balanced sampling",
            "The class of each image of a batch is drawn at random; an epoch keeps its length.",
            "Kang et al. 2020, Eq. 1 with q = 0",
            sampler=Component("samplers", "class-balanced-sampler"),
        ),
        Method(
            "aos",
            "AOS",
            "Random oversampling; in every batch some minority images become adversarial examples.",
            "Wojciechowski and Lango, PMLR 183:98-111 (2022); poster, Algorithm 1",
            sampler=Component("samplers", "ros"),
            perturb=Component("perturb", "aos"),
        ),
        Method(
            "smote-pixels",
            "SMOTE on pixels",
            "Synthetic images between two images of a rare class, pixel by pixel, made once before training.",
            "poster, section Related methods; Chawla et al. 2002",
            sampler=Component("samplers", "pixel-smote"),
        ),
        Method(
            "mixup-drw",
            "Mixup, deferred weights",
            "Images and labels are mixed in pairs; class weights hold in the last fifth of the epochs.",
            "Zhang et al. 2018, section 2; Cao et al. 2019, section 3.3",
            perturb=Component("perturb", "mixup"),
            loss=Component("losses", "weighted-cross-entropy", {"normalize": "mean", "defer_epochs": 0.8}),
        ),
        Method(
            "remix",
            "Remix",
            "As mixup, but a mixed image of a rare and a common class gets the label of the rare one.",
            "Chou et al. 2020, Eq. 4-6",
            perturb=Component("perturb", "remix"),
        ),
        Method(
            "cmo",
            "CMO",
            "Patches of images of rare classes are pasted into other images, and the labels are mixed.",
            "Park et al. 2022, Algorithm 1",
            perturb=Component("perturb", "cmo", {"plain_epochs": 0.015}),
        ),
        Method(
            "fs-smote",
            "SMOTE in feature space",
            "SMOTE on the embeddings of a trained network, then a new head.",
            "thesis, section 3.1.4 and chapter 7 (SMOTE); Chawla et al. 2002",
            loss=Component("losses", "weighted-cross-entropy"),
            features=Component("features", "fssmote"),
        ),
        Method(
            "ados",
            "ADOS",
            "Adaptive dynamic oversampling in deep feature space, then a new head with sample weights.",
            "thesis, section 4.2, Algorithms 3-5",
            loss=Component("losses", "weighted-cross-entropy"),
            features=Component("features", "ados"),
        ),
        Method(
            "dos",
            "DOS",
            "A rare image stands for many points among its neighbors' embeddings, and is pulled towards them.",
            "Ando and Huang 2017; thesis, section 3.3.2",
            objective=Component("objectives", "dos"),
        ),
        Method(
            "lmle",
            "LMLE",
            "Margins between clusters and classes in the embedding; the nearest clusters decide.",
            "Huang et al. 2016; thesis, section 3.3.1",
            sampler=Component("samplers", "class-balanced-sampler"),
            objective=Component("objectives", "lmle"),
        ),
        Method(
            "balanced-softmax",
            "Balanced softmax",
            "Cross entropy on logits raised by the log of the class counts.",
            "Ren et al. 2020, Eq. 4",
            loss=Component("losses", "balanced-softmax"),
        ),
        Method(
            "vs",
            "VS loss",
            "Cross entropy on logits scaled and shifted by the class counts.",
            "Kini et al. 2021 (VS-loss)",
            loss=Component("losses", "vs-loss"),
        ),
        Method(
            "balpoe",
            "Balanced product of experts",
            "Three heads, each trained for other class shares of the test images, decide together.",
            "Sanchez Aimar et al. 2023 (BalPoE)",
            perturb=Component("perturb", "mixup", {"alpha": 0.4}),
            loss=Component("losses", "balpoe"),
            head_layer="experts",
            helps="for balanced test images, over long training; mixup calibrates the probabilities.",
            hurts="with few epochs mixup slows learning; on a shared embedding it gains little over balanced softmax.",
        ),
        Method(
            "ldam-drw",
            "LDAM-DRW",
            "Margins that are larger for rare classes, on angles; class weights in the last fifth of the epochs.",
            "Cao et al. 2019, Eq. 12-13 and Algorithm 1",
            loss=Component("losses", "ldamloss", {"defer_epochs": 0.8}),
            head_layer="cosine",
        ),
        Method(
            "drw-sam",
            "Deferred weights, SAM",
            "Baseline first; class weights and sharpness-aware steps in the last fifth of the epochs.",
            "Rangwani et al. 2022, section 4; Foret et al. 2021, Algorithm 1",
            loss=Component("losses", "weighted-cross-entropy", {"normalize": "mean", "defer_epochs": 0.8}),
            # Four times the radius for balanced data; ten times it, as in 200 epochs, was too long on digits in 15.
            step=Component("steps", "sam", {"radius": 0.2, "defer_epochs": 0.8}),
        ),
        Method(
            "logit-adjusted",
            "Logit adjustment",
            "Baseline; afterwards the log class shares are subtracted from the logits.",
            "Menon et al. 2021, Eq. 9 (post hoc)",
            adjust=Component("adjust", "logit-adjustment"),
        ),
        Method(
            "thresholds",
            "Class thresholds",
            "Baseline; afterwards a threshold for each class is tuned on the validation images.",
            "Buda et al. 2018 (thresholding); Narasimhan et al. 2015",
            adjust=Component("adjust", "class-thresholds"),
        ),
        Method(
            "crt",
            "Classifier re-training",
            "Baseline; then a new head is trained on embeddings drawn class-balanced.",
            "Kang et al. 2020, section 4.1 (cRT)",
            head=Component("heads", "new-head"),
            head_sampler=Component("samplers", "class-balanced-sampler"),
        ),
        Method(
            "los",
            "Label over-smoothing",
            "Baseline; then the head learns from labels that are spread almost evenly over all classes.",
            "Sun et al. 2025 (LOS)",
            # As in the authors' code the head continues from its weights, at the full rate.
            head=Component("heads", "fine-tuned-head", {"lr_factor": 1.0}),
            head_loss=Component("losses", "cross-entropy", {"label_smoothing": 0.98}),
            helps="it needs no class counts; small logits of similar size make the classes more even.",
            hurts="nearly even labels give small gradients: a reinitialized head (head=new-head) hardly learns in a "
            "few epochs. Probabilities stay near 1 / C and state no confidence.",
        ),
        Method(
            "tau-norm",
            "Tau-normalized head",
            "Baseline; then each class vector of the head is divided by its length to the power tau.",
            "Kang et al. 2020, Eq. 4",
            head=Component("heads", "normalised-head"),
        ),
        Method(
            "lws",
            "Learnable weight scaling",
            "Baseline; then one factor per class is learned on embeddings drawn class-balanced.",
            "Kang et al. 2020, Eq. 5 (LWS)",
            head=Component("heads", "scaled-head"),
            head_sampler=Component("samplers", "class-balanced-sampler"),
        ),
        Method(
            "ncm",
            "Nearest class mean",
            "Baseline; then an image belongs to the class whose mean embedding is nearest.",
            "Kang et al. 2020, section 4.2 (NCM)",
            head=Component("heads", "nearest-mean-head"),
        ),
        Method(
            "lda",
            "Linear discriminant analysis",
            "Baseline; then classes with one common, shrunk covariance and equal priors are told apart linearly.",
            "Hastie et al. 2009, section 4.3; Ledoit and Wolf 2004",
            head=Component("heads", "discriminant-head"),
        ),
        Method(
            "cosine",
            "Cosine head",
            "Baseline; then a cosine head starts from the class means and learns balanced class shares.",
            "Shi et al. 2024, section 4.2 (LIFT)",
            head=Component("heads", "class-mean-head"),
            head_loss=Component("losses", "balanced-softmax"),
            head_layer="cosine",
        ),
        Method(
            "fine-tuned",
            "Fine-tuning",
            "A pretrained network with a fitted head learns from shifted, zoomed images, rare ones more often.",
            "Kumar et al. 2022 (LP-FT); Kang et al. 2020, Eq. 1; Menon et al. 2021, Eq. 9",
            sampler=Component("samplers", "class-balanced-sampler", {"power": 0.5, "replacement": False}),
            # Small changes: a few epochs are too short for strong ones.
            augment=Component("perturb", "random-affine", {"degrees": 0, "translate": 0.05}),
            # Of the shares that remain after square-root sampling.
            adjust=Component("adjust", "logit-adjustment", {"power": 0.5}),
            schedule="one-cycle",
            helps="pretrained networks, whose features then fit the images at hand.",
            hurts="classes with a handful of images, which are memorized; slow without a GPU.",
        ),
        Method(
            "counterpoise-pretrained",
            "Counterpoise for frozen features",
            "A linear head on features of one length learns shifted and slightly scaled logits.",
            "this project, docs/studies/pretrained.md; of Kini et al. 2021 and Wang et al. 2017 (NormFace)",
            # A third of the usual power: the full one overcorrects under a penalty.
            loss=Component("losses", "vs-loss", {"gamma": 0.1}),
            # How strongly an image excites the features says more about its contrast than about its class.
            head_layer="unit-length",
            helps="frozen features with two to twenty rare images, on CIFAR-10; elsewhere it changes little.",
            hurts="where logit adjustment balances the classes already: rare ones are then predicted too often.",
        ),
        Method(
            "counterpoise",
            "Counterpoise",
            "Square-root sampling of shifted, rotated and adversarial images; then the head is tuned for balance.",
            "this project, docs/recipe.md; of AOS (PMLR 183:98-111, 2022), Kang et al. 2020, Ren et al. 2020, Smith "
            "and Topin 2018",
            # Rare images often enough to shape the embedding, common ones often enough not to be forgotten.
            sampler=Component(
                "samplers",
                "class-balanced-sampler",
                {"power": 0.5, "length": "oversampled", "replacement": False},
            ),
            # The same few rare images, rarely twice the same; a quarter of all images stay as they are.
            augment=Component("perturb", "random-affine", {"p": 0.75}),
            # With a dozen images of a class, its hardest neighbors; as published, of all classes but the largest.
            perturb=Component("perturb", "aos", {"minority": "all-but-largest"}),
            # The head continues from its weights, shrunk, on unchanged images, and learns balanced class shares.
            head=Component("heads", "fine-tuned-head", {"lr_factor": 0.5, "shrink": 0.3}),
            head_loss=Component("losses", "balanced-softmax"),
            # A few epochs are enough only if the rate rises and falls within them.
            schedule="one-cycle",
            helps="most where rare classes have few images.",
            hurts="an epoch is as long as with `ros`; some images change their meaning in a mirror (flip=none).",
        ),
    ],
    entry_point="counterpoise.methods",
)
"""Methods by family, baselines first. Other packages add theirs through the entry point ``counterpoise.methods``."""


def all_methods() -> dict[str, Method]:
    """Return every method by name."""
    return {method.name: method for method in METHODS}


def get_method(spec: str) -> Method:
    """Return the method of a name, or of a name with changed options: ``ados:loss=cross-entropy:nu_max=30``.

    An unknown method, option or component raises UnknownNameError.

    Examples
    --------
    >>> get_method("ados").features.name
    'ados'
    """
    name, *options = spec.split(":")
    method = METHODS.get(name)
    for option in options:
        key, equals, value = option.partition("=")
        if not (key and equals and value):
            raise InputError(f"method {spec!r}: {option!r} is not of the form option=value")
        method = method.with_option(key, read_value(value))
    return replace(method, spec=spec) if options else method


def parse_methods(specs: str | Iterable[str]) -> list[Method]:
    """Return the methods of a list, comma-separated if it is a string; it may not be empty or name a method twice."""
    names = specs.split(",") if isinstance(specs, str) else list(specs)
    names = [name.strip() for name in names if name.strip()]
    if not names:
        raise InputError(
            "no method given; name at least one, e.g. `methods` bl,bl-cw (see `counterpoise methods`)"
        )
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InputError(f"method {repeated[0]!r} is named twice; name each method once")
    return [get_method(name) for name in names]


def read_value(text: str) -> Any:
    """Return the value of an option as typed: JSON where it is, ``None`` for ``none``, else the text.

    Examples
    --------
    >>> read_value("0.5"), read_value("none"), read_value("youden")
    (0.5, None, 'youden')
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None if text.lower() == "none" else text
