"""Scores, curves, intervals, statistical tests and verdicts: NumPy in, plain numbers out.

Conventions of all functions, where they do not state otherwise:

- ``y_true`` and ``y_pred`` hold class indices 0 .. C - 1, shape (N,); ``y_prob`` holds probabilities in [0, 1],
  shape (N, C). A binary ``y_true`` is 1 for samples of the class, and higher ``scores`` mean more likely of it.
- Rows of a confusion matrix, int of shape (C, C), are true classes.
- An undefined value is None, never NaN.
- Arrays that do not fit raise `InputError`.
"""

from __future__ import annotations

from counterpoise.evaluation.calibration import calibration_error as calibration_error
from counterpoise.evaluation.calibration import reliability_table as reliability_table
from counterpoise.evaluation.confusion import Outcomes as Outcomes
from counterpoise.evaluation.confusion import class_outcomes as class_outcomes
from counterpoise.evaluation.confusion import confusion_matrix as confusion_matrix
from counterpoise.evaluation.confusion import total_outcomes as total_outcomes
from counterpoise.evaluation.curves import RocCurve as RocCurve
from counterpoise.evaluation.curves import RocCurves as RocCurves
from counterpoise.evaluation.curves import class_aucs as class_aucs
from counterpoise.evaluation.curves import roc_curve as roc_curve
from counterpoise.evaluation.curves import roc_curves as roc_curves
from counterpoise.evaluation.curves import thin_curve as thin_curve
from counterpoise.evaluation.curves import threshold_table as threshold_table
from counterpoise.evaluation.evaluate import GroupScores as GroupScores
from counterpoise.evaluation.evaluate import ScoreRow as ScoreRow
from counterpoise.evaluation.evaluate import ScoresDict as ScoresDict
from counterpoise.evaluation.evaluate import evaluate as evaluate
from counterpoise.evaluation.evaluate import evaluate_predictions as evaluate_predictions
from counterpoise.evaluation.evaluate import scores_to_rows as scores_to_rows
from counterpoise.evaluation.intervals import MeanInterval as MeanInterval
from counterpoise.evaluation.intervals import mean_interval as mean_interval
from counterpoise.evaluation.metrics import GROUPS as GROUPS
from counterpoise.evaluation.metrics import METRICS as METRICS
from counterpoise.evaluation.metrics import ClassGroup as ClassGroup
from counterpoise.evaluation.metrics import Degenerate as Degenerate
from counterpoise.evaluation.metrics import Metric as Metric
from counterpoise.evaluation.metrics import choosing_metric as choosing_metric
from counterpoise.evaluation.metrics import column_title as column_title
from counterpoise.evaluation.metrics import compact_columns as compact_columns
from counterpoise.evaluation.metrics import page_groups as page_groups
from counterpoise.evaluation.metrics import page_metrics as page_metrics
from counterpoise.evaluation.metrics import score_title as score_title
from counterpoise.evaluation.paired import Changes as Changes
from counterpoise.evaluation.paired import PairedTest as PairedTest
from counterpoise.evaluation.paired import count_changes as count_changes
from counterpoise.evaluation.paired import holm as holm
from counterpoise.evaluation.paired import paired_p_value as paired_p_value
from counterpoise.evaluation.paired import paired_tests as paired_tests
from counterpoise.evaluation.ranks import Ranks as Ranks
from counterpoise.evaluation.ranks import critical_difference as critical_difference
from counterpoise.evaluation.ranks import rank_methods as rank_methods
from counterpoise.evaluation.scores import accuracy as accuracy
from counterpoise.evaluation.scores import class_f1_scores as class_f1_scores
from counterpoise.evaluation.scores import class_precisions as class_precisions
from counterpoise.evaluation.scores import class_recalls as class_recalls
from counterpoise.evaluation.scores import class_specificities as class_specificities
from counterpoise.evaluation.scores import geometric_mean as geometric_mean
from counterpoise.evaluation.scores import macro_average as macro_average
from counterpoise.evaluation.scores import micro_average as micro_average
from counterpoise.evaluation.verdicts import BASELINE as BASELINE
from counterpoise.evaluation.verdicts import Verdict as Verdict
from counterpoise.evaluation.verdicts import judge as judge
