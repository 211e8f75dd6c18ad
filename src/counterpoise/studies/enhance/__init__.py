"""Learned perturbations: a U-Net that changes images so that a classifier recognizes them better.

After the slides "Learning Perturbations to Improve Classification Accuracy": the U-Net learns to copy images, a
classifier learns on the originals, and the U-Net is then trained through the same, frozen classifier. The gain is
measured against continued training of the classifier, and against both trained together from scratch.
"""

from counterpoise.evaluation import Changes, count_changes
from counterpoise.networks import EnhancedNetwork, Enhancer
from counterpoise.studies.enhance.copying import Copier, copy_scores, train_copier
from counterpoise.studies.enhance.plan import EnhanceStudy, VariantPlan, make_enhance_study
from counterpoise.studies.enhance.study import EnhancementStudy, EnhanceResult, run_enhance, show_images

__all__ = [
    "Changes",
    "Copier",
    "EnhanceResult",
    "EnhanceStudy",
    "EnhancedNetwork",
    "EnhancementStudy",
    "Enhancer",
    "VariantPlan",
    "copy_scores",
    "count_changes",
    "first_pair",
    "make_enhance_study",
    "run_enhance",
    "show_images",
    "train_copier",
]
