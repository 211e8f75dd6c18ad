"""Likely label errors, and how many more images are worth collecting."""

import importlib.util
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from feature_rows import embedded, rows_network
from PIL import Image
from sklearn.datasets import load_digits

from counterpoise.cli.main import run
from counterpoise.config import make_config
from counterpoise.datasets import load_dataset, make_folds
from counterpoise.evaluation import suspect_labels
from counterpoise.methods import get_method
from counterpoise.training import out_of_fold

ROOT = Path(__file__).resolve().parents[2]


def judged(rows, labels, *, num_classes=10, seed=0):
    """Out-of-fold log-probabilities that count each class the same."""
    folds = make_folds(labels, folds=5, random_state=seed)
    config = make_config(threads=1, penalty=0.03)
    method, network = get_method("logit-adjusted"), rows_network(rows.shape[1], num_classes)
    return out_of_fold(method, network, embedded(rows, labels), folds, config=config)[0]


def fashion(shared_data, counts, seed=0):
    """Pixels and labels of so many images of each class, at half the size."""
    train = load_dataset("fashion-mnist", data_dir=shared_data).train
    generator = np.random.default_rng(seed)
    rows = [generator.permutation(np.flatnonzero(train.labels == c))[:n] for c, n in enumerate(counts)]
    rows = np.concatenate(rows)
    pixels = train.images[rows][:, 0, ::2, ::2].reshape(len(rows), -1)
    return pixels.astype(np.float32), train.labels[rows]


def flipped(labels, share, seed=0):
    """Labels of which a share is wrong, and which ones."""
    generator = np.random.default_rng(seed)
    wrong = generator.random(len(labels)) < share
    shift = generator.integers(1, labels.max() + 1, len(labels))
    return np.where(wrong, (labels + shift) % (labels.max() + 1), labels), wrong


def test_flipped_labels_are_found_and_few_others_are_accused(shared_data):
    """Measured: of 1,000 images with 33 flips 27 are accused, 17 of them rightly; without flips, 15."""
    pixels, truth = fashion(shared_data, [100] * 10)
    labels, wrong = flipped(truth, 0.03)
    found, _ = suspect_labels(labels, judged(pixels, labels))
    assert wrong[found[:20]].mean() >= 0.6
    assert wrong[found].sum() >= 0.4 * wrong.sum()
    assert len(suspect_labels(truth, judged(pixels, truth))[0]) < 0.02 * len(truth)


def test_clean_digits_are_hardly_accused():
    digits = load_digits()
    found, _ = suspect_labels(digits.target, judged(digits.data, digits.target))
    assert len(found) < 0.02 * len(digits.target)


@pytest.mark.parametrize("rare", [2, 6, 8])
def test_a_rare_class_is_not_accused_for_being_rare(shared_data, rare):
    """Ten images of a class among 100 of each other one, all labeled correctly; shirts (6) are the hardest."""
    pixels, labels = fashion(shared_data, [10 if c == rare else 100 for c in range(10)])
    found, _ = suspect_labels(labels, judged(pixels, labels), rare=[rare])
    assert (labels[found] == rare).sum() <= 2
    assert len(found) < 0.025 * len(labels)


def probabilities(*rows):
    return np.log(np.array(rows))


def test_rare_classes_come_first_then_the_likeliest():
    labels = np.repeat([0, 1, 2], [8, 8, 8])
    logs = np.log(np.where(np.eye(3)[labels] == 1, 0.9, 0.05))
    logs[1], logs[2] = probabilities([0.001, 0.99, 0.009], [0.01, 0.98, 0.01])
    logs[9] = probabilities([0.01, 0.01, 0.98])
    logs[17] = probabilities([0.94, 0.05, 0.01])
    assert suspect_labels(labels, logs)[0].tolist() == [1, 2, 9, 17]
    assert suspect_labels(labels, logs, rare=[2])[0].tolist() == [9, 17, 1, 2]


def test_images_that_nothing_was_said_of_are_left_out():
    """The only image of class 2 is always trained on: its row has no numbers, and its class no labels."""
    labels = np.repeat([0, 1, 2], [8, 8, 1])
    logs = np.log(np.where(np.eye(3)[labels] == 1, 0.9, 0.05))
    logs[3] = probabilities([0.01, 0.98, 0.01])
    logs[16] = np.nan
    assert suspect_labels(labels, logs)[0].tolist() == [3]


