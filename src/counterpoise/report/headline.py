"""The headline and the warnings of a report, in whole sentences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from counterpoise.evaluation import BASELINE, GROUPS, METRICS, MeanInterval, absent_classes, judge
from counterpoise.report.comparison import Comparison
from counterpoise.report.kit.wording import count, decimals, interval_text, percent, rests_on, shorten, signed
from counterpoise.runs import RunFolder

FEW_IMAGES = 10
TILES = (("minority", "recall"), ("majority", "recall"), ("all", "accuracy"))


class Tile(NamedTuple):
    """One large number with the baseline's beside it."""

    label: str
    value: str
    exact: str
    interval: str
    against: str
    rests_on: str = ""


class Headline(NamedTuple):
    """Summary for a reader who reads nothing else."""

    title: str
    sentences: tuple[str, ...]
    tiles: tuple[Tile, ...]


def headline(study: Comparison) -> Headline:
    """Return the title, the sentences and the large numbers about the winner."""
    winner = study.winner
    if winner is None:
        return Headline("No method could be chosen", ("No run has scores on validation images.",), ())
    title, several = study.titles[winner], len(study.methods) > 1
    heading = f"{title} was chosen" if several else f"{title} on {study.dataset}"
    alone = f"One method was trained: {title}. Train others on the same images to compare with it."
    sentences = [_choice(study, title) if several else alone, *_test_sentences(study, winner)]
    if winner == BASELINE and several:
        sentences.append("This is the baseline: none of the counter-measures helped more on these images.")
    sentences += _certainty(study, winner)
    return Headline(heading, tuple(sentences), _tiles(study, winner))


def _choice(study: Comparison, title: str) -> str:
    reason = f"has the best {study.metric.title} on the validation images"
    if study.choice is not None:
        reason = f"was chosen: {study.choice.reason}"
    return f"Of {len(study.methods)} methods, {title} {reason}. " + (
        "The test images were not used for this choice."
        if study.split == "test"
        else "There are no test images: the same validation images chose it, so its scores tend to be too high."
    )


def _test_sentences(study: Comparison, winner: str) -> list[str]:
    """Say what the winner scores over all and over the rare classes, beside the baseline."""
    base = None if winner == BASELINE else study.score(BASELINE, "all", study.metric.name).mean
    own = decimals(study.score(winner, "all", study.metric.name).mean)
    beside = "" if base is None else f" (baseline: {decimals(base)})"
    sentences = [
        f"On the {study.split} images it reaches a {study.metric.title} of {own} over all classes{beside}."
    ]
    rare, base = (study.score(method, "minority", "recall").mean for method in (winner, BASELINE))
    if rare is not None:
        images = study.score(winner, "minority", "recall").images
        on = [f"{count(images, study.split + ' image')}"] if images else []
        on += [] if winner == BASELINE or base is None else [f"baseline: {percent(1 - base)}"]
        beside = f" ({'; '.join(on)})" if on else ""
        sentences.append(f"It misses {percent(1 - rare)} of the images of a rare class, on average{beside}.")
    return sentences


def _certainty(study: Comparison, winner: str) -> list[str]:
    """Say whether the winner's distance from the baseline on the test images could be chance."""
    gain = study.summaries[winner].gain
    if gain is not None and gain.mean is not None and gain.low is not None and gain.high is not None:
        judged = judge(MeanInterval(gain.mean, gain.low, gain.high, gain.n))
        between = f"{signed(gain.mean)} {study.metric.short_title} (95 %: {signed(gain.low)} to {signed(gain.high)})"
        text = f"On the same {study.split} images its distance from the baseline is {between}"
        if not judged.certain:
            return [f"{text}, which could still be chance."]
        if judged.holds:
            return [f"{text}, which is unlikely to be chance."]
        return [
            f"{text}: there the baseline scores higher, against the validation images. Keep more images for "
            "validation, or add repeats, before one of the two is used."
        ]
    if study.repeats < 2:
        return [
            "All numbers come from a single repeat; another split of the images can differ by several points."
        ]
    return []


