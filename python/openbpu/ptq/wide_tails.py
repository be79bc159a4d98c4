"""Finds the ends of detectors: boxes in pixels beside scores up to 1, for which one int8 scale is too coarse.

A concat gives its parts one set of parameters. Inside a network that is what its readers need; at the end of one, where
nothing but decoding follows, a part may be hundreds of times larger than another, and the other is rounded away. There
the concat, what stands between it and the outputs, and the arithmetic that makes its large parts are int16: pixels have
more than 256 values, and 16 bits hold scores beside them. All of it is elementwise or moves, a small part of the work.
Where 16 bits are too few as well, the last concat runs in float, on parts that keep scales of their own.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from openbpu.ir.quant import QuantParams
from openbpu.ptq.blocks import energy
from openbpu.ptq.calibration import Progress, Runner
from openbpu.ptq.operators import ARITHMETIC, FUNCTIONS, SHARING
from openbpu.ptq.placement import Placement
from openbpu.ptq.ranges import parameters, parameters16
from openbpu.ptq.samples import Feed, SampleStream
from openbpu.ptq.view import ModelView

_APART = 4.0  # the range of a part over that of another: two bits are lost
_WORST = 0.002  # noise over signal of a part in 8 bits, 27 dB
_WORST_16 = 0.01  # and in 16 bits, a cosine of 0.995: float on the CPU takes its time
_SAMPLES = 8


@dataclass(frozen=True)
class Tails:
    """Names of nodes, in graph order: those that stay float, those that are int16."""

    floats: tuple[str, ...] = ()
    wide: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All of them."""
        return self.floats + self.wide


def wide_tails(
    model: onnx.ModelProto, samples: SampleStream, placement: Placement, kept: Collection[str], progress: Progress
) -> Tails:
    """What 8 bits are too few for at the end of a clean float model; none of the nodes `kept`.

    Uses at most 8 samples from all over the stream, and none if no concat stands at the end.
    """
    tail = _Tail(model, placement, kept)
    concats = tail.concats()
    if not concats:
        return Tails()
    if not samples.count:
        for _ in samples:  # once through all of them: it checks and counts them
            pass
    parts = {node.name: tail.parts(node) for node in concats}
    losses = _losses(model, parts, list(samples.spread(_SAMPLES)), progress)
    return tail.found([node for node in concats if losses[node.name].coarse], losses)


@dataclass
class _Losses:
    """Of the parts of a concat, [parts]: their ranges, and the noise over signal that one scale for all leaves."""

    spans: np.ndarray
    in_8: np.ndarray
    in_16: np.ndarray

    @property
    def coarse(self) -> bool:
        """Whether 8 bits are too few for a part that is much smaller than the largest."""
        small = (self.spans > 0) & (self.spans * _APART <= self.spans.max())
        return bool((small & (self.in_8 > _WORST)).any())

    @property
    def large(self) -> np.ndarray:
        """Which parts are much larger than the smallest, [parts]."""
        return np.asarray(self.spans >= _APART * self.spans[self.spans > 0].min())


def _losses(
    model: onnx.ModelProto, parts: Mapping[str, Sequence[str]], feeds: Sequence[Feed], progress: Progress
) -> dict[str, _Losses]:
    """By name of a concat, from two passes over some samples."""
    names = list(dict.fromkeys(name for found in parts.values() for name in found))
    runner, low, high = Runner(model, names), dict.fromkeys(names, 0.0), dict.fromkeys(names, 0.0)
    for done, feed in enumerate(feeds, 1):
        for name, array in runner.run(feed):
            low[name] = min(low[name], float(array.min(initial=0)))
            high[name] = max(high[name], float(array.max(initial=0)))
        progress("measure the end", done, 2 * len(feeds))
    ends = {key: (min(low[n] for n in found), max(high[n] for n in found)) for key, found in parts.items()}
    scales = {key: (parameters(*pair, False), parameters16(*pair)) for key, pair in ends.items()}
    noise = {(key, n): np.zeros(2) for key, found in parts.items() for n in found}
    signal = dict.fromkeys(names, 0.0)
    for done, feed in enumerate(feeds, 1 + len(feeds)):
        for name, array in runner.run(feed):
            signal[name] += energy(array)
            for key in (key for key, found in parts.items() if name in found):
                noise[key, name] += [energy(_quantised(array, quant) - array) for quant in scales[key]]
        progress("measure the end", done, 2 * len(feeds))
    result = {}
    for key, found in parts.items():
        relative = np.stack([noise[key, n] / max(signal[n], 1e-30) for n in found], 1)
        result[key] = _Losses(np.array([high[n] - low[n] for n in found]), *relative)
    return result


