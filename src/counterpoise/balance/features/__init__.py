"""New points in deep feature space, for classes that have too few.

The oversamplers follow imbalanced-learn (``fit_resample``, ``sampling_strategy``, ``random_state``) and add
``sample_weight_``, a weight for every row of the output.
"""

from counterpoise.balance.features.ados import ADOS
from counterpoise.balance.features.base import FeatureOversampler
from counterpoise.balance.features.fs_smote import FSSMOTE

__all__ = ["ADOS", "FSSMOTE", "FeatureOversampler"]
