"""The device of a run, and its threads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from lightning_fabric import Fabric

from counterpoise.config import TrainConfig
from counterpoise.exceptions import InputError


def find_device(device: str) -> torch.device:
    """Return the device for ``"auto"``, ``"cpu"`` or ``"cuda"``; raise `InputError` where ``"cuda"`` finds no GPU."""
    has_cuda = torch.cuda.is_available()
    if device == "cuda" and not has_cuda:
        raise InputError("`device` cuda: no CUDA device found on this machine; use `device` cpu or auto")
    return torch.device("cuda" if has_cuda and device != "cpu" else "cpu")


def make_fabric(config: TrainConfig) -> Fabric:
    """Return Lightning Fabric on the device and at the precision of `config`; see `find_device`."""
    return Fabric(accelerator=find_device(config.device).type, devices=1, precision=config.precision)


@contextmanager
def cpu_threads(count: int) -> Iterator[None]:
    """Let torch use `count` CPU threads inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
