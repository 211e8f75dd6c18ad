"""The model of a finished run: what training computed, after the run's adjustment."""

import numpy as np
import pytest
import torch
from scipy.special import softmax

from counterpoise.config import make_config
from counterpoise.datasets import dataset_from_arrays
from counterpoise.exceptions import InputError
from counterpoise.inference import TrainedModel, load_adjustment, load_network
from counterpoise.training import RunPlan, SplitPlan, execute_run, predict_logits

CLASSES = ("cat", "dog", "owl")


@pytest.fixture(scope="module")
def dataset(make_images):
    images, labels = make_images([40, 20, 8])
    test_images, test_labels = make_images([12, 12, 12], seed=1)
    return dataset_from_arrays(
        images, labels, classes=CLASSES, name="blobs", test_images=test_images, test_labels=test_labels
    )


@pytest.fixture(scope="module", params=["bl", "logit-adjusted"])
def run(request, dataset, tmp_path_factory):
    plan = RunPlan(
        source="blobs",
        fingerprint=dataset.fingerprint,
        image_size=dataset.image_size,
        split=SplitPlan(),
        draw=0,
        method=request.param,
        network="tinynet",
        config=make_config(epochs=1, batch_size=8, lr=5e-3, seed=0, device="cpu"),
    )
    return execute_run(plan, dataset, tmp_path_factory.mktemp("runs") / request.param)


def test_logits_are_those_of_the_network_after_the_adjustment(run, dataset):
    model = TrainedModel.open(run, device="cpu")
    own = predict_logits(load_network(run), dataset.test, device=torch.device("cpu"))
    adjustment = load_adjustment(run)
    assert (adjustment is None) == (run.path.name == "bl")
    expected = own if adjustment is None else adjustment.transform(own)
    np.testing.assert_array_equal(model.logits(dataset.test), expected)
    np.testing.assert_array_equal(model.adjust(own), expected)
    np.testing.assert_allclose(
        model.probabilities(dataset.test), softmax(expected.astype(np.float64), axis=1), rtol=1e-12
    )
    np.testing.assert_array_equal(model.predict(dataset.test), expected.argmax(axis=1))
    if adjustment is not None:
        assert not np.array_equal(expected.argmax(axis=1), own.argmax(axis=1))


def test_a_model_states_the_images_it_expects_and_its_classes(run):
    model = TrainedModel.open(run, device="cpu")
    assert (model.classes, model.channels, model.image_size) == (CLASSES, 1, (8, 8))
    assert not model.network.training


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_missing_device_is_refused(run):
    with pytest.raises(InputError, match="`device` cuda: no CUDA device found"):
        TrainedModel.open(run, device="cuda")
