"""Tables made again end to end on small images: resuming, lines alone, publishing, other back ends, stand-ins."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from counterpoise.datasets import fewer_images, load_dataset
from counterpoise.exceptions import DataError, InputError, RunFolderError, UnknownNameError
from counterpoise.runs import RunFolder
from counterpoise.studies import ReproductionStudy, publish, run_study
from counterpoise.studies.engine import planned_runs
from counterpoise.studies.reproduce import plan as plan_module
from counterpoise.studies.reproduce.plan import plan_table, study_commands
from counterpoise.studies.reproduce.sources import find_source, load_images
from counterpoise.studies.reproduce.tables import Setting, Table, all_tables, get_table
from counterpoise.training import execute_run

REAL_DATA = Path(__file__).resolve().parents[3] / "shared/data"
DIGITS = {"data": "mnist", "imbalance": "step", "minority": "4", "network": "tinynet", "epochs": 1}
TABLE = Table(
    name="thesis-test",
    title="A small table",
    paper="a test",
    repeats=2,
    settings=tuple(
        Setting(**DIGITS, ratio=ratio, batch_size=64, methods=("bl", "fs-smote", "ados")) for ratio in (2, 5)
    ),
)


def digits(*args, **options):
    return "digits", fewer_images(load_dataset("digits"), 60)


@pytest.fixture
def plan(monkeypatch):
    monkeypatch.setattr(plan_module, "load_images", digits)
    return plan_table(TABLE, device="cpu", command="counterpoise reproduce a-test")


def reproduce_table(plan, out, *, jobs=1, backend="loky", **settings):
    return run_study(ReproductionStudy(plan, **settings), out, jobs=jobs, backend=backend)


def test_the_published_protocols_crop():
    assert {setting.fit for table in all_tables() for setting in table.settings} == {"crop"}
    commands, _ = study_commands(get_table("slides-accuracy"))
    assert all(command[command.index("--fit") + 1] == "crop" for command in commands)
    loaded = []

    def load(source, **options):
        loaded.append((source, options["fit"]))
        return load_dataset("digits", image_size=16, fit=options["fit"])

    stretched = TABLE.model_copy(
        update={"settings": (TABLE.settings[0].model_copy(update={"fit": "stretch"}),)}
    )
    plans = [plan_table(table, device="cpu", load=load) for table in (TABLE, stretched)]
    assert loaded == [("mnist", "crop"), ("mnist", "stretch")]
    assert [{run.fit for _, run in plan.runs()} for plan in plans] == [{"crop"}, {"stretch"}]


def missing_tasks(plan, out, **options):
    return [task for task in ReproductionStudy(plan, **options).tasks(out) if task.waits]


def with_settings(table, **changes):
    settings = tuple(setting.model_copy(update=changes) for setting in table.settings)
    return table.model_copy(update={"settings": settings})


def contents(folder):
    names = ("results.csv", "summary.json", "page.html", "page.md", "reproduce.json", "lines.png")
    return {name: (folder / name).read_bytes() for name in names}


@pytest.mark.slow
def test_an_interrupted_table_goes_on_and_doing_it_twice_changes_nothing(plan, tmp_path, monkeypatch):
    plan, done = plan.with_repeats(1), []

    def stop_after_two(*args, **kwargs):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(execute_run(*args, **kwargs))
        return done[-1]

    out = tmp_path / "cut"
    monkeypatch.setattr(planned_runs, "execute_run", stop_after_two)
    with pytest.raises(KeyboardInterrupt):
        reproduce_table(plan, out)
    assert len(missing_tasks(plan, out)) == 6 - 2
    page = reproduce_table(plan, out, render_only=True)
    assert page.summary["runs"]["done"] == 2
    monkeypatch.setattr(planned_runs, "execute_run", execute_run)
    cut = reproduce_table(plan, out)
    whole = reproduce_table(plan, tmp_path / "whole")
    assert cut.table.equals(whole.table)
    assert cut.summary["cells"] == whole.summary["cells"]
    assert cut.summary["runs"]["done"] == 6
    assert cut.summary["runs"]["trainings"] == 4  # of 6: fs-smote starts from the network of bl
    assert cut.summary["runs"]["seconds"] > 0
    before = contents(out)
    monkeypatch.setattr(planned_runs, "execute_run", stop_after_two)
    again = reproduce_table(plan, out)
    assert contents(out) == before
    assert again.table.equals(cut.table)
    reproduce_table(plan, out, render_only=True)
    assert contents(out) == before


def of_ada(study):
    return replace(study, template=replace(study.template, source="/home/ada/digits.zip"))


KILLED = """
    import os
    os.environ["OMP_NUM_THREADS"] = "1"
    import sys
    from pathlib import Path
    sys.path[:0] = {paths!r}
    import test_reproduce as module
    module.plan_module.load_images = module.digits
    if __name__ == "__main__":
        plan = module.plan_table(module.TABLE, device="cpu", command="counterpoise reproduce a-test")
        module.reproduce_table(plan, Path({out!r}), jobs=2)
