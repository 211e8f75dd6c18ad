"""Seeding of torch's global generators, from which initial weights and dropout are drawn, one thread at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock

_IN_USE = RLock()


@contextmanager
def torch_seed(seed: int) -> Iterator[None]:
    """Seed torch's global generators inside the block and restore them afterwards.

    The generators are those of the process, so another thread that seeds them waits until the block ends.
    """
    import torch

    # A GPU that is not in use yet is neither initialized nor seeded.
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    with _IN_USE, torch.random.fork_rng(devices=devices):
        torch.default_generator.manual_seed(seed)
        if devices:
            torch.cuda.manual_seed_all(seed)
        yield
