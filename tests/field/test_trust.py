"""What a person needs to trust one prediction: sets of possible classes, images unlike training, promises."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from counterpoise.cli.main import run
from counterpoise.runs import RunFolder

THREADS = ("--threads", "1")


def save(images, folder):
    """Write pictures (N, H, W[, 3]) as PNG files and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, pixels in enumerate(images):
        Image.fromarray(pixels).save(folder / f"{number:04}.png")
    return folder


def xrays(count, size, *, color=False, seed=0):
    """Gray gradients with smooth blobs."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[0 : 1 : size * 1j, 0 : 1 : size * 1j]
    found = []
    for _ in range(count):
        angle = generator.uniform(0, 2 * np.pi)
        picture = 0.5 + generator.uniform(-0.4, 0.4) * ((x - 0.5) * np.cos(angle) + (y - 0.5) * np.sin(angle))
        for _ in range(generator.integers(1, 5)):
            row, column, width = generator.uniform((0.1, 0.1, 0.1), (0.9, 0.9, 0.35))
            blob = np.exp(-((x - column) ** 2 + (y - row) ** 2) / (2 * width**2))
            picture = picture + generator.uniform(-0.4, 0.4) * blob
        pixels = (picture.clip(0, 1) * 255).astype(np.uint8)
        found.append(np.repeat(pixels[..., None], 3, axis=2) if color else pixels)
    return found


def signs(count, *, size=32, seed=0):
    """Colored discs, squares, triangles and diamonds with a white spot, as traffic signs; pictures and classes."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    colors = np.array([(200, 30, 30), (30, 60, 200), (220, 200, 40), (240, 140, 20)])
    pictures, labels = [], np.arange(count) % 4
    for label in labels:
        pixels = generator.uniform(60, 200, 3) + generator.normal(0, 15, (size, size, 3))
        column, row = generator.uniform(-0.2, 0.2, 2)
        across, down, radius = abs(x - column), y - row, generator.uniform(0.5, 0.75)
        shape = [
            np.hypot(across, down) < radius,
            (across < 0.8 * radius) & (abs(down) < 0.8 * radius),
            (across < 0.6 * (down + 0.8 * radius)) & (abs(down) < 0.8 * radius),
            across + abs(down) < radius,
        ][label]
        pixels[shape] = colors[label] * generator.uniform(0.7, 1.1)
        pixels[shape & (np.hypot(across, down) < 0.3 * radius)] = 240
        pictures.append(pixels.clip(0, 255).astype(np.uint8))
    return pictures, labels


