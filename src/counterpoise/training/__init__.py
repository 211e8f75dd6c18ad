"""The one training loop and its stages: representation, embedding, head."""

from counterpoise.config.train import TrainConfig, make_config
from counterpoise.training.fit import Fitted, ResampledSet, fit_method
from counterpoise.training.loop import Stage, train_stage
from counterpoise.training.predict import EmbeddedSplit, embed_images, predict_logits, softmax
from counterpoise.training.preparation import pixel_statistics
from counterpoise.training.progress import ProgressCallback, Step
from counterpoise.training.randomness import generator_for, seed_for, torch_seed

__all__ = [
    "EmbeddedSplit",
    "Fitted",
    "ProgressCallback",
    "ResampledSet",
    "Stage",
    "Step",
    "TrainConfig",
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
