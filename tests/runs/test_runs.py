"""Run folders: what old versions wrote is read as it stands, and a run's state is told from record and lock."""

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from counterpoise.exceptions import RunFolderError, TrainingError
from counterpoise.files import locked_folder
from counterpoise.inference import load_adjustment, load_network
from counterpoise.runs import ArchivedRun, RunFolder, read_archive, results_table, write_archive
from counterpoise.studies.engine.tasks import Failure

FORMAT_1 = Path(__file__).parents[1] / "fixtures" / "format-1"
RUNS = sorted(path.parent for path in FORMAT_1.rglob("run.json"))
RESULTS = Path(__file__).parents[2] / "results"


def load(path):
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture
def run(tmp_path):
    """A copy that a test may break."""
    return shutil.copytree(FORMAT_1 / "run", tmp_path / "run")


def edit(path, change):
    value = load(path)
    change(value)
    path.write_text(json.dumps(value), encoding="utf-8")


def test_there_are_samples_of_every_kind():
    names = {path.relative_to(FORMAT_1).parts[0] for path in RUNS}
    assert names == {"run", "adjusted", "comparison", "enhance"}
    assert len(RUNS) == 11


@pytest.mark.parametrize("path", RUNS, ids=lambda path: str(path.relative_to(FORMAT_1)))
def test_every_file_of_an_old_run_is_read_as_it_stands(path):
    run, raw = RunFolder.open(path), load(path / "run.json")
    assert run.status == "done"
    assert run.failure is None
    record = run.record
    assert record.raw == raw
    for name in ("method", "config_hash", "draw", "seed", "manifest_hash", "timings", "versions", "created"):
        assert getattr(record, name) == raw[name], name
    dataset = raw["dataset"]
    assert list(record.dataset.classes) == dataset["classes"]
    assert list(record.dataset.minority) == dataset["minority"]
    assert {k: list(v) for k, v in record.dataset.counts.items()} == dataset["counts"]
    assert record.dataset.fingerprint == dataset["fingerprint"]
    assert list(record.network.image_size) == raw["network"]["image_size"]
    assert list(record.network.mean) == raw["network"]["mean"]
    assert record.start.freeze == raw["start"]["freeze"]
    assert record.imbalance.profile == raw["imbalance"]["profile"]
    assert (record.enhance is None) == ("enhance" not in raw)
    if record.enhance is not None:
        assert list(record.enhance.history) == raw["enhance"]["copy"]
        assert record.enhance.train_confusion == raw["enhance"]["train_confusion"]
    metrics = load(path / "metrics.json")
    for split in ("test", "validation"):
        scores, given = getattr(run.metrics, split), metrics[split]
        assert scores.raw == given
        for group in ("all", "majority", "minority"):
            for metric, value in given[group].items():
                assert scores.score(metric, group) == value
        assert [list(row) for row in scores.confusion_matrix] == given["confusion_matrix"]
        assert [c.score("f1") for c in scores.per_class] == [c["f1"] for c in given["per_class"]]
        assert [c.tp for c in scores.per_class] == [c["tp"] for c in given["per_class"]]
        assert list(scores.flags) == given["flags"]
    for entry, given in zip(run.history, load(path / "history.json"), strict=True):
        assert (entry.stage, entry.epoch, entry.loss) == (given["stage"], given["epoch"], given["loss"])
        assert entry.validation_gmean == given["validation_gmean"]
    points = load(path / "embedding.json")
    assert {name: list(getattr(run.embedding, name)) for name in ("x", "y", "label", "kind")} == {
        name: points[name] for name in ("x", "y", "label", "kind")
    }
    assert [mistake.model_dump() for mistake in run.mistakes] == load(path / "mistakes.json")
    with (path / "predictions.csv").open(encoding="utf-8", newline="") as handle:
        head, *rows = csv.reader(handle)
    predictions, classes = run.predictions, dataset["classes"]
    assert list(predictions.paths) == [row[0] for row in rows]
    assert [classes[i] for i in predictions.true] == [row[1] for row in rows]
    assert [classes[i] for i in predictions.predicted] == [row[2] for row in rows]
    assert head[3:] == list(predictions.classes)
    np.testing.assert_array_equal(predictions.probabilities, [[float(p) for p in row[3:]] for row in rows])


def test_old_models_are_rebuilt(tmp_path):
    trained, adjusted = RunFolder.open(FORMAT_1 / "run"), RunFolder.open(FORMAT_1 / "adjusted")
    network = load_network(trained)
    assert sum(p.numel() for p in network.parameters()) == trained.record.network.parameters == 13475
    assert load_adjustment(trained) is None
    assert load_adjustment(adjusted).offset_.tolist() == adjusted.record.adjust.learned["offset_"]


