"""Post-training quantisation: clean float model and samples to a QDQ model."""

from openbpu.ptq.calibration import BINS
from openbpu.ptq.quantizer import CALIBRATIONS, REFINEMENTS, draft, quantize
from openbpu.ptq.ranges import PERCENTILE

__all__ = ["BINS", "CALIBRATIONS", "PERCENTILE", "REFINEMENTS", "draft", "quantize"]
