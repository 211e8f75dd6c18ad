"""Use of finished runs: predict, evaluate, adjust, explain and export."""

from counterpoise.inference.adjust import AdjustedRun, AdjustmentPlan, adjust_run, plan_adjustment
from counterpoise.inference.explain import EXPLANATION_CONTENTS, explain_images
from counterpoise.inference.explanation import (
    Attention,
    ExplainedImage,
    ExplainedModel,
    Explanation,
    ModelFacts,
    View,
)
from counterpoise.inference.explanation_page import build_explanation_page
from counterpoise.inference.export import OUTPUTS as ONNX_OUTPUTS
from counterpoise.inference.export import Exported, check_export, export_run
from counterpoise.inference.model import (
    Evaluation,
    Prediction,
    TrainedModel,
    evaluate_run,
    load_adjustment,
    load_for_run,
    load_network,
    predict_images,
)
from counterpoise.inference.trust import Trust, promise_words, why_not
