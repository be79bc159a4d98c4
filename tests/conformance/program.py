"""Programs as data: buffers, views of them, and steps; with their evaluation by the oracle.

A buffer starts with every byte CANARY, so that a write outside a view, or a read of something that was never written,
shows in the result.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from conformance.case import ORACLE, Case

CANARY = 85
Shape = tuple[int, int, int, int]


@dataclass(frozen=True)
class Box:
    """The part of an output that one instruction computes."""

    y: int
    h: int
    x: int
    w: int
    c: int
    n: int


@dataclass(frozen=True)
class View:
    """Channels [first, first + count) of a buffer."""

    buffer: int
    first: int
    count: int


@dataclass(frozen=True)
class Step:
    """An instruction; with boxes, one per box, together covering the output."""

    op: str
    inputs: tuple[View, ...]
    out: View
    params: Mapping[str, Any] = field(default_factory=dict)
    boxes: tuple[Box, ...] = ()


@dataclass
class Program:
    """Buffers [n, h, w, c] and steps on them; `inputs` are copied into views first, whole `outputs` are the result."""

    name: str
    buffers: list[tuple[Shape, str]] = field(default_factory=list)  # shape, numpy dtype name
    inputs: list[tuple[np.ndarray, View]] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)

    def buffer(self, shape: Shape, dtype: str = "int8") -> View:
        """A new buffer; the view of all of it."""
        self.buffers.append((shape, dtype))
        return View(len(self.buffers) - 1, 0, shape[3])

    def shape(self, view: View) -> Shape:
        n, h, w, _ = self.buffers[view.buffer][0]
        return n, h, w, view.count

    def input(self, x: np.ndarray, before: int = 0, after: int = 0) -> View:
        """An input in its own buffer, between `before` and `after` unused channels."""
        n, h, w, c = x.shape
        whole = self.buffer((n, h, w, before + c + after), x.dtype.name)
        view = View(whole.buffer, before, c)
        self.inputs.append((x, view))
        return view

    def evaluate(self) -> list[np.ndarray]:
        """The outputs according to the oracle."""
        memory = [np.full(shape, CANARY, dtype) for shape, dtype in self.buffers]

        def at(view: View) -> np.ndarray:
            return memory[view.buffer][..., view.first : view.first + view.count]

        for x, view in self.inputs:
            at(view)[...] = x
        for step in self.steps:
            at(step.out)[...] = ORACLE[step.op](*(at(view) for view in step.inputs), **step.params)
        return [memory[index] for index in self.outputs]

    def __str__(self) -> str:
        return self.name


def single(case: Case, before: int = 0, after: int = 0, boxes: tuple[Box, ...] = ()) -> Program:
    """One case; operands and result lie `before` channels into buffers with `after` more behind them."""
    program = Program(str(case))
    inputs = tuple(program.input(x, before, after) for x in case.inputs)
    y = case.expected()
    n, h, w, c = y.shape
    whole = program.buffer((n, h, w, before + c + after), y.dtype.name)
    out = View(whole.buffer, before, c)
    program.steps.append(Step(case.op, inputs, out, case.params, boxes))
    program.outputs.append(whole.buffer)
    return program