def digits():
    """scikit-learn's digits at 28 pixels."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)
    large = [np.asarray(Image.fromarray(i).resize((28, 28), Image.Resampling.BILINEAR)) for i in images]
    return large, bunch.target


def by_class(images, labels, folder):
    for label in np.unique(labels):
        save([image for image, own in zip(images, labels, strict=True) if own == label], folder / f"c{label}")
    return folder


def predicted(model, images, *options):
    """Rows of the table that `predict` writes."""
    out = Path(images).parent / "predictions.csv"
    assert run(["predict", str(model), str(images), "--out", str(out), "--overwrite", *options]) == 0
    with out.open(newline="") as file:
        return list(csv.DictReader(file))


def flagged(rows):
    return sum(row["unlike_training"] == "yes" for row in rows) / len(rows)


def trained(folder, images, labels, *options):
    """A model from half of the images, and a folder of the others."""
    order = np.random.default_rng(0).permutation(len(images))
    first, second = order[: len(order) // 2], order[len(order) // 2 :]
    data = by_class([images[i] for i in first], labels[first], folder / "train")
    rest = save([images[i] for i in second[:400]], folder / "rest")
    assert run(["train", str(data), "--out", str(folder / "run"), *THREADS, *options]) == 0
    return folder / "run", rest


@pytest.fixture(scope="module")
def digits_model(tmp_path_factory):
    options = ("--backbone", "lenet", "--epochs", "3", "--batch-size", "16", "--method", "bl")
    more = ("--image-size", "28", "--val-fraction", "0.3", "--test-fraction", "0")
    return trained(tmp_path_factory.mktemp("digits"), *digits(), *options, *more)


@pytest.fixture(scope="module")
def signs_model(tmp_path_factory):
    options = ("--backbone", "convnet", "--epochs", "3", "--batch-size", "16", "--method", "bl")
    more = ("--image-size", "32", "--val-fraction", "0.3", "--test-fraction", "0")
    return trained(tmp_path_factory.mktemp("signs"), *signs(800), *options, *more)


@pytest.fixture(scope="module")
def frozen_model(tmp_path_factory):
    options = ("--pretrained", "auto", "--freeze", "all", "--method", "bl", "--image-size", "48")
    return trained(tmp_path_factory.mktemp("frozen"), *signs(300, size=48), *options)


@pytest.mark.parametrize(
    ("name", "size", "color"),
    [("digits_model", 28, False), ("signs_model", 32, True), ("frozen_model", 48, True)],
)
def test_xrays_are_unlike_the_training_images(name, size, color, request, tmp_path):
    """At least 95 of 100 X-rays are flagged, and at most 5 of 100 pictures of the model's own kind."""
    model, rest = request.getfixturevalue(name)
    rows = predicted(model, save(xrays(100, size, color=color), tmp_path / "xrays"), "--abstain")
    assert flagged(rows) >= 0.95
    assert all(float(row["typicality"]) <= 0.03 for row in rows if row["unlike_training"] == "yes")
    assert sum(row["predicted"] == "unsure" for row in rows) >= 95
    assert flagged(predicted(model, rest)) <= 0.05


def test_a_set_holds_the_true_class_as_often_as_promised(digits_model, tmp_path):
    """By the table that a person reads; a stricter promise gives larger sets."""
    model, rest = digits_model
    images, labels = digits()
    order = np.random.default_rng(0).permutation(len(images))[len(images) // 2 :][:400]
    sizes = []
    for alpha in ("0.1", "0.02"):
        rows = predicted(model, rest, "--alpha", alpha)
        sets = [row["sure"].split("|") for row in rows]
        hits = [f"c{label}" in own for label, own in zip(labels[order], sets, strict=True)]
        # 400 pictures, and 27 calibration images of each of ten classes.
        assert np.mean(hits) >= 1 - float(alpha) - 0.03
        sizes.append(sum(len(own) for own in sets if own != ["(none)"]))
    assert sizes[0] < sizes[1]
    for row in rows:
        ranked = sorted((float(row[f"c{c}"]) for c in range(10)), reverse=True)
        assert float(row["confidence"]) == pytest.approx(ranked[0])
        assert float(row["margin"]) == pytest.approx(ranked[0] - ranked[1], abs=1e-5)


def test_copies_are_sorted_into_folders(digits_model, tmp_path, capsys):
    model, rest = digits_model
    (tmp_path / "more").mkdir()
    (tmp_path / "more/0000.png").write_bytes((rest / "0001.png").read_bytes())
    out, target = tmp_path / "p.csv", tmp_path / "sorted"
    command = ["predict", str(model), str(rest), str(tmp_path / "more"), "--out", str(out), "--overwrite"]
    assert run([*command, "--sort-into", str(target)]) == 0
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    copies = sorted(target.rglob("*.png"))
    assert len(copies) == len(rows) == len(list(rest.iterdir())) + 1
    by_place = {}
    for path in copies:
        by_place.setdefault(path.parent.name, []).append(path)
    words = [row["predicted"] for row in rows]
    assert {name: len(own) for name, own in by_place.items()} == {w: words.count(w) for w in set(words)}
    assert "unsure" in by_place
    assert [row["sure"] for row in rows if row["predicted"] not in ("unsure", row["sure"])] == []
    # Two pictures with one name are both there.
    same = [path for path in copies if path.stem in ("0000", "0000-2")]
    assert {path.read_bytes() for path in same} == {(rest / f"000{i}.png").read_bytes() for i in (0, 1)}
    capsys.readouterr()
    before = {path: path.read_bytes() for path in copies}
    assert run([*command, "--sort-into", str(target)]) == 2
    assert "is not empty; --sort-into needs a new or an empty folder" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in target.rglob("*.png")} == before


