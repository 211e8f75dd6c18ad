"""Transfer study: base networks first, then everything that starts from them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from counterpoise.config import TrainConfig
from counterpoise.datasets import ImageDataset
from counterpoise.studies.engine.study import Conclusion, Study
from counterpoise.studies.engine.tasks import Outcome, Task
from counterpoise.studies.transfer.execute import TrainingRecord, cell_path, finished_training, run_training
from counterpoise.studies.transfer.figure import draw_figure
from counterpoise.studies.transfer.page import write_page
from counterpoise.studies.transfer.plan import Training, TransferPlan
from counterpoise.studies.transfer.results import TransferSummary, results_table, summarize
from counterpoise.training import ProgressCallback

TransferResult = Conclusion[Training, TrainingRecord, TransferSummary]


@dataclass(frozen=True)
class TransferStudy(Study[ImageDataset, Training, TrainingRecord, TransferSummary]):
    """Transfer by layers: the base networks of a repeat are trained once, and everything else starts from them.

    Its folder holds ``cells/``, ``networks/``, ``results.csv``, ``summary.json``, ``transfer.png`` and
    ``transfer.html``.
    """

    kind = "transfer study"
    marker = "transfer.json"
    plan: TransferPlan

    @property
    def config(self) -> TrainConfig:
        """Settings of all trainings."""
        return self.plan.config

    def identity(self, dataset: ImageDataset) -> str:
        """Return the hash of what all trainings share; layers and repeats may be added later."""
        return self.plan.identity

    def tasks(self, dataset: ImageDataset, folder: Path) -> list[Task[Training, TrainingRecord]]:
        """Return every training; all but the bases need the base that their layers come from."""
        return [
            Task(
                key=cell.file_name,
                name=cell.name,
                repeat=cell.repeat,
                plan=cell,
                dataset=dataset,
                path=cell_path(folder, cell).with_suffix(""),
                needs=() if cell.is_base else (cell.base.file_name,),
                done=finished_training(self.plan, cell, folder),
            )
            for cell in self.plan.cells
        ]

    def execute(
        self, task: Task[Training, TrainingRecord], folder: Path, on_progress: ProgressCallback
    ) -> TrainingRecord:
        """Execute one training."""
        return run_training(self.plan, task.plan, task.dataset, folder, on_progress=on_progress)

    def conclude(
        self, outcomes: Sequence[Outcome[Training, TrainingRecord]], folder: Path, seconds: float
    ) -> TransferResult:
        """Return curves and the lecture's findings."""
        summary = summarize(self.plan, outcomes, seconds=seconds)
        return TransferResult(results_table(self.plan, outcomes), summary, outcomes)

    def write_page(self, concluded: TransferResult, folder: Path) -> None:
        """Draw the figure and write the page."""
        if concluded.summary["curves"]:
            draw_figure(concluded.summary, folder / "transfer.png")
            write_page(concluded.summary, folder / "transfer.png", folder / "transfer.html")

    def scratch(self, folder: Path) -> Iterable[Path]:
        """Return the folder of checkpoints; the base networks stay."""
        return [folder / "checkpoints"]
