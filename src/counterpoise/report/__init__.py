"""One self-contained HTML file about a comparison or a run, which opens offline."""

from counterpoise.report.comparison import Comparison, MeanScore, read_comparison, read_runs
from counterpoise.report.comparison_page import build_report
from counterpoise.runs.records import Run

__all__ = [
    "Comparison",
    "MeanScore",
    "Run",
    "build_report",
    "read_comparison",
    "read_runs",
]
