"""Conclusions of an enhancement study, from the numbers of its summary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from counterpoise.evaluation import METRICS, MeanInterval, column_title, judge
from counterpoise.report import mean_text, p_equals, points
from counterpoise.studies.enhance.plan import CONTROLS

COLUMNS = (("accuracy", "all"), ("gmean", "all"), ("recall", "minority"), ("recall", "majority"))
"""Metrics and class groups in the tables of the study."""

Summary = Mapping[str, Any]


class Finding(NamedTuple):
    """Conclusion in one or two sentences; for `holds` (the enhanced images gain) and `certain` see `judge`."""

    kind: Literal["gain", "controls", "rare", "change"]
    text: str
    holds: bool | None = None
    certain: bool | None = None


def findings(summary: Summary) -> list[Finding]:
    """Return the conclusions that the numbers of a summary allow."""
    classifier = summary["methods"][0]["method"]
    found = _gains(summary, classifier)
    for change in summary["changes"]:
        if change["before"] == classifier:
            of = f"Repeat {change['draw']}: of" if summary["draws"] > 1 else "Of"
            text = (
                f"{of} {change['n']:,} test images {change['wrong_to_right']:,} become right and "
                f"{change['right_to_wrong']:,} wrong (McNemar's exact test: {p_equals(change['p_value'])})."
            )
            found.append(Finding("change", text))
    return found


def _gains(summary: Summary, classifier: str) -> list[Finding]:
    """Conclude whether there is a gain, and whether more training or a larger network alone would have brought it."""
    metric, titles = METRICS[summary["metric"]], titles_of(summary)
    gains = {
        gain["over"]: gain
        for gain in summary["gains"]
        if (gain["metric"], gain["classes"]) == (metric.name, "all")
    }
    if classifier not in gains:
        return []
    verdict = judge(_interval(gains[classifier]))
    doubt = "; the interval over repeats does not exclude zero" if verdict.certain is False else ""
    found = [
        Finding(
            "gain",
            f"In {metric.short_title} the enhanced images are {points(gains[classifier]['mean'])} the classifier on "
            f"the originals{doubt}.",
            *verdict,
        )
    ]
    controls = [gain for over, gain in gains.items() if over in CONTROLS]
    if verdict.holds and controls:
        listed = ", ".join(f"{points(gain['mean'])}: {titles[gain['over']]}" for gain in controls)
        equals = [titles[gain["over"]] for gain in controls if gain["mean"] <= 0]
        more = (
            f"As much or more comes from: {', '.join(equals)}."
            if equals
            else f"The gain is more than {_what_brings_less(summary['epochs'])}."
        )
        text = f"Compared with the controls they are {listed}. {more}"
        found.append(Finding("controls", text, holds=not equals))
    return found + _by_rarity(summary, classifier)


def _by_rarity(summary: Summary, classifier: str) -> list[Finding]:
    """Conclude which classes a gain is of: that of common ones hides a loss of rare ones, as there are more of them."""
    recalls = {
        gain["classes"]: gain
        for gain in summary["gains"]
        if (gain["over"], gain["metric"]) == (classifier, "recall")
    }
    if not summary["rare"] or not {"minority", "majority"} <= recalls.keys():
        return []
    rare, common = (points(recalls[group]["mean"]) for group in ("minority", "majority"))
    verdict = judge(_interval(recalls["minority"]))
    doubt = " (the interval does not exclude zero)" if verdict.certain is False else ""
    text = f"Recall of the rare classes is {rare} that of the classifier{doubt}, of the common classes {common} it."
    return [Finding("rare", text, *verdict)]


def _what_brings_less(epochs: Mapping[str, int]) -> str:
    """Say what the controls were: a larger network that had fewer epochs proves less."""
    total = epochs["classifier"] + epochs["enhance"]
    if epochs["fresh"] >= total:
        return "further training or a larger network brings"
    return f"further training brings, and than a larger network does in {epochs['fresh']} of those {total} epochs"


def _interval(gain: Mapping[str, Any]) -> MeanInterval:
    return MeanInterval(gain["mean"], gain["low"], gain["high"], gain.get("n", 0))


def titles_of(summary: Summary) -> dict[str, str]:
    """Return the names of the variants for people."""
    return {entry["method"]: entry["title"] for entry in summary["methods"]}


def shown_columns(summary: Summary) -> list[tuple[str, str, str]]:
    """Return title, class group and metric of the columns; without rare classes, only those over all classes."""
    return [
        (column_title(metric, group), group, metric)
        for metric, group in COLUMNS
        if summary["rare"] or group == "all"
    ]


def score_cells(summary: Summary, scores: Mapping[str, Any]) -> list[str]:
    """Return the scores of a variant, column by column."""
    entries = [scores.get(group, {}).get(metric) or {} for _, group, metric in shown_columns(summary)]
    return [mean_text(entry.get("mean"), entry.get("low"), entry.get("high")) for entry in entries]


def gain_rows(summary: Summary) -> list[list[str]]:
    """Return what the enhanced images gain over each variant: its title, then a gain for each column."""
    columns = [(metric, group) for _, group, metric in shown_columns(summary)]
    gains = {(gain["over"], gain["metric"], gain["classes"]): gain for gain in summary["gains"]}

    def cell(gain: Mapping[str, Any]) -> str:
        return mean_text(gain.get("mean"), gain.get("low"), gain.get("high"), sign=True)

    return [
        [entry["title"], *(cell(gains.get((entry["method"], *column), {})) for column in columns)]
        for entry in summary["methods"]
        if (entry["method"], *columns[0]) in gains
    ]
