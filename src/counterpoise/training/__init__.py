"""Training: from a plan to a finished run folder, in stages (representation, embedding, head)."""

from counterpoise.training.batches import (
    Batch,
    Batches,
    frozen_batches,
    image_batches,
    memory_format,
    ordered_batches,
)
from counterpoise.training.budget import Budget
from counterpoise.training.calibration import MOST_COMPARED, MOST_EMBEDDED, TrustDict, trust_record
from counterpoise.training.cross_validation import log_probabilities, out_of_fold, with_own_head
from counterpoise.training.fit import Fitted, fine_tune, fit_method, refuse_pixel_methods
from counterpoise.training.initialization import initial_network, make_network, pixel_statistics
from counterpoise.training.learning_curve import hits_of_growing_parts
from counterpoise.training.loop import train_stage
from counterpoise.training.machine import (
    JOBS,
    cpu_count,
    cpu_threads,
    find_device,
    hardware,
    make_fabric,
    reused_memory,
    timestamp,
    versions,
)
from counterpoise.training.memory import fit_memory
from counterpoise.training.method_stages import NETWORK_SLOTS, LogitLoss, ResampledSet
from counterpoise.training.optimizer import make_optimizer
from counterpoise.training.plan import RunPlan, SplitPlan
from counterpoise.training.predict import (
    EmbeddedSplit,
    ValidationScores,
    embed_images,
    embedded_splits,
    predict_embedded,
    predict_logits,
    softmax,
)
from counterpoise.training.preparation import Preparation, prepare_run, read_minority, resolve_split
from counterpoise.training.randomness import generator_for, seed_for
from counterpoise.training.run import (
    embedded_sample,
    execute_run,
    held_out_logits,
    png_data_uri,
    write_run,
    write_scores,
)
from counterpoise.training.seen import find_seen, image_roles, own_split
from counterpoise.training.stage import HistoryEntryDict, ProgressCallback, RenamedStage, Stage, Step
from counterpoise.training.tasks import MAN_MADE, NATURAL, Tasks, draw_tasks
from counterpoise.training.transfer import FitJob
