"""Sample weights, validation data, embeddings and labels of ImageClassifier."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import DataConversionWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from counterpoise import ImageClassifier, load_dataset
from counterpoise.estimator import as_images
from counterpoise.exceptions import InputError
from counterpoise.methods import all_methods

REFUSING = {
    *("ados", "fs-smote", "smote-pixels"),  # synthetic samples
    *("mixup-drw", "remix", "cmo", "balpoe"),  # mixed images
    *("dos", "lmle"),  # embeddings of all images are compared
    *("ncm", "lda"),  # the head is computed from all embeddings
}


@pytest.fixture(scope="module")
def data(make_images):
    images, labels = make_images([20, 20, 8])
    return images, np.array(["cat", "dog", "owl"])[labels]


@pytest.fixture(scope="module")
def held_out(make_images):
    images, labels = make_images([6, 6, 6], seed=1)
    return images, np.array(["cat", "dog", "owl"])[labels]


def model(method="bl", **settings):
    return ImageClassifier(
        method, **{"epochs": 2, "batch_size": 8, "lr": 5e-3, "random_state": 0, "device": "cpu"} | settings
    )


@pytest.mark.parametrize("method", ["bl-cw", "bl-ros-rus", "aos", "crt", "logit-adjusted"])
def test_an_image_of_weight_0_might_as_well_be_absent(data, method):
    images, labels = data
    present = np.random.default_rng(0).random(len(labels)) < 0.7
    expected = model(method).fit(images[present], labels[present]).predict_proba(images)
    found = model(method).fit(images, labels, sample_weight=present.astype(int)).predict_proba(images)
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("method", ["bl", "crt", "ados", "mixup-drw"])
def test_equal_weights_change_nothing(data, method):
    images, labels = data
    expected = model(method).fit(images, labels).predict_proba(images)
    weighted = model(method).fit(images, labels, sample_weight=np.full(len(labels), 0.3))
    assert np.array_equal(weighted.predict_proba(images), expected)


@pytest.mark.parametrize(
    "method", ["bl", "bl:step=sam", "bl-ros-rus", "two-phase", "los:head_loss=cross-entropy"]
)
def test_weights_are_the_odds_of_labels_that_contradict_each_other(method):
    """Of every picture, a fifth of the weight says "b": so does the model, within 0.05 on average."""
    images = np.random.default_rng(0).random((40, 8, 8)).repeat(2, axis=0)
    labels = np.array(["a", "b"] * 40)
    weights = np.where(labels == "b", 1.0, 4.0)
    fitted = model(method, epochs=40, batch_size=80, lr=0.02).fit(images, labels, sample_weight=weights)
    assert fitted.predict_proba(images).mean(axis=0) == pytest.approx([0.8, 0.2], abs=0.05)


def test_only_the_ratios_of_weights_count(data):
    images, labels = data
    weights = np.random.default_rng(0).uniform(0.1, 2, len(labels))
    one, other = (
        model().fit(images, labels, sample_weight=weights * f).predict_proba(images) for f in (1, 1024)
    )
    assert np.array_equal(one, other)
    assert not np.allclose(one, model().fit(images, labels).predict_proba(images), atol=1e-3)


@pytest.mark.parametrize(
    "name", [pytest.param(m, marks=[] if m in REFUSING else pytest.mark.slow) for m in all_methods()]
)
def test_every_method_takes_weights_or_says_why_not(data, held_out, name):
    images, labels = data
    weights = np.where(labels == "cat", 5.0, 1.0)
    weights[::2] *= 3
    fitted = model(name, epochs=1)
    if name in REFUSING:
        with pytest.raises(
            InputError, match=rf"^{name} .* takes no `sample_weight`; leave it out or use bl-cw$"
        ):
            fitted.fit(images, labels, sample_weight=weights, validation_data=held_out)
        return
    fitted.fit(images, labels, sample_weight=weights, validation_data=held_out)
    equal = clone(fitted).fit(images, labels, validation_data=held_out)
    assert not np.allclose(fitted.decision_function(images), equal.decision_function(images), atol=1e-3)


def test_weights_reach_images_that_are_read_from_files(data, tmp_path):
    images, labels = data
    order = np.lexsort((np.arange(len(labels)), labels))
    for number, index in enumerate(order):
        path = tmp_path / labels[index] / f"{number:03d}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(images[index, 0]).save(path)
    dataset = load_dataset(tmp_path, in_memory=False)
    assert not dataset.train.in_memory
    weights = np.random.default_rng(0).integers(0, 4, len(labels))
    found = model().fit(dataset, sample_weight=weights)
    expected = model().fit(images[order], labels[order], sample_weight=weights)
    np.testing.assert_allclose(found.predict_proba(images), expected.predict_proba(images), atol=1e-6)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (lambda y: np.ones(3), r"shape \(3,\); expected 48 finite numbers"),
        (lambda y: np.ones((len(y), 1)), r"shape \(48, 1\)"),
        (lambda y: [np.nan, *np.ones(len(y) - 1)], "0 or more"),
        (lambda y: [-1, *np.ones(len(y) - 1)], "0 or more"),
        (lambda y: [np.inf, *np.ones(len(y) - 1)], "finite"),
        (lambda y: y != "owl", "class 'owl' has weight zero in all images"),
    ],
)
def test_bad_weights_are_refused(data, weights, message):
    images, labels = data
    with pytest.raises(InputError, match=message):
        model().fit(images, labels, sample_weight=weights(labels))


def test_validation_data_give_learning_curves_and_change_nothing_else(data, held_out):
    images, labels = data
    plain, watched = model().fit(images, labels), model().fit(images, labels, validation_data=held_out)
    assert np.array_equal(plain.predict_proba(images), watched.predict_proba(images))
    assert "validation_accuracy" not in plain.history_[-1]
    assert watched.history_[-1]["validation_accuracy"] == pytest.approx(watched.score(*held_out))


def test_a_method_that_is_tuned_afterwards_learns_from_validation_data(data, held_out):
    images, labels = data
    with pytest.raises(InputError, match="learns from validation images, and there are none"):
        model("thresholds").fit(images, labels)
    tuned = model("thresholds", epochs=1, lr=5e-4).fit(images, labels, validation_data=held_out)
    plain = model("bl", epochs=1, lr=5e-4).fit(images, labels)
    recalls = [
        np.mean([m.predict(held_out[0])[held_out[1] == c] == c for c in m.classes_]) for m in (tuned, plain)
    ]
    assert recalls[0] > recalls[1]


def test_validation_data_that_do_not_fit_are_refused(data, held_out):
    images, labels = data
    x, y = held_out
    for pair, message in [
        ((x, np.where(y == "owl", "bat", y)), "no training image has the label bat"),
        ((x, np.arange(len(y)) % 3), "no training image has the label 0"),
        ((x[:, :, :6], y), r"shape \(1, 6, 8\), the model is trained on \(1, 8, 8\)"),
        ((x, y[1:]), "one label for each of the 18 images"),
        ((x, np.where(y == "owl", None, y)), "y is None for 6 images"),
    ]:
        with pytest.raises(InputError, match=message):
            model().fit(images, labels, validation_data=pair)


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (np.array([3, 5] * 4), [3, 5]),
        (np.array([3, 5] * 4, dtype=object), [3, 5]),
        (np.array([True, False] * 4), [False, True]),
        (np.array([0.0, 2.0] * 4), [0.0, 2.0]),
        (["b", "a"] * 4, ["a", "b"]),
        (pd.Series(["b", "a"] * 4, dtype="string"), ["a", "b"]),
        (pd.Series(["b", "a"] * 4, dtype="category"), ["a", "b"]),
        (torch.tensor([4, 2] * 4), [2, 4]),
    ],
)
def test_labels_of_every_kind(make_images, labels, classes):
    images = make_images([4, 4])[0]
    fitted = model(epochs=1).fit(images, labels)
    assert fitted.classes_.tolist() == classes
    assert [type(c) for c in fitted.classes_.tolist()] == [type(c) for c in classes]
    assert fitted.predict(images).dtype == fitted.classes_.dtype


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0.0, np.nan] * 4, "y is nan for 4 images"),
        (["a", "b", None, "a", "b", "a", "b", "a"], "y is None for 1 images"),
        (pd.Series(["a", pd.NA] * 4, dtype="string"), "y is <NA> for 4 images"),
        (np.linspace(0, 1, 8), "Unknown label type: continuous"),
        ([0.0, np.inf] * 4, "infinity"),
        (np.array(["a", 1] * 4, dtype=object), "classes of one type"),
        (np.eye(8), r"y has shape \(8, 8\)"),
    ],
)
def test_what_is_no_label_is_refused(make_images, labels, message):
    with pytest.raises(InputError, match=message):
        model().fit(make_images([4, 4])[0], labels)


def test_a_column_of_labels_is_one_with_a_warning(make_images):
    images, labels = make_images([4, 4])
    with pytest.warns(DataConversionWarning):
        column = model().fit(images, labels[:, None])
    assert np.array_equal(column.predict_proba(images), model().fit(images, labels).predict_proba(images))


def test_scores_and_embeddings_agree_with_the_network(data):
    images, labels = data
    fitted = model("logit-adjusted").fit(images, labels)
    scores = fitted.decision_function(images)
    exponents = np.exp(scores.astype(float) - scores.max(axis=1, keepdims=True))
    np.testing.assert_allclose(
        exponents / exponents.sum(axis=1, keepdims=True), fitted.predict_proba(images), atol=1e-12
    )
    embeddings = fitted.transform(images)
    with torch.inference_mode():
        expected = fitted.network_.embed(torch.from_numpy(images) / 255)
    assert embeddings.dtype == np.float32
    np.testing.assert_allclose(embeddings, expected.numpy(), rtol=1e-5, atol=1e-6)
    binary = model().fit(images, labels == "owl")
    odds = np.log(binary.predict_proba(images))
    np.testing.assert_allclose(
        binary.decision_function(images), odds[:, 1] - odds[:, 0], rtol=1e-4, atol=1e-5
    )
    assert np.array_equal(binary.decision_function(images) > 0, binary.predict(images))


def test_embeddings_are_features_of_a_pipeline(data):
    images, labels = data
    chain = make_pipeline(model(), LogisticRegression()).fit(images, labels)
    assert chain.score(images, labels) > 0.9
    fitted = model().fit(images, labels).set_output(transform="pandas")
    frame = fitted.transform(images)
    assert frame.columns.tolist() == [f"imageclassifier{i}" for i in range(64)]
    assert frame.columns.tolist() == fitted.get_feature_names_out().tolist()


def test_predictions_do_not_depend_on_their_batch(data):
    images, labels = data
    fitted = model().fit(images, labels)
    for method in (fitted.predict_proba, fitted.decision_function, fitted.transform):
        single = np.concatenate([method(image[None]) for image in images])
        np.testing.assert_allclose(single, method(images), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((0, 8, 8)), r"no pixels: 64 feature\(s\) \(shape=\(0, 64\)\)"),
        (np.zeros((2, 8, 0)), "no pixels"),
        (np.zeros((8, 8)), r"a single image is image\[None\]"),
        ([np.zeros((8, 8)), np.zeros((9, 9))], "resize them to one shape"),
        (sparse.eye_array(8), "sparse"),
        (np.zeros((2, 8, 8)) + 1j, "Complex data not supported"),
        (np.full((2, 8, 8), -0.1), r"expected \[0, 1\]: Negative values"),
        (np.full((2, 8, 8), np.inf), r"NaN and inf are no pixels"),
    ],
)
def test_what_is_no_image_is_refused(images, message):
    with pytest.raises(InputError, match=message):
        as_images(images)


def test_a_second_fit_gives_the_same_and_forgets_the_first(data, held_out):
    images, labels = data
    fitted = model().fit(*held_out)
    expected = model().fit(images, labels).predict_proba(images)
    assert np.array_equal(fitted.fit(images, labels).predict_proba(images), expected)
    assert fitted.n_features_in_ == 64
    restored = pickle.loads(pickle.dumps(fitted))
    assert np.array_equal(restored.transform(images), fitted.transform(images))
    learned = vars(fitted).keys() - fitted.get_params().keys()
    assert learned == {"classes_", "fitted_", "network_", "history_", "n_features_in_", "_n_features_out"}


@pytest.mark.parametrize("method", ["predict", "predict_proba", "decision_function", "transform"])
def test_nothing_is_predicted_before_fit(method):
    with pytest.raises(NotFittedError):
        getattr(model(), method)(np.zeros((1, 8, 8)))
