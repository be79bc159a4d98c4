"""Which function draws a node of which operator."""

from __future__ import annotations

from collections.abc import Callable

from graph_fuzz.graph import Graph

Generator = Callable[[Graph, str], None]
GENERATORS: dict[str, Generator] = {}


def draws(*operators: str) -> Callable[[Generator], Generator]:
    """Registers the function that appends a node of these operators to a graph."""

    def register(function: Generator) -> Generator:
        for operator in operators:
            assert operator not in GENERATORS, f"two generators for {operator}"
            GENERATORS[operator] = function
        return function

    return register
