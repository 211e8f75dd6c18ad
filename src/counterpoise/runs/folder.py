"""Run folders, and archived runs: records and test scores of runs whose folders are gone, one a line.

Archived runs are enough to render the page of a table and to resume it on another machine.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar

from safetensors import SafetensorError

from counterpoise.exceptions import RunFolderError
from counterpoise.files import (
    check_file,
    is_locked,
    locked_folder,
    read_json,
    read_object,
    refuse_unexpected,
    remove_leftovers,
    write_json,
    write_text,
)
from counterpoise.runs.calibration import CALIBRATION, Calibration
from counterpoise.runs.predictions import Predictions, read_predictions
from counterpoise.runs.records import (
    FINISHED,
    EmbeddingMap,
    FailureRecord,
    HistoryEntry,
    Mistake,
    Record,
    RunMetrics,
    RunRecord,
    Scores,
    TransferRecord,
    parse,
)
from counterpoise.runs.seen import SeenImages

T = TypeVar("T")
FORMAT = 1
ARCHIVE = "runs.jsonl"
"""Name among the published results of a table."""
RESUMED = "earlier.jsonl"
"""Name in the folder of a table: runs taken over from earlier results, perhaps of another machine."""
_REMEDY = "name the results of this table, or `export_to` them again"
SECONDS_TO_WAIT = 20
"""The workers of a killed comparison end within seconds; a run that resumes waits for them."""


class RunFolder:
    """Folder that holds one run; its files are read on first use, and damage raises RunFolderError."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.record_path = self.path / "run.json"
        self.checkpoints = self.path / "checkpoints"

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """Return the finished run in `path`, see `clean`; raise RunFolderError if there is none."""
        run = cls(path)
        if not run.path.is_dir():
            raise RunFolderError(f"{path} is not a folder; give a run folder, e.g. OUT/best")
        if not run.record_path.exists():
            raise RunFolderError(f"{path} holds no run.json; give a run folder, e.g. OUT/best")
        if not run.is_complete():
            raise RunFolderError(f"{path} holds an unfinished run; give the same command again to finish it")
        run.record  # noqa: B018  damage is found here, not in the middle of what uses it
        run.clean()
        return run

    @cached_property
    def record(self) -> RunRecord:
        """Content of ``run.json``."""
        return parse(RunRecord, read_object(self.record_path), self.record_path)

    @cached_property
    def metrics(self) -> RunMetrics:
        """Content of ``metrics.json``."""
        path = self.path / "metrics.json"
        metrics = parse(RunMetrics, read_object(path), path, remedy="evaluate the run again")
        size = len(self.record.dataset.classes)
        if any(scores and len(scores.per_class) != size for scores in (metrics.test, metrics.validation)):
            raise RunFolderError(f"{path} is not of the run's {size} classes; evaluate the run again")
        return metrics

    @property
    def scores(self) -> Scores | None:
        """Scores on the test images, or else those on the validation images."""
        return self.metrics.test or self.metrics.validation

    @property
    def scored_split(self) -> str:
        """Split that `scores` belongs to."""
        return "test" if self.metrics.test else "validation"

    @cached_property
    def predictions(self) -> Predictions | None:
        """Content of ``predictions.csv``; None where there is none."""
        path = self.path / "predictions.csv"
        return read_predictions(path, self.record.dataset.classes) if path.is_file() else None

    def need_predictions(self) -> Predictions:
        """Return `predictions`; raise RunFolderError where there are none."""
        return read_predictions(self.path / "predictions.csv", self.record.dataset.classes)

    @cached_property
    def calibration(self) -> Calibration | None:
        """Content of ``calibration.safetensors``; None where there is none: older runs, or no image was held out."""
        path = self.path / CALIBRATION
        return Calibration.load(path, len(self.record.dataset.classes)) if path.is_file() else None

    @cached_property
    def history(self) -> Sequence[HistoryEntry]:
        """Epochs of ``history.json``; empty where there is none."""
        return self._read(list[HistoryEntry], "history.json") or ()

    @cached_property
    def embedding(self) -> EmbeddingMap | None:
        """Content of ``embedding.json``; None where there is none."""
        found = self._read(EmbeddingMap, "embedding.json")
        if found is not None:
            self._check_indices(found.label, "embedding.json")
        return found

    @cached_property
    def mistakes(self) -> Sequence[Mistake]:
        """Content of ``mistakes.json``; empty where there is none."""
        found = self._read(list[Mistake], "mistakes.json") or ()
        self._check_indices([i for m in found for i in (m.true, m.predicted)], "mistakes.json")
        return found

    @cached_property
    def seen(self) -> SeenImages | None:
        """Content of ``seen.safetensors``; None where there is none."""
        return SeenImages.load(self.path)

    def _read(self, kind: type[T], name: str) -> T | None:
        path = self.path / name
        return parse(kind, read_json(path), path) if path.is_file() else None

    def _check_indices(self, indices: Sequence[int], name: str) -> None:
        size = len(self.record.dataset.classes)
        wrong = next((index for index in indices if index >= size), None)
        if wrong is not None:
            raise RunFolderError(f"{self.path / name} holds a class index {wrong} that the run does not have")

    def is_complete(self, config_hash: str | None = None, contents: str | None = None) -> bool:
        """Return whether the run is finished (and, if given, is the one of `config_hash` on images of `contents`)."""
        if not self.record_path.exists():
            return False
        record = read_object(self.record_path)
        dataset = record.get("dataset")
        known = dataset.get("contents") if isinstance(dataset, dict) else None
        if contents not in (None, known or contents):
            return False
        return record.get("status") == FINISHED and config_hash in (None, record.get("config_hash"))

    def clean(self) -> None:
        """Remove what a killed process left: unfinished files, and the checkpoints of a finished run."""
        remove_leftovers(self.path)
        if self.checkpoints.is_dir() and self.is_complete() and not is_locked(self.path):
            shutil.rmtree(self.checkpoints, ignore_errors=True)

    @property
    def status(self) -> Literal["done", "running", "interrupted"]:
        """Derived: done with a finished record, running while a process holds the folder, else interrupted."""
        if self.is_complete():
            return "done"
        return "running" if is_locked(self.path) else "interrupted"

    @property
    def failure(self) -> FailureRecord | None:
        """Content of ``failure.json``, which a study writes; None where the last attempt did not fail."""
        return self._read(FailureRecord, "failure.json")

    @contextmanager
    def claimed(self, config_hash: str) -> Iterator[None]:
        """Hold the folder; RunFolderError if another process or a run of another configuration holds it."""
        self.check_owner(config_hash)
        with locked_folder(self.path, timeout=SECONDS_TO_WAIT):
            if not self.check_owner(config_hash):
                write_json(self.record_path, {"format": FORMAT, "config_hash": config_hash})
            try:
                yield
            except SafetensorError as error:
                # Checkpoints are written in Rust, whose errors are no OSErrors; what is read is checked apart.
                raise RunFolderError(
                    f"cannot write {self.path}: {error}; free some space or choose another `out`"
                ) from error

    def check_owner(self, config_hash: str) -> bool:
        """Return whether the folder holds this run already; raise RunFolderError if it holds anything else."""
        if self.record_path.exists():
            if read_object(self.record_path).get("config_hash") != config_hash:
                raise RunFolderError(
                    f"{self.path} holds another run (other data, method or settings); choose another `out`"
                )
            return True
        refuse_unexpected(self.path, "run")
        return False


