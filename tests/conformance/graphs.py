"""Random small networks: convolutions, sums, pools and tables over concatenated and sliced tensors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from conformance import cases
from conformance.case import ORACLE
from conformance.draw import ZEROS, activations, generator, pick
from conformance.program import Program, Step, View
from oracle import tables
from oracle.derive import Infeasible

CHANNELS = (1, 3, 8, 16, 17, 24, 33)


class Grower:
    """Adds random steps to a program; `values` are the tensors made so far."""

    def __init__(self, name: str) -> None:
        self.rng, self.program = generator(name), Program(name)
        shape = (pick(self.rng, (1, 2)), *self.rng.integers(3, 12, 2).tolist(), pick(self.rng, CHANNELS))
        self.values = [self.program.input(activations(self.rng, shape), pick(self.rng, (0, 5)), pick(self.rng, (0, 2)))]

    def emit(self, op: str, inputs: tuple[View, ...], params: dict) -> None:
        """Writes a step's result to a buffer of its own, or behind a copy of an equal-sized value (a concatenation)."""
        arrays = [np.zeros(self.program.shape(view), np.int8) for view in inputs]
        n, h, w, c = ORACLE[op](*arrays, **params).shape
        peers = [v for v in self.values if self.program.shape(v)[:3] == (n, h, w)]
        if not peers or self.rng.integers(2):
            out = self.program.buffer((n, h, w, c))
            self.program.steps.append(Step(op, inputs, out, params))
            self.values.append(out)
            return
        peer = peers[self.rng.integers(len(peers))]
        whole = self.program.buffer((n, h, w, peer.count + c))
        self.program.steps.append(Step("COPY", (peer,), View(whole.buffer, 0, peer.count)))
        self.program.steps.append(Step(op, inputs, View(whole.buffer, peer.count, c), params))
        self.values.append(whole)

    def value(self) -> View:
        """A value, most often a recent one; now and then a slice of its channels."""
        last = len(self.values)
        view = self.values[int(self.rng.integers(max(0, last - 3), last))]
        if view.count > 2 and self.rng.integers(4) == 0:
            first = int(self.rng.integers(1, view.count - 1))
            view = View(view.buffer, view.first + first, int(self.rng.integers(1, view.count - first + 1)))
        return view

    def convolution(self) -> None:
        x = self.value()
        op = ("CONV2D", "DWCONV2D", "GCONV2D", "TCONV2D")[self.rng.integers(4)]
        _, h, w, c = self.program.shape(x)
        kernel = cases.pair(self.rng, *(k for k in (1, 2, 3) if k <= min(h, w)))
        stride = (2, 1) if op == "TCONV2D" and h * w < 150 else cases.pair(self.rng, 1, 1, 2)
        pads = tuple(int(self.rng.integers(0, kernel[axis % 2])) for axis in range(4))
        if op == "TCONV2D":
            pads = (0, 0, 0, 0)
        geometry = {"kernel": kernel, "stride": stride, "dilation": (1, 1), "pads": pads}
        groups = pick(self.rng, [g for g in (1, 2, 3, 4) if c % g == 0]) if op == "GCONV2D" else 1
        co = c if op == "DWCONV2D" else groups * pick(self.rng, CHANNELS)
        params = cases.conv_params(self.rng, op, c, co, geometry, pick(self.rng, ZEROS), groups)
        self.emit(op, (x,), params)

    def arithmetic(self) -> None:
        a = self.value()
        peers = [v for v in self.values if self.program.shape(v) == self.program.shape(a)]
        b = peers[self.rng.integers(len(peers))] if peers else a
        kind = int(self.rng.integers(3))
        params = cases.mul_params(self.rng) if kind == 2 else cases.add_params(self.rng, (1, -1)[kind])
        self.emit(("ADD", "SUB", "MUL")[kind], (a, b), params)

    def table(self) -> None:
        x = self.value()
        if self.rng.integers(2):
            self.emit("LUT8", (x,), cases.lut8_params(self.rng))
        else:
            self.emit("RESCALE", (x,), cases.rescale_params(self.rng, pick(self.rng, (1, x.count))))

    def pool(self) -> None:
        x = self.value()
        _, h, w, _ = self.program.shape(x)
        kernel = cases.pair(self.rng, *(k for k in (2, 3) if k <= min(h, w))) if min(h, w) > 1 else (1, 1)
        pads = tuple(int(self.rng.integers(0, kernel[axis % 2])) for axis in range(4))
        geometry = {"kernel": kernel, "stride": cases.pair(self.rng, 1, 2), "dilation": (1, 1), "pads": pads}
        if self.rng.integers(2):
            self.emit("MAXPOOL", (x,), geometry)
        else:
            self.emit("AVGPOOL", (x,), cases.avgpool_params(self.rng, geometry))

    def resize(self) -> None:
        x = self.value()
        _, h, w, _ = self.program.shape(x)
        if h * w > 150:
            return self.pool()
        bilinear = bool(self.rng.integers(2))
        make = tables.bilinear if bilinear else lambda *a: tables.nearest(*a, "floor")
        rows, columns = make(h, 2 * h, None, "half_pixel"), make(w, w + 1, None, "asymmetric")
        self.emit("RESIZE_BILIN" if bilinear else "RESIZE_NN", (x,), {"rows": rows, "columns": columns})


def random_program(index: int, steps: int = 10) -> Program:
    """A network of about `steps` operators; its outputs are all of its buffers."""
    grower = Grower(f"graph-{index:02}")
    kinds: tuple[Callable[[], None], ...] = (
        grower.convolution, grower.convolution, grower.arithmetic, grower.table, grower.pool, grower.resize,
    )  # fmt: skip
    while len(grower.program.steps) < steps:
        try:
            kinds[grower.rng.integers(len(kinds))]()
        except Infeasible:
            continue
    grower.program.outputs = list(range(len(grower.program.buffers)))
    return grower.program
