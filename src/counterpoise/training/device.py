"""The device of a run, and its threads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from lightning_fabric import Fabric

from counterpoise.config.train import TrainConfig
from counterpoise.exceptions import InputError


def make_fabric(config: TrainConfig) -> Fabric:
    """Return Lightning Fabric on the device and at the precision of `config`.

    Raises
    ------
    InputError
        If a GPU is asked for and there is none.
    """
    has_cuda = torch.cuda.is_available()
    if config.device == "cuda" and not has_cuda:
        raise InputError("`device` cuda: no CUDA device found on this machine; use `device` cpu or auto")
    accelerator = "cuda" if has_cuda and config.device != "cpu" else "cpu"
    return Fabric(accelerator=accelerator, devices=1, precision=config.precision)


@contextmanager
def cpu_threads(count: int) -> Iterator[None]:
    """Let torch use `count` CPU threads inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def find_device(device: str) -> torch.device:
    """Return the device that a user means by ``"auto"``, ``"cpu"`` or ``"cuda"``.

    Raises
    ------
    InputError
        If there is no such device.
    """
    has_cuda = torch.cuda.is_available()
    if device == "cuda" and not has_cuda:
        raise InputError("`device` cuda: no CUDA device found on this machine; use `device` cpu or auto")
    return torch.device("cuda" if has_cuda and device != "cpu" else "cpu")
