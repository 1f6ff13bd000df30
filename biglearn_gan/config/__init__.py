"""The configuration of a run: its keys, presets and checks, and how it is read; no torch."""

from biglearn_gan.config.loading import load_config, parse_config
from biglearn_gan.config.schema import (
    GRID_FIELD_SIZE,
    HOLE_NAMES,
    Config,
    DataConfig,
    DataSetName,
    FieldName,
    FitMode,
    GeneratorConfig,
    HoleColor,
    NetworkConfig,
)
from biglearn_gan.config.schema_tasks import (
    PatternName,
    PresetName,
    Selection,
    SelectionSize,
    TaskComponent,
    TasksConfig,
)
from biglearn_gan.config.values import ConfigError

__all__ = [
    "GRID_FIELD_SIZE",
    "HOLE_NAMES",
    "Config",
    "ConfigError",
    "DataConfig",
    "DataSetName",
    "FieldName",
    "FitMode",
    "GeneratorConfig",
    "HoleColor",
    "NetworkConfig",
    "PatternName",
    "PresetName",
    "Selection",
    "SelectionSize",
    "TaskComponent",
    "TasksConfig",
    "load_config",
    "parse_config",
]
