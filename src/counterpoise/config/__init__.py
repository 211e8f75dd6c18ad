"""Settings of everything: name, type, bounds, default and description of each stand here and nowhere else.

Models open no files, name no flags of the command line and look nothing up but schedules. What a name means, and what
an open setting becomes, is decided where runs are prepared.
"""

from counterpoise.config.base import Config as Config
from counterpoise.config.base import Setting as Setting
from counterpoise.config.base import option as option
from counterpoise.config.base import settings_of as settings_of
from counterpoise.config.base import validated as validated
from counterpoise.config.data import DataConfig as DataConfig
from counterpoise.config.data import SplitConfig as SplitConfig
from counterpoise.config.model import ModelConfig as ModelConfig
from counterpoise.config.schedules import SCHEDULES as SCHEDULES
from counterpoise.config.schedules import rate_factor as rate_factor
from counterpoise.config.studies import CompareConfig as CompareConfig
from counterpoise.config.studies import DemoConfig as DemoConfig
from counterpoise.config.studies import EnhanceConfig as EnhanceConfig
from counterpoise.config.studies import ReproduceConfig as ReproduceConfig
from counterpoise.config.studies import RunSettings as RunSettings
from counterpoise.config.studies import TrainRunConfig as TrainRunConfig
from counterpoise.config.studies import TransferConfig as TransferConfig
from counterpoise.config.studies import TransferTraining as TransferTraining
from counterpoise.config.train import TrainConfig as TrainConfig
from counterpoise.config.train import TrainOptions as TrainOptions
from counterpoise.config.train import make_config as make_config
from counterpoise.config.uses import AdjustConfig as AdjustConfig
from counterpoise.config.uses import AuditConfig as AuditConfig
from counterpoise.config.uses import EvaluateConfig as EvaluateConfig
from counterpoise.config.uses import ExplainConfig as ExplainConfig
from counterpoise.config.uses import ExportConfig as ExportConfig
from counterpoise.config.uses import NoConfig as NoConfig
from counterpoise.config.uses import PredictConfig as PredictConfig
from counterpoise.config.uses import ReportConfig as ReportConfig
from counterpoise.config.yaml import dump_config as dump_config
from counterpoise.config.yaml import load_config as load_config
