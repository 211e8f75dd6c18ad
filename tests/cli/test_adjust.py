"""``counterpoise adjust`` as a user gives it."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from counterpoise.cli.main import run

QUICK = ("--epochs", "2", "--batch-size", "16", "--threads", "1")


@pytest.fixture(autouse=True)
def _plain_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("COUNTERPOISE_DATA", raising=False)


@pytest.fixture(scope="module")
def digits_run(tmp_path_factory):
    """A run on real digits, four of them rare, too short to find these."""
    folder = tmp_path_factory.mktemp("runs") / "digits"
    imbalance = ("--imbalance", "step", "--ratio", "20", "--minority", "4", "--val-fraction", "0.2")
    assert run(["train", "digits", "--method", "bl", *imbalance, *QUICK, "--out", str(folder)]) == 0
    return folder


def shown(value):
    return f"{value:.3f}".removeprefix("0")


def table_row(out, name):
    return next(line.split() for line in out.splitlines() if line.startswith(f" {name} "))


def columns_of(scores):
    values = (
        ("all", "gmean"),
        ("all", "f1"),
        ("minority", "recall"),
        ("majority", "recall"),
        ("all", "accuracy"),
    )
    return [*(shown(scores[group][metric]) for group, metric in values), shown(scores["calibration_error"])]


def test_the_table_is_what_evaluate_gives(cli, digits_run):
    result = cli("adjust", digits_run, "--target", "gmean", "--out", "adjusted")
    assert (result.code, result.err) == (0, "")
    for folder, name in ((digits_run, "before"), ("adjusted", "after")):
        scores = json.loads(cli("evaluate", folder, "digits", "--json").out)["scores"]
        assert table_row(result.out, name)[1:] == columns_of(scores)
        assert scores == json.loads(Path(folder, "metrics.json").read_text())["test"]
    before, after = (float(table_row(result.out, name)[1]) for name in ("before", "after"))
    assert after > before + 0.1
    assert max(map(len, [line for line in result.out.splitlines() if line.startswith(" ")][:4])) <= 80
    assert cli("report", "adjusted", digits_run, "--out", "both.html").code == 0
    assert "adjusted by class-thresholds" in Path("both.html").read_text(encoding="utf-8")


def test_the_network_is_left_as_it_is(cli, digits_run):
    weights = (digits_run / "model.safetensors").read_bytes()
    record = (digits_run / "run.json").read_bytes()
    assert cli("adjust", digits_run, "--out", "adjusted").code == 0
    assert Path("adjusted/model.safetensors").read_bytes() == weights
    assert (digits_run / "model.safetensors").read_bytes() == weights
    assert (digits_run / "run.json").read_bytes() == record


def test_temperature_scaling_changes_no_decision(cli, digits_run):
    result = cli("adjust", digits_run, "--adjustment", "temperature-scaling", "--out", "adjusted", "--json")
    assert (result.code, result.err) == (0, "")
    found = json.loads(result.out)
    assert found["run"] == "adjusted"
    assert found["from"] == str(digits_run)
    assert found["before"]["confusion_matrix"] == found["after"]["confusion_matrix"]
    assert found["before"]["calibration_error"] != found["after"]["calibration_error"]
    assert found["adjust"] == json.loads(Path("adjusted/run.json").read_text())["adjust"]
    printed = cli("adjust", digits_run, "--adjustment", "temperature-scaling", "--out", "adjusted")
    assert f"temperature: {found['adjust']['learned']['temperature_']:.4g}\n" in printed.out


def test_costs_are_read_by_the_names_of_classes_and_shown(cli, photos, trained):
    names = ("owl", "dog", "cat")
    costs = {
        true: {other: (9 if true == "owl" else 1) * (true != other) for other in names} for true in names
    }
    Path("costs.json").write_text(json.dumps(costs))
    matrix = np.array([[0, 1, 1], [1, 0, 1], [9, 9, 0]])
    result = cli("adjust", trained, "--costs", "costs.json", "--out", "adjusted")
    assert result.code == 0
    assert "mean cost" in result.out
    for folder, name in ((trained, "before"), ("adjusted", "after")):
        scores = json.loads(cli("evaluate", folder, photos, "--json").out)["scores"]
        cost = (np.array(scores["confusion_matrix"]) * matrix).sum() / 19
        assert table_row(result.out, name)[-1] == f"{cost:.4g}"
    assert re.search(
        r"^- few validation images, so .* may not generalize: .*owl \(1",
        result.out.replace("\n  ", " "),
        re.MULTILINE,
    )


def test_what_it_prints_next_works(cli, photos, trained):
    result = cli("adjust", trained, photos, "--out", "my adjusted run")
    [line] = [line for line in result.out.splitlines() if line.startswith("next: ")]
    assert line == f"next: counterpoise evaluate 'my adjusted run' '{photos}'"
    assert cli("evaluate", "my adjusted run", photos).code == 0
    assert cli("predict", "my adjusted run", photos / "test/owl").code == 0
    again = cli("adjust", "my adjusted run", "--adjustment", "logit-adjustment")
    assert again.code == 0
    assert Path("my adjusted run-adjusted-logit-adjustment/run.json").exists()


def test_the_help_names_every_adjustment_and_score(cli):
    from counterpoise.balance.adjust._threshold_search import CLASS_SCORES
    from counterpoise.balance.catalog import SLOT_CATALOGS

    text = " ".join(cli("adjust", "--help").out.replace("│", " ").split())
    assert [name for name in SLOT_CATALOGS["adjust"].names if f" {name}: " not in text] == []
    listed = text[text.index("maximizes:") :].partition(".")[0]
    assert sorted(re.findall(r"\w+", listed.partition(":")[2])) == sorted(CLASS_SCORES)


def test_bad_input_is_one_line(refuses, trained, photos, tmp_path):
    assert "did you mean 'class-thresholds'" in refuses("adjust", trained, "--adjustment", "class-treshold")
    assert "did you mean 'gmean'" in refuses("adjust", trained, "--target", "gmeans")
    assert "cannot read the cost matrix" in refuses("adjust", trained, "--costs", "nowhere.csv")
    assert "needs a cost matrix" in refuses("adjust", trained, "--adjustment", "expected-cost")
    assert "no such file or folder" in refuses("adjust", trained, "nowhere/pictures")
    assert "holds no run.json" in refuses("adjust", photos)
    assert "holds another run" in refuses("adjust", trained, "--out", trained)
    (tmp_path / "costs.csv").write_text("0,1\n1,0\n")
    assert "is 2 x 2; expected 3 x 3" in refuses("adjust", trained, "--costs", tmp_path / "costs.csv")
    twice = ("--adjustment", "expected-cost:costs=a.csv", "--costs", "b.csv")
    assert "costs are given twice" in refuses("adjust", trained, *twice)
    assert "does not hold the images of" in refuses("adjust", trained, photos / "test")


def test_a_run_without_validation_images(cli, refuses, photos):
    assert cli("train", photos, *QUICK, "--method", "bl", "--val-fraction", "0", "--out", "run").code == 0
    message = refuses("adjust", "run")
    assert message.startswith("run has no validation images, and class-thresholds learns from them")
    assert cli("adjust", "run", "--adjustment", "logit-adjustment").code == 0


def test_methods_that_learn_from_validation_images_are_refused_without_any(refuses, photos):
    for command, option in (("train", "--method"), ("compare", "--methods")):
        message = refuses(command, photos, option, "thresholds", *QUICK, "--val-fraction", "0")
        assert (
            message
            == "thresholds learns from validation images, and none are kept; use --val-fraction above 0"
        )
