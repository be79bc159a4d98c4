"""Post-training quantisation: clean float model and samples to a QDQ model."""

from openbpu.ptq.quantizer import CALIBRATIONS, REFINEMENTS, draft, quantize

__all__ = ["CALIBRATIONS", "REFINEMENTS", "draft", "quantize"]
