"""Datasets: built-in ones, folders, zips and CSVs; imbalance profiles; split manifests; the audit."""

from counterpoise.datasets.auditing import Audit, DuplicateGroup, OddImage, Proposal, audit
from counterpoise.datasets.builtin import DATASETS, DatasetRecord
from counterpoise.datasets.decoding import OnProgress, decode_image, map_indices, resize_images
from counterpoise.datasets.folds import make_folds
from counterpoise.datasets.groups import describe_grouping, group_images
from counterpoise.datasets.images import (
    Grouping,
    ImageDataset,
    ImageFiles,
    ImageSplit,
    SkippedFile,
    dataset_from_arrays,
    decode_batch,
    hold_files,
)
from counterpoise.datasets.layout import tiny_classes
from counterpoise.datasets.listing import SORTED
from counterpoise.datasets.loading import (
    fewer_images,
    load_dataset,
    rename_classes,
    resize_dataset,
    resolve_data_dir,
)
from counterpoise.datasets.naming import propose_groups
from counterpoise.datasets.profiles import (
    PROFILES,
    ImbalanceProfile,
    LinearImbalance,
    LongTailImbalance,
    NaturalImbalance,
    ProfileDict,
    StepImbalance,
    create_profile,
    make_imbalance,
)
from counterpoise.datasets.scanning import read_images
from counterpoise.datasets.splits import SplitManifest, find_minority, make_splits
