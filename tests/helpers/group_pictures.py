"""Pictures in groups: smooth base pictures, and noisy, shifted or cropped copies of them, as PNG files."""

import numpy as np
from PIL import Image


def base_picture(rng, size=48):
    """A smooth colored picture that no other resembles."""
    small = rng.uniform(0, 255, (6, 6, 3)).astype(np.uint8)
    return np.asarray(Image.fromarray(small).resize((size, size), Image.Resampling.BICUBIC)).astype(float)


def noisy_copy(picture, rng, noise=12):
    shifted = np.roll(picture, rng.integers(-2, 3, 2), axis=(0, 1))
    return (
        (shifted * rng.uniform(0.9, 1.1) + rng.normal(0, noise, picture.shape)).clip(0, 255).astype(np.uint8)
    )


def crop_of(picture, rng):
    top, left = rng.integers(0, 12, 2)
    image = Image.fromarray(picture.clip(0, 255).astype(np.uint8))
    return np.asarray(image.crop((left, top, left + 36, top + 36)).resize((48, 48)))


def save(pixels, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)


def write_cases(root, name_of, *, classes=("cat", "dog"), cases=12, images=5, copy=noisy_copy, seed=0):
    """Write `cases` base pictures per class with `images` copies each; `name_of` names them."""
    rng = np.random.default_rng(seed)
    for label in classes:
        for case in range(cases):
            picture = base_picture(rng)
            for image in range(images):
                save(copy(picture, rng), root / label / f"{name_of(label, case, image, rng)}.png")
    return root


def write_unrelated(root, name_of, *, classes=("cat", "dog"), images=60, seed=0):
    rng = np.random.default_rng(seed)
    for label in classes:
        for number in range(images):
            save(base_picture(rng), root / label / f"{name_of(number, rng)}.png")
    return root
