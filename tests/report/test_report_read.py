"""Reading folders: means from results.csv, and one line for each way a folder can be broken."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from report_study_folder import write_run, write_study

from counterpoise.exceptions import RunFolderError, UnknownNameError
from counterpoise.files import locked_folder
from counterpoise.report.comparison import read_comparison, read_runs
from counterpoise.report.comparison_page import build_report
from counterpoise.report.headline import headline, warnings_of


@pytest.fixture
def study(study_folder: Path, tmp_path: Path) -> Path:
    """A copy that a test may break."""
    return shutil.copytree(study_folder, tmp_path / "study")


def edit(path: Path, change) -> None:
    value = json.loads(path.read_text(encoding="utf-8"))
    change(value)
    path.write_text(json.dumps(value), encoding="utf-8")


def fails(path: Path, match: str, tmp_path: Path) -> None:
    output = tmp_path / "out" / "report.html"
    with pytest.raises(RunFolderError, match=match) as caught:
        build_report([path], output)
    assert "\n" not in str(caught.value)
    assert not output.exists()


def test_a_disagreeing_summary_is_said_and_not_shown(study: Path) -> None:
    """results.csv is what is shown, and the false interval is not."""

    def raise_mean(summary: dict) -> None:
        summary["methods"][0]["scores"]["all"]["recall"]["mean"] += 0.01

    right = read_comparison(study).score("bl", "all", "recall")
    edit(study / "summary.json", raise_mean)
    read = read_comparison(study)
    assert read.score("bl", "all", "recall").mean == right.mean
    assert read.score("bl", "all", "recall").low is None
    assert any("disagree on 1 scores" in warning for warning in read.warnings)


def test_words_name_winner_losers_and_skipped_files(study_folder: Path) -> None:
    study = read_comparison(study_folder)
    text = " ".join([headline(study).title, *headline(study).sentences])
    plain = study.score("bl", "all", "gmean").mean
    assert "ADOS was chosen" in text
    assert f"baseline: {plain:.3f}" in text
    assert "unlikely to be chance" in text
    warnings = " ".join(warnings_of(study))
    assert "<b>Mixup</b> is worse than the baseline by 0.110 G-mean" in warnings
    assert "1 file was skipped" in warnings
    assert "never predicted" in warnings
    assert "repeat 9, failed: the loss became NaN" in warnings


def test_the_winner_is_taken_from_validation_not_test(study: Path) -> None:
    """Without a summary, the best on validation wins, however well another does on test."""
    runs = [study / "runs" / f"{method}-0" for method in ("bl", "ados")]
    edit(runs[0] / "metrics.json", lambda metrics: metrics["validation"]["all"].update(gmean=0.99))
    study = read_runs(runs)
    assert study.score("ados", "all", "gmean").mean > study.score("bl", "all", "gmean").mean
    assert study.winner == "bl"
    assert "none of the counter-measures" in " ".join(headline(study).sentences)


def test_runs_alone_give_means_over_their_draws(study_folder: Path) -> None:
    study = read_runs([study_folder / "runs" / f"ados-{draw}" for draw in (0, 1)])
    whole = read_comparison(study_folder).score("ados", "minority", "f1")
    own = study.score("ados", "minority", "f1")
    assert own.mean == pytest.approx(whole.mean, abs=1e-12)
    assert own.n == 2
    alone = read_runs([study_folder / "runs" / "ados-0"]).score("ados", "all", "f1")
    assert alone.low < alone.mean < alone.high
    assert (alone.n, alone.images) == (1, 240)


def test_an_unfinished_study_is_reported_as_far_as_it_goes(study: Path, tmp_path: Path) -> None:
    (study / "results.csv").unlink()
    (study / "summary.json").unlink()
    (study / "runs" / "bl-1" / "metrics.json").unlink()
    read = read_comparison(study)
    assert read.score("bl", "all", "f1").n == 1
    assert any("bl-1 is not finished" in warning for warning in read.warnings)
    assert build_report([study], tmp_path / "r.html").is_file()


def test_runs_that_results_csv_does_not_count_are_not_shown(study: Path) -> None:
    """An earlier comparison in the same folder may have had more draws."""
    path = study / "results.csv"
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if ",20.0,1," not in line]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert {run.record.draw for run in read_comparison(study).runs} == {0}


def test_a_run_under_way_is_not_read(study: Path, tmp_path: Path) -> None:
    """While it works, run.json says no more than that."""
    for name in ("bl-1", "ados-0"):
        (study / "runs" / name / "run.json").write_text(
            '{"format": 1, "status": "running", "config_hash": "0"}'
        )
    read = read_comparison(study)
    assert [(run.record.method, run.record.draw) for run in read.runs] == [
        ("bl", 0),
        ("ados", 1),
        ("mixup", 0),
        ("mixup", 1),
    ]
    fails(study / "runs" / "bl-1", "unfinished run", tmp_path)


def test_a_measured_ratio_may_differ_between_draws(study: Path) -> None:
    path = study / "results.csv"
    text = path.read_text(encoding="utf-8").replace(",step,", ",natural,").replace(",20.0,1,", ",20.125,1,")
    path.write_text(text, encoding="utf-8")
    assert read_comparison(study).repeats == 2


def test_an_empty_table_leaves_the_runs(study: Path) -> None:
    path = study / "results.csv"
    path.write_text(path.read_text(encoding="utf-8").splitlines()[0] + "\n", encoding="utf-8")
    assert any("holds no scores" in warning for warning in read_comparison(study).warnings)


def test_the_absence_of_plain_training_is_said(study_folder: Path) -> None:
    study = read_runs([study_folder / "runs" / name for name in ("ados-0", "mixup-0")])
    assert any("The baseline (bl) is not among" in warning for warning in warnings_of(study))


def test_the_large_files_of_a_run_may_be_missing(study: Path, tmp_path: Path) -> None:
    run = study / "runs" / "bl-0"
    for name in ("predictions.csv", "history.json", "embedding.json", "mistakes.json"):
        (run / name).unlink()
    edit(run / "metrics.json", lambda metrics: metrics["test"]["per_class"][0].update(auc=None))
    assert "This run kept no history" in build_report([run], tmp_path / "r.html").read_text(encoding="utf-8")


def test_validation_scores_serve_where_there_are_no_test_images(study: Path) -> None:
    run = study / "runs" / "bl-0"
    edit(run / "metrics.json", lambda metrics: metrics.update(test=None))
    read = read_runs([run])
    assert read.runs[0].scored_split == "validation"
    assert "On the validation images" in " ".join(headline(read).sentences)


def test_a_folder_as_output_gets_a_report_html(study_folder: Path, tmp_path: Path) -> None:
    assert build_report([study_folder / "runs" / "bl-0"], tmp_path) == tmp_path / "report.html"
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_many_classes_make_a_page_of_sane_size(tmp_path: Path) -> None:
    names = [f"class {index}" for index in range(60)]
    folder = write_study(tmp_path / "many", draws=1, names=names)
    size = build_report([folder], tmp_path / "r.html").stat().st_size
    assert size < 7.5e6


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("run.json", "{", "not valid JSON"),
        ("run.json", "[]", "no JSON object"),
        ("run.json", '{"status": "complete", "method": "bl", "dataset": {"classes": []}}', "dataset.classes"),
        (
            "metrics.json",
            '{"test": {"per_class": [], "confusion_matrix": [[1]], "all": {}}}',
            "confusion matrix",
        ),
        ("predictions.csv", "path,true,predicted,a\n", "does not have the columns"),
        ("history.json", "{}", "history.json is damaged: it is not a list"),
        ("embedding.json", '{"x": [1], "y": [], "label": [], "kind": []}', "equal length"),
        ("mistakes.json", '[{"true": 99, "predicted": 0}]', "class index 99"),
    ],
)
def test_a_broken_file_is_named(study: Path, tmp_path: Path, name: str, content: str, match: str) -> None:
    run = study / "runs" / "bl-0"
    (run / name).write_text(content, encoding="utf-8")
    fails(run, match, tmp_path)


def test_an_unknown_class_in_the_predictions_is_named(study: Path, tmp_path: Path) -> None:
    path = study / "runs" / "bl-0" / "predictions.csv"
    header, body = path.read_text(encoding="utf-8").split("\n", 1)
    path.write_text(header + "\n" + body.replace(",healthy,", ",sick,"), encoding="utf-8")
    fails(path.parent, "names a class 'sick'", tmp_path)


def test_a_probability_out_of_range_is_named(study: Path, tmp_path: Path) -> None:
    path = study / "runs" / "bl-0" / "predictions.csv"
    lines = path.read_text(encoding="utf-8").splitlines()
    lines[-1] = lines[-1].rsplit(",", 1)[0] + ",7.5"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    fails(path.parent, "predictions.csv.*7.5", tmp_path)


def test_folders_that_are_neither_kind_are_refused(study: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    fails(tmp_path / "empty", "neither run.json nor results.csv", tmp_path)
    fails(tmp_path / "nowhere", "does not exist", tmp_path)
    fails(study / "results.csv", "is a file", tmp_path)
    with pytest.raises(RunFolderError, match="nothing to report"):
        build_report([], tmp_path / "r.html")
    with pytest.raises(RunFolderError, match="give it alone"):
        build_report([study, study / "runs" / "bl-0"], tmp_path / "r.html")
    with pytest.raises(RunFolderError, match="both bl, repeat 0"):
        build_report(
            [study / "runs" / "bl-0", shutil.copytree(study / "runs" / "bl-0", tmp_path / "again")], tmp_path
        )
    write_run(tmp_path / "other", "bl", 0, ["a", "b", "c", "d"])
    with pytest.raises(RunFolderError, match="different classes"):
        build_report([study / "runs" / "bl-0", tmp_path / "other"], tmp_path / "r.html")


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        (",value", ",score", "lacks the column 'value'"),
        (",20.0,1,", ",40.0,1,", "holds 2 datasets or ratios"),
    ],
)
def test_results_that_cannot_be_averaged_are_refused(
    study: Path, tmp_path: Path, old: str, new: str, match: str
) -> None:
    path = study / "results.csv"
    path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    fails(study, match, tmp_path)


def test_a_class_called_all_does_not_change_the_overall_score(study: Path) -> None:
    """The group's rows come first, and a class of the same name must not be averaged into them."""
    before = read_comparison(study).score("bl", "all", "recall").mean
    with (study / "results.csv").open("a", encoding="utf-8") as handle:
        handle.write("moles <1>,step,20.0,0,7,bl,all,recall,0.0\n")
    assert read_comparison(study).score("bl", "all", "recall").mean == before


