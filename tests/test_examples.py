"""Each example of the documents runs, draws what the formulas give, and its picture is that of its script."""

import importlib.util
import math
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.spatial.distance import cdist
from scipy.stats import entropy

DOCS = Path(__file__).resolve().parents[1] / "docs"


@pytest.fixture(scope="module")
def examples():
    """The module docs/make_examples.py."""
    spec = importlib.util.spec_from_file_location("make_examples", DOCS / "make_examples.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    module.plt.close("all")
    del sys.modules[spec.name]


NAMES = re.findall(r"\(examples/(\w+)\.png\)", (DOCS / "examples.md").read_text(encoding="utf-8"))


def test_the_page_is_what_the_scripts_give_and_shows_all_of_them(examples):
    assert (DOCS / "examples.md").read_text(encoding="utf-8") == examples.page(), "run: make examples"
    assert sorted(NAMES) == sorted(path.stem for path in (DOCS / "examples").glob("*.py"))
    assert sorted(NAMES) == sorted(path.stem for path in (DOCS / "examples").glob("*.png"))


def check_picture(examples, name):
    picture = examples.picture_of(name)
    assert picture.exists(), f"{picture.name} is missing; run: make examples"
    assert picture.stat().st_size <= examples.MOST_BYTES
    with Image.open(picture) as found:
        assert found.text["Source"] == examples.digest(name), f"run: python docs/make_examples.py {name}"


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_is_that_of_its_script_and_small(examples, name):
    check_picture(examples, name)


def test_a_missing_and_an_old_picture_are_found(examples, tmp_path, monkeypatch):
    for name in ("focal_loss.py", "focal_loss.png", "pictures.mplstyle"):
        (tmp_path / name).write_bytes((DOCS / "examples" / name).read_bytes())
    monkeypatch.setattr(examples, "FOLDER", tmp_path)
    check_picture(examples, "focal_loss")
    (tmp_path / "focal_loss.py").write_text("# another script\n")
    with pytest.raises(AssertionError, match="run: python"):
        check_picture(examples, "focal_loss")
    (tmp_path / "focal_loss.png").unlink()
    with pytest.raises(AssertionError, match="is missing"):
        check_picture(examples, "focal_loss")


def drawn(examples, name):
    """Variables of an example and its axes; all that show curves or bars must have titles and labels."""
    variables, figure = examples.run(name)
    axes = [axis for axis in figure.axes if not axis.images]
    assert all(axis.get_title() or axis.get_title(loc="left") for axis in axes)
    bottom = [axis for axis in axes if any(label.get_visible() for label in axis.get_xticklabels())]
    assert all(axis.get_xlabel() for axis in bottom)
    assert all(axis.get_ylabel() for axis in axes if any(x.get_visible() for x in axis.get_yticklabels()))
    return variables, axes


def test_information_entropy_and_cross_entropy(examples):
    found, (left, middle, right) = drawn(examples, "information")
    p = found["p"]
    coins, truth = np.stack([1 - p, p], axis=1), np.array([0.7, 0.3])
    np.testing.assert_allclose(left.lines[0].get_ydata(), -np.log(p), rtol=1e-9)
    np.testing.assert_allclose(middle.lines[0].get_ydata(), entropy(coins, axis=1), rtol=1e-9)
    divergence = entropy(truth[None], coins, axis=1)
    np.testing.assert_allclose(right.lines[0].get_ydata(), entropy(truth) + divergence, rtol=1e-9)
    np.testing.assert_allclose(right.lines[1].get_ydata(), entropy(truth), rtol=1e-9)
    assert p[found["crossed"].argmin()] == pytest.approx(0.3)


def test_imbalance_profiles(examples):
    found, axes = drawn(examples, "long_tail")
    i = np.arange(100)
    expected = {
        "Step, µ = 0.4": np.where(i < 60, 1200, 30),
        "Linear": np.floor(1200 - (1200 - 30) * i / 99 + 1e-9),
        "Long tail": np.floor(1200 * 40.0 ** (-i / 99) + 1e-9),
    }
    for axis, (name, sizes) in zip(axes, expected.items(), strict=False):
        bars = sorted((bar.get_x(), bar.get_height()) for bar in axis.patches)
        np.testing.assert_array_equal([height for _, height in bars], sizes)
        np.testing.assert_array_equal(found["counts"][name], sizes)
        assert axis.get_title(loc="left") == f"{name}: {int(sizes.sum()):,} images"
        legend = [text.get_text() for text in axis.get_legend().get_texts()]
        assert legend[1] == f"{(sizes <= 600).sum()} minority classes"


def test_focal_loss(examples):
    found, (left, right) = drawn(examples, "focal_loss")
    p = found["p"]
    for line, share, gamma in zip(left.lines, right.lines, (0, 0.5, 1, 2, 5), strict=False):
        np.testing.assert_allclose(line.get_ydata(), -((1 - p) ** gamma) * np.log(p), rtol=1e-9)
        np.testing.assert_allclose(share.get_ydata(), (1 - p) ** gamma, rtol=1e-9)
    np.testing.assert_allclose(right.lines[5].get_ydata(), (1 - right.lines[5].get_xdata()) ** 2)


def test_neighbors_of_ados(examples):
    found, (_, right) = drawn(examples, "ados_neighbors")
    distances, least = found["distances"], found["LEAST"]
    for k_max, k in found["linear"].items():
        exact = k_max - (k_max - 2) * (distances - least) / (1 - least)
        # a number that rounding leaves just above an integer may be rounded up
        assert all(number - 1e-9 <= whole < number + 1 + 1e-9 for whole, number in zip(k, exact, strict=True))
        assert (k[0], k[-1]) == (k_max, 2), "Figure 4.1: most neighbors where the class is dense"
        assert sorted(k, reverse=True) == k
        assert found["printed"][k_max] == [2, k_max], "lines 11 to 14 of Algorithm 4, as printed"
    sizes, k_max = right.lines[0].get_data()
    b = math.log(2) / math.log(5)
    np.testing.assert_array_equal(k_max, np.floor(20 * (sizes / 1000) ** b + 1e-9))


def test_a_step_of_ados(examples):
    found, _ = drawn(examples, "ados_step")
    rare, samples = found["rare"], found["samples"]
    distance = np.sqrt(((rare - rare[0]) ** 2).sum(axis=1))
    pairs = np.sqrt(((rare[:, None] - rare[None]) ** 2).sum(axis=2))
    nearest, least, most = np.sort(distance)[1], pairs[pairs > 0].min(), pairs.max()
    k = math.ceil(6 - (6 - 2) * (nearest - least) / (most - least))
    assert len(found["near"]) == k
    order = np.argsort(distance)[1 : k + 1]
    weights = np.exp(-distance[order] / distance[order[-1]])
    mean = (weights[:, None] * rare[order]).sum(axis=0) / weights.sum()
    np.testing.assert_allclose(found["synthetic_neighbor"], mean)
    np.testing.assert_allclose(samples[0], found["delta"] * rare[0] + (1 - found["delta"]) * mean)
    assert 0 <= found["delta"] <= 1
    assert len(rare) + len(samples) == 60
    hull = found["ConvexHull"](rare).equations
    assert (samples @ hull[:, :2].T + hull[:, 2] <= 1e-9).all(), "a sample lies outside the hull"


def test_aos_at_several_intensities(examples):
    found, (curves,) = drawn(examples, "aos_eps")
    images, signs = found["images"][found["shown"]].numpy(), found["signs"].numpy()
    assert set(found["labels"][found["shown"]].tolist()) == set(found["RARE"])
    for eps, pixels in found["rows"].items():
        np.testing.assert_allclose(pixels.numpy(), np.clip(images + eps * signs, 0, 1), atol=1e-6)
    copies, adversarial = (line.get_ydata() for line in curves.lines)
    assert adversarial[0] > copies[0] - 8, "about as many unchanged images, or more"
    at_trained = np.flatnonzero(np.isclose(found["grid"], 0.1))[0]
    assert adversarial[at_trained] > 2 * copies[at_trained], "many more at the intensity of the training"


def test_images_by_three_oversamplers(examples):
    found, _ = drawn(examples, "oversampled_images")
    for row in found["rows"]:
        image, neighbor, mixed = (
            row[n].astype(float) for n in ("image", "nearest\nin its class", "SMOTE\nof the two")
        )
        line = neighbor - image
        u = (line * (mixed - image)).sum() / (line**2).sum()
        assert 0.3 < u < 0.7
        assert np.abs(mixed - (image + u * line)).max() <= 1, "SMOTE lies on the line between the two"
        change = np.abs(row["AOS"].astype(float) - image).max()
        assert change <= (0.1 if len(image) == 1 else 0.007) * 255 + 1
        assert change > 0
        assert {pixels.shape for pixels in row.values()} == {image.shape}
    assert np.bincount(found["thinned"].labels)[[3, 5, 8]].tolist() == [9, 9, 9]
    digits = found["digits"]
    images = digits.images[:, 0] / 255.0
    moved = np.concatenate([images[:, :, :1], images[:, :, :-1]], axis=2)
    apart = cdist(images.reshape(-1, 64), images.reshape(-1, 64))
    apart[digits.labels[:, None] == digits.labels] = np.inf
    assert (np.linalg.norm(moved - images, axis=(1, 2)) > apart.min(axis=1)).all()
