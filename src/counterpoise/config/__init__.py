"""Settings of everything: name, type, bounds, default and description of each stand here and nowhere else.

Models open no files, name no flags of the command line and look nothing up but schedules. What a name means, and what
an open setting becomes, is decided where runs are prepared.
"""

from counterpoise.config.base import Config, Setting, settings_of, validated
from counterpoise.config.data import DataConfig, SplitConfig
from counterpoise.config.model import ModelConfig
from counterpoise.config.schedules import SCHEDULES, rate_factor
from counterpoise.config.studies import (
    CompareConfig,
    DemoConfig,
    EnhanceConfig,
    ReproduceConfig,
    RunSettings,
    TrainRunConfig,
    TransferConfig,
    TransferTraining,
)
from counterpoise.config.train import TrainConfig, TrainOptions, make_config
from counterpoise.config.uses import (
    AdjustConfig,
    AuditConfig,
    EvaluateConfig,
    ExplainConfig,
    ExportConfig,
    NoConfig,
    PredictConfig,
    ReportConfig,
)
from counterpoise.config.yaml import dump_config, load_config

__all__ = [
    "SCHEDULES",
    "AdjustConfig",
    "AuditConfig",
    "CompareConfig",
    "Config",
    "DataConfig",
    "DemoConfig",
    "EnhanceConfig",
    "EvaluateConfig",
    "ExplainConfig",
    "ExportConfig",
    "ModelConfig",
    "NoConfig",
    "PredictConfig",
    "ReportConfig",
    "ReproduceConfig",
    "RunSettings",
    "Setting",
    "SplitConfig",
    "TrainConfig",
    "TrainOptions",
    "TrainRunConfig",
    "TransferConfig",
    "TransferTraining",
    "dump_config",
    "load_config",
    "make_config",
    "rate_factor",
    "settings_of",
    "validated",
]
