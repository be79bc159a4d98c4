"""Mixed precision: which few nodes to lift so that the outputs are as good as was asked for."""

from openbpu.tuning.costs import COSTS, weights_of
from openbpu.tuning.report import SearchResult, Trial
from openbpu.tuning.search import Goal, Judge, Price, measured_samples, search

__all__ = ["COSTS", "Goal", "Judge", "Price", "SearchResult", "Trial", "measured_samples", "search", "weights_of"]
