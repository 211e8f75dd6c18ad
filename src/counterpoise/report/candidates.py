"""Table of the candidates of a choice by cross-validated predictions, the same on every page."""

from __future__ import annotations

from collections.abc import Mapping

from counterpoise.evaluation import ChoiceDict, Estimate
from counterpoise.report.kit.html import Cell, Line, Table
from counterpoise.report.kit.wording import decimals

COLUMNS = {
    "score": "Score",
    "gmean": "G-mean",
    "recall": "Mean recall",
    "f1": "Macro F1",
    "log_loss": "Log loss",
    "behind": "Behind the best",
}


def candidates_table(choice: ChoiceDict, titles: Mapping[str, str]) -> Table:
    """Return a row for each candidate: scores with their standard errors; the chosen one stands out."""
    rows: list[list[Cell]] = []
    for row in choice["candidates"]:
        name: list[Line] = [Line(titles.get(row["name"], row["name"])), Line(row["name"], "quiet")]
        if row["chosen"]:
            name.append(Line("chosen", "best"))
        rows.append([name, *(_estimate(row[key]) for key in COLUMNS)])  # type: ignore[literal-required]
    stressed = [i for i, row in enumerate(choice["candidates"]) if row["chosen"]]
    return Table("Candidates", ["Candidate", *COLUMNS.values()], rows, stressed=stressed, wide=True)


def _estimate(estimate: Estimate) -> str:
    error = estimate["standard_error"]
    # A log loss of zero may have rounding errors below it.
    return decimals(max(0.0, estimate["value"])) + ("" if error is None else f" ± {decimals(error)}")
