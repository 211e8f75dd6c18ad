"""Conclusions of an enhancement study from its ``summary.json``, and the page that shows them with the figures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from counterpoise.evaluation import METRICS, MeanEntry, MeanInterval, Verdict, column_title, judge
from counterpoise.explain import SAME_FROM
from counterpoise.report import NONE, Cell, Line, Table, count, mean_text, p_equals, p_text, percent, points
from counterpoise.report import write_page as write_template
from counterpoise.studies.enhance.plan import CONTROLS, ENHANCED, TRAINED_ON

if TYPE_CHECKING:
    from counterpoise.studies.engine.summaries import GroupMeans
    from counterpoise.studies.enhance.figures import Chosen, ShownImage
    from counterpoise.studies.enhance.summary import EnhanceSummary, Gain

COLUMNS = (("accuracy", "all"), ("gmean", "all"), ("recall", "minority"), ("recall", "majority"))
"""Metrics and class groups in the tables of the study."""

NOISE_COLUMNS = ["standard deviation of the noise", "classifier", "behind the U-Net", "gain"]
CONVOLUTION = "The feature maps of the original image and of the changed one, and close-ups."
ATTENTION = f"The classifier attends to {{}}: the rank correlation of the maps is {{}} {SAME_FROM}."
SECTIONS = (
    ("pixels", "Input, output and their difference", "What the U-Net adds and takes away."),
    ("different", "Grad-CAM: different", ATTENTION.format("different regions of the changed image", "below")),
    ("same", "Grad-CAM: same", ATTENTION.format("the same regions of both images", "at least")),
    ("conv1", "First convolution", CONVOLUTION),
    ("conv2", "Second convolution", CONVOLUTION),
)


def write_page(summary: EnhanceSummary, pictures: Path, path: Path) -> None:
    """Write the page of a summary; it holds its figures, of the folder `pictures`, and asks nothing of the network."""
    sections = SECTIONS if summary["images"] else ()
    repeats = count(summary["draws"], "repeat")
    write_template(
        path,
        "studies/enhance/enhance.html.j2",
        title=f"A learned perturbation on {summary['dataset']}",
        subtitle=f"{summary['network']}, U-Net of width {summary['width']}, {repeats}",
        sections=[
            ("findings", "Findings"),
            ("scores", "Scores"),
            ("noise", "Noise"),
            ("changes", "Right and wrong"),
            *((key, title) for key, title, _ in sections),
        ],
        s=summary,
        protocol=protocol(summary),
        findings=findings(summary),
        tables=_tables(summary),
        figures=[(*section, _entries(section[0], summary["images"], pictures)) for section in sections],
        failed=[f"repeat {f['draw']}, {f['method']}: {f['error']}" for f in summary["failed"]],
    )


def _tables(summary: EnhanceSummary) -> dict[str, Table]:
    titles, names = titles_of(summary), [name for name, _, _ in shown_columns(summary)]
    scores: list[list[Cell]] = [
        [[Line(entry["title"]), Line(entry["what"], "note")], *score_cells(summary, entry["scores"])]
        for entry in summary["methods"]
    ]
    main = [i for i, entry in enumerate(summary["methods"]) if entry["method"] == ENHANCED]
    full = [[titles[name], *score_cells(summary, own)] for name, own in summary["full"].items()]
    slides = [
        [str(p["evaluated_on"]), f"{p['classifier']:.3f}", f"{p['combined']:.3f}"] for p in summary["slides"]
    ]
    changes = [
        [str(c["draw"]), titles[c["before"]]]
        + [str(c[key]) for key in ("wrong_to_right", "right_to_wrong", "both_right", "both_wrong")]
        + [p_text(c["p_value"])]
        for c in summary["changes"]
    ]
    answers = ["wrong → right", "right → wrong", "both right", "both wrong"]
    return {
        "scores": Table("Scores", ["variant", *names], scores, stressed=main),
        "gains": Table("Gains of the enhanced images", ["over", *names], gain_rows(summary)),
        "full": Table("Scores on training and test images", ["variant", *names], full),
        "slides": Table("The slides", ["accuracy on", "classifier", "combined"], slides),
        "noise": Table("Accuracy under Gaussian noise", NOISE_COLUMNS, noise_rows(summary)),
        "changes": Table("Changed answers", ["repeat", "against", *answers, "p"], changes, text=(1,)),
    }


def _entries(key: str, images: list[ShownImage], pictures: Path) -> list[tuple[Path, str]]:
    """Return the figures of a section, each with its caption."""
    kind = "grad-cam" if key in ("same", "different") else key
    return [
        (pictures / shown["figures"][kind], caption(shown["image"]))
        for shown in images
        if kind in shown["figures"] and (kind != "grad-cam" or shown["same"] == (key == "same"))
    ]


def caption(image: Chosen) -> str:
    """Return what an image is and how the prediction changes."""
    before, after = percent(image["probability_before"]), percent(image["probability_after"])
    return (
        f"{image['path']}, true class {image['true']}: {image['before']} → {image['after']} ({image['change']}; "
        f"probability of {image['true']} {before} → {after})"
    )


def findings(summary: EnhanceSummary) -> list[str]:
    """Return the conclusions that the numbers of a summary allow, in one or two sentences each."""
    classifier = summary["methods"][0]["method"]
    found = _gains(summary, classifier) + _gains_by_rarity(summary, classifier) + _denoising(summary)
    for change in summary["changes"]:
        if change["before"] == classifier:
            of = f"Repeat {change['draw']}: of" if summary["draws"] > 1 else "Of"
            found.append(
                f"{of} {change['n']:,} test images {change['wrong_to_right']:,} become right and "
                f"{change['right_to_wrong']:,} wrong (McNemar's exact test: {p_equals(change['p_value'])})."
            )
    return found


def _gains(summary: EnhanceSummary, classifier: str) -> list[str]:
    """Conclude whether there is a gain, and whether more training or a larger network alone would have brought it."""
    metric, titles = METRICS[summary["metric"]], titles_of(summary)
    gains = {over: gain for (over, *of), gain in _gains_of(summary).items() if of == [metric.name, "all"]}
    if classifier not in gains:
        return []
    verdict = _verdict(gains[classifier])
    doubt = "; the interval over repeats does not exclude zero" if verdict.certain is False else ""
    found = [
        f"In {metric.short_title} the enhanced images are {points(gains[classifier]['mean'])} the classifier on the "
        f"originals{doubt}."
    ]
    controls = {over: gain["mean"] or 0.0 for over, gain in gains.items() if over in CONTROLS}
    if controls:
        listed = ", ".join(f"{points(mean)}: {titles[over]}" for over, mean in controls.items())
        found.append(f"Compared with the controls they are {listed}.")
    return [*found, _claim(summary, gains[classifier], gains.get(TRAINED_ON))]


def _claim(summary: EnhanceSummary, gain: Gain, over_training: Gain | None) -> str:
    """Claim a gain only for a classifier that may not be changed, where it is more than the head's training brings."""
    if not summary["frozen_features"]:
        return (
            "No gain is claimed: this classifier may be changed, and what a U-Net adds to such a one depends on how "
            "far its training was from convergence."
        )
    verdicts = [_verdict(each) for each in (gain, over_training) if each is not None]
    if not all(verdict.holds for verdict in verdicts):
        return "No gain for a classifier that may not be changed."
    if not all(verdict.certain for verdict in verdicts):
        return "Whether there is a gain for a classifier that may not be changed is not decided."
    return "Gain for a classifier that may not be changed, also over continued training of its head."