def test_a_metric_that_is_not_in_the_catalog_is_refused(study: Path) -> None:
    edit(study / "summary.json", lambda summary: summary.update(metric="gmeen"))
    with pytest.raises(UnknownNameError, match="unknown metric 'gmeen'; did you mean 'gmean'"):
        read_comparison(study)
    edit(study / "summary.json", lambda summary: summary.update(metric="gmean"))
    with (study / "results.csv").open("a", encoding="utf-8") as handle:
        handle.write("moles <1>,step,20.0,0,7,bl,all,f2,0.5\n")
    with pytest.raises(UnknownNameError, match="unknown metric 'f2'"):
        read_comparison(study)


def test_a_running_run_is_told_from_a_failed_one(study: Path) -> None:
    for name in ("bl-1", "ados-0"):
        (study / "runs" / name / "run.json").write_text('{"format": 1, "config_hash": "0"}', encoding="utf-8")
    failure = {"type": "TrainingError", "text": "the loss became nan", "traceback": "", "seconds": 1.0}
    (study / "runs" / "ados-0" / "failure.json").write_text(json.dumps(failure), encoding="utf-8")
    with locked_folder(study / "runs" / "bl-1"):
        warnings = read_comparison(study).warnings
    assert "The run bl-1 is still running and is left out." in warnings
    assert "The run ados-0 is not finished (the loss became nan) and is left out." in warnings


def test_equal_input_gives_equal_pages(study_folder: Path, tmp_path: Path) -> None:
    first, second = (
        build_report([study_folder], tmp_path / name).read_bytes() for name in ("a.html", "b.html")
    )
    assert first == second
    data = first.partition(b'id="report-data"')[2].partition(b"</script>")[0]
    assert b'"x":[' in data
    assert b"bdata" not in data  # numbers are lists, not packed arrays
