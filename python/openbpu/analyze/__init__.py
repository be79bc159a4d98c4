"""What was decided, lost and spent: reports on models and executables."""

from openbpu.analyze.placement import PlacementReport

__all__ = ["PlacementReport"]