def write_photos(folder, counts, *, test=0):
    """Colored noise of 48 pixels, one color for each class, and one image of the first class in the second."""
    generator = np.random.default_rng(0)
    kept = [("train", name, n) for name, n in counts.items()] + [("test", name, test) for name in counts]
    names = list(counts)
    for split, name, count in kept:
        for number in range(count):
            wrong = split == "train" and name == names[1] and number == 0
            pixels = generator.normal(90, 20, (48, 48, 3))
            pixels[..., 0 if wrong else names.index(name)] += 90
            place = folder / split / name
            place.mkdir(parents=True, exist_ok=True)
            title = "wrong&<b>.png" if wrong else f"{number:02}.png"
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(place / title)
    return folder


@pytest.mark.slow
def test_a_deep_audit_shows_the_wrong_label_with_its_picture(tmp_path, capsys):
    folder = write_photos(tmp_path / "photos", {"red": 24, "green & <i>": 12, "blue": 20}, test=4)
    arguments = ["audit", str(folder), "--deep", "--out", str(tmp_path / "out")]
    assert run([*arguments, "--json"]) == 0
    printed = capsys.readouterr()
    (found,) = json.loads(printed.out)["label_errors"]
    assert found["path"].endswith("wrong&<b>.png")
    assert (found["split"], found["label"], found["suggested"]) == ("train", "green & <i>", "red")
    assert found["label_probability"] < 0.02 < 0.5 < found["probability"]
    assert found["rare"]  # 12 are at most half of 24
    assert "deep audit: embedding 68 images" in printed.err
    assert "images a second, measured" in printed.err
    page = (tmp_path / "out" / "audit.html").read_text()
    assert "1 label of 68 images may be wrong" in page
    assert "wrong&amp;&lt;b&gt;.png" in page
    assert "<strong>green &amp; &lt;i&gt;</strong>" in page
    assert "<b>" not in page
    assert page.count('src="data:image/png;base64,') == 1
    assert run(arguments) == 0
    printed = capsys.readouterr()
    assert "labels that may be wrong: 1" in printed.out
    assert "wrong&<b>.png: labeled green & <i>, rather red" in printed.out


def test_out_needs_deep(tmp_path, capsys):
    assert run(["audit", "digits", "--out", str(tmp_path / "out")]) == 2
    assert (
        capsys.readouterr()
        .err.strip()
        .endswith("--out is the folder of a deep audit; give --deep, too, or leave --out out")
    )
    assert not (tmp_path / "out").exists()


def test_the_plain_audit_imports_no_torch():
    code = "import sys; from counterpoise.cli.main import run; run(['audit', 'digits', '--json'])"
    code += "; print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "False"


@pytest.mark.slow
def test_flipped_photographs_are_found_by_the_command(shared_data, tmp_path, capsys):
    """Intel photographs, five classes of 100 and one of 20; measured: 7 of 14 flips found, 8 accused."""
    generator, flips = np.random.default_rng(0), 0
    with zipfile.ZipFile(shared_data / "intel.zip") as archive:
        names = sorted(
            name for name in archive.namelist() if name.startswith("train/") and name.endswith(".jpg")
        )
        classes = sorted({name.split("/")[1] for name in names})
        for label, kind in enumerate(classes):
            own = generator.permutation([name for name in names if name.split("/")[1] == kind])
            for number, name in enumerate(own[: 20 if label == 1 else 100]):
                wrong = generator.random() < 0.03
                flips += wrong
                given = classes[(label + generator.integers(1, 6)) % 6] if wrong else kind
                place = tmp_path / "photos" / given / f"{kind}-{number}{'-wrong' if wrong else ''}.jpg"
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(archive.read(name))
    assert run(["audit", str(tmp_path / "photos"), "--deep", "--json", "--out", str(tmp_path / "out")]) == 0
    found = ["wrong" in item["path"] for item in json.loads(capsys.readouterr().out)["label_errors"]]
    assert np.mean(found[:20]) >= 0.6
    assert sum(found) >= 0.3 * flips
    assert len(found) < 0.04 * 520


@pytest.mark.slow
def test_forecasts_hold_what_is_measured_with_twice_as_many_images(shared_data):
    """The bar of benchmarks/learning_curve.py: 18 of 20 in the interval, for each class of 20 trials."""
    spec = importlib.util.spec_from_file_location("bench", ROOT / "benchmarks" / "learning_curve.py")
    bench = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bench)
    features = bench.load_features(str(shared_data))
    found = np.stack([bench.trial(features, seed) for seed in range(20)])
    recall, low, high, now, measured = np.moveaxis(found, -1, 0)
    assert ((low <= measured) & (measured <= high)).mean() >= 0.9
    assert np.mean((recall - measured) ** 2) < np.mean((now - measured) ** 2)
