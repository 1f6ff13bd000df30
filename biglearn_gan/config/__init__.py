"""The configuration of a run: its sections, presets and checks, and reading it from YAML; no
torch.
"""

from biglearn_gan.config.loading import load_config, parse_config
from biglearn_gan.config.schema import (
    GRID_SIZE,
    Config,
    ConfigError,
    DataConfig,
    DataSetName,
    FieldName,
    GeneratorConfig,
    HoleColor,
    NetworkConfig,
    PatternName,
    PresetName,
    RatioLaw,
    Selection,
    TaskComponent,
    TasksConfig,
)

__all__ = [
    "GRID_SIZE",
    "Config",
    "ConfigError",
    "DataConfig",
    "DataSetName",
    "FieldName",
    "GeneratorConfig",
    "HoleColor",
    "NetworkConfig",
    "PatternName",
    "PresetName",
    "RatioLaw",
    "Selection",
    "TaskComponent",
    "TasksConfig",
    "load_config",
    "parse_config",
]
