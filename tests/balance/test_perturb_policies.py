"""The policies of torchvision, image by image, from the given generator alone."""

import pytest
import torch
from torch import nn
from torchvision.transforms import InterpolationMode, v2

from counterpoise.balance.perturb import RandAugment, TrivialAugment
from counterpoise.exceptions import InputError

BILINEAR = InterpolationMode.BILINEAR
POLICIES = {
    "trivial": (TrivialAugment(), v2.TrivialAugmentWide(interpolation=BILINEAR)),
    "rand": (RandAugment(num_ops=3, magnitude=20), v2.RandAugment(3, 20, interpolation=BILINEAR)),
}
every_policy = pytest.mark.parametrize(("policy", "reference"), POLICIES.values(), ids=POLICIES)


def photographs(n=12, channels=3):
    generator = torch.Generator().manual_seed(0)
    small = torch.rand(n, channels, 4, 4, generator=generator)
    return nn.functional.interpolate(small, size=(16, 16), mode="bilinear")


def changed(policy, images, seed=5):
    generator = torch.Generator().manual_seed(seed)
    targets = torch.zeros(len(images), dtype=torch.int64)
    return policy.perturb(
        images, targets, network=nn.Identity(), loss=nn.CrossEntropyLoss(), generator=generator
    ).images


@every_policy
@pytest.mark.parametrize("channels", [1, 3])
def test_each_image_is_changed_as_by_torchvision(policy, reference, channels):
    images = photographs(channels=channels)
    found = changed(policy, images)
    seed = int(torch.randint(2**31, (1,), generator=torch.Generator().manual_seed(5)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        expected = [reference((image * 255).round().to(torch.uint8)).float() / 255 for image in images]
    assert torch.equal(found, torch.stack(expected))


@every_policy
def test_equal_images_of_a_batch_are_changed_differently(policy, reference):
    image = photographs(1)
    found = changed(policy, image.expand(16, -1, -1, -1).contiguous())
    assert len({tuple(row.flatten().tolist()) for row in found}) > 10


@every_policy
def test_the_layout_of_the_batch_is_kept(policy, reference):
    images = photographs().to(memory_format=torch.channels_last)
    assert changed(policy, images).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_ops": 0}, "num_ops is 0; expected a whole number of at least 1"),
        ({"num_ops": 1.5}, "num_ops is 1.5"),
        ({"magnitude": 31}, r"magnitude is 31; expected a whole number in \[0, 30\]"),
    ],
)
def test_nonsense_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        RandAugment(**options)
