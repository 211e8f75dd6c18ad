"""What is decided and refused before a run starts: number of epochs, short trainings, comparison of epochs."""

import pytest

from counterpoise.config import TrainRunConfig
from counterpoise.datasets import ImageDataset, ImageSplit
from counterpoise.exceptions import InputError
from counterpoise.methods import get_method
from counterpoise.training import prepare_run


@pytest.fixture(scope="module")
def dataset(make_images):
    images, labels = make_images([60, 30, 10])
    split = ImageSplit(images, labels, tuple(map(str, range(len(labels)))))
    return ImageDataset("blobs", ("a", "b", "c"), 1, (8, 8), split)


def prepared(dataset, **settings):
    return prepare_run(dataset, TrainRunConfig.of(**{"test_fraction": 0.2} | settings), [get_method("bl")])


def test_few_images_get_more_epochs_if_their_number_is_left_open(dataset):
    plan = prepared(dataset, batch_size=16).plan
    images = len(prepared(dataset).manifest.train)
    assert 64 < images <= 80
    assert plan.config.epochs == 100  # of five steps each
    assert prepared(dataset, batch_size=16, steps=12).plan.config.epochs == 5
    assert prepared(dataset, batch_size=16, epochs=2).plan.config.epochs == 2


def test_a_short_training_is_said_to_be_short(dataset):
    note = "15 steps of training are too few to learn from; raise `epochs` or lower `batch_size`"
    assert prepared(dataset, epochs=3, batch_size=16).notes == (note,)
    assert prepared(dataset, epochs=4, batch_size=16).notes == ()
    assert prepared(dataset, epochs=1, batch_size=80).notes[0].startswith("1 step of training is too few")


@pytest.mark.parametrize("settings", [{"select": "best"}, {"patience": 3}])
def test_comparing_epochs_needs_validation_images(dataset, settings):
    assert prepared(dataset, **settings).plan.config.compares_epochs
    with pytest.raises(InputError, match="there are none; set `validation_fraction` above 0"):
        prepared(dataset, validation_fraction=0, **settings)