"""


@pytest.mark.slow
def test_a_killed_table_finishes_the_missing_runs_to_the_same_bytes(plan, tmp_path):
    whole = reproduce_table(plan, tmp_path / "whole")
    out, script = tmp_path / "killed", tmp_path / "script.py"
    script.write_text(textwrap.dedent(KILLED).format(paths=[str(Path(__file__).parent)], out=str(out)))
    process = subprocess.Popen([sys.executable, str(script)], start_new_session=True)
    try:
        deadline = time.monotonic() + 300
        while len(complete_runs(out)) < 3 and time.monotonic() < deadline:
            time.sleep(0.02)
    finally:
        os.kill(process.pid, signal.SIGKILL)  # the parent alone: workers must notice by themselves
        process.wait()
    before = complete_runs(out)
    assert 3 <= len(before) < 12
    assert not (out / "results.csv").exists()
    result = reproduce_table(plan, out)
    assert before.items() <= complete_runs(out).items()
    assert (out / "results.csv").read_bytes() == (tmp_path / "whole/results.csv").read_bytes()
    assert [outcome.task.plan for outcome in result.outcomes] == [
        outcome.task.plan for outcome in whole.outcomes
    ]


def complete_runs(out):
    runs = out.glob("*/runs/*/run.json")
    return {path: path.stat().st_mtime_ns for path in runs if RunFolder(path.parent).is_complete()}


@pytest.mark.slow
def test_results_made_elsewhere_count_as_done(plan, tmp_path):
    whole = reproduce_table(plan, tmp_path / "whole")
    lines = plan.with_repeats(1)
    cells = [replace(cell, study=of_ada(cell.study)) for cell in lines.cells]
    reproduce_table(replace(lines, cells=tuple(cells)), tmp_path / "elsewhere", jobs=2)
    publish(ReproductionStudy, tmp_path / "elsewhere", tmp_path / "published")
    shutil.rmtree(tmp_path / "elsewhere")
    assert "digits.zip" in (tmp_path / "published/runs.jsonl").read_text()
    assert "/home/ada" not in (tmp_path / "published/runs.jsonl").read_text()
    out = tmp_path / "here"
    earlier = tmp_path / "published"
    taken = reproduce_table(plan.with_repeats(1), out, resume_from=earlier, render_only=True)
    assert [task.plan.draw for task in missing_tasks(plan, out, resume_from=earlier)] == [1] * 6
    assert taken.table.equals(whole.table[whole.table["draw"] == 0].reset_index(drop=True))
    assert not list(out.glob("*/runs"))
    joined = reproduce_table(plan, out, resume_from=earlier)
    assert joined.table.equals(whole.table)
    assert joined.summary["cells"] == whole.summary["cells"]
    assert (joined.summary["runs"]["done"], joined.summary["runs"]["earlier"]) == (12, 6)
    assert "12 of 12 done, 6 of them taken over from earlier results" in (out / "page.md").read_text()
    times = [json.loads(line)["record"]["timings"]["total"] for line in (out / "runs.jsonl").open()]
    assert joined.summary["runs"]["seconds"] == pytest.approx(sum(times), abs=0.1)
    before = contents(out)
    assert not missing_tasks(plan, out)
    reproduce_table(plan, out, resume_from=earlier)
    assert contents(out) == before


def test_runs_that_are_not_of_this_table_are_not_taken_over(plan, tmp_path):
    reproduce_table(plan.with_repeats(1).only(["mnist-ratio2"]), tmp_path / "other")
    publish(ReproductionStudy, tmp_path / "other", tmp_path / "published")
    rest = plan.only(["mnist-ratio5"])
    with pytest.raises(InputError, match="holds no run of thesis-test with these images and settings"):
        reproduce_table(rest, tmp_path / "out", resume_from=tmp_path / "published")
    with pytest.raises(RunFolderError, match="give a folder that `publish` has filled"):
        reproduce_table(rest, tmp_path / "out", resume_from=tmp_path)
    for options, words in (({"only": ["mnist-ratio9"]}, "mnist-ratio9"), ({"backend": "slurm"}, "slurm")):
        with pytest.raises(UnknownNameError, match=words):
            reproduce_table(plan, tmp_path / "out", resume_from=tmp_path / "published", **options)
    kept = tmp_path / "published/runs.jsonl"
    first, second, *_ = kept.read_text().splitlines()
    for damaged, words in (
        (f"{first}\n[]\n", r"line 2 of .* is damaged: it is not a JSON object"),
        (f"{first[:50]}\n", r"line 1 of .* is damaged: it is not JSON"),
        (second.replace('"timings"', '"time"'), r"line 1 of .* is damaged: it lacks 'record.timings'"),
    ):
        kept.write_text(damaged)
        with pytest.raises(RunFolderError, match=words):
            reproduce_table(plan, tmp_path / "out", resume_from=tmp_path / "published")
    assert not (tmp_path / "out").exists()


def test_there_is_no_page_of_nothing(plan, tmp_path):
    with pytest.raises(InputError, match="leave out `render_only`"):
        reproduce_table(plan, tmp_path / "out", render_only=True)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("backend", "words"), [("slurm", "slurm"), ("dask", "distributed is not installed")])
def test_a_backend_that_is_not_there_leaves_nothing(plan, tmp_path, monkeypatch, backend, words):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=words):
        reproduce_table(plan, tmp_path / "out", backend=backend)
    assert not (tmp_path / "out").exists()


def test_lines_alone_and_fewer_draws_leave_the_rest_in_the_page(plan, tmp_path):
    line = "mnist-ratio5"
    first = reproduce_table(plan, tmp_path, only=(line,))
    assert set(first.table["setting"]) == {line}
    assert first.summary["runs"]["done"] == 6
    assert "6 of 12 runs are not done" in (tmp_path / "page.md").read_text()
    second = reproduce_table(plan.with_repeats(1), tmp_path, only=("mnist-ratio2",))
    runs = second.summary["runs"]
    assert (runs["planned"], runs["done"], runs["trainings"], runs["factor"]) == (12, 9, 8, 1.5)
    assert "mnist, ρ 2: bl 1 of 2 repeats" in (tmp_path / "page.md").read_text()
    draws = {(c["setting"], c["n"]) for c in second.summary["cells"]}
    assert draws == {(line, 2), ("mnist-ratio2", 1)}
    with pytest.raises(UnknownNameError, match="mnist-ratio7"):
        reproduce_table(plan, tmp_path, only=("mnist-ratio7",))


def test_what_is_published_is_the_results_without_the_runs(plan, tmp_path):
    out, target = tmp_path / "out", tmp_path / "results"
    target.mkdir()
    for name in ("ranks.png", "runs.jsonl"):
        (target / name).write_bytes(b"of an earlier table")
    reproduce_table(plan.with_repeats(1), out, only=("mnist-ratio2",))
    publish(ReproductionStudy, out, target)
    assert sorted(p.name for p in target.iterdir()) == [
        "lines.png",
        "page.html",
        "page.md",
        "results.csv",
        "runs.jsonl",
        "summary.json",
    ]
    for path in target.iterdir():
        assert path.read_bytes() == (out / path.name).read_bytes()


def test_a_failed_run_is_reported_and_the_others_go_on(plan, tmp_path, monkeypatch):
    def fail(run, *args, **kwargs):
        if run.method == "ados":
            raise RuntimeError("no room")
        return execute_run(run, *args, **kwargs)

    monkeypatch.setattr(planned_runs, "execute_run", fail)
    result = reproduce_table(plan.with_repeats(1), tmp_path)
    assert [f["method"] for f in result.summary["failed"]] == ["ados", "ados"]
    assert result.summary["runs"]["done"] == 4
    assert "no room" in (tmp_path / "page.html").read_text()


def test_a_folder_of_another_table_is_refused(plan, tmp_path):
    reproduce_table(plan.with_repeats(1), tmp_path, only=("mnist-ratio2",))
    with pytest.raises(RunFolderError, match="another table"):
        reproduce_table(replace(plan, cells=plan.cells[:1]), tmp_path)


@pytest.mark.parametrize(
    ("name", "words"),
    [("imagenet100", "imagenet100/train/CLASS"), ("intel", "intel.zip, or a folder intel/")],
)
def test_absent_images_are_asked_for_by_name_and_place(tmp_path, name, words):
    with pytest.raises(DataError, match=words) as error:
        find_source(name, tmp_path)
    assert str(tmp_path) in str(error.value)


def test_absent_house_numbers_are_asked_for_by_name_and_place(tmp_path):
    with pytest.raises(DataError, match=r"train_32x32\.mat and test_32x32\.mat"):
        plan_table(get_table("thesis-7.4"), data_dir=tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("backend", "package"), [("ray", "ray"), ("dask", "distributed")])
def test_a_cluster_gives_the_numbers_of_this_machine(plan, tmp_path, monkeypatch, backend, package):
    pytest.importorskip(package, reason=f"needs the extra `{backend}`")
    monkeypatch.setenv("RAY_worker_niceness", "0")  # beside other work, nice workers hardly run
    here = reproduce_table(plan.with_repeats(1), tmp_path / "here", jobs=2)
    there = reproduce_table(plan.with_repeats(1), tmp_path / "there", jobs=2, backend=backend)
    assert there.table.equals(here.table)


@pytest.mark.slow
def test_house_numbers_stand_in(tmp_path, monkeypatch):
    """Table 7.4 on noise in the files that SVHN comes in; not run on the real data."""
    from scipy.io import savemat

    monkeypatch.setattr("torchvision.datasets.svhn.check_integrity", lambda *args: True)
    monkeypatch.setattr("torchvision.datasets.SVHN._check_integrity", lambda self: True)
    generator = np.random.default_rng(0)
    for split, count in (("train", 100), ("test", 4)):
        labels = np.repeat(np.arange(1, 11), count)
        images = generator.integers(0, 256, (32, 32, 3, len(labels)), dtype=np.uint8)
        savemat(tmp_path / f"{split}_32x32.mat", {"X": images, "y": labels[:, None]})
    table = with_settings(get_table("thesis-7.4"), epochs=1, methods=("bl", "fs-smote", "ados"))
    plan = plan_table(table, repeats=1, subset=100, data_dir=tmp_path, device="cpu")
    result = reproduce_table(plan, tmp_path / "out")
    assert result.summary["runs"]["done"] == 12
    assert all(cell["mean"] is not None for cell in result.summary["cells"] if cell["method"] == "ados")
    assert "not run on the real data" in (tmp_path / "out/page.html").read_text()


def photographs(folder, counts, pixels):
    """Noise in folders as ImageNet's are."""
    generator = np.random.default_rng(0)
    for number, count in enumerate(counts):
        for split, images in (("train", count), ("test", 1)):
            place = folder / "imagenet100" / split / f"n{number:08d}"
            place.mkdir(parents=True)
            for image in range(images):
                noise = generator.integers(0, 256, (pixels, pixels, 3), dtype=np.uint8)
                Image.fromarray(noise).save(place / f"{image}.JPEG")


