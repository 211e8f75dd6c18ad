"""Adjustment of a finished run: the same network with other decisions, in a new run folder."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from counterpoise._version import __version__
from counterpoise.balance import SLOT_CATALOGS, read_costs
from counterpoise.balance.adjust import Adjustment
from counterpoise.datasets import ImageDataset, SplitManifest
from counterpoise.evaluation import ScoresDict, evaluate
from counterpoise.exceptions import InputError, UnknownNameError
from counterpoise.files import content_hash, copy_file, write_json
from counterpoise.inference.model import TrainedModel
from counterpoise.methods import Component, read_value
from counterpoise.runs import RunFolder
from counterpoise.training import held_out_logits, softmax, timestamp, versions, write_scores

PLACE = "adjust"
# Files of a run that do not depend on the adjustment.
COPIED_FILES = ("manifest.json", "history.json", "embedding.json", "model.safetensors")


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
    def hash(self) -> str:
        """Hash of everything that the new run depends on."""
        options = self.component.settings()
        if options.get("costs") is not None and self.costs is not None:
            options["costs"] = self.costs.tolist()
        return content_hash([self.base.record.config_hash, self.component.name, options])

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
    out : Path, optional
        The new run's folder, by default beside the run; `RunFolderError` if it holds anything else.

    Raises
    ------
    InputError
        If the adjustment, an option or the costs are refused, or the run has no validation images to learn from.
    """
    component = _read_component(spec)
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
    # Fitted to random logits, the adjustment refuses classes or options that it cannot handle.
    counts, size = manifest.counts, len(classes)
    made_up = np.random.default_rng(0).normal(size=(size, size))
    adjustment = plan.build().fit(made_up, np.arange(size), counts["train"])
    if adjustment.needs_logits and not sum(counts["validation"]):
        raise InputError(
            f"{base.path} has no validation images, and {component.name} learns from them; "
            "train with `validation_fraction` above 0, or choose an adjustment that needs none"
        )
    RunFolder(plan.out).check_owner(plan.hash)
    return plan


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


def adjust_run(plan: AdjustmentPlan, dataset: ImageDataset, *, device: str = "auto") -> AdjustedRun:
    """Learn the adjustment from the run's own validation images and write the new run's folder.

    It is learned from the network's own logits and replaces an earlier adjustment of the run. The new folder is
    complete: it can be evaluated, reported, used to predict, and adjusted again. `dataset` is from `load_for_run`.
    `DataError` if its images are not those of the run; `RunFolderError` if the new folder cannot be written.
    """
    start = time.perf_counter()
    splits, minority = plan.manifest.apply(dataset), plan.manifest.minority
    model = TrainedModel.open(plan.base, device=device)
    logits = held_out_logits(model.network, splits, device=model.device)
    labels = None if "validation" not in logits or splits.validation is None else splits.validation.labels
    counts = splits.train.class_counts(splits.num_classes)
    adjustment = plan.build().fit(logits.get("validation"), labels, counts)
    before = None
    if splits.test is not None and "test" in logits:
        probabilities = softmax(model.adjust(logits["test"]))
        before = evaluate(splits.test.labels, probabilities, classes=splits.classes, minority=minority)
    folder = RunFolder(plan.out)
    with folder.claimed(plan.hash):
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
        "method_title": record["method_title"],
    }
    options = {k: v for k, v in record["method_options"].items() if k.partition(".")[0] != PLACE}
    options[PLACE] = plan.component.name
    options |= {f"{PLACE}.{option}": value for option, value in plan.component.defaults().items()}
    return record | {
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
