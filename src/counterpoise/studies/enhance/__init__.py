"""Learned perturbations: a U-Net that changes images so that a classifier knows them better.

After the slides "Learning Perturbations to Improve Classification Accuracy": the U-Net learns to copy images, a
classifier learns on the originals, and then the U-Net is trained on through the same, frozen classifier. What such a
U-Net adds is measured against the classifier trained on, and against both trained together from the start.
"""

from counterpoise.evaluation import Changes, count_changes
from counterpoise.networks import EnhancedNetwork, Enhancer
from counterpoise.studies.enhance.copying import Copier, copy_scores, train_copier
from counterpoise.studies.enhance.plan import EnhanceStudy, VariantPlan, make_enhance_study
from counterpoise.studies.enhance.published import PUBLISHED, Published
from counterpoise.studies.enhance.study import EnhanceResult, run_enhance, show_images

__all__ = [
    "PUBLISHED",
    "Changes",
    "Copier",
    "EnhanceResult",
    "EnhanceStudy",
    "EnhancedNetwork",
    "Enhancer",
    "Published",
    "VariantPlan",
    "copy_scores",
    "count_changes",
    "make_enhance_study",
    "run_enhance",
    "show_images",
    "train_copier",
]
