"""Learned perturbations: a U-Net that changes images so that a classifier recognizes them better.

After the slides "Learning Perturbations to Improve Classification Accuracy": the U-Net learns to copy images, a
classifier learns on the originals, and the U-Net is then trained through the same, frozen classifier. The gain is
measured against continued training of the classifier, and against both trained together from scratch. Before a
classifier that may not be changed, a head on frozen features, it is measured against that head's continued training and
against fine-tuning of the whole network.
"""

from typing import TYPE_CHECKING

from counterpoise.catalogs import lazy_exports

if TYPE_CHECKING:
    from counterpoise.studies.enhance.page import NOISE_COLUMNS as NOISE_COLUMNS
    from counterpoise.studies.enhance.page import findings as findings
    from counterpoise.studies.enhance.page import gain_rows as gain_rows
    from counterpoise.studies.enhance.page import noise_rows as noise_rows
    from counterpoise.studies.enhance.page import protocol as protocol
    from counterpoise.studies.enhance.page import shown_columns as shown_columns
    from counterpoise.studies.enhance.plan import ENHANCED as ENHANCED
    from counterpoise.studies.enhance.study import first_pair as first_pair

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        **dict.fromkeys(
            ("NOISE_COLUMNS", "findings", "gain_rows", "noise_rows", "protocol", "shown_columns"),
            f"{__name__}.page",
        ),
        "ENHANCED": f"{__name__}.plan",
        "first_pair": f"{__name__}.study",
    },
)
