"""Every claim on the pages is that of the results, and no line that was run is left out."""

from __future__ import annotations

import re

import pytest
from claim_oracles import ROOT, TABLES, page_faults, results_of


def page_of(name: str) -> str:
    return (ROOT / "results" / name / "page.md").read_text("utf-8")


@pytest.mark.parametrize("name", TABLES)
def test_every_claim_of_a_page_is_that_of_the_results_and_no_line_is_left_out(name):
    assert page_faults(page_of(name), name) == []


@pytest.mark.parametrize("name", TABLES)
def test_a_page_with_a_line_removed_is_found_out(name):
    page = page_of(name)
    claims = page.split("## Claims, decided")[1].split("\n## ")[0]
    rows = [line for line in claims.splitlines() if line.startswith("| ") and "---" not in line]
    rows = [line for line in rows if not line.startswith("| claim |")]
    assert rows
    for row in rows[:: max(1, len(rows) // 40)] + rows[-1:]:
        assert page_faults(page.replace(f"{row}\n", "", 1), name), row


@pytest.mark.parametrize("name", TABLES)
def test_a_sentence_that_is_removed_or_counts_one_less_is_found_out(name):
    page = page_of(name)
    titles = list(results_of(name)[1])
    for sentence in page.splitlines():
        own = any(sentence.startswith(f"- {title}: ") for title in titles)
        number = re.search(r"of (\d+) comparisons (\d+)|in all (\d+) comparisons", sentence)
        if own and sentence.startswith("- To be"):
            continue
        if own:
            assert page_faults(page.replace(f"{sentence}\n", "", 1), name), sentence
        if own and number:
            count = int(number[1] or number[3])
            fewer = number[0].replace(str(count), str(count - 1), 1)
            if number[1]:
                fewer = f"of {count - 1} comparisons {int(number[2]) - 1}"
            assert page_faults(page.replace(number[0], fewer, 1), name), sentence