def _tiles(study: Comparison, winner: str) -> tuple[Tile, ...]:
    tiles = []
    for group, metric in dict.fromkeys([("all", study.metric.name), *TILES]):
        score, base = study.score(winner, group, metric), study.score(BASELINE, group, metric)
        if score.mean is None:
            continue
        title, interval = METRICS[metric].title, interval_text(score.low, score.high, between=" to ")
        label = title if metric == "accuracy" else f"{title}, {GROUPS[group].title}"
        against = "" if winner == BASELINE or base.mean is None else f"baseline {decimals(base.mean)}"
        tiles.append(
            Tile(
                label,
                decimals(score.mean),
                repr(score.mean),
                interval,
                against,
                rests_on(score.images, score.n),
            )
        )
    return tuple(tiles)


def warnings_of(study: Comparison) -> list[str]:
    """Return everything a reader should be wary of, the gravest first."""
    failed = study.summary.failed if study.summary else ()
    return [
        *(f"{study.titles.get(f.method, f.method)}, repeat {f.draw}, failed: {f.error}" for f in failed),
        *(f"{note[0].upper()}{note[1:]}." for note in _absent(study)),
        *_untested(study),
        *_losers(study),
        *study.warnings,
        *_flags(study.runs),
        *_data_warnings(study.runs),
    ]


def _absent(study: Comparison) -> list[str]:
    """Return the classes without validation or test images."""
    counts = study.runs[0].record.dataset.counts if study.runs else {}
    return absent_classes(counts, study.runs[0].record.dataset.classes if study.runs else ())


def _untested(study: Comparison) -> list[str]:
    """Warn where the scores are of images that the model was selected by; of several methods the headline speaks."""
    if study.split == "test" or len(study.methods) > 1:
        return []
    selected = any(run.record.training.get("select") == "best" for run in study.runs)
    chosen = ", which also chose the epoch that was saved, so they tend to be too high" if selected else ""
    return [f"There are no test images: scores are of validation images{chosen}."]


def _losers(study: Comparison) -> list[str]:
    """Name the methods that are certainly worse than the baseline; of the winner the headline speaks."""
    base = study.score(BASELINE, "all", study.metric.name).mean
    texts = [
        f"{study.titles[method]} is {entry.note}."
        for method, entry in study.summaries.items()
        if entry.beats_baseline is False and entry.gain is not None and method != study.winner
    ]
    if base is None and len(study.methods) > 1:
        texts.append("The baseline (bl) is not among the methods, so nothing shows what they gain.")
    return texts


def _flags(runs: Sequence[RunFolder]) -> list[str]:
    """Gather the flags that the evaluation raised, once per text."""
    raised: dict[str, dict[str, list[int]]] = {}
    for run in runs:
        for flag in run.scores.flags if run.scores else ():
            raised.setdefault(flag, {}).setdefault(run.record.title, []).append(run.record.draw)
    texts = []
    for flag, methods in raised.items():
        drawn = {
            m: f"repeat{'s' * (len(n) > 1)} {', '.join(map(str, sorted(n)))}" for m, n in methods.items()
        }
        texts.append(f"{'; '.join(map(', '.join, drawn.items()))}: {flag.rstrip('.')}.")
    return texts


def _data_warnings(runs: Sequence[RunFolder]) -> list[str]:
    """Warn of skipped files and of classes with too few test images to judge by."""
    if not runs:
        return ["No run folder is at hand, so there are only the scores to show."]
    texts = []
    dataset, split = runs[0].record.dataset, runs[0].scored_split
    if dataset.skipped:
        shown = [f"{file.path} ({file.reason})" for file in dataset.skipped]
        verb = "was" if len(shown) == 1 else "were"
        texts.append(f"{count(len(shown), 'file')} {verb} skipped as unreadable: {_first(shown, 3)}.")
    counts = dataset.counts.get(split) or ()
    # A split without any image is left out on purpose.
    sizes = zip(dataset.classes, counts, strict=False) if sum(counts) else ()
    few = [f"{shorten(name, length=40)} ({images})" for name, images in sizes if 0 < images < FEW_IMAGES]
    if few:
        texts.append(f"Few {split} images, so the scores of these classes are rough: {_first(few, 6)}.")
    return texts


def _first(texts: Sequence[str], most: int) -> str:
    return ", ".join(texts[:most]) + (f", and {len(texts) - most} more" if len(texts) > most else "")
