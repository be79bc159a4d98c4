"""Mixed precision: which few nodes to lift so that the outputs are as good as was asked for."""

from openbpu.tuning.report import SearchResult, Trial
from openbpu.tuning.search import Goal, Judge, search

__all__ = ["Goal", "Judge", "SearchResult", "Trial", "search"]
