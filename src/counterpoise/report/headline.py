"""The headline and the warnings of a report, in whole sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from counterpoise.evaluation import BASELINE, GROUPS, METRICS, MeanInterval, judge
from counterpoise.report.comparison import Comparison, MeanScore
from counterpoise.report.kit.html import shorten
from counterpoise.report.tables import decimals, interval_text, p_text
from counterpoise.runs.records import Run

FEW_IMAGES = 10


@dataclass(frozen=True)
class Tile:
    """One large number with what it is measured against."""

    label: str
    value: str
    exact: str
    interval: str
    against: str


@dataclass(frozen=True)
class Headline:
    """What a reader must know who reads nothing else."""

    title: str
    sentences: tuple[str, ...]
    tiles: tuple[Tile, ...]


def winner_of(study: Comparison) -> str | None:
    """Return the method that won on the validation images; None if that is not known."""
    winner = study.summary.get("winner")
    if winner in study.scores:
        return str(winner)
    if len(study.methods) == 1:
        return study.methods[0]
    means = {method: validation_score(study, method).mean for method in study.methods}
    known = {method: mean for method, mean in means.items() if mean is not None}
    worth = METRICS[study.metric].gain
    return max(known, key=lambda method: worth(known[method])) if known else None


def validation_score(study: Comparison, method: str) -> MeanScore:
    """Return a method's mean score on the validation images over its draws."""
    for record in study.summary.get("methods") or ():
        if record.get("method") == method:
            given = (record.get("validation") or {}).get(study.metric) or {}
            if given.get("mean") is not None:
                return MeanScore(given["mean"], given.get("low"), given.get("high"), given.get("n") or 0)
    values = [
        run.validation["all"].get(study.metric)
        for run in study.runs
        if run.method == method and run.validation
    ]
    known = [float(value) for value in values if value is not None]
    return MeanScore(sum(known) / len(known) if known else None, n=len(known))


def headline(study: Comparison) -> Headline:
    """Return the title, the sentences and the large numbers about the winner."""
    winner = winner_of(study)
    if winner is None:
        return Headline("No method could be chosen", ("No run has scores on validation images.",), ())
    title, metric = study.title_of(winner), METRICS[study.metric].title
    validation = validation_score(study, winner)
    sentences = []
    if len(study.methods) == 1:
        heading = f"{title} on {_dataset_name(study)}"
        sentences.append(
            f"One method was trained: {title}. Train others on the same images to see what it is worth."
        )
    else:
        heading = f"{title} did best on the validation images"
        sentences.append(
            f"Of {len(study.methods)} methods, {title} has the highest {metric} on the validation images"
            + (
                f" ({decimals(validation.mean)}" + _over(validation.n) + ")"
                if validation.mean is not None
                else ""
            )
            + ". The test images had no part in this choice."
        )
    sentences.append(_test_sentence(study, winner))
    if winner == BASELINE and len(study.methods) > 1:
        sentences.append("This is plain training: none of the counter-measures helped more on these images.")
    sentences += _certainty(study, winner)
    return Headline(heading, tuple(sentences), _tiles(study, winner))


def _test_sentence(study: Comparison, winner: str) -> str:
    """Say what the winner scores over all and over the rare classes, against plain training."""
    metric = METRICS[study.metric].title
    overall, plain = study.score(winner, "all", study.metric), study.score(BASELINE, "all", study.metric)
    text = f"On the {_split(study)} images it reaches a {metric} of {decimals(overall.mean)} over all classes"
    if winner != BASELINE and plain.mean is not None:
        text += f" (plain training: {decimals(plain.mean)})"
    rare, plain_rare = study.score(winner, "minority", "recall"), study.score(BASELINE, "minority", "recall")
    if rare.mean is not None:
        text += f", and finds {rare.mean:.0%} of the images of a rare class on average"
        if winner != BASELINE and plain_rare.mean is not None:
            text += f" (plain training: {plain_rare.mean:.0%})"
    return text.replace("%", "\u00a0%") + "."


def _certainty(study: Comparison, winner: str) -> list[str]:
    """Say whether the winner's lead over plain training could be chance, and how many draws there were."""
    if study.draws < 2:
        return [
            "All numbers come from a single draw of the images, so there are no intervals; "
            "another draw can differ by several points."
        ]
    for test in study.summary.get("tests") or ():
        pair = {test.get("a"), test.get("b")}
        same = test.get("metric") == study.metric and test.get("classes") == "all"
        adjusted = test.get("p_adjusted")
        if same and pair == {winner, BASELINE} and isinstance(adjusted, (int, float)):
            lead = MeanInterval(test.get("difference"), None, None, study.draws)
            certain = judge(lead, p_value=adjusted).certain
            sure = "is unlikely to be chance" if certain else "could still be chance"
            return [
                f"Over {study.draws} draws its distance from plain training {sure} "
                f"(adjusted p\u00a0=\u00a0{p_text(adjusted)})."
            ]
    return []


