"""The scikit-learn interface: one estimator for every method."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import InputTags, Tags
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d

from counterpoise.config import TrainConfig, make_config
from counterpoise.datasets import ImageDataset, ImageSplit, dataset_from_arrays
from counterpoise.exceptions import InputError
from counterpoise.methods import Method, get_method
from counterpoise.networks import find_pretrained
from counterpoise.training import cpu_threads, embed_images, fit_method, initial_network, softmax

CHANNELS = (1, 3)


class ImageClassifier(ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClassifierMixin, BaseEstimator):
    """An image classifier trained with one of the methods.

    Follows scikit-learn: it can be cloned, pickled, cross-validated and grid-searched; `transform` returns embeddings.

    Parameters
    ----------
    method : str or Method, default="balanced-softmax"
        A name, or a name with changed options such as ``"ados:nu_max=30"``.
    network : str, default="auto"
        A network's name; ``"auto"`` chooses by the size of the images.
    pretrained : str, default="auto"
        Published weights to start from: "auto", "none", "hub", "NAME.TAG" or a file, see
        `counterpoise.networks.find_pretrained`.
    weights : path or None, default=None
        File of own weights, in place of `pretrained`.
    random_state : int, RandomState or None, default=None
        Random seed.
    epochs, batch_size, lr, optimizer, weight_decay, schedule, head_epochs, device, threads
        Settings of the training, as in `counterpoise.config.TrainConfig`.

    Attributes
    ----------
    classes_ : ndarray of shape (C,)
        The labels, in the order of the probability columns.
    fitted_, network_, history_, n_features_in_
        The result of `fit_method`, its network, one entry per epoch of every stage, and the number of values per image.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> digits = load_digits()
    >>> images = (digits.images / 16).astype("float32")
    >>> model = ImageClassifier(method="bl-cw", epochs=3, random_state=0).fit(images[:600], digits.target[:600])
    >>> bool(model.score(images[600:900], digits.target[600:900]) > 0.5)
    True
    >>> model.transform(images[:5]).shape, model.decision_function(images[:5]).shape
    ((5, 64), (5, 10))
    """

    def __init__(
        self,
        method: str | Method = "balanced-softmax",
        *,
        network: str = "auto",
        epochs: int = 5,
        batch_size: int = 64,
        lr: float = 1e-3,
        optimizer: str = "adam",
        weight_decay: float = 0.0,
        schedule: str | None = None,
        head_epochs: int | None = None,
        pretrained: str = "auto",
        weights: str | None = None,
        device: str = "auto",
        threads: int = 1,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.method = method
        self.network = network
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.optimizer = optimizer
        self.weight_decay = weight_decay
        self.schedule = schedule
        self.head_epochs = head_epochs
        self.pretrained = pretrained
        self.weights = weights
        self.device = device
        self.threads = threads
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None, *, validation_data: Any = None) -> Self:
        """Train and return the estimator; `InputError` if images or labels do not fit, or a setting is refused.

        Parameters
        ----------
        X : array, tensor or ImageDataset
            Images as in `as_images`, or a dataset, which brings its labels and perhaps validation images.
        y : array-like of shape (N,)
            Labels: strings, integers, booleans, or floats that are integers.
        sample_weight : array-like of shape (N,), optional
            Factors of the images' losses, scaled to mean 1. An image of weight 0 is left out, as if it were absent; any
            other is one image of its batch, of batch norm and class counts: weight 2 is twice the loss, not two copies.
        validation_data : tuple (X, y), optional
            For the learning curves in ``history_`` and methods that are tuned after training, such as "thresholds";
            in place of the validation images of a dataset.
        """
        dataset, classes = _training_data(X, y)
        dataset, weights = _weighted(dataset, sample_weight)
        if validation_data is not None:
            dataset = _with_validation(dataset, classes, *validation_data)
        config = self._config()
        method = get_method(self.method) if isinstance(self.method, str) else self.method
        image_size = dataset.image_size
        if self.weights is not None and self.pretrained not in ("auto", "none"):
            raise InputError(
                f"`pretrained` {self.pretrained} and `weights` {self.weights}: leave one of them out"
            )
        asked = "none" if self.weights is not None else self.pretrained
        found = find_pretrained(asked, self.network, channels=dataset.channels, image_size=image_size)
        network = initial_network(
            found.backbone,
            dataset,
            weights=str(found.file) if found.file else self.weights,
            seed=config.seed,
            head_layer=method.head_layer,
            new_head=found.origin is not None,
        )
        self.fitted_ = fit_method(
            method,
            network,
            dataset.train,
            config=config,
            validation=dataset.validation,
            classes=dataset.classes,
            sample_weight=weights,
        )
        self.classes_ = classes
        self.network_ = network
        self.history_ = self.fitted_.history
        self._n_features_out = network.embedding_dim
        self.n_features_in_ = dataset.channels * image_size[0] * image_size[1]
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the class probabilities, float64 of shape (N, C), of images as in `as_images`; see ``classes_``."""
        return softmax(self._logits(X))

    def decision_function(self, X: Any) -> np.ndarray:
        """Return the adjusted logits, float32 of shape (N, C); of two classes, second minus first, of shape (N,)."""
        logits = self._logits(X)
        return logits[:, 1] - logits[:, 0] if len(self.classes_) == 2 else logits

    def transform(self, X: Any) -> np.ndarray:
        """Return the embeddings, float32 of shape (N, D), of images as in `as_images`."""
        split = self._checked(X)
        with cpu_threads(self.threads):
            return embed_images(self.network_, split, device=next(self.network_.parameters()).device)

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable label of each image, of shape (N,)."""
        best = self.predict_proba(X).argmax(axis=1)
        return self.classes_[best]

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags = InputTags(two_d_array=False, three_d_array=True, positive_only=True)
        tags.transformer_tags.preserves_dtype = []  # embeddings are float32
        return tags

    def _logits(self, X: Any) -> np.ndarray:
        split = self._checked(X)
        with cpu_threads(self.threads):
            return self.fitted_.logits(split)

    def _checked(self, X: Any) -> ImageSplit:
        check_is_fitted(self)
        images = _images_like(X, (self.network_.in_channels, *self.network_.image_size))
        return _split(images, np.zeros(len(images), dtype=np.int64))

    def _config(self) -> TrainConfig:
        seed = np.random.RandomState() if self.random_state is None else self.random_state
        if isinstance(seed, np.random.RandomState):
            seed = int(seed.randint(2**31 - 1))
        settings = {k: v for k, v in self.get_params(deep=False).items() if k in TrainConfig.model_fields}
        return make_config(seed=seed, **settings)


def as_images(X: Any) -> np.ndarray:
    """Return images as uint8 of shape (N, C, H, W).

    `X` is an array or tensor of shape (N, H, W), (N, C, H, W) or (N, H, W, C) with 1 or 3 channels, uint8 or floats in
    [0, 1]; any other raises `InputError`.

    Examples
    --------
    >>> as_images(np.full((2, 4, 4), 0.5)).shape, int(as_images(np.full((2, 4, 4), 0.5)).max())
    ((2, 1, 4, 4), 128)
    """
    if hasattr(X, "toarray"):
        raise InputError("images are a sparse matrix; expected a dense array, such as X.toarray()")
    try:
        images = np.asarray(X.detach().cpu() if hasattr(X, "detach") else X)
        images = images.astype(np.float64) if images.dtype == object else images
    except ValueError as error:
        raise InputError(f"images do not fit into one array ({error}); resize them to one shape") from error
    if images.ndim == 3:
        images = images[:, None]
    elif images.ndim == 4 and images.shape[1] not in CHANNELS and images.shape[3] in CHANNELS:
        images = images.transpose(0, 3, 1, 2)
    if images.ndim != 4 or images.shape[1] not in CHANNELS:
        raise InputError(
            f"images have shape {images.shape}; expected (N, H, W), (N, C, H, W) or (N, H, W, C) with 1 or 3 channels. "
            "Reshape your data: a single image is image[None]"
        )
    if not images.size:
        size = len(images), int(np.prod(images.shape[1:]))
        raise InputError(f"no pixels: {size[1]} feature(s) (shape={size}) while a minimum of 1 is required.")
    if images.dtype == np.uint8:
        return np.ascontiguousarray(images)
    if not np.issubdtype(images.dtype, np.floating):
        reason = "Complex data not supported: " if np.iscomplexobj(images) else ""
        raise InputError(f"{reason}images are of type {images.dtype}; expected uint8, or floats in [0, 1]")
    low, high = float(images.min()), float(images.max())
    if not (low >= 0 and high <= 1):
        fix = "Negative values in data are no pixels" if low < 0 else "divide by the largest value"
        fix = fix if np.isfinite(high - low) else "NaN and inf are no pixels"
        raise InputError(f"float images reach from {low:g} to {high:g}; expected [0, 1]: {fix}")
    return np.ascontiguousarray(np.rint(images * 255).astype(np.uint8))


def _images_like(X: Any, expected: tuple[int, ...]) -> np.ndarray:
    images = as_images(X)
    found = images.shape[1:]
    if found != expected:
        raise InputError(
            f"images have shape {found}, the model is trained on {expected}: X has {np.prod(found)} features, but "
            f"ImageClassifier is expecting {np.prod(expected)} features as input"
        )
    return images


def _training_data(X: Any, y: Any) -> tuple[ImageDataset, np.ndarray]:
    if isinstance(X, ImageDataset):
        if y is not None:
            raise InputError("a dataset brings its own labels; leave out y")
        return X, np.asarray(X.classes)
    if y is None:
        raise InputError("fit requires y to be passed, but the target y is None: give one label per image")
    images = as_images(X)
    labels = _labels(y, len(images))
    classes, indices = np.unique(labels, return_inverse=True)
    return dataset_from_arrays(images, indices, classes=[str(label) for label in classes], name="y"), classes


def _labels(y: Any, count: int) -> np.ndarray:
    labels = np.asarray(y.detach().cpu() if hasattr(y, "detach") else y)
    if labels.shape == (count, 1):
        labels = column_or_1d(labels, warn=True)
    if labels.shape != (count,):
        raise InputError(f"y has shape {labels.shape}; expected one label for each of the {count} images")
    missing = np.flatnonzero(pd.isna(labels))
    if missing.size:
        raise InputError(f"y is {labels[missing[0]]} for {missing.size} images; label them or leave them out")
    labels = pd.Series(labels).infer_objects().to_numpy() if labels.dtype == object else labels
    try:
        check_classification_targets(labels)
        np.unique(labels)
    except (TypeError, ValueError) as error:
        raise InputError(f"y does not hold classes of one type: {error}") from error
    return labels


def _weighted(dataset: ImageDataset, weights: Any) -> tuple[ImageDataset, np.ndarray | None]:
    """Return the dataset without images of weight 0, and the others' weights, of mean 1; None if they are equal."""
    if weights is None:
        return dataset, None
    weights, count = np.asarray(weights, dtype=np.float64), len(dataset.train)
    if weights.shape != (count,) or not ((weights >= 0) & (weights < np.inf)).all():
        raise InputError(f"sample_weight: shape {weights.shape}; expected {count} finite numbers, 0 or more")
    if not weights.all():
        dataset = replace(dataset, train=dataset.train.subset(np.flatnonzero(weights)))
    empty = np.flatnonzero(dataset.train.class_counts(dataset.num_classes) == 0)
    if empty.size:
        raise InputError(f"class {dataset.classes[empty[0]]!r} has weight zero in all images; leave them out")
    weights = weights[weights > 0]
    return dataset, None if np.ptp(weights) == 0 else weights / weights.mean()


def _with_validation(dataset: ImageDataset, classes: np.ndarray, X: Any, y: Any) -> ImageDataset:
    images = _images_like(X, (dataset.channels, *dataset.image_size))
    labels, known = _labels(y, len(images)), {label: i for i, label in enumerate(classes.tolist())}
    indices = np.array([known.get(label, -1) for label in labels.tolist()])
    if indices.min() < 0:
        raise InputError(f"no training image has the label {labels[indices.argmin()]} of a validation image")
    return replace(dataset, validation=_split(images, indices))


def _split(images: np.ndarray, labels: np.ndarray) -> ImageSplit:
    return ImageSplit(images, labels, tuple(f"{i:06d}" for i in range(len(images))))
