"""A U-Net learns to copy: against the mean image, the floor, and after a kill."""

import numpy as np
import pytest
import torch

from counterpoise.config import make_config
from counterpoise.datasets import dataset_from_arrays, make_splits
from counterpoise.networks import UNet
from counterpoise.studies.enhance.variants import CopyLoss, copy_scores, train_copier
from counterpoise.training import Batch, ProgressCallback


@pytest.fixture(scope="module")
def splits(make_images):
    dataset = dataset_from_arrays(*make_images([60, 50, 40]), name="blobs")
    return make_splits(dataset, validation_fraction=0.2).apply(dataset)


def copier(splits, folder, *, epochs=4, progress=None, identity="images", **settings):
    config = make_config(**{"batch_size": 16, "lr": 5e-3, "device": "cpu"} | settings)
    return train_copier(
        splits, width=8, epochs=epochs, config=config, folder=folder, identity=identity, progress=progress
    )


def cross_entropy(target, value):
    """Pixel by pixel; 0 log 0 is 0."""
    total = 0.0
    for t, v in zip(target.ravel().tolist(), value.ravel().tolist(), strict=True):
        total -= (t * np.log(v) if t else 0.0) + ((1 - t) * np.log(1 - v) if t < 1 else 0.0)
    return total / target.size


def weights(unet):
    return torch.cat([tensor.flatten().double() for tensor in unet.state_dict().values()])


def test_copies_come_far_nearer_to_the_floor_than_the_mean_image(splits, tmp_path):
    found = copier(splits, tmp_path, epochs=40).history
    images = np.asarray(splits.validation.images) / 255
    mean = np.broadcast_to((np.asarray(splits.train.images) / 255).mean(axis=0), images.shape)
    floor = cross_entropy(images, images)
    assert found[-1]["validation_entropy"] == pytest.approx(floor, abs=1e-5)
    excess = found[-1]["validation_loss"] - floor
    assert 0 < excess < 0.2 * (cross_entropy(images, mean) - floor)
    assert found[-1]["validation_error"] < 0.4 * np.abs(images - mean).mean()
    assert found[-1]["loss"] < found[0]["loss"]


def test_the_loss_and_the_scores_are_those_of_a_slow_loop(splits):
    torch.manual_seed(0)
    unet = UNet(1, width=2).eval()
    images = np.asarray(splits.validation.images) / 255
    batch = torch.from_numpy(images).float()
    with torch.no_grad():
        copies = unet(batch).numpy().astype(np.float64)
        loss = CopyLoss()(unet, Batch(batch, torch.zeros(len(batch)), torch.arange(len(batch))))
    assert float(loss) == pytest.approx(cross_entropy(images, copies), abs=1e-5)
    found = copy_scores(unet, splits.validation)
    assert found["validation_loss"] == pytest.approx(float(loss), abs=1e-5)
    assert found["validation_error"] == pytest.approx(np.abs(copies - images).mean(), abs=1e-5)


class Killed(Exception):
    pass


class KillAt(ProgressCallback):
    def __init__(self, epoch):
        self.epoch = epoch

    def update(self, step):
        if step.epoch == self.epoch:
            raise Killed


def test_a_killed_copier_goes_on_to_the_same_bits(splits, tmp_path):
    whole = copier(splits, tmp_path / "whole")
    with pytest.raises(Killed):
        copier(splits, tmp_path / "killed", progress=KillAt(3))
    resumed = copier(splits, tmp_path / "killed")
    assert torch.equal(weights(resumed.unet), weights(whole.unet))
    assert [entry["epoch"] for entry in resumed.history] == [1, 2, 3, 4]


def test_who_needs_the_same_copier_takes_it_and_who_needs_another_does_not(splits, tmp_path):
    first = copier(splits, tmp_path)
    again = copier(splits, tmp_path, progress=KillAt(1))
    assert torch.equal(weights(again.unet), weights(first.unet))
    assert again.history == first.history
    for change in ({"identity": "other"}, {"seed": 1}, {"lr": 1e-3}, {"epochs": 5}):
        with pytest.raises(Killed):
            copier(splits, tmp_path, progress=KillAt(1), **change)
