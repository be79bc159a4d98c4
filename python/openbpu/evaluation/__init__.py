"""Models of every kind run over samples and judged by a metric."""

from openbpu.evaluation.evaluate import evaluate
from openbpu.evaluation.loading import LabelledFolder
from openbpu.evaluation.metrics import Metric, resolved
from openbpu.evaluation.report import EvaluationReport
from openbpu.evaluation.runners import Runnable

__all__ = ["EvaluationReport", "LabelledFolder", "Metric", "Runnable", "evaluate", "resolved"]
