"""Adjusting a finished run: its network as it is, and another way from logits to classes, in a new run folder."""

from __future__ import annotations

import re
import shutil
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from counterpoise._version import __version__
from counterpoise.balance.adjust import Adjustment
from counterpoise.balance.catalog import SLOT_CATALOGS
from counterpoise.balance.costs import read_costs
from counterpoise.datasets import ImageDataset, SplitManifest
from counterpoise.evaluation import ScoresDict, evaluate
from counterpoise.exceptions import InputError, UnknownNameError
from counterpoise.files import atomic_path, content_hash, write_json
from counterpoise.methods import Component, read_value
from counterpoise.runs.folder import RunFolder
from counterpoise.training import find_device, held_out_logits, softmax, versions, write_scores

PLACE = "adjust"
# What a run keeps that does not depend on the adjustment.
KEPT = ("manifest.json", "history.json", "embedding.json", "model.safetensors")


@dataclass(frozen=True)
class AdjustmentPlan:
    """How a finished run is to be adjusted.

    Attributes
    ----------
    base : RunFolder
        The run whose network is used.
    manifest : SplitManifest
        Its split.
    piece : Component
        The adjustment.
    costs : ndarray of shape (C, C) or None
        What mistakes cost, for the table; rows are true classes.
    out : Path
        The new run's folder.
    """

    base: RunFolder
    manifest: SplitManifest
    piece: Component
    costs: np.ndarray | None
    out: Path

    @property
    def spec(self) -> str:
        """The adjustment as it could be typed, with its options."""
        return ":".join([self.piece.name, *(f"{key}={value}" for key, value in self.piece.options.items())])

    @property
    def hash(self) -> str:
        """Hash of all that the new run depends on; where files lie is not part of it."""
        options = self.piece.defaults()
        if options.get("costs") is not None and self.costs is not None:
            options["costs"] = self.costs.tolist()
        return content_hash([self.base.record["config_hash"], self.piece.name, options])

    def build(self) -> Adjustment:
        """Return the adjustment, not yet fitted."""
        return self.piece.build(class_names=tuple(self.base.record["dataset"]["classes"]))


@dataclass(frozen=True)
class AdjustedRun:
    """A run that was adjusted, and what that did to the test images.

    Attributes
    ----------
    folder : RunFolder
        The new run.
    before, after : dict or None
        The scores of the test images, as `counterpoise.evaluation.evaluate` gives them; None without any.
    cost_before, cost_after : float or None
        The mean cost of a decision on the test images, where costs were given.
    """

    folder: RunFolder
    before: ScoresDict | None
    after: ScoresDict | None
    cost_before: float | None
    cost_after: float | None


def plan_adjustment(
    base: RunFolder,
    spec: str,
    *,
    score: str | None = None,
    costs: Path | None = None,
    out: Path | None = None,
) -> AdjustmentPlan:
    """Return what is to be done; everything that can be wrong with it is found before any image is read.

    Parameters
    ----------
    base : RunFolder
        A finished run.
    spec : str
        An adjustment's name, perhaps with options: ``class-thresholds:score=f1``.
    score : str, optional
        Sets the option of that name.
    costs : Path, optional
        File of a cost matrix. Sets the option of that name where there is one, unless a score is to be tuned for.
    out : Path, optional
        The new run's folder; beside the run if not given.

    Raises
    ------
    InputError
        If the adjustment, an option or the costs are refused, or the run kept no validation images to learn from.
    RunFolderError
        If `out` holds anything else.
    """
    piece = _read_piece(spec)
    if score is not None:
        piece = piece.with_option("score", score)
    if costs is not None and piece.options.get("costs") is not None:
        raise InputError(
            "costs are given twice: with `costs` and as an option of `adjustment`; leave one out"
        )
    if costs is not None and "costs" in piece.defaults() and piece.options.get("score") is None:
        piece = piece.with_option("costs", str(costs))
    file = costs or piece.options.get("costs")
    classes = base.record["dataset"]["classes"]
    matrix = None if file is None else read_costs(file, len(classes), class_names=classes)
    manifest = SplitManifest.load(base.path / "manifest.json")
    plan = AdjustmentPlan(base, manifest, piece, matrix, out or _folder_beside(base.path, piece))
    _check(plan)
    RunFolder(plan.out).check_owner(plan.hash)
    return plan


def _read_piece(spec: str) -> Component:
    name, *options = spec.split(":")
    known = SLOT_CATALOGS[PLACE].names
    if name not in known:
        raise UnknownNameError("adjustment", name, known)
    piece = Component(PLACE, name)
    for option in options:
        key, equals, value = option.partition("=")
        if not (key and equals and value):
            raise InputError(f"`adjustment` {spec}: {option!r} is not of the form option=value")
        piece = piece.with_option(key, read_value(value))
    return piece


