"""Numbers in words: what they round to is never untrue."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterpoise.report import Line, Table
from counterpoise.report.kit import wording
from counterpoise.report.kit.wording import NARROW, NONE


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (wording.decimals(0.81249), "0.812"),
        (wording.decimals(None), NONE),
        (wording.signed(0.02), "+0.020"),
        (wording.signed(-0.0213), "-0.021"),
        (wording.signed(-0.0001), "+0.000"),
        (wording.signed(None), NONE),
        (wording.mean_text(0.514, 0.496, 0.532), "0.514 ± 0.018"),
        (wording.mean_text(0.514, None, None), "0.514"),
        (wording.mean_text(0.01, -0.01, 0.03, sign=True), "+0.010 ± 0.020"),
        (wording.mean_text(None, None, None, sign=True), NONE),
        (wording.interval_text(0.552, 1.048, between=" to "), "0.552 to 1.000"),
        (wording.interval_text(-0.2, 0.5, between="–"), "0.000–0.500"),
        (wording.interval_text(None, None, between="–"), ""),
        (wording.p_text(0.0301), "0.030"),
        (wording.p_text(0.00004), "< 0.001"),
        (wording.p_text(None), NONE),
        (wording.p_equals(0.0301), f"p{NARROW}={NARROW}0.030"),
        (wording.p_equals(0.0), f"p{NARROW}<{NARROW}0.001"),
        (wording.percent(0.32), f"32{NARROW}%"),
        (wording.percent(0.0), f"0{NARROW}%"),
        (wording.percent(0.004), f"under 1{NARROW}%"),
        (wording.percent(0.997), f"over 99{NARROW}%"),
        (wording.percent(1.0), f"100{NARROW}%"),
        (wording.count(1, "repeat"), "1 repeat"),
        (wording.count(1200, "image"), "1,200 images"),
        (wording.points(-0.0213), "2.1 points below"),
        (wording.points(0.0), "level with"),
        (wording.claim_text(None, None), "not measured"),
        (wording.claim_text(True, None), "holds in this one repeat"),
        (wording.claim_text(False, True), "contradicted"),
        (wording.claim_text(False, False), "contradicted on average; the interval allows both"),
        (wording.shorten("hippopotamus", length=7), "hip…mus"),
        (wording.duration(3.21), "3.2 s"),
        (wording.duration(125), "2 min 5 s"),
        (wording.plain({"ratio": 20.0, "classes": [1, 2]}), "ratio=20, classes=1, 2"),
        (wording.describe_imbalance({"profile": "step", "ratio": 20.0}), "step imbalance, ratio 20"),
        (wording.describe_imbalance({"profile": "natural"}), "natural imbalance"),
    ],
)
def test_words_of_numbers(found, expected):
    assert found == expected


@given(st.floats(0, 1))
def test_only_nothing_is_0_percent_and_only_all_is_100(share):
    number = wording.percent(share).removesuffix(f"{NARROW}%")
    assert (number == "0") == (share == 0)
    assert (number == "100") == (share == 1)


def test_settings_that_are_not_there_are_left_out():
    assert wording.pairs({"a": None, "b": "", "c": 0, "d": [1, 2]}) == [("c", "0"), ("d", "1, 2")]


def test_a_table_in_markdown_escapes_what_ends_a_cell():
    table = Table("Scores", ["", "F1 | <b>"], [["a|b", [Line("0.5", "best"), Line("+0.1", "quiet")]]])
    assert table.markdown().splitlines() == [
        "|  | F1 \\| &lt;b> |",
        "| --- | --- |",
        "| a\\|b | **0.5** / +0.1 |",
    ]
