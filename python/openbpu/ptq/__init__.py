"""Post-training quantisation: clean float model and samples to a QDQ model."""

from openbpu.ptq.calibration import BINS
from openbpu.ptq.quantizer import (
    CALIBRATIONS,
    FLOAT_RECORD,
    MORE_REFINEMENTS,
    REFINEMENTS,
    WIDE_RECORD,
    decided_nodes,
    draft,
    quantize,
)
from openbpu.ptq.ranges import PERCENTILE

__all__ = [
    "BINS",
    "CALIBRATIONS",
    "FLOAT_RECORD",
    "MORE_REFINEMENTS",
    "PERCENTILE",
    "REFINEMENTS",
    "WIDE_RECORD",
    "decided_nodes",
    "draft",
    "quantize",
]