def test_json_and_record_say_how_each_threshold_was_set(digits_model, tmp_path, capsys):
    model, rest = digits_model
    capsys.readouterr()
    assert run(["predict", str(model), str(rest), "--out", str(tmp_path / "p.csv"), "--json"]) == 0
    trust = json.loads(capsys.readouterr().out)["trust"]
    assert trust["sets"]["one"] + trust["sets"]["several"] + trust["sets"]["none"] == 400
    stored = RunFolder.open(model).record.raw["trust"]
    assert stored == {key: trust[key] for key in ("alpha", "classes", "unlike", "compared")}
    assert {own["rule"] for own in stored["classes"]} == {"class"}
    # The thresholds are for the probabilities of the table.
    rows = predicted(model, rest)
    for row in rows[:50]:
        held = [own["name"] for own in stored["classes"] if float(row[own["name"]]) >= own["threshold"]]
        assert row["sure"] == ("|".join(held) or "(none)")


def test_a_run_of_an_earlier_version_says_why_columns_are_empty(tmp_path, capsys):
    model = Path(__file__).parents[1] / "fixtures/format-1/run"
    folder = save([np.zeros((8, 8), np.uint8)], tmp_path / "pictures")
    [row] = predicted(model, folder)
    assert row["sure"] == row["unlike_training"] == row["typicality"] == ""
    assert float(row["confidence"]) > 0
    [line] = capsys.readouterr().err.splitlines()
    assert "holds no predictions of held-out images" in line
    assert "train again for them" in line
    assert run(["predict", str(model), str(folder), "--out", str(tmp_path / "x.csv"), "--abstain"]) == 2
    assert not (tmp_path / "x.csv").exists()


def test_a_promise_on_the_class_that_matters(tmp_path, capsys):
    """`adjust --require` finds the threshold, says what it costs, and the adjusted model keeps it everywhere."""
    images, labels = signs(1200, size=16)
    generator = np.random.default_rng(0)
    noisy = [(i + generator.normal(0, 70, i.shape)).clip(0, 255).astype(np.uint8) for i in images]
    options = ("--backbone", "tinynet", "--epochs", "2", "--method", "bl", "--image-size", "16")
    model, rest = trained(tmp_path, noisy, labels, *options, "--val-fraction", "0.4", "--test-fraction", "0")
    capsys.readouterr()
    command = ["adjust", str(model), "--require", "recall:c2>=0.9", "--out", str(tmp_path / "promised")]
    assert run(command) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "recall of c2 of at least 0.9: promised;" in printed
    assert "false alarms in 1,000 images of other classes (95 % interval " in printed
    order = np.random.default_rng(0).permutation(len(images))[600:1000]
    rows = predicted(tmp_path / "promised", rest)
    found = [row["predicted"] == "c2" for row, i in zip(rows, order, strict=True) if labels[i] == 2]
    assert np.mean(found) >= 0.85  # of 100 new images
    record = RunFolder.open(tmp_path / "promised").record.raw
    assert record["adjust"]["name"] == "RequiredRates"
    assert record["trust"]["classes"] != RunFolder.open(model).record.raw["trust"]["classes"]
    capsys.readouterr()
    assert run(["adjust", str(model), "--require", "recall:c2>=0.99"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "needs at least 230 held-out images of the class with confidence 0.9, found 62" in line
    twice = ("--require", "recall:c2>=0.8", "--require", "precision:c1>=0.5", "--json")
    assert run(["adjust", str(model), *twice, "--confidence", "0.8", "--out", str(tmp_path / "two")]) == 0
    assert len(json.loads(capsys.readouterr().out)["promises"]) == 3
