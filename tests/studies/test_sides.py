"""Published numbers, their contradictions, ranks, findings, and the page, against numbers worked out by hand."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from typed import faults

from counterpoise.evaluation import critical_difference, rank_methods
from counterpoise.methods import get_method
from counterpoise.studies.engine.tasks import Failure, Outcome
from counterpoise.studies.published import Published, published_numbers
from counterpoise.studies.reproduce.contradictions import find_contradictions
from counterpoise.studies.reproduce.figures import draw_lines, draw_ranks
from counterpoise.studies.reproduce.findings import POSTER_CLAIMS, find
from counterpoise.studies.reproduce.page import (
    claims_table,
    closeness,
    contradictions,
    easier,
    missing,
    number_tables,
    ranks_table,
    verdicts,
    write_pages,
)
from counterpoise.studies.reproduce.plan import TableLine
from counterpoise.studies.reproduce.side_by_side import (
    Side,
    agreement,
    best_of,
    record_name,
    side_by_side,
)
from counterpoise.studies.reproduce.summary import TableSummary, ranks_of, summarize
from counterpoise.studies.reproduce.tables import all_tables, get_table

METHODS_TABLES = [table.name for table in all_tables() if table.study == "methods"]


def results(table, values):
    """A results table: (setting, method) -> values of the draws, the same for every group and score."""
    rows = [
        {"table": table.name, "setting": setting, "method": method, "draw": draw, "value": value}
        | {"classes": classes, "metric": metric}
        for (setting, method), own in values.items()
        for draw, value in enumerate(own)
        for classes in ("all", "minority")
        for metric in ("recall", "f1", "gmean")
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize("name", METHODS_TABLES)
def test_every_published_number_is_of_a_line_and_every_method_is_known(name):
    table = get_table(name)
    lines = {setting.name for setting in table.settings}
    numbers = published_numbers(table.name)
    assert numbers
    # The poster defines linear imbalance and gives no number of it.
    ours_alone = {setting.name for setting in table.settings if setting.imbalance == "linear"}
    assert {number.setting for number in numbers} == lines - ours_alone
    ours = {record_name(m) for setting in table.settings for m in setting.methods}
    for number in numbers:
        assert 0 <= number.value <= 1
        assert number.method in ours
    for method in {m for setting in table.settings for m in setting.methods}:
        get_method(method)


def test_numbers_of_the_papers_are_where_they_belong():
    found = {number[:4]: number.value for number in published_numbers("thesis-7.2")}
    assert found["fashion-mnist-ratio100", "ados", "all", "gmean"] == 0.803
    found = {number[:4]: number.value for number in published_numbers("poster-1")}
    assert found["cifar10-mu0.8-ratio60", "aos", "all", "f1"] == 0.5118
    found = {number[:4]: number.value for number in published_numbers("thesis-1.1")}
    assert found["mnist-ratio100", "bl", "5", "recall"] == 0.826


def test_the_average_recall_of_table_72_at_ratio_100_contradicts_itself():
    found = find_contradictions(published_numbers("thesis-7.2"), minority_share=0.4)
    flagged = {(c["setting"], c["method"], c["classes"], c["metric"]): c for c in found}
    own = flagged["fashion-mnist-ratio100", "ados", "all", "recall"]
    assert own["value"] == 0.820
    assert own["expected"] == pytest.approx(0.6 * 0.908 + 0.4 * 0.746)


def test_what_rounding_explains_is_no_contradiction():
    def numbers(value):
        cells = {"majority": 0.9, "minority": 0.5, "all": value}
        return [Published("line", "bl", group, "recall", v) for group, v in cells.items()]

    assert find_contradictions(numbers(0.741), minority_share=0.4) == []
    assert len(find_contradictions(numbers(0.742), minority_share=0.4)) == 1
    assert find_contradictions(numbers(0.2)) == []  # without the share nothing follows


def test_an_f1_score_above_what_recall_allows_is_flagged():
    cells = {"recall": 0.5, "precision": 0.6, "f1": 0.56}
    found = find_contradictions(Published("line", "bl", "all", metric, v) for metric, v in cells.items())
    assert [(c["metric"], round(c["expected"], 4)) for c in found] == [("f1", 0.5455)]


def test_ranks_of_demsars_example():
    # Demsar 2006, Table 6: AUC of four variants of C4.5 on 14 data sets.
    auc = """.763 .768 .771 .798; .599 .591 .590 .569; .954 .971 .968 .967; .628 .661 .654 .657
        .882 .888 .886 .898; .936 .931 .916 .931; .661 .668 .609 .685; .583 .583 .563 .625
        .775 .838 .866 .875; 1.000 1.000 1.000 1.000; .940 .962 .965 .962; .619 .666 .614 .669
        .972 .981 .9751 .975; .957 .978 .946 .970"""
    values = np.array([[float(v) for v in row.split()] for row in auc.replace("\n", ";").split(";")])
    ranks = rank_methods(["C4.5", "C4.5+m", "C4.5+cf", "C4.5+m+cf"], values)
    assert ranks.blocks == 14
    assert np.round(ranks.mean, 3).tolist() == [3.143, 2.0, 2.893, 1.964]
    assert ranks.critical_difference == pytest.approx(critical_difference(4, 14))
    assert round(ranks.critical_difference, 2) == 1.25
    assert ranks.p_value is not None
    assert ranks.p_value < 0.05
    assert ranks.cliques == [(0, 3)]  # 3.143 - 1.964 = 1.179


def test_one_block_has_ranks_and_nothing_that_needs_more():
    ranks = rank_methods(["a", "b", "c"], np.array([[0.1, 0.3, 0.3]]))
    assert ranks.mean == (3.0, 1.5, 1.5)
    assert ranks.p_value is None
    assert ranks.critical_difference is None


def test_sides_are_published_ours_and_their_difference():
    table = get_table("poster-2")
    sides = side_by_side(
        table,
        results(table, {("cifar10-mu0.3-ratio500", "aos:eps=0.1"): [0.40, 0.44, 0.48]}),
    )
    (side,) = [s for s in sides if s.setting == "cifar10-mu0.3-ratio500" and s.method == "aos"]
    assert side.published == 0.4541
    assert side.mean == pytest.approx(0.44)
    assert side.difference == pytest.approx(0.44 - 0.4541)
    assert (side.high - side.low) / 2 == pytest.approx(4.302653 * 0.04 / 3**0.5)  # t(2) at 97.5 %
    (missing,) = [s for s in sides if s.setting == "mnist-mu0.3-ratio500" and s.method == "aos"]
    assert (missing.published, missing.mean, missing.difference, missing.n) == (0.9292, None, None, 0)


def cell(method, published, mean, low, high, n, setting="line"):
    return Side(setting, method, "all", "f1", published, mean, low, high, n)


def test_a_published_number_is_held_against_the_range_of_one_more_draw():
    # Draws 0.70, 0.74, 0.78: s = 0.04, t(2) = 4.302653; mean +- t s / sqrt(3), one more draw +- t s sqrt(4/3).
    half = 4.302653 * 0.04 / 3**0.5
    three = cell("a", 0.60, 0.74, 0.74 - half, 0.74 + half, 3)
    assert three.of_one_draw == pytest.approx((0.74 - 4.302653 * 0.04 * (4 / 3) ** 0.5, 0.93873), abs=1e-5)
    sides = [
        three,  # inside, though outside of the interval of the mean
        cell("a", 0.50, 0.74, 0.74 - half, 0.74 + half, 3),
        cell("b", 0.95, 0.74, 0.74 - half, 0.74 + half, 3),
        cell("b", 0.70, 0.74, None, None, 1),
        cell("b", None, 0.74, None, None, 1),
    ]
    whole, one, other = agreement(sides)
    assert (whole["compared"], whole["judged"], whole["inside"], whole["above"], whole["below"]) == (
        4,
        3,
        1,
        1,
        1,
    )
    assert whole["difference"] == pytest.approx((0.14 + 0.24 - 0.21 + 0.04) / 4)
    assert whole["spread"] == pytest.approx((0.14 + 0.24 + 0.21 + 0.04) / 4)
    assert (one["method"], one["compared"], other["method"], other["compared"]) == ("a", 2, "b", 2)


def test_the_same_method_is_best_only_among_those_that_have_both_numbers():
    row = [
        cell("a", 0.9, 0.80, None, None, 1),
        cell("b", 0.8, 0.80, None, None, 1),
        cell("c", None, 0.95, None, None, 1),
    ]
    (best,) = best_of(row)
    assert (best["published"], best["ours"], best["same"]) == (("a",), ("c",), True)
    (best,) = best_of([row[0]._replace(mean=0.7), *row[1:]])
    assert best["same"] is False
    (best,) = best_of([row[0], row[2]])
    assert best["same"] is None


def test_lines_that_are_not_finished_are_not_ranked():
    sides = [
        cell("a", 0.9, 0.8, None, None, 1, "first"),
        cell("b", 0.8, 0.9, None, None, 1, "first"),
        cell("a", 0.9, 0.8, None, None, 1, "second"),
        cell("b", 0.8, None, None, None, 0, "second"),
        cell("c", 0.8, 0.9, None, None, 1, "second"),
    ]
    ours = ranks_of(sides, "all", "f1")
    assert (ours.methods, ours.mean, ours.blocks) == (("a", "b"), (2.0, 1.0), 1)
    published = ranks_of(sides, "all", "f1", of="published")
    assert (published.mean, published.blocks) == ((1.0, 2.0), 2)


def claims_frame(table):
    noise = np.array([0.0, 0.2, -0.2])  # of the draw, the same for both methods
    return results(
        table,
        {
            ("fashion-mnist-ratio10", "ados"): 0.7 + noise,
            ("fashion-mnist-ratio10", "fs-smote"): 0.6 + noise + [0.0, 0.01, -0.01],
            ("fashion-mnist-ratio10", "bl-cw"): 0.7 + noise + [0.01, -0.03, 0.03],
            ("fashion-mnist-ratio100", "ados"): 0.75 + noise + [0.0, 0.01, -0.01],
            ("fashion-mnist-ratio100", "fs-smote"): 0.5 + noise,
            ("fashion-mnist-ratio100", "counterpoise"): 0.77 + noise + [0.0, 0.005, -0.005],
        },
    )


def test_findings_are_paired_and_say_when_they_are_not_sure():
    table = get_table("thesis-7.2")
    frame = claims_frame(table)
    sides = side_by_side(table, frame)
    found = {(f["claim"], f["where"], f["score"]): f for f in find(table, sides, frame)}
    over = found["ados over fs-smote (equal epochs)", "fashion-mnist, ρ 10", "F1"]
    assert (over["verdict"], over["n"], over["main"]) == ("confirmed", 3, False)
    assert over["difference"] == pytest.approx(0.1)
    run = "mean of 2 of 4 lines; not run: fashion-mnist, ρ 20; fashion-mnist, ρ 40"
    mean = found["ados over fs-smote (equal epochs)", run, "F1"]
    assert (mean["verdict"], mean["main"]) == ("confirmed", True)
    assert mean["difference"] == pytest.approx((0.1 + 0.25) / 2)
    assert found["ados over bl-cw (equal epochs)", "fashion-mnist, ρ 10", "F1"]["verdict"] == "not decided"
    assert found["ados over fs-smote (equal epochs)", "fashion-mnist, ρ 20", "F1"]["verdict"] == "not run"
    others = {f["claim"].split()[2] for f in find(table, sides, frame) if f["kind"] == "order"}
    assert others == {side.method for side in sides} - {"ados", "counterpoise"}
    step = found["ados declines", "ρ 10 to ρ 20", "F1"]
    assert (step["verdict"], step["main"]) == ("not run", False)
    between = "ρ 10 to ρ 100"
    assert found["ados declines", between, "G-mean"]["verdict"] == "refuted"
    assert found["fs-smote declines", between, "G-mean"]["difference"] == pytest.approx(0.1)
    less = found["ados declines less than fs-smote", between, "G-mean"]
    assert (less["verdict"], less["difference"]) == ("confirmed", pytest.approx(0.15))
    assert found["bl declines", between, "F1"]["verdict"] == "not run"
    assert ("counterpoise declines", "ρ 40 to ρ 100", "F1") in found


def test_the_recipe_is_held_against_the_best_published_and_the_best_measured():
    table = get_table("thesis-7.2")
    frame = claims_frame(table)
    sides = side_by_side(table, frame)
    found = {(f["claim"], f["where"], f["score"]): f for f in find(table, sides, frame)}
    line = "fashion-mnist, ρ 100"
    published = found["counterpoise over best published", line, "G-mean"]
    assert (published["verdict"], published["than"]) == ("not decided", "ados, 0.803")
    assert published["difference"] == pytest.approx(0.77 - 0.803)
    measured = found["counterpoise over best other here", line, "G-mean"]
    assert (measured["verdict"], measured["than"]) == ("confirmed", "ados, 0.750")
    assert measured["difference"] == pytest.approx(0.02)
    assert found["counterpoise over best published", "fashion-mnist, ρ 40", "F1"]["verdict"] == "not run"
    lines = {key[1] for key in found if key[0] == "counterpoise over best published"}
    assert lines == {setting.title for setting in table.settings}


def poster_frame(table, **gains):
    """Three repeats of every line: bl .5, ros .5 and aos as much above it as `gains` says of the share."""
    values, noise = {}, np.array([0.0, 0.001, -0.001])
    for setting in table.settings:
        gain = gains.get(f"mu{setting.minority}".replace(".", "_"), 0.0) if setting.minority else 0.0
        for method, above in (("bl", 0.0), ("ros", 0.0), ("aos", gain)):
            values[setting.name, method] = 0.5 + above + noise * (1 + above)
    return results(table, values)


def test_the_recipe_counts_on_every_line_whatever_its_ratio():
    table = get_table("poster-1")
    lines = {(s.name, "counterpoise"): [0.6, 0.61, 0.62] for s in table.settings}
    frame = pd.concat([poster_frame(table), results(table, lines)])
    found = [f for f in find(table, side_by_side(table, frame), frame) if f["kind"] == "recipe-published"]
    assert [f["where"] for f in found] == [s.title for s in table.settings]
    assert {f["verdict"] for f in found if f["where"].startswith("intel")} >= {"refuted"}
    assert "not run" not in {f["verdict"] for f in found}


def test_a_line_on_which_the_baseline_is_above_the_best_published_number_proves_nothing(tmp_path):
    table = get_table("thesis-7.2")
    easy, hard = "fashion-mnist-ratio40", "fashion-mnist-ratio100"
    frame = results(
        table,
        {(line, "bl"): [value, value + 0.01] for line, value in ((easy, 0.9), (hard, 0.4))}
        | {(line, "counterpoise"): [0.95, 0.96] for line in (easy, hard)},
    )
    sides = side_by_side(table, frame)
    found = {
        (f["where"], f["score"]): f for f in find(table, sides, frame) if f["kind"] == "recipe-published"
    }
    assert {f["verdict"] for (where, _), f in found.items() if where.endswith("ρ 40")} == {"not meaningful"}
    assert found["fashion-mnist, ρ 100", "F1"]["verdict"] == "confirmed"
    summary = summary_of(table, frame)
    (reason,) = easier(summary)
    assert "not meaningful on fashion-mnist, ρ 40: the baseline alone is above it" in reason
    # Of bl the published numbers by recall, F1 and G-mean of the rare classes and of all: all are below 0.9.
    assert "6 of 6 numbers of the paper's own methods are above the published ones" in reason
    write_pages(summary, tmp_path)
    assert reason in (tmp_path / "page.md").read_text()
    assert easier(summary_of(table, frame[frame.setting == hard])) == []
    sentences = "\n".join(verdicts(summary))
    assert "of 16 comparisons 4 confirmed, 4 not meaningful, 8 not run" in sentences


def test_the_recipe_is_held_against_other_methods_also_where_nothing_is_published():
    table = get_table("poster-1")
    extra = table.settings[1].model_copy(update={"imbalance": "linear", "minority": None, "ratio": 7.0})
    table = table.model_copy(update={"settings": (*table.settings, extra)})
    frame = results(table, {(extra.name, "bl"): [0.5, 0.6], (extra.name, "counterpoise"): [0.6, 0.7]})
    found = {
        f["kind"]: f for f in find(table, side_by_side(table, frame), frame) if f["where"] == extra.title
    }
    assert found["recipe-measured"]["difference"] == pytest.approx(0.1)
    assert "recipe-published" not in found


def test_methods_that_were_not_run_are_named_by_their_claims():
    table = get_table("poster-2")
    frame = poster_frame(table)
    found = {f["claim"]: f for f in find(table, side_by_side(table, frame), frame)}
    for claim in (
        "ros over bl-equal-steps (equal steps)",
        "aos over bl-equal-steps (equal steps)",
        "bl over smote-pixels (equal epochs)",
        "ros over smote-pixels (equal steps)",
    ):
        assert (found[claim]["verdict"], found[claim]["where"], found[claim]["n"]) == (
            "not run",
            "5 lines",
            0,
        )
    variants = {
        (s.name, m): [v] * 3
        for s in table.settings
        for m, v in (("bl-equal-steps", 0.3), ("smote-pixels", 0.2))
    }
    frame = pd.concat([frame, results(table, variants)])
    found = {(f["claim"], f["where"]): f for f in find(table, side_by_side(table, frame), frame)}
    whole = "mean of 5 of 5 lines"
    assert found["ros over bl-equal-steps (equal steps)", whole]["difference"] == pytest.approx(0.2)
    assert found["ros over smote-pixels (equal steps)", whole]["verdict"] == "confirmed"
    assert found["bl-equal-steps over smote-pixels (equal steps)", whole]["difference"] == pytest.approx(0.1)


def test_whether_the_gain_grows_with_the_share_of_rare_classes_takes_every_line():
    table = get_table("poster-1")
    frame = poster_frame(table, mu0_4=0.01, mu0_6=0.05, mu0_8=0.06)
    found = [f for f in find(table, side_by_side(table, frame), frame) if f["kind"] == "growth"]
    whole, intel, cifar = found
    assert whole["where"] == "mean of 2 of 2 datasets"
    assert intel["where"] == "intel, ρ 20, μ 0.4 to 0.8, 3 of 3 lines"
    assert cifar["where"] == "cifar10, ρ 60, μ 0.4 to 0.8, 3 of 3 lines"
    # Slope of .01, .05, .06 over .4, .6, .8, times .4.
    assert intel["difference"] == pytest.approx(np.polyfit([0.4, 0.6, 0.8], [0.01, 0.05, 0.06], 1)[0] * 0.4)
    assert {f["verdict"] for f in found} == {"confirmed"}
    few = frame[frame.setting != "intel-mu0.6-ratio20"]
    found = [f for f in find(table, side_by_side(table, few), few) if f["kind"] == "growth"]
    assert found[1]["where"] == "intel, ρ 20, μ 0.4 to 0.8, 2 of 3 lines"
    none = frame[frame.method != "aos"]
    found = [f for f in find(table, side_by_side(table, none), none) if f["kind"] == "growth"]
    assert [f["verdict"] for f in found] == ["not run"]


def test_repeats_that_a_line_lacks_are_named_in_the_mean():
    table = get_table("poster-2")
    frame = poster_frame(table)
    frame = frame[(frame.setting != "mnist-mu0.3-ratio500") | (frame.draw < 2)]
    found = {f["where"] for f in find(table, side_by_side(table, frame), frame) if f["main"]}
    assert "mean of 5 of 5 lines, in 2 of 3 repeats" in found


def test_equal_steps_are_equal_steps_and_equal_epochs_are_not():
    labels = np.repeat(np.arange(3), [40, 12, 6])
    images = np.random.default_rng(0).integers(0, 256, (len(labels), 1, 4, 4)).astype(np.uint8)
    lengths = {}
    for method in ("ros", "aos", "smote-pixels"):
        sampler = get_method(method).sampler.load()(random_state=0)
        lengths[method] = len(sampler.fit_resample(images, labels)[1])
    assert lengths == dict.fromkeys(lengths, 120)
    assert get_method("bl").sampler is None
    for better, worse, equal in POSTER_CLAIMS:
        plain = {better, worse} & {"bl"}
        assert equal == ("equal epochs" if plain else "equal steps")


def test_a_table_makes_no_claim_about_methods_that_it_does_not_have():
    table = get_table("thesis-1.1")
    frame = results(
        table, {("mnist-ratio1", "bl"): [0.99, 0.98], ("mnist-ratio100", "bl"): [0.8, 0.8]}
    ).replace({"classes": {"all": "5"}})
    found = find(table, side_by_side(table, frame), frame)
    assert {f["kind"] for f in found} == {"decline"}
    (five,) = [f for f in found if f["claim"] == "bl declines on class 5" and f["main"]]
    assert five["score"] == "recall of the rare classes"
    assert five["difference"] == pytest.approx(0.185)
    assert {f["claim"] for f in found} == {
        "bl declines",
        *(f"bl declines on class {c}" for c in (0, 2, 5, 8)),
    }


def failure_of(error):
    return Failure(type="TrainingError", text=error, traceback="", seconds=1.0)


def summary_of(table, frame, *, subset=None, images=60000, failed=()):
    """A summary of runs of which 2 of 4 are done, one after the other, a minute each, the second ten minutes later."""
    classes = tuple("0123456789")
    dataset = SimpleNamespace(train=range(images), classes=classes, num_classes=len(classes))
    plan = SimpleNamespace(
        table=table,
        repeats=2,
        subset=subset,
        cells=[TableLine(setting, None, dataset) for setting in table.settings],
        trainings=lambda: 2,
    )
    record = {"timings": {"total": 60.0}, "versions": {"torch": "2"}, "hardware": {"cores": 2}}
    ends = ("2026-01-01T10:00:00+00:00", "2026-01-01T10:10:00+00:00")
    records = [SimpleNamespace(**record, created=end) for end in ends]
    done = [Outcome(None, SimpleNamespace(record=found)) for found in records]
    errors = [*failed, *[None] * (2 - len(failed))]
    task = SimpleNamespace(name="bl", repeat=0, path=Path("fashion-mnist-ratio10/runs/draw000-bl"))
    rest = [
        Outcome(task, failure=error and Failure(type="TrainingError", text=error, traceback="", seconds=1.0))
        for error in errors
    ]
    return summarize(plan, [*done, *rest], frame, ["counterpoise reproduce"])


def test_the_page_marks_the_best_and_what_contradicts_itself(tmp_path):
    table = get_table("thesis-7.2")
    frame = results(
        table,
        {
            ("fashion-mnist-ratio100", "bl"): [0.5, 0.52],
            ("fashion-mnist-ratio100", "ados"): [0.8, 0.82],
        },
    )
    summary = summary_of(table, frame)
    assert summary["rehearsal"] == []
    (table,) = [t for t in number_tables(summary) if t.title == "recall, all classes"]
    rows = {row[0]: dict(zip(table.head[1:], row[1:], strict=True)) for row in table.rows}
    row = rows["fashion-mnist, ρ 100"]
    # Published, the best, and contradicted by others; ours, the best: t(1) = 12.706; the difference.
    assert row["ados"] == [("0.820 ⚠", "best"), ("0.810 ± 0.127", "best"), ("-0.010", "quiet")]
    assert row["bl"][1] == ("0.510 ± 0.127", "")
    assert row["dos"][1].text == "not run"
    write_pages(summary, tmp_path)
    page, text = (tmp_path / "page.html").read_text(), (tmp_path / "page.md").read_text()
    assert "**0.820 ⚠** / **0.810 ± 0.127** / -0.010" in text
    assert "2 of 4 runs are not done" in page
    assert "2 of 4 runs are not done" in text


def test_a_failed_run_is_named_with_its_line_and_methods_that_not_all_lines_have_with_the_ranks(tmp_path):
    table = get_table("thesis-7.2")
    frame = results(
        table,
        {(s.name, m): [v, v + 0.01] for s in table.settings for m, v in (("bl", 0.5), ("ados", 0.6))}
        | {("fashion-mnist-ratio100", "counterpoise"): [0.7, 0.7]},
    )
    write_pages(summary_of(table, frame, failed=["the loss became nan"]), tmp_path)
    for name in ("page.html", "page.md"):
        page = (tmp_path / name).read_text()
        assert "fashion-mnist-ratio10 bl, repeat 0: the loss became nan" in page
        assert re.search(r"Left out, since not all lines have them: [\w, -]*counterpoise\.", page)
    rows = ranks_table(summary_of(table, frame)).rows
    assert {row[-3] for row in rows} == {"4 of 4"}


def test_a_rehearsal_says_so_and_text_is_escaped(tmp_path):
    table = get_table("thesis-7.2")
    frame = results(table, {("fashion-mnist-ratio10", "bl"): [0.5]})
    write_pages(summary_of(table, frame, subset=100, failed=["<script>alert(1)</script>"]), tmp_path)
    page = (tmp_path / "page.html").read_text()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    for name in ("page.html", "page.md"):
        assert "not run on the real data" in (tmp_path / name).read_text()


def test_digits_down_and_ratios_across_where_there_is_one_method():
    table = get_table("thesis-1.1")
    frame = pd.DataFrame(
        [
            {
                "setting": "mnist-ratio10",
                "method": "bl",
                "classes": "5",
                "metric": "recall",
                "draw": 0,
                "value": 0.9,
            }
        ]
    )
    (shown,) = number_tables(summary_of(table, frame))
    assert shown.head[2] == "mnist, ρ 10"
    (row,) = [row for row in shown.rows if row[0] == "class 5"]
    assert [line.text for line in row[2]] == ["0.950", "0.900 (1 repeat)", "-0.050"]


def test_pictures_are_drawn_only_where_there_is_something_to_draw(tmp_path):
    table = get_table("thesis-7.2")
    nothing = side_by_side(
        table,
        results(table, {}).reindex(columns=["setting", "method", "classes", "metric", "draw", "value"]),
    )
    assert not draw_lines(table, nothing, tmp_path / "lines.png")
    some = side_by_side(table, results(table, {("fashion-mnist-ratio10", "bl"): [0.5, 0.6]}))
    assert draw_lines(table, some, tmp_path / "lines.png")
    one = rank_methods(["a", "b"], np.array([[0.1, 0.2]]))
    assert not draw_ranks(one, tmp_path / "ranks.png", "gmean")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lines.png"]


def test_a_summary_is_plain_json():
    table = get_table("thesis-7.2")
    frame = results(table, {("fashion-mnist-ratio10", "bl"): [0.5, 0.6]})
    summary = summary_of(table, frame)
    assert json.loads(json.dumps(summary)) == json.loads(json.dumps(summary, default=list))


def test_a_summary_has_all_that_the_page_says():
    table = get_table("thesis-7.2")
    summary = summary_of(table, claims_frame(table), failed=["the loss became nan"])
    assert faults(json.loads(json.dumps(summary)), TableSummary) == []
    (own,) = [
        c
        for c in summary["cells"]
        if (c["setting"], c["method"]) == ("fashion-mnist-ratio10", "ados")
        and (c["classes"], c["metric"]) == ("all", "f1")
    ]
    assert own["half_width"] == pytest.approx(4.302653 * 0.2 / 3**0.5)
    assert own["difference"] == pytest.approx(0.7 - 0.880)
    best = {(b["setting"], b["classes"], b["metric"]): b for b in summary["best"]}
    assert best["fashion-mnist-ratio100", "all", "f1"]["ours"] == ("counterpoise",)
    assert best["fashion-mnist-ratio100", "all", "f1"]["published"] == ("ados",)
    runs = summary["runs"]
    assert (runs["planned"], runs["done"], runs["trainings"], runs["factor"]) == (4, 2, 2, 2.0)
    assert (runs["seconds"], runs["elapsed"], runs["at_once"]) == (120.0, 120.0, 1.0)
    assert summary["versions"] == {"torch": "2"}


def test_the_page_says_in_words_what_was_and_was_not_reproduced():
    table = get_table("thesis-7.2")
    summary = summary_of(table, claims_frame(table))
    # Of 180 numbers those of 5 measured columns (the recipe has none), by recall, F1 and G-mean of two groups.
    assert closeness(summary)[0].startswith(
        "Of 180 published numbers 30 have one of ours beside them. Ours are 0."
    )
    sentences = {words.partition(":")[0]: words for words in verdicts(summary)}
    declines = sentences["Every method declines from its smallest imbalance ratio to its largest"]
    assert "4 confirmed, 4 refuted, " in declines
    assert "not run; refuted: " in declines
    assert missing(summary)[1:3] == ["fashion-mnist, ρ 20: not run.", "fashion-mnist, ρ 40: not run."]
    assert "bl 0 of 2 repeats" in missing(summary)[0]
    assert "ados" not in missing(summary)[0]
    assert (
        "fashion-mnist, ρ 100, ados, ACSA (mean recall): 0.820 is published, but 0.843 follows from 0.908 of the "
        "common classes and 0.746 of the rare ones."
    ) in contradictions(summary)
    shown = claims_table(summary, main=False)
    assert shown.head[2:] == ["recall of the rare classes", "ACSA (mean recall)", "F1", "G-mean"]
    (row,) = [r for r in shown.rows if r[:2] == ["ados over bl-cw (equal epochs)", "fashion-mnist, ρ 10"]]
    assert row[4][0] == ("not decided by 3 repeats", "not-decided")


def test_other_settings_and_other_images_are_no_published_protocol():
    table = get_table("thesis-7.2")
    frame = results(table, {("fashion-mnist-ratio10", "bl"): [0.5, 0.6]})
    changed = table.model_copy(
        update={"settings": tuple(s.model_copy(update={"epochs": 1}) for s in table.settings)}
    )
    assert summary_of(changed, frame)["rehearsal"] == ["other settings than the table's own (epochs)"]
    assert summary_of(table, frame, images=300)["rehearsal"] == [
        "fashion-mnist is not the real one here: 300 training images of 10 classes, not 60000 of 10"
    ]
