"""Settings of everything: name, type, bounds, default and description of each stand here and nowhere else.

Models open no files, name no flags of the command line and look nothing up but schedules. What a name means, and what
an open setting becomes, is decided where runs are prepared.
"""

from counterpoise.config.base import Config as Config
from counterpoise.config.base import Setting as Setting
from counterpoise.config.base import dump_config as dump_config
from counterpoise.config.base import load_config as load_config
from counterpoise.config.base import option as option
from counterpoise.config.base import settings_of as settings_of
from counterpoise.config.commands import AdjustConfig as AdjustConfig
from counterpoise.config.commands import AuditConfig as AuditConfig
from counterpoise.config.commands import BackbonesConfig as BackbonesConfig
from counterpoise.config.commands import CompareConfig as CompareConfig
from counterpoise.config.commands import DemoConfig as DemoConfig
from counterpoise.config.commands import EnhanceConfig as EnhanceConfig
from counterpoise.config.commands import EvaluateConfig as EvaluateConfig
from counterpoise.config.commands import ExplainConfig as ExplainConfig
from counterpoise.config.commands import ExportConfig as ExportConfig
from counterpoise.config.commands import FitConfig as FitConfig
from counterpoise.config.commands import NoConfig as NoConfig
from counterpoise.config.commands import PredictConfig as PredictConfig
from counterpoise.config.commands import ReportConfig as ReportConfig
from counterpoise.config.commands import ReproduceConfig as ReproduceConfig
from counterpoise.config.commands import RunSettings as RunSettings
from counterpoise.config.commands import TrainRunConfig as TrainRunConfig
from counterpoise.config.commands import TransferConfig as TransferConfig
from counterpoise.config.durations import Duration as Duration
from counterpoise.config.run import DataConfig as DataConfig
from counterpoise.config.run import Fit as Fit
from counterpoise.config.run import ModelConfig as ModelConfig
from counterpoise.config.run import SplitConfig as SplitConfig
from counterpoise.config.run import TrainConfig as TrainConfig
from counterpoise.config.run import TrainOptions as TrainOptions
from counterpoise.config.run import fine_tuning_config as fine_tuning_config
from counterpoise.config.run import make_config as make_config
from counterpoise.config.run import steps_of as steps_of
from counterpoise.config.schedules import SCHEDULES as SCHEDULES
from counterpoise.config.schedules import rate_factor as rate_factor
