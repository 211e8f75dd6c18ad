"""Adjustment of a finished run: the same network with other decisions, in a new run folder."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from counterpoise._version import __version__
from counterpoise.balance import SLOT_CATALOGS, read_costs
from counterpoise.balance.adjust import Adjustment
from counterpoise.datasets import ImageDataset, SplitManifest
from counterpoise.evaluation import ScoresDict, evaluate
from counterpoise.exceptions import DataError, InputError, UnknownNameError
from counterpoise.files import content_hash, copy_file, write_json
from counterpoise.inference.model import TrainedModel
from counterpoise.methods import Component, read_value
from counterpoise.runs import CALIBRATION, RunFolder
from counterpoise.training import (
    cpu_threads,
    held_out_logits,
    own_split,
    softmax,
    timestamp,
    trust_record,
    versions,
    write_scores,
)

PLACE = "adjust"
# Files of a run that do not depend on the adjustment.
COPIED_FILES = (
    "manifest.json",
    "history.json",
    "embedding.json",
    "model.safetensors",
    "seen.safetensors",
    CALIBRATION,
)
REQUIRED, SIGMOIDS = "required-rates", "sigmoid-scores"


@dataclass(frozen=True)
class AdjustmentPlan:
    """Adjustment of a finished run, validated but not yet learned.

    `base` is the run whose network is used, with its split `manifest`. `costs` (C, C) of decisions are for the table;
    rows are true classes. `out` is the new run's folder.
    """

    base: RunFolder
    manifest: SplitManifest
    component: Component
    costs: np.ndarray | None
    out: Path

    @property
    def spec(self) -> str:
        """The adjustment with its options, in the syntax of the command line."""
        options = (f"{key}={value}" for key, value in self.component.options.items())
        return ":".join([self.component.name, *options])

    @property
    def held_out_counts(self) -> list[int]:
        """Images of each class that the adjustment is learned from."""
        validation, stored = self.manifest.counts["validation"], _held_out(self.base)
        if sum(validation) or stored is None:
            return validation
        return np.bincount(stored[1], minlength=len(validation)).tolist()

    @property
    def hash(self) -> str:
        """Hash of everything that the new run depends on."""
        options = self.component.settings()
        if options.get("costs") is not None and self.costs is not None:
            options["costs"] = self.costs.tolist()
        return content_hash([self.base.record.config_hash, self.component.name, options])

    def split(self, dataset: ImageDataset) -> SplitManifest:
        """Return the run's own split of a dataset; `DataError` if it does not hold the run's images."""
        manifest = own_split(self.base, dataset)
        if manifest is None:
            raise DataError(
                f"{dataset.name!r} does not hold the images of {self.base.path}, trained on {self.manifest.dataset!r}: "
                "contents or classes differ; give the same images"
            )
        return manifest

    def build(self) -> Adjustment:
        """Return the adjustment, not yet fitted."""
        return self.component.build(class_names=self.base.record.dataset.classes)


@dataclass(frozen=True)
class AdjustedRun:
    """Result of `adjust_run`: the new run, and the scores of the test images before and after (None without any).

    `cost_before` and `cost_after` are the mean cost of a decision on them, if costs were given.
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
    require: Sequence[str] = (),
    confidence: float | None = None,
    out: Path | None = None,
) -> AdjustmentPlan:
    """Validate an adjustment before any image is read.

    Parameters
    ----------
    spec : str
        An adjustment's name, perhaps with options: ``class-thresholds:score=f1``.
    score : str, optional
        Value of the option of that name.
    costs : Path, optional
        File of a cost matrix. It is the value of the option of that name where there is one, unless a score is tuned.
    require, confidence : sequence of str, and float, optional
        Promises, and the probability that they hold, see `RequiredRates`, which must be the adjustment.
    out : Path, optional
        The new run's folder, by default beside the run; `RunFolderError` if it holds anything else.

    Raises
    ------
    InputError
        If the adjustment, an option or the costs are refused, the run has no held-out images to learn from, or too few
        for a promise.
    """
    component = _read_component(spec)
    if (require or confidence is not None) and component.name != REQUIRED:
        raise InputError(f"{component.name} makes no promise; `adjustment` {REQUIRED} does")
    if require:
        # Without colons, the adjustment can stand in the label of a method.
        promises = ";".join(re.sub(r"^\s*(\w+):", r"\1@", text) for text in require)
        component = component.with_option("require", promises)
    if confidence is not None:
        component = component.with_option("confidence", confidence)
    if score is not None:
        component = component.with_option("score", score)
    if costs is not None and component.options.get("costs") is not None:
        raise InputError(
            "costs are given twice: with `costs` and as an option of `adjustment`; leave one out"
        )
    if costs is not None and "costs" in component.defaults() and component.options.get("score") is None:
        component = component.with_option("costs", str(costs))
    file = costs or component.options.get("costs")
    classes = base.record.dataset.classes
    matrix = None if file is None else read_costs(file, len(classes), class_names=classes)
    manifest = SplitManifest.load(base.path / "manifest.json")
    plan = AdjustmentPlan(base, manifest, component, matrix, out or _folder_beside(base.path, component))
    _check(plan)
    RunFolder(plan.out).check_owner(plan.hash)
    return plan


