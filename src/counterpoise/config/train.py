"""Every setting of a training run, checked when it is made."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from counterpoise.exceptions import InputError


class TrainConfig(BaseModel):
    """The settings of one training run.

    Two runs with the same configuration, data and machine give the same numbers, bit for bit on a CPU. `threads`
    belongs to the configuration because sums of floats depend on how they are split over threads.

    Attributes
    ----------
    epochs : int
        Passes over what the sampler draws.
    batch_size : int
        Images per step.
    lr : float
        Learning rate; the largest one where `schedule` changes it.
    optimizer : {"adam", "adamw", "sgd"}
        SGD has momentum 0.9.
    weight_decay : float
        As the optimizer defines it.
    schedule : {"constant", "cosine", "one-cycle"} or None
        The course of the learning rate over all steps of a stage. None: as the method's record says.
    head_epochs : int or None
        Epochs of the head stage of the feature-space methods; as `epochs` by default.
    head_batch_size : int
        Embeddings per step of the head stage.
    seed : int
        All that is random in a run follows from it.
    device : {"auto", "cpu", "cuda"}
        ``"auto"`` is the GPU where there is one.
    precision : {"32-true", "bf16-mixed", "16-mixed"}
        As Lightning Fabric names them.
    threads : int
        CPU threads of the run.
    workers : int
        Processes that decode images, where they are not held in memory.

    Examples
    --------
    >>> TrainConfig(epochs=3).lr
    0.001
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(default=5, ge=1)
    batch_size: int = Field(default=64, ge=2)
    lr: float = Field(default=1e-3, gt=0, allow_inf_nan=False)
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    weight_decay: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    schedule: Literal["constant", "cosine", "one-cycle"] | None = None
    head_epochs: int | None = Field(default=None, ge=1)
    head_batch_size: int = Field(default=64, ge=1)
    seed: int = Field(default=0, ge=0)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    threads: int = Field(default=1, ge=1)
    workers: int = Field(default=0, ge=0)


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
    counterpoise.exceptions.InputError: epochs=0: input should be greater than or equal to 1
    """
    try:
        return TrainConfig(**settings)
    except ValidationError as error:
        problems = (
            f"{'.'.join(map(str, e['loc']))}={e['input']!r}: {e['msg'][0].lower()}{e['msg'][1:]}"
            for e in error.errors()
        )
        raise InputError("; ".join(problems)) from None
