"""The one training loop and its stages: representation, embedding, head."""

from counterpoise.training.config import TrainingConfig, make_config
from counterpoise.training.embedded import EmbeddedSplit
from counterpoise.training.fit import Fitted, GrownSet, fit_method
from counterpoise.training.loop import Stage, train_stage
from counterpoise.training.predict import embed_images, predict_logits, softmax
from counterpoise.training.progress import Progress, Step
from counterpoise.training.randomness import generator_for, seed_for, torch_seed
from counterpoise.training.statistics import pixel_statistics

__all__ = [
    "EmbeddedSplit",
    "Fitted",
    "GrownSet",
    "Progress",
    "Stage",
    "Step",
    "TrainingConfig",
    "embed_images",
    "fit_method",
    "generator_for",
    "make_config",
    "pixel_statistics",
    "predict_logits",
    "seed_for",
    "softmax",
    "torch_seed",
    "train_stage",
]
