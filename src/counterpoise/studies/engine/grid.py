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

    Attributes
    ----------
    template : RunPlan
        What all runs share, as the plan of the first method on repeat 0.
    methods : tuple of Method
        The methods.
    repeats : tuple of int
        Repeat r has the seed ``template.config.seed + r`` for its split and its training.
    metric : str
        Metric on the validation set that the winner is chosen by.
    notes : tuple of str
        Decisions made for the user, in words.
    command : str
        The command line, for the record.
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

    def identity(self) -> str:
        """Return the hash of what all runs share; methods and repeats may be added later."""
        return comparison_identity(**self.plans()[0].shared_identity())


def make_grid(dataset: ImageDataset, config: CompareConfig, *, command: str = "") -> RunGrid:
    """Resolve the settings of a comparison; whatever cannot work is refused before anything is written.

    Parameters
    ----------
    dataset : ImageDataset
        The loaded dataset.
    config : CompareConfig
        As asked for.
    command : str
        The command line, for the record.

    Raises
    ------
    InputError
        If a setting is refused.
    """
    choosing_metric(config.metric)
    prepared = prepare_run(dataset, config, parse_methods(config.methods), repeats=config.repeats)
    return RunGrid.of(prepared, repeats=config.repeats, metric=config.metric, command=command)
