"""The cache of embeddings: whatever happens to its file, it returns what was stored or nothing."""

from __future__ import annotations

import multiprocessing
import resource
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterpoise.exceptions import RunFolderError
from counterpoise.training.embedding_cache import EmbeddingCache

WIDTH = 5
RECORD = 16 + 4 + 4 * WIDTH


def keys_of(*names):
    return np.array(names, dtype="S16")


def rows_of(keys):
    """Return a row for each key that follows from the key."""
    seeds = [int.from_bytes(bytes(key).ljust(16, b"\0"), "little") for key in keys]
    return np.array(
        [np.random.default_rng(seed).normal(size=WIDTH) for seed in seeds], dtype=np.float32
    ).reshape(len(keys), WIDTH)


def filled(path, keys):
    with EmbeddingCache(path, WIDTH) as cache:
        cache.append(keys, rows_of(keys))
    return path


KEYS = keys_of(*(bytes([i + 1]) * 15 + bytes([i]) for i in range(6)))


@given(st.lists(st.binary(min_size=16, max_size=16), max_size=12), st.integers(1, 5))
def test_what_was_stored_is_returned_in_any_order(tmp_path_factory, names, batch):
    path, keys = tmp_path_factory.mktemp("cache") / "rows", keys_of(*names)
    with EmbeddingCache(path, WIDTH) as cache:
        todo = cache.missing(keys)
        # The first image of each key.
        assert [names.index(bytes(k).ljust(16, b"\0")) for k in keys[todo]] == todo.tolist()
        assert len(todo) == len(set(names))
        for start in range(0, len(todo), batch):
            part = keys[todo[start : start + batch]]
            cache.append(part, rows_of(part))
        assert np.array_equal(cache.rows(keys), rows_of(keys))
    with EmbeddingCache(path, WIDTH) as cache:
        assert len(cache.missing(keys)) == 0
        assert np.array_equal(cache.rows(keys[::-1]), rows_of(keys[::-1]))
    assert path.stat().st_size == len(set(names)) * RECORD


@given(st.integers(0, 6 * RECORD))
def test_a_file_cut_off_at_any_byte_keeps_its_whole_records(tmp_path_factory, length):
    path = filled(tmp_path_factory.mktemp("cache") / "rows", KEYS)
    path.write_bytes(path.read_bytes()[:length])
    whole = length // RECORD
    with EmbeddingCache(path, WIDTH) as cache:
        assert cache.missing(KEYS).tolist() == list(range(whole, 6))
        cache.append(KEYS[whole:], rows_of(KEYS[whole:]))
        assert np.array_equal(cache.rows(KEYS), rows_of(KEYS))
    assert path.stat().st_size == 6 * RECORD


@given(st.integers(0, 6 * RECORD - 1), st.integers(0, 7))
def test_a_flipped_bit_costs_one_record(tmp_path_factory, position, bit):
    path = filled(tmp_path_factory.mktemp("cache") / "rows", KEYS)
    content = bytearray(path.read_bytes())
    content[position] ^= 1 << bit
    path.write_bytes(content)
    with EmbeddingCache(path, WIDTH) as cache:
        assert cache.missing(KEYS).tolist() == [position // RECORD]
        cache.append(KEYS[cache.missing(KEYS)], rows_of(KEYS[position // RECORD :][:1]))
    with EmbeddingCache(path, WIDTH) as cache:
        assert np.array_equal(cache.rows(KEYS), rows_of(KEYS))


@given(st.binary(max_size=4 * RECORD))
def test_any_other_content_is_no_embedding(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("cache") / "rows"
    path.write_bytes(content)
    with EmbeddingCache(path, WIDTH) as cache:
        assert cache.missing(KEYS).tolist() == list(range(6))


def test_a_full_disk_is_said_so_and_costs_one_batch(tmp_path):
    path = filled(tmp_path / "rows", KEYS[:2])
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3 * RECORD + 7, limits[1]))
    try:
        with pytest.raises(
            RunFolderError, match=r"cannot write .*rows: .*; free some space or choose another `cache`"
        ):
            filled(path, KEYS[2:])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.stat().st_size == 3 * RECORD + 7
    with EmbeddingCache(path, WIDTH) as cache:
        assert cache.missing(KEYS).tolist() == [3, 4, 5]
        cache.append(KEYS[3:], rows_of(KEYS[3:]))
        assert np.array_equal(cache.rows(KEYS), rows_of(KEYS))


def test_a_folder_that_cannot_be_written_is_said_so(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(RunFolderError, match=r"cannot write .*choose another `cache`"):
        filled(tmp_path / "file" / "rows", KEYS)
    (tmp_path / "rows").mkdir()
    with pytest.raises(RunFolderError, match="cannot write"):
        filled(tmp_path / "rows", KEYS)
    (tmp_path / "rows").rmdir()
    # The lock of the failed attempt is free again.
    filled(tmp_path / "rows", KEYS)


def test_an_error_inside_leaves_the_cache_usable(tmp_path):
    path = tmp_path / "rows"

    def interrupted():
        with EmbeddingCache(path, WIDTH) as cache:
            cache.append(KEYS[:4], rows_of(KEYS[:4]))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with EmbeddingCache(path, WIDTH) as cache:
        assert cache.missing(KEYS).tolist() == [4, 5]


def _store(path: Path, first: int) -> None:
    keys = keys_of(*(str(i).encode() for i in range(first, first + 40)))
    with EmbeddingCache(path, WIDTH) as cache:
        for key in keys[cache.missing(keys)]:
            cache.append(keys_of(key), rows_of(keys_of(key)))


def test_processes_take_turns(tmp_path):
    path = tmp_path / "rows"
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_store, args=(path, first)) for first in (0, 20, 0)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    keys = keys_of(*(str(i).encode() for i in range(60)))
    with EmbeddingCache(path, WIDTH) as cache:
        assert np.array_equal(cache.rows(keys), rows_of(keys))
    assert path.stat().st_size == 60 * RECORD


def test_whoever_comes_second_waits(tmp_path):
    path, order = tmp_path / "rows", []

    def second():
        with EmbeddingCache(path, WIDTH) as cache:
            order.append(len(cache.missing(KEYS)))

    with EmbeddingCache(path, WIDTH) as cache:
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.05)
        cache.append(KEYS, rows_of(KEYS))
        order.append("first")
    thread.join()
    assert order == ["first", 0]
