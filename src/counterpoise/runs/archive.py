"""Archived runs: records and test scores of runs whose folders are gone, one a line.

They are enough to render the page of a table and to resume it on another machine.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from counterpoise.exceptions import RunFolderError
from counterpoise.files import write_text
from counterpoise.runs.folder import RunFolder
from counterpoise.runs.records import Record, RunMetrics, RunRecord, Scores, parse

ARCHIVE = "runs.jsonl"
"""Name among the published results of a table."""
RESUMED = "earlier.jsonl"
"""Name in the folder of a table: runs taken over from earlier results, perhaps of another machine."""


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
    lines = (
        json.dumps({"record": _without_path(run.record.raw), "test": run.metrics.raw["test"]}) for run in runs
    )
    write_text(path, "".join(f"{line}\n" for line in lines))


def _without_path(record: dict[str, Any]) -> dict[str, Any]:
    dataset = record["dataset"] | {"source": Path(record["dataset"]["source"]).name}
    return {key: value for key, value in record.items() if key != "config"} | {"dataset": dataset}


def read_archive(path: Path) -> dict[str, ArchivedRun]:
    """Return the runs of a file that `write_archive` wrote, by ``config_hash``; damage raises RunFolderError."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RunFolderError(
            f"cannot read {path}: {reason}; give a folder that `publish` has filled"
        ) from error
    found = {}
    for number, line in enumerate(lines, start=1):
        where = f"line {number} of {path}"
        try:
            value = json.loads(line)
        except ValueError as error:
            raise RunFolderError(f"{where} is damaged: it is not JSON; `publish` the table again") from error
        run = parse(_Line, value, where, remedy="`publish` the table again")
        metrics = parse(RunMetrics, {"test": value["test"]}, where)
        found[run.record.config_hash] = ArchivedRun(path.parent, run.record, metrics)
    return found


def archived_runs(out: Path) -> dict[str, ArchivedRun]:
    """Return the runs that the folder of a table took over from earlier results."""
    path = out / RESUMED
    return read_archive(path) if path.exists() else {}
