"""The command `fit` as a user gives it, and the model that it keeps used by every other command."""

import csv
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from short_fits import short_fits

from counterpoise.cli import main
from counterpoise.cli.running import _Lines
from counterpoise.runs import RunFolder
from counterpoise.studies import Event
from counterpoise.studies.fit import study as fit_study
from counterpoise.training import Step

SMALL = ("--methods", "logit-adjusted,ncm", "--image-size", "48", "--threads", "1")


@pytest.fixture(scope="module", autouse=True)
def short():
    with short_fits(epochs=2):
        yield


@pytest.fixture(scope="module")
def cells(pictures, tmp_path_factory):
    """A folder of small photographs."""
    counts = {"cat": 20, "dog": 14, "owl": 8}
    folder = pictures(tmp_path_factory.mktemp("fit data") / "cells", counts, size=8, colour=True)
    for path in folder.rglob("*.png"):
        Image.open(path).resize((48, 48), Image.Resampling.BILINEAR).save(path)
    return folder


@pytest.fixture(scope="module")
def whole(cells, tmp_path_factory):
    """A finished fit whose winner is the average of two networks, softened by a temperature; folder and output."""
    out = tmp_path_factory.mktemp("fits") / "out"
    choose = fit_study.choose

    def average(candidates, *arguments, **options):
        choice = choose(candidates, *arguments, **options)
        if "average" not in [candidate.name for candidate in candidates]:
            return choice
        for row in choice.candidates:
            row["chosen"] = row["name"] == "average"
        return replace(choice, chosen="average")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit_study, "choose", average)
        patch.setattr(fit_study, "_temperature", lambda *_: 1.5)
        assert main.run(["fit", str(cells), *SMALL, "--out", str(out)]) == 0
    return out


def test_the_folder_is_complete(whole):
    names = {path.name for path in whole.iterdir()}
    assert {
        "best",
        "report.html",
        "model-card.md",
        "results.csv",
        "summary.json",
        "runs",
        "evidence",
    } <= names
    assert json.loads((whole / "summary.json").read_text())["winner"] == "average"
    best = RunFolder.open(whole / "best")
    assert best.record.network.name == "ensemble"
    assert best.record.adjust.learned["temperature_"] == 1.5


