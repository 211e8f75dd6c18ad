"""The engine on a toy study: order, failures as records, lost workers, what does not apply, one owner."""

import os
import subprocess
import sys

import pytest
from toy_study import ToyStudy

from counterpoise.exceptions import InputError, RunFolderError, UnknownNameError
from counterpoise.files import read_json
from counterpoise.studies import STUDIES, Study, run_study


def run(folder, plans, **options):
    return run_study(ToyStudy(plans), folder, **options)


def attempts(folder, key):
    path = folder / f"attempts-{key}"
    return len(path.read_text()) if path.exists() else 0


@pytest.mark.slow
def test_a_lost_worker_is_retried_once_and_the_rest_goes_on(tmp_path):
    plans = {"a": "ok", "b": "die", "c": "ok"}
    events = []
    found = run(tmp_path, plans, jobs=2, on_event=events.append)
    assert [outcome.result is None for outcome in found.outcomes] == [False, True, False]
    (failed,) = found.summary["failed"]
    assert failed["method"] == "b"
    assert failed["error"].startswith("its worker process was killed, and again when it was retried alone")
    assert attempts(tmp_path, "b") == 2
    record = read_json(tmp_path / "runs/b/failure.json")
    assert record["type"] == "LostWorker"
    assert set(record) == {"type", "text", "traceback", "seconds"}
    assert {event.key for event in events if event.step is None} == set(plans)


@pytest.mark.slow
def test_a_worker_that_is_lost_once_costs_nothing_and_one_lost_always_never_ends_this_process(tmp_path):
    plans = {"a": "ok", "b": "die", "c": "die once", "d": "slow", "e": "ok", "f": "ok"}
    found = run(tmp_path, plans, jobs=2)
    assert [outcome.task.key for outcome in found.outcomes] == list(plans)
    assert {o.task.key for o in found.outcomes if o.result is None} == {"b"}
    assert (attempts(tmp_path, "b"), attempts(tmp_path, "c")) == (2, 2)
    # Alone and with a worker that died before, the task must not run in this process.
    assert run(tmp_path, plans, jobs=1).summary == found.summary
    assert attempts(tmp_path, "b") == 4
    assert run(tmp_path, plans | {"b": "ok"}).summary == {"failed": []}
    assert not (tmp_path / "runs/b/failure.json").exists()


def test_a_failure_is_a_record_until_the_task_succeeds(tmp_path):
    found = run(tmp_path, {"a": "fail", "b": "break", "c": "ok"})
    assert found.summary["failed"] == [
        {"method": "a", "draw": 0, "error": "the loss became nan"},
        {"method": "b", "draw": 0, "error": found.outcomes[1].failure.text},
    ]
    assert found.outcomes[1].failure.text.startswith("ValueError: two lines (toy_study.py:")
    record = read_json(tmp_path / "runs/a/failure.json")
    assert (record["type"], record["text"]) == ("TrainingError", "the loss became nan")
    assert "in execute" in record["traceback"]
    assert 0 <= record["seconds"] < 60
    assert run(tmp_path, {"a": "ok", "b": "ok", "c": "ok"}).summary == {"failed": []}
    assert not list(tmp_path.glob("runs/*/failure.json"))
    assert attempts(tmp_path, "c") == 1


def test_a_bug_is_no_failure_but_ends_the_study(tmp_path):
    with pytest.raises(KeyError, match="a bug"):
        run(tmp_path, {"a": "bug", "b": "ok"})
    assert attempts(tmp_path, "b") == 0


def test_what_does_not_apply_is_listed_apart_with_its_reason(tmp_path):
    found = run(tmp_path, {"a": "not here", "b": "ok", "c": "a>ok"})
    assert found.summary == {
        "failed": [],
        "not_applicable": [
            {"method": "a", "draw": 0, "reason": "there are no rare classes"},
            {"method": "c", "draw": 0, "reason": "it needs a: there are no rare classes"},
        ],
    }
    assert attempts(tmp_path, "c") == 0
    assert not list(tmp_path.glob("runs/*/failure.json"))


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_task_starts_after_all_that_it_needs_and_not_without(tmp_path, jobs):
    plans = {"late": "first>second>ok", "first": "slow", "second": "ok", "blocked": "bad>ok", "bad": "fail"}
    events = []
    found = run(tmp_path, plans, jobs=jobs, on_event=events.append)
    assert sorted(event.key for event in events if event.step is None) == sorted(plans)
    results = {outcome.task.key: outcome.result for outcome in found.outcomes}
    assert list(results) == list(plans)
    assert results["late"]["time"] > max(results["first"]["time"], results["second"]["time"])
    assert [entry["error"] for entry in found.summary["failed"]] == [
        "bad is not there to start from: its training failed",
        "the loss became nan",
    ]
    assert attempts(tmp_path, "blocked") == 0


def test_outcomes_stand_in_the_order_of_tasks_whoever_ends_first(tmp_path):
    plans = {"a": "await b", "b": "ok", "c": "ok"}
    found = run(tmp_path, plans, jobs=2)
    assert [outcome.task.key for outcome in found.outcomes] == list(plans)
    results = [outcome.result for outcome in found.outcomes]
    assert results[0]["time"] > results[1]["time"]
    assert os.getpid() not in {result["process"] for result in results}


def test_one_job_runs_in_this_process_and_finished_work_is_kept(tmp_path):
    first = run(tmp_path, {"a": "ok"})
    assert first.outcomes[0].result["process"] == os.getpid()
    events = []
    again = run(tmp_path, {"a": "ok", "b": "ok"}, jobs=None, on_event=events.append)
    assert again.outcomes[0].result == first.outcomes[0].result
    assert [(event.key, event.title, event.step) for event in events] == [
        ("a", "0: a", None),
        ("b", "0: b", None),
    ]
    assert (tmp_path / "page.txt").read_text() == "2"


def test_shared_networks_stay_until_nothing_fails(tmp_path):
    (tmp_path / "out" / "networks").mkdir(parents=True)
    (tmp_path / "out" / "toy.json").write_text('{"format": 1, "identity": "toy"}')
    run(tmp_path / "out", {"a": "ok", "b": "fail"})
    assert (tmp_path / "out" / "networks").exists()
    run(tmp_path / "out", {"a": "ok", "b": "ok"})
    assert not (tmp_path / "out" / "networks").exists()


def test_what_cannot_run_leaves_nothing(tmp_path):
    with pytest.raises(InputError, match="`jobs` 0: at least 1"):
        run(tmp_path / "out", {"a": "ok"}, jobs=0)
    with pytest.raises(UnknownNameError, match="backend 'slurm'"):
        run(tmp_path / "out", {"a": "ok"}, backend="slurm")
    assert not (tmp_path / "out").exists()
    (tmp_path / "toy.json").write_text('{"identity": "other"}')
    with pytest.raises(RunFolderError, match=r"holds another toy \(other data or settings\)"):
        run(tmp_path, {"a": "ok"})


def test_every_study_of_the_catalog_keeps_the_marker_of_its_folders():
    loaded = {entry.name: entry.load() for entry in STUDIES}
    assert {name: study.marker for name, study in loaded.items()} == {
        "compare": "study.json",
        "fit": "fit.json",
        "transfer": "transfer.json",
        "enhance": "enhance.json",
        "reproduce": "reproduce.json",
    }
    assert all(issubclass(study, Study) for study in loaded.values())


def test_studies_and_tables_are_listed_without_torch():
    code = "import sys; from counterpoise.studies import STUDIES, all_tables; print(len(all_tables()), *sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert found[0] == "10"
    assert "torch" not in found