def test_absent_weights_are_asked_for_by_name_and_place(tmp_path):
    photographs(tmp_path, (4, 2), 40)
    with pytest.raises(DataError, match="put torchvision's vgg16 with its ImageNet weights there") as error:
        plan_table(get_table("thesis-7.5"), data_dir=tmp_path)
    assert str(tmp_path / "vgg16.pth") in str(error.value)


@pytest.mark.slow
def test_photographs_and_weights_stand_in(tmp_path):
    """Table 7.5 at its own size on noise and weights of the right shape; not run on the real data."""
    import torch
    from torchvision.models import vgg16

    photographs(tmp_path, (4, 4, 2), 256)
    state = {name: value for name, value in vgg16().state_dict().items() if name.startswith("features")}
    torch.save(state, tmp_path / "vgg16.pth")
    table = with_settings(get_table("thesis-7.5"), epochs=1, batch_size=5, methods=("bl", "ados"))
    plan = plan_table(table, repeats=1, data_dir=tmp_path, device="cpu")
    result = reproduce_table(plan, tmp_path / "out")
    assert result.summary["runs"]["done"] == 2
    own = [c for c in result.summary["cells"] if c["method"] == "ados" and c["difference"] is not None]
    assert {(c["classes"], c["metric"]) for c in own} >= {("minority", "recall"), ("all", "accuracy")}
    for reason in ("(batch_size, epochs, methods)", "10 training images of 3 classes, not 64740 of 100"):
        assert any(reason in words for words in result.summary["rehearsal"])
    assert "not run on the real data" in (tmp_path / "out/page.md").read_text()


