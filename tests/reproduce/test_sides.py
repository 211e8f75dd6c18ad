"""Published numbers, their contradictions, ranks, findings, and the page, against numbers worked out by hand."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from counterpoise.methods import get_method
from counterpoise.reproduce import all_tables, get_table
from counterpoise.reproduce.checks import find_contradictions
from counterpoise.reproduce.compare import record_name, side_by_side, values_of
from counterpoise.reproduce.findings import find
from counterpoise.reproduce.page import sections, write_pages
from counterpoise.reproduce.plots import draw_lines, draw_ranks
from counterpoise.reproduce.published import Published, published_numbers
from counterpoise.reproduce.ranks import critical_difference, rank_methods

METHODS_TABLES = [name for name, table in all_tables().items() if table.study == "methods"]


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
    numbers = published_numbers(table)
    assert numbers
    assert {number.setting for number in numbers} == lines
    ours = {record_name(m) for setting in table.settings for m in setting.methods}
    for number in numbers:
        assert 0 <= number.value <= 1
        assert number.method in ours
    for method in {m for setting in table.settings for m in setting.methods}:
        get_method(method)


def test_numbers_of_the_papers_are_where_they_belong():
    found = {number[:4]: number.value for number in published_numbers(get_table("thesis-7.2"))}
    assert found["fashion-mnist-ratio100", "ados", "all", "gmean"] == 0.803
    found = {number[:4]: number.value for number in published_numbers(get_table("poster-1"))}
    assert found["cifar10-mu0.8-ratio60", "aos", "all", "f1"] == 0.5118
    found = {number[:4]: number.value for number in published_numbers(get_table("thesis-1.1"))}
    assert found["mnist-ratio100", "bl", "5", "recall"] == 0.826


def test_the_average_recall_of_table_72_at_ratio_100_contradicts_itself():
    found = find_contradictions(published_numbers(get_table("thesis-7.2")), minority_share=0.4)
    flagged = {(c.setting, c.method, c.classes, c.metric): c for c in found}
    own = flagged["fashion-mnist-ratio100", "ados", "all", "recall"]
    assert own.value == 0.820
    assert own.expected == pytest.approx(0.6 * 0.908 + 0.4 * 0.746)


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
    assert [(c.metric, round(c.expected, 4)) for c in found] == [("f1", 0.5455)]


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
        published_numbers(table),
        results(table, {("cifar10-mu0.3-ratio500", "aos:eps=0.1"): [0.40, 0.44, 0.48]}),
    )
    (side,) = [s for s in sides if s.setting == "cifar10-mu0.3-ratio500" and s.method == "aos"]
    assert side.published == 0.4541
    assert side.mean == pytest.approx(0.44)
    assert side.difference == pytest.approx(0.44 - 0.4541)
    assert (side.high - side.low) / 2 == pytest.approx(4.302653 * 0.04 / 3**0.5)  # t(2) at 97.5 %
    (missing,) = [s for s in sides if s.setting == "mnist-mu0.3-ratio500" and s.method == "aos"]
    assert (missing.published, missing.mean, missing.difference, missing.n) == (0.9292, None, None, 0)


def test_findings_are_paired_and_say_when_they_are_not_sure():
    table = get_table("thesis-7.2")
    noise = np.array([0.0, 0.2, -0.2])  # of the draw, the same for both methods
    frame = results(
        table,
        {
            ("fashion-mnist-ratio10", "ados"): 0.8 + noise,
            ("fashion-mnist-ratio10", "fs-smote"): 0.7 + noise + [0.0, 0.01, -0.01],
            ("fashion-mnist-ratio10", "bl-cw"): 0.8 + noise + [0.01, -0.03, 0.03],
            ("fashion-mnist-ratio100", "ados"): 0.9 + noise + [0.0, 0.01, -0.01],
        },
    )
    sides = side_by_side(table, published_numbers(table), frame)
    found = {(f.claim, f.where): f for f in find(table, sides, values_of(frame))}
    over = found["ados over fs-smote: F1", "fashion-mnist, ρ 10"]
    assert (over.verdict, over.n, over.main) == ("confirmed", 3, False)
    assert over.difference == pytest.approx(0.1)
    mean = found["ados over fs-smote: F1", "mean of 1 of 4 lines"]
    assert (mean.verdict, mean.main) == ("confirmed", True)
    assert found["ados over bl-cw: F1", "fashion-mnist, ρ 10"].verdict == "not decided"
    decline = "ados declines with the ratio: recall of the rare classes"
    assert found[decline, "ratio 10 minus ratio 100, paired by draw"].verdict == "refuted"
    assert (
        found["counterpoise over the best published G-mean, 0.803", "fashion-mnist, ρ 100"].verdict
        == "not run"
    )
    assert not [f for f in found if f[0].startswith("counterpoise") and f[1].endswith("ρ 20")]


def summary_of(table, frame, **changes):
    numbers = published_numbers(table)
    sides = side_by_side(table, numbers, frame)
    return {
        "table": table.name,
        "title": table.title,
        "paper": table.paper,
        "notes": [],
        "subset": None,
        "lines": [
            {"name": s.name, "title": s.title, "network": s.network, "epochs": 1, "batch_size": 2, "lr": 0.1}
            for s in table.settings
        ],
        "cells": [side._asdict() | {"difference": side.difference} for side in sides],
        "contradictions": [c._asdict() for c in find_contradictions(numbers, minority_share=0.4)],
        "ranks": [],
        "findings": [f._asdict() for f in find(table, sides, values_of(frame))],
        "failed": [],
        "runs": {"planned": 4, "done": 2, "trainings": 2, "seconds": 60.0, "elapsed": None},
        "commands": ["counterpoise reproduce"],
        "versions": {},
        "hardware": {},
    } | changes


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
    (section,) = [s for s in sections(summary) if s.title == "recall, all classes"]
    row = dict(zip(section.head, dict(section.rows)["fashion-mnist, ρ 100"], strict=True))
    assert row["ados"].published == "0.820"
    assert row["ados"].ours == "0.810 ± 0.127"  # t(1) = 12.706
    assert row["ados"].difference == "-0.010"
    assert row["ados"].best
    assert row["ados"].best_published
    assert row["ados"].contradicted
    assert not row["bl"].best
    assert row["dos"].ours == "not run"
    write_pages(summary, tmp_path)
    page, text = (tmp_path / "page.html").read_text(), (tmp_path / "page.md").read_text()
    assert "**0.820** ⚠ / **0.810 ± 0.127** / -0.010" in text
    assert "2 of 4 runs are not done" in page
    assert "2 of 4 runs are not done" in text


def test_a_rehearsal_says_so_and_text_is_escaped(tmp_path):
    table = get_table("thesis-7.2")
    frame = results(table, {("fashion-mnist-ratio10", "bl"): [0.5]})
    failed = [{"method": "bl", "draw": 0, "error": "<script>alert(1)</script>"}]
    write_pages(summary_of(table, frame, subset=100, failed=failed), tmp_path)
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
    (section,) = sections(summary_of(table, frame))
    assert section.head[1] == "mnist, ρ 10"
    shown = dict(section.rows)["class 5"][1]
    assert (shown.published, shown.ours, shown.difference) == ("0.950", "0.900", "-0.050")


def test_pictures_are_drawn_only_where_there_is_something_to_draw(tmp_path):
    table = get_table("thesis-7.2")
    numbers = published_numbers(table)
    nothing = side_by_side(
        table,
        numbers,
        results(table, {}).reindex(columns=["setting", "method", "classes", "metric", "draw", "value"]),
    )
    assert not draw_lines(table, nothing, tmp_path / "lines.png")
    some = side_by_side(table, numbers, results(table, {("fashion-mnist-ratio10", "bl"): [0.5, 0.6]}))
    assert draw_lines(table, some, tmp_path / "lines.png")
    one = rank_methods(["a", "b"], np.array([[0.1, 0.2]]))
    assert not draw_ranks(one, tmp_path / "ranks.png", "gmean")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lines.png"]


def test_a_summary_is_plain_json():
    table = get_table("thesis-7.2")
    frame = results(table, {("fashion-mnist-ratio10", "bl"): [0.5, 0.6]})
    summary = summary_of(table, frame)
    assert json.loads(json.dumps(summary)) == summary
