"""Misclassification costs: matrices from files, arrays or class counts, in plain NumPy."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from counterpoise.exceptions import InputError
from counterpoise.files import check_file

Costs = str | PathLike[str] | ArrayLike
"""Cost matrix, or a file that holds one."""

LARGEST_COST = 1e12
"""Sums of larger ones overflow."""
_FORMS = "a row for each true class, a column for each predicted one"


def read_costs(
    costs: Costs, num_classes: int | None = None, *, class_names: Sequence[str] | None = None
) -> NDArray[np.float64]:
    """Return a checked cost matrix, float64 of shape (C, C), as the transposed one of Elkan 2001, section 1.

    Parameters
    ----------
    costs : path or array-like of float, shape (C, C)
        Cost of deciding for the column where the row is true, at least 0. A file ends in ``.csv`` or ``.json``. CSV:
        the numbers alone, in the order of the dataset's classes; or with class names in the first line, and optionally
        in the first column (without it, rows have the order of the columns). JSON: a list of rows, or an object of
        objects, ``{"cat": {"cat": 0, "dog": 1}, "dog": {...}}``.
    num_classes : int, optional
        C. Default: the number of rows.
    class_names : sequence of str, optional
        Order into which a file with names is put. Default: the order of its rows.

    Raises
    ------
    InputError
        If the file cannot be read, is not a square matrix of finite numbers, at least 0, or names other classes.

    Examples
    --------
    >>> read_costs([[0, 1], [9, 0]], 2)
    array([[0., 1.],
           [9., 0.]])
    """
    if not isinstance(costs, (str, PathLike)):
        return _checked(costs, num_classes, "the cost matrix")
    path = Path(costs)
    if path.suffix.lower() not in _READERS:
        raise InputError(f"the cost matrix {str(path)!r} is of no known kind; expected a .csv or .json file")
    try:
        text = check_file(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise InputError(f"cannot read the cost matrix {path}: {reason}") from error
    rows, names = _READERS[path.suffix.lower()](path, text)
    matrix = _checked(rows, num_classes, f"the cost matrix in {path}")
    if names is None or class_names is None:
        return matrix
    missing = [name for name in class_names if name not in names]
    if missing:
        raise InputError(f"{path} has no class {missing[0]!r}; it names {_few(names)}")
    order = [names.index(name) for name in class_names]
    return matrix[np.ix_(order, order)]


def costs_from_counts(class_counts: ArrayLike) -> NDArray[np.float64]:
    """Return the costs n_max / n_c of any mistake on class c, under which all classes together cost the same.

    `class_counts`, (C,), are training samples of each class; one without samples costs 0.

    Examples
    --------
    >>> costs_from_counts([90, 10])
    array([[0., 1.],
           [9., 0.]])
    """
    counts = np.asarray(class_counts, dtype=np.float64)
    missed = np.divide(counts.max(), counts, out=np.zeros_like(counts), where=counts > 0)
    return missed[:, None] * (1.0 - np.eye(len(counts)))


def _checked(rows: Any, num_classes: int | None, where: str) -> NDArray[np.float64]:
    try:
        matrix = np.array(rows, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{where} is not a table of numbers; expected {_FORMS}") from error
    size = len(np.atleast_1d(matrix)) if num_classes is None else num_classes
    if matrix.shape != (size, size):
        shape = " x ".join(map(str, matrix.shape)) or "a single number"
        raise InputError(f"{where} is {shape}; expected {size} x {size}: {_FORMS}")
    wrong = np.argwhere(~((matrix >= 0) & (matrix <= LARGEST_COST)))
    if len(wrong):
        row, column = wrong[0]
        raise InputError(
            f"{where} has {matrix[row, column]} in row {row + 1}, column {column + 1}; "
            f"expected costs from 0 to {LARGEST_COST:g}"
        )
    return matrix


def _read_csv(path: Path, text: str) -> tuple[Any, list[str] | None]:
    try:
        lines = [[cell.strip() for cell in line] for line in csv.reader(text.splitlines())]
    except csv.Error as error:
        raise InputError(f"{path} is not a CSV: {error}") from error
    lines = [line for line in lines if any(line)]
    if not lines or all(map(_is_number, lines[0])):
        return lines, None
    header, body = lines[0], lines[1:]
    if len(body) == len(header):
        return _by_name(path, header, list(zip(header, body, strict=True)))
    return _by_name(path, header[1:], [(line[0], line[1:]) for line in body])


def _read_json(path: Path, text: str) -> tuple[Any, list[str] | None]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON: {error}") from error
    if not isinstance(content, dict):
        return content, None
    if not all(isinstance(row, dict) and row.keys() == content.keys() for row in content.values()):
        raise InputError(f"the rows of {path} do not name the same classes as its columns: {_FORMS}")
    return [[row[name] for name in content] for row in content.values()], list(content)


_READERS = {".csv": _read_csv, ".json": _read_json}


def _by_name(path: Path, columns: list[str], rows: list[tuple[str, list[str]]]) -> tuple[Any, list[str]]:
    """Return the cells with the columns in the order of the rows, and the names in that order."""
    names = [name for name, _ in rows]
    if sorted(names) != sorted(columns) or len(set(names)) < len(names):
        raise InputError(
            f"{path} has the rows {_few(names)} and the columns {_few(columns)}; expected each class once in both"
        )
    if any(len(cells) != len(columns) for _, cells in rows):
        raise InputError(f"the rows of {path} are not all of {len(columns)} numbers: {_FORMS}")
    order = [columns.index(name) for name in names]
    return [[cells[i] for i in order] for _, cells in rows], names


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
