"""The study behind ``fit``: candidates within a time budget, the choice among them, and the model that is kept."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from counterpoise.balance.adjust import Adjustment, TemperatureScaling
from counterpoise.datasets import ImageDataset, make_folds
from counterpoise.evaluation import Candidate, Choice, ChoiceDict, RecallForecast, choose
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
from counterpoise.studies.engine.summaries import GroupingEntry, MethodEntry, StudySummary, grouping_entry
from counterpoise.studies.engine.tasks import failed_runs, not_applicable, results_of
from counterpoise.studies.fit.candidates import HELD_OUT, Start, run_average, run_head, run_network
from counterpoise.studies.fit.evidence import Evidence, evidence_path, load_evidence
from counterpoise.studies.fit.learning_curve import forecast
from counterpoise.studies.fit.page import few_images, write_pages
from counterpoise.studies.fit.plan import AVERAGE, FINE_TUNED, FOLDS, REFITTED, SCRATCH, SIMPLEST, FitPlan
from counterpoise.studies.fit.timing import Timing
from counterpoise.training import (
    Budget,
    ProgressCallback,
    RunPlan,
    cpu_threads,
    embedded_splits,
    find_device,
    held_out_logits,
    seed_for,
    trust_record,
    write_scores,
)

#: Simplicity of a candidate, the lower the simpler; among candidates that cannot be told apart the simplest is kept.
#: An average with the frozen features hedges, so a fine-tuned network alone must be better than it by a standard error.
ROBUST, LINEAR, SYNTHETIC = range(3)
#: The networks beside the heads, in the same order.
NETWORKS = {SCRATCH: 3, AVERAGE: 4, FINE_TUNED: 5, REFITTED: 6}


class FitSummary(StudySummary):
    """Summary of a fit: `heads` is the choice among heads on frozen features, `networks` that with the tuned ones.

    `forecasts` are the recalls to expect of more images, or the reason why they are missing; `held_out` are the images
    of each class that either choice rests on, and `seconds` those of each candidate. `tau` is that of the kept one.
    """

    dataset: str
    methods: list[MethodEntry]
    winner: str | None
    reason: str
    heads: ChoiceDict | None
    networks: ChoiceDict | None
    temperature: float
    metric: str | None
    tau: float
    image_size: int
    fit: str
    images_per_second: float
    folds: int
    forecasts: list[RecallForecast] | str
    held_out: dict[str, list[int]]
    warnings: list[str]
    seconds: dict[str, float]
    budget_seconds: float
    grouping: GroupingEntry
    command: str
    wall_seconds: float


FitResult = RunConclusion[FitSummary]


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
        """Return every candidate: for thumbnails one from scratch; heads; the fine-tuned network, and two of it."""
        heads = [self._task(self.plan.head_plan(method), folder) for method in self.plan.heads]
        # After all heads, but a head for which there was no time is no obstacle.
        needs = {FINE_TUNED: (heads[0].key,)}
        first: list[RunTask] = []
        for name, plan in self.plan.networks.items():
            task = self._task(plan, folder, name=name, needs=needs.get(name, ()))
            needs |= {AVERAGE: (task.key,), REFITTED: (task.key,)} if name == FINE_TUNED else {}
            (first if name == SCRATCH else heads).append(task)
        return [*first, *heads]

    def _task(self, plan: RunPlan, folder: Path, *, name: str = "", needs: tuple[str, ...] = ()) -> RunTask:
        dataset = self.plan.small if name == SCRATCH and self.plan.small else self.dataset
        task = run_task(plan, dataset, folder, name=name, needs=needs)
        if task.done is None or load_evidence(evidence_path(folder, task.path)) is not None:
            return task
        shutil.rmtree(task.path)
        return run_task(plan, dataset, folder, name=name, needs=needs)

    def execute(self, task: RunTask, folder: Path, on_progress: ProgressCallback) -> RunFolder:
        """Execute a candidate, and keep the best model so far in ``best``."""
        timing, folds = self._timing(), self._folds
        where = (task.plan, task.dataset, task.path, evidence_path(folder, task.path))
        if task.name == SCRATCH:
            seconds = timing.for_scratch()
            run = run_network(*where, start=None, folds=folds, seconds=seconds, progress=on_progress)
        elif task.name == FINE_TUNED:
            seconds, head = timing.for_tuning(), self._start(folder)
            config = self.plan.config.model_copy(update={"penalty": _penalty(head)})
            start = Start(head, config, folder / "cache")
            run = run_network(*where, start=start, folds=folds, seconds=seconds, progress=on_progress)
        elif task.name == AVERAGE:
            members = self._frozen(folder), self._tuned(folder)
            temperatures = [row["temperature"] for row in self._choose(members)[1].candidates]
            run = run_average(*where, members=members, temperatures=temperatures)
        elif task.name == REFITTED:
            timing.check("it", timing.refitting)
            run = run_head(
                replace(task.plan, weights=str(self._tuned(folder).run.path / "model.safetensors")),
                *where[1:],
                # Of the fold that fine-tuning held out, neither network nor head has seen an image.
                folds=np.where(folds[:1] == HELD_OUT, 0, -1),
                shared=folder / "networks",
                progress=on_progress,
                # Cross-validation on images that the network learned from would choose a smaller one.
                penalty=_penalty(self._start(folder)),
                changes={"method": REFITTED, "method_title": "Head refitted on fine-tuned features"},
            )
        else:
            run = self._run_head(task, folder, timing, on_progress)
        self._keep_best(folder)
        # Before fine-tuning takes the time left.
        forecast(self.plan, self.dataset, folder, self.budget, on_progress)
        return run

    def _run_head(
        self, task: RunTask, folder: Path, timing: Timing, on_progress: ProgressCallback
    ) -> RunFolder:
        first = not self._heads(folder)
        if not first:
            timing.check_head(task.plan.record)
        elif self._networks(folder):  # without any candidate, the first head is trained whatever it takes
            timing.check("embedding the images", timing.embedding)
        started = self.budget.elapsed
        run = run_head(
            task.plan,
            task.dataset,
            task.path,
            evidence_path(folder, task.path),
            folds=self._folds,
            shared=folder / "networks",
            progress=on_progress,
        )
        seconds = self.budget.elapsed - started - run.record.timings.get("embed", 0.0)
        # The first one chooses the penalty for all, and finds the keys of the images.
        name, seconds = ("first head", seconds - timing.keys) if first else ("head", seconds)
        self.budget.record(name, timing.rows(task.plan.record), max(0.0, seconds))
        return run

    def _timing(self) -> Timing:
        plan = self.plan.template
        splits = plan.split.splits(self.dataset, plan.config.seed)
        counts = np.bincount(self._labels[0], minlength=self.dataset.num_classes)
        return Timing(self.plan, self.budget, counts, len(splits.test) + len(splits.validation))

    @cached_property
    def _folds(self) -> np.ndarray:
        """Folds of the training images, the same for all candidates."""
        labels, groups = self._labels
        seed = seed_for(self.plan.config.seed, "folds")
        return make_folds(labels, groups, folds=FOLDS, random_state=seed)

    @cached_property
    def _labels(self) -> tuple[np.ndarray, np.ndarray | None]:
        plan = self.plan.template
        train = plan.split.splits(self.dataset, plan.config.seed).apply(self.dataset).train
        return train.labels, train.groups

    def _candidate(
        self, plan: RunPlan, folder: Path, *, name: str = "", complexity: int = 0
    ) -> Evidence | None:
        """Return a finished candidate, or None."""
        run = RunFolder(folder / "runs" / plan.folder_name)
        done = run.is_complete(plan.hash, plan.contents)
        predictions = load_evidence(evidence_path(folder, run.path)) if done else None
        if predictions is None:
            return None
        found, metric = Evidence(run, name or plan.method, complexity, predictions), self.plan.metric
        return found if metric is None else found.with_tau(metric, *self._labels)

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
        labels, groups = self._labels
        choice = choose(
            [Candidate(c.name, c.complexity, c.log_probabilities + c.offset) for c in candidates],
            labels,
            groups,
            reference=reference,
            metric=self.plan.metric or "score",
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
        predictions[0, self._folds[0] != HELD_OUT] = np.nan
        return replace(best, log_probabilities=predictions)

    def _tuned(self, folder: Path) -> Evidence:
        return next(candidate for candidate in self._networks(folder) if candidate.name == FINE_TUNED)

    def _networks(self, folder: Path) -> list[Evidence]:
        plans = self.plan.networks.items()
        found = (self._candidate(p, folder, name=name, complexity=NETWORKS[name]) for name, p in plans)
        return [candidate for candidate in found if candidate is not None]

    def _decide(self, folder: Path) -> tuple[Evidence, dict[str, Choice]] | None:
        """Return the candidate to keep and the choices, by name, of which the last one decided; None without any."""
        heads, networks = self._heads(folder), self._networks(folder)
        choices: dict[str, Choice] = {}
        if heads:
            best, choices["heads"] = self._choose(heads)
        if networks:
            frozen = [self._frozen(folder)] if heads else []
            reference = frozen[0].name if frozen else None
            best, choices["networks"] = self._choose([*frozen, *networks], reference=reference)
        return (best, choices) if choices else None

    def _keep_best(self, folder: Path) -> None:
        """Put the best model so far into ``best``, with its probabilities softened where they were too certain."""
        decided = self._decide(folder)
        if decided is None:
            return
        best, choices = decided
        temperature = _temperature(best, choices)
        record = best.run.record.raw | {"fit": {"candidate": best.name, "temperature": temperature}}
        record["fit"] |= {} if best.tau == 1 else {"tau": best.tau}
        kept, staged = RunFolder(folder / "best"), folder / "best.staged"
        shutil.rmtree(staged, ignore_errors=True)  # of a killed process
        if kept.is_complete() and kept.record.raw == record:
            return
        copy_folder(best.run.path, staged)
        if temperature != 1 or best.tau != 1:
            scaling = TemperatureScaling.from_state(
                {
                    "name": "TemperatureScaling",
                    "options": {},
                    "learned": {"temperature_": temperature, "num_classes_": len(self.dataset.classes)}
                    | ({} if best.tau == 1 else {"offset_": np.asarray(best.offset).tolist()}),
                }
            )
            record["adjust"] = scaling.get_state()
            self._soften(RunFolder(staged), scaling, folder / "cache")
            calibration = best.run.calibration
            if calibration is not None:
                record["trust"] = trust_record(calibration, scaling, self.dataset.classes)
        write_json(staged / "run.json", record)
        copy_folder(staged, folder / "best")
        shutil.rmtree(staged, ignore_errors=True)

    def _soften(self, run: RunFolder, scaling: Adjustment, cache: Path) -> None:
        plan = self.plan.template
        dataset = self.plan.small if run.record.method == SCRATCH and self.plan.small else self.dataset
        manifest = plan.split.splits(dataset, plan.config.seed)
        splits = manifest.apply(dataset)
        device = find_device(plan.config.device)
        network = load_network(run).to(device)
        if run.record.start.freeze == "all":  # its embeddings are there
            splits = embedded_splits(network, splits, cache, device=device)
        with cpu_threads(plan.config.threads):
            logits = held_out_logits(network, splits, device=device)
            write_scores(run, splits, manifest.minority, logits, scaling)

    def conclude(self, outcomes: Sequence[RunOutcome], folder: Path, seconds: float) -> FitResult:
        """Return the scores of all candidates on test images, and the choice."""
        self._keep_best(folder)
        folders = results_of(outcomes)
        table = results_table(folders)
        decided = self._decide(folder)
        choices = {} if decided is None else decided[1]
        methods = []
        for task in (outcome.task for outcome in outcomes):
            run = RunFolder(task.path)
            untried = task.plan.record.title if task.name == task.plan.method else task.name
            title = run.record.title if run.is_complete(task.plan.hash) else untried
            entry = method_summary(task.name, title, [run] if run.is_complete() else [], table)
            entry["best"] = decided is not None and decided[0].run.path == task.path
            methods.append(entry)
        summary: FitSummary = {
            "format": 1,
            "draws": 1,
            "dataset": self.dataset.name,
            "methods": methods,
            "winner": None if decided is None else decided[0].name,
            "reason": "" if decided is None else list(choices.values())[-1].reason,
            "heads": choices["heads"].to_dict() if "heads" in choices else None,
            "networks": choices["networks"].to_dict() if "networks" in choices else None,
            "temperature": 1.0 if decided is None else _temperature(*decided),
            "metric": self.plan.metric,
            "tau": 1.0 if decided is None else decided[0].tau,
            "image_size": self.plan.template.image_size[0],
            "fit": self.dataset.fit,
            "images_per_second": round(self.plan.images_per_second, 1),
            "folds": FOLDS,
            "held_out": (held_out := self._held_out(choices)),
            "warnings": [
                *few_images(self.dataset.classes, held_out),
                *(f"{note[:1].upper()}{note[1:]}." for note in self.plan.grouping.notes),
            ],
            "forecasts": forecast(self.plan, self.dataset, folder, self.budget, ProgressCallback()),
            "seconds": {run.record.method: run.record.timings["total"] for run in folders},
            "budget_seconds": self.plan.budget_seconds,
            "failed": failed_runs(outcomes),
            **not_applicable(outcomes),
            "grouping": grouping_entry(self.plan.grouping),
            "command": self.plan.command,
            "wall_seconds": round(seconds, 3),
        }
        return FitResult(table, summary, outcomes)

    def _held_out(self, choices: Mapping[str, Choice]) -> dict[str, list[int]]:
        """Return the number of images of each class that the choices rest on."""
        labels, folds, number = self._labels[0], self._folds[0], len(self.dataset.classes)
        rows = {"heads": labels[folds >= 0], "networks": labels[folds == HELD_OUT]}
        return {name: np.bincount(rows[name], minlength=number).tolist() for name in choices}

    def write_page(self, concluded: FitResult, folder: Path) -> None:
        """Write ``report.html`` and ``model-card.md`` about the model in ``best``."""
        if concluded.summary["winner"] is not None:
            write_pages(concluded.summary, folder)

    def scratch(self, folder: Path) -> Iterable[Path]:
        """Return the folders that are of no further use."""
        return [folder / "networks"]


def _temperature(best: Evidence, choices: Mapping[str, Choice]) -> float:
    deciding = list(choices.values())[-1].candidates
    return next(row["temperature"] for row in deciding if row["name"] == best.name)


def _penalty(head: RunFolder) -> float | None:
    """Return the L2 penalty of a head; None, chosen by cross-validation, where it has none."""
    return [0.0, *head.record.penalties.values()][-1] or None
