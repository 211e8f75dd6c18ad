"""CMO against a slow loop, its draws against the distributions of the paper, and within a training."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats
from torch import nn

from counterpoise.balance.losses import CrossEntropy
from counterpoise.balance.perturb import CMO
from counterpoise.config import make_config
from counterpoise.datasets import load_dataset
from counterpoise.methods import get_method
from counterpoise.networks import create_network
from counterpoise.training import fit_method

LABELS = torch.tensor([0] * 60 + [1] * 30 + [2] * 10)


def cmo_of(labels=LABELS, *, size=(8, 12), **options):
    """CMO whose training image i is i / 1000 everywhere, and the rows that it asks for."""
    asked = []

    def images(rows):
        asked.append(rows)
        return (rows / 1000).float()[:, None, None, None].expand(len(rows), 1, *size)

    cmo = CMO(**options)
    cmo.bind(images, labels)
    return cmo, asked


def perturbed(cmo, n=16, *, seed=0, size=(8, 12)):
    images, targets = torch.full((n, 1, *size), 0.5), torch.arange(n) % 3
    generator = torch.Generator().manual_seed(seed)
    return cmo.perturb(images, targets, network=nn.Flatten(), loss=CrossEntropy(), generator=generator)


@pytest.mark.parametrize("seed", range(20))
def test_a_patch_is_a_rectangle_of_another_training_image(seed):
    cmo, asked = cmo_of(p=1.0)
    batch = perturbed(cmo, seed=seed)
    for picture, other, share, row in zip(
        batch.images[:, 0], batch.other_targets, batch.share, asked[0], strict=True
    ):
        assert other == LABELS[row]
        pasted = picture != 0.5
        assert float(share) == pytest.approx(1 - pasted.float().mean())
        assert torch.equal(picture[pasted], (row / 1000).float().expand(int(pasted.sum())))
        rows, columns = pasted.any(dim=1), pasted.any(dim=0)
        assert torch.equal(pasted, rows[:, None] & columns)
        for inside in (rows, columns):
            at = inside.nonzero()[:, 0].tolist()
            assert at == list(range(at[0], at[-1] + 1)) if at else True
    assert batch.targets.tolist() == [i % 3 for i in range(16)]


def slow_patch(share, centers, size):
    """The rectangle of CutMix, as the authors of CMO draw it, from its share and center in units of the image."""
    pixels = np.zeros(size, dtype=bool)
    spans = []
    for u, length in zip(centers, size, strict=True):
        cut, center = int(length * math.sqrt(1 - share)), int(u * length)
        spans.append((max(center - cut // 2, 0), min(center + cut // 2, length)))
    for i in range(*spans[0]):
        for j in range(*spans[1]):
            pixels[i, j] = True
    return pixels


@pytest.mark.parametrize("seed", range(20))
def test_the_rectangle_equals_the_slow_loop(seed):
    cmo, _ = cmo_of(p=1.0, alpha=0.7, size=(9, 14))
    found = perturbed(cmo, seed=seed, size=(9, 14)).images[0, 0] != 0.5
    generator = torch.Generator().manual_seed(seed)
    torch.rand((), generator=generator)
    torch.rand(16, generator=generator, dtype=torch.float64)
    share = float(torch._sample_dirichlet(torch.full((2,), 0.7), generator=generator)[0])
    centers = torch.rand(2, generator=generator).tolist()
    assert np.array_equal(found.numpy(), slow_patch(share, centers, (9, 14)))


@pytest.mark.parametrize("power", [0.0, 1.0, 2.0])
def test_images_are_drawn_by_the_sizes_of_their_classes(power):
    counts = np.bincount(LABELS)
    cmo, asked = cmo_of(p=1.0, power=power)
    perturbed(cmo, 6000)
    weights = (1 / counts**power)[LABELS.numpy()]
    found = np.bincount(asked[0].numpy(), minlength=100)
    assert stats.chisquare(found, 6000 * weights / weights.sum()).pvalue > 1e-3


def test_shares_and_the_share_of_changed_batches():
    cmo, _ = cmo_of(p=0.3, size=(64, 64))
    batches = [perturbed(cmo, 2, seed=seed, size=(64, 64)) for seed in range(600)]
    changed = [b for b in batches if (b.images != 0.5).any()]
    assert 0.24 < len(changed) / 600 < 0.36
    unchanged = next(b for b in batches if not (b.images != 0.5).any())
    assert unchanged.share.tolist() == [1, 1]
    # Cut off at the border, a patch of the share u has 0.5 to 1 of its pixels; lambda is never below 1 - u.
    assert (
        stats.kstest([float(b.share[0]) for b in changed], stats.uniform.cdf, alternative="greater").pvalue
        > 0.05
    )


def test_the_first_and_last_epochs_are_plain():
    cmo, asked = cmo_of(p=1.0, plain_epochs=0.015, epochs=200)
    for epoch in (0, 2, 197, 199):
        cmo.set_epoch(epoch)
        assert perturbed(cmo).share.tolist() == [1.0] * 16
    assert not asked
    for epoch in (3, 196):
        cmo.set_epoch(epoch)
        perturbed(cmo)
    assert len(asked) == 2


def trained(train):
    network = create_network("tinynet", num_classes=3, in_channels=1, image_size=(8, 8), seed=0)
    config = make_config(epochs=2, batch_size=16, device="cpu")
    fit_method(get_method("cmo:p=1.0:plain_epochs=0"), network, train, config=config)
    return network.state_dict()


def test_training_gives_the_images_in_memory_and_those_in_files(make_images, tmp_path):
    for i, (image, label) in enumerate(zip(*make_images([30, 20, 6]), strict=True)):
        folder = tmp_path / f"class{label}"
        folder.mkdir(exist_ok=True)
        Image.fromarray(image[0]).save(folder / f"{i}.png")
    in_memory, in_files = (load_dataset(tmp_path, image_size=8, in_memory=m).train for m in (True, False))
    assert (in_memory.in_memory, in_files.in_memory) == (True, False)
    first, second = trained(in_memory), trained(in_files)
    assert all(torch.equal(first[name], second[name]) for name in first)
