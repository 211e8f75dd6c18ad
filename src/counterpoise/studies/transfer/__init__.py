"""Transfer learning by layers: which layers of a network carry over from one task to another.

After the lecture and Yosinski et al. 2014, "How transferable are features in deep neural networks?": the first n
layers of a network trained on task A, or on task B itself, are copied, frozen or fine-tuned, and the rest is trained
on B.
"""

from typing import TYPE_CHECKING

from counterpoise.catalogs import lazy_exports

if TYPE_CHECKING:
    from counterpoise.studies.transfer.page import finding_rows as finding_rows
    from counterpoise.studies.transfer.plan import TREATMENTS as TREATMENTS

__getattr__, __dir__, __all__ = lazy_exports(
    __name__, {"finding_rows": f"{__name__}.page", "TREATMENTS": f"{__name__}.plan"}
)
