"""Clusters: workers in other folders, on other machines, give the bits of this one, and a killed one costs a retry."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from cluster_study import DyingComparison, Elsewhere, Pickled
from PIL import Image

from counterpoise.config import CompareConfig, EnhanceConfig, TransferConfig
from counterpoise.datasets import dataset_from_arrays, load_dataset
from counterpoise.exceptions import InputError, RunFolderError
from counterpoise.files import read_json
from counterpoise.studies import ComparisonStudy, EnhancementStudy, TransferStudy, run_study
from counterpoise.studies.engine import backends, parcels
from counterpoise.studies.engine.backends import BACKENDS
from counterpoise.studies.engine.parcels import pack_files, unpack_files
from counterpoise.studies.engine.planned_runs import make_grid
from counterpoise.studies.engine.worker_events import Address, own_address
from counterpoise.studies.enhance.plan import make_enhance_plan
from counterpoise.studies.transfer.plan import make_transfer_plan

BITS = ("metrics.json", "predictions.csv", "model.safetensors", "manifest.json", "seen.safetensors")
QUICK = {"epochs": 1, "batch_size": 16, "device": "cpu", "threads": 1}


@pytest.fixture(autouse=True)
def clusters(monkeypatch):
    monkeypatch.setattr(
        BACKENDS, "_entries", BACKENDS._entries | {"elsewhere": Elsewhere(), "pickled": Pickled()}
    )
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # newer versions want a token on both sides
    monkeypatch.setenv("RAY_worker_niceness", "0")  # beside other work, nice workers hardly run


@pytest.fixture
def photos(tmp_path, monkeypatch, make_images):
    """A dataset of files, named by a relative path, in the working folder."""
    monkeypatch.chdir(tmp_path)
    images, labels = make_images([24, 24, 12], size=12)
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        path = Path("photos") / "abc"[label] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[0]).save(path)
    return load_dataset("photos", in_memory=False)


def grid_of(dataset, methods="bl,ros", **settings):
    asked = {"methods": methods, "repeats": 1, "pretrained": "none", "backbone": "lenet", "image_size": 12}
    return make_grid(dataset, CompareConfig.of(source="photos", **QUICK | asked | settings))


def bits(out):
    return {
        f"{run.name}/{name}": (run / name).read_bytes()
        for run in sorted(p.parent for p in Path(out).glob("runs/*/run.json"))
        for name in BITS
    }


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return str(found.getsockname()[1])


@contextlib.contextmanager
def cluster(name, folder, threads=1):
    """Yield the address of a cluster of two workers that start in `folder`; those of Dask have so many `threads`."""
    port, python = free_port(), [sys.executable, "-m"]
    local = ["--host", "127.0.0.1", "--no-dashboard"]
    if name == "ray":
        address = f"127.0.0.1:{port}"
        start = ["start", "--head", "--block", "--node-ip-address=127.0.0.1", "--include-dashboard=false"]
        commands = [["ray.scripts.scripts", *start, "--num-cpus=2", f"--port={port}"]]
    else:
        address = f"tcp://127.0.0.1:{port}"
        workers = [address, "--nworkers", "2", "--nthreads", str(threads), "--local-directory", str(folder)]
        commands = [["distributed.cli.dask_scheduler", *local, "--port", port]]
        commands += [["distributed.cli.dask_worker", *workers, *local]]
    helpers = str(Path(__file__).parents[1] / "helpers")
    paths = os.pathsep.join([helpers, *filter(None, [os.environ.get("PYTHONPATH")])])
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    environment = os.environ | {"PYTHONPATH": paths}
    processes = [
        subprocess.Popen([*python, *command], cwd=folder, env=environment, **quiet) for command in commands
    ]
    try:
        deadline = time.monotonic() + 120
        while socket.socket().connect_ex(("127.0.0.1", int(port))) and time.monotonic() < deadline:
            time.sleep(0.2)
        yield address
    finally:
        for process in reversed(processes):
            process.terminate()
            process.wait(60)


@pytest.mark.slow
def test_workers_in_another_folder_give_the_bits_of_this_process(photos):
    grid, events = grid_of(photos), []
    run_study(ComparisonStudy(grid, photos), Path("here"))
    study = ComparisonStudy(grid, photos)
    found = run_study(study, Path("there"), jobs=2, backend="elsewhere", on_event=events.append)
    assert bits("there") == bits("here")
    assert len(bits("there")) == 2 * len(BITS)
    ends = [event.key for event in events if event.step is None]
    assert sorted(ends) == sorted(outcome.task.key for outcome in found.outcomes)
    assert len(events) > len(ends)
    assert {outcome.result.path for outcome in found.outcomes} == {o.task.path for o in found.outcomes}


@pytest.mark.slow
def test_workers_of_this_machine_follow_to_another_folder(photos, tmp_path, monkeypatch):
    photos = load_dataset(tmp_path / "photos", in_memory=False)
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        run_study(ComparisonStudy(grid_of(photos), photos), Path("out"), jobs=2)
    assert bits(tmp_path / "first/out") == bits(tmp_path / "second/out")
    assert len(bits("out")) == 2 * len(BITS)


@pytest.mark.parametrize(("losses", "failed"), [("x", []), ("x-x", ["bl"])])
def test_a_lost_worker_costs_one_retry_and_no_other_run(photos, monkeypatch, losses, failed):
    monkeypatch.setitem(BACKENDS._entries, "pickled", Pickled(losses))
    grid = grid_of(photos)
    found = run_study(ComparisonStudy(grid, photos), Path("out"), jobs=1, backend="pickled")
    assert [entry["method"] for entry in found.summary["failed"]] == failed
    assert len(bits("out")) == (2 - len(failed)) * len(BITS)


def test_a_run_takes_along_the_files_that_its_plan_names(photos, tmp_path):
    first = run_study(ComparisonStudy(grid_of(photos, "bl"), photos), Path("first")).outcomes[0].result.path
    settings = {"backbone": "auto", "weights": first, "split_file": first / "manifest.json", "freeze": "all"}
    grid = grid_of(photos, "bl,logit-adjusted", cache=Path("kept"), pretrained=None, **settings)
    run_study(ComparisonStudy(grid, photos), Path("here"))
    found = run_study(ComparisonStudy(grid, photos), Path("there"), jobs=2, backend="pickled")
    assert bits("there") == bits("here")
    record = found.outcomes[0].result.record
    assert record.start.weights == str(first / "model.safetensors")
    here, there = (next(Path(out).glob("runs/draw000-bl-*/run.json")) for out in ("here", "there"))
    assert read_json(here)["config"] == read_json(there)["config"]


def test_images_beyond_the_bound_are_read_under_their_absolute_path_or_asked_for(photos, monkeypatch):
    monkeypatch.setattr(parcels, "MOST_BYTES", 1000)
    grid = grid_of(photos, "bl")
    run_study(ComparisonStudy(grid, photos), Path("here"))
    run_study(ComparisonStudy(grid, photos), Path("there"), backend="pickled")
    assert bits("there") == bits("here")
    monkeypatch.setattr(parcels, "hold_files", lambda dataset, most: dataset)
    Path("photos").rename("elsewhere")
    found = run_study(ComparisonStudy(grid, photos), Path("out"), backend="pickled")
    (failed,) = found.summary["failed"]
    assert "cannot read image" in failed["error"]
    assert failed["error"].endswith("share their folder with all workers, under the same path")


def test_results_of_needed_tasks_go_along(tmp_path, monkeypatch, make_images):
    monkeypatch.chdir(tmp_path)
    images, labels = make_images([16, 16, 16, 16], size=12)
    data = dataset_from_arrays(images, labels, name="blobs")
    common = QUICK | {"source": "blobs"}
    transfer = TransferConfig.of(
        **common, task_split="A=0,1;B=2,3", layers="1", repeats=1, backbone="lenet", images_per_class=0
    )
    enhance = EnhanceConfig.of(
        **common, backbone="lenet", copy_epochs=1, enhance_epochs=1, fresh_epochs=1, width=4, figures=0
    )
    for name, study in (
        ("transfer", TransferStudy(make_transfer_plan(data, transfer), data)),
        ("enhance", EnhancementStudy(make_enhance_plan(data, enhance), data)),
    ):
        here = run_study(study, Path(name) / "here")
        there = run_study(study, Path(name) / "there", backend="pickled")
        assert there.summary["failed"] == here.summary["failed"] == []
        assert there.table.equals(here.table)
        assert bits(f"{name}/there") == bits(f"{name}/here")
        networks = [sorted(p.name for p in Path(name, o).glob("networks/*")) for o in ("here", "there")]
        assert networks[0] == networks[1]


@pytest.mark.parametrize("name", ["../run.json", "runs/a/../b/run.json", "/tmp/run.json", "runs/b/run.json"])
def test_a_file_that_is_none_of_the_task_is_not_written(tmp_path, name):
    with pytest.raises(RunFolderError, match="none of its task"):
        unpack_files({name: b"{}"}, tmp_path, [tmp_path / "runs/a"])
    assert list(tmp_path.rglob("*")) == []


def test_finished_files_travel_with_their_records_last_and_the_rest_stays(tmp_path):
    for name in ("a/run.json", "a/model", "a/checkpoints/x", "a/.lock", "b"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    files = pack_files([tmp_path / "a"], tmp_path)
    assert list(files) == ["a/model", "a/run.json"]
    unpack_files(files, tmp_path / "copy", [tmp_path / "copy/a"])
    before = (tmp_path / "copy/a/model").stat().st_mtime_ns
    unpack_files(files, tmp_path / "copy")
    assert (tmp_path / "copy/a/model").stat().st_mtime_ns == before


def test_a_worker_that_reaches_nobody_works_without_messages():
    host = own_address("127.0.0.1")
    with Address((host, int(free_port())), b"key", own=False).connected() as send:
        send("heard by nobody")


def test_an_address_without_a_cluster_is_refused_before_anything_is_written(photos):
    study = ComparisonStudy(grid_of(photos), photos)
    with pytest.raises(InputError, match=r"`address` 10\.0\.0\.1:1: it is that of a cluster; give `backend`"):
        run_study(study, Path("out"), address="10.0.0.1:1")
    assert not Path("out").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("name", "package"), [("dask", "distributed"), ("ray", "ray")])
def test_a_cluster_in_another_folder_gives_the_bits_of_this_machine(name, package, photos, tmp_path_factory):
    pytest.importorskip(package, reason=f"needs the extra `{name}`")
    grid, lives, events = grid_of(photos, "bl,ros,bl-cw"), Path("lives").absolute(), []
    run_study(ComparisonStudy(grid, photos), Path("here"), jobs=2)
    lives.write_text("x")
    with cluster(name, tmp_path_factory.mktemp("nodes")) as address:
        found = run_study(
            DyingComparison(grid, photos, lives, "ros"),
            Path("there"),
            jobs=2,
            backend=name,
            address=address,
            on_event=events.append,
        )
        assert bits("there") == bits("here")
        assert (lives.read_text(), found.summary["failed"]) == ("", [])
        assert any(event.step is not None for event in events)
        lives.write_text("x" * 99)
        alone = run_study(
            DyingComparison(grid_of(photos, "ros,bl"), photos, lives, "ros"),
            Path("lost"),
            jobs=1,
            backend=name,
            address=address,
        )
    assert [entry["method"] for entry in alone.summary["failed"]] == ["ros"]
    assert alone.summary["failed"][0]["error"].startswith("its worker process was killed, and again")
    assert alone.outcomes[1].result.is_complete()
    assert int(name == "ray") * 97 <= len(lives.read_text()) <= 97


@pytest.mark.slow
def test_workers_of_dask_with_several_threads_give_the_same_bits_and_are_said(photos, tmp_path_factory):
    pytest.importorskip("distributed", reason="needs the extra `dask`")
    grid = grid_of(photos, "bl,ros,bl-cw")
    run_study(ComparisonStudy(grid, photos), Path("here"), jobs=2)
    with cluster("dask", tmp_path_factory.mktemp("nodes"), threads=3) as address:
        options = {"backend": "dask", "address": address}
        with pytest.warns(UserWarning, match="one task at a time.*--nthreads 1"):
            run_study(ComparisonStudy(grid, photos), Path("there"), jobs=4, **options)
    assert bits("there") == bits("here")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("threads", "warned"), [({}, False), ({"a": 1}, False), ({"a": 1, "b": 2}, True)])
def test_several_threads_of_a_worker_are_said_once_there_is_one(threads, warned):
    registered = {}

    def wait_for_workers(count, timeout):
        if not threads:
            raise TimeoutError(f"no worker within {timeout} seconds")
        registered.update(threads)

    client = SimpleNamespace(nthreads=lambda: registered, wait_for_workers=wait_for_workers)
    with pytest.warns(UserWarning, match="--nthreads 1") if warned else contextlib.nullcontext():
        backends._check_threads(client)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "package"), [("dask", "distributed"), ("ray", "ray")])
def test_a_cluster_that_does_not_answer_is_named(name, package, photos, monkeypatch):
    pytest.importorskip(package, reason=f"needs the extra `{name}`")
    address = f"127.0.0.1:{free_port()}"
    monkeypatch.setenv("DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT", "2s")
    with pytest.raises(InputError, match=f"`address` {address}: .*give the address of a cluster that runs"):
        run_study(ComparisonStudy(grid_of(photos), photos), Path("out"), backend=name, address=address)
    assert not Path("out").exists()
