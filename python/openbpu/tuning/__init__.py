"""Mixed precision: which few nodes to lift so that the outputs are as good as was asked for."""

from openbpu.tuning.report import SearchResult, Trial
from openbpu.tuning.search import Goal, Judge, measured_samples, search

__all__ = ["Goal", "Judge", "SearchResult", "Trial", "measured_samples", "search"]
