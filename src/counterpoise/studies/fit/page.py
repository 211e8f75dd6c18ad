"""Report and model card of a fit, from its ``summary.json`` and the run folder of the model that was kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from counterpoise.evaluation import ChoiceDict, page_metrics
from counterpoise.exceptions import InputError, RunFolderError
from counterpoise.files import read_object
from counterpoise.inference import promise_words
from counterpoise.report import (
    NONE,
    Cell,
    Table,
    build_report,
    candidates_table,
    count,
    decimals,
    duration,
    percent,
    write_page,
)
from counterpoise.runs import RunFolder
from counterpoise.studies.fit import learning_curve

if TYPE_CHECKING:
    from counterpoise.studies.fit.study import FitSummary

FEW_IMAGES = 5
"""With fewer held-out images, a class has scores that one image changes by 20 points and more."""
FROZEN = (
    "A pretrained network, which stays as it is, turns each picture into numbers, and a small classifier learned "
    "from those of your pictures"
)
TUNED = "The pretrained network itself continued training on your pictures"
AVERAGED = (
    "The probabilities of two models are averaged: one of an unchanged pretrained network, and one fine-tuned"
)
REFITTED = (
    "The pretrained network itself continued training on your pictures, and then a small classifier learned from its "
    "features"
)
SCRATCH = "A small network learned from your pictures alone, at their own size, without pretrained weights"
KINDS = {"fine-tuned": TUNED, "average": AVERAGED, "refitted-head": REFITTED, "from-scratch": SCRATCH}


def few_images(classes: Sequence[str], held_out: Mapping[str, Sequence[int]]) -> list[str]:
    """Return a warning for the choice among heads, and for that among networks, that rests on few images of a class.

    Examples
    --------
    >>> few_images(["cat", "owl"], {"heads": [40, 3], "networks": [8, 0]})[1]
    'The choice among networks rests on few held-out images of owl (0): it may be wrong for them.'
    """
    found = []
    for what, counts in held_out.items():
        few = [f"{name} ({n})" for name, n in zip(classes, counts, strict=True) if n < FEW_IMAGES]
        if few:
            more = f", and {len(few) - 6} more" if len(few) > 6 else ""
            names = ", ".join(few[:6]) + more
            found.append(
                f"The choice among {what} rests on few held-out images of {names}: it may be wrong for them."
            )
    return found


def build_fit_report(folder: Path, output: Path) -> Path:
    """Write the report about a finished fit to the file `output`; RunFolderError if the folder is damaged."""
    try:
        return _write_report(cast("FitSummary", read_object(folder / "summary.json")), folder, output)
    except InputError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        fault = f"it lacks {error}" if isinstance(error, KeyError) else error
        raise RunFolderError(f"{folder / 'summary.json'} is damaged: {fault}; run it again") from error


def write_pages(summary: FitSummary, folder: Path) -> None:
    """Write ``report.html`` and ``model-card.md`` about a finished fit; equal folders give equal pages."""
    _write_report(summary, folder, folder / "report.html")
    _write_card(summary, folder)


def _write_report(summary: FitSummary, folder: Path, output: Path) -> Path:
    best = RunFolder.open(folder / "best")
    found = summary.get("forecasts", "this version of the fit has none")
    rows = [] if isinstance(found, str) else learning_curve.ordered(found, best.record.dataset)
    return build_report(
        [best.path],
        output,
        title=_title(summary),
        template="studies/fit/fit.html.j2",
        sections=[("candidates", "Choice"), ("more-images", "More images"), ("time", "Time")],
        charts={"chart-more-images": learning_curve.figure(rows)} if rows else None,
        forecasts=learning_curve.table(rows) if rows else None,
        forecast_words=[learning_curve.sentence(*row) for row in rows[: learning_curve.NAMED]]
        or [_plain(f"Not done: {found}.")],
        more_warnings=[_plain(warning) for warning in summary["warnings"]],
        facts=_facts(summary, best),
        times=Table(
            "Time",
            ["candidate", "time"],
            [[_named(summary, k), duration(v)] for k, v in summary["seconds"].items()],
        ),
        skipped_candidates=_not_tried(summary),
        failed=[f"{entry['method']} failed: {entry['error']}" for entry in summary["failed"]],
        words_of_choice=_words(summary, best),
        choices=_choices(summary),
    )


def _write_card(summary: FitSummary, folder: Path) -> None:
    best = RunFolder.open(folder / "best")
    write_page(
        folder / "model-card.md",
        "studies/fit/model_card.md.j2",
        title=_title(summary),
        model=_model(summary, best),
        classes=_classes(summary, best),
        scores=_scores(best),
        tested=best.metrics.test is not None,
        limits=_limits(summary, best),
        words_of_choice=_words(summary, best),
        choices=_choices(summary),
    )


def _title(summary: FitSummary) -> str:
    return f"The model for {summary['dataset']}"


def _named(summary: FitSummary, name: str) -> str:
    """Return the title of a candidate."""
    return next((entry["title"] for entry in summary["methods"] if entry["method"] == name), name)


def _words(summary: FitSummary, best: RunFolder) -> dict[str, Any]:
    winner = summary["winner"] or ""
    title = _named(summary, winner)
    sentences = [f"{KINDS.get(winner, FROZEN)} ({title})."]
    scores = best.metrics.test
    if scores is not None:
        images = sum(own.support or 0 for own in scores.per_class)
        sentences.append(
            f"On {count(images, 'test image')}, which were used for nothing else, it recognizes "
            f"{_share(scores.score('recall'))} of the images of a class, on average over the classes."
        )
        rare = [best.record.dataset.classes[index] for index in best.record.dataset.minority]
        missed = scores.score("recall", "minority")
        if rare and missed is not None:
            names = ", ".join(rare[:4]) + (" and others" if len(rare) > 4 else "")
            tested = sum(scores.per_class[index].support or 0 for index in best.record.dataset.minority)
            sentences.append(
                f"It misses {percent(1 - missed)} of the images of a rare class ({names}; "
                f"{count(tested, 'test image')})."
            )
    else:
        choice = summary["networks"] or summary["heads"]
        rows = [] if choice is None else [row for row in choice["candidates"] if row["name"] == winner]
        recall = percent(rows[0]["recall"]["value"]) if rows else "an unknown share"
        sentences.append(
            f"No images were kept for testing. It recognized {recall} of the images of a class among training images "
            "that it had not learned from; the same images chose it, so new pictures may fare worse."
        )
    tried = sum(entry["n"] for entry in summary["methods"])
    rests = {name: sum(counts) for name, counts in summary["held_out"].items()}
    most = max(rests.values(), default=0)
    of_tuned = f", {rests['networks']:,} of them for trained networks" if len(rests) > 1 else ""
    sentences.append(
        f"It was chosen among {count(tried, 'candidate')} by {count(most, 'training image')} that "
        f"they had not learned from{of_tuned}: {summary['reason']}."
    )
    if summary.get("tau", 1.0) != 1:
        sentences.append(
            f"Its probabilities are {_prior(summary)}, which is best by the metric that was asked for."
        )
    if (temperature := summary["temperature"]) != 1:
        change = "too certain and are softened" if temperature > 1 else "not certain enough and are sharpened"
        sentences.append(
            f"Its probabilities were {change} (temperature {temperature:.2f}, chosen by the same training images)."
        )
    return {"title": f"{title} was kept", "sentences": sentences}


def _share(value: float | None) -> str:
    return NONE if value is None else percent(value)


def _choices(summary: FitSummary) -> list[tuple[str, str, Table, str]]:
    """Return title, text, table and reason of each choice."""
    heads, networks, folds = summary["heads"], summary["networks"], summary["folds"]
    found = []
    if heads is not None:
        text = f"Cross-validation with {folds} folds over {count(heads['images'], 'training image')}."
        found.append(("Classifiers on the frozen network", text, _table(summary, heads), heads["reason"]))
    if networks is not None:
        beside = "Trained networks" if heads is None else "The best of them beside trained networks"
        text = (
            f"{beside}, on {count(networks['images'], 'training image')} (one of {folds} folds), from which those did "
            "not learn."
        )
        found.append(("Frozen, trained, or both", text, _table(summary, networks), networks["reason"]))
    return found


def _table(summary: FitSummary, choice: ChoiceDict) -> Table:
    return candidates_table(
        choice, {row["name"]: _named(summary, row["name"]) for row in choice["candidates"]}
    )


def _facts(summary: FitSummary, best: RunFolder) -> list[tuple[str, str]]:
    side, start = best.record.network.image_size[0], best.record.start
    facts = [
        ("pretrained weights", f"{start.origin} (license: {start.license})" if start.origin else "none"),
        ("image size", f"{side} x {side} pixels ({summary['fit']})"),
        ("speed", f"{summary['images_per_second']:,.0f} images a second are embedded"),
        ("time allowed", duration(summary["budget_seconds"])),
        ("time taken by the last call", duration(summary["wall_seconds"])),
        ("command", summary["command"]),
    ]
    return [(name, value) for name, value in facts if value]


def _not_tried(summary: FitSummary) -> list[str]:
    return [
        f"{_named(summary, e['method'])}: {_plain(e['reason'])}." for e in summary.get("not_applicable", ())
    ]


def _plain(message: str) -> str:
    """Return a message of the library without the marks around the names of parameters."""
    return message.replace("`", "")


def _model(summary: FitSummary, best: RunFolder) -> Iterable[tuple[str, str]]:
    record = best.record
    height, width = record.network.image_size
    yield "Kept candidate", record.title
    yield "Network", f"{record.network.name}, {count(record.network.parameters or 0, 'parameter')}"
    if record.start.origin:
        yield "Pretrained weights", f"{record.start.origin} (license: {record.start.license or 'unknown'})"
    yield "Input", f"{width} x {height} pixels, other shapes: {record.dataset.fit}"
    yield "Calibration", _calibration(summary)
    yield (
        "Made by",
        f"counterpoise {record.version}" + (f", `{summary['command']}`" if summary["command"] else ""),
    )
    yield "Data fingerprint", f"`{record.dataset.fingerprint}`"


def _calibration(summary: FitSummary) -> str:
    temperature = summary["temperature"]
    change = f"{'softened' if temperature > 1 else 'sharpened'} by the temperature {temperature:.2f}; "
    return f"{'' if temperature == 1 else change}probabilities are {_prior(summary)}"


def _prior(summary: FitSummary) -> str:
    power = 1 - summary.get("tau", 1.0)
    common = f"each class was as common as its share of your pictures to the power {power:g}"
    return f"as if {common}" if power else "as if all classes were equally common"


def _classes(summary: FitSummary, best: RunFolder) -> Table:
    dataset, splits = best.record.dataset, ("train", "validation", "test")
    counts = {name: own for name in splits if (own := dataset.counts.get(name))}
    rows: list[list[Cell]] = [
        [
            name,
            *(f"{own[index]:,}" for own in counts.values()),
            *(f"{own[index]:,}" for own in summary["held_out"].values()),
        ]
        for index, name in enumerate(dataset.classes)
    ]
    held_out = [f"held out for {what}" for what in summary["held_out"]]
    return Table("Classes", ["class", *counts, *held_out], rows)


def _scores(best: RunFolder) -> Table:
    scores = best.metrics.test
    metrics = [metric for metric in page_metrics() if metric.of_classes is not None]
    rows: list[list[Cell]] = []
    if scores is not None:
        for own in scores.per_class:
            rows.append([own.name, f"{own.support:,}", *(decimals(own.score(m.name)) for m in metrics)])
        total = sum(own.support or 0 for own in scores.per_class)
        rows.append(["all", f"{total:,}", *(decimals(scores.score(m.name)) for m in metrics)])
    return Table("Scores", ["class", "images", *(metric.title for metric in metrics)], rows)


def _promise(best: RunFolder) -> list[str]:
    trust = best.record.raw.get("trust")
    return (
        [f"The column `sure` of predictions names possible classes: {promise_words(trust)}."] if trust else []
    )


def _limits(summary: FitSummary, best: RunFolder) -> list[str]:
    scores = best.metrics.test
    few = [
        f"{own.name} ({own.support})"
        for own in (scores.per_class if scores else ())
        if (own.support or 0) < FEW_IMAGES
    ]
    return [
        *summary["warnings"],
        *([f"Few test images, so the scores of these classes are rough: {', '.join(few)}."] if few else []),
        "Scores are those of one split of one set of pictures; on pictures from another camera, place or time they may "
        "be lower.",
        *_promise(best),
        f"Probabilities are {_prior(summary)}: for a rare class they differ from its share of your pictures.",
        "The candidate was chosen on the same held-out images that its estimates come from, which favors it slightly.",
    ]
