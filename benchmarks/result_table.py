"""Results of benchmarks as CSV files that a later call continues."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar

Row = TypeVar("Row")
KINDS: dict[str, Callable[[str], object]] = {
    "str": str,
    "int": int,
    "float": float,
    "float | None": lambda cell: float(cell) if cell else None,
}


def read_results(path: Path, kind: type[Row]) -> list[Row]:
    """Read rows of a dataclass of strings and numbers; none where there is no file."""
    if not path.exists():
        return []
    kinds = {field.name: KINDS[str(field.type)] for field in fields(kind)}  # type: ignore[arg-type]
    with path.open(newline="") as file:
        return [kind(**{k: kinds[k](v) for k, v in row.items()}) for row in csv.DictReader(file)]


def write_results(results: Sequence[Any], path: Path, kind: type[Any]) -> None:
    """Replace the file by these rows, numbers with four digits after the point."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    with part.open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(kind)], lineterminator="\n")
        writer.writeheader()
        for result in results:
            row = asdict(result)
            writer.writerow({k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()})
    part.replace(path)