def _denoising(summary: EnhanceSummary) -> list[str]:
    """Conclude whether the U-Net removes noise: whether its gain grows with the noise."""
    if not summary["noise"]:
        return []
    clean, *noisy = summary["noise"]
    listed = ", ".join(f"{points(n['gain']['mean'])} at {n['strength']:g}" for n in noisy)
    before = clean["gain"]["mean"] or 0.0
    verdicts = [_verdict(n["gain"], border=before) for n in noisy]
    grows = all(verdict.holds and verdict.certain is not False for verdict in verdicts)
    return [
        f"Under Gaussian noise on the test images their accuracy is {listed} the classifier's; without noise "
        f"{points(before)} it. {'It removes' if grows else 'This is no sign that it removes'} noise."
    ]


def _gains_by_rarity(summary: EnhanceSummary, classifier: str) -> list[str]:
    """Conclude which classes a gain is of: that of common ones hides a loss of rare ones, as there are more of them."""
    gains = _gains_of(summary)
    rare, common = (gains.get((classifier, "recall", group)) for group in ("minority", "majority"))
    if not summary["rare"] or rare is None or common is None:
        return []
    doubt = " (the interval does not exclude zero)" if _verdict(rare).certain is False else ""
    return [
        f"Recall of the rare classes is {points(rare['mean'])} that of the classifier{doubt}, of the common classes "
        f"{points(common['mean'])} it."
    ]


