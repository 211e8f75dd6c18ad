"""RandomAffine against torchvision's affine, one image at a time, and its shifts against padding and cutting."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch.nn import functional as F
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as vision

from counterpoise.balance.perturb import RandomAffine
from counterpoise.exceptions import InputError


def pictures(n=6, channels=3, height=12, width=12, seed=0):
    return torch.rand(n, channels, height, width, generator=torch.Generator().manual_seed(seed))


def augmented(augment, images, seed=0):
    return augment(images, generator=torch.Generator().manual_seed(seed))


def draws(n, seed=0):
    """What a batch of `n` draws: to the right, down, angle, zoom, mirror; each even in [0, 1)."""
    return torch.rand(5, n, generator=torch.Generator().manual_seed(seed)).tolist()


def one_by_one(images, *, degrees, translate, scale, flips, seed=0):
    """torchvision, image by image; its fill is one colour, so a wide border goes round the image before."""
    height, width = images.shape[2:]
    margin = 2 * max(height, width)
    result = []
    for image, across, down, angle, zoom, mirror in zip(images, *draws(len(images), seed), strict=True):
        image = F.pad(image[None], (margin,) * 4, mode="replicate")[0]
        if flips and mirror < 0.5:
            image = image.flip(-1)
        moved = vision.affine(
            image,
            angle=(2 * angle - 1) * degrees,
            translate=[(2 * across - 1) * translate * width, (2 * down - 1) * translate * height],
            scale=1 + (2 * zoom - 1) * scale,
            shear=[0.0, 0.0],
            interpolation=InterpolationMode.BILINEAR,
        )
        result.append(moved[:, margin:-margin, margin:-margin])
    return torch.stack(result)


@given(
    st.integers(0, 10_000),
    st.sampled_from([(12, 12), (9, 14), (7, 4)]),
    st.sampled_from([0.0, 15.0, 180.0]),
    st.sampled_from([0.0, 0.1, 0.6]),
    st.sampled_from([0.05, 0.4]),
    st.sampled_from(["none", "horizontal"]),
)
def test_equals_torchvision_image_by_image(seed, size, degrees, translate, scale, flip):
    images = pictures(3, 2, *size, seed=seed)
    augment = RandomAffine(degrees=degrees, translate=translate, scale=scale, flip=flip)
    expected = one_by_one(
        images, degrees=degrees, translate=translate, scale=scale, flips=flip == "horizontal", seed=seed
    )
    torch.testing.assert_close(augmented(augment, images, seed), expected, atol=1e-4, rtol=0)


@given(
    st.integers(0, 10_000),
    st.sampled_from([(12, 12), (9, 14), (3, 5)]),
    st.sampled_from([0.0, 0.02, 0.1, 0.6]),
    st.sampled_from(["none", "horizontal"]),
)
def test_shifts_equal_padding_and_cutting(seed, size, translate, flip):
    height, width = size
    images = pictures(4, 2, height, width, seed=seed)
    augment = RandomAffine(degrees=0, translate=translate, scale=0, flip=flip)
    result = augmented(augment, images, seed).numpy()
    most = [max(1, round(translate * side)) if translate else 0 for side in (width, height)]
    for i, (across, down, _, _, mirror) in enumerate(zip(*draws(4, seed), strict=True)):
        image = images[i].flip(-1) if flip == "horizontal" and mirror < 0.5 else images[i]
        right, below = (int(u * (2 * m + 1)) - m for u, m in zip((across, down), most, strict=True))
        padded = np.pad(image.numpy(), ((0, 0), (most[1],) * 2, (most[0],) * 2), mode="edge")
        top, left = most[1] - below, most[0] - right
        np.testing.assert_array_equal(result[i], padded[:, top : top + height, left : left + width])


def test_every_shift_is_as_likely():
    spots = torch.zeros(6000, 1, 20, 20)
    spots[:, :, 10, 10] = 1
    moved = augmented(RandomAffine(degrees=0, translate=0.1, scale=0), spots)
    place = moved[:, 0].flatten(1).argmax(dim=1)
    counts = torch.bincount((place // 20 - 8) * 5 + place % 20 - 8, minlength=25)
    assert len(counts) == 25
    assert stats.chisquare(counts.numpy()).pvalue > 1e-3


def test_zooms_and_shifts_are_even_and_independent():
    """The motion of a white square is read off its size and its centre."""
    n, size = 400, 41
    square = torch.zeros(n, 1, size, size)
    square[:, :, 14:27, 14:27] = 1
    moved = augmented(RandomAffine(degrees=0, translate=0.2, scale=0.3), square)[:, 0].double()
    area = moved.sum(dim=(1, 2))
    zoom = (area / 169).sqrt()
    place = torch.arange(size, dtype=torch.float64) - 20
    across = (moved.sum(dim=1) * place).sum(dim=1) / area / size
    down = (moved.sum(dim=2) * place).sum(dim=1) / area / size
    for values, low, high in ((zoom, 0.7, 1.3), (across, -0.2, 0.2), (down, -0.2, 0.2)):
        even = stats.uniform(low, high - low)
        assert stats.kstest(values.numpy(), even.cdf).pvalue > 1e-3
    for first, second in ((zoom, across), (across, down), (zoom, down)):
        assert abs(np.corrcoef(first, second)[0, 1]) < 5 / math.sqrt(n)


def test_every_image_moves_by_itself_and_its_channels_together():
    images = pictures(1, 1).expand(8, 3, 12, 12)
    moved = augmented(RandomAffine(), images)
    assert len({tuple(image.flatten().tolist()) for image in moved}) == 8
    assert torch.equal(moved[:, 0], moved[:, 1])
    assert torch.equal(moved[:, 0], moved[:, 2])


@pytest.mark.parametrize("still", [{"degrees": 0, "scale": 0}, {"degrees": 0, "scale": 1e-9}])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("flip", ["auto", "none", "horizontal"])
def test_what_is_mirrored(still, channels, flip):
    images = pictures(400, channels)
    result = augmented(RandomAffine(translate=0, flip=flip, **still), images)
    same = ((result - images).abs() < 1e-5).flatten(1).all(dim=1)
    mirrored = ((result - images.flip(-1)).abs() < 1e-5).flatten(1).all(dim=1)
    assert (same ^ mirrored).all()
    flips = flip == "horizontal" or (flip == "auto" and channels == 3)
    assert float(mirrored.float().mean()) == pytest.approx(0.5 if flips else 0.0, abs=5 * 0.5 / 20 * flips)


def test_border_is_repeated():
    images = torch.ones(50, 3, 8, 8)
    torch.testing.assert_close(augmented(RandomAffine(translate=0.4), images), images)
    assert torch.equal(augmented(RandomAffine(degrees=0, translate=0.4, scale=0), images), images)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("options", [{}, {"degrees": 0, "scale": 0}])
def test_other_types_of_numbers(dtype, options):
    images = pictures()
    result = augmented(RandomAffine(**options), images.to(dtype))
    assert result.dtype == dtype
    expected = augmented(RandomAffine(**options), images)
    torch.testing.assert_close(result.float(), expected, atol=1e-2, rtol=0)


def test_no_class_and_no_network_are_needed():
    images = pictures()
    generator = torch.Generator().manual_seed(0)
    batch = RandomAffine().perturb(
        images, torch.zeros(6, dtype=torch.int64), network=None, loss=None, generator=generator
    )
    assert torch.equal(batch.images, augmented(RandomAffine(), images))
    with pytest.raises(InputError, match="expected floats"):
        RandomAffine()(torch.zeros(2, 3, 4, 4, dtype=torch.uint8))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"degrees": -1}, "degrees is -1"),
        ({"degrees": math.nan}, "degrees is nan"),
        ({"translate": 1.0}, "translate is 1.0"),
        ({"scale": 1}, "scale is 1"),
        ({"flip": "vertical"}, "flip is 'vertical'; expected one of auto, none, horizontal"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        RandomAffine(**options)


def test_some_images_stay_as_they_are():
    images = torch.rand(4000, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    moved = RandomAffine(p=0.3)(images, generator=torch.Generator().manual_seed(1))
    always = RandomAffine()(images, generator=torch.Generator().manual_seed(1))
    changed = (moved != images).flatten(1).any(dim=1)
    assert changed.float().mean() == pytest.approx(0.3, abs=0.03)
    assert torch.equal(moved[changed], always[changed])
    assert torch.equal(RandomAffine(p=0)(images), images)


def test_a_probability_out_of_range_is_refused():
    with pytest.raises(InputError, match=r"p is 1.5; expected a probability in \[0, 1\]"):
        RandomAffine(p=1.5)