def _check(plan: AdjustmentPlan) -> None:
    """Refuse classes or options that the adjustment cannot handle, and a run without the images that it needs."""
    counts, size, held_out = plan.manifest.counts, len(plan.base.record.dataset.classes), _held_out(plan.base)
    adjustment = plan.build()
    if held_out is not None and plan.component.name != SIGMOIDS:
        adjustment.fit(*held_out, counts["train"])
        return
    if plan.component.name != REQUIRED:
        made_up = np.random.default_rng(0).normal(size=(size, size))
        adjustment.fit(made_up, np.arange(size), counts["train"])
    if adjustment.needs_logits and not sum(counts["validation"]):
        raise InputError(
            f"{plan.base.path} has no validation images, and {plan.component.name} learns from them; "
            "train with `validation_fraction` above 0, or choose an adjustment that needs none"
        )


def _held_out(run: RunFolder) -> tuple[np.ndarray, np.ndarray] | None:
    """Return logits and labels of the images that a run kept for calibration; None where it has none."""
    found = run.calibration
    return None if found is None or not len(found.labels) else (found.logits, found.labels)


def _read_component(spec: str) -> Component:
    name, *options = spec.split(":")
    known = SLOT_CATALOGS[PLACE].names
    if name not in known:
        raise UnknownNameError("adjustment", name, known)
    component = Component(PLACE, name)
    for option in options:
        key, equals, value = option.partition("=")
        if not (key and equals and value):
            raise InputError(f"`adjustment` {spec}: {option!r} is not of the form option=value")
        component = component.with_option(key, read_value(value))
    return component


def _folder_beside(run: Path, component: Component) -> Path:
    """Return the default folder of the new run, named by the run and the adjustment."""
    whole = run if run.name and run.name != ".." else run.resolve()
    options = component.options.items()
    words = (Path(str(value)).stem if key == "costs" else f"{key}={value}" for key, value in options)
    name = re.sub(r"[^\w.=-]+", "-", "-".join([component.name, *words]))[:80]
    return whole.with_name(f"{whole.name}-adjusted-{name}")


def adjust_run(
    plan: AdjustmentPlan, dataset: ImageDataset, *, device: str = "auto", batch_size: int | None = None
) -> AdjustedRun:
    """Learn the adjustment from the run's own held-out images and write the new run's folder.

    These are its validation images; a run of `fit` has none, and stores what models that did not learn from its
    training images predicted for them.

    It is learned from the network's own logits and replaces an earlier adjustment of the run. The new folder is
    complete: it can be evaluated, reported, used to predict, and adjusted again. `dataset` is from `load_for_run`,
    `batch_size` as for `predict_images`.
    `DataError` if its images are not those of the run; `RunFolderError` if the new folder cannot be written.
    """
    start = time.perf_counter()
    splits, minority = plan.split(dataset).apply(dataset), plan.manifest.minority
    model = TrainedModel.open(plan.base, device=device)
    with cpu_threads(model.threads):
        logits = held_out_logits(model.network, splits, device=model.device, batch_size=batch_size)
    held_out: tuple[np.ndarray | None, np.ndarray | None] = (None, None)
    if "validation" in logits and splits.validation is not None:
        held_out = logits["validation"], splits.validation.labels
    elif plan.component.name != SIGMOIDS:
        held_out = _held_out(plan.base) or held_out
    adjustment = plan.build().fit(*held_out, splits.train.class_counts(splits.num_classes))
    before = None
    if splits.test is not None and "test" in logits:
        probabilities = softmax(model.adjust(logits["test"]))
        before = evaluate(splits.test.labels, probabilities, classes=splits.classes, minority=minority)
    folder = RunFolder(plan.out)
    with folder.claimed(plan.hash), cpu_threads(model.threads):
        for file in filter(Path.exists, (plan.base.path / name for name in COPIED_FILES)):
            copy_file(file, folder.path / file.name)
        after = write_scores(folder, splits, minority, logits, adjustment)["test"]
        write_json(folder.record_path, _record(plan, adjustment, time.perf_counter() - start))
    costs = (_mean_cost(scores, plan.costs) for scores in (before, after))
    return AdjustedRun(RunFolder(plan.out), before, after, *costs)


def _mean_cost(scores: ScoresDict | None, costs: np.ndarray | None) -> float | None:
    """Return the mean cost of the decisions in the confusion matrix; rows of both are true classes."""
    if scores is None or costs is None:
        return None
    return float((np.array(scores["confusion_matrix"]) * costs).sum() / scores["n"])


def _record(plan: AdjustmentPlan, adjustment: Adjustment, seconds: float) -> dict[str, Any]:
    record = plan.base.record.raw
    # The record names the run that was trained, also where an adjusted run is adjusted again.
    trained = record.get("adjusted_from") or {
        "run": str(plan.base.path),
        "config_hash": record["config_hash"],
        "method": record["method"],
        "method_title": plan.base.record.title,
    }
    options = {k: v for k, v in plan.base.record.method_options.items() if k.partition(".")[0] != PLACE}
    options[PLACE] = plan.component.name
    options |= {f"{PLACE}.{option}": value for option, value in plan.component.defaults().items()}
    calibration, classes = plan.base.calibration, plan.base.record.dataset.classes
    trust = {} if calibration is None else {"trust": trust_record(calibration, adjustment, classes)}
    return (
        record
        | trust
        | {
            "version": __version__,
            "created": timestamp(),
            # The method that trains the same model from scratch.
            "method": f"{trained['method']}:{PLACE}={plan.spec}",
            "method_title": f"{trained['method_title']}, adjusted by {plan.spec}",
            "method_options": options,
            "adjust": adjustment.get_state(),
            "adjusted_from": trained,
            "config_hash": plan.hash,
            "versions": versions(),
            "timings": record["timings"] | {"adjust": round(seconds, 3)},
        }
    )