@pytest.mark.parametrize(
    ("minority", "share"), [("4", 0.4), ("0.3", 0.3), ("0,2,5,8", 0.4), ("7", 0.7), (None, None)]
)
def test_the_share_of_rare_classes_follows_from_the_line(plan, minority, share):
    cell = plan.cells[0]
    changed = replace(cell, setting=cell.setting.model_copy(update={"minority": minority}))
    assert changed.minority_share == share


def test_a_page_shows_all_lines(plan, tmp_path):
    with pytest.raises(InputError, match="leave out `only`"):
        reproduce_table(plan, tmp_path, only=("mnist-ratio2",), render_only=True)
    assert not list(tmp_path.iterdir())


def test_images_with_two_labels_are_left_out_of_the_scenes(tmp_path):
    """Exact copies under two labels are in no split; every other image stays, in its order."""
    names = {}
    generator = np.random.default_rng(0)
    for split in ("train", "test"):
        for label in ("buildings", "street"):
            folder = tmp_path / "intel" / split / label
            folder.mkdir(parents=True)
            for number in (1, 2, 10408, 20805):
                path = folder / f"{number}.jpg"
                Image.fromarray(generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(path)
                names[f"{split}/{label}/{number}.jpg"] = path
    _, dataset = load_images("intel", data_dir=tmp_path)
    paths = [path for split in dataset.splits.values() for path in split.paths]
    gone = {name for name in names if not any(path.endswith(name) for path in paths)}
    assert gone == {"train/street/10408.jpg", "test/buildings/20805.jpg"}
    assert len(dataset.train) == len(dataset.test) == 7


@pytest.mark.slow
@pytest.mark.skipif(not (REAL_DATA / "intel.zip").exists(), reason="needs ../shared/data/intel.zip")
def test_no_scene_has_an_exact_copy_under_another_label():
    _, dataset = load_images("intel", data_dir=REAL_DATA)
    labels = {}
    for split in dataset.splits.values():
        for key, label in zip(split.content_keys().tolist(), split.labels.tolist(), strict=True):
            labels.setdefault(key, set()).add(label)
    assert {len(found) for found in labels.values()} == {1}
    assert sum(map(len, dataset.splits.values())) == 8741 + 2158 - 14


def test_lines_of_the_poster_are_balanced_first():
    for name in ("poster-1", "poster-2"):
        assert all(setting.balanced for setting in get_table(name).settings)
    assert not any(setting.balanced for setting in get_table("thesis-7.1").settings)
