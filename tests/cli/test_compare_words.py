"""What a comparison says of a method that loses to the baseline."""

import pandas as pd
import pytest

from counterpoise.cli.running import show_comparison
from counterpoise.config import CompareConfig
from counterpoise.runs import verdict
from counterpoise.studies import Conclusion

SCORES = {"bl": [0.7, 0.8], "ros": [0.6, 0.8], "rus": [0.7, 0.8], "aos": [0.9, 0.8]}
ROWS = [
    {"method": method, "draw": draw, "classes": "all", "metric": "gmean", "value": value}
    for method, values in SCORES.items()
    for draw, value in enumerate(values)
]
TABLE = pd.DataFrame(ROWS)


@pytest.mark.parametrize(
    ("method", "beats", "words"),
    [
        ("bl", None, "the other methods are compared with it"),
        ("aos", True, "better than the baseline by 0.100 gmean (mean of 2 repeats)"),
        ("rus", False, "no better than the baseline (2 repeats)"),
        ("ros", False, "worse than the baseline by 0.050 gmean (mean of 2 repeats): do not use it here"),
        ("mixup", None, "not compared with the baseline: add bl to `methods`"),
    ],
)
def test_the_verdict_by_hand(method, beats, words):
    found, note = verdict(TABLE, method, "gmean")
    assert found is beats
    assert words in note


def test_the_table_of_compare_names_in_words_each_method_that_loses(capsys, tmp_path):
    entries = []
    for method in SCORES:
        beats, note = verdict(TABLE, method, "gmean")
        entries.append(
            {"method": method, "scores": {}, "best": method == "aos", "beats_baseline": beats, "note": note}
        )
    summary = {
        "dataset": "photos",
        "imbalance": {"profile": "natural"},
        "draws": 2,
        "metric": "gmean",
        "winner": None,
        "methods": entries,
        "failed": [],
    }
    show_comparison(Conclusion(TABLE, summary, []), CompareConfig(), tmp_path)
    shown = " ".join(capsys.readouterr().out.split())
    assert "ros: worse than the baseline by 0.050 gmean (mean of 2 repeats): do not use it here" in shown
    assert "rus: no better than the baseline" in shown
    assert "aos: " not in shown
