"""ImageClassifier against scikit-learn's own tools."""

import inspect
import pickle
import warnings

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline

from counterpoise import ImageClassifier
from counterpoise.datasets import dataset_from_arrays
from counterpoise.estimator import as_images
from counterpoise.exceptions import InputError
from counterpoise.networks import packaged_weights


@pytest.fixture(scope="module")
def data(make_images):
    images, labels = make_images([40, 40, 12])
    return images, np.array(["cat", "dog", "owl"])[labels]


def model(**settings):
    return ImageClassifier(
        **{"epochs": 3, "batch_size": 8, "lr": 5e-3, "random_state": 0, "device": "cpu"} | settings
    )


def test_the_constructor_only_stores_and_clone_copies_every_parameter():
    names = [p for p in inspect.signature(ImageClassifier).parameters if p != "self"]
    given = {name: object() for name in names}
    estimator = ImageClassifier(**given)
    assert estimator.get_params() == given
    assert vars(estimator) == given
    settings = {"method": "ados", "epochs": 7, "lr": 0.1, "threads": 2}
    assert clone(ImageClassifier(**settings)).get_params() == ImageClassifier(**settings).get_params()


@pytest.mark.parametrize("method", ["bl-cw", "ados", "bl-ros-rus", "logit-adjusted"])
def test_it_learns_labels_of_any_kind(data, method):
    images, labels = data
    fitted = model(method=method).fit(images, labels)
    assert fitted.classes_.tolist() == ["cat", "dog", "owl"]
    probabilities = fitted.predict_proba(images)
    assert probabilities.sum(axis=1) == pytest.approx(1)
    assert np.array_equal(fitted.predict(images), fitted.classes_[probabilities.argmax(axis=1)])
    assert fitted.score(images, labels) > 0.8
    assert fitted.history_[-1]["epoch"] == 3


def test_equal_images_in_every_form_give_the_same_model(data):
    images, labels = data
    expected = model(method="bl").fit(images, labels).predict_proba(images)
    forms = [
        images[:, 0],
        images.transpose(0, 2, 3, 1),
        images / 255,
        (images / 255).astype(np.float32),
        torch.from_numpy(images),
        torch.from_numpy(images).float() / 255,
    ]
    for form in forms:
        assert np.array_equal(model(method="bl").fit(form, labels).predict_proba(form), expected)


def test_the_seed_decides(data):
    images, labels = data
    one, same, other = (model(random_state=s).fit(images, labels).predict_proba(images) for s in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
    state = np.random.RandomState(0)
    drawn = [model(random_state=state).fit(images, labels).predict_proba(images) for _ in range(2)]
    assert not np.array_equal(*drawn)


@pytest.mark.parametrize(
    "change", [{"lr": 1e-3}, {"optimizer": "sgd"}, {"schedule": "cosine"}, {"weight_decay": 0.5}]
)
def test_training_settings_reach_the_training(data, change):
    images, labels = data
    assert not np.array_equal(
        model().fit(images, labels).predict_proba(images),
        model(**change).fit(images, labels).predict_proba(images),
    )


def test_pickling_keeps_the_predictions(data):
    images, labels = data
    fitted = model(method="logit-adjusted").fit(images, labels)
    again = pickle.loads(pickle.dumps(fitted))
    assert np.array_equal(again.predict_proba(images), fitted.predict_proba(images))


def test_grid_search_finds_the_better_rate(data):
    images, labels = data
    search = GridSearchCV(model(), {"lr": [1e-7, 5e-3], "method": ["bl-cw"]}, cv=2).fit(images, labels)
    assert search.best_params_["lr"] == 5e-3
    assert search.best_score_ > 0.7


def test_cross_validation_predicts_every_image_out_of_fold(data):
    images, labels = data
    predicted = cross_val_predict(model(), images, labels, cv=3)
    assert np.mean(predicted == labels) > 0.7
    probabilities = cross_val_predict(model(), images, labels, cv=3, method="predict_proba")
    assert np.array_equal(np.array(["cat", "dog", "owl"])[probabilities.argmax(axis=1)], predicted)
    scores = cross_val_score(make_pipeline(model()), images, labels, cv=3, scoring="balanced_accuracy")
    assert scores.mean() > 0.6


def test_a_data_set_brings_its_labels(data):
    images, labels = data
    classes, indices = np.unique(labels, return_inverse=True)
    dataset = dataset_from_arrays(images, indices, classes=classes.tolist())
    fitted = model().fit(dataset)
    assert np.array_equal(fitted.predict(images), model().fit(images, labels).predict(images))
    with pytest.raises(InputError, match="leave out y"):
        model().fit(dataset, labels)


def test_images_and_labels_are_left_as_they_were(data):
    images, labels = data
    before = images.copy()
    model(method="ados").fit(images, labels)
    assert np.array_equal(images, before)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((4, 8)), r"shape \(4, 8\)"),
        (np.zeros((4, 2, 8, 8)), "1 or 3 channels"),
        (np.full((4, 8, 8), 3.0), r"from 3 to 3; expected \[0, 1\]"),
        (np.full((4, 8, 8), np.nan), r"expected \[0, 1\]"),
        (np.zeros((4, 8, 8), dtype=int), "expected uint8"),
    ],
)
def test_images_of_another_kind_are_refused(images, message):
    with pytest.raises(InputError, match=message):
        as_images(images)


def test_wrong_labels_are_refused(data):
    images, labels = data
    for y, message in [
        (None, "the target y is None"),
        (labels[:-1], "one label for each"),
        (["a"] * len(labels), "at least two"),
    ]:
        with pytest.raises(InputError, match=message):
            model().fit(images, y)
    with pytest.raises(NotFittedError):
        model().predict(images)
    with pytest.raises(InputError, match=r"the model is trained on \(1, 8, 8\)"):
        model().fit(images, labels).predict(np.zeros((2, 9, 9)))


def test_photographs_start_from_published_weights(make_images):
    images, labels = make_images([8, 8], size=48)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted = model(epochs=1, lr=1e-12).fit(images, labels)
    assert fitted.network_.name == "tf_efficientnet_lite0"
    weights = torch.load(packaged_weights(), weights_only=True)["_conv_head.weight"]
    torch.testing.assert_close(fitted.network_.backbone.conv_head.weight.cpu(), weights)
    with pytest.raises(InputError, match=r"`pretrained` hub and `weights` file\.pth: leave one of them out"):
        model(pretrained="hub", weights="file.pth").fit(images, labels)
