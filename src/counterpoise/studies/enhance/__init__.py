"""Learned perturbations: a U-Net that changes images so that a classifier recognizes them better.

After the slides "Learning Perturbations to Improve Classification Accuracy": the U-Net learns to copy images, a
classifier learns on the originals, and the U-Net is then trained through the same, frozen classifier. The gain is
measured against continued training of the classifier, and against both trained together from scratch.
"""

from typing import TYPE_CHECKING

from counterpoise.catalogs import lazy_exports

if TYPE_CHECKING:
    from counterpoise.studies.enhance.page import findings as findings
    from counterpoise.studies.enhance.page import gain_rows as gain_rows
    from counterpoise.studies.enhance.page import shown_columns as shown_columns
    from counterpoise.studies.enhance.plan import ENHANCED as ENHANCED
    from counterpoise.studies.enhance.study import first_pair as first_pair

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "findings": f"{__name__}.page",
        "gain_rows": f"{__name__}.page",
        "shown_columns": f"{__name__}.page",
        "ENHANCED": f"{__name__}.plan",
        "first_pair": f"{__name__}.study",
    },
)
