"""Fine-tuning from a fitted head: where it starts, and that it learns."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from counterpoise.config import fine_tuning_config
from counterpoise.datasets import ImageSplit
from counterpoise.exceptions import InputError
from counterpoise.methods import get_method
from counterpoise.networks import create_network
from counterpoise.training import embed_images, fine_tune, fit_method, predict_logits, softmax

CPU = torch.device("cpu")


def split_of(images, labels):
    return ImageSplit(images, labels, tuple(map(str, range(len(labels)))))


@pytest.fixture(scope="module")
def train(make_images):
    return split_of(*make_images([120, 40, 8]))


@pytest.fixture(scope="module")
def validation(make_images):
    return split_of(*make_images([30, 30, 30], seed=1))


@pytest.fixture
def fitted_head(train):
    """Network of random layers, its head fitted to the embeddings by scikit-learn without weights."""
    network = create_network("tinynet", num_classes=3, in_channels=1, image_size=(8, 8), seed=0)
    rows = embed_images(network, train, device=CPU)
    model = LogisticRegression(max_iter=1000).fit(rows, train.labels)
    with torch.no_grad():
        network.classifier.weight.copy_(torch.from_numpy(model.coef_))
        network.classifier.bias.copy_(torch.from_numpy(model.intercept_))
    return network


def settings(**changes):
    return fine_tuning_config(**{"device": "cpu", "epochs": 1} | changes)


def test_it_starts_from_the_head_under_equal_shares(fitted_head, train, validation):
    """Before anything is learned: the head's logits minus the log class shares, as logit adjustment has them."""
    counts = train.class_counts(3)
    expected = softmax(predict_logits(fitted_head, validation, device=CPU) - np.log(counts / counts.sum()))
    fitted = fine_tune(fitted_head, train, config=settings(lr=1e-12, weight_decay=0), validation=validation)
    np.testing.assert_allclose(softmax(fitted.logits(validation)), expected, atol=1e-5)


def test_it_learns_and_keeps_the_best_epoch(fitted_head, train, validation):
    start = fine_tune(fitted_head, train, config=settings(lr=1e-12), validation=validation).history
    history = fine_tune(fitted_head, train, config=settings(lr=2e-3, epochs=6), validation=validation).history
    best = [entry["validation_balanced_loss"] for entry in history if entry.get("selected")]
    assert best == [min(entry["validation_balanced_loss"] for entry in history)]
    assert best[0] < 0.7 * start[0]["validation_balanced_loss"]


def test_another_method_keeps_the_head_as_it_is(fitted_head, train):
    before = fitted_head.classifier.bias.detach().clone()
    config = settings(lr=1e-12, weight_decay=0, select="last")
    fine_tune(fitted_head, train, method=get_method("bl"), config=config)
    assert torch.allclose(fitted_head.classifier.bias.detach(), before, atol=1e-6)


def test_the_method_fits_a_head_of_its_own_like_any_other(train):
    network = create_network("tinynet", num_classes=3, in_channels=1, image_size=(8, 8), seed=0)
    fitted = fit_method(get_method("fine-tuned"), network, train, config=settings(select="last"))
    assert fitted.adjustment is not None
    assert fitted.adjustment.power == 0.5


def test_the_best_epoch_needs_validation_images(fitted_head, train):
    with pytest.raises(InputError, match="`select` best compares epochs on validation images"):
        fine_tune(fitted_head, train, config=settings())