@pytest.mark.slow
def test_the_kept_model_is_an_ordinary_run(cli, whole, cells):
    """An ensemble with a temperature is evaluated, predicts, explains and is exported as any model."""
    best = whole / "best"
    found = cli("evaluate", best, cells, "--json")
    assert found.code == 0, found.err
    stored = json.loads((best / "metrics.json").read_text())["test"]["all"]
    scores = json.loads(found.out)
    scores = scores.get("test", scores.get("scores", scores))["all"]
    for name in ("gmean", "f1", "accuracy"):
        assert scores[name] == pytest.approx(stored[name])
    assert cli("predict", best, cells / "owl", "--out", "p.csv").code == 0
    with Path("p.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 8
    members = [RunFolder(path) for path in sorted((whole / "runs").iterdir())]
    assert len(members) == 5  # two heads, fine-tuned, average, refitted
    for row in rows:
        assert sum(float(row[name]) for name in ("cat", "dog", "owl")) == pytest.approx(1, abs=1e-4)
    assert cli("explain", best, cells / "owl" / "0.png", "--out", "maps").code == 0
    exported = cli("export", best, "model.onnx")
    assert exported.code == 0, exported.err
    onnxruntime = pytest.importorskip("onnxruntime")
    pixels = np.asarray(Image.open(cells / "owl" / "0.png").convert("RGB"))[None]
    session = onnxruntime.InferenceSession("model.onnx")
    first = session.get_inputs()[0]
    outputs = dict(
        zip([o.name for o in session.get_outputs()], session.run(None, {first.name: pixels}), strict=True)
    )
    probabilities = outputs["probabilities"][0]
    own = next(row for row in rows if row["path"].endswith("0.png"))
    np.testing.assert_allclose(probabilities, [float(own[name]) for name in ("cat", "dog", "owl")], atol=2e-4)
    assert cli("report", best, "--out", "page.html").code == 0
    page = (whole / "report.html").read_bytes()
    assert cli("report", whole).code == 0
    assert (whole / "report.html").read_bytes() == page
    shutil.copytree(whole, "damaged")
    Path("damaged/summary.json").write_text("{}")
    damaged = cli("report", "damaged")
    assert damaged.code == 2
    assert "summary.json is damaged: it lacks 'dataset'" in damaged.err


@pytest.mark.slow
def test_the_same_command_again_changes_nothing(cli, cells):
    """It says what it will do first, shows progress as lines, and ends at once when it is given again."""
    words = ("fit", cells, *SMALL, "--tune=false", "--out", "o")
    words = tuple("--no-tune" if word == "--tune=false" else word for word in words)
    first = cli(*words)
    assert first.code == 0, first.err
    assert first.out.index("images at 48x48 pixels") < first.out.index("heads on frozen features")
    assert "--pretrained none trains from scratch" in " ".join(first.out.split())
    assert "counterpoise: 1 of 2 done: logit-adjusted" in first.complaints
    assert "counterpoise: 2 of 2 done: ncm" in first.complaints
    assert re.search(r"^report: o/report.html$", first.out, re.MULTILINE)
    kept = (RunFolder("o/best").record.raw, (RunFolder("o/best").path / "model.safetensors").read_bytes())
    assert cli(*words).code == 0
    assert kept == (
        RunFolder("o/best").record.raw,
        (RunFolder("o/best").path / "model.safetensors").read_bytes(),
    )
    assert cli(*words, "--json").out.startswith("{")


def test_ctrl_c_names_the_best_model(cli, cells, monkeypatch):
    run_head, calls = fit_study.run_head, []

    def second(*arguments, **options):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return run_head(*arguments, **options)

    monkeypatch.setattr(fit_study, "run_head", second)
    result = cli("fit", cells, *SMALL, "--no-tune", "--out", "o")
    assert result.code == 130
    assert result.complaints[-1] == (
        "counterpoise: interrupted; the best model so far is o/best; give the same command again to resume"
    )
    assert RunFolder("o/best").is_complete()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "DATA is missing"),
        (("nowhere",), "nowhere"),
        (("DATA", "--budget", "0"), "--budget"),
        (("DATA", "--budget", "abc"), "--budget"),
        (("DATA", "--methods", "adoss"), "did you mean 'ados'"),
        (("DATA", "--backbone", "convnet"), "frozen"),
    ],
)
def test_bad_input_is_refused_in_one_line(refuses, cells, words, message):
    assert message in refuses("fit", *(cells if word == "DATA" else word for word in words))


def test_a_class_with_one_image_and_no_images_are_refused(refuses, cells, tmp_path):
    folder = tmp_path / "few"
    shutil.copytree(cells, folder)
    for path in list((folder / "owl").iterdir())[1:]:
        path.unlink()
    assert "owl" in refuses("fit", folder, *SMALL)
    (tmp_path / "empty").mkdir()
    assert "empty" in refuses("fit", tmp_path / "empty", *SMALL)


def test_lines_of_progress(capsys):
    now = [0.0]
    lines = _Lines(2, one_repeat=True, clock=lambda: now[0])
    for seconds, done in ((0, 100), (4, 200), (11, 400), (12, 500), (30, 900)):
        now[0] = seconds
        lines(Event("a", "0: ados", Step("embed", done, 1000, 1, 1, float("nan"))))
    lines(Event("a", "0: ados", None))
    assert capsys.readouterr().err.splitlines() == [
        "counterpoise: ados: embedding images, 400 of 1,000, about 22 s left",
        "counterpoise: ados: embedding images, 900 of 1,000, about 4 s left",
        "counterpoise: 1 of 2 done: ados",
    ]


def test_candidates_that_were_not_tried_are_not_counted_as_done(capsys):
    lines = _Lines(3, one_repeat=True, clock=lambda: 0.0)
    lines(Event("a", "0: lda", None))
    lines(Event("b", "0: ados", None, "the time is used up"))
    lines(Event("c", "0: ncm", None))
    expected = ["counterpoise: 1 of 3 done: lda", "counterpoise: 2 of 2 done: ncm"]
    assert capsys.readouterr().err.splitlines() == expected


