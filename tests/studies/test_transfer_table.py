"""The lecture's study as a table: resuming, publishing, what is run of what is asked for, pages and archives."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pandas as pd
import pytest
from bars import make_dataset
from PIL import Image

from counterpoise.config import ReproduceConfig
from counterpoise.evaluation import scores_to_rows
from counterpoise.exceptions import InputError, RunFolderError, UnknownNameError
from counterpoise.report import signed
from counterpoise.runs import read_trainings, write_lines
from counterpoise.studies import ReproductionStudy, publish, run_study
from counterpoise.studies.reproduce import transfer as module
from counterpoise.studies.reproduce.tables import Setting, Table, get_table
from counterpoise.studies.reproduce.transfer import _earlier_commands, reproduce_transfer
from counterpoise.studies.transfer import study as study_module

LINE = {"split": "random", "network": "alexnet8", "epochs": 2, "batch_size": 16, "layers": "2,7"}
TABLE = Table(
    name="lecture-test",
    title="A small study",
    paper="a lecture",
    study="transfer",
    repeats=2,
    settings=(
        Setting(**LINE, data="fashion-mnist", images_per_class=8, source_images_per_class=20, repeats=1),
        Setting(**LINE, data="mnist", images_per_class=12, source_images_per_class=24),
    ),
    notes=("Small.",),
)
SHORT, LONG = (setting.name for setting in TABLE.settings)
FILES = ("results.csv", "runs.jsonl", "summary.json", "page.md", "page.html", f"{SHORT}.png", f"{LONG}.png")


def reproduce(out, **options):
    events = []
    summary = reproduce_transfer(
        TABLE,
        ReproduceConfig.of(**{"table": TABLE.name, "device": "cpu"} | options),
        out,
        lambda study, folder: run_study(study, folder, on_event=events.append),
        command="counterpoise reproduce lecture-test",
    )
    return summary, events


@pytest.fixture(autouse=True)
def bars(monkeypatch):
    monkeypatch.setattr(module, "load_images", lambda *args, **options: ("bars", make_dataset()))


@pytest.fixture
def trained(monkeypatch):
    """Names of the trainings that were executed."""
    names = []
    real = study_module.train_stage

    def train(stage, *rest):
        names.append(stage.checkpoint.stem)
        return real(stage, *rest)

    monkeypatch.setattr(study_module, "train_stage", train)
    return names


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "load_images", lambda *args, **options: ("bars", make_dataset()))
        out = tmp_path_factory.mktemp("table") / "out"
        summary, _ = reproduce(out)
    return out, summary


def archive(folder):
    return [json.loads(line) for line in (folder / "runs.jsonl").read_text().splitlines()]


def name_of(record):
    return record["draw"], record["name"]


def test_the_lectures_table_has_eight_random_splits_and_all_layers():
    table = get_table("lecture-transfer")
    assert {s.split: s.repeats or table.repeats for s in table.settings} == {"natural": 2, "random": 8}
    assert {s.layers for s in table.settings} == {"1..7"}


def test_results_are_the_archive_in_long_format_to_the_byte(whole):
    out, summary = whole
    records = archive(out)
    assert len(records) == summary["runs"]["done"] == summary["runs"]["planned"] == 10 + 20
    rows = [
        {"table": "lecture-test", "setting": name, "dataset": "bars", "split": "random"}
        | {key: record[key] for key in ("draw", "seed", "treatment", "layers")}
        | row
        for name, record in zip([SHORT] * 10 + [LONG] * 20, records, strict=True)
        for row in scores_to_rows(record["scores"])
    ]
    assert pd.DataFrame(rows).to_csv(index=False) == (out / "results.csv").read_text()
    with (out / "results.csv").open(newline="") as file:
        assert [float(row["value"]) for row in csv.DictReader(file)] == [row["value"] for row in rows]


def test_the_archive_is_read_and_written_again_to_the_byte(whole, tmp_path):
    out, _ = whole
    write_lines(tmp_path / "again.jsonl", [record.raw for record in read_trainings(out / "runs.jsonl")])
    assert (tmp_path / "again.jsonl").read_bytes() == (out / "runs.jsonl").read_bytes()


def test_a_published_folder_resumes_with_what_is_absent_to_the_same_bits(whole, tmp_path, trained):
    reproduce(tmp_path / "there", repeats=1)
    publish(ReproductionStudy, tmp_path / "there", tmp_path / "published")
    assert sorted(p.name for p in (tmp_path / "published").iterdir()) == sorted(FILES)
    first, here = list(trained), tmp_path / "here"
    trained.clear()
    summary, _ = reproduce(here, resume_from=tmp_path / "published")
    assert len(first) == 20
    assert len(trained) == 10
    assert all(name.startswith("draw001-") for name in trained)
    assert (here / "results.csv").read_bytes() == (whole[0] / "results.csv").read_bytes()
    assert summary["studies"][LONG]["curves"] == whole[1]["studies"][LONG]["curves"]
    assert (summary["runs"]["done"], summary["runs"]["earlier"]) == (30, 20)
    trained.clear()
    reproduce(here, resume_from=tmp_path / "published")
    assert trained == []


def test_a_base_is_trained_again_only_for_what_starts_from_it(whole, tmp_path, trained):
    publish(ReproductionStudy, whole[0], tmp_path / "published")
    left = [r for r in archive(whole[0]) if name_of(r) != (1, "A7B")]
    write_lines(tmp_path / "published/runs.jsonl", left)
    reproduce(tmp_path / "here", resume_from=tmp_path / "published")
    assert trained == ["draw001-baseA", "draw001-A7B"]
    assert (tmp_path / "here/results.csv").read_bytes() == (whole[0] / "results.csv").read_bytes()


KILLED = """
    import os
    os.environ["OMP_NUM_THREADS"] = "1"
    import sys
    from pathlib import Path
    sys.path[:0] = {paths!r}
    import test_transfer_table as tests
    tests.module.load_images = lambda *args, **options: ("bars", tests.make_dataset())
    tests.reproduce(Path({out!r}))
