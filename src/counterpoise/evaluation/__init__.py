"""Scores, curves, intervals, statistical tests and verdicts: NumPy in, plain numbers out.

Conventions of all functions, where they do not state otherwise:

- ``y_true`` and ``y_pred`` hold class indices 0 .. C - 1, shape (N,); ``y_prob`` holds probabilities in [0, 1],
  shape (N, C). A binary ``y_true`` is 1 for samples of the class, and higher ``scores`` mean more likely of it.
- Rows of a confusion matrix, int of shape (C, C), are true classes.
- An undefined value is None, never NaN.
- Arrays that do not fit raise `InputError`.
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
from counterpoise.evaluation.evaluate import (
    GroupScores,
    ScoreRow,
    ScoresDict,
    evaluate,
    evaluate_predictions,
    scores_to_rows,
)
from counterpoise.evaluation.intervals import MeanInterval, mean_interval
from counterpoise.evaluation.metrics import (
    GROUPS,
    METRICS,
    ClassGroup,
    Degenerate,
    Metric,
    choosing_metric,
    column_title,
    compact_columns,
    page_groups,
    page_metrics,
    score_title,
)
from counterpoise.evaluation.paired import (
    Changes,
    PairedTest,
    count_changes,
    holm,
    paired_p_value,
    paired_tests,
)
from counterpoise.evaluation.ranks import Ranks, critical_difference, rank_methods
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
from counterpoise.evaluation.verdicts import BASELINE, Verdict, judge

__all__ = [
    "BASELINE",
    "GROUPS",
    "METRICS",
    "Changes",
    "ClassGroup",
    "Degenerate",
    "GroupScores",
    "MeanInterval",
    "Metric",
    "Outcomes",
    "PairedTest",
    "Ranks",
    "RocCurve",
    "RocCurves",
    "ScoreRow",
    "ScoresDict",
    "Verdict",
    "accuracy",
    "calibration_error",
    "choosing_metric",
    "class_aucs",
    "class_f1_scores",
    "class_outcomes",
    "class_precisions",
    "class_recalls",
    "class_specificities",
    "column_title",
    "compact_columns",
    "confusion_matrix",
    "count_changes",
    "critical_difference",
    "evaluate",
    "evaluate_predictions",
    "geometric_mean",
    "holm",
    "judge",
    "macro_average",
    "mean_interval",
    "micro_average",
    "page_groups",
    "page_metrics",
    "paired_p_value",
    "paired_tests",
    "rank_methods",
    "reliability_table",
    "roc_curve",
    "roc_curves",
    "score_title",
    "scores_to_rows",
    "thin_curve",
    "threshold_table",
    "total_outcomes",
]
