"""One self-contained HTML file about a comparison or a run, which opens offline."""

from counterpoise.report.explain_page import build_explanation_page
from counterpoise.report.read import Score, Study, read_runs, read_study
from counterpoise.report.report import build_report
from counterpoise.report.run_folder import Run

__all__ = ["Run", "Score", "Study", "build_explanation_page", "build_report", "read_runs", "read_study"]
