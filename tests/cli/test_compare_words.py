"""What a comparison says of its winner, and of a method that loses to the baseline."""

import pandas as pd
import pytest

from counterpoise.cli.running import show_comparison
from counterpoise.config import CompareConfig
from counterpoise.runs import gain_over_baseline, verdict
from counterpoise.studies import Conclusion

SCORES = {"bl": [0.7, 0.8], "ros": [0.6, 0.69], "rus": [0.7, 0.8], "aos": [0.9, 1.01], "mixup": [0.6, 0.9]}
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
        ("aos", True, "better than the baseline by 0.205 G-mean (95 %: 0.141 to 0.269)"),
        ("rus", None, "cannot be told from the baseline: +0.000 G-mean"),
        ("ros", False, "worse than the baseline by 0.105 G-mean (95 %: 0.041 to 0.169): do not use it here"),
        ("mixup", None, "cannot be told from the baseline: +0.000 G-mean (95 %: -1.271 to +1.271)"),
        ("dos", None, "not compared with the baseline: add bl to `methods`"),
    ],
)
def test_the_verdict_by_hand(method, beats, words):
    found, note = verdict(gain_over_baseline(TABLE, method, "gmean"), method, "gmean")
    assert found is beats
    assert words in note


def shown(capsys, tmp_path, winner):
    entries = []
    for method in SCORES:
        gain = gain_over_baseline(TABLE, method, "gmean")
        beats, note = verdict(gain, method, "gmean")
        entry = {
            "method": method,
            "scores": {},
            "best": method == winner,
            "beats_baseline": beats,
            "note": note,
        }
        entries.append(entry | {"gain": None if gain is None else gain.entry()})
    choice = {"name": winner, "rule": "metric", "metric": "gmean", "reason": "best G-mean", "scores": {}}
    summary = {
        "dataset": "photos",
        "imbalance": {"profile": "natural"},
        "draws": 2,
        "metric": "gmean",
        "winner": winner,
        "choice": choice,
        "methods": entries,
        "failed": [],
    }
    config = CompareConfig.of(source="photos")
    show_comparison(Conclusion(TABLE, summary, []), config, tmp_path)
    return " ".join(capsys.readouterr().out.split())


def test_the_table_of_compare_names_in_words_each_method_that_certainly_loses(capsys, tmp_path):
    text = shown(capsys, tmp_path, "aos")
    assert "ros: worse than the baseline by 0.105 G-mean (95 %: 0.041 to 0.169): do not use it here" in text
    assert "rus: " not in text
    assert "aos: better than the baseline" in text
    assert "winner: aos" in text


def test_a_winner_is_never_called_worse_in_the_same_breath(capsys, tmp_path):
    text = shown(capsys, tmp_path, "ros")
    assert "winner: ros" in text
    assert "worse" not in text
    assert "do not use" not in text
    assert "on the test images the baseline scores higher than ros, by 0.105 (95 %: 0.041 to 0.169)" in text
