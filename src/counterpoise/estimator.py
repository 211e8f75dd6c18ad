"""The scikit-learn interface: one estimator for every method."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from counterpoise.config import TrainConfig, make_config
from counterpoise.datasets import ImageDataset, ImageSplit
from counterpoise.exceptions import InputError
from counterpoise.methods import Method, get_method
from counterpoise.networks import find_pretrained
from counterpoise.training import fit_method, initial_network, softmax

CHANNELS = (1, 3)


class ImageClassifier(ClassifierMixin, BaseEstimator):
    """An image classifier trained with one of the methods.

    Follows scikit-learn: it can be cloned, pickled, cross-validated and grid-searched.

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
    network_, history_, n_features_in_
        The trained network, one entry per epoch of every stage, and the number of values per image.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> digits = load_digits()
    >>> images = (digits.images / 16).astype("float32")
    >>> model = ImageClassifier(method="bl-cw", epochs=3, random_state=0).fit(images[:600], digits.target[:600])
    >>> bool(model.score(images[600:900], digits.target[600:900]) > 0.5)
    True
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

    def fit(self, X: Any, y: ArrayLike | None = None) -> ImageClassifier:
        """Train and return the estimator; `InputError` if images or labels do not fit, or a setting is refused.

        `X` holds images as in `as_images`, `y` (N,) labels of any kind. Instead of both, `X` can be an `ImageDataset`,
        whose validation images give the learning curves.
        """
        dataset, classes = _training_data(X, y)
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
        self._fitted = fit_method(
            method,
            network,
            dataset.train,
            config=config,
            validation=dataset.validation,
            classes=dataset.classes,
        )
        self.classes_ = classes
        self.network_ = self._fitted.network
        self.history_ = self._fitted.history
        self.n_features_in_ = dataset.channels * image_size[0] * image_size[1]
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the class probabilities, float64 of shape (N, C), of images as in `as_images`; see ``classes_``."""
        check_is_fitted(self)
        images = as_images(X)
        expected = (self.network_.in_channels, *self.network_.image_size)
        if images.shape[1:] != expected:
            raise InputError(f"images have shape {images.shape[1:]}, the model was trained on {expected}")
        split = _split(images, np.zeros(len(images), dtype=np.int64))
        return softmax(self._fitted.logits(split))

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable label of each image, of shape (N,)."""
        probabilities = self.predict_proba(X)
        return self.classes_[probabilities.argmax(axis=1)]

    def _config(self) -> TrainConfig:
        state = self.random_state
        if state is None:
            seed = int(np.random.default_rng().integers(2**31))
        elif isinstance(state, np.random.RandomState):
            seed = int(state.randint(2**31 - 1))
        else:
            seed = state
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
    images = np.asarray(X.detach().cpu() if hasattr(X, "detach") else X)
    if images.ndim == 3:
        images = images[:, None]
    elif images.ndim == 4 and images.shape[1] not in CHANNELS and images.shape[3] in CHANNELS:
        images = images.transpose(0, 3, 1, 2)
    if images.ndim != 4 or images.shape[1] not in CHANNELS:
        raise InputError(
            f"images have shape {np.shape(X)}; expected (N, H, W), (N, C, H, W) or (N, H, W, C) with 1 or 3 channels"
        )
    if images.dtype == np.uint8:
        return np.ascontiguousarray(images)
    if not np.issubdtype(images.dtype, np.floating):
        raise InputError(f"images are of type {images.dtype}; expected uint8, or floats in [0, 1]")
    low, high = (float(images.min()), float(images.max())) if images.size else (0.0, 0.0)
    if not (low >= 0 and high <= 1):
        raise InputError(
            f"float images reach from {low:g} to {high:g}; expected [0, 1]: divide by the largest value"
        )
    return np.ascontiguousarray(np.rint(images * 255).astype(np.uint8))


def _training_data(X: Any, y: ArrayLike | None) -> tuple[ImageDataset, np.ndarray]:
    if isinstance(X, ImageDataset):
        if y is not None:
            raise InputError("a dataset brings its own labels; leave out y")
        return X, np.asarray(X.classes)
    if y is None:
        raise InputError("y is missing: give one label per image")
    images, labels = as_images(X), np.asarray(y)
    if labels.shape != (len(images),):
        raise InputError(
            f"y has shape {labels.shape}; expected one label for each of the {len(images)} images"
        )
    classes, indices = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        raise InputError(f"y holds {len(classes)} class; at least two are needed")
    names, size = tuple(map(str, classes)), (images.shape[2], images.shape[3])
    split = _split(images, indices.astype(np.int64))
    return ImageDataset("arrays", names, images.shape[1], size, split), classes


def _split(images: np.ndarray, labels: np.ndarray) -> ImageSplit:
    return ImageSplit(images, labels, tuple(f"{i:06d}" for i in range(len(images))))