def _quantised(array: np.ndarray, quant: QuantParams) -> np.ndarray:
    steps = np.clip(np.rint(array / quant.s) + quant.z, quant.qmin, quant.qmax)
    return np.asarray((steps - quant.z) * quant.s)


class _Tail:
    """The nodes that only outputs and CPU nodes lie behind, elementwise and layout operators between."""

    def __init__(self, model: onnx.ModelProto, placement: Placement, kept: Collection[str]) -> None:
        self.view, self.placement, self.kept = ModelView(model), placement, kept
        self.nodes = list(model.graph.node)
        self.last = self._ending(SHARING | ARITHMETIC | FUNCTIONS)
        self.moves = self._ending(SHARING)

    def _ending(self, ops: Collection[str]) -> set[str]:
        """Names of nodes of some operators, behind which stand others of them and CPU nodes alone."""
        found: set[str] = set()
        for node in reversed(self.nodes):
            readers = [reader.name for name in node.output for reader in self.view.consumers.get(name, ())]
            if node.op_type in ops and node.name not in self.placement.cpu:
                found |= {node.name} if all(r in found or r in self.placement.cpu for r in readers) else set()
        return found

    def concats(self) -> list[onnx.NodeProto]:
        """Those at the end whose parts are quantised, two at least."""
        nodes = (n for n in self.nodes if n.op_type == "Concat" and n.name in self.last and n.name not in self.kept)
        return [node for node in nodes if len(self.parts(node)) > 1 and len(self.parts(node)) == len(node.input)]

    def parts(self, node: onnx.NodeProto) -> list[str]:
        return [name for name in node.input if name in self.placement.groups]

    def found(self, coarse: Sequence[onnx.NodeProto], losses: Mapping[str, _Losses]) -> Tails:
        """What follows from the concats for which one int8 scale is too coarse."""
        floats: set[str] = set()
        wide: set[str] = set()
        for node in coarse:
            loss = losses[node.name]
            leaves = node.name in self.moves and bool((loss.in_16 > _WORST_16).any())
            (floats if leaves else wide).update(self._behind(node))
            for name, large in zip(self.parts(node), loss.large, strict=True):
                wide |= self._before(name) if large else set()
        wide -= floats
        in_order = [node.name for node in self.nodes if node.name not in {*self.kept, *self.placement.cpu}]
        return Tails(tuple(n for n in in_order if n in floats), tuple(n for n in in_order if n in wide))

    def _behind(self, node: onnx.NodeProto) -> set[str]:
        """The node and all between it and the outputs."""
        found, waiting = {node.name}, [node]
        while waiting:
            for name in waiting.pop().output:
                new = [c for c in self.view.consumers.get(name, ()) if c.name in self.last - found]
                found |= {c.name for c in new}
                waiting += new
        return found

    def _before(self, tensor: str) -> set[str]:
        """The arithmetic that makes a tensor; not the functions of what a product made, which are tables of int8."""
        found: set[str] = set()
        waiting = [tensor]
        while waiting:
            node = self.view.producers.get(waiting.pop())
            if node is None or node.name in found or node.name not in self.last:
                continue
            found.add(node.name)
            waiting += node.input
        return {node.name for node in self.nodes if node.name in found and not self._is_first(node)}

    def _is_first(self, node: onnx.NodeProto) -> bool:
        """Whether a node computes nothing, or a function of one tensor that comes into the tail."""
        if node.op_type in SHARING:
            return True
        data = [name for name in node.input if name and name not in self.view.constants]
        numbers = all(self.view.constants[name].size == 1 for name in node.input if name in self.view.constants)
        if len(data) != 1 or not (node.op_type in FUNCTIONS or numbers):
            return False
        source = self.view.producers.get(data[0])
        if source is not None and source.op_type not in SHARING and source.name in self.last:
            return self._is_first(source)  # one table for both
        while source is not None and source.op_type in SHARING:
            source = self.view.producers.get(source.input[0])
        return source is None or source.name not in self.last
