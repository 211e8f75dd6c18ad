"""Tables of images, CSV or parquet: which columns hold path, label and split, and which file a path means."""

from __future__ import annotations

import csv
import re
import warnings
from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import cache
from importlib.util import find_spec
from io import BytesIO, StringIO
from pathlib import Path

from counterpoise.datasets.decoding import EXTENSIONS
from counterpoise.datasets.layout import class_name, split_of
from counterpoise.datasets.listing import ListedFile, Listing, classes_of
from counterpoise.datasets.stores import FolderStore
from counterpoise.exceptions import DataError, UnknownNameError
from counterpoise.files import check_file

#: Endings of tables.
TABLES = (".csv", ".tsv", ".parquet")
_COLUMNS = {
    "path": ("path", "filename", "file", "file_name", "filepath", "image", "image_path", "img"),
    "label": ("label", "class", "category", "target", "diagnosis"),
    "split": ("split", "set", "subset", "fold"),
}
_Row = tuple[str, list[str]]  # place, as messages name it, and cells


def list_table(path: Path, group: str | None, columns: Mapping[str, str | None], partial: bool) -> Listing:
    """List the images of a table; `columns` "path" and "label" are given, or have a common name, and others may be.

    Paths are relative to the folder of the table, or to ``images/`` in it, and need no ending where one file only fits.
    Another column may have the name `group`: its cells are the groups. With `partial`, a given column may be missing.
    """
    rows = _read_rows(path)
    if len(rows) < 2:
        raise DataError(f"{path} lists no images; expected a line path,label[,split] for each")
    names = _find_columns(rows, group, columns, partial)
    find, seen, entries = _finder(path.parent), dict[str, str](), []
    for where, cells in rows[1:]:
        row = dict(zip(rows[0][1], cells, strict=False))
        file, label = row[names["path"]], row[names["label"]]
        split = row[names["split"]] if "split" in names else "train"
        if not file or not label:
            raise DataError(f"{where}: the {'label' if file else 'path'} is empty")
        if (part := split_of(split)) is None:
            raise DataError(f"{where}: unknown split {split!r}; expected train, val or test")
        file = find(where, file.replace("\\", "/"))
        if file in seen:
            raise DataError(f"{where}: {file} is already named on {seen[file]}; name each image once")
        seen[file] = where.removeprefix(f"{path}, ")
        entries.append(ListedFile(file, class_name(label), part, row.get(group, "") if group else ""))
    return Listing(path.stem, FolderStore(path.parent), tuple(entries), classes_of(entries))


def _find_columns(
    rows: list[_Row], group: str | None, columns: Mapping[str, str | None], partial: bool
) -> dict[str, str]:
    """Return the columns of path and label, and that of split if there is one."""
    where, header = rows[0]
    plain = {name: re.sub(r"[\s-]+", "_", name).casefold() for name in header if name != group}
    names: dict[str, str] = {}
    for kind, common in _COLUMNS.items():
        given = columns.get(kind)
        if given is not None and given not in header and not partial:
            raise UnknownNameError(f"`{kind}_column`", given, header)
        exact = [name for name in (given, kind) if name in header][:1]
        found = exact or [name for name, word in plain.items() if word in common]
        if kind == "split" and not exact:  # such a column has at least some names of splits
            found = [n for n in found if any(split_of(cells[header.index(n)]) for _, cells in rows[1:])]
        elif not found:
            what = f"column {kind!r} is missing among {', '.join(header)}"
            raise DataError(f"{where}: {what}; name it so, or give `{kind}_column`")
        if len(found) > 1 or (found and header.count(found[0]) > 1):
            may = " and ".join(name for name in header if name in found)
            raise DataError(f"{where}: {may} may all be the {kind}; name one of them {kind}")
        names |= zip([kind], found, strict=False)
    return names


def _read_rows(path: Path) -> list[_Row]:
    """Return header and rows; the delimiter is that which the header has most."""
    text = _read_text(path)
    first = next((line for line in text.splitlines() if line.strip()), "")
    reader = csv.reader(StringIO(text, newline=""), delimiter=max(",;\t", key=first.count))
    rows: list[_Row] = []
    try:
        for row in reader:
            where, cells = f"{path}, line {reader.line_num}", [cell.strip() for cell in row]
            width = len(rows[0][1]) if rows else len(cells)
            if any(cells) and (len(cells) < width or any(cells[width:])):
                raise DataError(f"{where}: found {len(cells)} cells, expected {width}")
            rows += [(where, cells)] if any(cells) else []
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}") from error
    if not rows:
        raise DataError(f"{path} is empty; expected the columns path,label and optionally split")
    return rows


def _read_text(path: Path) -> str:
    content = check_file(path).read_bytes()
    if path.suffix.lower() == ".parquet":
        if find_spec("pyarrow") is None:
            extra = 'pip install "counterpoise[parquet]"'
            raise DataError(f"{path}: reading parquet needs pyarrow, which is not installed: {extra}")
        from pandas import read_parquet

        try:
            return read_parquet(BytesIO(content)).to_csv(index=False)
        except ValueError as error:
            raise DataError(f"cannot read {path}: {str(error).splitlines()[0]}") from error
    try:
        return content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError:
        warnings.warn(f"{path} is not UTF-8 text: read as Windows-1252; save it as CSV UTF-8", stacklevel=6)
        return content.decode("cp1252", "replace")


def _finder(folder: Path) -> Callable[[str, str], str]:
    """Return a function of place and path that returns the name of the one file, below a folder, that is meant."""

    @cache
    def by_stem(place: Path) -> dict[str, list[str]]:
        found = defaultdict[str, list[str]](list)
        for path in sorted((folder / place).glob("*")):
            found[path.stem if path.suffix.lower() in EXTENSIONS else ""].append(
                (place / path.name).as_posix()
            )
        return found

    def find(where: str, name: str) -> str:
        places = [name] if Path(name).is_absolute() else [name, f"images/{name}"]
        found = [place for place in places if (folder / place).is_file()][:1]
        found = found or [file for p in map(Path, places) for file in by_stem(p.parent).get(p.name, ())]
        if len(found) > 1:
            raise DataError(f"{where}: {name} may be {' or '.join(found)}; give the whole name")
        if not found:
            raise DataError(f"{where}: no file {name} (paths are relative to {folder} or its images/)")
        return found[0]

    return find
