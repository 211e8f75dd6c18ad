"""Whatever text comes in, a script element cannot be left, and Plotly shows it as it is."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterpoise.report.figures import PALE, PALETTE, class_colors
from counterpoise.report.kit.html import json_for_script, plotly_label
from counterpoise.runs.records import picture_or_none

nasty = st.text() | st.sampled_from(["</script>", "<!--", "]]>", "\u2028", "\ud800", "&lt;", "\x00"])


@given(st.dictionaries(nasty, nasty))
def test_json_comes_back_and_holds_no_markup(value: dict[str, str]) -> None:
    text = json_for_script(value)
    assert json.loads(text) == value
    assert not set(text) & set("<>&\u2028\u2029")
    assert text.isascii()


def test_json_refuses_what_browsers_cannot_read() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        json_for_script([float("nan")])


@given(nasty)
def test_plotly_labels_decode_to_the_text(text: str) -> None:
    label = plotly_label(text, length=10**6)
    assert "<" not in label
    decoded = label.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    assert decoded == " ".join(text.split())


@pytest.mark.parametrize(
    "value",
    [
        "javascript:alert(1)",
        "https://example.org/a.png",
        "data:text/html;base64,AAAA",
        "data:image/svg+xml;base64,AAAA",
        'data:image/png;base64,AAAA" onload="alert(1)',
        "data:image/png,<svg>",
        " data:image/png;base64,AAAA",
        None,
        7,
    ],
)
def test_what_is_no_picture_is_refused(value: object) -> None:
    assert picture_or_none(value) is None


def test_beyond_ten_classes_only_rare_ones_are_coloured() -> None:
    colours = class_colors(25, [4, 20])
    assert [index for index, colour in enumerate(colours) if colour != PALE] == [4, 20]
    assert len(set(class_colors(10, []))) == len(PALETTE) == 10
