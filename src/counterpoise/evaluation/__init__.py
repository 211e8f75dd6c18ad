"""How good is it, and for whom? Scores, curves, thresholds, intervals and tests; NumPy in, plain numbers out.

Rows of a confusion matrix are true classes. An undefined value is None, never NaN.
"""

from __future__ import annotations

from counterpoise.evaluation.calibration import calibration_error, reliability_table
from counterpoise.evaluation.confusion import Outcomes, class_outcomes, confusion_matrix, total_outcomes
from counterpoise.evaluation.curves import (
    RocCurve,
    RocCurves,
    class_aucs,
    roc_curve,
    roc_curves,
    thin_curve,
    threshold_table,
)
from counterpoise.evaluation.evaluate import METRICS, evaluate, evaluate_predictions
from counterpoise.evaluation.intervals import MeanInterval, mean_interval
from counterpoise.evaluation.paired import PairedTest, holm, paired_p_value, paired_tests
from counterpoise.evaluation.rows import GROUPS, scores_to_rows
from counterpoise.evaluation.scores import (
    accuracy,
    class_f1_scores,
    class_precisions,
    class_recalls,
    class_specificities,
    geometric_mean,
    macro_average,
    micro_average,
)
from counterpoise.evaluation.thresholds import (
    CostThreshold,
    YoudenThreshold,
    cost_threshold,
    lowest_cost_threshold,
    predict_lowest_cost,
    predict_with_thresholds,
    youden_threshold,
)

__all__ = [
    "GROUPS",
    "METRICS",
    "CostThreshold",
    "MeanInterval",
    "Outcomes",
    "PairedTest",
    "RocCurve",
    "RocCurves",
    "YoudenThreshold",
    "accuracy",
    "calibration_error",
    "class_aucs",
    "class_f1_scores",
    "class_outcomes",
    "class_precisions",
    "class_recalls",
    "class_specificities",
    "confusion_matrix",
    "cost_threshold",
    "evaluate",
    "evaluate_predictions",
    "geometric_mean",
    "holm",
    "lowest_cost_threshold",
    "macro_average",
    "mean_interval",
    "micro_average",
    "paired_p_value",
    "paired_tests",
    "predict_lowest_cost",
    "predict_with_thresholds",
    "reliability_table",
    "roc_curve",
    "roc_curves",
    "scores_to_rows",
    "thin_curve",
    "threshold_table",
    "total_outcomes",
    "youden_threshold",
]
