"""Settings of the training of a network."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict

from counterpoise.config.base import Config, option, validated
from counterpoise.config.schedules import SCHEDULES

MACHINE = "Machine"


def _known_schedule(name: str | None) -> str | None:
    return None if name is None else SCHEDULES.get(name).name


Device = Literal["auto", "cpu", "cuda"]
Schedule = Annotated[str | None, AfterValidator(_known_schedule)]
DEVICE = option("auto", "Device: auto (the GPU if there is one), cpu or cuda.", panel=MACHINE)


def epochs_field(default: int) -> Any:
    """Return the field of the number of epochs."""
    return option(default, "Passes over the training images.", ge=1)


def schedule_field(default: str | None) -> Any:
    """Return the field of the schedule."""
    text = f"Learning-rate schedule: {', '.join(SCHEDULES.names)}."
    shown = "the method's own, mostly constant" if default is None else None
    return option(default, text, aliases=("sched",), shown=shown)


def _threads(default: int | None) -> Any:
    text = "CPU threads of a run; results depend on it, since floating-point sums do."
    return option(default, text, panel=MACHINE, shown="train: all cores; studies: 1", ge=1)


class TrainOptions(Config):
    """Training settings as asked for: `threads` may be left open."""

    model_config = ConfigDict(title="Training")

    epochs: int = epochs_field(5)
    batch_size: int = option(64, "Images per step.", ge=2)
    lr: float = option(
        1e-3, "Learning rate; the largest one of a schedule.", metavar="RATE", gt=0, allow_inf_nan=False
    )
    optimizer: Literal["adam", "adamw", "sgd"] = option(
        "adam", "Optimizer: adam, adamw or sgd (with momentum 0.9).", aliases=("opt",)
    )
    weight_decay: float = option(0.0, "Weight decay, as the optimizer defines it.", ge=0, allow_inf_nan=False)
    schedule: Schedule = schedule_field(None)
    head_epochs: int | None = option(
        None, "Epochs of a head that is trained in a stage of its own.", shown="as `epochs`", ge=1
    )
    head_batch_size: int = option(64, "Embeddings per step of that stage.", ge=1)
    seed: int = option(0, "Random seed.", ge=0)
    device: Device = DEVICE
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = option(
        "32-true", "Precision: 32-true, bf16-mixed or 16-mixed.", panel=MACHINE
    )
    threads: int | None = _threads(None)
    workers: int = option(0, "Processes that decode images that do not fit in memory.", panel=MACHINE, ge=0)

    def resolved(self, *, threads: int = 1) -> "TrainConfig":
        """Return the settings with `threads` where the user left them open."""
        return TrainConfig(**(self.model_dump() | {"threads": self.threads or threads}))


class TrainConfig(TrainOptions):
    """The settings of one training run.

    Two runs with the same configuration, data and machine give the same numbers, bit for bit on a CPU. `threads`
    is part of the configuration because floating-point sums depend on how they are split over threads.

    Examples
    --------
    >>> TrainConfig(epochs=3).lr
    0.001
    """

    threads: int = _threads(1)


def make_config(**settings: Any) -> TrainConfig:
    """Return a configuration; all settings that are wrong are named at once.

    Raises
    ------
    InputError
        If a setting is unknown or out of range.

    Examples
    --------
    >>> make_config(epochs=0)
    Traceback (most recent call last):
    ...
    counterpoise.exceptions.InputError: `epochs` 0: expected at least 1
    """
    return validated(TrainConfig, settings)