def _check(plan: AdjustmentPlan) -> None:
    """Let the adjustment see these classes, with made-up logits in place of the network's."""
    counts = plan.manifest.counts
    num_classes = len(counts["train"])
    made_up = np.random.default_rng(0).normal(size=(num_classes, num_classes))
    adjustment = plan.build().fit(made_up, np.arange(num_classes), counts["train"])
    if adjustment.needs_logits and not sum(counts["validation"]):
        raise InputError(
            f"{plan.base.path} kept no validation images, and {plan.piece.name} learns from them; "
            "train with `validation_fraction` above 0, or choose an adjustment that needs none"
        )


def _folder_beside(run: Path, piece: Component) -> Path:
    """Return the folder for the new run where the user names none: named like the run and what is done to it."""
    whole = run if run.name and run.name != ".." else run.resolve()
    words = [
        Path(str(value)).stem if key == "costs" else f"{key}={value}" for key, value in piece.options.items()
    ]
    name = re.sub(r"[^\w.=-]+", "-", "-".join([piece.name, *words]))[:80]
    return whole.with_name(f"{whole.name}-adjusted-{name}")


def adjust_run(plan: AdjustmentPlan, dataset: ImageDataset, *, device: str = "auto") -> AdjustedRun:
    """Learn the adjustment from the run's own validation images and write the new run's folder.

    It is learned from the network's own logits: where the run has an adjustment already, the new one takes its place.
    The new folder is whole: it can be evaluated, reported, used to predict, and adjusted again.

    Parameters
    ----------
    plan : AdjustmentPlan
        What to do.
    dataset : ImageDataset
        The data set of the run, loaded as the run's model expects it.
    device : str
        ``"auto"``, ``"cpu"`` or ``"cuda"``.

    Raises
    ------
    DataError
        If the images are not those of the run.
    RunFolderError
        If the new folder cannot be written.
    """
    start = time.perf_counter()
    base, minority, target = plan.base, plan.manifest.minority, find_device(device)
    splits = plan.manifest.apply(dataset)
    logits = held_out_logits(base.load_network(), splits, device=target)
    adjustment = _fitted(plan, splits, logits.get("validation"))
    before = _test_scores(splits, minority, logits.get("test"), base.load_adjustment())
    folder = RunFolder(plan.out)
    with folder.claimed(plan.hash):
        for file in filter(Path.exists, (base.path / name for name in KEPT)):
            _copy_file(file, folder.path / file.name)
        metrics = write_scores(folder, splits, minority, logits, adjustment)
        seconds = {"adjust": round(time.perf_counter() - start, 3)}
        write_json(folder.record_path, _record(plan, adjustment, seconds))
    after = metrics["test"]
    return AdjustedRun(
        RunFolder(plan.out), before, after, _mean_cost(before, plan.costs), _mean_cost(after, plan.costs)
    )


def _fitted(plan: AdjustmentPlan, splits: ImageDataset, logits: np.ndarray | None) -> Adjustment:
    labels = None if logits is None or splits.validation is None else splits.validation.labels
    return plan.build().fit(logits, labels, splits.train.class_counts(splits.num_classes))


def _test_scores(
    splits: ImageDataset, minority: tuple[int, ...], logits: np.ndarray | None, adjustment: Adjustment | None
) -> ScoresDict | None:
    if logits is None or splits.test is None:
        return None
    probabilities = softmax(logits if adjustment is None else adjustment.transform(logits))
    return evaluate(splits.test.labels, probabilities, classes=splits.classes, minority=minority)


def _mean_cost(scores: ScoresDict | None, costs: np.ndarray | None) -> float | None:
    """Return the mean cost of the decisions in a confusion matrix, both with true classes in rows."""
    if scores is None or costs is None:
        return None
    return float((np.array(scores["confusion_matrix"]) * costs).sum() / scores["n"])


def _copy_file(source: Path, target: Path) -> None:
    with atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)


def _record(plan: AdjustmentPlan, adjustment: Adjustment, seconds: dict[str, float]) -> dict[str, Any]:
    record = plan.base.record
    # An adjusted run that is adjusted again goes back to the one that was trained.
    trained = record.get("adjusted_from") or {
        "run": str(plan.base.path),
        "config_hash": record["config_hash"],
        "method": record["method"],
        "method_title": record["method_title"],
    }
    options = {k: v for k, v in record["method_options"].items() if k.partition(".")[0] != PLACE}
    options |= {PLACE: plan.piece.name}
    options |= {f"{PLACE}.{option}": value for option, value in plan.piece.defaults().items()}
    return record | {
        "version": __version__,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        # As it would be typed to train it so.
        "method": f"{trained['method']}:{PLACE}={plan.spec}",
        "method_title": f"{trained['method_title']}, adjusted by {plan.spec}",
        "method_options": options,
        "adjust": adjustment.get_state(),
        "adjusted_from": trained,
        "config_hash": plan.hash,
        "versions": versions(),
        "timings": record["timings"] | seconds,
    }
