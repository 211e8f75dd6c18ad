"""Feature oversamplers: synthetic samples in feature space, for classes that have too few.

They follow imbalanced-learn (``fit_resample``, ``sampling_strategy``, ``random_state``) and add ``sample_weight_``, a
weight for each row of the output.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from counterpoise.balance._slot import open_slot
from counterpoise.catalogs import Entry

if TYPE_CHECKING:
    from counterpoise.balance.features.ados import ADOS as ADOS
    from counterpoise.balance.features.ados import max_neighbors as max_neighbors
    from counterpoise.balance.features.base import FeatureOversampler as FeatureOversampler
    from counterpoise.balance.features.fs_smote import FSSMOTE as FSSMOTE

FEATURES, __getattr__, __dir__, __all__ = open_slot(
    __name__,
    "feature oversampler",
    [
        Entry(
            name="ados",
            target="counterpoise.balance.features.ados:ADOS",
            summary="Adaptive dynamic oversampling: samples between a point and a weighted mean of its neighbors.",
            source="ADOS thesis, section 4.2.3 (Algorithms 3 to 5)",
        ),
        Entry(
            name="fssmote",
            target="counterpoise.balance.features.fs_smote:FSSMOTE",
            summary="SMOTE on embeddings.",
            source="Chawla et al. 2002; thesis, section 3.2",
        ),
    ],
    {
        "FEATURES": __name__,
        "FeatureOversampler": "counterpoise.balance.features.base",
        "max_neighbors": "counterpoise.balance.features.ados",
    },
)
