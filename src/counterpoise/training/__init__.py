"""Training: from a plan to a finished run folder, in stages (representation, embedding, head)."""

from counterpoise.training.batch_loss import LogitLoss
from counterpoise.training.batches import Batch, Batches, image_batches, memory_format, ordered_batches
from counterpoise.training.device import cpu_threads, find_device, make_fabric
from counterpoise.training.embedding_cache import embedded_splits
from counterpoise.training.environment import cpu_count, hardware, timestamp, versions
from counterpoise.training.fit import Fitted, fit_method
from counterpoise.training.frozen import frozen_batches
from counterpoise.training.head_stage import ResampledSet
from counterpoise.training.loop import Stage, make_optimizer, train_stage
from counterpoise.training.network_stage import NETWORK_SLOTS
from counterpoise.training.plan import RunPlan, SplitPlan
from counterpoise.training.predict import EmbeddedSplit, embed_images, predict_logits, softmax
from counterpoise.training.preparation import (
    Preparation,
    check_machine,
    make_network,
    pixel_statistics,
    prepare_run,
    read_minority,
    resolve_split,
)
from counterpoise.training.progress import (
    HistoryEntryDict,
    ProgressCallback,
    RenamedStage,
    Step,
    ValidationScores,
)
from counterpoise.training.randomness import generator_for, seed_for, torch_seed
from counterpoise.training.run import execute_run, write_run
from counterpoise.training.scoring import held_out_logits, write_scores
