"""Comparisons: the same numbers in parallel and after a kill, the winner by validation, one owner per folder."""

import csv
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from typed import faults

from counterpoise.config import CompareConfig, make_config
from counterpoise.datasets import StepImbalance, dataset_from_arrays
from counterpoise.evaluation import score_interval
from counterpoise.exceptions import InputError, RunFolderError, TrainingError
from counterpoise.files import read_json, write_json
from counterpoise.methods import parse_methods
from counterpoise.runs import RunFolder
from counterpoise.studies import ComparisonStudy, run_study
from counterpoise.studies.engine.planned_runs import RunGrid, make_grid
from counterpoise.studies.engine.summaries import GridSummary
from counterpoise.training import RunPlan, SplitPlan, execute_run


def run_comparison(grid, dataset, out, **options):
    return run_study(ComparisonStudy(grid, dataset), out, **options)


@pytest.fixture(scope="module")
def dataset(make_images):
    images, labels = make_images([60, 60, 60])
    test_images, test_labels = make_images([20, 20, 20], seed=1)
    return dataset_from_arrays(
        images,
        labels,
        classes=["cat", "dog", "owl"],
        name="blobs",
        test_images=test_images,
        test_labels=test_labels,
    )


def study_of(dataset, methods="bl,bl-cw,ados", draws=2, **changes):
    settings = {"epochs": 1, "batch_size": 16, "device": "cpu"} | changes.pop("settings", {})
    split = SplitPlan(profile=StepImbalance(6, minority=1).to_dict(), validation_fraction=0.2)
    chosen = tuple(parse_methods(methods))
    plan = {"split": split, "network": "tinynet", "source": "blobs", "draw": 0, "method": chosen[0].label}
    plan |= {
        "fingerprint": dataset.fingerprint,
        "image_size": dataset.image_size,
        "config": make_config(**settings),
    } | changes
    return RunGrid(template=RunPlan(**plan), methods=chosen, repeats=tuple(range(draws)), command="test")


@pytest.fixture(scope="module")
def finished(dataset, tmp_path_factory):
    out = tmp_path_factory.mktemp("study") / "out"
    return out, run_comparison(study_of(dataset), dataset, out)


