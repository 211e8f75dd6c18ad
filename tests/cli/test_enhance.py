"""``counterpoise enhance`` as a user gives it."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time

import pytest

QUICK = (
    *("--epochs", "1", "--enhance-epochs", "1", "--copy-epochs", "1", "--width", "2"),
    *("--batch-size", "16", "--jobs", "1", "--augment", "none"),
)


@pytest.fixture(autouse=True)
def _nothing_from_outside(monkeypatch):
    monkeypatch.delenv("COUNTERPOISE_DATA", raising=False)
    monkeypatch.setenv("COLUMNS", "80")


def test_the_table_the_page_and_what_to_type_next(cli, photos, tmp_path):
    result = cli("enhance", photos, *QUICK, "--out", "my enhancement", "--figures", "1")
    assert (result.code, result.err) == (0, "")
    out = tmp_path / "work" / "my enhancement"
    summary = json.loads((out / "summary.json").read_text())
    lines = result.out.splitlines()
    assert max(len(line) for line in lines if not line.startswith("next: ")) <= 80
    for entry in summary["methods"]:
        accuracy = entry["scores"]["all"]["accuracy"]["mean"]
        first_word = re.escape(entry["title"].split()[0].strip(","))
        shown = f"{accuracy:.3f}".removeprefix("0")
        assert re.search(rf"^ {first_word}.* {shown} ", result.out, re.MULTILINE)
    assert "on train+test, which the slides call full" in result.out
    assert (out / "enhance.html").exists()
    assert (out / "report.html").exists()
    [following] = [line for line in lines if line.startswith("next: counterpoise predict ")]
    run = shlex.split(following)[3]
    predicted = cli("predict", run, photos / "test", "--json")
    assert (predicted.code, json.loads(predicted.out)["images"]) == (0, 19)
    scored = cli("evaluate", run, photos, "--json")
    entry = next(entry for entry in summary["methods"] if entry["method"] == "enhanced")
    accuracy = json.loads(scored.out)["scores"]["all"]["accuracy"]
    assert accuracy == pytest.approx(entry["scores"]["all"]["accuracy"]["mean"])


def test_json_is_all_of_stdout_and_the_imbalance_is_that_of_compare(cli, photos, tmp_path):
    options = ("--imbalance", "step", "--ratio", "4", "--minority", "owl,", "--method", "balanced-softmax")
    result = cli("enhance", photos, *QUICK, *options, "--figures", "0", "--json")
    assert (result.code, result.err) == (0, "")
    summary = json.loads(result.out)
    assert (summary["method"], summary["classifier"], summary["metric"]) == (
        "balanced-softmax",
        "bl",
        "gmean",
    )
    assert summary["imbalance"]["profile"] == "step"
    assert summary["methods"][-1]["method"] == "bl:head=new-head:head_loss=balanced-softmax"
    out = tmp_path / "work/out/my-photos-enhance"
    assert not (out / "figures").exists()
    manifest = json.loads(next(out.glob("runs/*-bl-*/manifest.json")).read_text())
    assert manifest["counts"]["train"] == [36, 22, 9] or manifest["counts"]["train"][2] <= 9


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--method", "adso"), "unknown method 'adso'; did you mean 'ados'?"),
        (("--method", "ados"), "--method ados acts on embeddings"),
        (("--classifier-method", "tau-nrm"), "unknown method 'tau-nrm'; did you mean 'tau-norm'?"),
        (("--width", "0"), "--width 0: expected at least 1"),
        (("--copy-epochs", "0"), "--copy-epochs 0: expected at least 1"),
        (("--enhance-epochs", "0"), "--enhance-epochs 0: expected at least 1"),
        (("--figures", "-1"), "--figures -1"),
        (("--jobs", "0"), "--jobs 0: expected at least 1"),
        (("--repeats", "0"), "--repeats 0: expected at least 1"),
        (("--backbone", "vgg61"), "unknown network 'vgg61'"),
        (("--backbone", "convnet"), "convnet needs images of at least 16x16, found 8x8"),
        (("--epochs", "0"), "--epochs 0: expected at least 1"),
        (("--precision", "16-mixed", "--device", "cpu"), "--precision 16-mixed needs a GPU"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(refuses, photos, options, message):
    assert message in refuses("enhance", photos, "--out", "out/x", *options)


def test_another_study_in_the_folder_is_kept(cli, photos, tmp_path):
    out = tmp_path / "work/out/x"
    out.mkdir(parents=True)
    (out / "letter.txt").write_text("mine")
    result = cli("enhance", photos, *QUICK, "--out", out)
    assert result.code == 2
    assert "is not empty (letter.txt is in it) and holds no enhancement" in result.err
    assert [path.name for path in out.iterdir() if path.name != ".lock"] == ["letter.txt"]


@pytest.mark.slow
def test_a_killed_command_given_again_ends_with_the_same_table(photos, tmp_path):
    options = (
        "--epochs",
        "20",
        "--enhance-epochs",
        "20",
        "--width",
        "4",
        "--batch-size",
        "16",
        "--figures",
        "0",
    )
    command = [sys.executable, "-c", "import sys; from counterpoise.cli.main import main; main()", "enhance"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}

    def start(out):
        return subprocess.Popen(
            [*command, str(photos), *options, "--jobs", "1", "--out", str(out)],
            env=environment,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )

    assert start(tmp_path / "whole").wait(timeout=300) == 0
    killed = tmp_path / "killed"
    for pattern in ("networks/copier-*.safetensors", "runs/*-enhanced-*/checkpoints/*.safetensors"):
        process = start(killed)
        deadline = time.monotonic() + 200
        while not list(killed.glob(pattern)) and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert list(killed.glob(pattern))
        assert not (killed / "results.csv").exists()
    assert start(killed).wait(timeout=300) == 0
    for name in ("results.csv", "results-full.csv"):
        assert (killed / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_frozen_features_are_exported_with_all_their_variants(cli, photos, tmp_path):
    """Three classes make no two tasks; the weights of another run give the features."""
    refused = cli("enhance", photos, *QUICK, "--frozen-features", "--out", "out/refused")
    assert refused.code == 2
    assert "--frozen-features: 3 classes cannot be parted" in refused.err
    assert cli("train", photos, "--epochs", "1", "--out", "base").code == 0
    options = ("--frozen-features", "--weights", "base", "--images-per-class", "9", "--figures", "1")
    target = tmp_path / "work" / "results" / "enhance-photos"
    result = cli("enhance", photos, *QUICK, *options, "--export-to", target, "--json")
    assert result.code == 0, result.err
    summary = json.loads(result.out)
    names = ["results-full.csv", "results-noise.csv", "results.csv", "summary.json"]
    assert sorted(path.name for path in target.iterdir()) == ["enhance.html", *names]
    assert [entry["method"] for entry in summary["methods"]] == ["bl", "enhanced", "trained-on", "fine-tuned"]
    pages = [target / "enhance.html", *(tmp_path / "work/out").glob("*/enhance.html")]
    assert ["data:image/png" in page.read_text() for page in pages] == [False, True]
    [manifest] = (tmp_path / "work/out").glob("*/runs/*-enhanced-*/manifest.json")
    counts = json.loads(manifest.read_text())["counts"]
    assert [sum(each) for each in zip(counts["train"], counts["validation"], strict=True)] == [9, 9, 8]
