"""The configuration that users of the vendor's toolchain know: five groups of keys, from YAML or from Python."""

from openbpu.config.checks import against_model
from openbpu.config.config import Config, ConfigWarning, load
from openbpu.config.groups import (
    CalibrationParameters,
    CompilerParameters,
    CustomOp,
    InputParameters,
    ModelParameters,
    NodeInfo,
)
from openbpu.config.mistakes import ConfigMistakes, Mistake
from openbpu.config.quant_config import QuantConfig

__all__ = [
    "CalibrationParameters",
    "CompilerParameters",
    "Config",
    "ConfigMistakes",
    "ConfigWarning",
    "CustomOp",
    "InputParameters",
    "Mistake",
    "ModelParameters",
    "NodeInfo",
    "QuantConfig",
    "against_model",
    "load",
]
