"""Learned perturbations: a U-Net that changes images so that a classifier knows them better.

After the slides "Learning Perturbations to Improve Classification Accuracy": the U-Net learns to copy images, a
classifier learns on the originals, and then the U-Net is trained on through the same, frozen classifier. What such a
U-Net adds is measured against the classifier trained on, and against both trained together from the start.
"""

from counterpoise.enhance.changes import Changes, count_changes
from counterpoise.enhance.copying import Copier, copy_scores, train_copier
from counterpoise.enhance.plan import ArmPlan, EnhanceStudy, make_enhance_study
from counterpoise.enhance.published import PUBLISHED, Published
from counterpoise.enhance.study import EnhanceResult, run_enhance, show_images
from counterpoise.networks import EnhancedNetwork, Enhancer

__all__ = [
    "PUBLISHED",
    "ArmPlan",
    "Changes",
    "Copier",
    "EnhanceResult",
    "EnhanceStudy",
    "EnhancedNetwork",
    "Enhancer",
    "Published",
    "copy_scores",
    "count_changes",
    "make_enhance_study",
    "run_enhance",
    "show_images",
    "train_copier",
]
