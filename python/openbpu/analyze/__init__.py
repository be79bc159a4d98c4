"""What was decided, lost and spent: reports on models and executables."""

from openbpu.analyze.accuracy import AccuracyReport, LayerError, OutputError
from openbpu.analyze.placement import PlacementReport

__all__ = ["AccuracyReport", "LayerError", "OutputError", "PlacementReport"]
