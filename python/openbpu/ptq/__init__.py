"""Post-training quantisation: clean float model and samples to a QDQ model."""

from openbpu.ptq.calibration import BINS
from openbpu.ptq.quantizer import CALIBRATIONS, MORE_REFINEMENTS, REFINEMENTS, draft, quantize
from openbpu.ptq.ranges import PERCENTILE

__all__ = ["BINS", "CALIBRATIONS", "MORE_REFINEMENTS", "PERCENTILE", "REFINEMENTS", "draft", "quantize"]