def protocol(summary: EnhanceSummary) -> str:
    """Return how the classifier came about, in one or two sentences."""
    if not summary["frozen_features"]:
        return "The classifier may be changed: it is trained on the same images, with the same augmentation."
    text = "The classifier may not be changed: a head, fitted to convergence, on frozen features"
    if not summary["features_classes"]:
        return f"{text} of given weights."
    own, others = (", ".join(summary[key]) for key in ("classes", "features_classes"))
    return f"{text} that were learned from other classes ({others}). Its own classes are {own}."


def noise_rows(summary: EnhanceSummary) -> list[list[str]]:
    """Return the accuracy under noise, one row for each strength, see `NOISE_COLUMNS`."""
    rows = []
    for n in summary["noise"]:
        scores = [_mean_text(n["classifier"]), _mean_text(n["enhanced"]), _mean_text(n["gain"], sign=True)]
        rows.append([f"{n['strength']:g}", *scores])
    return rows


def _gains_of(summary: EnhanceSummary) -> dict[tuple[str, str, str], Gain]:
    return {(gain["over"], gain["metric"], gain["classes"]): gain for gain in summary["gains"]}


def _verdict(gain: MeanEntry, *, border: float = 0.0) -> Verdict:
    return judge(MeanInterval(gain["mean"], gain["low"], gain["high"], gain.get("n", 0)), border=border)


def titles_of(summary: EnhanceSummary) -> dict[str, str]:
    """Return the names of the variants for people."""
    return {entry["method"]: entry["title"] for entry in summary["methods"]}


def shown_columns(summary: EnhanceSummary) -> list[tuple[str, str, str]]:
    """Return title, class group and metric of the columns; without rare classes, only those over all classes."""
    return [
        (column_title(metric, group), group, metric)
        for metric, group in COLUMNS
        if summary["rare"] or group == "all"
    ]


def score_cells(summary: EnhanceSummary, scores: GroupMeans) -> list[str]:
    """Return the scores of a variant, column by column."""
    return [_mean_text(scores.get(group, {}).get(metric)) for _, group, metric in shown_columns(summary)]


def gain_rows(summary: EnhanceSummary) -> list[list[str]]:
    """Return what the enhanced images gain over each variant: its title, then a gain for each column."""
    gains, columns = _gains_of(summary), [(metric, group) for _, group, metric in shown_columns(summary)]
    return [
        [title, *(_mean_text(gains.get((method, *column)), sign=True) for column in columns)]
        for method, title in titles_of(summary).items()
        if (method, *columns[0]) in gains
    ]


def _mean_text(entry: MeanEntry | None, *, sign: bool = False) -> str:
    return NONE if entry is None else mean_text(entry["mean"], entry["low"], entry["high"], sign=sign)