class _Line(Record):
    record: RunRecord
    test: Scores | None


class ArchivedRun(RunFolder):
    """Finished run of which the record and the test scores remain."""

    def __init__(self, path: Path, record: RunRecord, metrics: RunMetrics) -> None:
        super().__init__(path)
        self.record = record
        self.metrics = metrics


def write_archive(path: Path, runs: Iterable[RunFolder]) -> None:
    """Write one finished run a line, with only the last part of the path of its images: the file may be published."""
    lines = []
    for run in runs:
        record = {key: value for key, value in run.record.raw.items() if key != "config"}
        record["dataset"] = record["dataset"] | {"source": Path(record["dataset"]["source"]).name}
        lines.append({"record": record, "test": run.metrics.raw["test"]})
    write_lines(path, lines)


def read_archive(path: Path) -> dict[str, ArchivedRun]:
    """Return the runs of a file that `write_archive` wrote, by ``config_hash``; damage raises RunFolderError."""
    found = {}
    for where, value in _read_lines(path):
        run = parse(_Line, value, where, remedy=_REMEDY)
        metrics = parse(RunMetrics, {"test": value["test"]}, where)
        found[run.record.config_hash] = ArchivedRun(path.parent, run.record, metrics)
    return found


def read_trainings(path: Path) -> list[TransferRecord]:
    """Return the trainings of an archive, one a line; damage raises RunFolderError."""
    return [parse(TransferRecord, value, where, remedy=_REMEDY) for where, value in _read_lines(path)]


def write_lines(path: Path, values: Iterable[Mapping[str, object]]) -> None:
    """Write one JSON value a line."""
    write_text(path, "".join(json.dumps(value) + "\n" for value in values))


def _read_lines(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield each line of an archive: where it stands, in words, and its value."""
    try:
        lines = check_file(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RunFolderError(
            f"cannot read {path}: {reason}; give a folder that `publish` has filled"
        ) from error
    for number, line in enumerate(lines, start=1):
        where = f"line {number} of {path}"
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise RunFolderError(f"{where} is damaged: it is not JSON; {_REMEDY}") from error
        yield where, value


def archived_runs(out: Path) -> dict[str, ArchivedRun]:
    """Return the runs that the folder of a table took over from earlier results."""
    path = out / RESUMED
    return read_archive(path) if path.exists() else {}