@pytest.mark.slow
def test_a_killed_fit_resumes(cells, tmp_path):
    """Killed once a model is there, the command given again ends with the choice of an undisturbed one."""
    command = [sys.executable, "-m", "counterpoise", "fit", str(cells), *SMALL, "--no-tune", "--out"]
    with subprocess.Popen([*command, str(tmp_path / "a")]) as process:
        while process.poll() is None and not (tmp_path / "a" / "best" / "run.json").exists():
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert RunFolder(tmp_path / "a" / "best").is_complete()
    for name in ("a", "b"):
        subprocess.run([*command, str(tmp_path / name)], check=True, capture_output=True)
    found = [json.loads((tmp_path / name / "summary.json").read_text()) for name in ("a", "b")]
    assert found[0]["heads"] == found[1]["heads"]
    assert found[0]["winner"] == found[1]["winner"]


def test_audit_proposes_fit_for_photographs(cli, cells):
    lines = cli("audit", cells).out.splitlines()
    place = lines.index(f"next: counterpoise fit '{cells}' --out out/cells-fit")
    assert lines[place + 1].startswith("      counterpoise compare ")
    found = json.loads(cli("audit", cells, "--json").out)
    assert found["next_command"] == f"counterpoise fit '{cells}' --out out/cells-fit"


def evidence_of_best(whole):
    """Held-out log-probabilities and labels of the kept candidate, by the files of the study."""
    from counterpoise.datasets import SplitManifest
    from counterpoise.inference import load_for_run
    from counterpoise.studies.fit.evidence import load_evidence

    best = RunFolder.open(whole / "best")
    [run] = [
        r for r in (whole / "runs").iterdir() if RunFolder(r).record.config_hash == best.record.config_hash
    ]
    found = load_evidence(whole / "evidence" / f"{run.name}.safetensors")[0]
    dataset = load_for_run(best, best.record.dataset.source)
    train = SplitManifest.load(best.path / "manifest.json").apply(dataset).train
    known = ~np.isnan(found).any(axis=1)
    return found[known], train.labels[known], train.class_counts(3)


def test_adjust_learns_from_what_was_held_out_in_the_fit(cli, refuses, whole, cells):
    """The kept model has no validation images; the thresholds are those of its candidate's out-of-fold evidence."""
    from counterpoise.balance.adjust import ClassThresholds

    logits, labels, counts = evidence_of_best(whole)
    result = cli("adjust", whole / "best", cells, "--out", "adjusted")
    assert (result.code, result.err) == (0, "")
    assert re.search(r"^- few held-out images, so", result.out, re.MULTILINE)
    learned = json.loads(Path("adjusted/run.json").read_text())["adjust"]["learned"]
    np.testing.assert_array_equal(learned["offset_"], ClassThresholds().fit(logits, labels, counts).offset_)
    message = refuses("adjust", whole / "best", cells, "--adjustment", "sigmoid-scores:thresholds=youden")
    assert "has no validation images" in message
    assert "--val-fraction above 0" in message
    assert f"found {np.bincount(labels)[2]};" in refuses(
        "adjust", whole / "best", "--require", "recall:owl>=0.9"
    )


def test_the_kept_model_says_how_sure_it_is(cli, whole, cells):
    """Its thresholds are for the softened probabilities of the candidate, on images that it did not learn from."""
    from counterpoise.evaluation import conformal_rules
    from counterpoise.training import softmax

    logits, labels, _ = evidence_of_best(whole)
    best = RunFolder.open(whole / "best")
    np.testing.assert_array_equal(best.calibration.labels, labels)
    expected = conformal_rules(softmax(logits / 1.5), labels, best.record.dataset.classes)
    found = best.record.raw["trust"]["classes"]
    assert [own["rule"] for own in found] == [own["rule"] for own in expected]
    np.testing.assert_allclose(
        [own["threshold"] for own in found], [own["threshold"] for own in expected], rtol=1e-5
    )
    result = cli("predict", best.path, cells / "cat", "--out", "p.csv", "--json")
    assert sum(json.loads(result.out)["trust"]["sets"][size] for size in ("one", "several", "none")) == 20
    with Path("p.csv").open(newline="") as file:
        assert all(row["sure"] for row in csv.DictReader(file))
    # A head on frozen features has held-out predictions of all its training images.
    heads = [
        RunFolder(run) for run in (whole / "runs").iterdir() if RunFolder(run).record.start.freeze == "all"
    ]
    # That on fine-tuned ones has those of one fold, which fine-tuning held out.
    heads = [head for head in heads if head.record.method != "refitted-head"]
    for head in heads:
        assert np.bincount(head.calibration.labels).tolist() == list(head.record.dataset.counts["train"])