def read_results(out):
    with (out / "results.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_results_hold_the_metrics_of_every_run_in_long_format(finished):
    out, _ = finished
    rows = read_results(out)
    header = "dataset,imbalance,imbalance_ratio,draw,seed,method,classes,metric,value"
    assert list(rows[0]) == header.split(",")
    values = {(r["method"], int(r["draw"]), r["classes"], r["metric"]): float(r["value"]) for r in rows}
    assert len(values) == len(rows)
    for path in (out / "runs").iterdir():
        folder = RunFolder.open(path)
        scores, key = folder.metrics.raw["test"], (folder.record.raw["method"], folder.record.raw["draw"])
        for group in ("all", "majority", "minority"):
            for metric, value in scores[group].items():
                assert values[(*key, group, metric)] == pytest.approx(value)
        for entry in scores["per_class"]:
            assert values[(*key, entry["name"], "recall")] == pytest.approx(entry["recall"])
    assert {r["imbalance_ratio"] for r in rows} == {"6.0"}


def test_the_summary_is_the_mean_and_interval_over_draws(finished):
    out, result = finished
    rows = read_results(out)
    for entry in read_json(out / "summary.json")["methods"]:
        values = [
            float(r["value"])
            for r in rows
            if (r["method"], r["classes"], r["metric"]) == (entry["method"], "minority", "recall")
        ]
        assert entry["n"] == len(values) == 2
        found = entry["scores"]["minority"]["recall"]
        assert found["mean"] == pytest.approx(np.mean(values))
        # Both repeats have the same test images: twenty of the rare class, whose interval is at least Wilson's.
        assert found["images"] == 20
        wilson = score_interval(
            "recall", [[round(20 * found["mean"]), 20 - round(20 * found["mean"])], [0, 9]], classes=[0]
        )
        assert found["high"] - found["low"] >= 0.9 * (wilson.high - wilson.low)
    assert result.summary["draws"] == 2
    assert faults(read_json(out / "summary.json"), GridSummary) == []


def test_every_method_of_a_draw_sees_the_same_split_and_each_draw_another(finished):
    out, _ = finished
    hashes = {}
    for path in (out / "runs").iterdir():
        record = RunFolder.open(path).record
        hashes.setdefault(record.draw, set()).add(record.manifest_hash)
    assert all(len(found) == 1 for found in hashes.values())
    assert hashes[0] != hashes[1]


def test_the_winner_is_chosen_on_validation_images_and_kept_as_best(dataset, finished):
    out, result = finished
    means = {}
    for path in (out / "runs").iterdir():
        folder = RunFolder.open(path)
        means.setdefault(folder.record.raw["method"], {})[folder.record.raw["draw"]] = folder.metrics.raw[
            "validation"
        ]["all"]["gmean"]
    winner = max(
        (m.label for m in study_of(dataset).methods), key=lambda name: np.mean(list(means[name].values()))
    )
    best = RunFolder.open(out / "best")
    assert result.summary["winner"] == winner == best.record.raw["method"]
    assert best.metrics.raw["validation"]["all"]["gmean"] == max(means[winner].values())


def test_test_images_have_no_say_in_who_wins(dataset, tmp_path):
    from counterpoise.studies.compare.study import choose

    study = study_of(dataset, "bl,bl-cw", draws=1)
    folders = [o.result for o in run_comparison(study, dataset, tmp_path / "out").outcomes]
    for folder, (validation, test) in zip(folders, [(0.9, 0.1), (0.1, 0.9)], strict=True):
        metrics = folder.metrics.raw
        metrics["validation"]["all"]["gmean"], metrics["test"]["all"]["gmean"] = validation, test
    assert choose(study, folders).name == "bl"


def test_two_jobs_give_the_numbers_of_one(dataset, finished, tmp_path):
    out, _ = finished
    events = []
    run_comparison(study_of(dataset), dataset, tmp_path / "out", jobs=2, on_event=events.append)
    assert (tmp_path / "out/results.csv").read_bytes() == (out / "results.csv").read_bytes()
    ends = [event.key for event in events if event.step is None]
    assert sorted(ends) == sorted(f"out/{p.name}" for p in (out / "runs").iterdir())


def test_finished_runs_are_not_run_again_and_methods_can_be_added(dataset, tmp_path):
    out = tmp_path / "out"
    run_comparison(study_of(dataset, "bl", draws=1), dataset, out)
    stamps = {p: (p / "run.json").stat().st_mtime_ns for p in (out / "runs").iterdir()}
    result = run_comparison(study_of(dataset, "bl,ros", draws=2), dataset, out)
    assert {p: (p / "run.json").stat().st_mtime_ns for p in stamps} == stamps
    assert len(list((out / "runs").iterdir())) == 4
    assert set(result.table["method"]) == {"bl", "ros"}


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_methods_that_train_the_network_alike_train_it_once_to_the_same_numbers(dataset, tmp_path, jobs):
    study = study_of(dataset, "bl,bl-cw,fs-smote,ados,logit-adjusted,ados:loss=cross-entropy", draws=1)
    result = run_comparison(study, dataset, tmp_path / "out", jobs=jobs)
    taken = {}
    for outcome in result.outcomes:
        alone = execute_run(outcome.task.plan, dataset, tmp_path / "alone" / outcome.task.plan.folder_name)
        assert alone.metrics == outcome.result.metrics
        history = read_json(outcome.result.path / "history.json")
        assert [e["stage"] for e in history] == [e["stage"] for e in read_json(alone.path / "history.json")]
        taken[outcome.task.plan.method] = history[0]["seconds"]
    assert taken["bl-cw"] == taken["fs-smote"] == taken["ados"]
    assert taken["bl"] == taken["logit-adjusted"] == taken["ados:loss=cross-entropy"]
    assert taken["bl"] != taken["bl-cw"]
    assert not (tmp_path / "out" / "networks").exists()


def test_images_of_another_size_are_another_comparison(tmp_path, make_images):
    from PIL import Image

    from counterpoise.datasets import load_dataset

    images, labels = make_images([12, 12])
    for index, (image, label) in enumerate(zip(images, labels, strict=True)):
        (tmp_path / "photos" / "ab"[label]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[0]).save(tmp_path / "photos" / "ab"[label] / f"{index}.png")

    def run(**options):
        photos = load_dataset(tmp_path / "photos", **options)
        run_comparison(study_of(photos, "bl", draws=1, split=SplitPlan()), photos, tmp_path / "out")

    run()
    with pytest.raises(RunFolderError, match="holds another comparison"):
        run(image_size=10)


def test_a_folder_belongs_to_one_comparison(dataset, finished, tmp_path):
    out, _ = finished
    before = (out / "results.csv").read_bytes()
    with pytest.raises(RunFolderError, match="holds another comparison"):
        run_comparison(study_of(dataset, settings={"lr": 0.1}), dataset, out)
    assert (out / "results.csv").read_bytes() == before
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(RunFolderError, match=r"not empty \(letter\.txt"):
        run_comparison(study_of(dataset), dataset, tmp_path)
    assert [p.name for p in tmp_path.iterdir() if not p.name.startswith(".")] == ["letter.txt"]


def test_a_run_folder_belongs_to_one_run(dataset, tmp_path):
    first, second = study_of(dataset, "bl,ros", draws=1).plans()
    execute_run(first, dataset, tmp_path / "run")
    with pytest.raises(RunFolderError, match="holds another run"):
        execute_run(second, dataset, tmp_path / "run")
    assert RunFolder.open(tmp_path / "run").record.raw["method"] == "bl"


def test_two_processes_never_share_a_run_folder(dataset, tmp_path, monkeypatch):
    from filelock import FileLock

    from counterpoise.runs import folder as folder_module

    monkeypatch.setattr(folder_module, "SECONDS_TO_WAIT", 0.1)
    (tmp_path / "run").mkdir()
    plan = study_of(dataset, "bl", draws=1).plans()[0]
    with (
        FileLock(tmp_path / "run" / ".lock"),
        pytest.raises(RunFolderError, match="in use by another process"),
    ):
        execute_run(plan, dataset, tmp_path / "run")


def test_a_failed_run_is_reported_and_does_not_stop_the_rest(dataset, tmp_path, monkeypatch):
    from counterpoise.studies.engine import planned_runs as grid

    real = grid.execute_run

    def fail_once(plan, *args, **kwargs):
        if plan.method == "bl-cw" and plan.draw == 0:
            raise TrainingError("the train loss became nan at step 3")
        return real(plan, *args, **kwargs)

    monkeypatch.setattr(grid, "execute_run", fail_once)
    result = run_comparison(study_of(dataset, "bl,bl-cw", draws=2), dataset, tmp_path / "out")
    assert result.summary["failed"] == [
        {"method": "bl-cw", "draw": 0, "error": "the train loss became nan at step 3"}
    ]
    assert {(m["method"], m["n"]) for m in result.summary["methods"]} == {("bl", 2), ("bl-cw", 1)}


def test_the_verdict_says_in_words_who_certainly_loses_to_plain_training(finished):
    _, result = finished
    table = result.table
    means = (
        table[(table["classes"] == "all") & (table["metric"] == "gmean")].groupby("method")["value"].mean()
    )
    for entry in result.summary["methods"]:
        if entry["method"] == "bl":
            assert entry["beats_baseline"] is None
            continue
        gain = entry["gain"]
        assert gain["mean"] == pytest.approx(means[entry["method"]] - means["bl"])
        certain = None if gain["low"] <= 0 <= gain["high"] else gain["mean"] > 0
        assert entry["beats_baseline"] is certain
        words = {None: "cannot be told from", True: "better than", False: "worse than"}[certain]
        assert entry["note"].startswith(words)
        assert f"{abs(gain['mean']):.3f} G-mean" in entry["note"]


def test_an_unfinished_or_foreign_folder_is_no_run(tmp_path):
    with pytest.raises(RunFolderError, match="not a folder"):
        RunFolder.open(tmp_path / "nothing")
    with pytest.raises(RunFolderError, match=r"holds no run\.json"):
        RunFolder.open(tmp_path)
    write_json(tmp_path / "run.json", {"status": "running"})
    with pytest.raises(RunFolderError, match="unfinished run"):
        RunFolder.open(tmp_path)


def test_a_saved_split_is_used_as_it_is(dataset, finished, tmp_path):
    out, _ = finished
    saved = RunFolder.open(out / "best").path / "manifest.json"
    split = SplitPlan(manifest=str(saved), manifest_hash=json.loads(saved.read_text())["hash"])
    result = run_comparison(study_of(dataset, "bl", draws=1, split=split), dataset, tmp_path / "out")
    assert result.outcomes[0].result.record.raw["manifest_hash"] == split.manifest_hash


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"backbone": "lenet"}, "lenet"),
        ({"methods": "bl-cw:power=7"}, "power"),
        ({"imbalance": "step", "ratio": 1e9, "minority": "1"}, "ratio"),
        ({"metric": "gmaen"}, "did you mean 'gmean'"),
        ({"methods": "bl", "head_epochs": 2}, "`head_epochs`: bl train no separate head"),
        ({"methods": "bl", "head_batch_size": 2}, "`head_batch_size`: bl train no separate head"),
    ],
)
def test_a_wrong_study_is_refused_before_anything_is_written(dataset, tmp_path, settings, words):
    with pytest.raises(InputError, match=words):
        make_grid(dataset, CompareConfig.of(**settings))
    assert list(tmp_path.iterdir()) == []