"""


@pytest.mark.slow
def test_a_killed_table_resumes_and_leaves_whole_repeats(whole, tmp_path, trained):
    out, script = tmp_path / "killed", tmp_path / "script.py"
    paths = [str(Path(__file__).parent), *(str(Path(__file__).parents[1] / n) for n in (".", "helpers"))]
    script.write_text(textwrap.dedent(KILLED).format(paths=paths, out=str(out)))
    process = subprocess.Popen([sys.executable, str(script)], start_new_session=True)
    try:
        deadline = time.monotonic() + 180
        while len(list(out.glob("*/cells/*.json"))) < 22 and time.monotonic() < deadline:
            time.sleep(0.02)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    done = len(list(out.glob("*/cells/*.json")))
    assert 22 <= done < 30
    assert not (out / "results.csv").exists()
    page, _ = reproduce(out, render_only=True)
    assert trained == []
    assert (page["studies"][LONG]["done"], page["studies"][LONG]["planned"]) == (1, 2)
    assert page["studies"][LONG]["draws"] == 1
    words = (out / "page.md").read_text()
    assert f"{LONG}: 1 of 2 repeats." in words
    assert "counterpoise reproduce lecture-test --resume-from DIR --export-to DIR" in words
    reproduce(out)
    assert len(trained) == 30 - done
    assert (out / "results.csv").read_bytes() == (whole[0] / "results.csv").read_bytes()


def test_one_repeat_is_whole_before_the_bases_of_the_next_are_trained(tmp_path, trained):
    reproduce(tmp_path / "out", only=LONG)
    assert [name[:7] for name in trained] == ["draw000"] * 10 + ["draw001"] * 10


def test_lines_alone_and_fewer_repeats_leave_the_rest_in_the_page(whole, tmp_path, trained):
    out = tmp_path / "out"
    summary, _ = reproduce(out, only=SHORT, repeats=2)
    assert len(trained) == 20
    assert {n: (s["done"], s["planned"]) for n, s in summary["studies"].items()} == {
        SHORT: (2, 2),
        LONG: (0, 2),
    }
    assert not (out / f"{LONG}.png").exists()
    summary, _ = reproduce(out, repeats=1)
    assert len(trained) == 20 + 10
    assert {n: (s["done"], s["planned"]) for n, s in summary["studies"].items()} == {
        SHORT: (2, 2),
        LONG: (1, 2),
    }


def test_bad_options_are_refused_before_anything_is_trained(whole, tmp_path, trained):
    out = tmp_path / "out"
    with pytest.raises(UnknownNameError, match="mnist-natural"):
        reproduce(out, only="mnist-natural")
    with pytest.raises(InputError, match="leave out `render_only`"):
        reproduce(out, render_only=True)
    publish(ReproductionStudy, whole[0], tmp_path / "other")
    write_lines(tmp_path / "other/runs.jsonl", [r | {"identity": "0"} for r in archive(whole[0])])
    with pytest.raises(InputError, match="holds no run of lecture-test with these images and settings"):
        reproduce(out, resume_from=tmp_path / "other")
    assert trained == []
    assert not out.exists()
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(RunFolderError, match="is not empty"):
        reproduce(tmp_path)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda line: line[:40], "line 2 of .* is damaged: it is not JSON"),
        (lambda line: "[]", "line 2 of .* is damaged: it is not a JSON object"),
        (lambda line: line.replace('"treatment"', '"treat"'), "line 2 of .* it lacks 'treatment'"),
        (lambda line: line.replace('"baseB"', '"baseC"', 1), "line 2 of .* is damaged: treatment"),
        (lambda line: line.replace('"draw": 0', '"draw": -1'), "line 2 of .* is damaged: draw"),
        (lambda line: line.replace('"all"', '"some"'), "line 2 of .* it lacks 'scores.all'"),
    ],
)
def test_a_damaged_line_of_an_archive_is_named(whole, tmp_path, damage, words, trained):
    publish(ReproductionStudy, whole[0], tmp_path / "published")
    path = tmp_path / "published/runs.jsonl"
    first, second, *rest = path.read_text().splitlines()
    path.write_text("\n".join([first, damage(second), *rest]))
    with pytest.raises(RunFolderError, match=words):
        reproduce(tmp_path / "out", resume_from=tmp_path / "published")
    assert trained == []
    assert not (tmp_path / "out").exists()


def test_pages_show_every_number_with_its_interval(whole):
    out, summary = whole
    for page in ("page.md", "page.html"):
        words = (out / page).read_text()
        for study in summary["studies"].values():
            for point in study["curves"]:
                assert f"{point['mean']:.3f}" in words
                if point["n"] > 1:
                    assert f"± {(point['high'] - point['low']) / 2:.3f}" in words
        assert "Small." in words
        assert "mnist is not the real one here" in words
        assert all(
            finding["claim"] in words for s in summary["studies"].values() for finding in s["findings"]
        )
    assert f"![Accuracy on B over the number of copied layers]({LONG}.png)" in (out / "page.md").read_text()
    assert (out / "page.html").read_text().count("data:image/png;base64,") == 2
    assert "To resume" not in (out / "page.md").read_text()


def test_the_documents_take_numbers_and_figures_of_a_published_table(whole, documents, tmp_path):
    out, summary = whole
    publish(ReproductionStudy, out, tmp_path / "lecture-test")
    blocks = dict(documents.transfer_blocks(tmp_path / "lecture-test", tmp_path / "docs"))
    assert list(blocks) == [f"lecture-test-{SHORT}", f"lecture-test-{LONG}"]
    for name, study in summary["studies"].items():
        block = blocks[f"lecture-test-{name}"]
        assert all(f"{point['mean']:.3f}" in block for point in study["curves"])
        assert all(signed(point["difference"]["mean"]) in block for point in study["curves"][2:])
        assert all(finding["claim"] in block for finding in study["findings"])
        with Image.open(tmp_path / f"docs/studies/lecture-test-{name}.png") as picture:
            assert picture.width > 1000
    assert "1 of 1 repeats" in blocks[f"lecture-test-{SHORT}"]


def test_the_commands_of_earlier_results_stay_in_the_record(tmp_path):
    for name, commands in (("one", ["a", "b"]), ("other", ["b", "c"]), ("none", None)):
        (tmp_path / name).mkdir()
        if commands is not None:
            (tmp_path / name / "summary.json").write_text(json.dumps({"commands": commands}))
    assert _earlier_commands(tmp_path / "one", None, tmp_path / "none", tmp_path / "other") == ["a", "b", "c"]
