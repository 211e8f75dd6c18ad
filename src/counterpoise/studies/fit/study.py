"""The study behind ``fit``: candidates within a time budget, the choice among them, and the model that is kept."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from counterpoise.balance.adjust import Adjustment, TemperatureScaling
from counterpoise.datasets import ImageDataset, make_folds
from counterpoise.evaluation import Candidate, Choice, ChoiceDict, choose
from counterpoise.exceptions import NotApplicable
from counterpoise.files import copy_folder, write_json
from counterpoise.inference import load_network
from counterpoise.runs import RunFolder, results_table
from counterpoise.studies.engine.planned_runs import (
    RunConclusion,
    RunOutcome,
    RunTask,
    method_summary,
    run_task,
)
from counterpoise.studies.engine.study import Study
from counterpoise.studies.engine.summaries import MethodEntry, StudySummary
from counterpoise.studies.engine.tasks import failed_runs, not_applicable, results_of
from counterpoise.studies.fit.candidates import AVERAGE, HELD_OUT, MAPPED, run_average, run_head, run_tuning
from counterpoise.studies.fit.evidence import evidence_path, load_evidence
from counterpoise.studies.fit.page import few_images, write_pages
from counterpoise.studies.fit.plan import FEWEST_EPOCHS, FOLDS, TRAINING_FACTOR, FitPlan
from counterpoise.training import (
    Budget,
    ProgressCallback,
    RunPlan,
    embedded_splits,
    find_device,
    held_out_logits,
    seed_for,
    write_scores,
)

#: Simplicity of a candidate, the lower the simpler; among candidates that cannot be told apart the simplest is kept.
#: An average with the frozen features hedges, so a fine-tuned network alone must be better than it by a standard error.
ROBUST, LINEAR, SYNTHETIC, AVERAGED, TUNED = range(5)
SIMPLEST = "logit-adjusted"


class FitSummary(StudySummary):
    """Summary of a fit: `heads` is the choice among heads on frozen features, `networks` that with the tuned ones.

    `held_out` are the images of each class that either choice rests on, and `seconds` those of each candidate.
    """

    dataset: str
    methods: list[MethodEntry]
    winner: str | None
    reason: str
    heads: ChoiceDict | None
    networks: ChoiceDict | None
    temperature: float
    image_size: int
    fit: str
    images_per_second: float
    folds: int
    held_out: dict[str, list[int]]
    warnings: list[str]
    seconds: dict[str, float]
    budget_seconds: float
    command: str
    wall_seconds: float


FitResult = RunConclusion[FitSummary]


@dataclass(frozen=True)
class Evidence:
    """Finished candidate with its out-of-fold log-probabilities (repeats, N, C)."""

    run: RunFolder
    name: str
    complexity: int
    log_probabilities: np.ndarray


@dataclass(frozen=True)
class FitStudy(Study[RunPlan, RunFolder, FitSummary]):
    """Candidates for one dataset, one after the other, each only if the `budget` allows it.

    Its folder holds ``runs/``, ``evidence/``, ``cache/``, ``results.csv``, ``summary.json``, and ``best/``: the best
    model so far, from the first head on.
    """

    kind = "fit"
    marker = "fit.json"
    plan: FitPlan
    dataset: ImageDataset
    budget: Budget = field(default_factory=Budget)

    def tasks(self, folder: Path) -> list[RunTask]:
        """Return every candidate: heads, then the fine-tuned network, then the average."""
        heads = [self._task(self.plan.head_plan(method), folder) for method in self.plan.heads]
        if not self.plan.tune:
            return heads
        # After all heads, but a head for which there was no time is no obstacle.
        tuned = self._task(self.plan.tuned_plan, folder, needs=(heads[0].key,))
        average = self._task(self.plan.averaged_plan, folder, name=AVERAGE, needs=(tuned.key,))
        return [*heads, tuned, average]

    def _task(self, plan: RunPlan, folder: Path, *, name: str = "", needs: tuple[str, ...] = ()) -> RunTask:
        task = run_task(plan, self.dataset, folder, name=name, needs=needs)
        if task.done is None or load_evidence(evidence_path(folder, task.path)) is not None:
            return task
        shutil.rmtree(task.path)
        return run_task(plan, self.dataset, folder, name=name, needs=needs)

    def execute(self, task: RunTask, folder: Path, on_progress: ProgressCallback) -> RunFolder:
        """Execute a candidate, and keep the best model so far in ``best``."""
        evidence = evidence_path(folder, task.path)
        if task.plan.freeze == "all":
            run = self._run_head(task, folder, on_progress)
        elif task.plan.network != self.plan.template.network:
            frozen, tuned = self._frozen(folder), self._candidate(self.plan.tuned_plan, folder)
            assert tuned is not None
            run = run_average(
                task.plan,
                task.dataset,
                task.path,
                evidence,
                members=(frozen.run, tuned.run),
                predictions=(frozen.log_probabilities, tuned.log_probabilities),
            )
        else:
            run = run_tuning(
                task.plan,
                task.dataset,
                task.path,
                evidence,
                start=self._start(folder),
                folds=self._folds(),
                seconds=self._seconds_for_tuning(task),
                progress=on_progress,
            )
        self._keep_best(folder)
        return run

    def _run_head(self, task: RunTask, folder: Path, on_progress: ProgressCallback) -> RunFolder:
        first = self._candidate(self.plan.head_plan(self.plan.heads[0]), folder) is None
        if not first and not self.budget.can(self.budget.estimate("head", 1)):
            raise NotApplicable("the time is used up; give a longer `budget`")
        started = self.budget.elapsed
        run = run_head(
            task.plan,
            task.dataset,
            task.path,
            evidence_path(folder, task.path),
            folds=self._folds(),
            shared=folder / "networks",
            progress=on_progress,
        )
        if not first:  # the first one embeds the images, too
            self.budget.record("head", 1, self.budget.elapsed - started)
        return run

    def _seconds_for_tuning(self, task: RunTask) -> float:
        """Return the seconds for fine-tuning; NotApplicable if they are too few."""
        rate = self.plan.images_per_second
        splits = task.plan.split.splits(task.dataset, task.plan.config.seed)
        # Afterwards the network predicts the held-out fold, and then test images and a map are computed, also for the
        # average of two networks, whose test images may be predicted once more to soften them.
        mapped = np.minimum(np.bincount(self._labels()[0]), MAPPED).sum()
        predicted = len(splits.train) / FOLDS + 5 * (len(splits.test) + len(splits.validation)) + 3 * mapped
        left = self.budget.remaining - predicted / rate
        needed = FEWEST_EPOCHS * len(splits.train) * (FOLDS - 1) / FOLDS * TRAINING_FACTOR / rate
        if left < needed:
            raise NotApplicable(
                f"fine-tuning needs about {needed:.0f} s, and {max(left, 0):.0f} s are left; give a longer `budget`"
            )
        return left if left < np.inf else needed * self.plan.tuned_plan.config.epochs

    def _folds(self) -> np.ndarray:
        """Return the folds of the training images, the same for all candidates."""
        plan = self.plan.template
        train = plan.split.splits(self.dataset, plan.config.seed).apply(self.dataset).train
        seed = seed_for(plan.config.seed, "folds")
        return make_folds(train.labels, train.groups, folds=FOLDS, random_state=seed)

    def _labels(self) -> tuple[np.ndarray, np.ndarray | None]:
        plan = self.plan.template
        train = plan.split.splits(self.dataset, plan.config.seed).apply(self.dataset).train
        return train.labels, train.groups

    def _candidate(
        self, plan: RunPlan, folder: Path, *, name: str = "", complexity: int = 0
    ) -> Evidence | None:
        """Return a finished candidate, or None."""
        run = RunFolder(folder / "runs" / plan.folder_name)
        predictions = load_evidence(evidence_path(folder, run.path)) if run.is_complete(plan.hash) else None
        if predictions is None:
            return None
        return Evidence(run, name or plan.method, complexity, predictions)

    def _heads(self, folder: Path) -> list[Evidence]:
        found = []
        for method in self.plan.heads:
            complexity = SYNTHETIC if method.features else ROBUST if method.name == SIMPLEST else LINEAR
            candidate = self._candidate(self.plan.head_plan(method), folder, complexity=complexity)
            found += [] if candidate is None else [candidate]
        return found

    def _choose(
        self, candidates: Sequence[Evidence], *, reference: str | None = None
    ) -> tuple[Evidence, Choice]:
        labels, groups = self._labels()
        choice = choose(
            [Candidate(c.name, c.complexity, c.log_probabilities) for c in candidates],
            labels,
            groups,
            reference=reference,
        )
        return next(c for c in candidates if c.name == choice.chosen), choice

    def _start(self, folder: Path) -> RunFolder:
        """Return the head that fine-tuning starts from: the simplest one, if it is there."""
        heads = self._heads(folder)
        return next((head for head in heads if head.complexity == ROBUST), heads[0]).run

    def _frozen(self, folder: Path) -> Evidence:
        """Return the best head on frozen features, with its evidence on the fold that fine-tuning holds out."""
        best, _ = self._choose(self._heads(folder))
        predictions = best.log_probabilities[:1].copy()
        predictions[0, self._folds()[0] != HELD_OUT] = np.nan
        return Evidence(best.run, best.name, best.complexity, predictions)

    def _decide(self, folder: Path) -> tuple[Evidence, Choice, Choice | None] | None:
        """Return the candidate to keep, the choice among heads, and, if there are more networks, that among them."""
        heads = self._heads(folder)
        if not heads:
            return None
        best, choice = self._choose(heads)
        others = [
            self._candidate(self.plan.tuned_plan, folder, complexity=TUNED),
            self._candidate(self.plan.averaged_plan, folder, name=AVERAGE, complexity=AVERAGED),
        ]
        more = [candidate for candidate in others if candidate is not None]
        if not self.plan.tune or not more:
            return best, choice, None
        frozen = self._frozen(folder)
        best, networks = self._choose([frozen, *more], reference=frozen.name)
        return best, choice, networks

    def _keep_best(self, folder: Path) -> None:
        """Put the best model so far into ``best``, with its probabilities softened where they were too certain."""
        decided = self._decide(folder)
        if decided is None:
            return
        best, heads, networks = decided
        temperature = _temperature(best, networks or heads)
        record = best.run.record.raw | {"fit": {"candidate": best.name, "temperature": temperature}}
        kept = RunFolder(folder / "best")
        if kept.is_complete() and kept.record.raw == record:
            return
        staged = folder / "best.staged"
        shutil.rmtree(staged, ignore_errors=True)
        copy_folder(best.run.path, staged)
        if temperature > 1:
            scaling = TemperatureScaling.from_state(
                {
                    "name": "TemperatureScaling",
                    "options": {},
                    "learned": {"temperature_": temperature, "num_classes_": len(self.dataset.classes)},
                }
            )
            record["adjust"] = scaling.get_state()
            self._soften(RunFolder(staged), scaling, folder / "cache")
        write_json(staged / "run.json", record)
        copy_folder(staged, folder / "best")
        shutil.rmtree(staged, ignore_errors=True)

    def _soften(self, run: RunFolder, scaling: Adjustment, cache: Path) -> None:
        plan = self.plan.template
        manifest = plan.split.splits(self.dataset, plan.config.seed)
        splits = manifest.apply(self.dataset)
        device = find_device(plan.config.device)
        network = load_network(run).to(device)
        if run.record.start.freeze == "all":  # its embeddings are there
            splits = embedded_splits(network, splits, cache, device=device)
        logits = held_out_logits(network, splits, device=device)
        write_scores(run, splits, manifest.minority, logits, scaling)

    def conclude(self, outcomes: Sequence[RunOutcome], folder: Path, seconds: float) -> FitResult:
        """Return the scores of all candidates on test images, and the choice."""
        self._keep_best(folder)
        folders = results_of(outcomes)
        table = results_table(folders)
        decided = self._decide(folder)
        methods = []
        for task in (outcome.task for outcome in outcomes):
            run = RunFolder(task.path)
            title = run.record.title if run.is_complete(task.plan.hash) else task.plan.record.title
            entry = method_summary(task.name, title, [run] if run.is_complete() else [], table)
            entry["best"] = decided is not None and decided[0].run.path == task.path
            methods.append(entry)
        summary: FitSummary = {
            "format": 1,
            "draws": 1,
            "dataset": self.dataset.name,
            "methods": methods,
            "winner": None if decided is None else decided[0].name,
            "reason": "" if decided is None else (decided[2] or decided[1]).reason,
            "heads": None if decided is None else decided[1].to_dict(),
            "networks": None if decided is None or decided[2] is None else decided[2].to_dict(),
            "temperature": 1.0 if decided is None else _temperature(decided[0], decided[2] or decided[1]),
            "image_size": self.plan.template.image_size[0],
            "fit": self.dataset.fit,
            "images_per_second": round(self.plan.images_per_second, 1),
            "folds": FOLDS,
            "held_out": (held_out := self._held_out(decided)),
            "warnings": few_images(self.dataset.classes, held_out),
            "seconds": {run.record.method: run.record.timings["total"] for run in folders},
            "budget_seconds": self.plan.budget_seconds,
            "failed": failed_runs(outcomes),
            **not_applicable(outcomes),
            "command": self.plan.command,
            "wall_seconds": round(seconds, 3),
        }
        return FitResult(table, summary, outcomes)

    def _held_out(self, decided: tuple[Evidence, Choice, Choice | None] | None) -> dict[str, list[int]]:
        """Return the number of images of each class that the choices rest on."""
        if decided is None:
            return {}
        labels, folds, number = self._labels()[0], self._folds()[0], len(self.dataset.classes)
        found = {"heads": labels[folds >= 0]}
        if decided[2] is not None:
            found["networks"] = labels[folds == HELD_OUT]
        return {name: np.bincount(rows, minlength=number).tolist() for name, rows in found.items()}

    def write_page(self, concluded: FitResult, folder: Path) -> None:
        """Write ``report.html`` and ``model-card.md`` about the model in ``best``."""
        if concluded.summary["winner"] is not None:
            write_pages(concluded.summary, folder)

    def scratch(self, folder: Path) -> Iterable[Path]:
        """Return the folders that are of no further use."""
        return [folder / "networks"]


def _temperature(best: Evidence, choice: Choice) -> float:
    return next(row["temperature"] for row in choice.candidates if row["name"] == best.name)