def test_old_tables_are_written_again_to_the_byte(tmp_path):
    folders = [RunFolder.open(path) for path in sorted((FORMAT_1 / "comparison" / "runs").iterdir())]
    methods = {(f.record.method, f.record.draw): f for f in folders}
    ordered = [methods[key] for key in (("bl", 0), ("ros", 0), ("bl", 1), ("ros", 1))]
    expected = (FORMAT_1 / "comparison" / "results.csv").read_text()
    assert results_table(ordered).to_csv(index=False) == expected


def test_a_score_that_an_old_file_lacks_is_undefined(run):
    edit(run / "metrics.json", lambda metrics: metrics["test"]["all"].pop("auc"))
    scores = RunFolder.open(run).metrics.test
    assert scores.score("auc") is None
    assert scores.score("gmean") == load(run / "metrics.json")["test"]["all"]["gmean"]


def test_reading_runs_imports_no_torch():
    code = "import counterpoise.runs, counterpoise.report, sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


# --- the state of a run ---------------------------------------------------------------------------------------


def test_a_run_that_died_is_not_running(tmp_path, run):
    """An old record says "running" from the start to the end, also of a run that died."""
    edit(run / "run.json", lambda record: record.update(status="running"))
    assert RunFolder(run).status == "interrupted"
    assert not RunFolder(run).is_complete()
    with pytest.raises(RunFolderError, match="unfinished run"):
        RunFolder.open(run)


def test_status_follows_the_lock(tmp_path):
    folder = RunFolder(tmp_path / "run")
    assert folder.status == "interrupted"
    with folder.claimed("abc"):
        assert "status" not in load(folder.record_path)
        assert folder.status == "running"
    assert folder.status == "interrupted"
    with pytest.raises(RunFolderError, match="holds another run"), folder.claimed("abd"):
        pass
    with locked_folder(FORMAT_1 / "run"):
        assert RunFolder(FORMAT_1 / "run").status == "done"
    (FORMAT_1 / "run" / ".lock").unlink(missing_ok=True)


def test_the_failure_that_a_study_writes_is_read(tmp_path):
    folder = RunFolder(tmp_path / "run")
    with pytest.raises(TrainingError) as caught, folder.claimed("abc"):
        raise TrainingError("the loss became nan")
    assert folder.failure is None
    Failure.from_error(caught.value, 1.5).save(folder.path)
    failure = folder.failure
    assert (failure.type, failure.text, failure.seconds) == ("TrainingError", "the loss became nan", 1.5)
    assert "test_the_failure_that_a_study_writes_is_read" in failure.traceback


# --- damage ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda r: r.pop("network"), "lacks 'network'"),
        (lambda r: r["network"].pop("mean"), r"lacks 'network\.mean'"),
        (lambda r: r["dataset"].update(minority=[3]), "a minority class is not one of the 3 classes"),
        (lambda r: r["dataset"].update(minority=[True]), r"dataset\.minority\.0"),
        (lambda r: r["dataset"]["counts"].update(train=[1, 2]), "one number for each of the 3 classes"),
        (lambda r: r.update(draw="0"), "draw: Input should be a valid integer"),
        (lambda r: r.update(timings=[]), "timings is not a JSON object"),
    ],
)
def test_damage_to_the_record_is_named_in_one_line(run, change, words):
    edit(run / "run.json", change)
    with pytest.raises(RunFolderError, match=rf"run\.json is damaged: .*{words}.*; train again") as caught:
        RunFolder.open(run)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: m["test"]["confusion_matrix"].pop(), "confusion matrix is not 3 x 3"),
        (lambda m: m["test"]["confusion_matrix"][0].__setitem__(0, 1.5), "confusion_matrix.0.0"),
        (lambda m: m["test"]["all"].update(f1="high"), "test.all.f1"),
        (lambda m: m["test"]["per_class"][1].update(recall="high"), "recall"),
        (lambda m: m["test"].update(per_class=[], confusion_matrix=[]), "is not of the run's 3 classes"),
    ],
)
def test_damage_to_the_scores_is_named(run, change, words):
    edit(run / "metrics.json", change)
    with pytest.raises(RunFolderError, match=rf"metrics\.json .*{words}"):
        _ = RunFolder.open(run).metrics


# --- archives -------------------------------------------------------------------------------------------------


def test_all_archived_runs_are_read_and_written_again(tmp_path):
    total = 0
    for path in sorted(RESULTS.glob("*-[0-9]*/runs.jsonl")):
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        runs = read_archive(path)
        total += len(runs)
        assert list(runs) == [line["record"]["config_hash"] for line in lines]
        for run, line in zip(runs.values(), lines, strict=True):
            assert isinstance(run, ArchivedRun)
            assert run.record.raw == line["record"]
            assert run.scores.score("gmean") == line["test"]["all"]["gmean"]
            assert run.metrics.validation is None
        write_archive(tmp_path / "again.jsonl", runs.values())
        assert (tmp_path / "again.jsonl").read_bytes() == path.read_bytes()
    assert total >= 490
