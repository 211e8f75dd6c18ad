"""The archived tables in results/: what the code of today makes of the runs is what was published."""

import json
from pathlib import Path

import pandas as pd
import pytest

from counterpoise.evaluation import scores_to_rows
from counterpoise.runs import read_archive, read_trainings, result_rows
from counterpoise.studies.reproduce.summary import COLUMNS

RESULTS = Path(__file__).parent.parent / "results"
TABLES = sorted(path.parent.name for path in RESULTS.glob("*-[0-9]*/runs.jsonl"))


def archived_runs(table):
    return list(read_archive(RESULTS / table / "runs.jsonl").values())


def line_of(record):
    """The line of the table that a run belongs to, by the name that ``results.csv`` gives it."""
    imbalance = record.imbalance.raw
    minority = imbalance.get("minority")
    kind = (
        f"-mu{minority:g}" if isinstance(minority, float) else "" if minority else f"-{imbalance['profile']}"
    )
    return f"{Path(record.dataset.source).stem}{kind}-ratio{record.imbalance.ratio:g}"


def test_all_six_tables_are_there():
    assert TABLES == ["poster-1", "poster-2", "thesis-1.1", "thesis-7.1", "thesis-7.2", "thesis-7.3"]


@pytest.mark.parametrize("table", TABLES)
def test_results_are_rebuilt_from_the_runs_to_the_byte(table):
    rows = [
        {"table": table, "setting": line_of(run.record)} | row
        for run in archived_runs(table)
        for row in result_rows(run)
    ]
    rebuilt = pd.DataFrame(rows, columns=list(COLUMNS)).to_csv(index=False)
    assert rebuilt == (RESULTS / table / "results.csv").read_text(encoding="utf-8")


@pytest.mark.skipif(not (RESULTS / "lecture-transfer").is_dir(), reason="the study is not published yet")
def test_the_transfer_study_is_rebuilt_from_its_trainings_to_the_byte():
    folder = RESULTS / "lecture-transfer"
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    records = [record.raw for record in read_trainings(folder / "runs.jsonl")]
    assert len(records) == summary["runs"]["done"]
    of = {record["identity"]: None for record in records}
    lines = dict(zip(of, summary["studies"].items(), strict=True))
    rows = [
        {"table": "lecture-transfer", "setting": name, "dataset": "cifar10", "split": study["split"]}
        | {key: record[key] for key in ("draw", "seed", "treatment", "layers")}
        | row
        for record in records
        for name, study in [lines[record["identity"]]]
        for row in scores_to_rows(record["scores"])
    ]
    assert pd.DataFrame(rows).to_csv(index=False) == (folder / "results.csv").read_text(encoding="utf-8")
