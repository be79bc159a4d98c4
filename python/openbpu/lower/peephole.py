"""Rewrites of the integer graph that keep every bit: duplicates, clamps, pads, what nobody reads."""

from __future__ import annotations

from collections import defaultdict
from hashlib import sha256
from typing import Any

import numpy as np

from openbpu.ir.graph import Graph, Op, Value
from openbpu.lower.builder import GraphBuilder

_CODES = np.arange(-128, 128)
_CONVOLUTIONS = frozenset({"conv2d", "dwconv2d"})


def merge_duplicates(graph: Graph) -> None:
    """Ops with equal operands, parameters and constants become one."""
    seen: dict[tuple[Any, ...], list[Value]] = {}
    replaced: dict[Value, Value] = {}
    kept: list[Op] = []
    outputs = set(graph.outputs)
    for op in graph.ops:
        op.inputs = [replaced.get(value, value) for value in op.inputs]
        key = (
            op.kind,
            tuple(map(id, op.inputs)),
            repr(sorted(op.attrs.items())),
            tuple((name, sha256(op.consts[name].tobytes()).digest()) for name in sorted(op.consts)),
            tuple((out.shape, out.onnx_shape if out.on_cpu else (), out.dtype, out.quant) for out in op.outputs),
        )
        kept.append(op)
        if outputs.intersection(op.outputs):
            continue  # an output is written, and never read
        if key in seen:
            replaced.update(zip(op.outputs, seen[key], strict=True))
            kept.pop()
        seen.setdefault(key, op.outputs)
    graph.ops = kept


def drop_dead(graph: Graph) -> None:
    """Removes ops whose results nobody reads."""
    needed = set(graph.outputs)
    kept = []
    for op in reversed(graph.ops):
        if needed.intersection(op.outputs):
            needed.update(op.inputs)
            kept.append(op)
    graph.ops = kept[::-1]


def join_clamps(graph: Graph) -> None:
    """An op that only clamps, on the grid of its input, becomes the clamp of the op before it."""
    producers = {out: op for op in graph.ops for out in op.outputs}
    readers = readers_of(graph)
    replaced: dict[Value, Value] = {}
    kept = []
    for op in graph.ops:
        op.inputs = [replaced.get(value, value) for value in op.inputs]
        limits = _clamp_of(op)
        if limits is None or not _joined(limits, op, producers.get(op.inputs[0]), len(readers[op.inputs[0]])):
            kept.append(op)
            continue
        source, out = op.inputs[0], op.outputs[0]
        replaced[out] = source
        readers[source] = [reader for reader in readers[source] if reader is not op] + readers[out]
    graph.ops = kept


def _joined(limits: tuple[int, int], op: Op, producer: Op | None, readers: int) -> bool:
    """True if the producer clamps now, or nothing has to be clamped: `op` is not needed any more."""
    quant = op.inputs[0].quant
    if quant is not None and limits == (quant.qmin, quant.qmax):
        return True
    if producer is None or "lo" not in producer.attrs or readers != 1:
        return False
    own = producer.attrs
    own["lo"], own["hi"] = (min(max(own[name], limits[0]), limits[1]) for name in ("lo", "hi"))
    producer.origin = tuple(dict.fromkeys((*producer.origin, *op.origin)))
    return True


def readers_of(graph: Graph) -> dict[Value, list[Op]]:
    """The ops that read each value."""
    readers: dict[Value, list[Op]] = defaultdict(list)
    for op in graph.ops:
        for value in dict.fromkeys(op.inputs):
            readers[value].append(op)
    return readers


def _clamp_of(op: Op) -> tuple[int, int] | None:
    """The limits of a table or rescale that does nothing but clamp on the grid of its input; None for other ops."""
    if op.kind not in ("lut8", "rescale") or op.inputs[0].quant != op.outputs[0].quant:
        return None
    if op.kind == "rescale":
        return op.attrs["lo"], op.attrs["hi"]
    table = op.consts["table"].astype(np.int64)
    lo, hi = int(table.min()), int(table.max())
    return (lo, hi) if np.array_equal(np.clip(_CODES, lo, hi), table) else None


def turn_operands(builder: GraphBuilder) -> None:
    """A right operand whose columns lie side by side in memory is read as it lies, by a product with transpose_b.

    Attention transposes its keys; what is left of that is a view, where it was a copy byte by byte.
    """
    graph = builder.graph
    producers = {out: op for op in graph.ops for out in op.outputs}
    ops, graph.ops = graph.ops, []
    for op in ops:
        turned = _turned(op, producers, builder) if op.kind == "matmul_dynamic" else None
        if turned is not None:
            op.inputs[1] = turned
            op.attrs["transpose_b"] = not op.attrs["transpose_b"]
        graph.ops.append(op)


def _turned(op: Op, producers: dict[Value, Op], builder: GraphBuilder) -> Value | None:
    """The right operand with rows and columns swapped, if that makes its channels adjacent and they are not yet."""
    right = op.inputs[1]
    n, h, w, c = right.shape
    turn = producers.get(right)
    if turn is not None and turn.kind == "reshape":
        turn = producers.get(turn.inputs[0])
    if turn is None or turn.kind != "transpose" or turn.attrs["perm"][2] != 3 or turn.outputs[0].shape[3] != c:
        return None
    source, p = turn.inputs[0], turn.attrs["perm"]
    if turn.outputs[0].shape[2] == w:
        perm = (p[0], p[1], p[3], p[2])
    elif source.shape == (1, 1, c, n * w):  # heads and what is in them are one axis
        source = builder.view(source, (1, c, n, w), source.onnx_shape, turn.origin)
        perm = (0, 2, 1, 3)
    else:
        return None
    turned = builder.permute(source, perm, source.onnx_shape, turn.origin)
    return builder.view(turned, (n, h, c, w), right.onnx_shape, turn.origin)


def join_pads(graph: Graph) -> None:
    """A border of zeros becomes the padding of the convolutions that read it."""
    readers = readers_of(graph)
    for op in graph.ops:
        if op.kind != "pad":
            continue
        out, source = op.outputs[0], op.inputs[0]
        (_, _), (top, bottom), (left, right), (_, _) = pads = op.attrs["pads"]
        users = readers[out]
        zeros = source.quant is not None and op.attrs["value"] == source.quant.z and not any((*pads[0], *pads[3]))
        if not zeros or not users or not all(user.kind in _CONVOLUTIONS for user in users):
            continue
        for user in users:
            own = user.attrs["pads"]
            user.attrs["pads"] = (own[0] + top, own[1] + left, own[2] + bottom, own[3] + right)
            user.inputs = [source]
            user.origin = tuple(dict.fromkeys((*op.origin, *user.origin)))
    drop_dead(graph)
