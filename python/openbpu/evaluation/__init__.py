"""Models of every kind run over samples and judged by a metric."""

from openbpu.evaluation.metrics import Metric, resolved
from openbpu.evaluation.runners import Runnable

__all__ = ["Metric", "Runnable", "resolved"]
