"""Threads for work on many files: image decoders release the interpreter lock."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")

#: Progress callback, called with (done, total).
OnProgress = Callable[[int, int], None]


def map_indices(
    function: Callable[[int], Result],
    count: int,
    *,
    threads: bool = True,
    chunk: int = 64,
    progress: OnProgress | None = None,
) -> list[Result]:
    """Return ``[function(0), ..., function(count - 1)]``, calling `progress` after every chunk of indices.

    Threads pay off where the decoder runs long without the interpreter lock, from about 64 x 64 pixels on; smaller
    images take twice as long with them.

    Examples
    --------
    >>> map_indices(lambda index: index * index, 4)
    [0, 1, 4, 9]
    """

    def work(start: int) -> list[Result]:
        return [function(index) for index in range(start, min(start + chunk, count))]

    results: list[Result] = []
    pool = ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1) if threads else 1)
    try:
        for part in pool.map(work, range(0, count, chunk)):
            results += part
            if progress is not None:
                progress(len(results), count)
    finally:
        pool.shutdown(cancel_futures=True)
    return results
