"""Methods times repeats on one dataset."""

from __future__ import annotations

from dataclasses import dataclass, replace

from counterpoise.config import CompareConfig, TrainConfig
from counterpoise.datasets import ImageDataset
from counterpoise.evaluation import choosing_metric
from counterpoise.methods import Method, parse_methods
from counterpoise.runs import comparison_identity
from counterpoise.training import Preparation, RunPlan, prepare_run


@dataclass(frozen=True, kw_only=True)
class RunGrid:
    """Several methods on several repeats of one dataset.

    All runs share the `template`, the plan of the first method on repeat 0; repeat r has the seed
    ``template.config.seed + r`` for its split and its training. `metric` chooses the winner on the validation set;
    `notes` are the decisions made for the user, in words, and `command` is the command line, for the record.
    """

    template: RunPlan
    methods: tuple[Method, ...]
    repeats: tuple[int, ...]
    metric: str = "gmean"
    notes: tuple[str, ...] = ()
    command: str = ""

    @classmethod
    def of(cls, prepared: Preparation, *, repeats: int, metric: str, command: str = "") -> RunGrid:
        """Return the grid of all methods of a preparation."""
        return cls(
            template=prepared.plan,
            methods=prepared.methods,
            repeats=tuple(range(repeats)),
            metric=metric,
            notes=prepared.notes,
            command=command,
        )

    @property
    def config(self) -> TrainConfig:
        """Settings of the training of repeat 0."""
        return self.template.config

    def plans(self) -> list[RunPlan]:
        """Return every run, repeat by repeat."""
        return [
            replace(
                self.template,
                draw=repeat,
                method=method.label,
                config=self.config.model_copy(update={"seed": self.config.seed + repeat}),
            )
            for repeat in self.repeats
            for method in self.methods
        ]

    @property
    def identity(self) -> str:
        """Hash of what all runs share; methods and repeats may be added later."""
        return comparison_identity(**self.plans()[0].shared_identity())


def make_grid(dataset: ImageDataset, config: CompareConfig, *, command: str = "") -> RunGrid:
    """Resolve the settings of a comparison; InputError refuses what cannot work before anything is written."""
    choosing_metric(config.metric)
    prepared = prepare_run(dataset, config, parse_methods(config.methods), repeats=config.repeats)
    return RunGrid.of(prepared, repeats=config.repeats, metric=config.metric, command=command)
