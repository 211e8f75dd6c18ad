"""Scores, curves, intervals, statistical tests and verdicts: NumPy in, plain numbers out.

Conventions of all functions, where they do not state otherwise:

- ``y_true`` and ``y_pred`` hold class indices 0 .. C - 1, shape (N,); ``y_prob`` holds probabilities in [0, 1],
  shape (N, C). A binary ``y_true`` is 1 for samples of the class, and higher ``scores`` mean more likely of it.
- Rows of a confusion matrix, int of shape (C, C), are true classes.
- An undefined value is None, never NaN.
- Arrays that do not fit raise `InputError`.
"""

from counterpoise.evaluation.conformal import (
    ALPHA,
    ClassRule,
    conformal_rules,
    neighbor_distances,
    pixel_statistics,
    prediction_sets,
)
from counterpoise.evaluation.curves import (
    RocCurve,
    RocCurves,
    calibration_error,
    class_aucs,
    reliability_table,
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
from counterpoise.evaluation.intervals import FROM_COUNTS, paired_interval, score_interval
from counterpoise.evaluation.label_errors import suspect_labels
from counterpoise.evaluation.learning_curve import RecallForecast, fit_power_law, forecast_recalls
from counterpoise.evaluation.metrics import (
    GROUPS,
    METRICS,
    Degenerate,
    Metric,
    choosing_metric,
    column_title,
    compact_columns,
    page_groups,
    page_metrics,
    score_title,
)
from counterpoise.evaluation.scores import (
    Outcomes,
    accuracy,
    class_f1_scores,
    class_outcomes,
    class_precisions,
    class_recalls,
    class_specificities,
    confusion_matrix,
    geometric_mean,
    macro_average,
    micro_average,
    total_outcomes,
)
from counterpoise.evaluation.selection import (
    Candidate,
    CandidateRow,
    Choice,
    ChoiceDict,
    ChoiceMetric,
    Estimate,
    choose,
)
from counterpoise.evaluation.statistics import (
    BASELINE,
    MeanEntry,
    MeanInterval,
    Ranks,
    Verdict,
    count_changes,
    critical_difference,
    holm,
    judge,
    mean_interval,
    paired_p_value,
    paired_tests,
    rank_methods,
)
from counterpoise.evaluation.winner import (
    FEWEST_OF_FROZEN,
    FEWEST_TO_CHOOSE,
    Contender,
    Winner,
    WinnerDict,
    absent_classes,
    choose_winner,
    few_classes,
    weighs_classes,
)
