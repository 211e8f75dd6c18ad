"""What is left of runs whose folders are gone: enough to make a table's page, and to go on with it elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from counterpoise.exceptions import RunFolderError
from counterpoise.files import write_text
from counterpoise.runs.folder import RunFolder

KEPT = "runs.jsonl"
"""Among a table's results: one finished run a line, its record and its scores on test images."""
NEEDED = frozenset(
    (
        "config_hash",
        "dataset",
        "imbalance",
        "draw",
        "seed",
        "method",
        "created",
        "timings",
        "versions",
        "hardware",
    )
)
"""What a record is read for."""
EARLIER = "earlier.jsonl"
"""In a table's folder: the runs that were taken over from results made earlier, perhaps on another machine."""


class ArchivedRun(RunFolder):
    """A finished run of which record and test scores are left.

    Parameters
    ----------
    path : Path
        Where its folder would be.
    record : dict
        The content of its ``run.json``.
    test : dict
        Its scores on test images, as in ``metrics.json``.
    """

    def __init__(self, path: Path, record: dict[str, Any], test: dict[str, Any]) -> None:
        super().__init__(path)
        self.record = record
        self.metrics = {"test": test}


def write_archive(path: Path, runs: Iterable[RunFolder]) -> None:
    """Write one finished run a line; of where its images lay, the last part only: the file may be published.

    Raises
    ------
    RunFolderError
        If a run is damaged.
    """
    lines = (json.dumps({"record": _without_path(run.record), "test": run.metrics["test"]}) for run in runs)
    write_text(path, "".join(f"{line}\n" for line in lines))


def _without_path(record: dict[str, Any]) -> dict[str, Any]:
    dataset = record["dataset"] | {"source": Path(record["dataset"]["source"]).name}
    return {key: value for key, value in record.items() if key != "config"} | {"dataset": dataset}


def read_archive(path: Path) -> dict[str, dict[str, Any]]:
    """Return the runs of a file that `write_archive` wrote, by the hash of all that their numbers depend on.

    Raises
    ------
    RunFolderError
        If it cannot be read, or a line is no run.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RunFolderError(
            f"cannot read {path}: {reason}; give a folder that `publish` has filled"
        ) from error
    found = {}
    for number, line in enumerate(lines, start=1):
        try:
            run = json.loads(line)
            record, test = dict(run["record"]), dict(run["test"])
        except (ValueError, KeyError, TypeError) as error:
            raise RunFolderError(
                f"{path} is damaged: line {number} is no run; make it anew with `publish`"
            ) from error
        if not record.keys() >= NEEDED:
            lacking = min(NEEDED - record.keys())
            raise RunFolderError(
                f"{path} is damaged: line {number} lacks {lacking!r}; make it anew with `publish`"
            )
        found[record["config_hash"]] = {"record": record, "test": test}
    return found


def archived_runs(out: Path) -> dict[str, dict[str, Any]]:
    """Return what a table's folder took over from earlier results; nothing where it took over nothing."""
    path = out / EARLIER
    return read_archive(path) if path.exists() else {}
