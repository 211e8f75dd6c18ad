"""Runs and comparisons: resumable grids, run folders, tables."""

from counterpoise.experiments.adjusting import AdjustedRun, AdjustmentPlan, adjust_run, plan_adjustment
from counterpoise.experiments.evaluating import (
    Evaluation,
    Prediction,
    evaluate_run,
    load_for_run,
    predict_images,
    predict_probabilities,
)
from counterpoise.experiments.explaining import explain_images
from counterpoise.experiments.explanation import ExplainedImage, Explanation
from counterpoise.experiments.exporting import Exported, export_run
from counterpoise.experiments.folder import RunFolder
from counterpoise.experiments.grid import News, Outcome, run_grid
from counterpoise.experiments.plan import RunPlan, SplitPlan
from counterpoise.experiments.run import execute_run
from counterpoise.experiments.study import Study, StudyResult, run_study

__all__ = [
    "AdjustedRun",
    "AdjustmentPlan",
    "Evaluation",
    "ExplainedImage",
    "Explanation",
    "Exported",
    "News",
    "Outcome",
    "Prediction",
    "RunFolder",
    "RunPlan",
    "SplitPlan",
    "Study",
    "StudyResult",
    "adjust_run",
    "evaluate_run",
    "execute_run",
    "explain_images",
    "export_run",
    "load_for_run",
    "plan_adjustment",
    "predict_images",
    "predict_probabilities",
    "run_grid",
    "run_study",
]