KILLED = """
    import os
    os.environ["OMP_NUM_THREADS"] = "1"
    import sys
    from pathlib import Path
    sys.path[:0] = {paths!r}
    from conftest import blob_images
    from counterpoise.datasets import dataset_from_arrays
    import test_compare
    images, labels = blob_images([60, 60, 60])
    test_images, test_labels = blob_images([20, 20, 20], seed=1)
    dataset = dataset_from_arrays(images, labels, classes=["cat", "dog", "owl"], name="blobs",
                                  test_images=test_images, test_labels=test_labels)
    if __name__ == "__main__":
        study = test_compare.study_of(dataset, settings={{"epochs": 12}})
        test_compare.run_comparison(study, dataset, Path({out!r}), jobs={jobs})
"""


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.slow
def test_a_killed_comparison_finishes_the_missing_runs_to_the_same_table(dataset, tmp_path, jobs):
    study = study_of(dataset, settings={"epochs": 12})
    run_comparison(study, dataset, tmp_path / "whole")
    out, script = tmp_path / "killed", tmp_path / "script.py"
    paths = [str(Path(__file__).parent), *(str(Path(__file__).parents[1] / n) for n in (".", "helpers"))]
    script.write_text(textwrap.dedent(KILLED).format(paths=paths, out=str(out), jobs=jobs))
    process = subprocess.Popen([sys.executable, str(script)], start_new_session=True)
    try:
        deadline = time.monotonic() + 180
        while not finished_runs(out) and time.monotonic() < deadline:
            time.sleep(0.02)
    finally:
        os.kill(process.pid, signal.SIGKILL)  # the parent alone: workers must notice by themselves
        process.wait()
    stamps = {p: (p / "run.json").stat().st_mtime_ns for p in finished_runs(out)}
    assert 0 < len(stamps) < 6
    assert not (out / "results.csv").exists()
    if jobs > 1:
        assert orphans_left(process.pid, patience=60) == []
    run_comparison(study, dataset, out, jobs=jobs)
    assert {p: (p / "run.json").stat().st_mtime_ns for p in stamps} == stamps
    assert (out / "results.csv").read_bytes() == (tmp_path / "whole/results.csv").read_bytes()


def finished_runs(out):
    return [p.parent for p in (out / "runs").glob("*/run.json") if RunFolder(p.parent).is_complete()]


def orphans_left(session, *, patience):
    """Workers of the killed comparison's session that are still there after some seconds."""
    deadline = time.monotonic() + patience
    while True:
        found = [pid for pid in Path("/proc").glob("[0-9]*") if is_worker(pid, session)]
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.2)


def is_worker(process, session):
    try:
        state, _, _, its_session = (process / "stat").read_text().rpartition(")")[2].split()[:4]
        arguments = (process / "cmdline").read_text()
    except OSError:
        return False
    return its_session == str(session) and state != "Z" and "loky" in arguments