def _tiles(study: Comparison, winner: str) -> tuple[Tile, ...]:
    wanted = [("all", study.metric), ("minority", "recall"), ("majority", "recall"), ("all", "accuracy")]
    tiles = []
    for group, metric in wanted:
        score, plain = study.score(winner, group, metric), study.score(BASELINE, group, metric)
        if score.mean is None:
            continue
        against = ""
        if winner != BASELINE and plain.mean is not None:
            against = f"plain training {decimals(plain.mean)}"
        interval = interval_text(score, between=" to ")
        label = (
            METRICS[metric].title
            if metric == "accuracy"
            else f"{METRICS[metric].title}, {GROUPS[group].title}"
        )
        tiles.append(Tile(label, decimals(score.mean), repr(score.mean), interval, against))
    return tuple(tiles)


def warnings_of(study: Comparison) -> list[str]:
    """Return everything a reader should be wary of, the gravest first."""
    return [
        *_failures(study),
        *_losers(study),
        *study.warnings,
        *_flags(study.runs),
        *_data_warnings(study.runs),
    ]


def _failures(study: Comparison) -> list[str]:
    return [
        f"{study.title_of(str(failed.get('method')))}, draw {failed.get('draw')}, "
        f"failed: {failed.get('error')}"
        for failed in study.summary.get("failed") or ()
    ]


def _losers(study: Comparison) -> list[str]:
    """Name the methods that do not reach plain training."""
    notes = {record.get("method"): record for record in study.summary.get("methods") or ()}
    metric, plain = METRICS[study.metric].title, study.score(BASELINE, "all", study.metric).mean
    texts = []
    for method in study.methods:
        if method == BASELINE:
            continue
        own = study.score(method, "all", study.metric).mean
        if own is not None and plain is not None and METRICS[study.metric].gain(own, over=plain) < 0:
            texts.append(
                f"{study.title_of(method)} does worse than plain training: "
                f"{metric} {decimals(own)} against {decimals(plain)} on the {_split(study)} images."
            )
        elif notes.get(method, {}).get("beats_baseline") is False:
            texts.append(f"{study.title_of(method)} is no better than plain training.")
    if plain is None and len(study.methods) > 1:
        texts.append("Plain training (bl) is not among the methods, so nothing shows what they gain.")
    return texts


def _flags(runs: Sequence[Run]) -> list[str]:
    """Gather the flags that the evaluation raised, once per text."""
    raised: dict[str, dict[str, list[int]]] = {}
    for run in runs:
        for flag in (run.scores or {}).get("flags") or ():
            raised.setdefault(str(flag), {}).setdefault(run.title, []).append(run.draw)
    texts = []
    for flag, methods in raised.items():
        who = "; ".join(
            f"{title}, draw{'s' if len(draws) > 1 else ''} {', '.join(map(str, sorted(draws)))}"
            for title, draws in methods.items()
        )
        texts.append(f"{who}: {flag.rstrip('.')}.")
    return texts


def _data_warnings(runs: Sequence[Run]) -> list[str]:
    """Warn of skipped files and of classes with too few test images to judge by."""
    if not runs:
        return ["No run folder is at hand, so there are only the scores to show."]
    texts = []
    skipped = runs[0].dataset.get("skipped") or []
    if skipped:
        first = ", ".join(f"{item.get('path')} ({item.get('reason')})" for item in skipped[:3])
        more = f", and {len(skipped) - 3} more" if len(skipped) > 3 else ""
        files = "1 file was" if len(skipped) == 1 else f"{len(skipped)} files were"
        texts.append(f"{files} skipped as unreadable: {first}{more}.")
    counts = runs[0].counts(runs[0].split)
    few = [
        f"{shorten(name, length=40)} ({count})"
        for name, count in zip(runs[0].classes, counts or (), strict=False)
        if count < FEW_IMAGES
    ]
    if few:
        shown = ", ".join(few[:6]) + (f", and {len(few) - 6} more" if len(few) > 6 else "")
        texts.append(f"Few {runs[0].split} images, so the scores of these classes are rough: {shown}.")
    return texts


def _over(n: int) -> str:
    return f", mean of {n} draws" if n > 1 else ""


def _split(study: Comparison) -> str:
    return study.runs[0].split if study.runs else "test"


def _dataset_name(study: Comparison) -> str:
    if study.runs:
        return str(study.runs[0].dataset.get("name") or "the images")
    return str(study.summary.get("dataset") or "the images")
