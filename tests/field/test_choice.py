"""Reports about winners and numbers that rest on too little, and what is right now."""

import contextlib
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from counterpoise.cli.main import run as command

QUICK = [
    "--epochs",
    "1",
    "--batch-size",
    "8",
    "--device",
    "cpu",
    "--pretrained",
    "none",
    "--image-size",
    "16",
]


def photos(folder, counts):
    """Pictures of one brightness a class, with noise."""
    generator = np.random.default_rng(0)
    for index, (name, count) in enumerate(counts.items()):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = generator.normal(60 + 70 * index, 25, (16, 16, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return str(folder)


def run(capsys, *words):
    code = command([str(word) for word in words])
    out = capsys.readouterr().out
    assert code == 0, out
    return " ".join(out.split())


@pytest.fixture(scope="module")
def owls(tmp_path_factory):
    """30, 8 and 2 images: owls are in no validation and no test set."""
    return photos(tmp_path_factory.mktemp("field") / "birds", {"crow": 30, "hawk": 8, "owl": 2})


@pytest.fixture(scope="module")
def compared(owls, tmp_path_factory):
    out = tmp_path_factory.mktemp("field") / "compared"
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        command(["compare", owls, "--methods", "bl,ros,bl-cw", "--repeats", "2", "--out", str(out), *QUICK])
    return " ".join(shown.getvalue().split()), out


def page_of(folder):
    """The words of a page."""
    text = (Path(folder) / "report.html").read_text(encoding="utf-8")
    text = re.sub(r"<script.*?</script>|<style.*?</style>", "", text, flags=re.S)
    return " ".join(re.sub(r"<[^>]+>", " ", text).split())


def test_a_class_without_test_images_is_named_before_training(compared):
    """huggingface/pytorch-image-models#211, ultralytics#13936: nothing said that a class was missing from a split."""
    shown, out = compared
    for split in ("validation", "test"):
        assert f"no {split} images of owl" in shown
        assert shown.index(f"no {split} images of owl") < shown.index("scores on the test set")
    summary = json.loads((out / "summary.json").read_text())
    assert any(note.startswith("no test images of owl") for note in summary["notes"])
    assert "no test images of owl" in page_of(out).lower()


def test_the_rule_is_said_before_training_and_stored(compared):
    shown, out = compared
    rule = "too few to choose a winner by G-mean, so the mean recall on the validation images of all repeats"
    assert shown.index(rule) < shown.index("scores on the test set")
    choice = json.loads((out / "summary.json").read_text())["choice"]
    assert (choice["rule"], choice["metric"]) == ("pooled recall", "recall")
    assert choice["scores"][choice["name"]] == max(choice["scores"].values())
    assert choice["reason"] in shown
    assert choice["reason"] in page_of(out)


def test_a_page_does_not_call_its_winner_worse(compared):
    shown, out = compared
    summary = json.loads((out / "summary.json").read_text())
    for text in (shown, page_of(out)):
        assert "did best" not in text
        assert f"{summary['winner']}: worse" not in text
    assert "scores rest on" in shown


def test_train_audit_and_adjust_name_the_class_too(capsys, owls, tmp_path):
    """apple/turicreate#1937: a class was silently missing from the validation set."""
    audited = run(capsys, "audit", owls)
    assert "owl will have no test images" in audited
    assert "owl will have no validation images" in audited
    out = tmp_path / "run"
    trained = run(capsys, "train", owls, "--method", "bl", "--out", out, *QUICK)
    assert trained.index("no test images of owl") < trained.index("test images of birds")
    adjusted = run(capsys, "adjust", out, owls, "--adjustment", "class-thresholds")
    assert adjusted.index("no validation images of owl") < adjusted.index("adjusted by")
    adjusted = run(capsys, "adjust", out, owls, "--adjustment", "logit-adjustment", "--json")
    assert any("no validation images of owl" in note for note in json.loads(adjusted)["notes"])


def test_a_recall_of_few_images_has_a_wide_interval(capsys, tmp_path):
    """A report gave .960 as the recall of rare classes, 95 %: .960 to .960, from 25 images."""
    from counterpoise.evaluation import score_interval

    found = score_interval("recall", [[[24, 1], [0, 75]]] * 3, classes=[0])
    assert found.images == 25
    assert found.high - found.low > 0.15
