"""The archived tables in results/: what the code of today makes of the runs is what was published."""

from pathlib import Path

import pandas as pd
import pytest

from counterpoise.runs import read_archive, result_rows
from counterpoise.studies.reproduce.summary import COLUMNS

RESULTS = Path(__file__).parent.parent / "results"
TABLES = sorted(path.parent.name for path in RESULTS.glob("*/runs.jsonl"))


def archived_runs(table):
    return list(read_archive(RESULTS / table / "runs.jsonl").values())


def line_of(record):
    """The line of the table that a run belongs to, by the name that ``results.csv`` gives it."""
    imbalance = record.imbalance.raw
    share = f"-mu{imbalance['minority']:g}" if isinstance(imbalance["minority"], float) else ""
    return f"{Path(record.dataset.source).stem}{share}-ratio{record.imbalance.ratio:g}"


def test_all_six_tables_with_their_535_runs_are_there():
    assert TABLES == ["poster-1", "poster-2", "thesis-1.1", "thesis-7.1", "thesis-7.2", "thesis-7.3"]
    assert sum(len(archived_runs(table)) for table in TABLES) == 535


@pytest.mark.parametrize("table", TABLES)
def test_results_are_rebuilt_from_the_runs_to_the_byte(table):
    rows = [
        {"table": table, "setting": line_of(run.record)} | row
        for run in archived_runs(table)
        for row in result_rows(run)
    ]
    rebuilt = pd.DataFrame(rows, columns=list(COLUMNS)).to_csv(index=False)
    assert rebuilt == (RESULTS / table / "results.csv").read_text(encoding="utf-8")
