"""Parcels: what a task takes to a worker that sees no file of this machine, and what its result brings back."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Generic, Protocol, cast

from counterpoise.datasets import ImageDataset, decode_batch, hold_files
from counterpoise.exceptions import DataError, RunFolderError
from counterpoise.files import atomic_path, content_hash
from counterpoise.runs import RunFolder
from counterpoise.studies.engine.tasks import Plan, Result, Task
from counterpoise.training import ProgressCallback

Files = Mapping[str, bytes]
"""Contents by name, relative to a folder, in the order in which to write them."""
MOST_BYTES = 2**30
"""Image files of more bytes are not sent, but read where they are."""


class Sendable(Protocol[Plan, Result]):
    """What the engine asks a study for whose tasks run elsewhere."""

    def execute(self, task: Task[Plan, Result], folder: Path, on_progress: ProgressCallback) -> Result:
        """Execute one task."""

    def files(self, task: Task[Plan, Result], folder: Path) -> Sequence[Path]:
        """Return the files and folders that hold the result of a task."""

    def with_paths(self, plan: Plan, place: Callable[[str], str]) -> Plan:
        """Return a plan with the place of each path that its execution needs."""


@dataclass(frozen=True, eq=False)
class Common:
    """Images and other files that many tasks read, by their paths on the sending machine; sent once."""

    dataset: ImageDataset
    files: Files


@dataclass(frozen=True)
class Parcel(Generic[Plan, Result]):
    """Task of a study in `folder` on the sending machine, with the results that it needs."""

    task: Task[Plan, Result]
    folder: Path
    needed: Files


@dataclass(frozen=True)
class Delivery(Generic[Result]):
    """Result of a task, and its files."""

    result: Result
    files: Files


class Sender(Generic[Plan, Result]):
    """Makes the parcels of a study's tasks, all of which are in `tasks` by key, and receives what comes back."""

    def __init__(
        self, study: Sendable[Plan, Result], folder: Path, tasks: Mapping[str, Task[Plan, Result]]
    ) -> None:
        self.study, self.folder, self.tasks = study, folder, tasks
        self._held: dict[int, ImageDataset] = {}
        self._common: dict[tuple[int, tuple[str, ...]], Common] = {}

    def pack(self, task: Task[Plan, Result]) -> tuple[Parcel[Plan, Result], Common]:
        """Return the parcel of a task, and what it has in common with others."""
        needed = [path for key in task.needs for path in self.study.files(self.tasks[key], self.folder)]
        # The images are part of `Common`.
        alone = replace(task, dataset=cast(ImageDataset, None))
        return Parcel(alone, self.folder, pack_files(needed, self.folder)), self._common_of(task)

    def _common_of(self, task: Task[Plan, Result]) -> Common:
        paths: list[str] = []
        self.study.with_paths(task.plan, lambda path: paths.append(path) or path)  # type: ignore[func-returns-value]
        place = id(task.dataset), tuple(paths)
        if place not in self._common:
            if place[0] not in self._held:
                self._held[place[0]] = hold_files(task.dataset, MOST_BYTES)
            # What a file was made by, and from which images, lies beside it.
            found = [Path(path).with_name(n) for path in paths for n in ("run.json", "seen.safetensors")]
            files = {str(file): file.read_bytes() for file in [*map(Path, paths), *found] if file.is_file()}
            self._common[place] = Common(self._held[place[0]], files)
        return self._common[place]

    def receive(self, delivery: Delivery[Result], task: Task[Plan, Result]) -> Result:
        """Write the files of a result, and return it."""
        unpack_files(delivery.files, self.folder, self.study.files(task, self.folder))
        RunFolder(task.path).clean()
        return (
            cast(Result, RunFolder(task.path)) if isinstance(delivery.result, RunFolder) else delivery.result
        )


_one_at_a_time = Lock()


def execute_parcel(
    study: Sendable[Plan, Result], parcel: Parcel[Plan, Result], common: Common, on_progress: ProgressCallback
) -> Delivery[Result]:
    """Execute a task in a new folder of this worker."""
    # A worker of Dask has many threads, but the threads of torch are those of a process.
    with _one_at_a_time, TemporaryDirectory(prefix="counterpoise-", ignore_cleanup_errors=True) as name:
        root = Path(name)
        folder, inputs, originals = root / "study", root / "inputs", {}

        def place(path: str) -> str:
            local = str(inputs / content_hash(str(Path(path).parent))[:16] / Path(path).name)
            originals[local] = path
            return local

        unpack_files(parcel.needed, folder)
        for path, content in common.files.items():
            unpack_files({Path(place(path)).relative_to(root).as_posix(): content}, root)
        _check_readable(common.dataset)
        task = replace(
            parcel.task,
            dataset=common.dataset,
            path=folder / parcel.task.path.relative_to(parcel.folder),
            plan=study.with_paths(parcel.task.plan, place),
        )
        kept = study.files(task, folder)
        result = study.execute(task, folder, on_progress)
        files = pack_files(kept, folder)
    return Delivery(result, _with_originals(files, originals | {str(folder): str(parcel.folder)}))


def _check_readable(dataset: ImageDataset) -> None:
    for split in dataset.splits.values():
        try:
            decode_batch(split.images, range(min(1, len(split))))
        except DataError as error:
            raise DataError(
                f"worker {socket.gethostname()} {error}; more than {MOST_BYTES >> 30} GB of image files are not sent: "
                "share their folder with all workers, under the same path"
            ) from error


def _with_originals(files: Files, originals: Mapping[str, str]) -> Files:
    """Return files whose records name the paths of the sending machine."""
    changed = dict(files)
    for name in files:
        if name.endswith(".json"):
            for local, original in originals.items():
                changed[name] = changed[name].replace(_in_json(local), _in_json(original))
    return changed


def _in_json(text: str) -> bytes:
    return json.dumps(text, ensure_ascii=False)[1:-1].encode()


def pack_files(paths: Iterable[Path], folder: Path) -> Files:
    """Return the contents of finished files and folders inside `folder`, the records that declare them finished last.

    Examples
    --------
    >>> folder = Path(TemporaryDirectory().name)
    >>> unpack_files({"runs/a/run.json": b"{}", "runs/a/model": b"x"}, folder)
    >>> list(pack_files([folder / "runs"], folder))
    ['runs/a/model', 'runs/a/run.json']
    """
    every = [found for path in paths for found in (sorted(path.rglob("*")) if path.is_dir() else [path])]
    files = [
        path
        for path in every
        if path.is_file() and not path.name.startswith(".") and path.parent.name != "checkpoints"
    ]
    files.sort(key=lambda path: (path.suffix == ".json", path.stat().st_mtime_ns))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def unpack_files(files: Files, folder: Path, allowed: Sequence[Path] = ()) -> None:
    """Write the files that `folder` does not hold yet, each atomically.

    RunFolderError is raised if one would lie outside of the folder, or of all `allowed` files and folders in it.
    """
    for name, content in files.items():
        target, parts = folder / name, PurePosixPath(name).parts
        inside = [path for path in allowed or [folder] if path in (target, *target.parents)]
        if ".." in parts or "\\" in name or not inside:
            raise RunFolderError(
                f"a worker sent a file {name!r}, which is none of its task; it is not written"
            )
        if not (target.is_file() and target.read_bytes() == content):
            with atomic_path(target) as temporary:
                temporary.write_bytes(content)
